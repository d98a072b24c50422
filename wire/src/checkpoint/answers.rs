//! What CHECKPOINT says: answers and pushes.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::roster::{Availability, Roster, RosterChanged};
use crate::codec::lists::List;
use crate::codec::messages::{wire_fields, wire_variants};
use crate::ids::{AttemptId, DeviceId, DeviceNumber, NetworkId, PushId, RequestId, Revision};
use crate::keys::PublicKey;
use crate::limits::{NETWORKS_MAX, PRESENCE_MAX, RELAYS_MAX, SERVICE_ADDRS_MAX, STUN_ADDRS_MAX};
use crate::seal::Ticket;
use crate::token::Token;

/// From CHECKPOINT to a device: answers, and pushes from 0x90 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromCheckpoint {
    /// Answer to Register.
    Registered(Registered),
    /// Answer to Join.
    JoinAnswer {
        /// The request.
        request: RequestId,
        /// What came of it.
        outcome: JoinOutcome,
    },
    /// Answer to Leave.
    Left {
        /// The request.
        request: RequestId,
    },
    /// Answer to RosterAsk: one page.
    Roster(Roster),
    /// Answer to Begin.
    BeginAnswer(BeginAnswer),
    /// Answer to RosterAsk and Leave: the network is gone or the device no member of it.
    NotMember {
        /// The request.
        request: RequestId,
        /// The network.
        network: NetworkId,
    },
    /// Answer to Consent.
    Accepted {
        /// The request.
        request: RequestId,
    },
    /// Push: a peer wants a path to this device.
    Invited(Invited),
    /// Push: a network's roster changed.
    RosterChanged(RosterChanged),
    /// Push: members came and went.
    Presence(Presence),
}

wire_variants!(FromCheckpoint "checkpoint message" {
    0x81 => Registered(registered),
    0x82 => JoinAnswer { request, outcome },
    0x83 => Left { request },
    0x84 => Roster(roster),
    0x85 => BeginAnswer(answer),
    0x86 => NotMember { request, network },
    0x87 => Accepted { request },
    0x90 => Invited(invited),
    0x91 => RosterChanged(changed),
    0x92 => Presence(presence),
});

/// What a registered device needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The request.
    pub request: RequestId,
    /// The device's public number; none while it is a member of nothing.
    pub number: Option<DeviceNumber>,
    /// The address the Register came from.
    pub observed: SocketAddr,
    /// Where the other services are.
    pub services: Services,
    /// The device's networks and their newest revisions, at most [`NETWORKS_MAX`].
    pub networks: Vec<(NetworkId, Revision)>,
    /// A fresh ticket.
    pub ticket: Ticket,
}

wire_fields!(Registered {
    request,
    number,
    observed,
    services,
    networks as List(NETWORKS_MAX, "network count"),
    ticket,
});

/// Where a coordinator's services are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// HANDSHAKE services; messages name one by its index.
    pub handshake: Vec<ServiceAddr>,
    /// RELAY services, the one to use first.
    pub relay: Vec<ServiceAddr>,
    /// Addresses of STUN services, first address and port of the pair first.
    pub stun: Vec<SocketAddr>,
}

wire_fields!(Services {
    handshake as List(RELAYS_MAX, "service count"),
    relay as List(RELAYS_MAX, "service count"),
    stun as List(STUN_ADDRS_MAX, "STUN address count"),
});

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddr {
    /// Its identity; the checkpoint's own key means the same session.
    pub key: PublicKey,
    /// Its addresses, at most [`SERVICE_ADDRS_MAX`]; none means the checkpoint's own.
    pub addrs: Vec<SocketAddr>,
}

wire_fields!(ServiceAddr { key, addrs as List(SERVICE_ADDRS_MAX, "service address count") });

/// What came of a Join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// The device is a member.
    Joined {
        /// The network.
        network: NetworkId,
    },
    /// An administrator has to approve.
    Pending {
        /// The network.
        network: NetworkId,
    },
    /// The device is not let in.
    Refused(JoinRefusal),
}

wire_variants!(JoinOutcome "join outcome" {
    0x01 => Joined { network },
    0x02 => Pending { network },
    0x03 => Refused(why),
});

/// Why a device is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinRefusal {
    /// No network of that name.
    UnknownNetwork,
    /// No such invite.
    InvalidInvite,
    /// The invite was used as often as it may be.
    InviteUsedUp,
    /// The invite's time is over.
    InviteExpired,
    /// The network takes no new members.
    Locked,
    /// Another member has the name.
    NameTaken,
    /// The network has as many members as it may have.
    Full,
    /// An administrator said no.
    Denied,
    /// The coordinator cannot decide now; try later.
    Unavailable,
    /// The network is joined by a password, and this is not it.
    WrongPassword,
}

wire_variants!(JoinRefusal "join refusal" {
    0x01 => UnknownNetwork,
    0x02 => InvalidInvite,
    0x03 => InviteUsedUp,
    0x04 => InviteExpired,
    0x05 => Locked,
    0x06 => NameTaken,
    0x07 => Full,
    0x08 => Denied,
    0x09 => Unavailable,
    0x0A => WrongPassword,
});

/// Answer to Begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginAnswer {
    /// The request.
    pub request: RequestId,
    /// The peer asked for.
    pub peer: DeviceId,
    /// What came of it.
    pub outcome: BeginOutcome,
}

wire_fields!(BeginAnswer { request, peer, outcome });

/// What came of a Begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginOutcome {
    /// The peer is not here.
    Offline,
    /// The peer refuses this device.
    Refused,
    /// The two share no network.
    NoSharedNetwork,
    /// Both were told: offer now.
    Started {
        /// The attempt.
        attempt: AttemptId,
        /// To be shown to HANDSHAKE.
        ticket: Token,
        /// Index of the HANDSHAKE service in [`Services::handshake`].
        handshake: u8,
    },
}

wire_variants!(BeginOutcome "begin outcome" {
    0x01 => Offline,
    0x02 => Refused,
    0x03 => NoSharedNetwork,
    0x04 => Started { attempt, ticket, handshake },
});

/// Push: a peer began an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invited {
    /// To be acknowledged.
    pub push: PushId,
    /// The attempt.
    pub attempt: AttemptId,
    /// To be shown to HANDSHAKE.
    pub ticket: Token,
    /// Who began it.
    pub peer: DeviceId,
    /// Index of the HANDSHAKE service in [`Services::handshake`].
    pub handshake: u8,
}

wire_fields!(Invited { push, attempt, ticket, peer, handshake });

/// Push: members of shared networks came online or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// To be acknowledged.
    pub push: PushId,
    /// Devices and whether they are there, at most [`PRESENCE_MAX`].
    pub changes: Vec<(DeviceId, Availability)>,
}

wire_fields!(Presence { push, changes as List(PRESENCE_MAX, "presence count") });
