//! What is known of a pair of devices and of the NATs between them.

use std::net::SocketAddr;

use lanyard_wire::checkpoint::PairCode;
use serde::{Deserialize, Serialize};

use super::{Door, Member, Server, Transport};

/// The pair's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// This device's name.
    pub device: String,
    /// The network both are in.
    pub network: String,
    /// The peer.
    pub peer: Member,
    /// The NAT at this end.
    pub ours: Nat,
    /// What the router at this end maps.
    #[serde(default)]
    pub port_mapping: PortMapping,
    /// The way to the coordinator from this end, where that is not UDP.
    #[serde(default)]
    pub door: Option<Door>,
    /// The NAT at the other end, once told.
    pub theirs: Option<Nat>,
    /// State of the newest try for a direct path, in one word.
    pub attempt: String,
    /// What the coordinator chose: plain punching or the relay alone.
    pub method: Option<Method>,
    /// What was tried.
    pub tried: Vec<Tried>,
    /// Probes sent beside those, to ports that nobody named.
    #[serde(default)]
    pub guesses: u32,
    /// How long ago the newest try began.
    pub last_try_s: Option<u64>,
    /// When the next one comes.
    pub next_try_s: Option<u64>,
    /// What stands in the way.
    pub verdict: Verdict,
}

/// What the coordinator chose for a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Both ends send probes to each other's addresses at the same moment.
    Plain,
    /// Punching is hopeless by both NATs.
    Relay,
    /// As plain, from sockets that nothing has used yet.
    Fresh,
    /// This end opens mappings towards the peer, which guesses their ports.
    Open,
    /// This end guesses ports of the peer.
    Guess,
    /// Both ends foresee the port that the other's router gives next.
    Predict,
    /// UDP does not get out here, so this end calls the peer by TCP.
    Connect,
    /// UDP does not get out at the peer, so this end takes its call by TCP.
    Accept,
}

/// One address that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Where the address is from.
    pub kind: CandidateKind,
    /// The address.
    pub address: SocketAddr,
    /// What carries the probes.
    #[serde(default)]
    pub transport: Transport,
    /// Probes sent to it.
    pub probes: u32,
    /// An authentic answer came.
    pub answered: bool,
}

/// Where a candidate address is from (RFC 8445).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateKind {
    /// An interface of the peer.
    Host,
    /// What the peer's STUN service saw.
    ServerReflexive,
    /// Where a probe of the peer came from.
    PeerReflexive,
    /// A port mapping on the peer's router.
    Mapped,
    /// A guess.
    Predicted,
    /// A relay.
    Relayed,
}

/// What stands in the way of a direct path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing: the path is direct.
    Direct,
    /// No traffic wants a tunnel.
    Idle,
    /// A try is running.
    Trying,
    /// This device refuses the peer.
    RefusedHere,
    /// The peer refuses this device.
    RefusedThere,
    /// The coordinator says that the peer is not online.
    PeerOffline,
    /// No network has both as active members.
    NoSharedNetwork,
    /// No coordinator that knows both answers.
    CoordinatorUnreachable,
    /// Neither a direct path nor a relay.
    NoRelay,
    /// No UDP leaves this device's network.
    UdpBlockedHere,
    /// No UDP leaves the peer's network.
    UdpBlockedThere,
    /// Both NATs give every destination another port.
    BothMappingsVary,
    /// This end's NAT gives every destination another port, and the other filters by port.
    MappingVariesHere,
    /// The other end's NAT gives every destination another port, and this one filters by port.
    MappingVariesThere,
    /// Small probes pass, full-size ones do not.
    FullSizeLost,
    /// By both NATs it should work and no probe arrives.
    ProbesLost,
}

impl Verdict {
    /// The word that stands for it with `--json`, in what people read and, where a device reports it, at the coordinator.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => PairCode::Direct.word(),
            Self::Idle => "idle",
            Self::Trying => "trying",
            Self::RefusedHere => "refused_here",
            Self::RefusedThere => "refused_there",
            Self::PeerOffline => "peer_offline",
            Self::NoSharedNetwork => "no_shared_network",
            Self::CoordinatorUnreachable => "coordinator_unreachable",
            Self::NoRelay => PairCode::NoRelay.word(),
            Self::UdpBlockedHere => PairCode::UdpBlockedHere.word(),
            Self::UdpBlockedThere => PairCode::UdpBlockedThere.word(),
            Self::BothMappingsVary => PairCode::BothMappingsVary.word(),
            Self::MappingVariesHere => PairCode::MappingVariesHere.word(),
            Self::MappingVariesThere => PairCode::MappingVariesThere.word(),
            Self::FullSizeLost => PairCode::FullSizeLost.word(),
            Self::ProbesLost => PairCode::ProbesLost.word(),
        }
    }
}

/// What a NAT does, in the words of RFC 4787.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// UDP gets out and answers come back.
    pub udp: bool,
    /// To whom a mapping belongs.
    pub mapping: Option<Mapping>,
    /// From whom a mapping lets datagrams in.
    pub filtering: Option<Filtering>,
    /// How outside ports are chosen.
    pub ports: Option<Ports>,
    /// Devices behind the NAT reach each other by its outside address.
    pub hairpin: Option<bool>,
    /// For how long a silent mapping was seen to live, at least.
    pub lifetime_s: Option<u16>,
    /// The address IPv4 peers see.
    pub ip4: Option<SocketAddr>,
    /// The address IPv6 peers see.
    pub ip6: Option<SocketAddr>,
}

/// To whom a mapping belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// No address translation.
    None,
    /// One outside port for all destinations.
    EndpointIndependent,
    /// Another outside port for each destination address.
    AddressDependent,
    /// Another outside port for each destination address and port.
    AddressAndPortDependent,
}

/// From whom a mapping lets datagrams in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// From everybody.
    EndpointIndependent,
    /// From addresses that were sent to.
    AddressDependent,
    /// From addresses and ports that were sent to.
    AddressAndPortDependent,
}

/// How outside ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum Ports {
    /// The inside port, where it is free.
    Preserved,
    /// A fixed step from the last one.
    Sequential {
        /// The step.
        step: i8,
    },
    /// From a small block.
    Block {
        /// Lowest port seen.
        low: u16,
        /// Highest port seen.
        high: u16,
    },
    /// At random.
    Random,
}

/// A port of the router that leads to this device, by PCP, NAT-PMP or UPnP-IGD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// How this device stands with its router.
    pub state: PortMappingState,
    /// How the port was asked for.
    pub protocol: Option<PortMappingProtocol>,
    /// The address outside, as the router names it.
    pub address: Option<SocketAddr>,
    /// For how long it was granted; 0 is for ever. It is renewed well before.
    pub lease_s: Option<u64>,
}

/// How a device stands with its router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortMappingState {
    /// Switched off by the setting `port_mapping`, or networking is down.
    #[default]
    Off,
    /// No IPv4 router, or a public address: nothing to ask for.
    Unneeded,
    /// The router is being asked.
    Asking,
    /// The router does not answer, or gives no port.
    None,
    /// A port is open, and peers are told of it.
    Mapped,
    /// The router gave a port, but is behind another NAT itself: peers are not told of it.
    DoubleNat,
}

/// How a port was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortMappingProtocol {
    /// Port Control Protocol.
    Pcp,
    /// NAT Port Mapping Protocol.
    NatPmp,
    /// UPnP Internet Gateway Device.
    Upnp,
}

/// The way out of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// UDP.
    #[default]
    Udp,
    /// No UDP, and TCP to more than port 443.
    Tcp,
    /// TCP 443 alone.
    #[serde(rename = "tcp-443")]
    Tcp443,
    /// An HTTP proxy alone.
    Proxy,
    /// Nothing, until somebody signs in on the page that the network shows instead of others.
    CaptivePortal,
    /// Nothing that leads to the coordinator.
    Blocked,
}

/// The NAT in front of this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netcheck {
    /// What was found.
    #[serde(flatten)]
    pub nat: Nat,
    /// The way out of this network.
    #[serde(default)]
    pub egress: Egress,
    /// TCP to the coordinator's host was answered or refused, where neither UDP nor its door was; `null` where it was not asked.
    #[serde(default)]
    pub host_answers: Option<bool>,
    /// Where a captive portal wants a browser to go, where it says so.
    #[serde(default)]
    pub portal: Option<String>,
    /// Datagrams as long as the tunnel's longest reach the coordinator; `null` while that is not known.
    #[serde(default)]
    pub full_size: Option<bool>,
    /// The longest IP packet, of those tried, that the coordinator's STUN service answered and no router had cut; `null` where
    /// it answers none.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// How long a silent mapping lives is being measured in the background.
    #[serde(default)]
    pub measuring_lifetime: bool,
    /// Seconds between the datagrams that keep a mapping open, on average.
    #[serde(default)]
    pub keep_alive_s: u64,
    /// What the router maps.
    #[serde(default)]
    pub port_mapping: PortMapping,
    /// The coordinators and how far away they are.
    pub servers: Vec<Server>,
}
