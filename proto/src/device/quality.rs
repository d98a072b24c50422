//! How well the ways to one peer answer pings: round trips, and how many answers did not come.
//!
//! Only ways that have answered are looked at, since most of what a punch sends goes to doors that nobody will ever open.
//! Pings are sent where something depends on the answer (`path`, `health`, the sounding of a relay), and rarely on a path
//! that carries traffic both ways: what is told here is as old as the last of them, and says so.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::status::PingStatus;
use crate::time::Instant;
use crate::transmit::Way;

/// Pings that the loss of a way is told by: the newest ones.
///
/// As many as a suspect path is sent in two seconds, and a relay in half an hour.
const WINDOW: u32 = u32::BITS;

/// A ping without an answer is lost after this; sooner it may be under way.
const OVERDUE: Duration = Duration::from_secs(1);

/// Ways that are kept; the victim is the one that answered longest ago. As many as a peer has lanes.
const WAYS_MAX: usize = 16;

/// The ways to one peer that have answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Quality(BTreeMap<Way, Gauge>);

/// What is known of one way.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    last: Duration,
    smoothed: Duration,
    least: Duration,
    answered_at: Instant,
    /// Pings sent since it answered first.
    sent: u32,
    /// Of the newest [`WINDOW`], which were answered: the newest is the lowest bit.
    answered: u32,
}

impl Quality {
    /// Nothing is known yet.
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A ping goes this way; its number, where the way has answered before.
    pub(super) fn sent(&mut self, way: Way) -> Option<u32> {
        let gauge = self.0.get_mut(&way)?;
        gauge.sent = gauge.sent.wrapping_add(1);
        gauge.answered <<= 1;
        Some(gauge.sent)
    }

    /// The ping of this number was answered; none for one sent before the way had ever answered.
    pub(super) fn answered(&mut self, way: Way, number: Option<u32>, rtt: Duration, now: Instant) {
        let Some(gauge) = self.0.get_mut(&way) else {
            self.make_room();
            self.0.insert(way, Gauge::new(rtt, now));
            return;
        };
        gauge.last = rtt;
        // RFC 6298's weight of an eighth.
        gauge.smoothed = (gauge.smoothed * 7 + rtt) / 8;
        gauge.least = gauge.least.min(rtt);
        gauge.answered_at = now;
        let bit = number.and_then(|number| 1_u32.checked_shl(gauge.sent.wrapping_sub(number)));
        gauge.answered |= bit.unwrap_or_default();
    }

    /// What is known of each way, the one that answered last first.
    ///
    /// `under_way` are pings without an answer: where they went, their numbers and when.
    pub(super) fn status(
        &self,
        under_way: impl Iterator<Item = (Way, Option<u32>, Instant)>,
        now: Instant,
    ) -> Vec<PingStatus> {
        // Those that may still be answered count neither way.
        let mut open: BTreeMap<Way, u32> = BTreeMap::new();
        for (way, number, sent_at) in under_way {
            if let (Some(gauge), Some(number)) = (self.0.get(&way), number)
                && now.saturating_since(sent_at) < OVERDUE
            {
                let bit = 1_u32.checked_shl(gauge.sent.wrapping_sub(number)).unwrap_or_default();
                *open.entry(way).or_default() |= bit;
            }
        }
        let mut all: Vec<PingStatus> =
            self.0.iter().map(|(way, gauge)| gauge.status(*way, open.get(way).copied())).collect();
        all.sort_by_key(|ping| core::cmp::Reverse(ping.answered_at));
        all
    }

    fn make_room(&mut self) {
        if self.0.len() >= WAYS_MAX
            && let Some(way) = self.0.iter().min_by_key(|(_, gauge)| gauge.answered_at).map(|(way, _)| *way)
        {
            self.0.remove(&way);
        }
    }
}

impl Gauge {
    /// The first answer is the first ping that counts.
    const fn new(rtt: Duration, now: Instant) -> Self {
        Self { last: rtt, smoothed: rtt, least: rtt, answered_at: now, sent: 1, answered: 1 }
    }

    fn status(&self, way: Way, open: Option<u32>) -> PingStatus {
        let window = u32::MAX.checked_shr(WINDOW.saturating_sub(self.sent)).unwrap_or_default();
        let decided = window & (self.answered | !open.unwrap_or_default());
        PingStatus {
            way,
            last: self.last,
            smoothed: self.smoothed,
            least: self.least,
            pings: decided.count_ones(),
            lost: (decided & !self.answered).count_ones(),
            answered_at: self.answered_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_told_as_last_smoothed_and_least() {
        let mut quality = Quality::new();
        for (millis, rtt) in [(0, 40), (100, 24), (200, 120)] {
            let number = quality.sent(way(1));
            quality.answered(way(1), number, ms(rtt), at(millis));
        }
        let [told] = quality.status([].into_iter(), at(300))[..] else { panic!("one way answered") };
        assert_eq!((told.last, told.least, told.answered_at), (ms(120), ms(24), at(200)));
        assert_eq!(told.smoothed, (ms(38) * 7 + ms(120)) / 8);
        assert_eq!((told.pings, told.lost), (3, 0));
    }

    #[test]
    fn what_never_answered_is_not_looked_at() {
        let mut quality = Quality::new();
        for _ in 0..1_000 {
            assert_eq!(quality.sent(way(1)), None);
        }
        assert!(quality.status([].into_iter(), at(0)).is_empty());
    }

    #[test]
    fn a_ping_is_lost_a_second_after_it_was_sent_and_found_when_its_answer_comes_late() {
        let mut quality = answering();
        let number = quality.sent(way(1));
        let told = |quality: &Quality, now| {
            let told = quality.status([(way(1), number, at(1_000))].into_iter(), at(now))[0];
            (told.pings, told.lost)
        };
        assert_eq!(told(&quality, 1_999), (1, 0));
        assert_eq!(told(&quality, 2_000), (2, 1));
        quality.answered(way(1), number, ms(3_000), at(4_000));
        assert_eq!(told(&quality, 4_000), (2, 0));
    }

    #[test]
    fn answers_count_for_their_own_pings_whatever_came_between() {
        let mut quality = answering();
        let numbers: Vec<_> = (0..4).map(|_| quality.sent(way(1))).collect();
        for number in [numbers[3], numbers[0]] {
            quality.answered(way(1), number, ms(10), at(50));
        }
        let told = quality.status([].into_iter(), at(60))[0];
        assert_eq!((told.pings, told.lost), (5, 2));
    }

    #[test]
    fn loss_is_that_of_the_newest_thirty_two() {
        let mut quality = answering();
        let first = quality.sent(way(1));
        for _ in 0..100 {
            quality.sent(way(1));
        }
        let told = quality.status([].into_iter(), at(60))[0];
        assert_eq!((told.pings, told.lost), (32, 32));
        quality.answered(way(1), first, ms(10), at(61));
        assert_eq!(quality.status([].into_iter(), at(62))[0].lost, 32, "too old to count");
        for _ in 0..16 {
            let number = quality.sent(way(1));
            quality.answered(way(1), number, ms(10), at(70));
        }
        assert_eq!(quality.status([].into_iter(), at(80))[0].lost, 16);
    }

    #[test]
    fn few_ways_are_kept_and_the_one_heard_longest_ago_goes() {
        let mut quality = Quality::new();
        for number in 0..40 {
            quality.answered(way(number), None, ms(10), at(number.into()));
        }
        let told = quality.status([].into_iter(), at(60));
        assert_eq!(told.len(), WAYS_MAX);
        assert_eq!((told[0].way, told[15].way), (way(39), way(24)));
    }

    /// Of which one ping was answered.
    fn answering() -> Quality {
        let mut quality = Quality::new();
        quality.answered(way(1), None, ms(40), at(0));
        quality
    }

    fn way(last: u8) -> Way {
        Way::main(([192, 0, 2, last], 7_000).into())
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
