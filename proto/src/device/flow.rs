//! Whether data that was coming in has stopped coming.
//!
//! An end that only receives, or only answers, sends nothing while nothing comes: if its NAT forgets it, the
//! silence is all that it will ever notice. So data that came thick or steadily and then stays away is worth
//! one question, whatever the reason; most often it is only that the other end has no more to say.

use core::time::Duration;

use crate::time::Instant;

/// So many datagrams in one report (100 ms) are a flow: 40 kB/s or more at full size.
pub(super) const THICK: u32 = 3;

/// So many reports in a row, none of them further apart than [`APART`], are a flow, too.
const STEADY: u32 = 4;

/// Data further apart than this is no flow: a person, or a keep-alive.
const APART: Duration = Duration::from_millis(1_500);

/// A flow that stays away for so long has stopped; a data plane is asked once more before that is believed.
///
/// TCP repeats for the second time after 440 ms at a round trip of 80 (see `health`); what is done about a dead path by
/// then decides how long its flow stands still.
const STOPPED: Duration = Duration::from_millis(150);

/// The same for a flow with pauses: one more of them, but not less than this.
const JITTER: Duration = Duration::from_millis(100);

/// What came in lately on one path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    heard_at: Option<Instant>,
    /// Reports in a row that were not far apart, and the longest pause between two of them.
    steady: u32,
    pause: Duration,
    stops_at: Option<Instant>,
}

impl Flow {
    /// So many datagrams came in.
    pub(super) fn heard(&mut self, packets: u32, now: Instant) {
        let pause = self.heard_at.replace(now).map(|at| now.saturating_since(at));
        match pause.filter(|pause| *pause <= APART) {
            Some(pause) => {
                self.steady = self.steady.saturating_add(1);
                // A long pause is forgotten within a few reports of a flow that got faster.
                self.pause = pause.max(self.pause * 3 / 4);
            }
            None => (self.steady, self.pause) = (0, Duration::ZERO),
        }
        let wait = STOPPED.max(self.pause + self.pause.max(JITTER));
        // What is thick and steady comes in bursts: its pauses are known, and none of them is its end.
        self.stops_at = match (packets >= THICK, self.steady >= STEADY) {
            (_, true) => Some(now + wait),
            (true, false) => Some(now + STOPPED),
            (false, false) => None,
        };
    }

    /// Says once that the flow stopped. If it goes on soon it is as steady as it was.
    pub(super) fn has_stopped(&mut self, now: Instant) -> bool {
        self.stops_at.take_if(|at| *at <= now).is_some()
    }

    /// When it will have stopped if nothing more comes.
    pub(super) const fn stops_at(&self) -> Option<Instant> {
        self.stops_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thick_flow_that_stops_is_noticed_once() {
        let mut flow = Flow::default();
        flow.heard(40, at(1_000));
        assert!(!flow.has_stopped(at(1_149)));
        assert!(flow.has_stopped(at(1_150)));
        assert!(!flow.has_stopped(at(9_000)));
    }

    #[test]
    fn a_thin_but_steady_flow_that_stops_is_noticed_after_one_more_of_its_pauses() {
        for (every, noticed_after) in [(50, 150), (100, 200), (200, 400), (500, 1_000), (1_000, 2_000)] {
            let mut flow = Flow::default();
            let last = (0..10).map(|turn| turn * every).inspect(|millis| flow.heard(1, at(*millis))).last();
            assert_eq!(flow.stops_at(), Some(at(last.unwrap() + noticed_after)), "one each {every} ms");
        }
    }

    #[test]
    fn bursts_with_pauses_have_not_stopped_in_between() {
        let mut flow = Flow::default();
        for burst in 0..10 {
            let millis = burst * 500;
            assert_eq!(flow.has_stopped(at(millis)), burst > 0 && burst <= STEADY.into(), "burst {burst}");
            flow.heard(3, at(millis));
        }
        assert!(!flow.has_stopped(at(4_500 + 999)));
        assert!(flow.has_stopped(at(4_500 + 1_000)));
    }

    #[test]
    fn a_flow_that_goes_on_after_all_is_as_steady_as_it_was() {
        let mut flow = Flow::default();
        (0..10).for_each(|turn| flow.heard(1, at(turn * 100)));
        assert!(flow.has_stopped(at(1_300)));
        flow.heard(1, at(1_350));
        assert!(flow.stops_at().is_some(), "its next end is noticed, too");
    }

    #[test]
    fn what_comes_now_and_then_is_no_flow() {
        let mut flow = Flow::default();
        for second in [0, 2, 4, 4, 5, 20, 21, 40, 60, 80, 100] {
            flow.heard(1, at(second * 1_000));
            assert_eq!(flow.stops_at(), None, "{second}");
        }
    }

    #[test]
    fn a_flow_that_got_faster_is_expected_sooner() {
        let mut flow = Flow::default();
        let times = (0..5).map(|turn| turn * 1_000).chain((1..20).map(|turn| 4_000 + turn * 100));
        times.for_each(|millis| flow.heard(1, at(millis)));
        assert_eq!(flow.stops_at(), Some(at(5_900 + 200)));
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
