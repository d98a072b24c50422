//! Token buckets: how much of something may happen, and how much at once.
//!
//! [`TokenBucket`] is one bucket. [`SourceBuckets`] is one per source address in constant memory: a fixed
//! array, indexed by a keyed hash, so that forged sources can neither make it grow nor choose whose bucket
//! they share. IPv6 sources count by their /64, which is what one customer gets.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use lanyard_wire::keys::{SymmetricKey, mac16};

use crate::rng::Rng;
use crate::time::Instant;

/// Parts of a token that a bucket counts in, so that slow rates lose nothing to rounding.
const PARTS: u64 = 1_000_000;

/// How fast a bucket refills and how much it holds, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Tokens that come in each second.
    pub(super) per_s: u64,
    /// Tokens that can be saved up.
    pub(super) burst: u64,
}

/// One bucket; it begins full.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    parts: u64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) const fn full(rate: Rate, now: Instant) -> Self {
        Self { parts: rate.burst.saturating_mul(PARTS), at: now }
    }

    /// Takes `tokens` if that many are there; otherwise takes none and says no.
    pub(super) fn take(&mut self, rate: Rate, tokens: u64, now: Instant) -> bool {
        self.refill(rate, now);
        let wanted = tokens.saturating_mul(PARTS);
        if self.parts < wanted {
            return false;
        }
        self.parts -= wanted;
        true
    }

    /// Whole tokens that are there now.
    pub(super) fn level(&mut self, rate: Rate, now: Instant) -> u64 {
        self.refill(rate, now);
        self.parts / PARTS
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.as_micros().saturating_sub(self.at.as_micros());
        let gained = elapsed.saturating_mul(rate.per_s);
        self.parts = self.parts.saturating_add(gained).min(rate.burst.saturating_mul(PARTS));
        self.at = self.at.max(now);
    }
}

/// One bucket per source, in an array that never grows.
#[derive(Debug)]
pub(super) struct SourceBuckets {
    rate: Rate,
    key: SymmetricKey,
    buckets: Vec<TokenBucket>,
}

impl SourceBuckets {
    /// Buckets in the array: 4,096 of 16 bytes are 64 KiB, and ten thousand busy sources still mostly have
    /// one to themselves or share it with one other.
    const BUCKETS: usize = 4_096;

    /// Full buckets for every source.
    pub(super) fn new(rate: Rate, rng: &mut Rng, now: Instant) -> Self {
        let buckets = vec![TokenBucket::full(rate, now); Self::BUCKETS];
        Self { rate, key: SymmetricKey::from_bytes(rng.bytes()), buckets }
    }

    /// Takes one token of this source.
    pub(super) fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        let hash = match Source::of(source) {
            Source::V4(bytes) => mac16(self.key.as_bytes(), &[&bytes]),
            Source::V6(bytes) => mac16(self.key.as_bytes(), &[&bytes]),
        };
        let slot = usize::from(u16::from_be_bytes([hash[0], hash[1]])) % Self::BUCKETS;
        let rate = self.rate;
        self.buckets.get_mut(slot).is_some_and(|bucket| bucket.take(rate, 1, now))
    }
}

/// What counts as one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// One IPv4 address.
    V4([u8; 4]),
    /// One IPv6 /64.
    V6([u8; 8]),
}

impl Source {
    /// The source that an address belongs to; IPv4 in IPv6 clothes is IPv4, and a door's source is its origin.
    pub(super) fn of(address: IpAddr) -> Self {
        if let Some(origin) = lanyard_wire::door::origin(address) {
            let [a, b, c, d] = origin.to_be_bytes();
            return Self::V6([0x01, 0, 0, 0, a, b, c, d]);
        }
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const RATE: Rate = Rate { per_s: 2, burst: 3 };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::from_secs(1);
        let mut bucket = TokenBucket::full(RATE, start);
        assert!(bucket.take(RATE, 3, start));
        assert!(!bucket.take(RATE, 1, start));
        assert!(!bucket.take(RATE, 1, start + Duration::from_millis(499)));
        assert!(bucket.take(RATE, 1, start + Duration::from_millis(500)));
        assert_eq!(bucket.level(RATE, start + Duration::from_secs(3_600)), 3);
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let mut bucket = TokenBucket::full(RATE, Instant::from_secs(10));
        assert!(bucket.take(RATE, 3, Instant::from_secs(10)));
        assert!(!bucket.take(RATE, 1, Instant::ZERO));
        assert!(!bucket.take(RATE, 1, Instant::from_secs(10)));
    }

    #[test]
    fn a_source_that_spends_its_share_leaves_others_alone() {
        let mut buckets = SourceBuckets::new(RATE, &mut Rng::from_seed([1; 32]), Instant::ZERO);
        let greedy = IpAddr::from([192, 0, 2, 1]);
        let taken = (0..100).filter(|_| buckets.take(greedy, Instant::ZERO)).count();
        assert_eq!(taken, 3);
        assert!(buckets.take(IpAddr::from([192, 0, 2, 2]), Instant::ZERO));
    }

    #[test]
    fn a_million_sources_take_no_more_memory_than_one() {
        let mut buckets = SourceBuckets::new(RATE, &mut Rng::from_seed([1; 32]), Instant::ZERO);
        for number in 0..100_000_u32 {
            buckets.take(IpAddr::from(number.to_be_bytes()), Instant::ZERO);
        }
        assert_eq!(buckets.buckets.len(), SourceBuckets::BUCKETS);
        assert_eq!(buckets.buckets.capacity(), SourceBuckets::BUCKETS);
    }

    #[test]
    fn one_customer_of_ipv6_is_one_source() {
        let first = Source::of("2001:db8:0:1::1".parse().unwrap());
        let same = Source::of("2001:db8:0:1:ffff::2".parse().unwrap());
        let other = Source::of("2001:db8:0:2::1".parse().unwrap());
        assert_eq!(first, same);
        assert_ne!(first, other);
        let door = |origin, number| Source::of(lanyard_wire::door::addr(origin, number).ip());
        assert_eq!(door(7, 1), door(7, 2));
        assert_ne!(door(7, 1), door(8, 1));
        assert_eq!(Source::of("::ffff:192.0.2.1".parse().unwrap()), Source::V4([192, 0, 2, 1]));
    }
}
