//! What became of earlier attempts between two networks.
//!
//! A network is known by its public address, which all its devices share: what worked for one pair works for the
//! next. It is a hint and never more: forgotten at a restart, and no plan depends on it being right.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

use super::openings::Openings;
use super::plan::Kind;
use crate::time::Instant;

/// Pairs of networks remembered; the victim is the one heard of longest ago.
const PAIRS_MAX: usize = 8_192;

/// A dear plan that failed is not tried again for so long.
///
/// It costs a thousand packets and mappings, and what made it fail will rarely be gone sooner.
const DEAR_AGAIN: Duration = Duration::from_secs(600);

/// Guesses among all ports that one network may take part in, within [`RANDOM_WITHIN`].
///
/// Each may leave 1,200 entries in a home router that holds a few thousand, for up to two minutes.
const RANDOM_MAX: usize = 6;

/// See [`RANDOM_MAX`].
const RANDOM_WITHIN: Duration = Duration::from_secs(3_600);

/// Networks whose guesses are counted; the victim is the one that guessed longest ago.
const NETWORKS_MAX: usize = 4_096;

/// Two networks, by their public addresses, the lower one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Networks(IpAddr, IpAddr);

impl Networks {
    pub(super) fn new(a: IpAddr, b: IpAddr) -> Self {
        if a <= b { Self(a, b) } else { Self(b, a) }
    }
}

/// What is remembered of two networks, as it stands now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// The plan that brought a direct path last.
    won: Option<Kind>,
    /// The plan that failed last, if none has won since.
    failed: Option<Kind>,
    /// A dear plan failed lately.
    is_resting: bool,
    /// One of the two has guessed enough for now.
    is_spent: bool,
}

impl Past {
    /// Fresh sockets are the better first try: they won before, or the usual ones just failed.
    pub(super) fn prefers_fresh(&self) -> bool {
        match self.failed {
            Some(failed) => failed == Kind::Plain,
            None => self.won == Some(Kind::Fresh),
        }
    }

    /// This plan failed when it was tried last.
    pub(super) fn has_failed(&self, kind: Kind) -> bool {
        self.failed == Some(kind)
    }

    /// This plan is not to be tried now.
    pub(super) fn forbids(&self, kind: Kind) -> bool {
        (kind.is_dear() && self.is_resting) || (kind == Kind::Random && self.is_spent)
    }
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pairs: BTreeMap<Networks, Entry>,
    /// Moments of guesses among all ports, by network.
    guesses: BTreeMap<IpAddr, VecDeque<Instant>>,
    /// Ports taken from customers of carriers.
    pub(super) openings: Openings,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    won: Option<Kind>,
    failed: Option<Kind>,
    dear_failed_at: Option<Instant>,
    heard_at: Instant,
}

impl Memory {
    /// What is known of two networks.
    pub(super) fn past(&self, networks: Networks, now: Instant) -> Past {
        let is_spent = [networks.0, networks.1].iter().any(|network| {
            let moments = self.guesses.get(network).into_iter().flatten();
            moments.filter(|at| now.saturating_since(**at) < RANDOM_WITHIN).count() >= RANDOM_MAX
        });
        let Some(entry) = self.pairs.get(&networks) else { return Past { is_spent, ..Past::default() } };
        Past {
            won: entry.won,
            failed: entry.failed,
            is_resting: entry.dear_failed_at.is_some_and(|at| now.saturating_since(at) < DEAR_AGAIN),
            is_spent,
        }
    }

    /// An attempt of this kind begins.
    pub(super) fn begins(&mut self, networks: Networks, kind: Kind, now: Instant) {
        if kind != Kind::Random {
            return;
        }
        for network in [networks.0, networks.1] {
            if !self.guesses.contains_key(&network) && self.guesses.len() >= NETWORKS_MAX {
                let oldest = self.guesses.iter().min_by_key(|(_, moments)| moments.back().copied());
                if let Some(oldest) = oldest.map(|(network, _)| *network) {
                    self.guesses.remove(&oldest);
                }
            }
            let moments = self.guesses.entry(network).or_default();
            moments.push_back(now);
            if moments.len() > RANDOM_MAX {
                moments.pop_front();
            }
        }
    }

    /// An attempt of this kind ended, with a direct path or without.
    pub(super) fn ended(&mut self, networks: Networks, kind: Kind, is_direct: bool, now: Instant) {
        if kind == Kind::Relay {
            return;
        }
        if !self.pairs.contains_key(&networks) && self.pairs.len() >= PAIRS_MAX {
            let oldest = self.pairs.iter().min_by_key(|(_, entry)| entry.heard_at);
            if let Some(oldest) = oldest.map(|(networks, _)| *networks) {
                self.pairs.remove(&oldest);
            }
        }
        let entry = self.pairs.entry(networks).or_insert(Entry {
            won: None,
            failed: None,
            dear_failed_at: None,
            heard_at: now,
        });
        entry.heard_at = now;
        if is_direct {
            *entry = Entry { won: Some(kind), failed: None, dear_failed_at: None, heard_at: now };
            return;
        }
        entry.failed = Some(kind);
        if kind.is_dear() {
            entry.dear_failed_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_try_that_failed_is_followed_by_one_from_fresh_sockets_and_the_other_way_round() {
        let mut memory = Memory::default();
        assert!(!memory.past(networks(1), at(0)).prefers_fresh());
        memory.ended(networks(1), Kind::Plain, false, at(1));
        assert!(memory.past(networks(1), at(2)).prefers_fresh());
        assert!(!memory.past(networks(2), at(2)).prefers_fresh(), "of other networks nothing is known");
        memory.ended(networks(1), Kind::Fresh, false, at(3));
        assert!(!memory.past(networks(1), at(4)).prefers_fresh());
        memory.ended(networks(1), Kind::Fresh, true, at(5));
        assert!(memory.past(networks(1), at(6)).prefers_fresh(), "what won is the first try");
    }

    #[test]
    fn a_dear_plan_that_failed_rests_for_ten_minutes_and_one_that_won_does_not() {
        let mut memory = Memory::default();
        memory.ended(networks(1), Kind::Block, false, at(0));
        assert!(memory.past(networks(1), at(599)).forbids(Kind::Block));
        assert!(!memory.past(networks(1), at(600)).forbids(Kind::Block));
        assert!(!memory.past(networks(1), at(1)).forbids(Kind::Sequential), "a cheap one may go on");
        memory.ended(networks(1), Kind::Block, true, at(601));
        assert!(!memory.past(networks(1), at(602)).forbids(Kind::Block));
    }

    #[test]
    fn a_network_guesses_among_all_ports_six_times_an_hour() {
        let mut memory = Memory::default();
        for minute in 0..6 {
            assert!(!memory.past(networks(1), at(minute * 60)).forbids(Kind::Random));
            memory.begins(networks(1), Kind::Random, at(minute * 60));
        }
        assert!(memory.past(networks(1), at(400)).forbids(Kind::Random));
        assert!(memory.past(networks(2), at(400)).forbids(Kind::Random), "one end of it is the same network");
        assert!(!memory.past(networks(1), at(400)).forbids(Kind::Sequential));
        assert!(!memory.past(networks(1), at(3_600)).forbids(Kind::Random));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory::default();
        for number in 0..20_000_u32 {
            let pair = Networks::new(ip(number), ip(number + 1));
            memory.begins(pair, Kind::Random, at(u64::from(number)));
            memory.ended(pair, Kind::Random, false, at(u64::from(number)));
        }
        assert!(memory.pairs.len() <= PAIRS_MAX);
        assert!(memory.guesses.len() <= NETWORKS_MAX);
    }

    fn networks(last: u32) -> Networks {
        Networks::new(ip(0), ip(last))
    }

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(core::net::Ipv4Addr::from_bits(0xCB00_0000 + number))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }
}
