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
