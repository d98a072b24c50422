//! Randomness that repeats: one generator per machine, grown from a seed.
//!
//! The seed comes with the constructor of a machine; nothing here asks the operating system. Same seed and
//! same inputs, same outputs to the last byte, so a failing run of the simulator can be run again. In a
//! program the seed is 32 bytes from the operating system, and `ChaCha12` makes them last.

use core::fmt;
use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

/// A deterministic generator, good enough for keys.
#[derive(Clone)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// The generator that this seed stands for.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A generator of its own for a part of the machine.
    ///
    /// Two forks differ by their place in the order of draws and by their label, so that a part that draws
    /// more does not shift the numbers of the others.
    #[must_use]
    pub fn fork(&mut self, label: &[u8]) -> Self {
        let mut child = ChaCha12Rng::from_seed(self.bytes());
        child.set_stream(fnv1a(label));
        Self(child)
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Fills `target` with random bytes.
    pub fn fill(&mut self, target: &mut [u8]) {
        self.0.fill_bytes(target);
    }

    /// A random number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A random number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// An evenly drawn number below `bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The upper half of the wide product. Its bias is below 2^-32 for every bound we use, all far under
        // 2^32; nothing secret is drawn this way.
        let wide = u128::from(self.u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An evenly drawn duration between two, both included; `low` if they are the wrong way round.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
        low.saturating_add(Duration::from_micros(self.below(span.saturating_add(1))))
    }

    /// `around`, give or take up to `percent` percent of it.
    pub fn jitter(&mut self, around: Duration, percent: u32) -> Duration {
        let slack = around.saturating_mul(percent) / 100;
        self.between(around.saturating_sub(slack), around.saturating_add(slack))
    }

    /// Brings a slice into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
            let other = usize::try_from(self.below(bound)).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

impl fmt::Debug for Rng {
    /// Says nothing about its state, from which past and future keys would follow.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

/// FNV-1a, 64 bits: tells labels apart. Security comes from the drawn seed, not from this.
fn fnv1a(label: &[u8]) -> u64 {
    label
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let mut first = Rng::from_seed([1; 32]);
        let mut second = Rng::from_seed([1; 32]);
        assert_eq!(first.bytes::<64>(), second.bytes::<64>());
        assert_ne!(first.u64(), Rng::from_seed([2; 32]).u64());
    }

    #[test]
    fn forks_with_different_labels_differ() {
        let mut first = Rng::from_seed([1; 32]);
        let mut second = Rng::from_seed([1; 32]);
        assert_ne!(first.fork(b"links").u64(), second.fork(b"peers").u64());
        assert_eq!(first.u64(), second.u64());
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_both_ends() {
        let mut rng = Rng::from_seed([3; 32]);
        let mut seen = [false; 5];
        for _ in 0..500 {
            seen[usize::try_from(rng.below(5)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(rng.below(0), 0);
        assert_eq!(
            rng.between(Duration::from_secs(2), Duration::from_secs(1)),
            Duration::from_secs(2),
            "the wrong way round gives the lower bound"
        );
    }

    #[test]
    fn jitter_stays_within_its_percentage() {
        let mut rng = Rng::from_seed([4; 32]);
        for _ in 0..500 {
            let period = rng.jitter(Duration::from_secs(25), 10);
            assert!(period >= Duration::from_millis(22_500) && period <= Duration::from_millis(27_500));
        }
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items = [1, 2, 3, 4, 5, 6, 7, 8];
        let mut rng = Rng::from_seed([5; 32]);
        rng.shuffle(&mut items);
        assert_ne!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_generator_does_not_print_its_state() {
        assert_eq!(format!("{:?}", Rng::from_seed([9; 32])), "Rng(..)");
    }
}
