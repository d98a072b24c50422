//! Words of the command line that several commands share.

use lanyard_wire::names::NetworkName;

use crate::index::groups::Word;

/// Reads a network's name.
///
/// # Errors
/// What is allowed, for clap to print.
pub fn network_name(text: &str) -> Result<NetworkName, String> {
    NetworkName::parse(text).map_err(|error| error.to_string())
}

/// Reads a length of time: a number and `s`, `m`, `h` or `d`; in milliseconds.
///
/// # Errors
/// What is allowed, for clap to print.
pub fn lifetime_ms(text: &str) -> Result<i64, String> {
    let wrong = || "a length of time is a number and a unit: 90s, 30m, 24h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor: i64 = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: i64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|total| *total > 0).ok_or_else(wrong)
}

/// Tags, as one option has them.
#[derive(Debug, Clone)]
pub struct Tags(pub Vec<Word>);

/// Reads tags with commas between them; an empty text is none.
///
/// # Errors
/// What is allowed, for clap to print.
pub fn tags(text: &str) -> Result<Tags, String> {
    let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::parse);
    tags.collect::<Result<_, _>>().map(Tags)
}

/// How long something lasts, in milliseconds; `None` for ever.
#[derive(Debug, Clone, Copy)]
pub struct End(pub Option<i64>);

/// Reads a length of time, or `never`.
///
/// # Errors
/// What is allowed, for clap to print.
pub fn end(text: &str) -> Result<End, String> {
    if text == "never" { Ok(End(None)) } else { lifetime_ms(text).map(|life| End(Some(life))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(lifetime_ms("24h"), Ok(86_400_000));
        assert_eq!(lifetime_ms("90s"), Ok(90_000));
        for wrong in ["", "24", "h", "-1h", "0d", "1.5h", "9223372036854775807d"] {
            assert!(lifetime_ms(wrong).is_err(), "{wrong}");
        }
    }
}
