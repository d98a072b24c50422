//! Capped exponential waiting between tries.
//!
//! Two ways to use it. A [`Backoff::delay`] has full jitter, for things that many devices may do at the same
//! moment (reconnecting after a coordinator's restart). A [`Backoff::step`] has none, for repeating one
//! message of which there is one. The caller decides when life is good again and calls
//! [`Backoff::reset`]; a connection that came up and fell over at once is no reason to hurry.

use core::time::Duration;

use crate::rng::Rng;

/// How long to wait before the next try: doubles from a base to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    /// Starts at `base` and never exceeds `cap`.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, tries: 0 }
    }

    /// How often a wait was handed out since the start or the last reset.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// The next wait without jitter: the base, then twice as much each time, at most the cap.
    pub fn step(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.tries = self.tries.saturating_add(1);
        ceiling
    }

    /// The next wait with full jitter: evenly drawn between half the base and what [`Backoff::step`]
    /// would give.
    ///
    /// Not from zero on, so that the first retry after a lost datagram is still a wait.
    pub fn delay(&mut self, rng: &mut Rng) -> Duration {
        let floor = self.base / 2;
        let ceiling = self.step().max(floor);
        rng.between(floor, ceiling)
    }

    /// Begins again at the base.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.tries).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double_up_to_the_cap_and_begin_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));
        let millis = [backoff.step(), backoff.step(), backoff.step(), backoff.step()].map(|d| d.as_millis());
        assert_eq!(millis, [250, 500, 1_000, 1_000]);
        assert_eq!(backoff.tries(), 4);
        backoff.reset();
        assert_eq!(backoff.step(), Duration::from_millis(250));
    }

    #[test]
    fn thousands_of_tries_neither_overflow_nor_exceed_the_cap() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for _ in 0..10_000 {
            assert!(backoff.step() <= Duration::from_secs(60));
        }
    }

    #[test]
    fn delays_are_spread_between_half_the_base_and_the_step() {
        let mut rng = Rng::from_seed([7; 32]);
        let mut seen_low = false;
        let mut seen_high = false;
        for _ in 0..200 {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
            for _ in 0..3 {
                backoff.delay(&mut rng);
            }
            let delay = backoff.delay(&mut rng);
            assert!(delay >= Duration::from_millis(500) && delay <= Duration::from_secs(8), "{delay:?}");
            seen_low |= delay < Duration::from_secs(3);
            seen_high |= delay > Duration::from_secs(6);
        }
        assert!(seen_low && seen_high);
    }
}
