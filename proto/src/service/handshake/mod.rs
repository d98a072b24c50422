//! HANDSHAKE: brings two devices' offers together and gives the start signal.
//!
//! It knows no network and no member: a token made by a checkpoint says which two devices may meet under which
//! attempt, and is checked without asking. What one end offers is told to the other end of that token and to
//! nobody else, and only once both ends are here.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::handshake::{FromHandshake, Offer, OfferRefusal, Report, Verdict};
use lanyard_wire::ids::{AttemptId, DeviceId};
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::token::Purpose;

use self::attempt::{Answer, Attempt, End};
use self::memory::Memory;
use super::command::EndpointEvent;
use super::say::Says;
use crate::rejected::Rejected;
use crate::time::{Instant, Wakeup};
use crate::timers::Timers;

mod attempt;
#[cfg(test)]
mod fixture;
mod meeting;
mod memory;
mod openings;
mod plan;

/// Attempts at one time; when there are more, the one that would end first goes.
const ATTEMPTS_MAX: usize = 8_192;

/// How long the first offer waits for the second.
///
/// The other end is told by a push that is repeated for 16 s; who comes later than this has missed the
/// moment and a new attempt is cheaper.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a started attempt is remembered: for repeated offers and for the verdicts.
const MEMORY: Duration = Duration::from_secs(60);

/// How soon an end that waits should ask again, in case the signal gets lost.
const ASK_AGAIN_MS: u16 = 250;

/// The handshake service of one endpoint.
#[derive(Debug)]
pub(super) struct Handshake {
    key: SymmetricKey,
    attempts: BTreeMap<AttemptId, Attempt>,
    ends: Timers<AttemptId>,
    memory: Memory,
}

impl Handshake {
    pub(super) fn new(key: SymmetricKey) -> Self {
        Self { key, attempts: BTreeMap::new(), ends: Timers::new(), memory: Memory::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Takes a device's offer, which came from `observed` under a session with round trips of `rtt`.
    pub(super) fn offer(
        &mut self,
        device: DeviceId,
        offer: Offer,
        observed: SocketAddr,
        rtt: Duration,
        now_s: u64,
        says: &mut Says,
        now: Instant,
    ) -> Result<(), Rejected> {
        let (id, ticket) = (offer.attempt, offer.ticket);
        let side = [ticket.a, ticket.b].iter().position(|party| *party == device);
        let side = match (side, self.refusal(&offer, now_s)) {
            (Some(side), None) => side,
            (_, refusal) => {
                let why = refusal.unwrap_or(OfferRefusal::Forged);
                says.tell(device, &FromHandshake::Rejected { attempt: id, why });
                return Err(Rejected::NotAllowed);
            }
        };
        let end = End::of(offer, observed, rtt);
        let Some(attempt) = self.attempts.get_mut(&id) else {
            self.make_room();
            self.attempts.insert(id, Attempt::begin([ticket.a, ticket.b], side, end));
            self.ends.set(id, now + PATIENCE);
            says.tell(device, &FromHandshake::Wait { attempt: id, ms: ASK_AGAIN_MS });
            return Ok(());
        };
        match attempt.offer(id, side, end, &mut self.memory, now) {
            Answer::Prepare(whom) => {
                self.ends.set(id, now + PATIENCE);
                // Who asked and has nothing to do itself waits for the other.
                if whom.iter().all(|(party, _)| *party != device) {
                    says.tell(device, &FromHandshake::Wait { attempt: id, ms: ASK_AGAIN_MS });
                }
                for (party, method) in whom {
                    says.tell(party, &FromHandshake::Prepare { attempt: id, method });
                }
            }
            Answer::Wait => says.tell(device, &FromHandshake::Wait { attempt: id, ms: ASK_AGAIN_MS }),
            Answer::Repeat(go) => says.tell(device, &FromHandshake::Go(go)),
            Answer::Start(signals) => {
                self.ends.set(id, now + MEMORY);
                for (party, go) in signals {
                    says.tell(party, &FromHandshake::Go(go));
                }
            }
        }
        Ok(())
    }

    /// Takes a verdict; gives the event for INDEX and people.
    pub(super) fn report(
        &mut self,
        device: DeviceId,
        report: Report,
        now: Instant,
    ) -> Result<EndpointEvent, Rejected> {
        let attempt = self.attempts.get_mut(&report.attempt).ok_or(Rejected::UnknownAttempt)?;
        let side = attempt.side_of(device).ok_or(Rejected::NotAllowed)?;
        let (kind, networks) = attempt.started().ok_or(Rejected::Unexpected)?;
        if !attempt.report(side) {
            return Err(Rejected::RateLimited);
        }
        let is_direct = matches!(report.verdict, Verdict::Direct { .. });
        if attempt.settle(is_direct) {
            self.memory.ended(networks, kind, is_direct, now);
        }
        let [a, b] = attempt.devices();
        Ok(EndpointEvent::Verdict { a, b, from: device, verdict: report.verdict })
    }

    /// Forgets the attempts of a device with all peers for which `is_over` says so, so that no candidate is
    /// told to someone who just ceased to share a network.
    pub(super) fn cut(&mut self, device: DeviceId, is_over: impl Fn(&DeviceId) -> bool) {
        let ends = &mut self.ends;
        self.attempts.retain(|id, attempt| {
            let devices = attempt.devices();
            let over =
                devices.contains(&device) && devices.iter().any(|party| *party != device && is_over(party));
            if over {
                ends.cancel(id);
            }
            !over
        });
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.ends.pop_due(now) {
            self.attempts.remove(&id);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        self.ends.first().map(|(at, _)| Wakeup { at, why: "end of an attempt" })
    }

    /// Why the token is not good for the attempt, if it is not.
    fn refusal(&self, offer: &Offer, now_s: u64) -> Option<OfferRefusal> {
        let ticket = &offer.ticket;
        // Asked about the last second of its life, a token is good unless it is forged.
        let last_s = u64::from(ticket.expires_s).saturating_sub(1);
        let genuine = ticket.purpose == Purpose::Attempt
            && ticket.value == offer.attempt.value()
            && ticket.verify(&self.key, last_s);
        match (genuine, now_s <= last_s) {
            (false, _) => Some(OfferRefusal::Forged),
            (true, false) => Some(OfferRefusal::Expired),
            (true, true) => None,
        }
    }

    fn make_room(&mut self) {
        if self.attempts.len() >= ATTEMPTS_MAX
            && let Some(first) = self.ends.pop_due(Instant::MAX)
        {
            self.attempts.remove(&first);
        }
    }
}
