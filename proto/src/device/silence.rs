//! Whether a relayed path may have lost its way back.
//!
//! A relay sends to where it last heard us. When our NAT gives us another address that is wrong until the
//! relay hears from the new one, and an end that only receives would never know. Nothing can be asked on a
//! relayed path itself; but when data goes out and nothing comes back, or a flow that was coming in stops,
//! the services are made to hear us, which puts that right if that was it, and costs a datagram if not.

use core::time::Duration;

use super::flow::Flow;
use crate::backoff::Backoff;
use crate::time::{Instant, Wakeup};

/// Data went out and nothing came back for so long: longer than most relayed round trips.
const QUIET: Duration = Duration::from_millis(300);

/// While the silence lasts the services hear us again after this, doubling to the second value.
///
/// One-way traffic is silence too, and normal.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A peer that was not heard for so long was away.
const LONG: Duration = Duration::from_secs(5);

/// Silence on the relayed path of one peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// Data went out that nothing followed: when to ask, and to ask again.
    ask_at: Option<Instant>,
    again: Backoff,
    flow: Flow,
    heard_at: Option<Instant>,
}

impl Silence {
    /// Nothing was sent yet.
    pub(super) fn new() -> Self {
        Self { ask_at: None, again: Backoff::new(AGAIN.0, AGAIN.1), flow: Flow::default(), heard_at: None }
    }

    /// Data went out by relay and nothing came in.
    pub(super) fn sent(&mut self, now: Instant) {
        self.ask_at.get_or_insert(now + QUIET);
    }

    /// So many datagrams came in by relay; says whether they broke a long silence.
    pub(super) fn heard(&mut self, packets: u32, now: Instant) -> bool {
        self.ask_at = None;
        self.again.reset();
        self.flow.heard(packets, now);
        self.heard_at.replace(now).is_none_or(|at| now.saturating_since(at) >= LONG)
    }

    /// The path is another one now.
    pub(super) fn stop(&mut self) {
        *self = Self::new();
    }

    /// Says when the services have to hear us.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let has_stopped = self.flow.has_stopped(now);
        let is_due = self.ask_at.is_some_and(|at| at <= now);
        if is_due {
            self.ask_at = Some(now + self.again.step());
        }
        has_stopped || is_due
    }

    /// When to wonder.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let quiet = self.ask_at.map(|at| Wakeup { at, why: "a relayed path is quiet" });
        let flow = self.flow.stops_at().map(|at| Wakeup { at, why: "a relayed flow stopped" });
        Wakeup::earliest(quiet, flow)
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
    }

    #[test]
    fn a_flow_that_stops_is_asked_about_once() {
        let mut silence = Silence::new();
        for tick in 0..10 {
            assert_eq!(silence.heard(1, at(tick * 100)), tick == 0, "it was away before the first");
            silence.sent(at(tick * 100 + 50));
        }
        silence.heard(1, at(1_000));
        assert!(!silence.handle_timeout(at(1_199)));
        assert!(silence.handle_timeout(at(1_200)));
        assert_eq!(silence.poll_timeout(), None);
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
