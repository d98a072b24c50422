//! Bytes that depend on nothing but a seed and their position, so that every one that arrives can be checked.
//!
//! A word of eight bytes is its number, mixed (SplitMix64, Steele et al. 2014): about a nanosecond, little beside what a
//! tunnel spends on eight bytes. Mixing is one to one, so no two words of a row are the same, and bytes that arrive at a place
//! that is not theirs are as wrong as bytes that were changed.

/// Bytes of a word.
const WORD: usize = 8;

/// An endless row of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    seed: u64,
}

impl Pattern {
    /// The row of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed: mix(seed) }
    }

    /// Writes what stands from `position` on.
    pub fn fill(&self, position: u64, bytes: &mut [u8]) {
        let (mut number, skipped, head) = place(position, bytes.len());
        let (start, rest) = bytes.split_at_mut(head);
        if !start.is_empty() {
            start.copy_from_slice(&self.word(number)[skipped..skipped + head]);
            number += 1;
        }
        for (number, word) in (number..).zip(rest.chunks_mut(WORD)) {
            word.copy_from_slice(&self.word(number)[..word.len()]);
        }
    }

    /// How many of these bytes are not those that stand from `position` on.
    #[must_use]
    pub fn count_wrong(&self, position: u64, bytes: &[u8]) -> u64 {
        let (mut number, skipped, head) = place(position, bytes.len());
        let (start, rest) = bytes.split_at(head);
        let mut wrong = 0;
        if !start.is_empty() {
            wrong += differing(start, &self.word(number)[skipped..]);
            number += 1;
        }
        for (number, word) in (number..).zip(rest.chunks(WORD)) {
            let own = self.word(number);
            if *word != own[..word.len()] {
                wrong += differing(word, &own);
            }
        }
        wrong
    }

    const fn word(&self, number: u64) -> [u8; WORD] {
        mix(self.seed.wrapping_add(number)).to_le_bytes()
    }
}

/// The number of the word that has `position`, the bytes of it that come before, and those of `length` up to the next.
fn place(position: u64, length: usize) -> (u64, usize, usize) {
    let skipped = usize::try_from(position % WORD as u64).unwrap_or_default();
    let head = if skipped == 0 { 0 } else { (WORD - skipped).min(length) };
    (position / WORD as u64, skipped, head)
}

fn differing(one: &[u8], other: &[u8]) -> u64 {
    one.iter().zip(other).map(|(one, other)| u64::from(one != other)).sum()
}

const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_is_a_piece_of_the_whole() {
        let pattern = Pattern::new(7);
        let mut whole = [0; 100];
        pattern.fill(0, &mut whole);
        for from in 0..40 {
            for length in [0, 1, 3, 7, 8, 9, 17, 60] {
                let mut piece = vec![0; length];
                pattern.fill(from as u64, &mut piece);
                assert_eq!(piece, whole[from..from + length], "{length} from {from} on");
                assert_eq!(pattern.count_wrong(from as u64, &piece), 0, "{length} from {from} on");
            }
        }
    }

    #[test]
    fn every_changed_byte_is_counted() {
        let pattern = Pattern::new(1);
        let mut bytes = [0; 64];
        pattern.fill(5, &mut bytes);
        for (count, at) in (1..).zip([0, 2, 3, 11, 40, 62, 63]) {
            bytes[at] ^= 0x10;
            assert_eq!(pattern.count_wrong(5, &bytes), count);
        }
    }

    #[test]
    fn bytes_at_another_place_or_of_another_row_are_wrong() {
        let mut bytes = vec![0; 1 << 16];
        Pattern::new(1).fill(1 << 40, &mut bytes);
        // By chance every 256th is right.
        let nearly_all = (1 << 16) - 500;
        for shift in [1, 8, 1 << 14, 1 << 20, 1 << 32] {
            assert!(Pattern::new(1).count_wrong((1 << 40) + shift, &bytes) > nearly_all, "{shift}");
        }
        assert!(Pattern::new(2).count_wrong(1 << 40, &bytes) > nearly_all);
    }
}
