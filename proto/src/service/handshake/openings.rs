//! Ports that guesses took from customers of carriers.
//!
//! A carrier's router gives each customer a block of ports behind an address that many share, and a mapping holds its
//! port for minutes after the last packet. What a guess opens there is missing to all devices of that customer: with no
//! port left they reach no server and no peer. When a router forgets everything all its pairs punch anew at once, and
//! eleven openings of 128 were seen to use up a block of 1,024. So guesses may hold a part of a block, the thrifty ones
//! ([`super::plan::Plan::thrifty`]) more of it than the quick ones, and then they have to wait.
//!
//! A hint, like all that is remembered here: a customer is told from its neighbours by the ports that cards claim, at an
//! address that was seen. Whoever claims falsely may keep a customer at the same address from guesses for some minutes.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

use lanyard_wire::nat::{NatCard, PortPolicy};

use crate::time::Instant;

/// How long an opened port is taken to be held: what RFC 4787, REQ-5 recommends to routers, and carriers do.
const HELD: Duration = Duration::from_secs(300);

/// Quick guesses may be begun while no more than one port in so many of a block is held, their own included.
pub(super) const QUICK: u32 = 8;

/// The same for thrifty ones. Seen by samples a block may be up to twice as large as it is: that is half of it at the most.
pub(super) const THRIFTY: u32 = 4;

/// Public addresses remembered; the victim is the one where ports were opened last longest ago.
const ADDRESSES_MAX: usize = 4_096;

/// Openings remembered of one address; the victim is the oldest. Of blocks of 1,024 ports that is all that the customers
/// who share an address may open in [`HELD`], if a fourth of them do.
const OPENINGS_MAX: usize = 64;

/// A customer's ports, as its device's card shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    address: IpAddr,
    low: u16,
    high: u16,
}

impl Block {
    /// The block of an end behind this public address, if its card shows one.
    pub(super) const fn of(address: IpAddr, card: &NatCard) -> Option<Self> {
        match card.ports {
            Some(PortPolicy::Block { low, high }) => Some(Self { address, low, high }),
            Some(PortPolicy::Preserved | PortPolicy::Sequential { .. } | PortPolicy::Random) | None => None,
        }
    }

    fn size(self) -> u32 {
        u32::from(self.high.saturating_sub(self.low)) + 1
    }

    /// Whether two cards, each from a few samples, mean the same block: more than half of the smaller one is in both.
    fn is_same(self, low: u16, high: u16) -> bool {
        let other = Self { low, high, ..self };
        let common = (u32::from(self.high.min(high)) + 1).saturating_sub(self.low.max(low).into());
        2 * common > self.size().min(other.size())
    }
}

/// Ports opened lately, by public address.
#[derive(Debug, Default)]
pub(super) struct Openings {
    addresses: BTreeMap<IpAddr, VecDeque<Opening>>,
}

#[derive(Clone, Copy, Debug)]
struct Opening {
    at: Instant,
    low: u16,
    high: u16,
    ports: u16,
}

impl Openings {
    /// Whether so many more ports of a block may be taken now, if one in `part` may be held. Where none is, they may.
    pub(super) fn may_open(&self, block: Block, ports: u16, part: u32, now: Instant) -> bool {
        let openings = self.addresses.get(&block.address).into_iter().flatten();
        let held: u32 = openings
            .filter(|opening| opening.is_held(now) && block.is_same(opening.low, opening.high))
            .map(|opening| u32::from(opening.ports))
            .sum();
        held == 0 || held + u32::from(ports) <= block.size() / part
    }

    /// So many ports of a block are about to be taken.
    pub(super) fn open(&mut self, block: Block, ports: u16, now: Instant) {
        if !self.addresses.contains_key(&block.address) && self.addresses.len() >= ADDRESSES_MAX {
            let oldest =
                self.addresses.iter().min_by_key(|(_, openings)| openings.back().map(|last| last.at));
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.addresses.remove(&oldest);
            }
        }
        let openings = self.addresses.entry(block.address).or_default();
        openings.retain(|opening| opening.is_held(now));
        if openings.len() >= OPENINGS_MAX {
            openings.pop_front();
        }
        openings.push_back(Opening { at: now, low: block.low, high: block.high, ports });
    }
}

impl Opening {
    fn is_held(&self, now: Instant) -> bool {
        now.saturating_since(self.at) < HELD
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{BLOCK, easy, hard};
    use super::*;

    #[test]
    fn a_part_of_a_block_is_held_and_no_more_and_what_they_held_is_free_after_five_minutes() {
        let mut openings = Openings::default();
        let block = block(1_024, 2_047);
        for second in 0..4 {
            assert!(openings.may_open(block, 64, THRIFTY, at(second)));
            openings.open(block, 64, at(second));
        }
        assert!(!openings.may_open(block, 1, THRIFTY, at(4)));
        assert!(openings.may_open(block, 1, THRIFTY - 1, at(4)));
        assert!(!openings.may_open(block, 64, THRIFTY, at(299)));
        assert!(openings.may_open(block, 64, THRIFTY, at(300)), "the first ones are free again");
        assert!(!openings.may_open(block, 65, THRIFTY, at(300)), "and no others");
    }

    #[test]
    fn a_block_too_small_for_one_guess_has_one_at_a_time() {
        let mut openings = Openings::default();
        let block = block(1_024, 1_055);
        assert!(openings.may_open(block, 16, THRIFTY, at(0)));
        openings.open(block, 16, at(0));
        assert!(!openings.may_open(block, 16, THRIFTY, at(1)));
    }

    #[test]
    fn customers_who_share_an_address_are_told_apart_although_cards_of_one_differ() {
        let mut openings = Openings::default();
        openings.open(block(1_024, 2_047), 256, at(0));
        for (low, high, is_same) in [
            (1_024, 2_047, true),
            (1_024, 3_071, true),
            (0, 2_047, true),
            (1_100, 2_000, true),
            (990, 2_110, true),
            (1_960, 3_150, false),
            (2_048, 3_071, false),
            (0, 1_023, false),
        ] {
            assert_eq!(openings.may_open(block(low, high), 400, THRIFTY, at(1)), !is_same, "{low} to {high}");
        }
        let elsewhere = Block { address: ip(9), ..block(1_024, 2_047) };
        assert!(openings.may_open(elsewhere, 64, THRIFTY, at(1)));
    }

    #[test]
    fn only_a_card_that_shows_a_block_has_one() {
        assert_eq!(Block::of(ip(0), &hard(BLOCK)), Some(block(1_024, 2_047)));
        assert_eq!(Block::of(ip(0), &hard(PortPolicy::Random)), None);
        assert_eq!(Block::of(ip(0), &easy()), None);
    }

    #[test]
    fn a_block_of_all_ports_or_of_none_is_counted_without_overflow() {
        let mut openings = Openings::default();
        openings.open(block(0, u16::MAX), u16::MAX, at(0));
        assert!(!openings.may_open(block(0, u16::MAX), u16::MAX, THRIFTY, at(0)));
        openings.open(block(5, 4), 1, at(0));
        assert!(openings.may_open(block(9, 3), 1, THRIFTY, at(0)), "upside down it is none of them");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut openings = Openings::default();
        for number in 0..10_000_u32 {
            openings.open(Block { address: ip(number), ..block(1_024, 2_047) }, 64, at(0));
            openings.open(block(1_024, 2_047), 64, at(0));
        }
        assert!(openings.addresses.len() <= ADDRESSES_MAX);
        assert!(openings.addresses.values().all(|openings| openings.len() <= OPENINGS_MAX));
    }

    fn block(low: u16, high: u16) -> Block {
        Block { address: ip(0), low, high }
    }

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(core::net::Ipv4Addr::from_bits(0xCB00_0000 + number))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }
}
