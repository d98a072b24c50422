//! What the machines of a device have to say to each other and to the program.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::checkpoint::BeginOutcome;
use lanyard_wire::door::is_door;
use lanyard_wire::handshake::{Go, Method, Verdict};
use lanyard_wire::ids::{AttemptId, Channel, DeviceId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::nat::NatCard;
use lanyard_wire::token::Token;

use super::Device;
use super::attempt::AttemptWish;
use super::candidates;
use super::coordinator::{Coordinator, CoordinatorEvent};
use super::early::EarlyPackets;
use super::event::{CoordinatorState, Event};
use super::netcheck::NetcheckEvent;
use super::peer::{Action, Peer};
use super::presence::Standing;
use super::relayed::RelayWish;
use crate::time::Instant;

/// Offers that wait for the first card; one more goes without.
pub(super) const HELD_MAX: usize = 256;

impl Device {
    /// Carries messages until nobody has any, then publishes what changed.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            let mut is_quiet = true;
            while let Some(event) = self.netcheck.poll_event() {
                is_quiet = false;
                self.on_netcheck(event, now);
            }
            for at in 0..self.coordinators.len() {
                while let Some(event) = self.coordinators.get_mut(at).and_then(Coordinator::poll_event) {
                    is_quiet = false;
                    let Some(key) = self.coordinators.get(at).map(Coordinator::key) else { break };
                    self.on_coordinator(key, event, now);
                }
            }
            if core::mem::take(&mut self.is_reach_stale) {
                is_quiet = false;
                self.refresh_reach(now);
            }
            is_quiet &= !self.settle_carriers(now);
            if is_quiet {
                break;
            }
        }
        if core::mem::take(&mut self.is_table_stale) {
            self.publish(now);
        }
        self.close_served();
        if self.memory.is_due(now) {
            let cache = self.to_cache(now);
            self.push_event(Event::Persist(Box::new(cache)));
        }
    }

    /// Hands on what one peer wants and notes when it wants to be woken.
    pub(super) fn drain_peer(&mut self, device: &DeviceId, now: Instant) {
        while let Some(action) = self.peers.get_mut(device).and_then(Peer::poll_action) {
            match action {
                Action::Send(transmit) => self.outbox.push(transmit),
                Action::Keep(socket) => self.push_event(Event::KeepSocket(socket)),
                Action::Close(socket) => self.close(socket),
                Action::Attempt(wish) => self.on_attempt_wish(*device, wish, now),
                Action::Relay(wish) => self.on_relay_wish(wish, now),
                Action::Poke => {
                    for coordinator in &mut self.coordinators {
                        coordinator.poke(now);
                    }
                }
                Action::Moved { from, to, why } => {
                    tracing::debug!(peer = %device, ?from, ?to, why, "path changed");
                    self.push_event(Event::Path { peer: *device, from, to, why });
                    self.reports.moved(*device, now);
                    self.is_table_stale = true;
                }
                Action::Repeat | Action::Resized => self.is_table_stale = true,
                Action::CarrierLost => self.carrier_lost(*device, now),
                Action::Learnt => self.memory.changed(now),
            }
        }
        self.carriers.touch(*device);
        self.peers.changed(device);
    }

    /// Registers with every coordinator where this device may be reached; no news costs nothing.
    pub(super) fn register(&mut self, now: Instant) {
        let standing = Standing {
            card: *self.netcheck.card(),
            candidates: self.candidates(),
            relays: self.relays(),
            prekey: self.early.as_ref().map(EarlyPackets::prekey),
        };
        for coordinator in &mut self.coordinators {
            coordinator.set_keep_alive(self.netcheck.keep_alive());
            coordinator.register(standing.clone(), now);
        }
    }

    /// Where the coordinators that answer see this device.
    fn observed(&self) -> impl Iterator<Item = SocketAddr> {
        self.coordinators.iter().filter_map(|coordinator| match coordinator.state() {
            CoordinatorState::Online { observed, .. } => Some(observed),
            CoordinatorState::Connecting | CoordinatorState::Offline { .. } => None,
        })
    }

    /// No keep-alive goes through the NAT, which has IPv4 alone; a door is TCP, and UDP is known to be blocked.
    fn is_online_by_ipv6_alone(&self) -> bool {
        let mut observed = self.observed().filter(|addr| !is_door(*addr)).peekable();
        observed.peek().is_some() && observed.all(|addr| addr.is_ipv6())
    }

    pub(super) fn candidates(&self) -> Vec<lanyard_wire::candidate::Candidate> {
        let observed: Vec<SocketAddr> = self.observed().collect();
        let mut candidates = candidates::gather(&self.local, self.netcheck.card(), &observed, self.mapped);
        candidates.retain(|candidate| !self.forwarding.is_overlay(candidate.addr.ip()));
        candidates
    }

    fn on_netcheck(&mut self, event: NetcheckEvent, now: Instant) {
        match event {
            NetcheckEvent::Card(card) => self.learn_card(card, now),
            NetcheckEvent::Checked(card) => {
                for tag in core::mem::take(&mut self.netchecks) {
                    self.push_event(Event::Netcheck { tag, card });
                }
                self.learn_card(card, now);
            }
            NetcheckEvent::CloseSocket(socket) => self.push_event(Event::CloseSocket(socket)),
            NetcheckEvent::Sampled { socket, mapped } => self.on_sampled(socket, mapped, now),
        }
    }

    fn learn_card(&mut self, card: NatCard, now: Instant) {
        self.register(now);
        for (device, wish) in core::mem::take(&mut self.held) {
            self.on_attempt_wish(device, wish, now);
        }
        if self.memory.replace_card(card) {
            self.try_again(now);
        }
    }

    fn on_coordinator(&mut self, key: PublicKey, event: CoordinatorEvent, now: Instant) {
        match event {
            CoordinatorEvent::StateChanged => {
                if let Some(state) = self.coordinator_mut(&key).map(|coordinator| coordinator.state()) {
                    self.push_event(Event::Coordinator { key, state });
                }
                self.is_reach_stale = true;
                self.is_table_stale = true;
                self.netcheck.hold_mapping(self.is_online_by_ipv6_alone(), now);
                self.register(now);
            }
            CoordinatorEvent::Registered { .. } => {
                self.is_reach_stale = true;
                self.is_table_stale = true;
                self.memory.changed(now);
                self.name_stun_servers();
                self.register(now);
            }
            CoordinatorEvent::Joined { tag, outcome } => self.push_event(Event::Joined { tag, outcome }),
            CoordinatorEvent::Left { tag, network } => {
                self.push_event(Event::Left { tag, network });
                self.members_changed(now);
            }
            CoordinatorEvent::DirectoryChanged { .. } => self.members_changed(now),
            CoordinatorEvent::Member { network, device, name, change } => {
                self.push_event(Event::Member { network, device, name, change });
                self.members_changed(now);
            }
            CoordinatorEvent::RemovedFrom { network, name } => {
                self.push_event(Event::RemovedFrom { network, name });
                self.members_changed(now);
            }
            CoordinatorEvent::Began { peer, outcome } => self.on_began(key, &peer, outcome, now),
            CoordinatorEvent::Invited { attempt, ticket, peer, handshake } => {
                self.on_invited(key, &peer, attempt, ticket, handshake, now);
            }
            CoordinatorEvent::Prepare { attempt, method } => self.on_prepare(key, attempt, method, now),
            CoordinatorEvent::Go { go } => self.on_go(key, &go, now),
            CoordinatorEvent::OfferRejected { attempt } => {
                self.unprepare(attempt);
                for device in self.peers.of_attempt(attempt) {
                    self.with_peer(&device, now, |peer| peer.offer_rejected(attempt, now));
                }
            }
            CoordinatorEvent::RelaysChanged => {
                self.is_reach_stale = true;
                self.is_table_stale = true;
            }
            CoordinatorEvent::Bound { channel, .. } => {
                self.with_channel(&key, channel, now, |peer| peer.bound(channel, now));
            }
            CoordinatorEvent::RelayRefused { channel, .. } => {
                self.with_channel(&key, channel, now, |peer| peer.relay_refused(channel, now));
            }
            CoordinatorEvent::Incoming { channel, peer } => {
                self.with_peer(&peer, now, |peer| {
                    if peer.is_for(&key, channel) {
                        peer.called(now);
                    }
                });
            }
        }
    }

    fn on_began(&mut self, key: PublicKey, device: &DeviceId, outcome: BeginOutcome, now: Instant) {
        if let BeginOutcome::Started { attempt, .. } = outcome {
            self.peers.learn(*device, attempt, &self.shared.identity);
        }
        self.with_peer(device, now, |peer| peer.began(key, outcome, now));
    }

    /// A refused peer is not even told that we are here: no candidate leaves.
    fn on_invited(
        &mut self,
        key: PublicKey,
        device: &DeviceId,
        attempt: AttemptId,
        ticket: Token,
        handshake: u8,
        now: Instant,
    ) {
        if ticket.other(self.me) != Some(*device) {
            return;
        }
        self.with_peer(device, now, |_| ());
        if self.consent.allows(device) {
            self.peers.learn(*device, attempt, &self.shared.identity);
        }
        self.with_peer(device, now, |peer| peer.invited(key, attempt, ticket, handshake, now));
    }

    fn on_go(&mut self, key: PublicKey, go: &Go, now: Instant) {
        let theirs = candidates::accept(&go.candidates, &self.local, |ip| self.forwarding.is_overlay(ip));
        let (mut sockets, ours) = (self.sockets_for(go), *self.netcheck.card());
        for device in self.peers.of_attempt(go.attempt) {
            tracing::debug!(attempt = %go.attempt, peer = %device, method = ?go.method, ?theirs, "start signal");
            let mut is_begun = false;
            self.with_peer(&device, now, |peer| match peer.go(key, go, &theirs, &sockets, &ours, now) {
                Ok(()) => {
                    sockets.clear();
                    is_begun = true;
                }
                Err(_) => tracing::debug!(attempt = %go.attempt, "start signal for an attempt that is over"),
            });
            if is_begun && go.method == Method::Connect {
                self.push_event(Event::Dial { peer: device, addrs: candidates::to_dial(&theirs) });
            } else if is_begun && go.method == Method::Accept {
                self.push_event(Event::Listen);
            }
        }
        sockets.into_iter().for_each(|unused| self.close(unused));
    }

    fn on_attempt_wish(&mut self, device: DeviceId, wish: AttemptWish, now: Instant) {
        match wish {
            AttemptWish::Begin { coordinator } => {
                tracing::debug!(peer = %device, "attempt asked for");
                if let Some(coordinator) = self.coordinator_mut(&coordinator) {
                    coordinator.begin(device, now);
                }
            }
            // With the first card only a moment away: without it HANDSHAKE could not choose.
            AttemptWish::Offer { .. } if self.netcheck.is_new_here() && self.held.len() < HELD_MAX => {
                self.held.push((device, wish));
            }
            AttemptWish::Offer { coordinator, attempt, ticket, handshake } => {
                let (card, candidates) = (*self.netcheck.card(), self.candidates());
                tracing::debug!(%attempt, peer = %device, ?candidates, "candidates offered");
                if let Some(coordinator) = self.coordinator_mut(&coordinator) {
                    coordinator.offer(attempt, ticket, handshake, candidates, card, now);
                }
            }
            AttemptWish::Cancel { coordinator, attempt } => {
                self.held.retain(
                    |(_, held)| !matches!(held, AttemptWish::Offer { attempt: of, .. } if *of == attempt),
                );
                self.unprepare(attempt);
                if let Some(coordinator) = self.coordinator_mut(&coordinator) {
                    coordinator.cancel_offer(attempt);
                }
            }
            AttemptWish::Report { coordinator, attempt, verdict } => {
                tracing::debug!(%attempt, peer = %device, ?verdict, "attempt ended");
                if !matches!(verdict, Verdict::Direct { .. }) {
                    self.netcheck.doubt(now);
                }
                if let Some(coordinator) = self.coordinator_mut(&coordinator) {
                    coordinator.report(attempt, verdict, now);
                }
                self.tell_verdict(&coordinator, device, verdict, now);
            }
        }
    }

    fn on_relay_wish(&mut self, wish: RelayWish, now: Instant) {
        match wish {
            RelayWish::Bind(grant) => {
                if let Some(coordinator) = self.coordinator_mut(&grant.coordinator) {
                    coordinator.bind(grant.token, grant.relay, now);
                }
            }
            RelayWish::Unbind(coordinator, channel) => {
                if let Some(coordinator) = self.coordinator_mut(&coordinator) {
                    coordinator.unbind(channel, now);
                }
            }
        }
    }

    fn with_channel(&mut self, key: &PublicKey, channel: Channel, now: Instant, act: impl FnOnce(&mut Peer)) {
        if let Some(device) = self.peer_of_channel(key, channel) {
            self.with_peer(&device, now, act);
        }
    }

    fn members_changed(&mut self, now: Instant) {
        self.recheck_carriers();
        self.is_reach_stale = true;
        self.is_table_stale = true;
        self.memory.changed(now);
    }

    /// All STUN servers of one coordinator: their answers belong together.
    fn name_stun_servers(&mut self) {
        let servers = self.coordinators.iter().map(Coordinator::stun_addrs).find(|addrs| !addrs.is_empty());
        if let Some(servers) = servers {
            self.netcheck.set_servers(servers);
        }
    }

    fn publish(&mut self, now: Instant) {
        let transits = self.transits(now);
        let Self { coordinators, peers, consent, prefixes, .. } = self;
        let built = self.forwarding.build(coordinators, peers, consent, prefixes, transits);
        for (network, name, with) in built.clashes {
            self.push_event(Event::Clash { network, name, with });
        }
        if let Some(table) = built.table {
            self.push_event(Event::Forwarding(table));
        }
    }
}
