//! Pings of one peer under way, and the keys they are sealed with.
//!
//! A PONG counts only if it answers a PING of ours that is still under way, was sent to the address the PONG
//! came from, has the same size, and is sealed by the peer: so neither a stranger nor a recording makes a
//! path. A PING costs us one datagram of the same size and, from an address we do not know, a few pings of
//! our own; both are bounded here, because a PING can be recorded and sent again from anywhere.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::carry::{Carry, CarryWord};
use lanyard_wire::ids::{AttemptId, Channel, DeviceId};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::limits::PROBE_LEN;
use lanyard_wire::probe::{PairKey, Probe, ProbeKind};

use super::peers::datagram_of;
use super::punch::Size;
use super::quality::Quality;
use super::status::PingStatus;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::Instant;
use crate::transmit::{Datagram, Transmit, Way};

/// Attempts whose pings are understood: the newest, the one the other end may still use, the one from
/// before a restart, and one to spare for two ends that began at the same moment.
const ATTEMPTS_MAX: usize = 4;

/// Pings under way; the victim is the oldest. A punch sends at most 128 within its time, a guess 1,200 more.
const UNDER_WAY_MAX: usize = 1_536;

/// An answer that takes longer than this measures nothing any more.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Transaction ids of the peer's newest pings, so that a recording of them is not answered.
const SEEN_MAX: usize = 128;

/// Answers in a burst: twice what one punch of the peer sends to one address, for two families.
const ANSWERS_BURST: u32 = 64;

/// Time in which one more answer may be sent: 50 a second, five times what a suspicious peer asks for.
const ANSWER_EVERY: Duration = Duration::from_millis(20);

/// Pings of one peer.
#[derive(Clone, Debug)]
pub(super) struct Pings {
    full_size: usize,
    keys: VecDeque<(AttemptId, PairKey)>,
    /// Under which the peer was heard last.
    proven: Option<AttemptId>,
    /// Which the peer knows, too: it was heard under it, or both were told to go.
    shared: Option<AttemptId>,
    under_way: BTreeMap<u64, UnderWay>,
    quality: Quality,
    order: VecDeque<u64>,
    seen: VecDeque<u64>,
    answers_used_until: Instant,
    rng: Rng,
}

/// One ping that may be answered.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    way: Way,
    size: Size,
    sent_at: Instant,
    /// Counts the pings of a way that answers.
    number: Option<u32>,
}

/// What an authentic probe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A question: send this answer.
    Ping { answer: Transmit },
    /// An answer to a ping of this size.
    Pong { size: Size, rtt: Duration, observed: Option<SocketAddr> },
}

impl Pings {
    /// Without any attempt; full-size pings have `full_size` bytes.
    pub(super) const fn new(full_size: usize, rng: Rng) -> Self {
        Self {
            full_size,
            keys: VecDeque::new(),
            proven: None,
            shared: None,
            under_way: BTreeMap::new(),
            quality: Quality::new(),
            order: VecDeque::new(),
            seen: VecDeque::new(),
            answers_used_until: Instant::ZERO,
            rng,
        }
    }

    /// Learns an attempt, under which pings are understood from now on; gives the one forgotten for it.
    ///
    /// New pings use it once the peer is known to know it, too: until then, one that works is better.
    ///
    /// Nothing is learnt for a peer whose key is of low order: no secret can be shared with it.
    pub(super) fn learn(
        &mut self,
        attempt: AttemptId,
        me: &SecretKey,
        peer: &PublicKey,
    ) -> Option<AttemptId> {
        if let Some(at) = self.keys.iter().position(|(known, _)| *known == attempt) {
            if let Some(known) = self.keys.remove(at) {
                self.keys.push_back(known);
            }
            return None;
        }
        self.keys.push_back((attempt, PairKey::new(me, peer, attempt)?));
        if self.keys.len() <= ATTEMPTS_MAX {
            return None;
        }
        // The one that certainly worked at both ends is worth more than an old one that may not have.
        let victim = usize::from(self.keys.front().map(|(oldest, _)| *oldest) == self.proven);
        self.keys.remove(victim).map(|(forgotten, _)| forgotten)
    }

    /// The peer knows this attempt as well: new pings use it.
    pub(super) fn share(&mut self, attempt: AttemptId) {
        if self.attempts().any(|known| known == attempt) {
            self.shared = Some(attempt);
        }
    }

    /// Attempts whose pings are understood, oldest first.
    pub(super) fn attempts(&self) -> impl Iterator<Item = AttemptId> + '_ {
        self.keys.iter().map(|(attempt, _)| *attempt)
    }

    /// The attempt worth remembering: one under which the peer was heard, or else the newest.
    pub(super) fn memorable(&self) -> Option<AttemptId> {
        self.proven.or_else(|| self.attempts().last())
    }

    /// A ping that goes this way; none before the first attempt.
    pub(super) fn ping(&mut self, way: Way, size: Size, is_path: bool, now: Instant) -> Option<Transmit> {
        let txid = self.rng.u64();
        let (attempt, key) = self.key()?;
        let bytes = Probe::ping(*attempt, txid, is_path).seal(key, self.bytes_of(size));
        while let Some(oldest) = self.order.front()
            && (self.order.len() >= UNDER_WAY_MAX || self.is_too_late(*oldest, now))
        {
            self.under_way.remove(oldest);
            self.order.pop_front();
        }
        self.order.push_back(txid);
        // One that asks for a size that may be too large says nothing of loss when it has no answer.
        let number = if matches!(size, Size::Packet(_)) { None } else { self.quality.sent(way) };
        self.under_way.insert(txid, UnderWay { way, size, sent_at: now, number });
        Some(Transmit { local: way.local, remote: way.remote, bytes })
    }

    /// A word with a carrier, or a carrier's with one of the two; none before the first attempt.
    pub(super) fn word(&mut self, word: CarryWord, peer: DeviceId, channel: Channel) -> Option<Carry> {
        let (attempt, _) = self.key()?;
        // Zero is no number of a question.
        Some(Carry { word, attempt: *attempt, number: self.rng.u64().max(1), peer, channel })
    }

    /// The datagram of a word.
    pub(super) fn seal(&self, carry: &Carry) -> Option<Vec<u8>> {
        let (_, key) = self.keys.iter().find(|(attempt, _)| *attempt == carry.attempt)?;
        Some(carry.seal(key))
    }

    /// Reads a word of this peer.
    ///
    /// # Errors
    ///
    /// When the attempt is unknown, or the seal is not the peer's.
    pub(super) fn open(&self, datagram: &[u8]) -> Result<Carry, Rejected> {
        let claimed = Carry::parse(datagram).map_err(|_| Rejected::Malformed)?;
        let key = self.keys.iter().find(|(attempt, _)| *attempt == claimed.attempt);
        let (_, key) = key.ok_or(Rejected::UnknownAttempt)?;
        Carry::open(datagram, key).ok_or(Rejected::Unauthenticated)
    }

    /// The attempt that new pings use, and its key.
    fn key(&self) -> Option<&(AttemptId, PairKey)> {
        let is_shared = |(attempt, _): &&(AttemptId, PairKey)| Some(*attempt) == self.shared;
        self.keys.iter().find(is_shared).or_else(|| self.keys.back())
    }

    /// Reads a probe of this peer.
    ///
    /// # Errors
    ///
    /// When the attempt is unknown, the seal is not the peer's, or it answers or repeats nothing it should.
    pub(super) fn handle_datagram(
        &mut self,
        datagram: Datagram<'_>,
        now: Instant,
    ) -> Result<Heard, Rejected> {
        let claimed = Probe::parse(datagram.bytes).map_err(|_| Rejected::Malformed)?;
        let key =
            self.keys.iter().find(|(attempt, _)| *attempt == claimed.attempt).map(|(_, key)| key.clone());
        let key = key.ok_or(Rejected::UnknownAttempt)?;
        let probe = Probe::open(datagram.bytes, &key).ok_or(Rejected::Unauthenticated)?;
        match probe.kind {
            ProbeKind::Ping => {
                self.see(probe.txid)?;
                self.spend_answer(now)?;
                (self.proven, self.shared) = (Some(probe.attempt), Some(probe.attempt));
                let bytes = probe.pong(datagram.remote).seal(&key, datagram.bytes.len());
                Ok(Heard::Ping { answer: Transmit { local: datagram.local, remote: datagram.remote, bytes } })
            }
            ProbeKind::Pong => {
                let ping = self.under_way.get(&probe.txid).copied().ok_or(Rejected::Unexpected)?;
                let rtt = now.saturating_since(ping.sent_at);
                if ping.way != datagram.way()
                    || self.bytes_of(ping.size) != datagram.bytes.len()
                    || rtt > ANSWER_MAX
                {
                    return Err(Rejected::Unexpected);
                }
                self.under_way.remove(&probe.txid);
                self.order.retain(|txid| *txid != probe.txid);
                self.quality.answered(ping.way, ping.number, rtt, now);
                (self.proven, self.shared) = (Some(probe.attempt), Some(probe.attempt));
                Ok(Heard::Pong { size: ping.size, rtt, observed: probe.observed })
            }
        }
    }

    /// How well the ways that have answered do so, the one that did last first.
    pub(super) fn status(&self, now: Instant) -> Vec<PingStatus> {
        let under_way = self.under_way.values().map(|ping| (ping.way, ping.number, ping.sent_at));
        self.quality.status(under_way, now)
    }

    /// No answer to this one would count any more.
    fn is_too_late(&self, txid: u64, now: Instant) -> bool {
        self.under_way.get(&txid).is_none_or(|ping| now.saturating_since(ping.sent_at) > ANSWER_MAX)
    }

    fn see(&mut self, txid: u64) -> Result<(), Rejected> {
        if self.seen.contains(&txid) {
            return Err(Rejected::Replayed);
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(txid);
        Ok(())
    }

    /// A token bucket kept as the moment at which it will be full again.
    fn spend_answer(&mut self, now: Instant) -> Result<(), Rejected> {
        let full_at = self.answers_used_until.max(now) + ANSWER_EVERY;
        if full_at.saturating_since(now) > ANSWER_EVERY * ANSWERS_BURST {
            return Err(Rejected::RateLimited);
        }
        self.answers_used_until = full_at;
        Ok(())
    }

    fn bytes_of(&self, size: Size) -> usize {
        match size {
            Size::Small => PROBE_LEN,
            Size::Full => self.full_size,
            Size::Packet(mtu) => datagram_of(mtu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transmit::SocketId;

    const FULL: usize = 1_312;

    #[test]
    fn a_ping_is_answered_at_its_own_size_and_the_answer_measures() {
        let (mut a, mut b) = pair();
        for (size, bytes) in [(Size::Small, PROBE_LEN), (Size::Full, FULL)] {
            let ping = a.ping(addr(2).into(), size, false, at(0)).unwrap();
            assert_eq!(ping.bytes.len(), bytes);
            let pong = answer(&mut b, &ping, addr(1), at(20));
            assert_eq!((pong.remote, pong.bytes.len()), (addr(1), bytes));
            assert_eq!(
                a.handle_datagram(datagram(addr(2), &pong.bytes), at(40)),
                Ok(Heard::Pong { size, rtt: Duration::from_millis(40), observed: Some(addr(1)) })
            );
        }
    }

    #[test]
    fn an_answer_counts_once_and_only_from_where_we_asked() {
        let (mut a, mut b) = pair();
        let ping = a.ping(addr(2).into(), Size::Full, false, at(0)).unwrap();
        let pong = answer(&mut b, &ping, addr(1), at(20)).bytes;
        assert_eq!(a.handle_datagram(datagram(addr(3), &pong), at(40)), Err(Rejected::Unexpected));
        assert!(a.handle_datagram(datagram(addr(2), &pong), at(40)).is_ok());
        assert_eq!(a.handle_datagram(datagram(addr(2), &pong), at(41)), Err(Rejected::Unexpected));
    }

    #[test]
    fn an_answer_to_a_small_ping_proves_no_full_size() {
        let (mut a, _) = pair();
        let small = a.ping(addr(2).into(), Size::Small, false, at(0)).unwrap();
        let probe = Probe::parse(&small.bytes).unwrap();
        let key = PairKey::new(&secret(2), &secret(1).public(), attempt(1)).unwrap();
        let stretched = probe.pong(addr(1)).seal(&key, FULL);
        assert_eq!(a.handle_datagram(datagram(addr(2), &stretched), at(40)), Err(Rejected::Unexpected));
    }

    #[test]
    fn forged_and_unasked_answers_count_for_nothing() {
        let (mut a, _) = pair();
        let ping = a.ping(addr(2).into(), Size::Full, false, at(0)).unwrap();
        let probe = Probe::parse(&ping.bytes).unwrap();
        let stranger = PairKey::new(&secret(9), &secret(1).public(), attempt(1)).unwrap();
        let forged = probe.pong(addr(1)).seal(&stranger, FULL);
        assert_eq!(a.handle_datagram(datagram(addr(2), &forged), at(1)), Err(Rejected::Unauthenticated));
        let peer = PairKey::new(&secret(2), &secret(1).public(), attempt(1)).unwrap();
        let unasked = Probe::ping(attempt(1), 77, false).pong(addr(1)).seal(&peer, FULL);
        assert_eq!(a.handle_datagram(datagram(addr(2), &unasked), at(1)), Err(Rejected::Unexpected));
    }

    #[test]
    fn our_own_ping_turned_back_is_not_the_peers() {
        let (mut a, _) = pair();
        let ping = a.ping(addr(2).into(), Size::Small, false, at(0)).unwrap();
        assert_eq!(a.handle_datagram(datagram(addr(2), &ping.bytes), at(1)), Err(Rejected::Unauthenticated));
    }

    #[test]
    fn a_recorded_ping_is_answered_once_and_a_flood_of_new_ones_to_a_bound() {
        let (mut a, mut b) = pair();
        let ping = a.ping(addr(2).into(), Size::Small, false, at(0)).unwrap();
        answer(&mut b, &ping, addr(1), at(1));
        assert_eq!(b.handle_datagram(datagram(addr(66), &ping.bytes), at(2)), Err(Rejected::Replayed));

        let pings: Vec<Transmit> =
            (0..1_000).filter_map(|_| a.ping(addr(2).into(), Size::Small, false, at(0))).collect();
        let answered = pings
            .iter()
            .filter(|ping| b.handle_datagram(datagram(addr(66), &ping.bytes), at(3)).is_ok())
            .count();
        assert!(answered <= usize::try_from(ANSWERS_BURST).unwrap(), "{answered}");
    }

    #[test]
    fn an_attempt_of_before_is_understood_until_newer_ones_push_it_out() {
        let (mut a, mut b) = pair();
        let old = a.ping(addr(2).into(), Size::Small, false, at(0)).unwrap();
        for id in 2..=3 {
            b.learn(attempt(id), &secret(2), &secret(1).public());
        }
        answer(&mut b, &old, addr(1), at(1));
        assert_eq!(b.memorable(), Some(attempt(1)), "the peer was heard under it");
        let forgotten: Vec<AttemptId> =
            (4..=6).filter_map(|id| b.learn(attempt(id), &secret(2), &secret(1).public())).collect();
        assert_eq!(forgotten, [attempt(2), attempt(3)], "what works stays longest");
        assert_eq!(b.attempts().count(), ATTEMPTS_MAX);
    }

    #[test]
    fn an_attempt_that_the_peer_may_not_know_is_not_used_while_one_works() {
        let (mut a, mut b) = pair();
        answer(&mut b, &a.ping(addr(2).into(), Size::Small, false, at(0)).unwrap(), addr(1), at(1));
        b.learn(attempt(2), &secret(2), &secret(1).public());
        let ping = b.ping(addr(1).into(), Size::Small, false, at(2)).unwrap();
        answer(&mut a, &ping, addr(2), at(3));
        b.share(attempt(2));
        let ping = b.ping(addr(1).into(), Size::Small, false, at(4)).unwrap();
        assert_eq!(Probe::parse(&ping.bytes).unwrap().attempt, attempt(2));
    }

    #[test]
    fn loss_is_told_of_ways_that_answer_and_of_pings_that_are_overdue() {
        let (mut a, mut b) = pair();
        for number in 0..8 {
            a.ping(addr(9).into(), Size::Small, false, at(number)).unwrap();
            let ping = a.ping(addr(2).into(), Size::Small, false, at(number * 100)).unwrap();
            if number % 4 != 3 {
                let pong = answer(&mut b, &ping, addr(1), at(number * 100 + 5));
                a.handle_datagram(datagram(addr(2), &pong.bytes), at(number * 100 + 10)).unwrap();
            }
        }
        let told = |a: &Pings, now| {
            let [told] = a.status(at(now))[..] else { panic!("one way answers") };
            (told.way, told.pings, told.lost, told.last)
        };
        assert_eq!(told(&a, 1_300), (addr(2).into(), 7, 1, Duration::from_millis(10)));
        assert_eq!(told(&a, 1_700), (addr(2).into(), 8, 2, Duration::from_millis(10)));
        for _ in 0..5 {
            a.ping(addr(2).into(), Size::Packet(1_420), false, at(1_700)).unwrap();
        }
        assert_eq!(
            told(&a, 9_000),
            (addr(2).into(), 8, 2, Duration::from_millis(10)),
            "too large is not lost"
        );
    }

    #[test]
    fn pings_under_way_are_bounded() {
        let (mut a, _) = pair();
        for _ in 0..10_000 {
            a.ping(addr(2).into(), Size::Small, false, at(0));
        }
        assert!(a.under_way.len() <= UNDER_WAY_MAX && a.order.len() <= UNDER_WAY_MAX);
    }

    fn pair() -> (Pings, Pings) {
        let mut a = Pings::new(FULL, Rng::from_seed([1; 32]));
        let mut b = Pings::new(FULL, Rng::from_seed([2; 32]));
        a.learn(attempt(1), &secret(1), &secret(2).public());
        b.learn(attempt(1), &secret(2), &secret(1).public());
        (a, b)
    }

    fn answer(pings: &mut Pings, ping: &Transmit, from: SocketAddr, now: Instant) -> Transmit {
        match pings.handle_datagram(datagram(from, &ping.bytes), now).unwrap() {
            Heard::Ping { answer } => answer,
            Heard::Pong { .. } => panic!("a ping was sent"),
        }
    }

    fn datagram(remote: SocketAddr, bytes: &[u8]) -> Datagram<'_> {
        Datagram { local: SocketId::MAIN, remote, bytes }
    }

    fn secret(id: u8) -> SecretKey {
        SecretKey::from_bytes([id; 32])
    }

    fn attempt(id: u64) -> AttemptId {
        AttemptId::new(id)
    }

    fn addr(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 7000).into()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
