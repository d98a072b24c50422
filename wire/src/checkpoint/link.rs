//! What a device tells CHECKPOINT about the peers that it exchanges data with, in place of a keep-alive.

use alloc::vec::Vec;

use crate::codec::lists::List;
use crate::codec::messages::{wire_fields, wire_variants};
use crate::ids::DeviceId;
use crate::limits::LINKS_MAX;

/// How data goes to and from some peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// At most [`LINKS_MAX`]; each peer once.
    pub links: Vec<LinkReport>,
}

wire_fields!(Links { links as List(LINKS_MAX, "link count") });

/// How data goes between two devices, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// The other end.
    pub peer: DeviceId,
    /// Where its datagrams go now.
    pub path: LinkPath,
    /// Round trip of that path in microseconds, once measured.
    pub rtt_us: Option<u32>,
    /// Of the newest pings on that path, so many were decided: answered, or lost. 32 at the most.
    pub pings: u8,
    /// Of these, so many were lost.
    pub lost: u8,
    /// Bytes sent since the last report, WireGuard's own included.
    pub tx_bytes: u64,
    /// Bytes received since the last report, likewise.
    pub rx_bytes: u64,
}

wire_fields!(LinkReport { peer, path, rtt_us, pings, lost, tx_bytes, rx_bytes });

/// A kind of path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkPath {
    /// No path.
    None,
    /// UDP to the peer's own address.
    Direct,
    /// The same inside one LAN: the address is private.
    Lan,
    /// A TCP connection with the peer.
    Tcp,
    /// Through a member that passes on frames.
    Member,
    /// Through a relay.
    Relay,
}

wire_variants!(LinkPath "path of a link" {
    0x00 => None,
    0x01 => Direct,
    0x02 => Lan,
    0x03 => Tcp,
    0x04 => Member,
    0x05 => Relay,
});

impl LinkPath {
    /// The word that stands for it in JSON, in databases and in documents; it does not change.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Direct => "direct",
            Self::Lan => "lan",
            Self::Tcp => "tcp",
            Self::Member => "member",
            Self::Relay => "relay",
        }
    }

    /// Whether nobody stands between the two devices.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::Lan | Self::Tcp)
    }
}
