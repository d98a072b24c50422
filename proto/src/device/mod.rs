//! The agent's end of the protocol: one device with its coordinators, networks and peers.
//!
//! [`Device`] composes machines that know nothing of each other: a `coordinator` per
//! coordinator, a `netcheck`, and a `peer` for each other device it has to do with. It routes datagrams
//! to the right one, turns what one of them says into what another one is told, and publishes the
//! [`ForwardingTable`](crate::overlay::ForwardingTable) that results. The steps of every call:
//!
//! 1. The input goes to one machine.
//! 2. `answers` carries what the machines have to say to each other, until nobody has anything to say.
//! 3. If networks or paths changed, the next table is built, in the same call.

mod answers;
mod attempt;
mod candidates;
mod carriers;
mod consent;
mod coordinator;
mod directory;
mod early;
mod flow;
mod forwarding;
mod guess;
mod health;
mod link;
mod memory;
mod netcheck;
mod overview;
mod path;
mod peer;
mod peers;
mod pings;
mod presence;
mod punch;
mod quality;
mod ration;
mod reach;
mod recall;
mod relayed;
mod repeats;
mod reports;
mod silence;
mod spares;

pub mod cache;
pub mod command;
pub mod config;
pub mod egress;
pub mod event;
pub mod status;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::checkpoint::{JoinOutcome, JoinRefusal};
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::door::{is_door, is_peers};
use lanyard_wire::envelope::{CARRY, PING, PONG};
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::probe::Probe;

pub use cache::{CoordinatorCache, DeviceCache, MemberCache, NetworkCache};
pub use command::Command;
pub use config::{DeviceConfig, TunnelMtu};
pub use event::{CoordinatorState, Event, MemberChange};
pub use spares::FRESH_SOCKETS_MAX;
pub use status::{Advice, Status};

use self::attempt::AttemptWish;
use self::carriers::Carriers;
use self::consent::Consent;
use self::coordinator::{Coordinator, Shared, Wish};
use self::early::EarlyPackets;
use self::forwarding::Forwarding;
use self::memory::Memory;
use self::netcheck::Netcheck;
use self::peers::{Peers, datagram_of};
use self::reports::Reports;
use self::spares::Spares;
use crate::overlay::Observation;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, Outbox, Transmit};

/// Events kept until the program takes them; the victim is the oldest.
///
/// Four times what one network of a thousand members can cause at once; a program drains after every call.
const EVENTS_MAX: usize = 4_096;

/// Answers to `Netcheck` owed at the same time; more commands are not noted.
const NETCHECKS_MAX: usize = 64;

/// One device.
#[derive(Debug)]
pub struct Device {
    shared: Arc<Shared>,
    me: DeviceId,
    wireguard: PublicKey,
    /// In the order they were added; there are few.
    coordinators: Vec<Coordinator>,
    netcheck: Netcheck,
    netchecks: Vec<u64>,
    peers: Peers,
    carriers: Carriers,
    /// None: packets wait for their sessions.
    early: Option<EarlyPackets>,
    spares: Spares,
    /// Offers that wait for the first netcheck.
    held: Vec<(DeviceId, AttemptWish)>,
    consent: Consent,
    forwarding: Forwarding,
    memory: Memory,
    reports: Reports,
    local: Vec<SocketAddr>,
    /// What the router maps to the main socket.
    mapped: Option<SocketAddr>,
    prefixes: Vec<(Ipv4Addr, u8)>,
    rng: Rng,
    outbox: Outbox,
    events: VecDeque<Event>,
    /// Networks, members or paths changed since the last table.
    is_table_stale: bool,
    /// What the coordinators know of the peers changed since they were told.
    is_reach_stale: bool,
}

impl Device {
    /// A device that knows no coordinator yet.
    #[must_use]
    pub fn new(config: DeviceConfig, now: Instant) -> Self {
        let DeviceConfig { identity, wireguard, boot, seed, wall, name, os, version, .. } = config;
        let DeviceConfig { tunnel_mtu, peer_relay, early_packets, .. } = config;
        let mut rng = Rng::from_seed(seed);
        let me = DeviceId::of(&identity.public());
        Self {
            shared: Arc::new(Shared { identity, wall, boot, name, os, version }),
            me,
            wireguard,
            coordinators: Vec::new(),
            netcheck: Netcheck::new(datagram_of(tunnel_mtu.least), rng.fork(b"netcheck")),
            netchecks: Vec::new(),
            peers: Peers::new(tunnel_mtu, rng.fork(b"peers")),
            carriers: Carriers::new(peer_relay),
            early: early_packets.then(|| EarlyPackets::new(rng.fork(b"early"), now)),
            spares: Spares::default(),
            held: Vec::new(),
            consent: Consent::default(),
            forwarding: Forwarding::default(),
            memory: Memory::new(now),
            reports: Reports::default(),
            local: Vec::new(),
            mapped: None,
            prefixes: Vec::new(),
            rng,
            outbox: Outbox::new(),
            events: VecDeque::new(),
            is_table_stale: false,
            is_reach_stale: false,
        }
    }

    /// Takes a datagram that is not WireGuard's, neither by itself nor in a relay frame; those are the data plane's.
    ///
    /// # Errors
    ///
    /// Why it was ignored.
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        let result = match classify(datagram.bytes) {
            // Behind a coordinator's door there are its services, behind a connection with a peer there is that peer.
            Class::Stun if is_door(datagram.remote) => Err(Rejected::NotAllowed),
            Class::Lanyard
                if is_door(datagram.remote)
                    && is_peers(datagram.remote) != matches!(datagram.bytes, [PING | PONG | CARRY, ..]) =>
            {
                Err(Rejected::NotAllowed)
            }
            Class::Stun => self.netcheck.handle_datagram(datagram, now).unwrap_or(Err(Rejected::Unexpected)),
            Class::Lanyard if matches!(datagram.bytes, [PING | PONG, ..]) => self.handle_probe(datagram, now),
            Class::Lanyard if matches!(datagram.bytes, [CARRY, ..]) => self.handle_carry(datagram, now),
            Class::Lanyard => self.handle_service(datagram, now),
            Class::Relay => self.handle_frame(datagram, now),
            Class::WireGuard | Class::Noise => Err(Rejected::NotOurs),
        };
        self.settle(now);
        result
    }

    /// Does what the program wishes.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::AddCoordinator { key, addrs, cache } => self.add_coordinator(key, addrs, cache, now),
            Command::CoordinatorAddrs { key, addrs } => {
                if let Some(coordinator) = self.coordinator_mut(&key) {
                    coordinator.set_addrs(addrs, now);
                }
            }
            Command::Reconnected { key } => {
                if let Some(coordinator) = self.coordinator_mut(&key) {
                    coordinator.poke(now);
                }
            }
            Command::RemoveCoordinator { key } => self.remove_coordinator(&key, now),
            Command::Join { tag, key, network, invite, password, name } => {
                self.join(tag, &key, Wish { network, invite, password, name }, now);
            }
            Command::Leave { tag, network } => self.leave(tag, network, now),
            Command::Enable { network, enabled } => {
                for coordinator in &mut self.coordinators {
                    coordinator.set_enabled(network, enabled);
                }
            }
            Command::Connect { peer } => self.with_peer(&peer, now, |peer| peer.connect(now)),
            Command::Waits { peer, packet } => self.send_early(peer, &packet, now),
            Command::Refuse { peer, refused } => self.refuse(peer, refused, now),
            Command::LocalAddresses { addrs, prefixes } => {
                self.netcheck.set_local(&addrs);
                self.local = addrs;
                let is_cut_off = self.local.is_empty();
                self.is_table_stale |=
                    self.prefixes != prefixes || self.forwarding.is_cut_off() != is_cut_off;
                self.prefixes = prefixes;
                self.forwarding.set_cut_off(is_cut_off);
                self.register(now);
            }
            Command::Mapped { addr } => self.map(addr, now),
            Command::Dialed { peer, stream } => self.with_peer(&peer, now, |peer| peer.dialed(stream, now)),
            Command::NetworkChanged => self.network_changed(now),
            Command::Netcheck { tag } => {
                if self.netchecks.len() < NETCHECKS_MAX {
                    self.netchecks.push(tag);
                }
                self.netcheck.start(now);
            }
            Command::Shutdown => {
                // There may be no later moment.
                let cache = self.to_cache(now);
                self.push_event(Event::Persist(Box::new(cache)));
                for coordinator in &mut self.coordinators {
                    coordinator.shutdown(now);
                }
            }
        }
        self.settle(now);
    }

    /// Does what is due; an extra call changes nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        for coordinator in &mut self.coordinators {
            coordinator.handle_timeout(now);
        }
        self.netcheck.handle_timeout(now);
        self.carriers_timeout(now);
        self.early_timeout(now);
        while let Some(device) = self.peers.pop_due(now) {
            if let Some(peer) = self.peers.get_mut(&device) {
                peer.handle_timeout(now);
            }
            self.drain_peer(&device, now);
        }
        self.tell_links(now);
        self.settle(now);
    }

    /// Takes what the data plane saw.
    pub fn observe(&mut self, observations: &[Observation], now: Instant) {
        for observation in observations {
            self.memory.note_traffic(now);
            self.reports.flowed(observation.peer, self.netcheck.keep_alive(), now);
            self.with_peer(&observation.peer, now, |peer| peer.observe(observation, now));
        }
        self.settle(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        // Coordinators first: a relay has to hear of a channel before it hears datagrams on it.
        self.coordinators
            .iter_mut()
            .find_map(Coordinator::poll_transmit)
            .or_else(|| self.outbox.pop())
            .or_else(|| self.netcheck.poll_transmit())
    }

    /// The next fact for the program.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Device::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Wakeup> {
        let own = [
            self.netcheck.poll_timeout(),
            self.peers.poll_timeout(),
            self.carriers_wakeup(),
            self.early.as_ref().map(EarlyPackets::poll_timeout),
            self.memory.poll_timeout(),
            self.reports.poll_timeout(),
        ];
        let coordinators = self.coordinators.iter().map(Coordinator::poll_timeout);
        own.into_iter().chain(coordinators).fold(None, Wakeup::earliest)
    }

    fn handle_service(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        let owner = self.coordinators.iter_mut().find(|coordinator| coordinator.owns(&datagram));
        owner.ok_or(Rejected::UnknownSession)?.handle_datagram(datagram, now)
    }

    fn handle_probe(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        // A tunnel whose path leads through the overlay would carry itself.
        if self.forwarding.is_overlay(datagram.remote.ip()) {
            return Err(Rejected::NotAllowed);
        }
        let probe = Probe::parse(datagram.bytes).map_err(|_| Rejected::Malformed)?;
        let mut result = Err(Rejected::UnknownAttempt);
        for device in self.peers.of_attempt(probe.attempt) {
            if !self.consent.allows(&device) {
                result = Err(Rejected::RefusedPeer);
                continue;
            }
            if self.member(&device).is_none() {
                result = Err(Rejected::UnknownPeer);
                continue;
            }
            let Some(peer) = self.peers.get_mut(&device) else { continue };
            result = peer.handle_datagram(datagram, now);
            if result.is_ok() {
                self.drain_peer(&device, now);
                self.recheck_load(&device, datagram.remote, now);
                break;
            }
        }
        result
    }

    fn add_coordinator(
        &mut self,
        key: PublicKey,
        addrs: Vec<SocketAddr>,
        cache: Option<CoordinatorCache>,
        now: Instant,
    ) {
        if let Some(known) = self.coordinator_mut(&key) {
            known.set_addrs(addrs, now);
            return;
        }
        let cached_networks = cache.as_ref().map(|cache| cache.networks.clone()).unwrap_or_default();
        self.forwarding.remember(key, cached_networks.iter().map(|network| network.card.id));
        let rng = self.rng.fork(key.as_bytes());
        let mut coordinator = Coordinator::new(key, addrs, &self.shared, cache, rng, now);
        coordinator.consent(self.consent.told(), now);
        self.coordinators.push(coordinator);
        for member in cached_networks.iter().flat_map(|network| &network.members) {
            self.recollect(member, now);
        }
        self.is_table_stale = true;
        self.is_reach_stale = true;
        self.register(now);
    }

    fn remove_coordinator(&mut self, key: &PublicKey, now: Instant) {
        let Some(at) = self.coordinators.iter().position(|coordinator| coordinator.key() == *key) else {
            return;
        };
        let mut coordinator = self.coordinators.remove(at);
        coordinator.shutdown(now);
        while let Some(transmit) = coordinator.poll_transmit() {
            self.outbox.push(transmit);
        }
        self.is_table_stale = true;
        self.is_reach_stale = true;
        self.memory.changed(now);
    }

    fn join(&mut self, tag: u64, key: &PublicKey, wish: Wish, now: Instant) {
        let wireguard = self.wireguard;
        let prefixes = core::mem::take(&mut self.prefixes);
        match self.coordinator_mut(key) {
            Some(coordinator) => coordinator.join(tag, wish, wireguard, &prefixes, now),
            None => {
                let outcome = JoinOutcome::Refused(JoinRefusal::Unavailable);
                self.push_event(Event::Joined { tag, outcome });
            }
        }
        self.prefixes = prefixes;
    }

    fn leave(&mut self, tag: u64, network: NetworkId, now: Instant) {
        let owner = self.coordinators.iter_mut().find(|owner| owner.directory().network(network).is_some());
        match owner {
            Some(coordinator) => coordinator.leave(tag, network, now),
            // It is no member, which is what was wished.
            None => self.push_event(Event::Left { tag, network }),
        }
    }

    fn refuse(&mut self, device: DeviceId, refused: bool, now: Instant) {
        if !self.consent.refuse(device, refused) {
            return;
        }
        if refused && let Some(peer) = self.peers.get_mut(&device) {
            peer.shut(now);
            self.drain_peer(&device, now);
        }
        for coordinator in &mut self.coordinators {
            coordinator.consent(self.consent.told(), now);
        }
        self.is_table_stale = true;
    }

    /// Without any address there is nothing to try; the next change comes with one.
    fn network_changed(&mut self, now: Instant) {
        if self.forwarding.is_cut_off() {
            return;
        }
        for coordinator in &mut self.coordinators {
            coordinator.network_changed(now);
        }
        self.netcheck.network_changed(now);
        for device in self.peers.devices() {
            if let Some(peer) = self.peers.get_mut(&device) {
                peer.network_changed(now);
            }
            self.drain_peer(&device, now);
        }
    }

    /// What the router maps to the main socket, if it is offered to peers: behind another NAT it is not.
    #[must_use]
    pub fn mapped(&self) -> Option<SocketAddr> {
        let is_mapped = |candidate: &Candidate| candidate.kind == CandidateKind::Mapped;
        self.candidates().into_iter().find(is_mapped).map(|candidate| candidate.addr)
    }

    fn map(&mut self, addr: Option<SocketAddr>, now: Instant) {
        if self.mapped == addr {
            return;
        }
        self.mapped = addr;
        self.register(now);
        if addr.is_some() {
            self.try_again(now);
        }
    }

    /// Lets every peer that is not direct try again: others reach this device otherwise than before.
    fn try_again(&mut self, now: Instant) {
        for device in self.peers.devices() {
            if let Some(peer) = self.peers.get_mut(&device) {
                peer.card_changed(now);
            }
            self.drain_peer(&device, now);
        }
    }

    fn coordinator_mut(&mut self, key: &PublicKey) -> Option<&mut Coordinator> {
        self.coordinators.iter_mut().find(|coordinator| coordinator.key() == *key)
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests;
