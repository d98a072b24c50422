//! Pairs of this device that look for a carrier, or have one.
//!
//! An errand's life:
//! 1. The pair is relayed and wants to leave the coordinator's relay: a carrier is chosen, and asked each half second.
//! 2. It opens the channel: from then on the peer is probed through it, and the question repeated each half minute.
//! 3. The carrier refuses, does not open in time, or the way through it is lost: it is avoided for a while, and another one
//!    may be chosen.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::ids::DeviceId;

use crate::time::Instant;

/// Pairs that have or look for a carrier; more stay at the coordinator's relay.
pub(super) const ERRANDS_MAX: usize = 64;

/// A carrier is asked so often until it has opened the channel: both ends may still have to reach it.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Until then at the most: a plan that guesses takes 5 s, and either end may need one.
const PATIENCE: Duration = Duration::from_secs(15);

/// A carrier that has opened it is asked so often, or forgets the pair.
const REFRESH: Duration = Duration::from_secs(30);

/// The way through a carrier that opened the channel is proven by then.
const PROVEN_BY: Duration = Duration::from_secs(3);

/// A carrier that was lost is not asked again for that pair for the first of these, four times as long after each further time, up to
/// the second; one that did not help at all, for the second. One that served for the third is forgiven what was before.
const AVOIDED: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(600));
const SERVED: Duration = Duration::from_secs(600);

/// Where there is no carrier, one is looked for so often while the pair talks.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Carriers that did not help, remembered; the one to be asked again first goes.
const AVOIDED_MAX: usize = 256;

/// One pair's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    /// The member that is to pass on the frames.
    pub(super) carrier: DeviceId,
    /// Number of the newest question.
    number: u64,
    begun_at: Instant,
    ask_at: Instant,
    opened_at: Option<Instant>,
}

/// All of them, by the peer.
#[derive(Debug, Default)]
pub(super) struct Errands {
    errands: BTreeMap<DeviceId, Errand>,
    /// By pair and carrier: until when, and for how long that is.
    avoided: BTreeMap<(DeviceId, DeviceId), (Instant, Duration)>,
    looked_at: BTreeMap<DeviceId, Instant>,
}

/// What is due for a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask its carrier.
    Ask,
    /// The carrier did not help.
    Failed,
}

impl Errands {
    pub(super) fn get(&self, peer: &DeviceId) -> Option<&Errand> {
        self.errands.get(peer)
    }

    /// The peers with a carrier or in want of one.
    pub(super) fn peers(&self) -> Vec<DeviceId> {
        self.errands.keys().chain(self.looked_at.keys()).copied().collect()
    }

    /// Whether a carrier may be looked for now; says so once each half minute.
    pub(super) fn may_look(&mut self, peer: DeviceId, now: Instant) -> bool {
        let is_due = self.looked_at.get(&peer).is_none_or(|at| *at + LOOK_EVERY <= now);
        let may = is_due && !self.errands.contains_key(&peer) && self.errands.len() < ERRANDS_MAX;
        if may {
            self.looked_at.insert(peer, now);
        }
        may
    }

    /// Whether a carrier did not help a pair lately.
    pub(super) fn avoids(&self, peer: DeviceId, carrier: DeviceId, now: Instant) -> bool {
        self.avoided.get(&(peer, carrier)).is_some_and(|(until, _)| *until > now)
    }

    /// Asks this carrier from now on; `false` if there is no room.
    pub(super) fn begin(&mut self, peer: DeviceId, carrier: DeviceId, now: Instant) -> bool {
        if self.errands.len() >= ERRANDS_MAX && !self.errands.contains_key(&peer) {
            return false;
        }
        let errand = Errand { carrier, number: 0, begun_at: now, ask_at: now, opened_at: None };
        self.errands.insert(peer, errand);
        true
    }

    /// A question goes out, or would if there were a way to the carrier.
    pub(super) fn asked(&mut self, peer: DeviceId, number: u64, now: Instant) {
        if let Some(errand) = self.errands.get_mut(&peer) {
            errand.number = number;
            errand.ask_at = now + if errand.opened_at.is_some() { REFRESH } else { ASK_EVERY };
        }
    }

    /// The carrier opened the channel; `false` if it was not asked.
    pub(super) fn opened(&mut self, peer: DeviceId, carrier: DeviceId, number: u64, now: Instant) -> bool {
        let errand = self.errands.get_mut(&peer).filter(|errand| errand.is_asked(carrier, number));
        let Some(errand) = errand else { return false };
        errand.opened_at.get_or_insert(now);
        errand.ask_at = now + REFRESH;
        true
    }

    /// The carrier refuses; `false` if it was not asked.
    pub(super) fn refused(&mut self, peer: DeviceId, carrier: DeviceId, number: u64, now: Instant) -> bool {
        let is_meant = self.errands.get(&peer).is_some_and(|errand| errand.is_asked(carrier, number));
        if is_meant {
            self.fail(peer, now);
        }
        is_meant
    }

    /// The carrier is no good for the pair; another one may be looked for at once.
    pub(super) fn fail(&mut self, peer: DeviceId, now: Instant) {
        let Some(errand) = self.errands.remove(&peer) else { return };
        let served = errand.opened_at.map_or(Duration::ZERO, |at| now.saturating_since(at));
        let before = self.avoided.get(&(peer, errand.carrier)).map(|(_, before)| *before);
        let avoided = if served <= PROVEN_BY {
            AVOIDED.1
        } else {
            before.filter(|_| served < SERVED).map_or(AVOIDED.0, |before| (before * 4).min(AVOIDED.1))
        };
        if self.avoided.len() >= AVOIDED_MAX
            && let Some(first) =
                self.avoided.iter().min_by_key(|(_, (until, _))| *until).map(|(pair, _)| *pair)
        {
            self.avoided.remove(&first);
        }
        self.avoided.insert((peer, errand.carrier), (now + avoided, avoided));
        self.looked_at.remove(&peer);
    }

    /// The pair wants none any more.
    pub(super) fn end(&mut self, peer: &DeviceId) -> bool {
        self.looked_at.remove(peer);
        self.errands.remove(peer).is_some()
    }

    /// What is due; `is_carried` says whether the way through the carrier is proven.
    pub(super) fn due(&self, now: Instant, is_carried: impl Fn(&DeviceId) -> bool) -> Vec<(DeviceId, Due)> {
        let of_errand = |(peer, errand): (&DeviceId, &Errand)| {
            let is_late = errand.ends_at().is_some_and(|at| at <= now) && !is_carried(peer);
            let due = if is_late { Due::Failed } else { Due::Ask };
            (is_late || errand.ask_at <= now).then_some((*peer, due))
        };
        self.errands.iter().filter_map(of_errand).collect()
    }

    /// When something is due.
    pub(super) fn next_at(&self, is_carried: impl Fn(&DeviceId) -> bool) -> Option<Instant> {
        let of_errand = |(peer, errand): (&DeviceId, &Errand)| {
            let end = errand.ends_at().filter(|_| !is_carried(peer));
            end.map_or(errand.ask_at, |end| end.min(errand.ask_at))
        };
        self.errands.iter().map(of_errand).min()
    }
}

impl Errand {
    /// Whether the channel was opened.
    pub(super) const fn is_open(&self) -> bool {
        self.opened_at.is_some()
    }

    fn is_asked(&self, carrier: DeviceId, number: u64) -> bool {
        self.carrier == carrier && self.number == number && number != 0
    }

    /// When the carrier counts as no help, unless the way through it is proven.
    fn ends_at(&self) -> Option<Instant> {
        Some(self.opened_at.map_or(self.begun_at + PATIENCE, |at| at + PROVEN_BY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_is_asked_until_it_opens_and_rarely_from_then_on() {
        let mut errands = Errands::default();
        assert!(errands.begin(peer(), carrier(1), at(0)));
        let mut asked = Vec::new();
        for millis in (0..70_000).step_by(100) {
            let is_carried = millis > 2_000;
            for (who, due) in errands.due(at(millis), |_| is_carried) {
                assert_eq!((who, due), (peer(), Due::Ask));
                errands.asked(peer(), millis + 1, at(millis));
                asked.push(millis);
                if millis == 1_000 {
                    assert!(!errands.opened(peer(), carrier(1), 7, at(millis)), "an old question's answer");
                    assert!(errands.opened(peer(), carrier(1), millis + 1, at(millis)));
                }
            }
        }
        assert_eq!(asked, [0, 500, 1_000, 31_000, 61_000]);
    }

    #[test]
    fn one_that_does_not_help_is_avoided_and_another_one_looked_for_at_once() {
        let mut errands = Errands::default();
        assert!(errands.may_look(peer(), at(0)));
        assert!(!errands.may_look(peer(), at(29_999)), "nobody was there");
        errands.begin(peer(), carrier(1), at(0));
        assert_eq!(errands.due(at(15_000), |_| false), [(peer(), Due::Failed)]);
        errands.fail(peer(), at(15_000));
        assert!(
            errands.avoids(peer(), carrier(1), at(600_000))
                && !errands.avoids(peer(), carrier(2), at(15_000))
        );
        assert!(errands.may_look(peer(), at(15_000)));
        assert!(!errands.avoids(peer(), carrier(1), at(615_000)));
    }

    #[test]
    fn one_that_is_lost_again_and_again_is_avoided_for_longer_each_time_until_it_serves_for_long() {
        let mut errands = Errands::default();
        let mut now = 0;
        let mut avoided = Vec::new();
        for served in [4_000, 4_000, 4_000, 4_000, 700_000] {
            errands.begin(peer(), carrier(1), at(now));
            errands.asked(peer(), 5, at(now));
            assert!(errands.opened(peer(), carrier(1), 5, at(now)));
            now += served;
            errands.fail(peer(), at(now));
            let until =
                (0..).find(|seconds| !errands.avoids(peer(), carrier(1), at(now + seconds * 1_000))).unwrap();
            avoided.push(until);
            now += until * 1_000;
        }
        assert_eq!(avoided, [20, 80, 320, 600, 20]);
    }

    #[test]
    fn one_that_opened_and_proves_nothing_is_given_up_soon() {
        let mut errands = Errands::default();
        errands.begin(peer(), carrier(1), at(0));
        errands.asked(peer(), 5, at(0));
        assert!(errands.opened(peer(), carrier(1), 5, at(100)));
        assert_eq!(errands.next_at(|_| false), Some(at(3_100)));
        assert_eq!(errands.due(at(3_100), |_| false), [(peer(), Due::Failed)]);
        assert_eq!(errands.due(at(3_100), |_| true), []);
    }

    #[test]
    fn no_more_pairs_than_there_is_room_for() {
        let mut errands = Errands::default();
        let begun = (0..200).filter(|id| errands.begin(carrier(*id), peer(), at(0))).count();
        assert_eq!(begun, ERRANDS_MAX);
        assert!(!errands.may_look(peer(), at(0)));
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn peer() -> DeviceId {
        DeviceId::from_bytes([255; 16])
    }

    fn carrier(id: u8) -> DeviceId {
        DeviceId::from_bytes([id; 16])
    }
}
