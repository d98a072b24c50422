//! Addresses at which a device may be reached (RFC 8445, section 5.1), and their order.

use core::net::{IpAddr, SocketAddr};

use crate::codec::messages::{wire_fields, wire_variants};

/// How an address was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateKind {
    /// An address of the device itself.
    Host,
    /// Seen by a STUN service or a coordinator.
    ServerReflexive,
    /// Seen by the peer.
    PeerReflexive,
    /// Opened at the router by PCP, NAT-PMP or UPnP.
    Mapped,
    /// Guessed from the port policy of the NAT.
    Predicted,
    /// At a relay.
    Relayed,
}

wire_variants!(CandidateKind "candidate kind" {
    0x01 => Host,
    0x02 => ServerReflexive,
    0x03 => PeerReflexive,
    0x04 => Mapped,
    0x05 => Predicted,
    0x06 => Relayed,
});

/// One address to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// How it was learned.
    pub kind: CandidateKind,
    /// The address.
    pub addr: SocketAddr,
}

wire_fields!(Candidate { kind, addr });

impl Candidate {
    /// Order of trying and of preferring, higher first.
    ///
    /// By kind first, as RFC 8445, section 5.1.2 recommends; within a kind an address of the same LAN before a
    /// global IPv6 one, which has no NAT in between, before a global IPv4 one.
    #[must_use]
    pub fn priority(&self) -> u32 {
        let kind = match self.kind {
            CandidateKind::Host => 126,
            CandidateKind::Mapped => 120,
            CandidateKind::PeerReflexive => 110,
            CandidateKind::ServerReflexive => 100,
            CandidateKind::Predicted => 50,
            CandidateKind::Relayed => 0,
        };
        let scope = match self.addr.ip() {
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => 3,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => 3,
            IpAddr::V6(_) => 2,
            IpAddr::V4(_) => 1,
        };
        (kind << 8) | scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lan_is_tried_before_ipv6_and_ipv6_before_ipv4() {
        let candidate = |kind, addr: &str| Candidate { kind, addr: addr.parse().unwrap() };
        let ordered = [
            candidate(CandidateKind::Host, "192.168.1.2:1"),
            candidate(CandidateKind::Host, "[2001:db8::1]:1"),
            candidate(CandidateKind::Host, "203.0.113.1:1"),
            candidate(CandidateKind::Mapped, "203.0.113.1:1"),
            candidate(CandidateKind::PeerReflexive, "203.0.113.1:1"),
            candidate(CandidateKind::ServerReflexive, "[2001:db8::1]:1"),
            candidate(CandidateKind::ServerReflexive, "203.0.113.1:1"),
            candidate(CandidateKind::Predicted, "203.0.113.1:1"),
            candidate(CandidateKind::Relayed, "203.0.113.1:1"),
        ];
        assert!(ordered.windows(2).all(|pair| pair[0].priority() > pair[1].priority()));
        let local = candidate(CandidateKind::Host, "[fd00::1]:1");
        assert_eq!(local.priority(), ordered[0].priority());
    }
}
