//! What a device tells the program.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::checkpoint::JoinOutcome;
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::nat::NatCard;

use super::cache::DeviceCache;
use crate::overlay::{ForwardingTable, Path};
use crate::time::Instant;
use crate::transmit::SocketId;

/// A fact for the program.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new table for the data plane, which takes it as a whole.
    Forwarding(Arc<ForwardingTable>),
    /// The answer to a join.
    Joined {
        /// The command's tag.
        tag: u64,
        /// Joined, pending or refused.
        outcome: JoinOutcome,
    },
    /// The answer to a leave.
    Left {
        /// The command's tag.
        tag: u64,
        /// The network.
        network: NetworkId,
    },
    /// The answer to a netcheck.
    Netcheck {
        /// The command's tag.
        tag: u64,
        /// What was found.
        card: NatCard,
    },
    /// A coordinator came or went.
    Coordinator {
        /// Its identity key.
        key: PublicKey,
        /// Its state now.
        state: CoordinatorState,
    },
    /// Datagrams to a peer take another path.
    Path {
        /// The peer.
        peer: DeviceId,
        /// The path until now.
        from: Path,
        /// The path from now on.
        to: Path,
        /// Why, for logs.
        why: &'static str,
    },
    /// A member of a network changed.
    Member {
        /// The network.
        network: NetworkId,
        /// The member.
        device: DeviceId,
        /// Its name.
        name: DeviceName,
        /// What happened to it.
        change: MemberChange,
    },
    /// This device is no longer a member of a network, by somebody else's decision.
    RemovedFrom {
        /// The network.
        network: NetworkId,
        /// Its name.
        name: NetworkName,
    },
    /// A network has IPv4 addresses of an earlier network, or of a LAN of this computer: it runs on IPv6 alone.
    Clash {
        /// The network whose IPv4 stays off.
        network: NetworkId,
        /// Its name.
        name: NetworkName,
        /// What it clashes with, name and prefix.
        with: String,
    },
    /// A packet of this peer that did not wait for its session. The data plane checks it like one out of a tunnel, and takes it
    /// once when it comes again by the session.
    Early {
        /// The peer.
        peer: DeviceId,
        /// The IP packet.
        packet: Vec<u8>,
    },
    /// Save this, atomically; at most every two seconds.
    Persist(Box<DeviceCache>),
    /// This spare socket was heard on and may carry tunnels from now on: it is to be read like the main one, and
    /// the forwarding table may name it.
    KeepSocket(SocketId),
    /// Open a TCP connection to one of these addresses and answer with [`Command::Dialed`](super::Command::Dialed);
    /// nothing if none answers.
    Dial {
        /// The peer that should be there.
        peer: DeviceId,
        /// Its public addresses, best first, few.
        addrs: Vec<SocketAddr>,
    },
    /// Take TCP connections at the main socket's port for some seconds. Who they are from shows in what they carry;
    /// one that the forwarding table does not name soon is to be closed.
    Listen,
    /// A spare socket is no longer needed.
    CloseSocket(SocketId),
}

/// How this device stands with a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorState {
    /// No session yet, the first tries are running.
    Connecting,
    /// A session stands.
    Online {
        /// This device's address as the coordinator sees it.
        observed: SocketAddr,
        /// Round trip to it, once measured.
        rtt: Option<Duration>,
    },
    /// No answer.
    Offline {
        /// Since then.
        since: Instant,
    },
}

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// It is a member now.
    Joined,
    /// It is no member any more.
    Left,
    /// It has a session with the coordinator.
    Online,
    /// It has none any more.
    Offline,
}
