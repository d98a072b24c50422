//! What the program may wish from a device.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, InviteCode, JoinPassword, NetworkName};

use super::cache::CoordinatorCache;

/// A wish of the program.
#[derive(Clone, Debug)]
pub enum Command {
    /// Speak to a coordinator from now on. A second one with the same key replaces its addresses.
    AddCoordinator {
        /// Its identity key, from the join string.
        key: PublicKey,
        /// Where it was found, and the address that stands for its door (`lanyard_wire::door`).
        addrs: Vec<SocketAddr>,
        /// What was known when the device last ran.
        cache: Option<CoordinatorCache>,
    },
    /// The name of a coordinator was resolved again.
    CoordinatorAddrs {
        /// Its identity key.
        key: PublicKey,
        /// Where it is now, and the address that stands for its door.
        addrs: Vec<SocketAddr>,
    },
    /// The connection behind a coordinator's door was lost and is there again: its services must hear us to
    /// know where we are.
    Reconnected {
        /// Its identity key.
        key: PublicKey,
    },
    /// Forget a coordinator and every network of it.
    RemoveCoordinator {
        /// Its identity key.
        key: PublicKey,
    },
    /// Join a network; answered by [`Event::Joined`](super::Event::Joined).
    Join {
        /// Returned with the answer.
        tag: u64,
        /// The coordinator to ask, added before.
        key: PublicKey,
        /// The network.
        network: NetworkName,
        /// The invite, where one is at hand.
        invite: Option<InviteCode>,
        /// The network's password, where it is joined by one.
        password: Option<JoinPassword>,
        /// The name to ask for instead of the device's own.
        name: Option<DeviceName>,
    },
    /// Leave a network; answered by [`Event::Left`](super::Event::Left).
    Leave {
        /// Returned with the answer.
        tag: u64,
        /// The network.
        network: NetworkId,
    },
    /// Switch one network on or off on this device; membership stays.
    Enable {
        /// The network.
        network: NetworkId,
        /// On?
        enabled: bool,
    },
    /// Somebody wants a tunnel to this peer: traffic, or a person.
    Connect {
        /// The peer.
        peer: DeviceId,
    },
    /// A packet waits for a session with this peer: it may go early. The data plane keeps it and sends it again through the
    /// session.
    Waits {
        /// The peer.
        peer: DeviceId,
        /// The IP packet.
        packet: Vec<u8>,
    },
    /// Refuse a peer, or stop refusing it.
    Refuse {
        /// The peer.
        peer: DeviceId,
        /// Refuse it from now on?
        refused: bool,
    },
    /// Own addresses, given at start and on every change.
    LocalAddresses {
        /// Host candidates: each local address with the main socket's port.
        addrs: Vec<SocketAddr>,
        /// IPv4 prefixes that this machine routes elsewhere: new networks avoid them, older ones give way to them.
        prefixes: Vec<(Ipv4Addr, u8)>,
    },
    /// The router in front of this device maps a port to the main socket, or no longer does.
    ///
    /// The program asks the router (PCP, NAT-PMP, UPnP-IGD), the device only offers what was given.
    Mapped {
        /// The address outside, as the router named it; `None` when there is none any more.
        addr: Option<SocketAddr>,
    },
    /// A TCP connection that [`Event::Dial`](super::Event::Dial) asked for is open.
    Dialed {
        /// The peer that should be at its other end, which only its probes will show.
        peer: DeviceId,
        /// The address that stands for it (`lanyard_wire::door::PEERS`).
        stream: SocketAddr,
    },
    /// The operating system saw a link, an address or a route change: nothing learnt about paths holds.
    NetworkChanged,
    /// Find out now what this network's NAT does; answered by [`Event::Netcheck`](super::Event::Netcheck).
    Netcheck {
        /// Returned with the answer.
        tag: u64,
    },
    /// Hand over what is worth saving and say good-bye to every coordinator.
    Shutdown,
}
