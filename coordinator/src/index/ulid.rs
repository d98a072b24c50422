//! Ids of rows: 26 characters that sort by the time they were made.
//!
//! 48 bits of epoch milliseconds, then 80 random ones, as the ULID specification has them, in lower case.

use std::sync::{Mutex, PoisonError};

use super::error::Result;

/// Crockford's alphabet: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Draws ids that rise, also within a millisecond and when the clock goes back: rows sort by them as they were written.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<u128>);

impl Ids {
    /// The 16 bytes of a new id.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub(super) fn new_bytes(&self, now_ms: i64) -> Result<[u8; 16]> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        let time = u64::try_from(now_ms).unwrap_or(0).to_be_bytes();
        bytes[..6].copy_from_slice(&time[2..]);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The specification's monotonic ids: in the same millisecond the number after the last one.
        let drawn = u128::from_be_bytes(bytes);
        *last = if drawn >> 80 > *last >> 80 { drawn } else { last.wrapping_add(1) };
        Ok(last.to_be_bytes())
    }

    /// A new id as text.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub(super) fn new_text(&self, now_ms: i64) -> Result<String> {
        let value = u128::from_be_bytes(self.new_bytes(now_ms)?);
        Ok((0..26)
            .rev()
            .map(|digit| char::from(ALPHABET[usize::from((value >> (digit * 5)) as u8 & 31)]))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids = Ids::default();
        let early = ids.new_text(1_700_000_000_000).unwrap();
        let late = ids.new_text(1_700_000_000_001).unwrap();
        assert!(early < late, "{early} {late}");
        assert_eq!(early.len(), 26);
        // 1_700_000_000_000 in 48 bits, by the ULID specification's alphabet.
        assert!(early.starts_with("01hf7yat00"), "{early}");
    }

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_goes_back() {
        let ids = Ids::default();
        let drawn: Vec<String> = [5, 5, 5, 4, 6].into_iter().map(|now| ids.new_text(now).unwrap()).collect();
        assert!(drawn.is_sorted_by(|a, b| a < b), "{drawn:?}");
    }
}
