//! What a coordinator tells the device.

use core::net::SocketAddr;

use lanyard_wire::checkpoint::{BeginOutcome, JoinOutcome};
use lanyard_wire::handshake::{Go, Method};
use lanyard_wire::ids::{AttemptId, Channel, DeviceId, NetworkId};
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::relay::RelayRefusal;
use lanyard_wire::token::Token;

use crate::device::event::MemberChange;

/// A fact for the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::device) enum CoordinatorEvent {
    /// It came or went; ask [`Coordinator::state`](super::Coordinator::state).
    StateChanged,
    /// It knows us now, and sees us there.
    Registered {
        /// Our address as it sees it.
        observed: SocketAddr,
    },
    /// The answer to a join.
    Joined {
        /// The caller's tag.
        tag: u64,
        /// Joined, pending or refused.
        outcome: JoinOutcome,
    },
    /// The answer to a leave.
    Left {
        /// The caller's tag.
        tag: u64,
        /// The network.
        network: NetworkId,
    },
    /// Members, grants or the card of a network are not what they were, or it is gone.
    DirectoryChanged {
        /// The network.
        network: NetworkId,
    },
    /// One member changed.
    Member {
        /// The network.
        network: NetworkId,
        /// The member.
        device: DeviceId,
        /// Its name.
        name: DeviceName,
        /// What happened.
        change: MemberChange,
    },
    /// This device is no member any more, by somebody else's decision.
    RemovedFrom {
        /// The network.
        network: NetworkId,
        /// Its name.
        name: NetworkName,
    },
    /// The answer to [`Coordinator::begin`](super::Coordinator::begin).
    Began {
        /// The peer.
        peer: DeviceId,
        /// Started, or why not.
        outcome: BeginOutcome,
    },
    /// A peer began an attempt with us.
    Invited {
        /// The attempt.
        attempt: AttemptId,
        /// The right to take part.
        ticket: Token,
        /// The peer.
        peer: DeviceId,
        /// Which of the handshake services.
        handshake: u8,
    },
    /// Both offers are in, and ours is to be made again with what the plan needs.
    Prepare {
        /// The attempt.
        attempt: AttemptId,
        /// The plan.
        method: Method,
    },
    /// Both offers are in: start.
    Go {
        /// The plan.
        go: Go,
    },
    /// HANDSHAKE does not take our offer.
    OfferRejected {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A relay bound our channel.
    Bound {
        /// The channel.
        channel: Channel,
        /// Which of the relays.
        relay: u8,
        /// The other end has a session there.
        peer_here: bool,
    },
    /// A relay does not bind our channel; it is wanted no more.
    RelayRefused {
        /// The channel.
        channel: Channel,
        /// Why not.
        why: RelayRefusal,
    },
    /// A relay is about to end, does not answer, or is back: pairs may have to meet elsewhere.
    RelaysChanged,
    /// A peer bound its channel to us.
    Incoming {
        /// The channel.
        channel: Channel,
        /// The peer.
        peer: DeviceId,
    },
}
