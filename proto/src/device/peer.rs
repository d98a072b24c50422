//! One other device: when to have a path to it, and which.
//!
//! The rules, in the order of a peer's day:
//!
//! 1. Traffic, a person, or the peer itself wants a path: datagrams go by relay at once, and an attempt to
//!    get a direct path runs beside.
//! 2. A direct path is proven: datagrams take it; the binding at the relay stays for the way back.
//! 3. The direct path goes silent: relay again, the old address is knocked at, and a new attempt begins.
//! 4. No traffic for three minutes: no path, no packets; addresses and attempt are remembered.
//! 5. No coordinator answers: remembered addresses are recalled under the remembered attempt, and paths are
//!    kept longer, since nobody could bring the two ends together again.

mod carried;
mod facts;
mod framed;
mod fresh;
mod settle;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::checkpoint::BeginOutcome;
use lanyard_wire::door::is_door;
use lanyard_wire::ids::{AttemptId, Channel};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::token::Token;

use self::carried::Carried;
use self::framed::Sounding;
use super::attempt::{Attempt, AttemptWish};
use super::cache::MemberCache;
use super::config::TunnelMtu;
use super::path::Paths;
use super::peers::datagram_of;
use super::pings::{Heard, Pings};
use super::recall::Recall;
use super::relayed::{Grant, RelayWish, Relayed};
use super::repeats::Repeats;
use super::silence::Silence;
use crate::overlay::{Observation, Path};
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, SocketId, Transmit, Way};

/// A peer without traffic for so long has no path.
///
/// Keeping paths open that nobody uses would cost every pair a packet each 15 s; opening one again costs
/// a relayed round trip.
const IDLE_AFTER: Duration = Duration::from_secs(180);

/// The same while no coordinator answers: a path that closes then may not open again.
const IDLE_AFTER_ALONE: Duration = Duration::from_secs(3_600);

/// After a start of this device, peers are looked for if they were active in this many seconds.
const RECENT_S: u64 = 3_600;

/// A recall after a start waits for this: a coordinator that is there has answered by then, and brings
/// both ends together at one moment, which spares NATs an early packet from outside.
const RECALL_DELAY: Duration = Duration::from_millis(500);

/// What a peer wants from the rest of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send a datagram.
    Send(Transmit),
    /// A fresh socket may carry tunnels from now on.
    Keep(SocketId),
    /// A fresh socket has served.
    Close(SocketId),
    /// Speak to checkpoint or HANDSHAKE.
    Attempt(AttemptWish),
    /// Speak to a relay.
    Relay(RelayWish),
    /// Let every service see our present address.
    Poke,
    /// Datagrams take another path.
    Moved { from: Path, to: Path, why: &'static str },
    /// Packets of another size may be sent.
    Resized,
    /// What was sent last is to be sent again.
    Repeat,
    /// The way through the carrier does not answer.
    CarrierLost,
    /// Something worth saving was learnt.
    Learnt,
}

/// What the coordinators know about the pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// One that answers and knows both.
    pub(super) coordinator: Option<PublicKey>,
    /// The right to a relay.
    pub(super) grant: Option<Grant>,
    /// The peer has a session with a coordinator.
    pub(super) is_online: bool,
    /// The relay that the pair has been at until now answers.
    pub(super) is_relay_alive: bool,
}

/// One other device.
#[derive(Debug)]
pub(super) struct Peer {
    identity: PublicKey,
    reach: Reach,
    pings: Pings,
    paths: Paths,
    attempt: Attempt,
    relayed: Relayed,
    carried: Carried,
    sounding: Sounding,
    silence: Silence,
    repeats: Repeats,
    /// When the services were made to hear us because a flow stopped.
    poked_at: Option<Instant>,
    recall: Recall,
    /// The candidates of the last start signal.
    expected: Vec<SocketAddr>,
    /// Fresh sockets of punches, and whether each was heard on.
    sockets: BTreeMap<SocketId, bool>,
    path: Path,
    least_mtu: u16,
    /// The largest packet for the path of now.
    mtu: u16,
    /// When traffic last flowed; none for a peer that has no path for want of it.
    traffic_at: Option<Instant>,
    /// The same, kept for good, and from before the start of this device in seconds of the Unix epoch.
    last_traffic: Option<Instant>,
    last_traffic_s: u64,
    tx_bytes: u64,
    rx_bytes: u64,
    /// Of these, what the coordinators were told of.
    told_bytes: (u64, u64),
    actions: VecDeque<Action>,
    rng: Rng,
}

impl Peer {
    /// A peer that nobody wants yet; `first` is the first of this device's [`MOMENTS`](super::health::MOMENTS).
    pub(super) fn new(identity: PublicKey, mtu: TunnelMtu, first: Duration, mut rng: Rng) -> Self {
        Self {
            identity,
            reach: Reach::default(),
            pings: Pings::new(datagram_of(mtu.least), rng.fork(b"pings")),
            paths: Paths::up_to(if mtu.most > mtu.least { mtu.most } else { 0 }, first),
            attempt: Attempt::new(rng.fork(b"attempt")),
            relayed: Relayed::new(),
            carried: Carried::default(),
            sounding: Sounding::default(),
            silence: Silence::new(),
            repeats: Repeats::default(),
            poked_at: None,
            recall: Recall::default(),
            expected: Vec::new(),
            sockets: BTreeMap::new(),
            path: Path::None,
            least_mtu: mtu.least,
            mtu: mtu.least,
            traffic_at: None,
            last_traffic: None,
            last_traffic_s: 0,
            tx_bytes: 0,
            rx_bytes: 0,
            told_bytes: (0, 0),
            actions: VecDeque::new(),
            rng,
        }
    }

    /// Takes what the cache says, and looks for a peer that was active lately unless a coordinator
    /// answers soon.
    pub(super) fn remember(&mut self, cached: &MemberCache, unix_s: u64, now: Instant) {
        self.recall.remember(&cached.endpoints);
        self.last_traffic_s = cached.last_active_unix_s;
        if unix_s.saturating_sub(cached.last_active_unix_s) <= RECENT_S {
            self.begin_recall(None, now + RECALL_DELAY);
        }
        self.settle("remembered", now);
    }

    /// Learns an attempt id, under which probes are understood from now on; gives the one forgotten for it.
    pub(super) fn learn(&mut self, attempt: AttemptId, me: &SecretKey) -> Option<AttemptId> {
        self.actions.push_back(Action::Learnt);
        self.pings.learn(attempt, me, &self.identity)
    }

    /// Attempt ids under which probes are understood.
    pub(super) fn attempts(&self) -> impl Iterator<Item = AttemptId> + '_ {
        self.pings.attempts()
    }

    /// What the coordinators know has changed.
    pub(super) fn set_reach(&mut self, reach: Reach, now: Instant) {
        if self.reach == reach {
            return;
        }
        let old = core::mem::replace(&mut self.reach, reach);
        self.attempt.set_coordinator(reach.coordinator);
        self.relayed.set_grant(reach.grant, reach.is_relay_alive);
        let is_back = old.coordinator.is_none() && reach.coordinator.is_some();
        if is_back {
            self.recall.stop();
        }
        let is_there = !old.is_online && reach.is_online;
        if self.traffic_at.is_some() && self.paths.current().is_none() && (is_back || is_there) {
            self.attempt.restart(now);
        }
        self.settle("the coordinator's word", now);
    }

    /// Traffic or a person wants a path.
    pub(super) fn connect(&mut self, now: Instant) {
        self.traffic_at = Some(now);
        self.last_traffic = Some(now);
        self.settle("traffic", now);
        if self.paths.current().is_none() {
            self.attempt.want(now);
        }
        self.settle("traffic", now);
    }

    /// The peer wants a path: it began an attempt, or bound our channel.
    ///
    /// Does not count as traffic of a pair that has some, or two ends could keep each other awake.
    pub(super) fn called(&mut self, now: Instant) {
        if self.traffic_at.is_none() {
            self.traffic_at = Some(now);
        }
        self.settle("the peer called", now);
    }

    /// Offers our candidates for the attempt that the peer began.
    pub(super) fn invited(
        &mut self,
        coordinator: PublicKey,
        attempt: AttemptId,
        ticket: Token,
        handshake: u8,
        now: Instant,
    ) {
        self.attempt.offer(coordinator, attempt, ticket, handshake, now);
        self.called(now);
    }

    /// The checkpoint answered our question for an attempt, perhaps so late that nobody here wants a path any more.
    pub(super) fn began(&mut self, coordinator: PublicKey, outcome: BeginOutcome, now: Instant) {
        if matches!(outcome, BeginOutcome::Started { .. }) {
            // The peer is called, and punches. An end that took part without wanting a path would find none, hold that for a
            // failure, and have the next traffic wait for its retry.
            self.traffic_at.get_or_insert(now);
        }
        self.attempt.began(coordinator, outcome, now);
        self.settle("the coordinator's word", now);
    }

    /// HANDSHAKE does not take an offer.
    pub(super) fn offer_rejected(&mut self, attempt: AttemptId, now: Instant) {
        self.attempt.offer_rejected(attempt, now);
        self.settle("the coordinator's word", now);
    }

    /// A relay agreed to carry the pair.
    pub(super) fn bound(&mut self, channel: Channel, now: Instant) {
        self.relayed.bound(channel);
        self.settle("the relay agreed", now);
    }

    /// A relay refused to carry the pair.
    pub(super) fn relay_refused(&mut self, channel: Channel, now: Instant) {
        self.relayed.refused(channel, now);
        self.settle("the relay refused", now);
    }

    /// Whether this relay channel of this coordinator is the pair's.
    pub(super) fn is_for(&self, coordinator: &PublicKey, channel: Channel) -> bool {
        self.relayed.is_for(channel)
            && self.reach.grant.is_some_and(|grant| grant.coordinator == *coordinator)
    }

    /// What the data plane saw since its last report.
    pub(super) fn observe(&mut self, observation: &Observation, now: Instant) {
        let rx_bytes: u64 = observation.rx.iter().map(|(_, _, bytes)| *bytes).sum();
        self.tx_bytes = self.tx_bytes.saturating_add(observation.tx_bytes);
        self.rx_bytes = self.rx_bytes.saturating_add(rx_bytes);
        self.repeats.sent(observation.tx_packets, now);
        let was_idle = self.traffic_at.is_none();
        if observation.tx_packets > 0 || observation.waiting || !observation.rx.is_empty() {
            self.traffic_at = Some(now);
            self.last_traffic = Some(now);
        }
        // No socket is closed yet: what came by one may be the reason to keep it.
        self.align("traffic", now);
        let current = self.path;
        let heard_at = observation.heard_at.map_or(now, |at| at.min(now));
        let mut is_heard = false;
        for (path, packets, _) in &observation.rx {
            is_heard |= *path == current;
            match *path {
                // What a socket brought just before it was closed makes it no path.
                Path::Direct { local, .. }
                    if local != SocketId::MAIN && !self.sockets.contains_key(&local) => {}
                Path::Direct { local, remote } => self.paths.heard(Way { local, remote }, *packets, heard_at),
                Path::Relayed { .. } => {
                    self.paths.heard_by_relay(now);
                    self.heard_by_carrier(*path, *packets, heard_at);
                    if self.silence.heard(*packets, heard_at) {
                        self.attempt.peer_returned(now);
                    }
                }
                Path::None => {}
            }
        }
        if !observation.rx.is_empty() && self.repeats.heard(now) {
            self.actions.push_back(Action::Repeat);
        }
        if observation.tx_packets > 0 && !is_heard {
            let since = observation.unanswered_since.map_or(now, |since| since.min(now));
            match current {
                Path::Direct { .. } => self.paths.sent(since),
                Path::Relayed { .. } if self.is_carriers(current) => self.sent_by_carrier(since),
                Path::Relayed { .. } => self.silence.sent(now),
                Path::None => {}
            }
        }
        self.settle("traffic", now);
        if (was_idle || observation.waiting) && self.traffic_at.is_some() && self.paths.current().is_none() {
            self.attempt.want(now);
            self.settle("traffic", now);
        }
    }

    /// Reads a probe that names one of this peer's attempts.
    ///
    /// # Errors
    ///
    /// When the peer did not make it, or it answers or repeats nothing it should.
    pub(super) fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        let (way, remote) = (datagram.way(), datagram.remote);
        if way.local != SocketId::MAIN && !self.sockets.contains_key(&way.local) {
            return Err(Rejected::Unexpected);
        }
        let memorable = self.pings.memorable();
        let heard = self.pings.handle_datagram(datagram, now)?;
        if let Some(is_heard @ false) = self.sockets.get_mut(&way.local) {
            // Before the answer leaves: once the peer has it, tunnels may come this way.
            *is_heard = true;
            self.actions.push_back(Action::Keep(way.local));
        }
        match heard {
            Heard::Ping { answer } => {
                self.actions.push_back(Action::Send(answer));
                self.attempt.heard_from(way, now);
                let is_expected = self.expected.contains(&remote) || self.recall.knows(remote);
                self.paths.pinged_from(way, is_expected, now);
            }
            Heard::Pong { size, rtt, observed } => {
                self.attempt.answered(way);
                self.recall.answered(way);
                self.paths.answered(way, size, rtt, now);
                self.paths.seen_at(way, observed);
            }
        }
        if self.pings.memorable() != memorable {
            self.actions.push_back(Action::Learnt);
        }
        self.settle("proven", now);
        Ok(())
    }

    /// Our own network changed.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.paths.network_changed(now);
        self.carrier_network_changed(now);
        if self.path.is_relayed() {
            self.repeat(now);
        }
        if self.traffic_at.is_some() {
            self.attempt.restart(now);
        }
        if self.reach.coordinator.is_none() {
            self.begin_recall(None, now);
        }
        self.settle("our network changed", now);
    }

    /// What our NAT does has changed: what failed before may work now.
    pub(super) fn card_changed(&mut self, now: Instant) {
        // A path by TCP is for where nothing else gets out.
        let has_path = self.paths.current().is_some_and(|way| !is_door(way.remote));
        if self.traffic_at.is_some() && !has_path && !self.attempt.is_running() {
            self.attempt.restart(now);
        }
        self.settle("our network changed", now);
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.idle_at().is_some_and(|at| at <= now) {
            self.rest(now);
            self.settle("no traffic", now);
        }
        self.paths.handle_timeout(now);
        self.carried_timeout(now);
        self.sound(now);
        self.attempt.handle_timeout(now);
        self.relayed.handle_timeout(now);
        if self.silence.handle_timeout(now) {
            self.actions.push_back(Action::Poke);
        }
        self.recall.handle_timeout(now);
        self.settle("time", now);
    }

    /// What to do next.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let idle = self.idle_at().map(|at| Wakeup { at, why: "a path nobody uses" });
        let recall = self.recall.poll_timeout();
        let relay = Wakeup::earliest(self.relayed.poll_timeout(), self.silence.poll_timeout());
        let relay = Wakeup::earliest(relay, self.sounding_wakeup());
        [idle, recall, relay, self.paths.poll_timeout(), self.carried_wakeup(), self.attempt.poll_timeout()]
            .into_iter()
            .fold(None, Wakeup::earliest)
    }

    /// The pair may not speak (any more): everything closes at once.
    pub(super) fn shut(&mut self, now: Instant) {
        self.rest(now);
        self.settle("not allowed", now);
    }

    /// Nobody used the path for long: let everything close.
    fn rest(&mut self, now: Instant) {
        self.recall.remember(&self.paths.endpoints());
        self.recall.stop();
        self.traffic_at = None;
        self.attempt.rest();
        self.relayed.release();
        self.paths.set_active(false, now);
        self.actions.push_back(Action::Learnt);
    }

    fn idle_at(&self) -> Option<Instant> {
        let after = if self.reach.coordinator.is_some() { IDLE_AFTER } else { IDLE_AFTER_ALONE };
        self.traffic_at.map(|at| at + after)
    }
}

#[cfg(test)]
mod tests;
