//! What a device wants to find again after a restart.
//!
//! Plain data: the program writes it to disk, readable by its owner alone (tickets and grants are
//! secrets), and hands each coordinator's part back with
//! [`Command::AddCoordinator`](super::Command::AddCoordinator). With it two devices find each other
//! while every coordinator is away.

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::checkpoint::{Member, NetworkCard, Services};

use lanyard_wire::ids::{AttemptId, DeviceNumber, Revision};
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::seal::Ticket;

/// Everything worth saving.
#[derive(Clone, Debug, Default)]
pub struct DeviceCache {
    /// One part per coordinator, in the order they were added.
    pub coordinators: Vec<CoordinatorCache>,
}

/// What is known of one coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorCache {
    /// Its identity key.
    pub key: PublicKey,
    /// Where it was reached.
    pub addrs: Vec<SocketAddr>,
    /// The number it gave this device.
    pub number: Option<DeviceNumber>,
    /// The services it named.
    pub services: Option<Services>,
    /// Resumption ticket of the checkpoint session, and the secret that goes with it.
    pub ticket: Option<(Ticket, SymmetricKey)>,
    /// The networks this device is a member of there.
    pub networks: Vec<NetworkCache>,
}

/// What is known of one network.
#[derive(Clone, Debug)]
pub struct NetworkCache {
    /// Its card.
    pub card: NetworkCard,
    /// The revision its members are at.
    pub revision: Revision,
    /// Switched on here?
    pub enabled: bool,
    /// Its members.
    pub members: Vec<MemberCache>,
}

/// What is known of one member.
#[derive(Clone, Debug)]
pub struct MemberCache {
    /// The member with its relay grant.
    pub member: Member,
    /// Addresses on which it was reached directly, best first.
    pub endpoints: Vec<SocketAddr>,
    /// The newest attempt, whose probe key both ends still know.
    pub attempt: Option<AttemptId>,
    /// When traffic last flowed, in seconds of the Unix epoch; 0 = never.
    pub last_active_unix_s: u64,
}
