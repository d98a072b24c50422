//! What a link sends in its session.

use super::{Expect, Link};
use crate::time::Instant;
use crate::transmit::{SocketId, Transmit};

impl Link {
    /// Seals a message of at most `BODY_MAX` bytes; `false` if no session stands.
    pub(in crate::device) fn send(&mut self, body: &[u8], expect: Expect, now: Instant) -> bool {
        let sent = self.seal(false, body, now);
        if sent
            && expect == Expect::Answer
            && let Some((_, health)) = &mut self.session
        {
            health.expects(now);
        }
        sent
    }

    /// Sends what waits for no answer in place of the next keep-alive; each so many of those ask whether the session stands.
    pub(in crate::device) fn send_as_keep_alive(&mut self, body: &[u8], now: Instant) {
        let asks = self.session.as_ref().is_some_and(|(_, health)| health.asks_next());
        if !self.seal(asks, body, now) {
            return;
        }
        if let Some((_, health)) = &mut self.session {
            if asks {
                health.asked(now);
            } else {
                health.sent_keep_alive();
            }
        }
    }

    /// Seals and queues; `false` if no session stands.
    pub(super) fn seal(&mut self, wants_answer: bool, body: &[u8], now: Instant) -> bool {
        let Some((session, health)) = &mut self.session else { return false };
        let Some(bytes) = session.seal(wants_answer, body) else { return false };
        health.sent(&mut self.rng, now);
        self.outbox.push(Transmit { local: SocketId::MAIN, remote: session.remote, bytes });
        true
    }
}
