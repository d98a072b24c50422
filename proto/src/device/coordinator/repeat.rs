//! Repeating one message until it is answered.

use core::time::Duration;

use crate::backoff::Backoff;
use crate::time::Instant;

/// First and longest wait for an answer.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// When a message is sent, again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    backoff: Backoff,
    at: Instant,
}

impl Repeat {
    /// Sent now, then after 250 ms, 500 ms, and so on.
    pub(super) const fn from(now: Instant) -> Self {
        Self { backoff: Backoff::new(WAIT.0, WAIT.1), at: now }
    }

    /// When it is to be sent.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    /// Is it to be sent now? Counts as sent if so.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.at > now {
            return false;
        }
        self.at = now + self.backoff.step();
        true
    }

    /// The other end wants to hear it again then, not before.
    pub(super) fn put_off(&mut self, until: Instant) {
        self.at = until;
    }
}
