//! The devices that are here now, and what each still has to be told.
//!
//! News wait here, not messages: that a network changed, that a member came or went. While pushes to a device
//! are under way newer news of the same thing replace older ones, so nothing grows with time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::checkpoint::{Availability, Register};
use lanyard_wire::ids::{DeviceId, NetworkId, RequestId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::nat::NatCard;
use lanyard_wire::seal::Ticket;

use super::pushes::Pushes;
use crate::service::bucket::TokenBucket;

/// Members of whom a device may still have to be told whether they are here; of more it hears when it asks for
/// a roster or begins an attempt.
const PRESENCE_MAX: usize = 1_024;

/// A device with a session.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) identity: PublicKey,
    pub(super) remote: SocketAddr,
    /// What it knows about its NAT, once it registered under its present session.
    pub(super) card: Option<NatCard>,
    /// Whether it can be reached by most and passes on frames for others, as it registered last.
    pub(super) relays: bool,
    /// The key to which early packets for it are sealed, as it registered last.
    pub(super) prekey: Option<PublicKey>,
    /// Its registration, where it came from, and the ticket to answer with, while the roster is not complete.
    pub(super) waiting: Option<(Register, SocketAddr, Ticket)>,
    /// Whom it does not want to meet.
    pub(super) refused: BTreeSet<DeviceId>,
    /// The revision of each network that it was told last.
    pub(super) told: BTreeMap<NetworkId, Revision>,
    /// Networks with changes that it was not told.
    pub(super) stale: BTreeSet<NetworkId>,
    /// Members that came or went without it being told.
    pub(super) presence: BTreeMap<DeviceId, Availability>,
    pub(super) pushes: Pushes,
    /// The last answer to Join or Leave, for when it was lost on the way.
    pub(super) answered: Option<(RequestId, Vec<u8>)>,
    /// What it may still say of pairs; kept over sessions. `None`: it said nothing yet.
    pub(super) verdicts: Option<TokenBucket>,
    /// Reports of links it may still send.
    pub(super) links: Option<TokenBucket>,
}

impl Client {
    fn new(identity: PublicKey, remote: SocketAddr) -> Self {
        Self {
            identity,
            remote,
            card: None,
            relays: false,
            prekey: None,
            waiting: None,
            refused: BTreeSet::new(),
            told: BTreeMap::new(),
            stale: BTreeSet::new(),
            presence: BTreeMap::new(),
            pushes: Pushes::default(),
            answered: None,
            verdicts: None,
            links: None,
        }
    }

    /// Begins anew what belongs to one session: the device says again what it wants us to know.
    fn begin_session(&mut self, remote: SocketAddr) {
        self.remote = remote;
        self.card = None;
        self.waiting = None;
        self.refused.clear();
        self.answered = None;
    }

    /// Notes that a member came, went, or relays or no longer does; says whether there was room for it.
    pub(super) fn note_presence(&mut self, device: DeviceId, availability: Availability) -> bool {
        let fits = self.presence.len() < PRESENCE_MAX || self.presence.contains_key(&device);
        if fits {
            self.presence.insert(device, availability);
        }
        fits
    }

    pub(super) fn has_news(&self) -> bool {
        !self.stale.is_empty() || !self.presence.is_empty()
    }
}

/// All devices that are here.
#[derive(Debug, Default)]
pub(super) struct Registry(BTreeMap<DeviceId, Client>);

impl Registry {
    pub(super) fn is_here(&self, device: &DeviceId) -> bool {
        self.0.contains_key(device)
    }

    /// Whether a device is here, and for what.
    pub(super) fn availability(&self, device: &DeviceId) -> Availability {
        match self.0.get(device) {
            None => Availability::Offline,
            Some(Client { relays: true, prekey, .. }) => Availability::Relaying { prekey: *prekey },
            Some(Client { relays: false, prekey, .. }) => Availability::Online { prekey: *prekey },
        }
    }

    pub(super) fn get(&self, device: &DeviceId) -> Option<&Client> {
        self.0.get(device)
    }

    pub(super) fn get_mut(&mut self, device: &DeviceId) -> Option<&mut Client> {
        self.0.get_mut(device)
    }

    /// The devices whose registration waits for the roster, and what they said.
    pub(super) fn take_waiting(&mut self) -> Vec<(DeviceId, Register, SocketAddr, Ticket)> {
        let take = |(device, client): (&DeviceId, &mut Client)| {
            client.waiting.take().map(|(register, observed, ticket)| (*device, register, observed, ticket))
        };
        self.0.iter_mut().filter_map(take).collect()
    }

    /// Everybody with a session.
    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.0.keys()
    }

    /// A device has a new session; says whether it was away before.
    pub(super) fn open(&mut self, device: DeviceId, identity: PublicKey, remote: SocketAddr) -> bool {
        match self.0.get_mut(&device) {
            Some(client) => {
                client.begin_session(remote);
                false
            }
            None => {
                self.0.insert(device, Client::new(identity, remote));
                true
            }
        }
    }

    /// A device has no session any more; says whether it was here.
    pub(super) fn close(&mut self, device: &DeviceId) -> bool {
        self.0.remove(device).is_some()
    }
}
