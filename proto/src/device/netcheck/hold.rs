//! Keeping the IPv4 mapping of the main socket open, and knowing it, where nothing else does.
//!
//! The keep-alives of a coordinator's session do both, where it goes by IPv4. A device that speaks to its coordinators
//! by IPv6 alone sends nothing through its NAT: within a minute the mapping that its card names is gone, and the
//! next one may have another port. So a STUN server is asked now and then.

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::stun::TransactionId;

use super::sample::Sample;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, SocketId};

/// When to ask, and what is being asked.
#[derive(Debug, Default)]
pub(super) struct Hold {
    next_at: Option<Instant>,
    question: Option<Sample>,
}

impl Hold {
    /// Begins, or ends; what goes on goes on. `every` is the time between two questions, as between keep-alives.
    pub(super) fn set(&mut self, is_needed: bool, every: Duration, rng: &mut Rng, now: Instant) {
        if !is_needed {
            *self = Self::default();
        } else if self.next_at.is_none() {
            self.next_at = Some(now + rng.jitter(every, 10));
        }
    }

    /// Whether it is time for the next question.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.question.take_if(|question| question.is_over(now));
        self.next_at.is_some_and(|at| at <= now)
    }

    /// Asks, if there is a server.
    pub(super) fn begin(&mut self, server: Option<SocketAddr>, every: Duration, rng: &mut Rng, now: Instant) {
        self.next_at = Some(now + rng.jitter(every, 10));
        self.question = server.map(|server| Sample::unhurried(SocketId::MAIN, server, rng, now));
    }

    /// The question under way.
    pub(super) const fn question(&mut self) -> Option<&mut Sample> {
        self.question.as_mut()
    }

    /// Takes an answer, if it is one to the question: where the main socket is seen from.
    pub(super) fn answer(
        &mut self,
        txid: &TransactionId,
        datagram: Datagram<'_>,
    ) -> Option<Result<SocketAddr, Rejected>> {
        let question = self.question.take_if(|question| question.txid == *txid)?;
        let answer = question.answer(datagram);
        if answer.is_err() {
            self.question = Some(question);
        }
        Some(answer)
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let next = self.next_at.map(|at| Wakeup { at, why: "hold the IPv4 mapping" });
        let question = self.question.as_ref();
        let question =
            question.map(|question| Wakeup { at: question.next_at(), why: "hold the IPv4 mapping" });
        Wakeup::earliest(next, question)
    }
}
