//! Where the device of a session is, and whether it has shown that it hears us there.
//!
//! A session follows its device to wherever the newest authentic datagram comes from. But a source can be forged,
//! by the device itself or by someone on the way who sends its datagram on from elsewhere, so until the device
//! shows that it hears us at the new address no more bytes go there than came from there. What does not fit
//! waits, and relayed packets do not go there at all.
//!
//! The proof: the session's counter jumps by a random number and an empty datagram asks for an answer; whoever
//! names that counter has received it. It has the size of a keep-alive, so the first one from the new
//! address already pays for the question.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::limits::{DATA_HEADER, TAG};

use crate::time::Instant;

/// Bytes of a datagram besides its body.
const OVERHEAD: usize = DATA_HEADER + TAG;

/// Bodies that wait for the proof; the oldest goes, its request or push is repeated.
const HELD_MAX: usize = 4;

/// How long an answer may take before another question is worth its bytes.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How long a question is good. Guessing its 32 bits at the rate of one session takes far longer.
const QUESTION_LIFE: Duration = Duration::from_secs(10);

/// Questions that are good at once; the oldest goes. At [`ASK_AGAIN`] between them an answer may take two seconds:
/// if only the newest were good, a device further away than one pause would never answer in time.
const QUESTIONS_MAX: usize = 8;

/// An address, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Where the newest authentic datagram of a device came from.
    pub(super) addr: SocketAddr,
    /// Whether the device has shown that it hears us there.
    pub(super) is_proven: bool,
}

/// Where the device of one session is.
#[derive(Debug)]
pub(super) struct Place {
    addr: SocketAddr,
    /// The last address of which there was a proof.
    proven: SocketAddr,
    /// Bytes that may still go to `addr` while it is not proven.
    credit: usize,
    /// Counters under which a proof was asked for, and when; the newest is last.
    questions: VecDeque<(u64, Instant)>,
    held: VecDeque<Vec<u8>>,
}

impl Place {
    /// The place at which a session was granted: who speaks under its keys has heard us there.
    pub(super) const fn proven_at(addr: SocketAddr) -> Self {
        Self { addr, proven: addr, credit: 0, questions: VecDeque::new(), held: VecDeque::new() }
    }

    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The last address of which there was a proof.
    pub(super) const fn proven(&self) -> SocketAddr {
        self.proven
    }

    pub(super) fn is_proven(&self) -> bool {
        self.addr == self.proven
    }

    pub(super) fn spot(&self) -> Spot {
        Spot { addr: self.addr, is_proven: self.is_proven() }
    }

    /// Follows the newest datagram; says whether that is another address.
    pub(super) fn follow(&mut self, addr: SocketAddr) -> bool {
        let moved = self.addr != addr;
        if moved {
            (self.addr, self.credit) = (addr, 0);
            self.questions.clear();
        }
        moved
    }

    /// Notes an authentic datagram of `length` bytes.
    pub(super) fn earn(&mut self, addr: SocketAddr, length: usize) {
        if addr == self.addr && !self.is_proven() {
            self.credit = self.credit.saturating_add(length);
        }
    }

    /// Whether a datagram with this body may go now. Its bytes count as sent.
    pub(super) fn spend(&mut self, body: usize) -> bool {
        if self.is_proven() {
            return true;
        }
        match self.credit.checked_sub(OVERHEAD + body) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }

    /// Keeps what may not go yet.
    pub(super) fn hold(&mut self, body: Vec<u8>) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(body);
    }

    /// What waited and may go now, once the address is proven.
    pub(super) fn release(&mut self) -> VecDeque<Vec<u8>> {
        if self.is_proven() { core::mem::take(&mut self.held) } else { VecDeque::new() }
    }

    /// Whether it is time to ask for a proof and the bytes for it are there; they count as sent.
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        let asked = self.questions.back().is_some_and(|(_, at)| now.saturating_since(*at) < ASK_AGAIN);
        !self.is_proven() && !asked && self.spend(0)
    }

    /// Notes under which counter the proof was asked for.
    pub(super) fn asked(&mut self, counter: u64, now: Instant) {
        if self.questions.len() == QUESTIONS_MAX {
            self.questions.pop_front();
        }
        self.questions.push_back((counter, now));
    }

    /// Takes a proof; gives how long the answer took if it is one.
    pub(super) fn prove(&mut self, counter: u64, now: Instant) -> Option<Duration> {
        let (_, at) = self.questions.iter().find(|(asked, _)| *asked == counter)?;
        let took = now.saturating_since(*at);
        if took >= QUESTION_LIFE {
            return None;
        }
        self.proven = self.addr;
        self.questions.clear();
        Some(took)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn an_address_that_is_not_proven_gets_no_more_than_came_from_it() {
        let mut place = Place::proven_at(addr(1));
        assert!(place.spend(1_000), "where the session began everything goes");
        assert!(place.follow(addr(2)));
        assert!(!place.spend(0));
        place.earn(addr(2), 100);
        place.earn(addr(1), 1_000);
        assert!(place.spend(60));
        assert!(!place.spend(0), "100 - 32 - 60 leaves 8");
    }

    #[test]
    fn what_was_earned_at_one_address_is_not_spent_at_another() {
        let mut place = Place::proven_at(addr(1));
        place.follow(addr(2));
        place.earn(addr(2), 1_000);
        place.follow(addr(3));
        assert!(!place.spend(0));
        place.follow(addr(2));
        assert!(!place.spend(0), "nor later");
    }

    #[test]
    fn an_answer_to_the_question_proves_the_address_and_releases_what_waited() {
        let mut place = moved();
        place.hold(vec![7]);
        assert!(place.may_ask(Instant::ZERO));
        place.asked(9, Instant::ZERO);
        assert!(place.release().is_empty());
        assert_eq!(place.prove(8, Instant::ZERO), None, "a guess");
        assert_eq!(place.prove(9, Instant::from_millis(40)), Some(Duration::from_millis(40)));
        assert!(place.is_proven() && place.spend(1_000));
        assert_eq!(place.release(), [vec![7]]);
        assert_eq!(place.prove(9, Instant::from_millis(41)), None, "once");
    }

    #[test]
    fn a_device_further_away_than_the_pause_between_two_questions_proves_its_address() {
        let mut place = moved();
        place.earn(addr(2), 1_000);
        let answer_takes = Duration::from_millis(1_900);
        for number in 0..8 {
            let now = Instant::ZERO + ASK_AGAIN * number;
            assert!(place.may_ask(now));
            place.asked(number.into(), now);
        }
        assert_eq!(place.prove(0, Instant::ZERO + answer_takes), Some(answer_takes));

        let mut place = moved();
        for number in 0..9 {
            place.asked(number, Instant::ZERO);
        }
        assert_eq!(place.prove(0, Instant::ZERO), None, "the oldest went");
        assert!(place.prove(1, Instant::ZERO).is_some());
    }

    #[test]
    fn a_question_dies_with_its_address_and_with_time() {
        let mut place = moved();
        place.asked(9, Instant::ZERO);
        place.follow(addr(3));
        assert_eq!(place.prove(9, Instant::ZERO), None);
        assert!(!place.is_proven());

        let mut place = moved();
        place.asked(9, Instant::ZERO);
        assert_eq!(place.prove(9, Instant::ZERO + QUESTION_LIFE), None);
    }

    #[test]
    fn a_question_is_paid_for_and_not_asked_again_at_once() {
        let mut place = moved();
        place.earn(addr(2), 1_000);
        assert!(place.may_ask(Instant::ZERO));
        place.asked(9, Instant::ZERO);
        assert!(!place.may_ask(Instant::from_millis(249)));
        assert!(place.may_ask(Instant::from_millis(250)));

        let mut poor = moved();
        assert!(poor.may_ask(Instant::ZERO), "a keep-alive pays for it");
        assert!(!poor.may_ask(Instant::ZERO), "once");
    }

    #[test]
    fn a_device_that_comes_back_need_not_prove_again() {
        let mut place = moved();
        place.follow(addr(1));
        assert!(place.is_proven());
        assert!(!place.may_ask(Instant::ZERO));
    }

    #[test]
    fn only_so_much_waits() {
        let mut place = moved();
        for number in 0..10 {
            place.hold(vec![number]);
        }
        place.follow(addr(1));
        assert_eq!(place.release(), [vec![6], vec![7], vec![8], vec![9]]);
    }

    /// A device that sent one keep-alive from another address.
    fn moved() -> Place {
        let mut place = Place::proven_at(addr(1));
        place.follow(addr(2));
        place.earn(addr(2), OVERHEAD);
        place
    }

    fn addr(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }
}
