//! How long nothing arrived.

use std::time::{Duration, Instant};

/// The longest pause between two arrivals since it was reset.
#[derive(Clone, Copy, Debug)]
pub struct Standstill {
    last: Instant,
    longest: Duration,
    /// When the longest began.
    since: Instant,
}

impl Standstill {
    /// Nothing has arrived yet; the first pause begins now.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { last: now, longest: Duration::ZERO, since: now }
    }

    /// Something has arrived.
    pub fn arrived(&mut self, now: Instant) {
        self.see(now);
        self.last = now;
    }

    /// Forgets the pauses so far. One that still lasts counts in full when it ends.
    pub const fn reset(&mut self) {
        self.longest = Duration::ZERO;
    }

    /// The longest pause, one that still lasts included, and when it began.
    #[must_use]
    pub fn longest(mut self, now: Instant) -> (Duration, Instant) {
        self.see(now);
        (self.longest, self.since)
    }

    fn see(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.last);
        if pause > self.longest {
            (self.longest, self.since) = (pause, self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_lasts_counts_before_and_after_a_reset() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut standstill = Standstill::new(begun);
        standstill.arrived(at(300));
        standstill.arrived(at(400));
        assert_eq!(standstill.longest(at(500)), (Duration::from_millis(300), begun));
        assert_eq!(standstill.longest(at(900)), (Duration::from_millis(500), at(400)));
        standstill.reset();
        assert_eq!(standstill.longest(at(600)).0, Duration::from_millis(200), "the old one is forgotten");
        standstill.arrived(at(1_000));
        standstill.arrived(at(1_001));
        assert_eq!(standstill.longest(at(1_002)), (Duration::from_millis(600), at(400)));
    }
}
