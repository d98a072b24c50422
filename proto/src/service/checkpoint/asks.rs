//! Wishes that INDEX decides: to join a network, to leave one.
//!
//! A device repeats its wish until it is answered; INDEX is asked once. The last answer is kept until the next
//! session, for a device that did not get it.

use lanyard_wire::checkpoint::{FromCheckpoint, Join, JoinOutcome, MemberState};
use lanyard_wire::codec::Wire;
use lanyard_wire::ids::{DeviceId, NetworkId, RequestId};

use super::{Checkpoint, Timer};
use crate::rejected::Rejected;
use crate::service::command::EndpointEvent;
use crate::service::say::Says;
use crate::time::Instant;
use core::time::Duration;

/// Wishes under way at INDEX; the new one is refused and comes again.
const ASKS_MAX: usize = 4_096;

/// Wishes of one device; the new one is refused.
const ASKS_PER_DEVICE: usize = 4;

/// How long INDEX may take. After that the device's next repetition asks anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// A wish under way.
#[derive(Debug)]
pub(super) struct Ask {
    device: DeviceId,
    request: RequestId,
    /// Decided already; the roster still has to show it, so that the device's next question finds it there.
    decided: Option<JoinOutcome>,
}

impl Checkpoint {
    pub(super) fn join(
        &mut self,
        device: DeviceId,
        join: Join,
        says: &mut Says,
        now: Instant,
    ) -> Result<(), Rejected> {
        let Some(client) = self.registry.get(&device) else { return Err(Rejected::UnknownPeer) };
        let (identity, remote) = (client.identity, client.remote);
        let is_new = !self.is_settled(device, join.request, says);
        if !is_new {
            return Ok(());
        }
        if !self.joins.take(remote.ip(), now) {
            return Err(Rejected::RateLimited);
        }
        let ask = self.ask(device, join.request, now)?;
        says.note(EndpointEvent::JoinAsked { ask, identity, remote, request: join });
        Ok(())
    }

    pub(super) fn leave(
        &mut self,
        device: DeviceId,
        request: RequestId,
        network: NetworkId,
        says: &mut Says,
        now: Instant,
    ) -> Result<(), Rejected> {
        if self.is_settled(device, request, says) {
            return Ok(());
        }
        match self.roster.network(&network) {
            None => says.tell(device, &FromCheckpoint::NotMember { request, network }),
            Some(known) if known.member(&device).is_none() => {
                says.tell(device, &FromCheckpoint::Left { request });
            }
            Some(_) => {
                let ask = self.ask(device, request, now)?;
                says.note(EndpointEvent::LeaveAsked { ask, device, network });
            }
        }
        Ok(())
    }

    /// INDEX has decided about a join.
    pub(in crate::service) fn join_decided(&mut self, ask: u64, outcome: JoinOutcome, says: &mut Says) {
        let Some(waiting) = self.asks.get_mut(&ask) else { return };
        waiting.decided = Some(outcome);
        self.settle(ask, says);
    }

    /// INDEX has carried out a leave.
    pub(in crate::service) fn leave_done(&mut self, ask: u64, says: &mut Says) {
        if let Some(done) = self.forget_ask(ask) {
            self.answer(done.device, done.request, &FromCheckpoint::Left { request: done.request }, says);
        }
    }

    /// A membership of the device is in the roster now: what was decided may be told.
    pub(super) fn settle_joins_of(&mut self, device: DeviceId, says: &mut Says) {
        let asks: alloc::vec::Vec<u64> =
            self.asks.iter().filter(|(_, ask)| ask.device == device).map(|(id, _)| *id).collect();
        for ask in asks {
            self.settle(ask, says);
        }
    }

    /// Nobody answered in time, or the roster never showed what was decided.
    pub(super) fn ask_expired(&mut self, ask: u64, says: &mut Says) {
        let Some(expired) = self.asks.remove(&ask) else { return };
        if let Some(outcome) = expired.decided {
            let answer = FromCheckpoint::JoinAnswer { request: expired.request, outcome };
            self.answer(expired.device, expired.request, &answer, says);
        }
    }

    fn settle(&mut self, ask: u64, says: &mut Says) {
        let Some(waiting) = self.asks.get(&ask) else { return };
        let (device, request) = (waiting.device, waiting.request);
        let Some(outcome) = waiting.decided else { return };
        let is_shown = match outcome {
            JoinOutcome::Joined { network } => self.roster.network(&network).is_some_and(|known| {
                known.member(&device).is_some_and(|member| member.state == MemberState::Active)
            }),
            JoinOutcome::Pending { network } => {
                self.roster.network(&network).is_some_and(|known| known.member(&device).is_some())
            }
            JoinOutcome::Refused(_) => true,
        };
        if is_shown {
            self.forget_ask(ask);
            self.answer(device, request, &FromCheckpoint::JoinAnswer { request, outcome }, says);
        }
    }

    /// Whether a wish was answered, which is then said again, or is under way.
    fn is_settled(&self, device: DeviceId, request: RequestId, says: &mut Says) -> bool {
        let answered = self.registry.get(&device).and_then(|client| client.answered.as_ref());
        if let Some((_, body)) = answered.filter(|(known, _)| *known == request) {
            says.tell_bytes(device, body.clone());
            return true;
        }
        self.asks.values().any(|ask| ask.device == device && ask.request == request)
    }

    fn ask(&mut self, device: DeviceId, request: RequestId, now: Instant) -> Result<u64, Rejected> {
        if self.asks.len() >= ASKS_MAX {
            return Err(Rejected::Full);
        }
        if self.asks.values().filter(|ask| ask.device == device).count() >= ASKS_PER_DEVICE {
            return Err(Rejected::RateLimited);
        }
        self.last_ask += 1;
        let ask = self.last_ask;
        self.asks.insert(ask, Ask { device, request, decided: None });
        self.timers.set(Timer::Ask(ask), now + PATIENCE);
        Ok(ask)
    }

    fn forget_ask(&mut self, ask: u64) -> Option<Ask> {
        self.timers.cancel(&Timer::Ask(ask));
        self.asks.remove(&ask)
    }

    fn answer(&mut self, device: DeviceId, request: RequestId, answer: &FromCheckpoint, says: &mut Says) {
        let body = answer.to_bytes();
        if let Some(client) = self.registry.get_mut(&device) {
            client.answered = Some((request, body.clone()));
        }
        says.tell_bytes(device, body);
    }
}
