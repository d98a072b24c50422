//! Where a device may be reached: gathering own candidates, and judging a peer's.
//!
//! Own candidates are the host addresses the program reports, the address its router maps to them, and what
//! STUN and the coordinators saw of them. A peer's list is a claim by an authenticated member, yet it names addresses that we are going to
//! send to, so it is bounded and everything that cannot be a peer's socket is left out.
//! Terms: RFC 8445.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::door::is_door;
use lanyard_wire::limits::CANDIDATES_MAX;
use lanyard_wire::nat::NatCard;

/// Places kept for reflexive candidates: one mapped by the router, IPv4 and IPv6 by STUN, and one more by a
/// coordinator's eyes.
///
/// A machine with many interfaces must not push out the addresses that work across NATs.
const REFLEXIVE_MAX: usize = 4;

/// How good an address is, all else being equal; the order is best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A private address that answers: the same LAN, no NAT in between.
    Lan,
    /// Public IPv6: no translation.
    Ipv6,
    /// Public IPv4.
    Ipv4,
    /// A TCP connection: one lost segment holds up all that comes after it.
    Tcp,
}

impl Rank {
    /// The rank of an address.
    pub(super) const fn of(remote: SocketAddr) -> Self {
        match remote.ip() {
            _ if is_door(remote) => Self::Tcp,
            IpAddr::V4(ip) if ip.is_private() => Self::Lan,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Lan,
            IpAddr::V6(_) => Self::Ipv6,
            IpAddr::V4(_) => Self::Ipv4,
        }
    }
}

/// Own candidates, best first, at most [`CANDIDATES_MAX`].
///
/// `mapped` is what the router said; it comes before what others saw, because it is open to everybody.
pub(super) fn gather(
    local: &[SocketAddr],
    card: &NatCard,
    observed: &[SocketAddr],
    mapped: Option<SocketAddr>,
) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mapped = mapped.filter(|addr| is_open_to_all(*addr, card));
    let mapped = mapped.map(|addr| Candidate { kind: CandidateKind::Mapped, addr });
    let stun4 = card.reflexive4.map(SocketAddr::V4);
    let stun6 = card.reflexive6.map(SocketAddr::V6);
    let seen = stun4.into_iter().chain(stun6).chain(observed.iter().copied());
    let seen = seen.map(|addr| Candidate { kind: CandidateKind::ServerReflexive, addr });
    for candidate in mapped.into_iter().chain(seen) {
        let addr = candidate.addr;
        let is_new = !local.contains(&addr) && !candidates.iter().any(|known| known.addr == addr);
        if is_new && is_usable(addr) && candidates.len() < REFLEXIVE_MAX {
            candidates.push(candidate);
        }
    }
    for addr in local.iter().copied().filter(|addr| is_usable(*addr)) {
        if candidates.len() < CANDIDATES_MAX && !candidates.iter().any(|known| known.addr == addr) {
            candidates.push(Candidate { kind: CandidateKind::Host, addr });
        }
    }
    candidates.sort_by_key(|candidate| (Reverse(candidate.priority()), candidate.addr));
    candidates
}

/// The part of a peer's candidates that is worth a probe, in the peer's order.
///
/// Addresses of this machine are left out (the peer sits behind another NAT with the same private network),
/// and so is the overlay: a tunnel inside itself carries nothing. What a router showed of us is no such
/// address: after we moved, a peer that stayed may have got it.
pub(super) fn accept(
    theirs: &[Candidate],
    own: &[SocketAddr],
    is_overlay: impl Fn(IpAddr) -> bool,
) -> Vec<Candidate> {
    let mut accepted: Vec<Candidate> = Vec::new();
    for candidate in theirs {
        let is_new = !accepted.iter().any(|known| known.addr == candidate.addr);
        if is_new
            && accepted.len() < CANDIDATES_MAX
            && candidate.kind != CandidateKind::Relayed
            && is_usable(candidate.addr)
            && !own.contains(&candidate.addr)
            && !is_overlay(candidate.addr.ip())
        {
            accepted.push(*candidate);
        }
    }
    accepted
}

/// Addresses of a peer that are called by TCP.
const DIAL_MAX: usize = 4;

/// Those of a peer's candidates that may be called by TCP: public ones of its own, so that no member makes us knock at
/// computers of our own network.
pub(super) fn to_dial(theirs: &[Candidate]) -> Vec<SocketAddr> {
    let is_own = |kind| matches!(kind, CandidateKind::Host | CandidateKind::ServerReflexive);
    let theirs = theirs.iter().filter(|candidate| is_own(candidate.kind) && is_public(candidate.addr.ip()));
    theirs.map(|candidate| candidate.addr).take(DIAL_MAX).collect()
}

/// Of the world, and neither of a LAN nor of a carrier.
const fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_private() && !is_carriers(ip),
        IpAddr::V6(ip) => !ip.is_unique_local(),
    }
}

/// Shared address space (RFC 6598).
const fn is_carriers(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64
}

/// Whether a port that the router maps is open to the world, as far as anybody can tell.
///
/// A router behind another NAT maps ports of an address that nobody reaches: a private one, a carrier's
/// (RFC 6598), or one that is not what the world sees of us.
fn is_open_to_all(mapped: SocketAddr, card: &NatCard) -> bool {
    let IpAddr::V4(ip) = mapped.ip() else { return true };
    is_public(ip.into()) && card.reflexive4.is_none_or(|seen| *seen.ip() == ip)
}

/// Could be the address of a peer's socket.
///
/// Link-local IPv6 is out because an address on the wire carries no interface, a door because it means
/// something inside one process only.
pub(super) fn is_usable(addr: SocketAddr) -> bool {
    let ip_is_usable = match addr.ip() {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_link_local())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                || is_mapped_ipv4(ip))
        }
    };
    ip_is_usable && addr.port() != 0 && !is_door(addr)
}

const fn is_mapped_ipv4(ip: Ipv6Addr) -> bool {
    ip.to_ipv4_mapped().is_some()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn hosts_come_first_and_reflexive_addresses_are_never_pushed_out() {
        let hosts: Vec<SocketAddr> = (1..=12_u8).map(|host| ([192, 168, 1, host], 7000).into()).collect();
        let card = NatCard { reflexive4: Some("203.0.113.7:61000".parse().unwrap()), ..NatCard::default() };
        let candidates = gather(&hosts, &card, &[addr("203.0.113.7:61000"), addr("198.51.100.1:99")], None);
        assert_eq!(candidates.len(), CANDIDATES_MAX);
        assert_eq!(candidates[0].kind, CandidateKind::Host);
        let reflexive: Vec<_> =
            candidates.iter().filter(|candidate| candidate.kind == CandidateKind::ServerReflexive).collect();
        assert_eq!(reflexive.len(), 2);
    }

    #[test]
    fn without_a_nat_the_reflexive_address_is_the_host_itself() {
        let host = addr("203.0.113.7:7000");
        let card = NatCard { reflexive4: Some("203.0.113.7:7000".parse().unwrap()), ..NatCard::default() };
        assert_eq!(
            gather(&[host], &card, &[host], None),
            vec![Candidate { kind: CandidateKind::Host, addr: host }]
        );
    }

    #[test]
    fn a_mapped_port_comes_first_among_what_others_see() {
        let host = addr("192.168.1.2:7000");
        let card = NatCard { reflexive4: Some("203.0.113.7:61000".parse().unwrap()), ..NatCard::default() };
        let kinds = |candidates: Vec<Candidate>| -> Vec<(CandidateKind, u16)> {
            candidates.iter().map(|candidate| (candidate.kind, candidate.addr.port())).collect()
        };
        let mapped = Some(addr("203.0.113.7:7000"));
        let expected = [
            (CandidateKind::Host, 7000),
            (CandidateKind::Mapped, 7000),
            (CandidateKind::ServerReflexive, 61000),
        ];
        assert_eq!(kinds(gather(&[host], &card, &[], mapped)), expected);

        let same = Some(addr("203.0.113.7:61000"));
        let expected = [(CandidateKind::Host, 7000), (CandidateKind::Mapped, 61000)];
        assert_eq!(kinds(gather(&[host], &card, &[], same)), expected, "one address, one candidate");

        let unmeasured = gather(&[host], &NatCard::default(), &[], mapped);
        assert_eq!(unmeasured[1].kind, CandidateKind::Mapped, "nothing speaks against it yet");
    }

    #[test]
    fn tcp_calls_go_to_public_addresses_of_the_peer_itself_alone() {
        let of = |kind, text| Candidate { kind, addr: addr(text) };
        let theirs = [
            of(CandidateKind::Host, "192.168.1.2:22"),
            of(CandidateKind::Host, "[fd00::1]:22"),
            of(CandidateKind::ServerReflexive, "100.64.0.7:22"),
            of(CandidateKind::Mapped, "203.0.113.8:7000"),
            of(CandidateKind::Host, "203.0.113.7:7000"),
            of(CandidateKind::Host, "[2001:db8::1]:7000"),
        ];
        assert_eq!(to_dial(&theirs), [addr("203.0.113.7:7000"), addr("[2001:db8::1]:7000")]);
        assert_eq!(to_dial(&vec![theirs[4]; 9]).len(), DIAL_MAX);
    }

    #[test]
    fn a_port_mapped_behind_another_nat_is_not_offered() {
        let card = NatCard { reflexive4: Some("203.0.113.7:61000".parse().unwrap()), ..NatCard::default() };
        for behind in ["10.0.0.2:7000", "192.168.0.2:7000", "100.64.0.1:7000", "100.127.9.9:7000"] {
            assert_eq!(gather(&[], &NatCard::default(), &[], Some(addr(behind))), [], "{behind}");
        }
        for other in ["198.51.100.9:7000", "0.0.0.0:7000", "203.0.113.7:0"] {
            let candidates = gather(&[], &card, &[], Some(addr(other)));
            assert!(candidates.iter().all(|candidate| candidate.kind != CandidateKind::Mapped), "{other}");
        }
        let beside = gather(&[], &NatCard::default(), &[], Some(addr("100.63.0.1:7000")));
        assert_eq!(beside.len(), 1, "only 100.64/10 is the carriers'");
    }

    #[test]
    fn addresses_that_are_no_peers_socket_are_left_out() {
        let claims = [
            "127.0.0.1:53",
            "0.0.0.0:1",
            "224.0.0.1:5353",
            "255.255.255.255:9",
            "169.254.1.1:7",
            "[fe80::1]:7",
            "[::1]:7",
            "[ff02::1]:7",
            "[::ffff:192.0.2.1]:7",
            "192.0.2.1:0",
            "[100::1:2]:443",   // a door
            "192.168.1.5:7000", // our own
            "10.9.0.4:7000",    // inside the overlay
            "192.0.2.1:7000",
            "192.0.2.1:7000",
        ];
        let claims: Vec<Candidate> = claims.iter().map(|text| host(text)).collect();
        let accepted = accept(
            &claims,
            &[addr("192.168.1.5:7000")],
            |ip| matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [10, 9]),
        );
        assert_eq!(accepted, vec![host("192.0.2.1:7000")]);
    }

    #[test]
    fn a_peers_list_is_bounded() {
        let claims: Vec<Candidate> = (1..200_u8)
            .map(|last| Candidate { kind: CandidateKind::Host, addr: ([192, 0, 2, last], 1).into() })
            .collect();
        assert_eq!(accept(&claims, &[], |_| false).len(), CANDIDATES_MAX);
    }

    #[test]
    fn the_same_lan_ranks_before_ipv6_and_ipv6_before_ipv4() {
        let ranks = ["192.168.1.5:1", "[2001:db8::1]:1", "203.0.113.1:1"].map(|text| Rank::of(addr(text)));
        assert_eq!(ranks, [Rank::Lan, Rank::Ipv6, Rank::Ipv4]);
        assert!(ranks.is_sorted());
        assert_eq!(Rank::of(addr("[fd00::1]:1")), Rank::Lan);
    }

    fn host(text: &str) -> Candidate {
        Candidate { kind: CandidateKind::Host, addr: addr(text) }
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
