//! One limit that several pairs share fairly.
//!
//! Whoever wants no more than its part gets all it wants, and those who want more get equal parts of the rest
//! (max-min fairness), however much more they want. Time goes in turns of [`TURN`]. In each, a pair may pass
//! [`Share::level`] bytes; after each, the level moves by how much of the limit was wanted below it, as in
//! core-stateless fair queueing (Stoica, Shenker, Zhang 1998). That costs one comparison a packet and no list of
//! pairs, and no packet waits: what is above the level is dropped, as a full line would drop it, and the
//! senders' congestion control does the rest.

use core::time::Duration;

use crate::time::Instant;

/// How long a turn is.
///
/// Short beside the round trips over which senders judge loss, long beside the gap between two packets of a pair
/// that has a fiftieth of 100 Mbit/s (6 ms at 1,400 bytes).
const TURN: Duration = Duration::from_millis(20);

/// Turns in a second.
const TURNS_PER_S: u64 = 50;

/// A limit and who wanted how much of it.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Bytes of the whole limit in one turn; 0 means no limit.
    capacity: u64,
    turn: u64,
    /// Bytes that one pair may pass in this turn.
    level: u64,
    /// Bytes that passed in this turn, with what earlier ones passed too much.
    passed: u64,
    /// Bytes that pairs wanted in this turn, of each no more than the level.
    wanted: u64,
    /// Whether somebody wanted more than there was.
    is_short: bool,
    /// Pairs that wanted something in this turn.
    pairs: u64,
}

/// What one pair has of a [`Share`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    turn: u64,
    /// The level of that turn.
    level: u64,
    /// Bytes that passed in that turn, with what earlier ones passed above their level.
    passed: u64,
    /// Bytes that were wanted in that turn, no more than the level.
    wanted: u64,
}

impl Share {
    /// A limit of so many bits a second; 0 for none.
    pub(super) const fn new(rate_bps: u64) -> Self {
        let capacity = rate_bps.div_ceil(8 * TURNS_PER_S);
        Self { capacity, turn: 0, level: capacity, passed: 0, wanted: 0, is_short: false, pairs: 0 }
    }

    /// Sets another limit, if it is another.
    pub(super) const fn set_rate(&mut self, rate_bps: u64) {
        let capacity = rate_bps.div_ceil(8 * TURNS_PER_S);
        if capacity != self.capacity {
            // What passed at the old rate is no debt at the new one.
            (self.capacity, self.level, self.passed) = (capacity, capacity, 0);
        }
    }

    /// Whether `bytes` of a pair may pass now. They count as passed then.
    ///
    /// The last packet of a turn may be longer than what is left; the next turns pay for it.
    pub(super) fn take(&mut self, part: &mut Part, bytes: u64, now: Instant) -> bool {
        if self.capacity == 0 {
            return true;
        }
        self.begin_turn(now);
        self.enter(part);
        let more = bytes.min(self.level.saturating_sub(part.wanted));
        part.wanted += more;
        self.wanted = self.wanted.saturating_add(more);
        if part.passed >= self.level || self.passed >= self.capacity {
            self.is_short = true;
            return false;
        }
        part.passed = part.passed.saturating_add(bytes);
        self.passed = self.passed.saturating_add(bytes);
        true
    }

    /// Brings a pair's part into this turn.
    const fn enter(&mut self, part: &mut Part) {
        let turns = self.turn.saturating_sub(part.turn);
        // The level may have been set within the turn.
        if turns == 0 && part.level == self.level {
            return;
        }
        if turns > 0 {
            let since = self.level.saturating_mul(turns.saturating_sub(1));
            part.passed = part.passed.saturating_sub(part.level).saturating_sub(since);
            part.wanted = 0;
            self.pairs += 1;
        } else if part.passed > self.level {
            part.passed = self.level;
        }
        (part.turn, part.level) = (self.turn, self.level);
    }

    fn begin_turn(&mut self, now: Instant) {
        // The first turn is 1: a part that was never used is in none.
        let turn = now.as_micros() / u64::try_from(TURN.as_micros()).unwrap_or(u64::MAX) + 1;
        let turns = turn.saturating_sub(self.turn);
        if turns == 0 {
            return;
        }
        self.level = self.next_level();
        self.turn = turn;
        self.passed = self.passed.saturating_sub(self.capacity.saturating_mul(turns));
        (self.wanted, self.is_short, self.pairs) = (0, false, 0);
    }

    /// Where what was wanted below the level would just fill the limit.
    fn next_level(&self) -> u64 {
        if !self.is_short && self.wanted <= self.capacity {
            return self.capacity;
        }
        let level = u128::from(self.level) * u128::from(self.capacity) / u128::from(self.wanted.max(1));
        let equal = self.capacity / self.pairs.max(1);
        u64::try_from(level).unwrap_or(u64::MAX).clamp(equal.max(1), self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    const RATE_BPS: u64 = 100_000_000;
    const FRAME: u64 = 1_400;

    #[test]
    fn two_greedy_pairs_get_a_half_each_however_greedy_one_is() {
        let got = run(&[2 * RATE_BPS, 20 * RATE_BPS], RATE_BPS);
        assert!(jain(&got) > 0.99, "{got:?}");
        assert_full(&got);
    }

    #[test]
    fn fifty_greedy_pairs_get_a_fiftieth_each() {
        let wants: Vec<u64> = (0..50).map(|pair| RATE_BPS / 10 * (1 + pair % 7)).collect();
        let got = run(&wants, RATE_BPS);
        assert!(jain(&got) > 0.99, "{got:?}");
        assert_full(&got);
    }

    #[test]
    fn modest_pairs_get_all_they_want_and_the_greedy_share_the_rest() {
        let got = run(&[5_000_000, 10_000_000, RATE_BPS, 3 * RATE_BPS], RATE_BPS);
        for (pair, wanted) in [(0, 5_000_000), (1, 10_000_000), (2, 42_500_000), (3, 42_500_000)] {
            assert!(got[pair].abs_diff(wanted) < wanted / 20, "pair {pair}: {got:?}");
        }
    }

    #[test]
    fn a_pair_that_is_alone_gets_everything() {
        let got = run(&[3 * RATE_BPS], RATE_BPS);
        assert_full(&got);
    }

    #[test]
    fn parts_smaller_than_a_packet_are_still_equal_and_nobody_starves() {
        // 500 bytes a turn and pair.
        let got = run(&[RATE_BPS; 50], 10_000_000);
        assert!(jain(&got) > 0.99, "{got:?}");
    }

    #[test]
    fn a_pair_that_goes_leaves_its_part_to_the_others() {
        let mut share = Share::new(RATE_BPS);
        let mut parts = vec![Part::default(); 2];
        simulate(&mut share, &mut parts, &[3 * RATE_BPS; 2], 0..1_000);
        let got = simulate(&mut share, &mut parts, &[3 * RATE_BPS, 0], 1_000..2_000);
        assert!(got[0] > RATE_BPS / 10 * 9, "{got:?}");
    }

    #[test]
    fn without_a_limit_everything_passes() {
        let mut share = Share::new(0);
        assert!(share.take(&mut Part::default(), u64::MAX, Instant::ZERO));
    }

    /// Bits a second that pairs get in the second second, wanting so many.
    fn run(wants: &[u64], rate_bps: u64) -> Vec<u64> {
        let mut share = Share::new(rate_bps);
        let mut parts = vec![Part::default(); wants.len()];
        simulate(&mut share, &mut parts, wants, 0..1_000);
        simulate(&mut share, &mut parts, wants, 1_000..2_000)
    }

    /// Packets come evenly, millisecond by millisecond; those who want most come first.
    fn simulate(
        share: &mut Share,
        parts: &mut [Part],
        wants: &[u64],
        milliseconds: core::ops::Range<u64>,
    ) -> Vec<u64> {
        let mut got = vec![0; wants.len()];
        let mut owed = vec![0; wants.len()];
        for millisecond in milliseconds {
            let now = Instant::from_millis(millisecond);
            for (pair, want) in wants.iter().enumerate().rev() {
                owed[pair] += want / 8_000;
                while owed[pair] >= FRAME {
                    owed[pair] -= FRAME;
                    if share.take(&mut parts[pair], FRAME, now) {
                        got[pair] += FRAME * 8;
                    }
                }
            }
        }
        got
    }

    fn assert_full(got: &[u64]) {
        let sum: u64 = got.iter().sum();
        assert!(sum.abs_diff(RATE_BPS) < RATE_BPS / 20, "{sum} of {RATE_BPS}");
    }

    /// Jain's index of fairness: 1 when all are equal.
    fn jain(got: &[u64]) -> f64 {
        let sum: f64 = got.iter().map(|bits| *bits as f64).sum();
        let squares: f64 = got.iter().map(|bits| (*bits as f64).powi(2)).sum();
        sum * sum / (got.len() as f64 * squares)
    }
}
