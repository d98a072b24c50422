//! How large packets the current lane carries, beyond what every lane has to.
//!
//! Datagram packetization layer path MTU discovery (RFC 8899) with the peer's answers as the only witnesses: pings as long as
//! the tunnel's datagrams would be go out whole (a shell forbids fragments above [`lanyard_wire::limits::WHOLE_ABOVE`]), and what is answered passes
//! both ways. Messages of routers are not listened to. A search asks for the largest first and for smaller ones soon
//! after; while packets flow the size in use is confirmed now and then, and when it passes no more the lane is back at the least at
//! once, which routers may cut.

use core::time::Duration;

use lanyard_wire::door::is_door;

use super::{FRESH, Paths};
use crate::device::punch::{Probe, Size};
use crate::time::Instant;

/// Packets that are asked for, in bytes: what fits a link of 1,500 over IPv6 or IPv4 (48 and 28 bytes of headers, 32 of WireGuard),
/// then what is left of one with a tunnel of its own in between.
const RUNGS: [u16; 4] = [1_420, 1_400, 1_360, 1_320];

/// When the pings of a round go out, in milliseconds: the first asks for the largest alone.
const ROUND_MS: [u64; 5] = [0, 200, 600, 1_200, 2_200];

/// A round without the answer that ends it is over by then: the last ping and a long round trip.
const ROUND_TIME: Duration = Duration::from_millis(3_500);

/// While packets come in, the size in use is confirmed so often: a packet of 1.5 KB in ten seconds.
///
/// RFC 8899, section 4.1 has a confirmation timer only for those who hear nothing of losses, as we do.
const CONFIRM_EVERY: Duration = Duration::from_secs(10);

/// A larger size is looked for again after this (`PMTU_RAISE_TIMER`, RFC 8899, section 5.1.1), ...
const SEARCH_EVERY: Duration = Duration::from_secs(600);

/// ... and after this, where a size was lost: what took it away may be gone.
const SEARCH_AFTER_LOSS: Duration = Duration::from_secs(60);

/// What a lane carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    /// The largest packet that was proven and is not in doubt; 0 for none.
    proven: u16,
    proven_at: Instant,
    /// When the next search may begin; at once, at first.
    search_at: Instant,
    round: Option<Round>,
}

/// Pings under way.
#[derive(Clone, Copy, Debug)]
struct Round {
    started: Instant,
    step: usize,
    is_search: bool,
}

impl Growth {
    /// A ping for packets of this size was answered; `most` ends a search.
    pub(super) fn answered(&mut self, size: u16, most: u16, now: Instant) {
        // What was on its way while the size was given up shows that it passes.
        self.proven = self.proven.max(size);
        self.proven_at = now;
        if self.proven >= most || self.round.is_some_and(|round| !round.is_search) {
            self.end(SEARCH_EVERY, now);
        }
    }

    fn end(&mut self, pause: Duration, now: Instant) {
        if self.round.take().is_some_and(|round| round.is_search) || self.proven == 0 {
            self.search_at = now + pause;
        }
    }

    /// Begins a round if one is due; `is_heard` says that packets come in.
    fn begin(&mut self, most: u16, is_heard: bool, now: Instant) {
        let is_search = self.proven < most && now >= self.search_at;
        let is_stale = is_heard && self.proven > 0 && now.saturating_since(self.proven_at) >= CONFIRM_EVERY;
        // The first search needs nothing heard: the lane was just proven.
        if self.round.is_none() && ((is_search && (is_heard || self.search_at == Instant::ZERO)) || is_stale)
        {
            self.round = Some(Round { started: now, step: 0, is_search: is_search && !is_stale });
        }
    }

    /// Sizes to ask for now.
    fn due(&mut self, most: u16, now: Instant) -> impl Iterator<Item = u16> + use<> {
        if self.round.is_some_and(|round| now >= round.started + ROUND_TIME) {
            let is_lost = self.round.is_some_and(|round| !round.is_search);
            if is_lost {
                tracing::debug!(size = self.proven, "packets of this size pass no more");
                self.proven = 0;
            }
            self.end(if is_lost { SEARCH_AFTER_LOSS } else { SEARCH_EVERY }, now);
        }
        let round = self.round.as_mut().filter(|round| round.next_at().is_some_and(|at| at <= now));
        let wanted = round.map(|round| {
            round.step += 1;
            match (round.is_search, round.step) {
                (true, 1) => most..=most,
                (true, _) => self.proven + 1..=most,
                (false, _) => self.proven..=self.proven,
            }
        });
        RUNGS.into_iter().filter(move |rung| wanted.as_ref().is_some_and(|wanted| wanted.contains(rung)))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.round.map(|round| round.next_at().unwrap_or(round.started + ROUND_TIME))
    }
}

impl Round {
    fn next_at(&self) -> Option<Instant> {
        ROUND_MS.get(self.step).map(|millis| self.started + Duration::from_millis(*millis))
    }
}

impl Paths {
    /// Paths on which packets of up to `most` bytes are looked for; of what is not among the sizes tried, the next smaller one.
    ///
    /// `first` is the first of this device's [`MOMENTS`](crate::device::health::MOMENTS).
    pub(in crate::device) fn up_to(most: u16, first: Duration) -> Self {
        let most = RUNGS.into_iter().find(|rung| *rung <= most).unwrap_or_default();
        Self { most, first, ..Self::default() }
    }

    /// The largest packet that the current lane is proven to carry, if that is more than every lane has to.
    pub(in crate::device) fn mtu(&self) -> Option<u16> {
        let current = self.current.filter(|current| !current.is_on_trust)?;
        let lane = self.lanes.get(&current.way).filter(|lane| lane.proven_at.is_some())?;
        Some(lane.growth.proven).filter(|proven| *proven > 0)
    }

    /// Looks for larger packets on the current lane, and confirms those in use if something `is_heard` there.
    pub(super) fn grow(&mut self, is_heard: bool, now: Instant) {
        let (Some(current), 1..) = (self.current, self.most) else { return };
        let way = current.way;
        if is_door(way.remote) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&way).filter(|lane| lane.proven_at.is_some()) else { return };
        lane.growth.begin(self.most, is_heard, now);
        let due = lane.growth.due(self.most, now);
        self.probes.extend(due.map(|mtu| Probe { way, size: Size::Packet(mtu) }));
    }

    /// A lane that is taken again may have changed since its size was proven.
    pub(super) fn doubt_size(&mut self, now: Instant) {
        let Some(current) = self.current else { return };
        let growth = &mut self.lane(current.way).growth;
        growth.round = None;
        if now.saturating_since(growth.proven_at) >= FRESH {
            *growth = Growth::default();
        }
    }

    /// When the next ping for a larger size is due.
    pub(super) fn growth_at(&self) -> Option<Instant> {
        self.lanes.get(&self.current?.way)?.growth.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::transmit::Way;

    #[test]
    fn what_a_wide_lane_carries_is_known_after_one_ping() {
        let mut paths = direct(1_420);
        assert_eq!((asked(&mut paths, 0), paths.mtu()), (alloc::vec![1_420], None));
        paths.answered(way(), Size::Packet(1_420), ms(40), at(40));
        assert_eq!(paths.mtu(), Some(1_420));
        assert!(asked(&mut paths, 5_000).is_empty());
    }

    #[test]
    fn a_narrow_lane_is_asked_for_every_size_and_has_the_largest_that_passed() {
        let mut paths = direct(1_420);
        assert_eq!(asked(&mut paths, 0), [1_420]);
        assert_eq!(asked(&mut paths, 200), [1_420, 1_400, 1_360, 1_320]);
        paths.answered(way(), Size::Packet(1_320), ms(40), at(240));
        paths.answered(way(), Size::Packet(1_360), ms(40), at(240));
        assert_eq!(paths.mtu(), Some(1_360), "at once");
        assert_eq!(asked(&mut paths, 600), [1_420, 1_400]);
        assert_eq!(asked(&mut paths, 1_200).len() + asked(&mut paths, 2_200).len(), 4);
        assert!(asked(&mut paths, 3_600).is_empty());
        assert_eq!((paths.mtu(), paths.growth_at()), (Some(1_360), None));
    }

    #[test]
    fn a_lane_that_carries_no_more_than_it_has_to_stays_and_is_asked_again_later() {
        let mut paths = direct(1_420);
        for millis in [0, 200, 600, 1_200, 2_200, 3_500] {
            asked(&mut paths, millis);
        }
        paths.heard(way(), 1, at(300_000));
        assert!(asked(&mut paths, 300_000).is_empty());
        paths.answered(way(), Size::Full, ms(40), at(604_000));
        paths.heard(way(), 1, at(604_000));
        assert_eq!(asked(&mut paths, 604_000), [1_420]);
    }

    #[test]
    fn a_size_that_passes_no_more_is_given_up_and_silence_alone_is_no_reason() {
        let mut paths = wide();
        assert!(asked(&mut paths, 60_000).is_empty(), "nobody speaks");
        paths.heard(way(), 1, at(60_000));
        assert_eq!(asked(&mut paths, 60_000), [1_420]);
        paths.answered(way(), Size::Packet(1_420), ms(40), at(60_040));
        paths.heard(way(), 1, at(61_000));
        assert!(asked(&mut paths, 61_000).is_empty(), "confirmed a moment ago");
        paths.heard(way(), 1, at(71_000));
        for millis in [0, 200, 600, 1_200, 2_200] {
            assert_eq!(asked(&mut paths, 71_000 + millis), [1_420]);
            paths.heard(way(), 1, at(71_000 + millis));
        }
        assert_eq!(paths.mtu(), Some(1_420));
        asked(&mut paths, 74_500);
        assert_eq!(paths.mtu(), None);
        paths.heard(way(), 1, at(140_000));
        assert_eq!(asked(&mut paths, 140_000), [1_420], "and looked for again");
    }

    #[test]
    fn another_network_and_an_old_proof_count_for_nothing() {
        let mut paths = wide();
        paths.network_changed(at(1_000));
        assert_eq!(paths.mtu(), None);
        let mut paths = wide();
        paths.set_active(false, at(1_000));
        paths.heard(way(), 1, at(100_000));
        paths.set_active(true, at(100_000));
        assert_eq!((paths.current(), paths.mtu()), (Some(way()), None));
    }

    #[test]
    fn nothing_is_asked_where_nothing_is_to_grow() {
        assert!(asked(&mut direct(1_280), 0).is_empty());
        assert_eq!(asked(&mut direct(1_410), 0), [1_400]);
    }

    fn wide() -> Paths {
        let mut paths = direct(1_420);
        asked(&mut paths, 0);
        paths.answered(way(), Size::Packet(1_420), ms(40), at(40));
        paths
    }

    fn direct(most: u16) -> Paths {
        let mut paths = Paths::up_to(most, Duration::ZERO);
        paths.set_active(true, at(0));
        paths.answered(way(), Size::Full, ms(40), at(0));
        paths
    }

    /// Sizes that are asked for when time comes to this.
    fn asked(paths: &mut Paths, millis: u64) -> Vec<u16> {
        paths.handle_timeout(at(millis));
        let probes = core::iter::from_fn(|| paths.poll_probe());
        let sizes = probes.filter_map(|probe| match probe.size {
            Size::Packet(mtu) => Some(mtu),
            Size::Small | Size::Full => None,
        });
        sizes.collect()
    }

    fn way() -> Way {
        Way::main("203.0.113.4:7000".parse().unwrap())
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
