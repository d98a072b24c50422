//! How values look to a person: times, sizes, paths, columns.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::exit::{Code, Problem};
use crate::ipc::schema::{Answer, Member, Path, Transport};

/// Lines longer than this wrap in a usual terminal.
pub(super) const COLUMNS: usize = 80;

/// A round trip: `11.2 ms`.
pub(super) fn millis(us: u64) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

/// A span: `40 s`, `3 min`, `2 h`, `5 d`.
pub(super) fn span(s: u64) -> String {
    match s {
        0..=119 => format!("{s} s"),
        120..=7_199 => format!("{} min", s / 60),
        7_200..=172_799 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

/// A number of things, as short as an amount of data.
pub(super) fn count(number: u64) -> String {
    bytes(number)
}

/// An amount of data in at most five characters: `512`, `88K`, `1.2G`.
pub(super) fn bytes(amount: u64) -> String {
    let mut unit = 1_000_u64;
    if amount < unit {
        return amount.to_string();
    }
    for letter in ["K", "M", "G", "T", "P"] {
        let tenths = amount / (unit / 10);
        if tenths < 100 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        if tenths < 10_000 {
            return format!("{}{letter}", tenths / 10);
        }
        unit = unit.saturating_mul(1_000);
    }
    format!("{}E", amount / unit)
}

/// `direct 198.51.100.7:41644`, `relay 203.0.113.10:7443` or `none`.
pub(super) fn path(path: &Path) -> String {
    match path {
        Path::Direct { remote, transport: Transport::Udp } => format!("direct {remote}"),
        // One that is closed has no address any more.
        Path::Direct { remote, transport: Transport::Tcp } if remote.ip().is_unspecified() => {
            "direct by TCP".to_owned()
        }
        Path::Direct { remote, transport: Transport::Tcp } => format!("direct by TCP {remote}"),
        Path::Relay { relay, transport } => format!("relay {}", relay_at(*relay, *transport)),
        Path::None => "none".to_owned(),
    }
}

/// A relay's address, with TLS where that carries the datagrams: `203.0.113.10:443 by TLS`.
pub(super) fn relay_at(relay: SocketAddr, transport: Transport) -> String {
    match transport {
        Transport::Udp => relay.to_string(),
        // A proxy alone knows where it is.
        Transport::Tcp if relay.ip().is_unspecified() => "by TLS".to_owned(),
        Transport::Tcp => format!("{relay} by TLS"),
    }
}

/// The same for a member, whose datagrams another one may pass on: `by nas`.
pub(super) fn way(member: &Member) -> String {
    match (&member.carrier, &member.path) {
        (Some(carrier), Path::Relay { .. }) => format!("by {carrier}"),
        (Some(_) | None, shown) => path(shown),
    }
}

/// The text in at most `width` characters; what is left out shows as one `…`.
pub(super) fn fit(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let front = kept.div_ceil(2);
    let head = text.chars().take(front);
    let tail = text.chars().skip(length - (kept - front));
    head.chain(['…']).chain(tail).collect()
}

/// The text in lines of at most `width` characters, broken at blanks; a longer word stays whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Rows in aligned columns, two blanks between them.
///
/// `flexible` is the column that gives way when a row would be longer than [`COLUMNS`].
pub(super) fn columns(rows: &[Vec<String>], indent: usize, flexible: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let mut widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or(0)).collect();
    let total = indent + widths.iter().sum::<usize>() + 2 * count.saturating_sub(1);
    if let Some(flexible) = widths.get_mut(flexible) {
        // An address cut below this tells nothing; then the line is longer.
        *flexible = flexible.saturating_sub(total.saturating_sub(COLUMNS)).max(16.min(*flexible));
    }

    let mut text = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (cell, width) in row.iter().zip(&widths) {
            let cell = fit(cell, *width);
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The agent closed without an answer, or gave one of another kind.
pub(super) fn unexpected() -> Problem {
    let text = "the agent did not answer this request; its log says why";
    Problem::new(Code::AgentNoAnswer, text)
}

/// The text of an answer that the verb did not ask for: itself, so that nothing is hidden.
pub(super) fn other(answer: &Answer) -> String {
    format!("{answer:?}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!(millis(11_249), "11.2 ms");
        assert_eq!(millis(90), "0.0 ms");
        assert_eq!(span(40), "40 s");
        assert_eq!(span(200), "3 min");
        assert_eq!(span(7_200), "2 h");
        assert_eq!(span(500_000), "5 d");
        for (amount, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0K"),
            (88_400, "88K"),
            (999_999, "999K"),
            (1_000_000, "1.0M"),
            (1_234_000_000, "1.2G"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn a_long_cell_gives_way_in_its_middle() {
        assert_eq!(fit("abcdefghij", 5), "ab…ij");
        assert_eq!(fit("abc", 5), "abc");
        let long = "direct [2001:db8:1234:5678:9abc:def0:1234:5678]:41644".to_owned();
        let rows = vec![
            vec!["nas-in-the-cellar".to_owned(), "10.61.7.22".to_owned(), long, "123.4 ms".to_owned()],
            vec!["b".to_owned(), "10.61.7.3".to_owned(), "offline".to_owned()],
        ];
        let text = columns(&rows, 2, 2);
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        assert!(text.contains('…'));
        assert!(text.lines().nth(1).unwrap().ends_with("offline"));
    }
}
