//! Which direct path a peer's datagrams take, and for how long.
//!
//! A lane is a way, from one of our sockets to an address, on which the peer proved itself. The steps of a lane's life:
//!
//! 1. Something authentic came from it (a ping, an answer, tunnel data): it is sent full-size pings.
//! 2. One of them was answered: the lane is proven, since it carries the largest datagram both ways. Only
//!    proven lanes are chosen: LAN before IPv6 before IPv4, then by round trip with hysteresis.
//! 3. It goes silent under traffic and does not answer (`health`): the lane is lost and must be proven
//!    again. The same happens when the peer, which must have seen the silence first, starts to send by relay.
//!
//! Pings are counted as signs of life of the peer, never of our own sending direction: only an answer to
//! our ping, or tunnel data, shows that.

mod facts;
mod lane;
mod size;

use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;
use core::time::Duration;

use self::lane::{Lane, PROOF_TIME, Proof, is_better, next_proof};
use self::size::Growth;
use super::candidates::Rank;
use super::health::{Health, QUIET, Sign};
use super::punch::{Probe, Size};
use super::ration::Ration;
use crate::time::{Instant, Wakeup};
use crate::transmit::{SocketId, Way};

/// Data by relay means that the peer left the lane, if the lane was silent for this or two round trips.
const MIRROR_AFTER: Duration = Duration::from_millis(300);

/// Not in the first moments, in which the peer may not have proven the lane yet; two round trips more.
const MIRROR_GRACE: Duration = Duration::from_secs(1);

/// A lane that the peer keeps leaving is not chosen again for this, doubling up to a minute.
///
/// Where full-size datagrams pass one way only, one end stays on the relay for good; the other must not
/// switch to and fro.
const HOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A proven lane may be chosen this long after it was last heard: within it no NAT binding expires.
const FRESH: Duration = Duration::from_secs(30);

/// A lane that did not prove itself is tried again no sooner than this after a further sign of life.
const PROOF_AGAIN: Duration = Duration::from_secs(5);

/// Unknown addresses that pings may make us ping: so many at once, and one more each time this passes.
///
/// A peer that moves shows one or two. But where routers on both ends show another port to every address
/// each ping opens a new address, and two ends that answer every ping with pings would do so for ever.
const STRANGERS: u32 = 8;
const STRANGER_EVERY: Duration = Duration::from_secs(10);

/// Lanes kept per peer; the victim is the one heard longest ago.
const LANES_MAX: usize = 16;

/// What the rest of the device should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathEvent {
    /// Datagrams go this way from now on.
    Chosen { way: Way, why: &'static str },
    /// What was coming in stopped, on this lane or another.
    Stopped,
    /// The chosen lane does not answer, or the peer sees us somewhere else: others may have to learn our new
    /// address.
    Suspected,
    /// The chosen lane is dead and nothing better is proven.
    Lost { way: Way, why: &'static str },
}

/// The lanes of one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    lanes: BTreeMap<Way, Lane>,
    current: Option<Current>,
    /// Tunnel data came directly, by whichever lane, last then.
    data_at: Option<Instant>,
    is_active: bool,
    /// Packets of up to this size are looked for; 0: none beyond what every lane carries.
    most: u16,
    /// The first of this device's [`MOMENTS`](super::health::MOMENTS).
    first: Duration,
    strangers: Ration,
    probes: VecDeque<Probe>,
    events: VecDeque<PathEvent>,
}

/// The lane that carries the datagrams.
#[derive(Clone, Copy, Debug)]
struct Current {
    way: Way,
    since: Instant,
    health: Health,
    /// Taken because the peer sends from there, or kept when our own network changed: not proven yet.
    is_on_trust: bool,
    /// The peer sent by relay: unless the lane is heard meanwhile, it is doubtful from then on.
    doubt_at: Option<Instant>,
}

impl Paths {
    /// Whether traffic wants a path: only then is one chosen and kept alive.
    pub(super) fn set_active(&mut self, is_active: bool, now: Instant) {
        if self.is_active == is_active {
            return;
        }
        self.is_active = is_active;
        if is_active {
            self.choose("traffic", now);
            self.grow(false, now);
        } else {
            self.current = None;
        }
    }

    /// An authenticated ping from `way`: the peer is there, though maybe behind a closed door.
    ///
    /// An address that is neither expected nor has answered before gets small pings first: the ping may be
    /// a recording sent from somewhere else.
    pub(super) fn pinged_from(&mut self, way: Way, is_expected: bool, now: Instant) {
        if let Some(current) = self.current_at(way) {
            current.health.pinged(now);
        }
        let is_vouched =
            is_expected || self.lanes.get(&way).is_some_and(|lane| lane.is_answered || lane.proof.is_some());
        if is_vouched || self.strangers.take(STRANGERS, STRANGER_EVERY, now) {
            let is_small = !is_expected && !self.lane(way).is_answered;
            self.begin_proof(way, if is_small { Size::Small } else { Size::Full }, now);
            self.send_proofs(now);
        }
    }

    /// Our ping to `way` was answered after `rtt`.
    pub(super) fn answered(&mut self, way: Way, size: Size, rtt: Duration, now: Instant) {
        let most = self.most;
        let lane = self.lane(way);
        lane.is_answered = true;
        lane.heard_at = Some(now);
        // RFC 6298's weight of an eighth, without the variance: hysteresis takes its place.
        lane.rtt = Some(lane.rtt.map_or(rtt, |old| (old * 7 + rtt) / 8));
        if size == Size::Small {
            lane.is_small_only |= lane.proven_at.is_none();
        } else {
            lane.is_small_only = false;
            lane.proven_at = Some(now);
            lane.proof = None;
        }
        if let Size::Packet(mtu) = size {
            lane.growth.answered(mtu, most, now);
        }
        if let Some(current) = self.current_at(way) {
            current.health.answered(now);
        }
        if size == Size::Small {
            self.begin_proof(way, Size::Full, now);
            self.send_proofs(now);
        }
        self.prefer_a_live_lane(now);
        self.choose("proven", now);
        self.grow(false, now);
    }

    /// Whoever answered this way saw our ping come from there.
    ///
    /// Another address than last time means that our NAT forgot us. This lane learnt the new one with the ping;
    /// the services have not, and an end that only answers would not miss them before its next keep-alive.
    pub(super) fn seen_at(&mut self, way: Way, observed: Option<SocketAddr>) {
        let before = core::mem::replace(&mut self.lane(way).seen_at, observed);
        if before.is_some() && observed.is_some() && before != observed {
            self.events.push_back(PathEvent::Suspected);
        }
    }

    /// So many authenticated datagrams of the tunnel came from `way`.
    pub(super) fn heard(&mut self, way: Way, packets: u32, now: Instant) {
        let is_known = self.is_fresh(way, now);
        self.lane(way).heard_at = Some(now);
        self.data_at = Some(now);
        if let Some(current) = self.current_at(way) {
            current.health.heard(packets, now);
            return self.grow(true, now);
        }
        if let Some(current) = &mut self.current {
            current.health.heard_elsewhere(packets, now);
        }
        self.begin_proof(way, Size::Full, now);
        self.send_proofs(now);
        let Some(current) = self.current else { return };
        // WireGuard's roaming rule, for a peer that moved: its data authenticates the new address, and the
        // old one is silent. Between two proven lanes the answers decide instead: the two ends may well
        // send on different ones, and following each other they would swap for ever.
        let is_silent = !current.health.is_well() || self.silence(current.way, now) >= QUIET;
        if !is_known && is_silent {
            self.lane(current.way).proven_at = None;
            self.take(way, "the peer moved", now);
            self.current.iter_mut().for_each(|current| current.is_on_trust = true);
        } else {
            self.prefer_a_live_lane(now);
        }
    }

    /// Tunnel data went out on the current lane and nothing came in.
    pub(super) fn sent(&mut self, since: Instant) {
        if let Some(current) = &mut self.current {
            current.health.sent(since);
        }
    }

    /// The current lane has to answer, though no data of ours went out on it.
    pub(super) fn ping(&mut self, now: Instant) {
        if let Some(current) = &mut self.current {
            current.health.sent(now);
            self.probes.push_back(Probe { way: current.way, size: Size::Small });
        }
    }

    /// Authenticated tunnel data came by relay: did the peer leave the lane?
    pub(super) fn heard_by_relay(&mut self, now: Instant) {
        let Some(current) = self.current else { return };
        let lane = self.lane(current.way);
        let two_rtt = lane.rtt.unwrap_or_default() * 2;
        let is_settled = now.saturating_since(current.since) >= MIRROR_GRACE + two_rtt;
        let silence = self.silence_of_peer(current.way, now);
        if is_settled && silence >= QUIET.max(two_rtt) {
            // What we answer goes the peer's way at once, whatever becomes of the lane.
            self.doubt(now);
        } else if is_settled {
            let doubt_at = now + QUIET.max(two_rtt).saturating_sub(silence);
            self.current.iter_mut().for_each(|current| current.doubt_at = Some(doubt_at));
        }
        if !is_settled || silence < MIRROR_AFTER.max(two_rtt) {
            return;
        }
        let was_steady = now.saturating_since(current.since) >= HOLD.1;
        let lane = self.lane(current.way);
        lane.left = if was_steady { 0 } else { lane.left };
        if lane.left > 0 {
            let hold = HOLD.0.saturating_mul(1 << (lane.left - 1).min(6)).min(HOLD.1);
            lane.held_until = Some(now + hold);
        }
        lane.left += 1;
        self.lose("the peer sends by relay", now);
    }

    /// Our own network changed: what was proven counts no more, and the current lane has to answer now.
    pub(super) fn network_changed(&mut self, now: Instant) {
        for lane in self.lanes.values_mut() {
            lane.proven_at = None;
            lane.proof = None;
            lane.growth = Growth::default();
            lane.held_until = None;
            lane.left = 0;
        }
        let rtt = self.rtt();
        if let Some(current) = &mut self.current {
            current.health.network_changed(rtt, now);
            // Small packets may pass from where we are now, and full-size ones not.
            current.is_on_trust = true;
        }
        self.handle_timeout(now);
    }

    /// Sends what is due and notices what did not come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.send_proofs(now);
        for lane in self.lanes.values_mut() {
            lane.held_until = lane.held_until.filter(|until| *until > now);
        }
        self.doubt_if_left(now);
        self.watch(now);
        if self.in_vain_at().is_some_and(|at| at <= now) {
            self.lose("full-size packets do not pass", now);
        }
        self.choose("proven", now);
        self.grow(false, now);
    }

    /// The next ping to send.
    pub(super) fn poll_probe(&mut self) -> Option<Probe> {
        self.probes.pop_front()
    }

    /// The next fact.
    pub(super) fn poll_event(&mut self) -> Option<PathEvent> {
        self.events.pop_front()
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let proof = self.lanes.values().filter_map(|lane| next_proof(lane.proof?)).min();
        let hold = self.lanes.values().filter(|lane| lane.proven_at.is_some());
        let hold = hold.filter_map(|lane| lane.held_until).min().filter(|_| self.is_active);
        let watch = self.current.and_then(|current| current.health.poll_timeout(self.rtt()));
        let in_vain = self.in_vain_at().map(|at| Wakeup { at, why: "a path that proves nothing" });
        let left = self.current.and_then(|current| current.doubt_at);
        let left = left.map(|at| Wakeup { at, why: "a path that the peer may have left" });
        let watch = Wakeup::earliest(Wakeup::earliest(watch, in_vain), left);
        let proof =
            proof.into_iter().chain(self.growth_at()).min().map(|at| Wakeup { at, why: "prove a path" });
        let hold = hold.map(|at| Wakeup { at, why: "a path may be chosen again" });
        Wakeup::earliest(Wakeup::earliest(proof, hold), watch)
    }

    /// A socket is closed: its lanes are no more.
    pub(super) fn forget(&mut self, local: SocketId) {
        self.lanes.retain(|way, _| way.local != local);
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        if !self.lanes.contains_key(&way) && self.lanes.len() >= LANES_MAX {
            let current = self.current();
            let oldest = self.lanes.iter().filter(|(way, _)| Some(**way) != current);
            if let Some(oldest) = oldest.min_by_key(|(_, lane)| lane.heard_at).map(|(way, _)| *way) {
                self.lanes.remove(&oldest);
            }
        }
        self.lanes.entry(way).or_default()
    }

    /// Something authentic shows that the lane may work: unless that is proven, send pings.
    fn begin_proof(&mut self, way: Way, size: Size, now: Instant) {
        let is_fresh = self.is_fresh(way, now);
        let lane = self.lane(way);
        let is_due = lane.proof.is_none_or(|proof| {
            (proof.size, size) == (Size::Small, Size::Full)
                || now.saturating_since(proof.started) >= PROOF_AGAIN
        });
        if !is_fresh && is_due {
            lane.proof = Some(Proof { size, started: now, step: 0 });
        }
    }

    fn send_proofs(&mut self, now: Instant) {
        for (way, lane) in &mut self.lanes {
            if let Some(proof) = &mut lane.proof
                && next_proof(*proof).is_some_and(|at| at <= now)
            {
                proof.step += 1;
                self.probes.push_back(Probe { way: *way, size: proof.size });
            }
        }
    }

    /// Sees whether the current lane answers.
    fn watch(&mut self, now: Instant) {
        let rtt = self.rtt();
        while let Some(current) = &mut self.current {
            let way = current.way;
            match current.health.handle_timeout(rtt, now) {
                Some(Sign::Stopped) => self.events.push_back(PathEvent::Stopped),
                Some(Sign::Ping) => self.probes.push_back(Probe { way, size: Size::Small }),
                Some(Sign::Suspected) => self.events.push_back(PathEvent::Suspected),
                Some(Sign::Lost) => return self.lose("no answer", now),
                None => return,
            }
        }
    }

    /// The peer sent by relay a while ago: has it been heard on the lane since?
    fn doubt_if_left(&mut self, now: Instant) {
        let due = |current: &mut Current| current.doubt_at.take_if(|at| *at <= now);
        if let Some(at) = self.current.as_mut().and_then(due)
            && let Some(way) = self.current()
        {
            let quiet = QUIET.max(self.rtt().unwrap_or_default() * 2);
            if self.silence_of_peer(way, at) >= quiet {
                self.doubt(now);
            }
        }
    }

    fn doubt(&mut self, now: Instant) {
        let rtt = self.rtt();
        if let Some(current) = &mut self.current {
            current.health.peer_left(rtt, now);
        }
        self.watch(now);
    }

    /// When a lane taken or kept on trust is given up, unless it proves itself.
    ///
    /// Small packets may pass where full-size ones do not, and nothing would ever seem wrong.
    fn in_vain_at(&self) -> Option<Instant> {
        let current = self.current.filter(|current| current.is_on_trust)?;
        let lane = self.lanes.get(&current.way)?;
        let proof = lane.proof.filter(|_| lane.proven_at.is_none())?;
        Some(proof.started + PROOF_TIME)
    }

    /// The current lane, if it is this one.
    fn current_at(&mut self, way: Way) -> Option<&mut Current> {
        self.current.as_mut().filter(|current| current.way == way)
    }

    /// Leaves a lane whose answers are overdue for a proven one that was heard meanwhile.
    fn prefer_a_live_lane(&mut self, now: Instant) {
        let Some(Current { way: old, health, .. }) = self.current else { return };
        let Some(since) = health.suspect_since() else { return };
        let overdue = QUIET.max(self.rtt().unwrap_or_default() * 2);
        if now.saturating_since(since) < overdue {
            return;
        }
        let live = self.lanes.iter().filter(|(way, lane)| {
            **way != old && self.is_eligible(lane, now) && lane.heard_at.is_some_and(|heard| heard >= since)
        });
        let best = live.min_by_key(|(way, lane)| (Rank::of(way.remote), lane.rtt)).map(|(way, _)| *way);
        if let Some(best) = best {
            self.lane(old).proven_at = None;
            self.take(best, "the other one does not answer", now);
        }
    }

    /// Takes the best proven lane, if it is better than the current one by enough.
    fn choose(&mut self, why: &'static str, now: Instant) {
        if !self.is_active {
            return;
        }
        let mut best = self.current();
        for (way, lane) in &self.lanes {
            if self.is_eligible(lane, now)
                && best.is_none_or(|best| is_better((*way, lane.rtt), (best, self.rtt_of(best))))
            {
                best = Some(*way);
            }
        }
        if let Some(best) = best
            && self.current() != Some(best)
        {
            self.take(best, why, now);
        }
    }

    fn take(&mut self, way: Way, why: &'static str, now: Instant) {
        self.current = Some(Current {
            way,
            since: now,
            health: Health::new(self.first, now),
            is_on_trust: false,
            doubt_at: None,
        });
        self.doubt_size(now);
        self.events.push_back(PathEvent::Chosen { way, why });
    }

    fn lose(&mut self, why: &'static str, now: Instant) {
        let Some(Current { way, health, .. }) = self.current.take() else { return };
        let since = health.suspect_since().unwrap_or(now);
        // The ways to one address mostly die together: those that were silent since then have to prove themselves
        // again, or each of several that a guess found would be tried in vain for a second.
        let is_silent = |lane: &Lane| lane.heard_at.is_none_or(|heard| heard + QUIET < since);
        let is_alike = |other: &Way| other.remote.ip() == way.remote.ip();
        for (_, lane) in self
            .lanes
            .iter_mut()
            .filter(|(other, lane)| **other == way || (is_alike(other) && is_silent(lane)))
        {
            lane.proven_at = None;
            lane.proof = None;
            lane.growth = Growth::default();
        }
        self.choose(why, now);
        if self.current.is_none() {
            self.events.push_back(PathEvent::Lost { way, why });
        }
    }

    fn is_eligible(&self, lane: &Lane, now: Instant) -> bool {
        let is_fresh = |at: Option<Instant>| at.is_some_and(|at| now.saturating_since(at) < FRESH);
        lane.proven_at.is_some()
            && (is_fresh(lane.proven_at) || is_fresh(lane.heard_at))
            && lane.held_until.is_none_or(|until| until <= now)
    }

    fn is_fresh(&self, way: Way, now: Instant) -> bool {
        self.lanes.get(&way).is_some_and(|lane| self.is_eligible(lane, now))
    }

    fn rtt_of(&self, way: Way) -> Option<Duration> {
        self.lanes.get(&way)?.rtt
    }

    fn silence(&self, way: Way, now: Instant) -> Duration {
        let heard = self.lanes.get(&way).and_then(|lane| lane.heard_at);
        heard.map_or(Duration::MAX, |heard| now.saturating_since(heard))
    }

    /// For how long the peer showed no sign of sending directly.
    ///
    /// What it sends by another lane than the current one counts as well. Else, where each end has its own, one datagram by relay
    /// made one of them go there for a round trip, which the other saw and did the same, and so on without end.
    fn silence_of_peer(&self, way: Way, now: Instant) -> Duration {
        let data = self.data_at.map_or(Duration::MAX, |data| now.saturating_since(data));
        self.silence(way, now).min(data)
    }
}

#[cfg(test)]
mod tests;
