//! Whether a relayed path may have lost its way back.
//!
//! A relay sends to where it last heard us. When our NAT gives us another address that is wrong until the
//! relay hears from the new one, and an end that only receives would never know. Nothing can be asked on a
//! relayed path itself; but when data goes out and nothing comes back, or a flow that was coming in stops,
//! the services are made to hear us, which puts that right if that was it, and costs a datagram if not.

use core::time::Duration;

use crate::backoff::Backoff;
use crate::time::{Instant, Wakeup};

/// Data went out and nothing came back for so long: longer than most relayed round trips.
const QUIET: Duration = Duration::from_millis(300);

/// A flow that was coming in stopped for so long.
const FLOW_STOPPED: Duration = Duration::from_millis(400);

/// So many datagrams in one report (50 ms) are a flow.
const FLOW: u32 = 3;

/// While the silence lasts the services hear us again after this, doubling to the second value.
///
/// One-way traffic is silence too, and normal.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Silence on the relayed path of one peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    ask_at: Option<Instant>,
    /// Data went out that nothing followed; otherwise one question is enough.
    is_waiting: bool,
    again: Backoff,
}

impl Silence {
    /// Nothing was sent yet.
    pub(super) const fn new() -> Self {
        Self { ask_at: None, is_waiting: false, again: Backoff::new(AGAIN.0, AGAIN.1) }
    }

    /// Data went out by relay and nothing came in.
    pub(super) fn sent(&mut self, now: Instant) {
        if !self.is_waiting {
            self.is_waiting = true;
            self.ask_at = Some(self.ask_at.map_or(now + QUIET, |at| at.min(now + QUIET)));
        }
    }

    /// So many datagrams came in by relay.
    pub(super) fn heard(&mut self, packets: u32, now: Instant) {
        self.is_waiting = false;
        self.again.reset();
        self.ask_at = (packets >= FLOW).then_some(now + FLOW_STOPPED);
    }

    /// The path is another one now.
    pub(super) fn stop(&mut self) {
        *self = Self::new();
    }

    /// Says when the services have to hear us.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.ask_at.is_none_or(|at| at > now) {
            return false;
        }
        self.ask_at = self.is_waiting.then(|| now + self.again.step());
        true
    }

    /// When to wonder.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        self.ask_at.map(|at| Wakeup { at, why: "a relayed path is quiet" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sending_into_silence_is_noticed_soon_and_then_ever_more_rarely() {
        let mut silence = Silence::new();
        silence.sent(at(0));
        let mut asked = alloc::vec::Vec::new();
        for tick in 0..700 {
            silence.sent(at(tick * 100));
            if silence.handle_timeout(at(tick * 100)) {
                asked.push(tick * 100);
            }
        }
        assert_eq!(asked, [300, 1_300, 3_300, 7_300, 15_300, 31_300, 61_300]);
    }

    #[test]
    fn traffic_in_both_directions_asks_nothing() {
        let mut silence = Silence::new();
        for tick in 0..100 {
            silence.sent(at(tick * 100));
            silence.heard(1, at(tick * 100 + 50));
            assert!(!silence.handle_timeout(at(tick * 100 + 60)));
        }
        assert_eq!(silence.poll_timeout(), None);
    }

    #[test]
    fn a_flow_that_stops_is_asked_about_once() {
        let mut silence = Silence::new();
        silence.heard(10, at(1_000));
        assert!(!silence.handle_timeout(at(1_399)));
        assert!(silence.handle_timeout(at(1_400)));
        assert_eq!(silence.poll_timeout(), None);
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
