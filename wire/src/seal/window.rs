//! Which counters of a session were seen already.

use crate::limits::COUNTER_MAX;

/// Bits of one word.
const WORD: u64 = 64;

/// A window for services: 64 counters in 16 bytes; control traffic reorders little.
pub type ServiceWindow = ReplayWindow<1>;

/// A window for devices: 1,024 counters.
pub type DeviceWindow = ReplayWindow<16>;

/// Remembers the `WORDS` x 64 counters below the highest accepted one.
///
/// Ask [`ReplayWindow::check`] before the costly opening, [`ReplayWindow::accept`] after it succeeded: what a
/// stranger sends must not move the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayWindow<const WORDS: usize> {
    /// First counter above all that were accepted.
    next: u64,
    /// Bit `i` of word `w`: counter `next - 1 - (64 w + i)` was accepted.
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// A window that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// Whether the counter is new and not too old.
    #[must_use]
    pub fn check(&self, counter: u64) -> bool {
        if counter > COUNTER_MAX {
            return false;
        }
        match self.place(counter) {
            None => true,
            Some((word, bit)) => self.seen.get(word).is_some_and(|seen| seen & bit == 0),
        }
    }

    /// Marks the counter as seen; `false`, and no change, when [`ReplayWindow::check`] would refuse it.
    pub fn accept(&mut self, counter: u64) -> bool {
        if !self.check(counter) {
            return false;
        }
        if counter >= self.next {
            let steps = counter.saturating_sub(self.next).saturating_add(1);
            self.shift(steps);
            self.next = counter.saturating_add(1);
        }
        if let Some((word, bit)) = self.place(counter)
            && let Some(seen) = self.seen.get_mut(word)
        {
            *seen |= bit;
        }
        true
    }

    /// Word and bit of a counter below `next`; the word may lie outside the window.
    fn place(&self, counter: u64) -> Option<(usize, u64)> {
        let age = self.next.checked_sub(counter)?.checked_sub(1)?;
        let word = usize::try_from(age / WORD).unwrap_or(usize::MAX);
        Some((word, 1u64.checked_shl(u32::try_from(age % WORD).unwrap_or(0)).unwrap_or(0)))
    }

    /// Ages everything by `steps`.
    fn shift(&mut self, steps: u64) {
        let words = usize::try_from(steps / WORD).unwrap_or(usize::MAX);
        let bits = u32::try_from(steps % WORD).unwrap_or(0);
        let carry = 64u32.saturating_sub(bits);
        for index in (0..WORDS).rev() {
            let word = |back: usize| {
                index
                    .checked_sub(words)
                    .and_then(|from| from.checked_sub(back))
                    .and_then(|from| self.seen.get(from))
            };
            let low = word(0).copied().unwrap_or(0).checked_shl(bits).unwrap_or(0);
            let high = word(1).copied().unwrap_or(0).checked_shr(carry).unwrap_or(0);
            if let Some(seen) = self.seen.get_mut(index) {
                *seen = low | high;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_counter_is_accepted_once() {
        let mut window = ServiceWindow::new();
        for counter in [0, 5, 3, 64, 4] {
            assert!(window.check(counter));
            assert!(window.accept(counter));
            assert!(!window.check(counter));
            assert!(!window.accept(counter));
        }
        assert!(!window.accept(0), "65 below the next");
        assert!(window.accept(1), "the oldest inside the window");
    }

    #[test]
    fn a_leap_forgets_everything_before() {
        let mut window = DeviceWindow::new();
        assert!(window.accept(10));
        assert!(window.accept(1_000_000));
        assert!(!window.accept(10));
        assert!(window.accept(1_000_000 - 1_023));
        assert!(!window.accept(1_000_000 - 1_024));
    }

    #[test]
    fn counters_near_the_end_are_refused_and_reset_nothing() {
        let mut window = DeviceWindow::new();
        assert!(window.accept(COUNTER_MAX));
        for counter in [COUNTER_MAX, COUNTER_MAX + 1, u64::MAX] {
            assert!(!window.accept(counter));
        }
        assert!(window.accept(COUNTER_MAX - 1));
        assert!(!window.accept(COUNTER_MAX - 1));
    }

    proptest::proptest! {
        #[test]
        fn the_window_agrees_with_a_set(steps in proptest::collection::vec(-200i64..300, 1..200)) {
            let (mut window, mut seen, mut highest) = (ReplayWindow::<3>::new(), BTreeSet::new(), 0i64);
            for step in steps {
                let counter = highest.saturating_add(step).max(0);
                let fresh = !seen.contains(&counter) && counter > highest.saturating_sub(192);
                proptest::prop_assert_eq!(window.accept(counter.unsigned_abs()), fresh, "counter {}", counter);
                seen.insert(counter);
                highest = highest.max(counter);
            }
        }
    }
}
