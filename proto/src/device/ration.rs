//! How often something may be done at somebody else's word.

use core::time::Duration;

use crate::time::Instant;

/// A token bucket that begins full, kept as the moment at which it will be full again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ration {
    full_at: Option<Instant>,
}

impl Ration {
    /// With all that it holds.
    pub(super) const fn full() -> Self {
        Self { full_at: None }
    }

    /// Takes one out of `most`, of which one comes back each time `every` passes; `false` when none is left.
    pub(super) fn take(&mut self, most: u32, every: Duration, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + every;
        let may = full_at.saturating_since(now) <= every * most;
        if may {
            self.full_at = Some(full_at);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_one_by_one_and_no_more_than_there_was() {
        let every = Duration::from_secs(10);
        let mut ration = Ration::default();
        let mut taken = |second| (0..9).filter(|_| ration.take(3, every, Instant::from_secs(second))).count();
        assert_eq!([100, 109, 110, 125, 1_000].map(&mut taken), [3, 0, 1, 1, 3]);
    }
}
