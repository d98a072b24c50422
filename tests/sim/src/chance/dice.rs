//! Dice that are easy to read.

use lanyard_proto::rng::Rng;

/// Draws with names.
pub(super) struct Dice(pub(super) Rng);

impl Dice {
    pub(super) fn once_in(&mut self, count: u64) -> bool {
        self.0.below(count) == 0
    }

    /// Both ends included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high.saturating_sub(low) + 1)
    }

    pub(super) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.0.below(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        let at = self.index(items.len());
        items[at]
    }
}
