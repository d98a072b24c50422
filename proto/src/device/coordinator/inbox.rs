//! What the services say, message by message.
//!
//! A message counts only from the service it belongs to: members and presence from the checkpoint, a start
//! from the handshake service of that attempt, bindings from the relay that was asked. Pushes are
//! acknowledged always, a repeated one too, as its acknowledgement may have been lost.

use core::time::Duration;

use lanyard_wire::body::ServiceBody;
use lanyard_wire::checkpoint::{
    FromCheckpoint, JoinOutcome, Registered, Roster, RosterChanged, ToCheckpoint,
};
use lanyard_wire::codec::Wire as _;
use lanyard_wire::envelope::Unknown;
use lanyard_wire::handshake::FromHandshake;
use lanyard_wire::ids::{Channel, NetworkId, PushId, RequestId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::relay::{FromRelay, RelayRefusal};

use super::requests::Ask;
use super::{Coordinator, CoordinatorEvent};
use crate::device::link::Expect;
use crate::rejected::Rejected;
use crate::time::Instant;
use crate::transmit::Datagram;

/// How long after the first registration of a session the members that are here have been named: 20 ms, and
/// three repetitions of a push.
const AWAY_AFTER: Duration = Duration::from_secs(5);

/// Invitations remembered.
const INVITED_MAX: usize = 64;

impl Coordinator {
    /// Takes a datagram that [`Coordinator::owns`].
    pub(in crate::device) fn handle_datagram(
        &mut self,
        datagram: Datagram<'_>,
        now: Instant,
    ) -> Result<(), Rejected> {
        if let Ok(Unknown::Channel(channel)) = Unknown::parse(datagram.bytes) {
            return self.handle_unknown_channel(datagram, channel, now);
        }
        let mut result = Err(Rejected::UnknownSession);
        let mut message = None;
        for (key, link) in &mut self.links {
            if !link.owns(&datagram) {
                continue;
            }
            match link.handle_datagram(datagram, now) {
                Ok(body) => {
                    message = body.map(|body| (*key, body));
                    result = Ok(());
                    break;
                }
                Err(rejected) => result = Err(rejected),
            }
        }
        if let Some((key, body)) = message {
            result = self.handle_body(key, body, now);
        }
        self.settle(now);
        result
    }

    /// A hint: a relay does not know a channel of ours. Binding it again, and making the relay hear us, is
    /// right if it is true and harmless if it is not.
    fn handle_unknown_channel(
        &mut self,
        datagram: Datagram<'_>,
        channel: Channel,
        now: Instant,
    ) -> Result<(), Rejected> {
        let key = self.bindings.service(channel).ok_or(Rejected::UnknownChannel)?;
        let link = self.links.get_mut(&key).filter(|link| link.is_at(datagram.remote));
        let link = link.ok_or(Rejected::NotAllowed)?;
        let request = self.requests.next_id();
        if !self.bindings.hinted(channel, request, now) {
            return Err(Rejected::RateLimited);
        }
        link.poke(now);
        self.settle(now);
        Ok(())
    }

    fn handle_body(&mut self, key: PublicKey, body: ServiceBody, now: Instant) -> Result<(), Rejected> {
        match body {
            ServiceBody::Checkpoint(message) if key == self.key => self.handle_checkpoint(message, now),
            ServiceBody::Handshake(message) => self.handle_handshake(&key, message, now),
            ServiceBody::Relay(message) => self.handle_relay(&key, message, now),
            ServiceBody::Checkpoint(_) => Err(Rejected::NotAllowed),
            ServiceBody::KeepAlive | ServiceBody::Session(_) => Ok(()),
        }
    }

    fn handle_checkpoint(&mut self, message: FromCheckpoint, now: Instant) -> Result<(), Rejected> {
        match message {
            FromCheckpoint::Registered(answer) => return self.handle_registered(&answer, now),
            FromCheckpoint::JoinAnswer { request, outcome } => {
                let Some(Ask::Join { tag }) = self.requests.take(request) else {
                    return Err(Rejected::Unexpected);
                };
                if let JoinOutcome::Joined { network } | JoinOutcome::Pending { network } = outcome {
                    self.ask_roster(self.directory.ask(network), now);
                    // Only a member has a number, and only Registered tells it.
                    self.ask_register(now);
                }
                self.events.push_back(CoordinatorEvent::Joined { tag, outcome });
            }
            FromCheckpoint::Left { request } => return self.handle_left(request),
            FromCheckpoint::Roster(page) => return self.handle_roster(page, now),
            FromCheckpoint::BeginAnswer(answer) => {
                let Some(Ask::Begin { peer }) = self.requests.take(answer.request) else {
                    return Err(Rejected::Unexpected);
                };
                self.events.push_back(CoordinatorEvent::Began { peer, outcome: answer.outcome });
            }
            FromCheckpoint::NotMember { request, network } => {
                return self.handle_not_member(request, network);
            }
            FromCheckpoint::Accepted { request } => {
                self.requests.take(request).ok_or(Rejected::Unexpected)?;
            }
            FromCheckpoint::Invited(invited) => {
                self.acknowledge(invited.push, now);
                if self.invited.contains(&invited.attempt) {
                    return Err(Rejected::Unexpected);
                }
                if self.invited.len() >= INVITED_MAX {
                    self.invited.pop_front();
                }
                self.invited.push_back(invited.attempt);
                self.events.push_back(CoordinatorEvent::Invited {
                    attempt: invited.attempt,
                    ticket: invited.ticket,
                    peer: invited.peer,
                    handshake: invited.handshake,
                });
            }
            FromCheckpoint::RosterChanged(changed) => return self.handle_roster_changed(changed, now),
            FromCheckpoint::Presence(presence) => {
                self.acknowledge(presence.push, now);
                self.directory.set_availability(presence.push, &presence.changes);
            }
        }
        Ok(())
    }

    fn handle_registered(&mut self, answer: &Registered, now: Instant) -> Result<(), Rejected> {
        if self.requests.take(answer.request) != Some(Ask::Register) {
            return Err(Rejected::Unexpected);
        }
        if core::mem::take(&mut self.unregistered) {
            self.away_at = Some(now + AWAY_AFTER);
        }
        let news = self.presence.registered(answer, &mut self.rng, now);
        if let Some(link) = self.links.get_mut(&self.key) {
            link.set_ticket(answer.ticket);
        }
        if news {
            self.keep_links(now);
        }
        for network in self.directory.reconcile(&answer.networks) {
            self.ask_roster(self.directory.ask(network), now);
        }
        self.events.push_back(CoordinatorEvent::Registered { observed: answer.observed });
        Ok(())
    }

    fn handle_left(&mut self, request: RequestId) -> Result<(), Rejected> {
        let Some(Ask::Leave { tag, network }) = self.requests.take(request) else {
            return Err(Rejected::Unexpected);
        };
        self.directory.leave(network);
        self.events.push_back(CoordinatorEvent::Left { tag, network });
        Ok(())
    }

    fn handle_roster(&mut self, page: Roster, now: Instant) -> Result<(), Rejected> {
        let Some(Ask::Roster(asked)) = self.requests.take(page.request) else {
            return Err(Rejected::Unexpected);
        };
        if let Some(next) = self.directory.apply_page(&asked, page) {
            self.ask_roster(next, now);
        }
        Ok(())
    }

    fn handle_roster_changed(&mut self, changed: RosterChanged, now: Instant) -> Result<(), Rejected> {
        self.acknowledge(changed.push, now);
        let Err(network) = self.directory.apply_push(changed) else { return Ok(()) };
        if !self.requests.asks_for(network) {
            self.ask_roster(self.directory.ask(network), now);
        }
        Err(Rejected::RevisionGap)
    }

    fn handle_not_member(&mut self, request: RequestId, network: NetworkId) -> Result<(), Rejected> {
        match self.requests.take(request).ok_or(Rejected::Unexpected)? {
            // Left already, perhaps by an answer that was lost.
            Ask::Leave { tag, network } => {
                self.directory.leave(network);
                self.events.push_back(CoordinatorEvent::Left { tag, network });
            }
            Ask::Roster(asked) if asked.network == network => self.directory.removed_from(network),
            Ask::Register | Ask::Join { .. } | Ask::Roster(_) | Ask::Begin { .. } | Ask::Consent => {
                return Err(Rejected::Unexpected);
            }
        }
        Ok(())
    }

    fn handle_handshake(
        &mut self,
        key: &PublicKey,
        message: FromHandshake,
        now: Instant,
    ) -> Result<(), Rejected> {
        match message {
            FromHandshake::Go(go) => {
                if !self.offers.answered(key, go.attempt) {
                    return Err(Rejected::UnknownAttempt);
                }
                self.meet(&go);
                self.events.push_back(CoordinatorEvent::Go { go });
            }
            FromHandshake::Wait { attempt, ms } => {
                let until = now + Duration::from_millis(u64::from(ms));
                if !self.offers.wait(key, attempt, until) {
                    return Err(Rejected::UnknownAttempt);
                }
            }
            FromHandshake::Prepare { attempt, method } => {
                // Said again for every repetition of the first offer; what was begun goes on.
                if self.offers.prepare(key, attempt, now) {
                    self.events.push_back(CoordinatorEvent::Prepare { attempt, method });
                }
            }
            FromHandshake::Rejected { attempt, why: _ } => {
                if !self.offers.answered(key, attempt) {
                    return Err(Rejected::UnknownAttempt);
                }
                self.events.push_back(CoordinatorEvent::OfferRejected { attempt });
            }
        }
        Ok(())
    }

    fn handle_relay(&mut self, key: &PublicKey, message: FromRelay, now: Instant) -> Result<(), Rejected> {
        match message {
            FromRelay::Bound { request, channel, peer_here } => {
                let relay = self.bindings.bound(key, request, channel).ok_or(Rejected::Unexpected)?;
                for left in self.bindings.take_left(channel) {
                    self.tell_unbound(&left, channel, now);
                }
                self.events.push_back(CoordinatorEvent::Bound { channel, relay, peer_here });
            }
            FromRelay::Refused { request, why } => {
                let (channel, token) = self.bindings.refused(key, request).ok_or(Rejected::Unexpected)?;
                if matches!(why, RelayRefusal::Expired | RelayRefusal::Forged) {
                    self.grants_expired(&token, now);
                }
                self.events.push_back(CoordinatorEvent::RelayRefused { channel, why });
                self.not_met(channel, key);
            }
            FromRelay::Incoming { channel, peer } => {
                if !self.is_relay(key) {
                    return Err(Rejected::NotAllowed);
                }
                self.events.push_back(CoordinatorEvent::Incoming { channel, peer });
            }
            FromRelay::Draining => return self.relay_drains(key),
        }
        Ok(())
    }

    fn acknowledge(&mut self, push: PushId, now: Instant) {
        if let Some(link) = self.links.get_mut(&self.key) {
            link.send(&ToCheckpoint::Ack { push }.to_bytes(), Expect::Nothing, now);
        }
    }
}
