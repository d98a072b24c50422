//! Messages with CHECKPOINT: presence, networks and their members, and the start of an attempt.
//!
//! A device repeats a request under the same id until it is answered; the service repeats a push under the same id
//! until it is acknowledged. Both are safe to repeat.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::candidate::Candidate;
use crate::codec::lists::{List, Prefixes4, Text};
use crate::codec::messages::{wire_fields, wire_variants};
use crate::ids::{DeviceId, NetworkId, PushId, RequestId, Revision};
use crate::keys::PublicKey;
use crate::limits::{CANDIDATES_MAX, OS_MAX, PREFIXES_MAX, REFUSED_MAX, VERSION_MAX};
use crate::names::{DeviceName, InviteCode, JoinPassword, NetworkName};
use crate::nat::NatCard;

mod answers;
mod link;
mod roster;
mod verdict;

pub use answers::{
    BeginAnswer, BeginOutcome, FromCheckpoint, Invited, JoinOutcome, JoinRefusal, Presence, Registered,
    ServiceAddr, Services,
};
pub use link::{LinkPath, LinkReport, Links};
pub use roster::{Availability, Change, Member, MemberState, NetworkCard, RelayGrant, Roster, RosterChanged};
pub use verdict::{PairCode, PairVerdict};

/// From a device to CHECKPOINT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToCheckpoint {
    /// I am here, and this is how I may be reached; repeated on every change and each half hour.
    Register(Register),
    /// Let me into a network.
    Join(Join),
    /// I leave a network.
    Leave {
        /// Pairs the answer with it.
        request: RequestId,
        /// The network.
        network: NetworkId,
    },
    /// Who is in a network?
    RosterAsk(RosterAsk),
    /// I want a path to a peer.
    Begin {
        /// Pairs the answer with it.
        request: RequestId,
        /// The peer.
        peer: DeviceId,
    },
    /// A push arrived.
    Ack {
        /// The push.
        push: PushId,
    },
    /// Who may not open a tunnel to me.
    Consent(Consent),
    /// How I reach a peer; said once, when an attempt ends, and not answered.
    PairVerdict(PairVerdict),
    /// How data goes to and from peers; said now and then while it does, and not answered.
    Links(Links),
}

wire_variants!(ToCheckpoint "checkpoint message" {
    0x01 => Register(register),
    0x02 => Join(join),
    0x03 => Leave { request, network },
    0x04 => RosterAsk(ask),
    0x05 => Begin { request, peer },
    0x06 => Ack { push },
    0x07 => Consent(consent),
    0x08 => PairVerdict(verdict),
    0x09 => Links(links),
});

/// A device's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Pairs the answer with it.
    pub request: RequestId,
    /// What the device knows about its NAT.
    pub card: NatCard,
    /// Where it may be reached, at most [`CANDIDATES_MAX`]; shown to members it shares a network with.
    pub candidates: Vec<Candidate>,
    /// Whether it can be reached by most and passes on frames for pairs of its networks that allow it.
    pub relays: bool,
    /// The key to which early packets for it are sealed; none if it takes none.
    pub prekey: Option<PublicKey>,
}

wire_fields!(Register {
    request,
    card,
    candidates as List(CANDIDATES_MAX, "candidate count"),
    relays,
    prekey,
});

/// A wish to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Pairs the answer with it.
    pub request: RequestId,
    /// The network's name at this coordinator.
    pub network: NetworkName,
    /// Lets the device in at once; without it an administrator is asked.
    pub invite: Option<InviteCode>,
    /// The network's password, where it is joined by one.
    pub password: Option<JoinPassword>,
    /// The name the device would like.
    pub name: DeviceName,
    /// The device's WireGuard key.
    pub wireguard: PublicKey,
    /// The operating system, at most 32 bytes, for the panel.
    pub os: String,
    /// The agent's version, at most 32 bytes, for the panel.
    pub version: String,
    /// IPv4 prefixes the device routes locally, at most [`PREFIXES_MAX`]: a clash with the network's is reported.
    pub prefixes: Vec<(Ipv4Addr, u8)>,
}

wire_fields!(Join {
    request,
    network,
    invite,
    password,
    name,
    wireguard,
    os as Text(OS_MAX, "operating system"),
    version as Text(VERSION_MAX, "agent version"),
    prefixes as Prefixes4(PREFIXES_MAX),
});

/// A question for a network's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterAsk {
    /// Pairs the answers with it.
    pub request: RequestId,
    /// The network.
    pub network: NetworkId,
    /// The revision the device holds; zero for none.
    pub since: Revision,
    /// Continue behind this device: the `next` of the page before.
    pub after: Option<DeviceId>,
}

wire_fields!(RosterAsk { request, network, since, after });

/// The whole list of devices that are refused; replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Pairs the answer with it.
    pub request: RequestId,
    /// The devices, at most [`REFUSED_MAX`].
    pub refused: Vec<DeviceId>,
}

wire_fields!(Consent { request, refused as List(REFUSED_MAX, "refused count") });
