//! A device at one moment, for `lanyard status`, `why` and `netcheck`.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use lanyard_wire::candidate::Candidate;
use lanyard_wire::checkpoint::MemberState;
use lanyard_wire::handshake::Method;
use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::nat::NatCard;

use super::event::CoordinatorState;
use crate::overlay::Path;
use crate::time::Instant;
use crate::transmit::Way;

/// Everything a person may want to see.
#[derive(Clone, Debug)]
pub struct Status {
    /// This device.
    pub device: DeviceId,
    /// What this network's NAT does.
    pub card: NatCard,
    /// Datagrams as long as the tunnel's longest reach the coordinator's STUN service, once that was asked.
    pub full_size: Option<bool>,
    /// How long a silent mapping lives is being measured, which takes minutes.
    pub is_measuring_lifetime: bool,
    /// Mean time between the datagrams that keep a mapping open here.
    pub keep_alive: Duration,
    /// Coordinators, in the order they were added.
    pub coordinators: Vec<CoordinatorStatus>,
    /// Networks, coordinator by coordinator.
    pub networks: Vec<NetworkStatus>,
}

/// One coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorStatus {
    /// Its identity key.
    pub key: PublicKey,
    /// How this device stands with it.
    pub state: CoordinatorState,
    /// The number it gave this device.
    pub number: Option<DeviceNumber>,
    /// Where it is looked for.
    pub addrs: Vec<SocketAddr>,
    /// Its relays, in its order; the coordinator itself is mostly one of them.
    pub relays: Vec<RelayStatus>,
    /// Its STUN services, as far as known.
    pub stun: Vec<SocketAddr>,
    /// Where its session goes while one stands: an address of UDP, or a door's (`lanyard_wire::door`).
    pub remote: Option<SocketAddr>,
}

/// One relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayStatus {
    /// Its identity key.
    pub key: PublicKey,
    /// Where it is reached, or is looked for.
    pub addr: SocketAddr,
    /// Round trip, once measured.
    pub rtt: Option<Duration>,
    /// It answers, and is not about to end.
    pub is_good: bool,
}

/// One network.
#[derive(Clone, Debug)]
pub struct NetworkStatus {
    /// Identity key of its coordinator.
    pub coordinator: PublicKey,
    /// The network.
    pub id: NetworkId,
    /// Its name.
    pub name: NetworkName,
    /// This device's membership.
    pub state: MemberState,
    /// Switched on here?
    pub enabled: bool,
    /// The revision its members are at.
    pub revision: Revision,
    /// Its IPv4 prefix.
    pub prefix4: (Ipv4Addr, u8),
    /// Own IPv4 address there.
    pub ip4: Ipv4Addr,
    /// Own IPv6 address there.
    pub ip6: Ipv6Addr,
    /// What its IPv4 prefix clashes with: IPv4 stays off.
    pub clash: Option<String>,
    /// The other members.
    pub members: Vec<MemberStatus>,
}

/// One other member.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: DeviceName,
    /// Its number.
    pub number: DeviceNumber,
    /// Its IPv4 address in this network.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address in this network.
    pub ip6: Ipv6Addr,
    /// It has a session with the coordinator.
    pub online: bool,
    /// This device refuses it.
    pub refused: bool,
    /// Where datagrams to it go.
    pub path: Path,
    /// The member that passes on its datagrams, where `path` leads through one.
    pub carrier: Option<DeviceName>,
    /// The largest packet that it is known to carry, in bytes.
    pub mtu: u16,
    /// Round trip over that path, once measured.
    pub rtt: Option<Duration>,
    /// How well each way to it answers pings, the one that did last first.
    pub pings: Vec<PingStatus>,
    /// The newest try to reach it directly.
    pub attempt: AttemptStatus,
    /// Bytes sent to it since start.
    pub tx_bytes: u64,
    /// Authenticated bytes heard from it since start.
    pub rx_bytes: u64,
}

/// How well one way to a peer answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingStatus {
    /// Our socket, and the peer's address, the relay's, or that of the member that passes on.
    pub way: Way,
    /// Round trip of the newest answer.
    pub last: Duration,
    /// Round trip, the newest answer weighing an eighth.
    pub smoothed: Duration,
    /// The shortest one so far.
    pub least: Duration,
    /// Pings that loss is told by: the newest 32 since the way answered first, without those sent less than a second ago that
    /// may still be answered.
    pub pings: u32,
    /// How many of them were not answered.
    pub lost: u32,
    /// When the newest answer came.
    pub answered_at: Instant,
}

/// One try to get a direct path.
#[derive(Clone, Debug)]
pub struct AttemptStatus {
    /// State of the attempt machine, in one word.
    pub state: &'static str,
    /// What HANDSHAKE chose, once it did.
    pub method: Option<Method>,
    /// What the other end's NAT does, once told.
    pub their_card: Option<NatCard>,
    /// Every address tried.
    pub candidates_tried: Vec<CandidateStatus>,
    /// Probes sent beside those, to ports that nobody named.
    pub guesses: u32,
    /// When the newest try began.
    pub last_at: Option<Instant>,
    /// When the next one will.
    pub next_at: Option<Instant>,
    /// What stands in the way, and so what would help.
    pub advice: Advice,
}

/// What came of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateStatus {
    /// The address and where it is from.
    pub candidate: Candidate,
    /// Probes sent to it.
    pub probes_sent: u32,
    /// An authentic answer came.
    pub answered: bool,
}

/// Why a pair is as it is; the program has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Direct: nothing to improve.
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
    /// The coordinator knows no network that both are active members of.
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
    /// This end's NAT gives every destination another port, and the other end's filters by port.
    MappingVariesHere,
    /// The other end's NAT gives every destination another port, and this end's filters by port.
    MappingVariesThere,
    /// Small probes pass, full-size ones do not.
    FullSizeLost,
    /// By both NATs it should work and no probe arrives: a firewall in between.
    ProbesLost,
}
