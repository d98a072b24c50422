//! What the program tells an endpoint, and what the endpoint tells the program.

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::checkpoint::{Join, JoinOutcome, LinkReport, PairVerdict};
use lanyard_wire::handshake::Verdict;
use lanyard_wire::ids::{DeviceId, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;

use super::checkpoint::{MemberRecord, NetworkRecord};

/// What INDEX knows and decides.
///
/// Changes of one network come in the order of their revisions; a network before its members. Saying
/// something again changes nothing. An endpoint without CHECKPOINT needs [`EndpointCommand::MemberGone`] and
/// [`EndpointCommand::RemoveNetwork`] only; one with CHECKPOINT answers nothing that depends on memberships
/// before the first [`EndpointCommand::RosterComplete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointCommand {
    /// A network is there and looks like this.
    Network(NetworkRecord),
    /// A network is gone, and every membership in it.
    RemoveNetwork(NetworkId),
    /// A membership is there and looks like this.
    Member {
        /// The network.
        network: NetworkId,
        /// The network's revision with this change.
        revision: Revision,
        /// The membership.
        member: MemberRecord,
    },
    /// A membership is gone.
    MemberGone {
        /// The network.
        network: NetworkId,
        /// The network's revision with this change.
        revision: Revision,
        /// Whose it was.
        device: DeviceId,
    },
    /// All networks and memberships that there are have been told: what is not there is not.
    RosterComplete,
    /// Answers [`EndpointEvent::JoinAsked`].
    JoinDecided {
        /// The question.
        ask: u64,
        /// The answer.
        outcome: JoinOutcome,
    },
    /// Answers [`EndpointEvent::LeaveAsked`].
    LeaveDone {
        /// The question.
        ask: u64,
    },
    /// Somebody wants two devices to try once more for a direct path, now.
    TryAgain {
        /// One end.
        a: DeviceId,
        /// The other one.
        b: DeviceId,
    },
    /// The program is about to end: no new sessions and channels, and whoever has a channel is told to go elsewhere; what
    /// exists goes on.
    Drain,
}

/// What INDEX should know or decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointEvent {
    /// A device wants to become a member.
    JoinAsked {
        /// Names the question.
        ask: u64,
        /// The device's identity key, proven.
        identity: PublicKey,
        /// Where it is, proven.
        remote: SocketAddr,
        /// What it asks for.
        request: Join,
    },
    /// A member wants to leave.
    LeaveAsked {
        /// Names the question.
        ask: u64,
        /// The member.
        device: DeviceId,
        /// The network.
        network: NetworkId,
    },
    /// A member came online, moved, or went.
    Presence {
        /// The member.
        device: DeviceId,
        /// Whether it is online now.
        online: bool,
        /// Where it is, while it is online.
        remote: Option<SocketAddr>,
    },
    /// A device says how it reaches another one, with which it takes part in a network.
    PairVerdict {
        /// Who says so.
        device: DeviceId,
        /// What it says.
        verdict: PairVerdict,
    },
    /// A device says how data goes between it and others, with each of which it takes part in a network.
    Links {
        /// Who says so.
        device: DeviceId,
        /// What it says; not empty.
        links: Vec<LinkReport>,
    },
    /// An end of a pair says how an attempt ended.
    Verdict {
        /// The device with the lower id.
        a: DeviceId,
        /// The device with the higher id.
        b: DeviceId,
        /// Which of them says so.
        from: DeviceId,
        /// What it says.
        verdict: Verdict,
    },
}
