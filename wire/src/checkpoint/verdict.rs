//! What a device tells CHECKPOINT about a pair that it is one end of.

use crate::codec::messages::{wire_fields, wire_variants};
use crate::handshake::Method;
use crate::ids::DeviceId;

/// How two devices reach each other, as one of them sees it when an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairVerdict {
    /// The other end.
    pub peer: DeviceId,
    /// What stands in the way, or that nothing does.
    pub code: PairCode,
    /// The plan of the attempt, if HANDSHAKE chose one.
    pub method: Option<Method>,
    /// How long the attempt took, in milliseconds.
    pub took_ms: u32,
}

wire_fields!(PairVerdict { peer, code, method, took_ms });

/// What stands in the way of a direct path; "here" is the end that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PairCode {
    /// Nothing: the path is direct.
    Direct,
    /// Neither a direct path nor a relay.
    NoRelay,
    /// No UDP leaves the network of this end.
    UdpBlockedHere,
    /// No UDP leaves the network of the other end.
    UdpBlockedThere,
    /// Both NATs give every destination another port.
    BothMappingsVary,
    /// The NAT of this end does, and the other end's filters by port.
    MappingVariesHere,
    /// The NAT of the other end does, and this end's filters by port.
    MappingVariesThere,
    /// Small probes pass, full-size ones do not.
    FullSizeLost,
    /// By both NATs it should work, and no probe arrives.
    ProbesLost,
}

wire_variants!(PairCode "verdict of a pair" {
    0x01 => Direct,
    0x02 => NoRelay,
    0x03 => UdpBlockedHere,
    0x04 => UdpBlockedThere,
    0x05 => BothMappingsVary,
    0x06 => MappingVariesHere,
    0x07 => MappingVariesThere,
    0x08 => FullSizeLost,
    0x09 => ProbesLost,
});

impl PairCode {
    /// The word that stands for it in JSON, in databases and in documents; it does not change.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::NoRelay => "no_relay",
            Self::UdpBlockedHere => "udp_blocked_here",
            Self::UdpBlockedThere => "udp_blocked_there",
            Self::BothMappingsVary => "both_mappings_vary",
            Self::MappingVariesHere => "mapping_varies_here",
            Self::MappingVariesThere => "mapping_varies_there",
            Self::FullSizeLost => "full_size_lost",
            Self::ProbesLost => "probes_lost",
        }
    }
}
