//! One coordinator, seen from a device.
//!
//! A coordinator is a checkpoint, known by the key that a join string pins, and the handshake and relay
//! services that it names. Services with one key share one session ([`Link`]); the others get a link each
//! and are shown the same ticket. This machine keeps the promises that outlive a session: what is registered,
//! asked, offered and bound is said again when a new session begins. It knows nothing about peers beyond the
//! directory; who wants an attempt or a relay is the device's business.

mod bindings;
mod event;
mod inbox;
mod offers;
mod relays;
mod repeat;
mod requests;
mod wishes;

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::checkpoint::{ServiceAddr, Services};
use lanyard_wire::door::is_door;
use lanyard_wire::ids::{AttemptId, DeviceId, NetworkId};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::DeviceName;

use self::bindings::Bindings;
pub(super) use self::event::CoordinatorEvent;
use self::offers::Offers;
use self::relays::Meetings;
use self::requests::Requests;
pub(super) use self::wishes::Wish;
use super::cache::CoordinatorCache;
use super::directory::{Directory, DirectoryEvent};
use super::event::CoordinatorState;
use super::link::{Expect, Link, LinkEvent, LinkState};
use super::presence::Presence;
use super::status::CoordinatorStatus;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup, WallClock};
use crate::transmit::{Datagram, Transmit};

/// Least time between two registrations that pokes cause.
const REGISTER_GAP: Duration = Duration::from_secs(1);

/// What every coordinator of a device needs to know about the device.
#[derive(Debug)]
pub(super) struct Shared {
    /// The identity key.
    pub(super) identity: SecretKey,
    /// Wall time at one instant.
    pub(super) wall: WallClock,
    /// Counts the starts of this device.
    pub(super) boot: u64,
    /// The name to ask for.
    pub(super) name: DeviceName,
    /// Operating system, for people.
    pub(super) os: String,
    /// Program version, for people.
    pub(super) version: String,
}

/// The coordinator.
#[derive(Debug)]
pub(super) struct Coordinator {
    key: PublicKey,
    addrs: Vec<SocketAddr>,
    shared: Arc<Shared>,
    rng: Rng,
    /// By the service's key; the checkpoint's is always there.
    links: BTreeMap<PublicKey, Link>,
    presence: Presence,
    directory: Directory,
    requests: Requests,
    offers: Offers,
    bindings: Bindings,
    /// Relays that are about to end, by their service's key, until they grant a new session.
    draining: BTreeSet<PublicKey>,
    meetings: Meetings,
    refused: Vec<DeviceId>,
    /// Attempts that we were invited to lately, so that a repeated push is no second invitation.
    invited: VecDeque<AttemptId>,
    /// No session began yet, so nothing was registered.
    fresh: bool,
    /// The session that stands has not answered a registration yet.
    unregistered: bool,
    /// When members of whom a new session said nothing count as away.
    away_at: Option<Instant>,
    /// When a poke last registered.
    poked_at: Option<Instant>,
    events: VecDeque<CoordinatorEvent>,
}

impl Coordinator {
    /// A coordinator at these addresses, with what was known of it when the device last ran.
    pub(super) fn new(
        key: PublicKey,
        addrs: Vec<SocketAddr>,
        shared: &Arc<Shared>,
        cache: Option<CoordinatorCache>,
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let me = DeviceId::of(&shared.identity.public());
        let (number, services, ticket, networks) = cache
            .map(|cache| (cache.number, cache.services, cache.ticket, cache.networks))
            .unwrap_or_default();
        let link = Link::new(key, addrs.clone(), ticket, Arc::clone(shared), rng.fork(b"checkpoint"), now);
        let mut coordinator = Self {
            key,
            addrs,
            shared: Arc::clone(shared),
            links: BTreeMap::from([(key, link)]),
            presence: Presence::new(number, services),
            directory: Directory::new(me, networks),
            requests: Requests::new(rng.u32()),
            offers: Offers::default(),
            bindings: Bindings::default(),
            draining: BTreeSet::new(),
            meetings: Meetings::default(),
            refused: Vec::new(),
            invited: VecDeque::new(),
            fresh: true,
            unregistered: true,
            away_at: None,
            poked_at: None,
            events: VecDeque::new(),
            rng,
        };
        coordinator.keep_links(now);
        coordinator
    }

    /// Makes every service hear us from where we are now, and answer. Often called, rarely sent.
    ///
    /// Whoever pokes doubts that we are where we were, so we also register: the answer says where we are
    /// seen, which is a candidate that the next attempt needs.
    pub(super) fn poke(&mut self, now: Instant) {
        if !self.fresh && self.poked_at.is_none_or(|at| now.saturating_since(at) >= REGISTER_GAP) {
            self.poked_at = Some(now);
            self.ask_register(now);
        }
        for link in self.links.values_mut() {
            link.poke(now);
        }
        self.settle(now);
    }

    /// The operating system reports another network: no pause that was begun before counts.
    pub(super) fn network_changed(&mut self, now: Instant) {
        for link in self.links.values_mut() {
            link.network_changed(now);
        }
        self.settle(now);
    }

    /// Datagrams that keep the NAT's mapping open are to go out so often, on average.
    pub(super) fn set_keep_alive(&mut self, every: Duration) {
        for link in self.links.values_mut() {
            link.set_keep_alive(every);
        }
    }

    /// The coordinator's name was resolved again.
    pub(super) fn set_addrs(&mut self, addrs: Vec<SocketAddr>, now: Instant) {
        self.addrs = addrs;
        if let Some(link) = self.links.get_mut(&self.key) {
            link.set_addrs(self.addrs.clone(), now);
        }
        self.keep_links(now);
        self.settle(now);
    }

    /// Says good-bye to every service.
    pub(super) fn shutdown(&mut self, now: Instant) {
        for link in self.links.values_mut() {
            link.close(now);
        }
    }

    /// The coordinator's identity key.
    pub(super) const fn key(&self) -> PublicKey {
        self.key
    }

    /// Networks and members.
    pub(super) const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Switches one of its networks on or off on this device.
    pub(super) fn set_enabled(&mut self, network: NetworkId, enabled: bool) {
        self.directory.set_enabled(network, enabled);
        self.drain_directory();
    }

    /// The services it named, now or when the device last ran.
    pub(super) const fn services(&self) -> Option<&Services> {
        self.presence.services()
    }

    /// Its STUN servers.
    pub(super) fn stun_addrs(&self) -> &[SocketAddr] {
        self.presence.services().map_or(&[], |services| services.stun.as_slice())
    }

    /// How this device stands with it.
    pub(super) fn state(&self) -> CoordinatorState {
        match self.links.get(&self.key).map_or(LinkState::Connecting, Link::state) {
            LinkState::Connecting => CoordinatorState::Connecting,
            LinkState::Open { observed, rtt } => {
                CoordinatorState::Online { observed: self.presence.observed().unwrap_or(observed), rtt }
            }
            LinkState::Lost { since } => CoordinatorState::Offline { since },
        }
    }

    /// Its session goes through a door: UDP gets no answer.
    pub(super) fn is_detoured(&self) -> bool {
        self.links.get(&self.key).is_some_and(Link::is_detoured)
    }

    /// For `lanyard status`.
    pub(super) fn status(&self) -> CoordinatorStatus {
        CoordinatorStatus {
            key: self.key,
            state: self.state(),
            number: self.presence.number(),
            addrs: self.addrs.clone(),
            relays: self.relay_status(),
            stun: self.stun_addrs().to_vec(),
            remote: self.links.get(&self.key).filter(|link| link.is_open()).and_then(Link::remote),
        }
    }

    /// What to write to disk; the peers fill in their endpoints and attempts.
    pub(super) fn cache(&self) -> CoordinatorCache {
        CoordinatorCache {
            key: self.key,
            // A door's address means nothing to the next process.
            addrs: self.addrs.iter().copied().filter(|addr| !is_door(*addr)).collect(),
            number: self.presence.number(),
            services: self.presence.services().cloned(),
            ticket: self.links.get(&self.key).and_then(Link::ticket).cloned(),
            networks: self.directory.to_cache(),
        }
    }

    /// Is this datagram from one of its services, as far as can be told without keys?
    pub(super) fn owns(&self, datagram: &Datagram<'_>) -> bool {
        self.links.values().any(|link| link.owns(datagram))
    }

    /// Repeats, keep-alives, tries.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for link in self.links.values_mut() {
            link.handle_timeout(now);
        }
        if self.away_at.is_some_and(|at| at <= now) {
            self.away_at = None;
            self.directory.drop_unconfirmed();
        }
        if self.presence.is_due(now) {
            self.ask_register(now);
        }
        self.settle(now);
    }

    /// The next datagram to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.links.values_mut().find_map(Link::poll_transmit)
    }

    /// The next fact for the device.
    pub(super) fn poll_event(&mut self) -> Option<CoordinatorEvent> {
        self.events.pop_front()
    }

    /// When to call [`Coordinator::handle_timeout`] next.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let mut first = self.presence.refresh_at().map(|at| Wakeup { at, why: "register again" });
        let away = self.away_at.map(|at| Wakeup { at, why: "who is away" });
        first = Wakeup::earliest(first, away);
        for (key, link) in &self.links {
            first = Wakeup::earliest(first, link.poll_timeout());
            if !link.is_open() {
                continue;
            }
            let requests = if *key == self.key { self.requests.next_at() } else { None };
            let waiting = [requests, self.offers.next_at(key), self.bindings.next_at(key)];
            let repeat =
                waiting.into_iter().flatten().min().map(|at| Wakeup { at, why: "repeat a question" });
            first = Wakeup::earliest(first, repeat);
        }
        first
    }

    /// After anything that may have changed a link: reacts, then sends what is due.
    fn settle(&mut self, now: Instant) {
        let keys: Vec<PublicKey> = self.links.keys().copied().collect();
        for key in keys {
            while let Some(event) = self.links.get_mut(&key).and_then(Link::poll_event) {
                match event {
                    LinkEvent::Opened => self.opened(&key, now),
                    LinkEvent::Lost if key == self.key => {
                        self.events.push_back(CoordinatorEvent::StateChanged);
                    }
                    LinkEvent::Lost => self.events.push_back(CoordinatorEvent::RelaysChanged),
                    LinkEvent::Silence if self.is_relay(&key) => {
                        self.events.push_back(CoordinatorEvent::RelaysChanged);
                    }
                    LinkEvent::Silence | LinkEvent::Ticket => {}
                }
            }
        }
        self.drain_directory();
        self.flush(now);
    }

    /// A new session with a service stands: it may know nothing of us.
    fn opened(&mut self, key: &PublicKey, now: Instant) {
        self.offers.restart(key, now);
        let requests = &mut self.requests;
        self.bindings.restart(key, now, || requests.next_id());
        // Whoever is about to end grants no session.
        self.draining.remove(key);
        if *key != self.key {
            self.events.push_back(CoordinatorEvent::RelaysChanged);
            return;
        }
        self.fresh = false;
        if let Some(LinkState::Open { observed, .. }) = self.links.get(key).map(Link::state) {
            self.presence.set_observed(observed);
        }
        self.directory.begin_session();
        (self.unregistered, self.away_at) = (true, None);
        self.requests.restart(now);
        self.ask_register(now);
        if !self.refused.is_empty() {
            self.ask_consent(now);
        }
        self.events.push_back(CoordinatorEvent::StateChanged);
    }

    /// Sends what is due to services whose session stands.
    fn flush(&mut self, now: Instant) {
        for (key, link) in &mut self.links {
            if !link.is_open() {
                continue;
            }
            let requests = if *key == self.key { self.requests.due(now) } else { Vec::new() };
            let bodies =
                requests.into_iter().chain(self.offers.due(key, now)).chain(self.bindings.due(key, now));
            for body in bodies {
                link.send(&body, Expect::Answer, now);
            }
        }
    }

    /// One link for each service with a key of its own.
    fn keep_links(&mut self, now: Instant) {
        let mut named: Vec<ServiceAddr> = Vec::new();
        if let Some(services) = self.presence.services() {
            named.extend(services.handshake.iter().chain(&services.relay).cloned());
        }
        self.links.retain(|key, _| *key == self.key || named.iter().any(|service| service.key == *key));
        let ticket = self.links.get(&self.key).and_then(Link::ticket).cloned();
        for ServiceAddr { key, mut addrs } in named {
            if key == self.key {
                continue;
            }
            addrs.retain(|addr| !is_door(*addr));
            let addrs = if addrs.is_empty() { self.addrs.clone() } else { addrs };
            match self.links.get_mut(&key) {
                Some(link) => link.set_addrs(addrs, now),
                None => {
                    let rng = self.rng.fork(key.as_bytes());
                    let link = Link::new(key, addrs, ticket.clone(), Arc::clone(&self.shared), rng, now);
                    self.links.insert(key, link);
                }
            }
        }
    }

    fn drain_directory(&mut self) {
        while let Some(event) = self.directory.poll_event() {
            self.events.push_back(match event {
                DirectoryEvent::Changed { network } => CoordinatorEvent::DirectoryChanged { network },
                DirectoryEvent::Member { network, device, name, change } => {
                    CoordinatorEvent::Member { network, device, name, change }
                }
                DirectoryEvent::RemovedFrom { network, name } => {
                    CoordinatorEvent::RemovedFrom { network, name }
                }
            });
        }
    }
}
