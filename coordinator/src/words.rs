//! Lengths of time and amounts of data in words, as people read them.

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

/// An amount of data in one decimal unit.
#[must_use]
pub fn data(bytes: i64) -> String {
    match bytes.max(0) {
        small @ 0..1_000 => format!("{small} B"),
        bytes @ 1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        bytes @ 1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        bytes => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
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

    #[test]
    fn amounts_of_data_read_in_one_unit() {
        let words = [999, 1_000, 1_999_999, 12_340_000_000, -1].map(data);
        assert_eq!(words, ["999 B", "1 kB", "1 MB", "12.3 GB", "0 B"]);
    }
}
