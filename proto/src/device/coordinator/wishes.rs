//! What the device wishes from a coordinator, put into messages.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use lanyard_wire::candidate::Candidate;
use lanyard_wire::checkpoint::{self, Consent, Join, Links, PairVerdict, ToCheckpoint};
use lanyard_wire::codec::Wire as _;
use lanyard_wire::handshake::{Offer, Report, ToHandshake, Verdict};
use lanyard_wire::ids::{AttemptId, Channel, DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::limits::{CANDIDATES_MAX, OS_MAX, PREFIXES_MAX, REFUSED_MAX, VERSION_MAX};
use lanyard_wire::names::{DeviceName, InviteCode, JoinPassword, NetworkName};
use lanyard_wire::nat::NatCard;
use lanyard_wire::relay::{RelayRefusal, ToRelay};
use lanyard_wire::token::Token;

use super::requests::Ask;
use super::{Coordinator, CoordinatorEvent};
use crate::device::directory::RosterAsk;
use crate::device::link::Expect;
use crate::device::presence::Standing;
use crate::time::Instant;

/// What somebody wants to join, and with what.
#[derive(Debug)]
pub(in crate::device) struct Wish {
    /// The network.
    pub(in crate::device) network: NetworkName,
    /// The invite, where one is at hand.
    pub(in crate::device) invite: Option<InviteCode>,
    /// The network's password, where it is joined by one.
    pub(in crate::device) password: Option<JoinPassword>,
    /// A name instead of the device's own.
    pub(in crate::device) name: Option<DeviceName>,
}

impl Coordinator {
    /// Asks to join a network, by a name of its own or the device's; answered by [`CoordinatorEvent::Joined`].
    pub(in crate::device) fn join(
        &mut self,
        tag: u64,
        wish: Wish,
        wireguard: PublicKey,
        prefixes: &[(Ipv4Addr, u8)],
        now: Instant,
    ) {
        let shared = Arc::clone(&self.shared);
        let prefixes: Vec<_> = prefixes.iter().copied().take(PREFIXES_MAX).collect();
        self.requests.ask(Ask::Join { tag }, now, |request| {
            ToCheckpoint::Join(Join {
                request,
                network: wish.network,
                invite: wish.invite,
                password: wish.password,
                name: wish.name.unwrap_or_else(|| shared.name.clone()),
                wireguard,
                os: cut(&shared.os, OS_MAX),
                version: cut(&shared.version, VERSION_MAX),
                prefixes,
            })
        });
        self.flush(now);
    }

    /// Leaves a network; answered by [`CoordinatorEvent::Left`].
    pub(in crate::device) fn leave(&mut self, tag: u64, network: NetworkId, now: Instant) {
        self.requests
            .ask(Ask::Leave { tag, network }, now, |request| ToCheckpoint::Leave { request, network });
        self.flush(now);
    }

    /// Stores what to register, and registers if that is news.
    pub(in crate::device) fn register(&mut self, standing: Standing, now: Instant) {
        // While no session stands the next one registers anyway.
        if self.presence.set(standing) && !self.fresh {
            self.ask_register(now);
            self.flush(now);
        }
    }

    /// Asks for an attempt with a peer; answered by [`CoordinatorEvent::Began`].
    pub(in crate::device) fn begin(&mut self, peer: DeviceId, now: Instant) {
        self.requests.ask(Ask::Begin { peer }, now, |request| ToCheckpoint::Begin { request, peer });
        self.flush(now);
    }

    /// Offers candidates to a handshake service until it answers with [`CoordinatorEvent::Go`] or
    /// [`CoordinatorEvent::OfferRejected`], or 15 s have passed.
    pub(in crate::device) fn offer(
        &mut self,
        attempt: AttemptId,
        ticket: Token,
        handshake: u8,
        candidates: Vec<Candidate>,
        card: NatCard,
        now: Instant,
    ) {
        let services = self.presence.services().map(|services| services.handshake.as_slice());
        let Some(service) = services.and_then(|list| list.get(usize::from(handshake))) else { return };
        let key = service.key;
        let mut candidates = candidates;
        candidates.truncate(CANDIDATES_MAX);
        let relays = self.distances(&ticket);
        let offer = Offer { attempt, ticket, candidates, card, is_prepared: false, relays };
        self.offers.offer(key, offer, now);
        self.flush(now);
    }

    /// Makes an offer anew, with what the service asked for.
    pub(in crate::device) fn offer_prepared(
        &mut self,
        attempt: AttemptId,
        candidates: Vec<Candidate>,
        card: NatCard,
        now: Instant,
    ) {
        let Some(ticket) = self.offers.ticket(attempt) else { return };
        let relays = self.distances(&ticket);
        let offer = Offer { attempt, ticket, candidates, card, is_prepared: true, relays };
        self.offers.offer_prepared(offer, now);
        self.flush(now);
    }

    /// Stops offering.
    pub(in crate::device) fn cancel_offer(&mut self, attempt: AttemptId) {
        self.offers.cancel(attempt);
    }

    /// Tells the handshake service how an attempt went; once, as nothing depends on it.
    pub(in crate::device) fn report(&mut self, attempt: AttemptId, verdict: Verdict, now: Instant) {
        let link = self.offers.service(attempt).and_then(|key| self.links.get_mut(&key));
        if let Some(link) = link {
            link.send(&ToHandshake::Report(Report { attempt, verdict }).to_bytes(), Expect::Nothing, now);
        }
    }

    /// Tells the checkpoint how a peer is reached; once, as nothing depends on it.
    pub(in crate::device) fn tell_verdict(&mut self, verdict: PairVerdict, now: Instant) {
        if let Some(link) = self.links.get_mut(&self.key) {
            link.send(&ToCheckpoint::PairVerdict(verdict).to_bytes(), Expect::Nothing, now);
        }
    }

    /// Tells the checkpoint how data goes; once, as nothing depends on it.
    pub(in crate::device) fn tell_links(&mut self, links: Links, now: Instant) {
        if let Some(link) = self.links.get_mut(&self.key) {
            link.send_as_keep_alive(&ToCheckpoint::Links(links).to_bytes(), now);
        }
    }

    /// Wants a channel bound at a relay: asked until it is, and again after every change of session.
    pub(in crate::device) fn bind(&mut self, grant: Token, relay: u8, now: Instant) {
        let services = self.presence.services().map(|services| services.relay.as_slice());
        let Some(service) = services.and_then(|list| list.get(usize::from(relay))) else { return };
        let key = service.key;
        let Some(channel) = grant.channel() else { return };
        // Whether the grant is past its time is for the relay to say: our calendar may be years off.
        let request = self.requests.next_id();
        if !self.bindings.bind(key, relay, grant, request, now) {
            self.events.push_back(CoordinatorEvent::RelayRefused { channel, why: RelayRefusal::Full });
        }
        self.flush(now);
    }

    /// Wants a channel no more.
    pub(in crate::device) fn unbind(&mut self, channel: Channel, now: Instant) {
        for relay in self.bindings.unbind(channel) {
            self.tell_unbound(&relay, channel, now);
        }
    }

    pub(super) fn tell_unbound(&mut self, relay: &PublicKey, channel: Channel, now: Instant) {
        if let Some(link) = self.links.get_mut(relay) {
            link.send(&ToRelay::Unbind { channel }.to_bytes(), Expect::Nothing, now);
        }
    }

    /// Names the devices that may not begin anything with us.
    pub(in crate::device) fn consent(&mut self, mut refused: Vec<DeviceId>, now: Instant) {
        refused.truncate(REFUSED_MAX);
        if self.refused != refused {
            self.refused = refused;
            self.ask_consent(now);
            self.flush(now);
        }
    }

    pub(super) fn ask_register(&mut self, now: Instant) {
        let presence = &self.presence;
        self.requests.ask(Ask::Register, now, |request| presence.message(request));
    }

    pub(super) fn ask_consent(&mut self, now: Instant) {
        let refused = self.refused.clone();
        self.requests.ask(Ask::Consent, now, |request| ToCheckpoint::Consent(Consent { request, refused }));
    }

    pub(super) fn ask_roster(&mut self, ask: RosterAsk, now: Instant) {
        let RosterAsk { network, since, after } = ask;
        self.requests.ask(Ask::Roster(ask), now, |request| {
            let ask = checkpoint::RosterAsk { request, network, since, after };
            ToCheckpoint::RosterAsk(ask)
        });
    }

    /// A grant is past its time: new ones come with the whole roster of the networks it may be from.
    pub(super) fn grants_expired(&mut self, grant: &Token, now: Instant) {
        let me = DeviceId::of(&self.shared.identity.public());
        let Some(peer) = grant.other(me) else { return };
        let shared = self.directory.networks().filter(|network| network.members.contains_key(&peer));
        let networks: Vec<NetworkId> = shared.map(|network| network.card.id).collect();
        for network in networks {
            if !self.requests.asks_for(network) {
                self.directory.forget_revision(network);
                self.ask_roster(self.directory.ask(network), now);
            }
        }
    }
}

/// At most `max` bytes of a text, cut between two characters.
fn cut(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().into()
}
