//! Lengths of time in words, as people read them.

/// How long ago that was, in one unit.
#[must_use]
pub fn ago(then_ms: i64, now_ms: i64) -> String {
    format!("{} ago", span(now_ms.saturating_sub(then_ms)))
}

/// A length of time in one unit.
#[must_use]
pub fn span(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_in_one_unit() {
        assert_eq!(span(59_999), "59 s");
        assert_eq!(span(3_600_000), "1 h");
        assert_eq!(span(86_400_000), "24 h");
        assert_eq!(ago(0, 30 * 86_400_000), "30 d ago");
        assert_eq!(span(-5), "0 s");
    }
}
