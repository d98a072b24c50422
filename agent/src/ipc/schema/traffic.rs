//! What was counted of a peer, path by path.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::{Path, Transport};

/// Traffic with a peer since networking was switched on here, or the peer became a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The paths it was reached or heard by: the one in use, then the one taken last, and so on; eight at most.
    pub paths: Vec<PathTraffic>,
    /// Paths from before those together, by kind.
    pub others: Vec<OtherPaths>,
    /// Its packets that went no further, by reason, as far as they are known to be its. Only reasons that there were.
    pub dropped: BTreeMap<String, u64>,
    /// How long ago the keys in use were agreed on; `null` without a session.
    pub session_s: Option<u64>,
    /// The largest packet that the path in use is known to carry, in bytes.
    pub mtu: u16,
}

/// Traffic by one path. Packets that went beside a handshake are in the member's bytes alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathTraffic {
    /// Where it leads.
    pub path: Path,
    /// Datagrams are sent by it now.
    pub in_use: bool,
    /// How long ago it was first used.
    pub since_s: u64,
    /// What went by it.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// How it answers pings; `null` before the first answer.
    pub pings: Option<Pings>,
}

/// Traffic by paths of one kind that are not counted each by itself any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherPaths {
    /// Their kind.
    #[serde(flatten)]
    pub class: PathClass,
    /// What went by them.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// A kind of path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PathClass {
    /// Straight to the peer, or through a relay or another member.
    pub kind: PathKind,
    /// What carries the datagrams.
    pub over: Over,
}

/// Straight to the peer, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Straight to the peer.
    Direct,
    /// Through a relay or another member.
    Relay,
}

/// What carries datagrams on the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// UDP over IPv4.
    Ipv4,
    /// UDP over IPv6.
    Ipv6,
    /// A TCP connection.
    Tcp,
}

/// Datagrams and their bytes, WireGuard's own included and relay headers not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Datagrams sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Authentic datagrams received.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
}

/// How a path answers pings. They are sent where something depends on it, and rarely while data flows both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pings {
    /// Round trip of the newest answer.
    pub last_us: u64,
    /// Round trip, the newest answer weighing an eighth.
    pub smoothed_us: u64,
    /// The shortest round trip so far.
    pub min_us: u64,
    /// Pings that loss is told by: the newest 32, without those sent less than a second ago that may still be answered.
    pub sent: u32,
    /// How many of them were not answered.
    pub lost: u32,
    /// How long ago the newest answer came.
    pub answered_s: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.tx_packets = self.tx_packets.wrapping_add(other.tx_packets);
        self.tx_bytes = self.tx_bytes.wrapping_add(other.tx_bytes);
        self.rx_packets = self.rx_packets.wrapping_add(other.rx_packets);
        self.rx_bytes = self.rx_bytes.wrapping_add(other.rx_bytes);
    }
}

impl Path {
    /// The kind of path it is; `None` for none.
    #[must_use]
    pub fn class(&self) -> Option<PathClass> {
        let (kind, addr, transport) = match *self {
            Self::Direct { remote, transport } => (PathKind::Direct, remote, transport),
            Self::Relay { relay, transport } => (PathKind::Relay, relay, transport),
            Self::None => return None,
        };
        let over = match transport {
            Transport::Tcp => Over::Tcp,
            Transport::Udp if addr.ip().to_canonical().is_ipv4() => Over::Ipv4,
            Transport::Udp => Over::Ipv6,
        };
        Some(PathClass { kind, over })
    }
}

impl PathKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
        }
    }
}

impl Over {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Tcp => "tcp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_flat_json_and_comes_back() {
        let traffic = Traffic { tx_packets: 1, tx_bytes: 148, rx_packets: 2, rx_bytes: 124 };
        let path = Path::Direct { remote: "198.51.100.7:41644".parse().unwrap(), transport: Transport::Udp };
        let pings = Pings { last_us: 10, smoothed_us: 11, min_us: 9, sent: 32, lost: 1, answered_s: 4 };
        let class = PathClass { kind: PathKind::Relay, over: Over::Tcp };
        let counted = Counted {
            paths: vec![PathTraffic { path, in_use: true, since_s: 180, traffic, pings: Some(pings) }],
            others: vec![OtherPaths { class, traffic }],
            dropped: BTreeMap::from([("rx_replayed".to_owned(), 3)]),
            session_s: Some(12),
            mtu: 1_420,
        };
        let json = serde_json::to_string(&counted).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"paths":[{"path":{"kind":"direct","remote":"198.51.100.7:41644","transport":"udp"},"#,
                r#""in_use":true,"since_s":180,"tx_packets":1,"tx_bytes":148,"rx_packets":2,"rx_bytes":124,"#,
                r#""pings":{"last_us":10,"smoothed_us":11,"min_us":9,"sent":32,"lost":1,"answered_s":4}}],"#,
                r#""others":[{"kind":"relay","over":"tcp","tx_packets":1,"tx_bytes":148,"rx_packets":2,"#,
                r#""rx_bytes":124}],"dropped":{"rx_replayed":3},"session_s":12,"mtu":1420}"#
            )
        );
        assert_eq!(serde_json::from_str::<Counted>(&json).unwrap(), counted);
    }

    #[test]
    fn the_kind_of_a_path_is_told_by_its_address_and_what_carries_it() {
        let class = |addr: &str, transport| {
            let path = Path::Relay { relay: addr.parse().unwrap(), transport };
            path.class().map(|class| (class.kind, class.over))
        };
        assert_eq!(class("192.0.2.1:7", Transport::Udp), Some((PathKind::Relay, Over::Ipv4)));
        assert_eq!(class("[2001:db8::1]:7", Transport::Udp), Some((PathKind::Relay, Over::Ipv6)));
        assert_eq!(class("192.0.2.1:443", Transport::Tcp), Some((PathKind::Relay, Over::Tcp)));
        assert_eq!(Path::None.class(), None);
    }

    #[test]
    fn words_are_those_of_the_schema() {
        for kind in [PathKind::Direct, PathKind::Relay] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for over in [Over::Ipv4, Over::Ipv6, Over::Tcp] {
            assert_eq!(serde_json::to_value(over).unwrap(), over.as_str());
        }
    }
}
