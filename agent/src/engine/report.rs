//! What the machine knows, in the words of the local socket.

use std::net::SocketAddr;
use std::time::Duration;

use lanyard_proto::device::egress::{self, DoorSign};
use lanyard_proto::device::status::{CoordinatorStatus, MemberStatus, NetworkStatus, RelayStatus};
use lanyard_proto::device::{Advice, CoordinatorState, NetworkCache, Status};
use lanyard_proto::overlay;
use lanyard_proto::time::Instant;
use lanyard_wire::candidate;
use lanyard_wire::checkpoint::MemberState;
use lanyard_wire::door::is_door;
use lanyard_wire::handshake;
use lanyard_wire::nat::{self, NatCard, PortPolicy};

use super::ways::Ways;
use crate::door;
use crate::ipc::schema::{
    CandidateKind, Door, Egress, Filtering, Mapping, Member, Membership, Method, Nat, Network, Path,
    PortMapping, PortMappingProtocol, PortMappingState, Ports, Relay, Server, ServerState, Tried, Verdict,
    Why,
};
use crate::portmap;
use crate::state::Host;

/// A coordinator; the join string's host stands for it where it is known.
pub(super) fn server(
    coordinator: &CoordinatorStatus,
    hosts: &[Host],
    state_of_door: Option<(door::State, u16)>,
    ways: &Ways,
) -> Server {
    let (state, observed, rtt) = match coordinator.state {
        CoordinatorState::Connecting => (ServerState::Connecting, None, None),
        CoordinatorState::Online { observed, rtt } => (ServerState::Online, Some(observed), rtt),
        CoordinatorState::Offline { .. } => (ServerState::Offline, None, None),
    };
    Server {
        host: host_of(&coordinator.key, hosts),
        key: coordinator.key.to_string(),
        state,
        // What the coordinator sees of a door is no address of ours.
        observed: observed.filter(|addr| !is_door(*addr)),
        rtt_us: rtt.map(micros),
        door: state_of_door
            .and_then(|(state, port)| door(coordinator.remote.is_some_and(is_door), state, port)),
        relays: coordinator.relays.iter().map(|one| relay(one, coordinator, ways)).collect(),
    }
}

fn relay(relay: &RelayStatus, coordinator: &CoordinatorStatus, ways: &Ways) -> Relay {
    Relay {
        address: ways.lead(relay.addr).0,
        is_server: relay.key == coordinator.key,
        ok: relay.is_good,
        rtt_us: relay.rtt.map(micros),
    }
}

/// A door that is in use, or did not open.
fn door(is_used: bool, state: door::State, port: u16) -> Option<Door> {
    match state {
        door::State::Open { proxy } => is_used.then_some(Door { port, proxy, problem: None }),
        door::State::Closed | door::State::Opening => {
            is_used.then_some(Door { port, proxy: None, problem: None })
        }
        door::State::Failed { why } => Some(Door { port, proxy: None, problem: Some(why) }),
    }
}

/// Host and port of a coordinator, as its join string said.
pub(super) fn host_of(key: &lanyard_wire::keys::PublicKey, hosts: &[Host]) -> String {
    hosts.iter().find(|host| host.key == *key).map_or_else(|| key.to_string(), place)
}

/// Host and port, with an IPv6 address in brackets.
pub(super) fn place(host: &Host) -> String {
    match super::resolve::literal(host) {
        Some(addr) => addr.to_string(),
        None => format!("{}:{}", host.name, host.port),
    }
}

/// A network with its members.
pub(super) fn network(network: &NetworkStatus, hosts: &[Host], ways: &Ways) -> Network {
    Network {
        name: network.name.to_string(),
        id: network.id.to_string(),
        server: host_of(&network.coordinator, hosts),
        state: membership(network.state),
        enabled: network.enabled,
        prefix4: format!("{}/{}", network.prefix4.0, network.prefix4.1),
        ip4: network.ip4,
        ip6: network.ip6,
        clash: network.clash.clone(),
        members: network.members.iter().map(|one| member(one, ways)).collect(),
    }
}

/// A network as it was last known, while networking is down.
pub(super) fn remembered(cache: &NetworkCache, server: String) -> Network {
    let card = &cache.card;
    let members = cache.members.iter().map(|cached| {
        let member = &cached.member;
        Member {
            name: member.name.to_string(),
            id: member.device().to_string(),
            number: member.number.to_string(),
            ip4: member.ip4,
            ip6: member.ip6,
            online: false,
            refused: false,
            path: Path::None,
            rtt_us: None,
            tx_bytes: 0,
            rx_bytes: 0,
            carrier: None,
            counted: None,
        }
    });
    Network {
        name: card.name.to_string(),
        id: card.id.to_string(),
        server,
        state: membership(card.state),
        enabled: cache.enabled,
        prefix4: format!("{}/{}", card.prefix4.0, card.prefix4.1),
        ip4: card.ip4,
        ip6: card.ip6,
        clash: None,
        members: members.collect(),
    }
}

/// The story of a pair.
pub(super) fn why(
    device: String,
    (card, port_mapping, door): (&NatCard, PortMapping, Option<Door>),
    network: &NetworkStatus,
    peer: &MemberStatus,
    ways: &Ways,
    now: Instant,
) -> Why {
    let attempt = &peer.attempt;
    let tried = attempt.candidates_tried.iter().filter_map(|tried| {
        let (address, transport) = ways.find(tried.candidate.addr)?;
        let kind = kind(tried.candidate.kind);
        Some(Tried { kind, address, transport, probes: tried.probes_sent, answered: tried.answered })
    });
    Why {
        device,
        network: network.name.to_string(),
        peer: member(peer, ways),
        ours: nat(card),
        port_mapping,
        door,
        theirs: attempt.their_card.as_ref().map(nat),
        attempt: attempt.state.to_owned(),
        method: attempt.method.map(method),
        tried: tried.collect(),
        guesses: attempt.guesses,
        last_try_s: attempt.last_at.map(|at| now.saturating_since(at).as_secs()),
        next_try_s: attempt.next_at.map(|at| at.saturating_since(now).as_secs()),
        verdict: verdict(attempt.advice),
    }
}

fn member(member: &MemberStatus, ways: &Ways) -> Member {
    Member {
        name: member.name.to_string(),
        id: member.device.to_string(),
        number: member.number.to_string(),
        ip4: member.ip4,
        ip6: member.ip6,
        online: member.online,
        refused: member.refused,
        path: path(&member.path, ways),
        rtt_us: member.rtt.map(micros),
        tx_bytes: member.tx_bytes,
        rx_bytes: member.rx_bytes,
        carrier: member.carrier.as_ref().map(ToString::to_string),
        counted: None,
    }
}

/// A path.
pub(super) fn path(path: &overlay::Path, ways: &Ways) -> Path {
    match *path {
        overlay::Path::Direct { remote, .. } => {
            let (remote, transport) = ways.lead(remote);
            Path::Direct { remote, transport }
        }
        overlay::Path::Relayed { relay, .. } => {
            let (relay, transport) = ways.lead(relay);
            Path::Relay { relay, transport }
        }
        overlay::Path::None => Path::None,
    }
}

/// A NAT.
pub(super) fn nat(card: &NatCard) -> Nat {
    Nat {
        udp: card.udp,
        mapping: card.mapping.map(|mapping| match mapping {
            nat::Mapping::None => Mapping::None,
            nat::Mapping::EndpointIndependent => Mapping::EndpointIndependent,
            nat::Mapping::AddressDependent => Mapping::AddressDependent,
            nat::Mapping::AddressAndPortDependent => Mapping::AddressAndPortDependent,
        }),
        filtering: card.filtering.map(|filtering| match filtering {
            nat::Filtering::EndpointIndependent => Filtering::EndpointIndependent,
            nat::Filtering::AddressDependent => Filtering::AddressDependent,
            nat::Filtering::AddressAndPortDependent => Filtering::AddressAndPortDependent,
        }),
        ports: card.ports.map(|ports| match ports {
            PortPolicy::Preserved => Ports::Preserved,
            PortPolicy::Sequential { step } => Ports::Sequential { step },
            PortPolicy::Block { low, high } => Ports::Block { low, high },
            PortPolicy::Random => Ports::Random,
        }),
        hairpin: card.hairpin,
        lifetime_s: card.lifetime_s,
        ip4: card.reflexive4.map(SocketAddr::V4),
        ip6: card.reflexive6.map(SocketAddr::V6),
    }
}

/// How the first coordinator's door stands, and whether its session goes by UDP.
pub(super) fn door_sign(status: &Status, state: Option<&door::State>) -> (DoorSign, bool) {
    let first = status.coordinators.first();
    let remote = first
        .filter(|first| matches!(first.state, CoordinatorState::Online { .. }))
        .and_then(|first| first.remote);
    let sign = match (remote.is_some_and(is_door), state) {
        (true, Some(door::State::Open { proxy: Some(_) })) => DoorSign::ByProxy,
        (true, _) => DoorSign::Open,
        (false, _) => DoorSign::Shut,
    };
    (sign, remote.is_some_and(|remote| !is_door(remote)))
}

/// The way out of this network.
pub(super) const fn egress(egress: egress::Egress) -> Egress {
    match egress {
        egress::Egress::Udp => Egress::Udp,
        egress::Egress::Tcp => Egress::Tcp,
        egress::Egress::Tcp443 => Egress::Tcp443,
        egress::Egress::Proxy => Egress::Proxy,
        egress::Egress::CaptivePortal => Egress::CaptivePortal,
        egress::Egress::Blocked => Egress::Blocked,
    }
}

/// What the router maps; `None` where it is not asked, `is_offered` where peers are told of it.
pub(super) fn port_mapping(state: Option<portmap::State>, is_offered: bool) -> PortMapping {
    let only = |state| PortMapping { state, ..PortMapping::default() };
    match state {
        None => only(PortMappingState::Off),
        Some(portmap::State::Unneeded) => only(PortMappingState::Unneeded),
        Some(portmap::State::Asking) => only(PortMappingState::Asking),
        Some(portmap::State::Refused) => only(PortMappingState::None),
        Some(portmap::State::Mapped(lease)) => PortMapping {
            state: if is_offered { PortMappingState::Mapped } else { PortMappingState::DoubleNat },
            protocol: Some(match lease.protocol {
                portmap::Protocol::Pcp => PortMappingProtocol::Pcp,
                portmap::Protocol::NatPmp => PortMappingProtocol::NatPmp,
                portmap::Protocol::Upnp => PortMappingProtocol::Upnp,
            }),
            address: Some(lease.external.into()),
            lease_s: Some(lease.lifetime.as_secs()),
        },
    }
}

const fn membership(state: MemberState) -> Membership {
    match state {
        MemberState::Active => Membership::Active,
        MemberState::Pending => Membership::Pending,
        MemberState::Suspended => Membership::Suspended,
    }
}

const fn method(method: handshake::Method) -> Method {
    match method {
        handshake::Method::Plain => Method::Plain,
        handshake::Method::Relay => Method::Relay,
        handshake::Method::Fresh => Method::Fresh,
        handshake::Method::Open { .. } => Method::Open,
        handshake::Method::Guess { .. } => Method::Guess,
        handshake::Method::Predict { .. } => Method::Predict,
        handshake::Method::Connect => Method::Connect,
        handshake::Method::Accept => Method::Accept,
    }
}

const fn kind(kind: candidate::CandidateKind) -> CandidateKind {
    match kind {
        candidate::CandidateKind::Host => CandidateKind::Host,
        candidate::CandidateKind::ServerReflexive => CandidateKind::ServerReflexive,
        candidate::CandidateKind::PeerReflexive => CandidateKind::PeerReflexive,
        candidate::CandidateKind::Mapped => CandidateKind::Mapped,
        candidate::CandidateKind::Predicted => CandidateKind::Predicted,
        candidate::CandidateKind::Relayed => CandidateKind::Relayed,
    }
}

const fn verdict(advice: Advice) -> Verdict {
    match advice {
        Advice::Direct => Verdict::Direct,
        Advice::Idle => Verdict::Idle,
        Advice::Trying => Verdict::Trying,
        Advice::RefusedHere => Verdict::RefusedHere,
        Advice::RefusedThere => Verdict::RefusedThere,
        Advice::PeerOffline => Verdict::PeerOffline,
        Advice::NoSharedNetwork => Verdict::NoSharedNetwork,
        Advice::CoordinatorUnreachable => Verdict::CoordinatorUnreachable,
        Advice::NoRelay => Verdict::NoRelay,
        Advice::UdpBlockedHere => Verdict::UdpBlockedHere,
        Advice::UdpBlockedThere => Verdict::UdpBlockedThere,
        Advice::BothMappingsVary => Verdict::BothMappingsVary,
        Advice::MappingVariesHere => Verdict::MappingVariesHere,
        Advice::MappingVariesThere => Verdict::MappingVariesThere,
        Advice::FullSizeLost => Verdict::FullSizeLost,
        Advice::ProbesLost => Verdict::ProbesLost,
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The number of this device at the first coordinator that gave one.
pub(super) fn number(status: &Status) -> Option<String> {
    status.coordinators.iter().find_map(|coordinator| coordinator.number).map(|number| number.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use lanyard_proto::device::status::{AttemptStatus, CandidateStatus};
    use lanyard_wire::candidate::Candidate;
    use lanyard_wire::ids::{DeviceId, NetworkId, Revision};
    use lanyard_wire::keys::PublicKey;

    use super::*;

    pub(in crate::engine) const HOST: &str = "vpn.example";

    #[test]
    fn a_pair_is_told_with_its_times_relative_to_now() {
        let status = example();
        let now = Instant::from_secs(100);
        let network = &status.networks[0];
        let why = why(
            "t480".to_owned(),
            (&status.card, PortMapping::default(), None),
            network,
            &network.members[0],
            &Ways::default(),
            now,
        );
        assert_eq!((why.last_try_s, why.next_try_s), (Some(40), Some(80)));
        assert_eq!(why.verdict, Verdict::ProbesLost);
        assert_eq!(why.ours.mapping, Some(Mapping::EndpointIndependent));
        assert_eq!(why.tried[0].kind, CandidateKind::ServerReflexive);
        assert_eq!(why.peer.rtt_us, Some(11_249));
    }

    #[test]
    fn a_mapped_port_that_peers_are_not_told_of_is_behind_another_nat() {
        let lease = portmap::Lease {
            protocol: portmap::Protocol::NatPmp,
            external: "10.0.0.2:41641".parse().unwrap(),
            lifetime: Duration::from_secs(7_200),
        };
        let told = |is_offered| port_mapping(Some(portmap::State::Mapped(lease)), is_offered);
        assert_eq!(told(true).state, PortMappingState::Mapped);
        assert_eq!(told(false).state, PortMappingState::DoubleNat);
        assert_eq!(
            (told(false).protocol, told(false).lease_s),
            (Some(PortMappingProtocol::NatPmp), Some(7_200))
        );
        assert_eq!(port_mapping(None, false), PortMapping::default());
    }

    #[test]
    fn a_coordinator_is_called_as_in_its_join_string() {
        let status = example();
        let key = status.coordinators[0].key;
        let named = |name: &str| {
            let host = Host { key, name: name.to_owned(), port: 7443, door: 443 };
            server(&status.coordinators[0], &[host], None, &Ways::default())
        };
        assert_eq!(named(HOST).host, "vpn.example:7443");
        assert_eq!(named("2001:db8::1").host, "[2001:db8::1]:7443");
        assert_eq!(server(&status.coordinators[0], &[], None, &Ways::default()).host, key.to_string());
        assert_eq!(named(HOST).state, ServerState::Online);
    }

    #[test]
    fn a_door_is_told_while_it_is_used_or_did_not_open() {
        let mut coordinator = example().coordinators.remove(0);
        let door_of = |coordinator: &CoordinatorStatus, state: door::State| {
            server(coordinator, &[], Some((state, 443)), &Ways::default()).door
        };
        let proxy = Some("10.0.0.1:3128".to_owned());
        let open = door::State::Open { proxy: proxy.clone() };
        assert_eq!(door_of(&coordinator, open.clone()), None, "UDP works again, the door closes in a minute");
        let failed = door_of(&coordinator, door::State::Failed { why: "no".to_owned() });
        assert_eq!(failed, Some(Door { port: 443, proxy: None, problem: Some("no".to_owned()) }));
        let addr = lanyard_wire::door::addr(0, 1);
        coordinator.remote = Some(addr);
        coordinator.state = CoordinatorState::Online { observed: addr, rtt: None };
        assert_eq!(door_of(&coordinator, open), Some(Door { port: 443, proxy, problem: None }));
        assert_eq!(server(&coordinator, &[], None, &Ways::default()).observed, None, "no address of ours");
    }

    #[test]
    fn a_network_is_remembered_while_networking_is_down() {
        let cache = crate::state::tests::example_cache();
        let network = remembered(&cache.coordinators[0].networks[0], "x:1".to_owned());
        assert_eq!((network.name.as_str(), network.members[0].name.as_str()), ("home", "nas"));
        assert_eq!(network.prefix4, "10.61.7.0/24");
        assert!(!network.members[0].online);
    }

    /// A device with one network and one peer.
    pub(in crate::engine) fn example() -> Status {
        let coordinator = PublicKey::from_bytes([3; 32]);
        let card =
            NatCard { udp: true, mapping: Some(nat::Mapping::EndpointIndependent), ..NatCard::default() };
        let candidate = Candidate {
            kind: candidate::CandidateKind::ServerReflexive,
            addr: "198.51.100.7:41644".parse().unwrap(),
        };
        let attempt = AttemptStatus {
            state: "relayed",
            method: Some(handshake::Method::Plain),
            their_card: Some(card),
            candidates_tried: vec![CandidateStatus { candidate, probes_sent: 6, answered: false }],
            guesses: 0,
            last_at: Some(Instant::from_secs(60)),
            next_at: Some(Instant::from_secs(180)),
            advice: Advice::ProbesLost,
        };
        let nas = MemberStatus {
            mtu: 1_420,
            device: DeviceId::from_bytes([4; 16]),
            name: "nas".parse().unwrap(),
            number: "184-220-093".parse().unwrap(),
            ip4: "10.61.7.2".parse().unwrap(),
            ip6: "fd5a::2".parse().unwrap(),
            online: true,
            refused: false,
            path: overlay::Path::None,
            rtt: Some(Duration::from_micros(11_249)),
            pings: Vec::new(),
            attempt,
            carrier: None,
            tx_bytes: 1,
            rx_bytes: 2,
        };
        let home = NetworkStatus {
            coordinator,
            id: NetworkId::from_bytes([6; 16]),
            name: "home".parse().unwrap(),
            state: MemberState::Active,
            enabled: true,
            revision: Revision::new(12),
            prefix4: ("10.61.7.0".parse().unwrap(), 24),
            ip4: "10.61.7.3".parse().unwrap(),
            ip6: "fd5a::3".parse().unwrap(),
            clash: None,
            members: vec![nas],
        };
        let online = CoordinatorStatus {
            key: coordinator,
            state: CoordinatorState::Online {
                observed: "192.0.2.44:41641".parse().unwrap(),
                rtt: Some(Duration::from_millis(14)),
            },
            number: Some("291-044-871".parse().unwrap()),
            addrs: vec!["203.0.113.10:7443".parse().unwrap()],
            relays: Vec::new(),
            stun: Vec::new(),
            remote: Some("203.0.113.10:7443".parse().unwrap()),
        };
        Status {
            device: DeviceId::from_bytes([1; 16]),
            card,
            full_size: Some(true),
            is_measuring_lifetime: false,
            keep_alive: Duration::from_secs(15),
            coordinators: vec![online],
            networks: vec![home],
        }
    }
}
