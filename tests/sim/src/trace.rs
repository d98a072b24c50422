//! The hash of a run, and the packets of a pair as a sequence diagram.
//!
//! Every step of a run goes into one running hash, so that two runs of one seed can be compared to the last
//! byte. Packets are written down only in the second run of a failing seed: the run repeats exactly, so nothing
//! is lost by not having recorded the first time.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;

use lanyard_proto::time::Instant;
use lanyard_wire::classify::{Class, classify};

/// A party of the diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A device.
    Device(usize),
    /// A server.
    Server(usize),
    /// Somebody else.
    Stranger,
}

impl Party {
    fn name(self) -> String {
        match self {
            Self::Device(number) => format!("d{number}"),
            Self::Server(number) => format!("s{number}"),
            Self::Stranger => "stranger".to_owned(),
        }
    }

    const fn code(self) -> u64 {
        match self {
            Self::Device(number) => number as u64,
            Self::Server(number) => 0x1_0000 + number as u64,
            Self::Stranger => 0x2_0000,
        }
    }
}

/// One line of the diagram.
#[derive(Clone, Debug)]
struct Line {
    at: Instant,
    from: Party,
    to: Party,
    text: String,
    /// Why it did not arrive.
    lost: Option<&'static str>,
}

/// What is remembered of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<VecDeque<Line>>,
    only: BTreeSet<Party>,
}

/// Lines kept; the oldest go first.
const LINES: usize = 400;

impl Trace {
    /// A trace that only hashes.
    #[must_use]
    pub const fn hashing() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: None, only: BTreeSet::new() }
    }

    /// A trace that also writes down what passes between these parties.
    #[must_use]
    pub fn recording(only: BTreeSet<Party>) -> Self {
        Self { lines: Some(VecDeque::new()), only, ..Self::hashing() }
    }

    /// The hash so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// A packet arrived, or was lost for a reason; `way` is its source and destination as seen there.
    pub fn packet(
        &mut self,
        at: Instant,
        (from, to): (Party, Party),
        way: (Option<SocketAddr>, SocketAddr),
        bytes: &[u8],
        lost: Option<&'static str>,
    ) {
        self.mix(at.as_micros());
        self.mix(from.code() << 32 | to.code());
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.mix(u64::from_le_bytes(word));
        }
        if self.wants(from, to) {
            let (source, target) = way;
            let source = source.map_or_else(String::new, |source| format!("{source} "));
            let text = format!("{} [{source}to {target}]", describe(bytes));
            self.push(Line { at, from, to, text, lost });
        }
    }

    /// Something else happened at a party.
    pub fn note(&mut self, at: Instant, party: Party, text: impl FnOnce() -> String) {
        self.mix(at.as_micros() ^ party.code());
        if self.wants(party, party) {
            let text = text();
            self.push(Line { at, from: party, to: party, text, lost: None });
        }
    }

    /// The diagram, in mermaid's language.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("sequenceDiagram\n");
        for line in self.lines.iter().flatten() {
            let (from, to) = (line.from.name(), line.to.name());
            let written = match line.lost {
                _ if from == to => writeln!(text, "    Note over {from}: {} {}", line.at, line.text),
                Some(why) => writeln!(text, "    {from}-x{to}: {} {} ({why})", line.at, line.text),
                None => writeln!(text, "    {from}->>{to}: {} {}", line.at, line.text),
            };
            if written.is_err() {
                break;
            }
        }
        text
    }

    fn wants(&self, from: Party, to: Party) -> bool {
        let known = |party| matches!(party, Party::Server(_)) || self.only.contains(&party);
        self.lines.is_some() && known(from) && known(to)
    }

    fn push(&mut self, line: Line) {
        if let Some(lines) = &mut self.lines {
            if lines.len() >= LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }
}

/// Kind and size of a datagram.
#[must_use]
pub fn describe(bytes: &[u8]) -> String {
    let kind = match classify(bytes) {
        Class::WireGuard => match bytes.first() {
            Some(1) => "WireGuard initiation",
            Some(2) => "WireGuard response",
            _ => "WireGuard data",
        },
        Class::Stun => "STUN",
        Class::Relay => "relayed",
        Class::Lanyard => match bytes.first() {
            Some(0xC1) => "HELLO",
            Some(0xC2) => "RETRY",
            Some(0xC3) => "WELCOME",
            Some(0xC4) => "DATA",
            Some(0xC5) => "RESUME",
            Some(0xC6) => "RESUMED",
            Some(0xC7) => "PING",
            Some(0xC8) => "PONG",
            Some(0xCA) => "CARRY",
            _ => "UNKNOWN",
        },
        Class::Noise => "noise",
    };
    format!("{kind} {}", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_changes_the_hash() {
        let hash = |bytes: &[u8]| {
            let mut trace = Trace::hashing();
            trace.packet(Instant::ZERO, (Party::Device(0), Party::Server(0)), way(), bytes, None);
            trace.hash()
        };
        assert_eq!(hash(b"twelve bytes"), hash(b"twelve bytes"));
        assert_ne!(hash(b"twelve bytes"), hash(b"twelve Bytes"));
        assert_ne!(hash(b"twelve bytes"), hash(b"twelve bytes\0"));
    }

    #[test]
    fn the_diagram_shows_the_pair_and_the_servers_alone() {
        let mut trace = Trace::recording([Party::Device(0), Party::Device(1)].into());
        let mut packet =
            |from, to, lost| trace.packet(Instant::from_secs(1), (from, to), way(), &[0xC1; 160], lost);
        packet(Party::Device(0), Party::Server(0), None);
        packet(Party::Device(0), Party::Device(2), None);
        packet(Party::Device(0), Party::Device(1), Some("filtered"));
        trace.note(Instant::from_secs(2), Party::Device(1), || "path none".to_owned());
        assert_eq!(
            trace.mermaid(),
            "sequenceDiagram\n    d0->>s0: 1.000000 HELLO 160 [192.0.2.1:1 to 192.0.2.2:2]\n    \
             d0-xd1: 1.000000 HELLO 160 [192.0.2.1:1 to 192.0.2.2:2] (filtered)\n    \
             Note over d1: 2.000000 path none\n"
        );
    }

    fn way() -> (Option<SocketAddr>, SocketAddr) {
        (Some(([192, 0, 2, 1], 1).into()), ([192, 0, 2, 2], 2).into())
    }
}
