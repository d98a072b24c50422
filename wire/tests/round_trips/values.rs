//! How to draw any value of the protocol.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::ids::{
    AttemptId, Channel, DeviceId, DeviceNumber, NetworkId, PushId, RequestId, Revision, SessionIndex,
};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, InviteCode, NetworkName};
use lanyard_wire::nat::{Filtering, Mapping, NatCard, PortPolicy};
use lanyard_wire::seal::Ticket;
use lanyard_wire::token::{Purpose, Token};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

macro_rules! drawn {
    ($($name:ident() -> $type:ty = $strategy:expr;)*) => {$(
        pub(crate) fn $name() -> impl Strategy<Value = $type> + Clone {
            $strategy
        }
    )*};
}

drawn! {
    device() -> DeviceId = any::<[u8; 16]>().prop_map(DeviceId::from_bytes);
    network() -> NetworkId = any::<[u8; 16]>().prop_map(NetworkId::from_bytes);
    attempt() -> AttemptId = any::<u64>().prop_map(AttemptId::new);
    revision() -> Revision = any::<u64>().prop_map(Revision::new);
    session() -> SessionIndex = any::<u32>().prop_map(SessionIndex::new);
    request() -> RequestId = any::<u32>().prop_map(RequestId::new);
    push() -> PushId = any::<u32>().prop_map(PushId::new);
    channel() -> Channel = (0..=Channel::MAX.value()).prop_map(|value| Channel::new(value).unwrap());
    number() -> DeviceNumber =
        (0..=DeviceNumber::MAX.value()).prop_map(|value| DeviceNumber::new(value).unwrap());
    key() -> PublicKey = any::<[u8; 32]>().prop_map(PublicKey::from_bytes);
    ticket() -> Ticket = vec(any::<u8>(), 112).prop_map(|bytes| Ticket::from_bytes(bytes.try_into().unwrap()));
    invite() -> InviteCode = any::<[u8; 5]>().prop_map(InviteCode::from_bytes);
    network_name() -> NetworkName =
        "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?".prop_map(|text| NetworkName::parse(&text).unwrap());
    device_name() -> DeviceName =
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|text| DeviceName::parse(&text).unwrap());
    short_text() -> String = "\\PC{0,8}";
    ip4() -> Ipv4Addr = any::<[u8; 4]>().prop_map(Ipv4Addr::from);
    ip6() -> Ipv6Addr = any::<[u8; 16]>().prop_map(Ipv6Addr::from);
    addr4() -> SocketAddrV4 = (ip4(), any::<u16>()).prop_map(|(ip, port)| SocketAddrV4::new(ip, port));
    addr6() -> SocketAddrV6 = (ip6(), any::<u16>()).prop_map(|(ip, port)| SocketAddrV6::new(ip, port, 0, 0));
    addr() -> SocketAddr =
        prop_oneof![addr4().prop_map(SocketAddr::V4), addr6().prop_map(SocketAddr::V6)];
    prefix4() -> (Ipv4Addr, u8) = (ip4(), 0..=32u8);
    candidate() -> Candidate = (
        prop_oneof![
            Just(CandidateKind::Host),
            Just(CandidateKind::ServerReflexive),
            Just(CandidateKind::PeerReflexive),
            Just(CandidateKind::Mapped),
            Just(CandidateKind::Predicted),
            Just(CandidateKind::Relayed),
        ],
        addr(),
    )
        .prop_map(|(kind, addr)| Candidate { kind, addr });
    candidates() -> Vec<Candidate> = vec(candidate(), 0..=8);
    mapping() -> Mapping = prop_oneof![
        Just(Mapping::None),
        Just(Mapping::EndpointIndependent),
        Just(Mapping::AddressDependent),
        Just(Mapping::AddressAndPortDependent),
    ];
    filtering() -> Filtering = prop_oneof![
        Just(Filtering::EndpointIndependent),
        Just(Filtering::AddressDependent),
        Just(Filtering::AddressAndPortDependent),
    ];
    ports() -> PortPolicy = prop_oneof![
        Just(PortPolicy::Preserved),
        any::<i8>().prop_map(|step| PortPolicy::Sequential { step }),
        any::<(u16, u16)>().prop_map(|(low, high)| PortPolicy::Block { low, high }),
        Just(PortPolicy::Random),
    ];
    card() -> NatCard = (
        (option::of(mapping()), option::of(filtering()), option::of(ports()), any::<Option<bool>>()),
        (any::<bool>(), any::<Option<u16>>(), option::of(addr4()), option::of(addr6())),
    )
        .prop_map(|((mapping, filtering, ports, hairpin), (udp, lifetime_s, reflexive4, reflexive6))| {
            NatCard { mapping, filtering, ports, hairpin, udp, lifetime_s, reflexive4, reflexive6 }
        });
    token() -> Token = (
        prop_oneof![Just(Purpose::Attempt), Just(Purpose::Relay)],
        (device(), device()).prop_filter("two devices", |(x, y)| x != y),
        any::<(u64, u32, [u8; 16])>(),
    )
        .prop_map(|(purpose, (x, y), (value, expires_s, mac))| {
            Token { purpose, a: x.min(y), b: x.max(y), value, expires_s, mac }
        });
}
