//! Offers to HANDSHAKE, each repeated until it is time to go.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::codec::Wire as _;
use lanyard_wire::handshake::{Offer, ToHandshake};
use lanyard_wire::ids::AttemptId;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::token::Token;

use super::repeat::Repeat;
use crate::time::Instant;

/// Offers kept at the most, their reports included; one more displaces the oldest attempt.
const OFFERS_MAX: usize = 256;

/// How long an offer is repeated. HANDSHAKE forgets a half attempt after 10 s.
const OFFER_AGE: Duration = Duration::from_secs(15);

/// An offer that is being prepared is not repeated for so long; a little more than a sample takes.
const PREPARING: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Offers {
    offers: BTreeMap<AttemptId, State>,
    /// Attempts, oldest first.
    order: Vec<AttemptId>,
}

#[derive(Debug)]
struct State {
    /// The service that brings this attempt together.
    service: PublicKey,
    /// Shown again when the offer is made anew.
    ticket: Token,
    /// It was asked to be made anew.
    is_preparing: bool,
    /// What is repeated; nothing once it was answered.
    repeated: Option<(Vec<u8>, Repeat, Instant)>,
}

impl Offers {
    /// Begins to offer.
    pub(super) fn offer(&mut self, service: PublicKey, offer: Offer, now: Instant) {
        let (attempt, ticket) = (offer.attempt, offer.ticket);
        let body = ToHandshake::Offer(offer).to_bytes();
        let repeated = Some((body, Repeat::from(now), now + OFFER_AGE));
        let state = State { service, ticket, is_preparing: false, repeated };
        if self.offers.insert(attempt, state).is_none() {
            self.order.push(attempt);
        }
        if self.order.len() > OFFERS_MAX {
            let oldest = self.order.remove(0);
            self.offers.remove(&oldest);
        }
    }

    /// The service wants the offer made anew: what was said before is not repeated for a while. `false` if that is no news,
    /// or we offer nothing.
    pub(super) fn prepare(&mut self, service: &PublicKey, attempt: AttemptId, now: Instant) -> bool {
        let Some(state) = self.of(service, attempt) else { return false };
        let Some((_, repeat, _)) = &mut state.repeated else { return false };
        if core::mem::replace(&mut state.is_preparing, true) {
            return false;
        }
        repeat.put_off(now + PREPARING);
        true
    }

    /// The offer made anew; nothing happens if it was given up meanwhile.
    pub(super) fn offer_prepared(&mut self, offer: Offer, now: Instant) {
        let Some(state) = self.offers.get_mut(&offer.attempt) else { return };
        let Some((body, repeat, _)) = &mut state.repeated else { return };
        *body = ToHandshake::Offer(offer).to_bytes();
        *repeat = Repeat::from(now);
    }

    /// Stops repeating and forgets.
    pub(super) fn cancel(&mut self, attempt: AttemptId) {
        self.offers.remove(&attempt);
        self.order.retain(|known| *known != attempt);
    }

    /// The service of an attempt.
    pub(super) fn service(&self, attempt: AttemptId) -> Option<PublicKey> {
        self.offers.get(&attempt).map(|state| state.service)
    }

    /// What says that the two of an attempt may meet.
    pub(super) fn ticket(&self, attempt: AttemptId) -> Option<Token> {
        self.offers.get(&attempt).map(|state| state.ticket)
    }

    /// The offer was answered; `false` if that is no news.
    pub(super) fn answered(&mut self, service: &PublicKey, attempt: AttemptId) -> bool {
        self.of(service, attempt).is_some_and(|state| state.repeated.take().is_some())
    }

    /// The other end is not there yet; `false` if we offer nothing.
    pub(super) fn wait(&mut self, service: &PublicKey, attempt: AttemptId, until: Instant) -> bool {
        match self.of(service, attempt).and_then(|state| state.repeated.as_mut()) {
            Some((_, repeat, _)) => {
                repeat.put_off(until);
                true
            }
            None => false,
        }
    }

    /// What a service is to be sent now.
    pub(super) fn due(&mut self, service: &PublicKey, now: Instant) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for state in self.offers.values_mut().filter(|state| state.service == *service) {
            let Some((body, repeat, until)) = &mut state.repeated else { continue };
            if *until <= now {
                state.repeated = None;
            } else if repeat.is_due(now) {
                due.push(body.clone());
            }
        }
        due
    }

    /// A new session with a service stands: everything is offered again.
    pub(super) fn restart(&mut self, service: &PublicKey, now: Instant) {
        for state in self.offers.values_mut().filter(|state| state.service == *service) {
            if let Some((_, repeat, _)) = &mut state.repeated {
                *repeat = Repeat::from(now);
            }
        }
    }

    /// When a service is to be sent something.
    pub(super) fn next_at(&self, service: &PublicKey) -> Option<Instant> {
        let states = self.offers.values().filter(|state| state.service == *service);
        states.filter_map(|state| state.repeated.as_ref().map(|(_, repeat, _)| repeat.at())).min()
    }

    fn of(&mut self, service: &PublicKey, attempt: AttemptId) -> Option<&mut State> {
        self.offers.get_mut(&attempt).filter(|state| state.service == *service)
    }
}
