//! Finding a port that nobody can name beforehand: which probe goes from which socket to which port, and when.
//!
//! One end's NAT gives every destination another port. That end opens mappings from fresh sockets towards the
//! other, which probes ports of its address until one of them is one of those mappings. Where ports follow a pattern
//! few probes do; where they do not, 256 mappings and 1,200 guesses meet 99 times in 100. The first authentic
//! probe that comes through ends it. Every schedule is made when the punch starts, so nothing is decided on the way.
//! Theory and measurements: docs/design/traversal.md. Terms: RFC 4787.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::handshake::{Go, Method};
use lanyard_wire::limits::{GUESS_PORTS_MAX, OPEN_SOCKETS_MAX};
use lanyard_wire::nat::PortPolicy;

use super::punch::{Probe, Size};
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{SocketId, Way};

/// Probes leave in bunches so far apart.
const TICK_MS: u32 = 20;

/// Mappings opened per bunch, 1,250 a second: 256 are open after 200 ms.
const OPEN_PER_TICK: usize = 25;

/// Guesses per bunch, 500 a second: what a home router's table takes without a stutter.
const GUESS_PER_TICK: usize = 10;

/// Where ports are counted the same few are probed again so often, ...
const BURSTS: u32 = 6;

/// ... or, where both ends count and no mapping may be there yet, so often, ...
const PREDICT_BURSTS: u32 = 20;

/// ... at this distance.
const BURST_EVERY_MS: u32 = 100;

/// Where both ends count, each aims so many steps ahead of the other's last port.
const AHEAD: i32 = 20;

/// An end that opens this many sockets or fewer does so for an end that counts, and opens them again in bursts.
const FEW_SOCKETS: usize = 8;

/// An end that guesses so many ports or fewer does so for an end that counts.
const FEW_PORTS: u16 = 48;

/// Ports that a NAT gives out at random: all but the well-known ones (RFC 4787, section 4.2.2).
const RANDOM_PORTS: (u16, u16) = (1_024, u16::MAX);

/// After the last probe one is still listened for; at least a round trip through two slow networks.
const TAIL: Duration = Duration::from_secs(1);

/// The end that opens listens for as long as the other may guess: 1,200 ports at 500 a second, a head start, [`TAIL`].
const LISTEN: Duration = Duration::from_millis(3_600);

/// A schedule of probes.
#[derive(Clone, Debug)]
pub(super) struct Guess {
    start: Instant,
    shots: VecDeque<Shot>,
    stop_at: Instant,
    probes: VecDeque<Probe>,
    sent: u32,
}

/// One probe of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shot {
    after_ms: u32,
    way: Way,
}

impl Guess {
    /// This end's part of a plan; none if the plan asks for no guessing, or what it needs is not known.
    ///
    /// `theirs` are the peer's candidates as far as they may be probed, `sockets` fresh sockets for this attempt.
    pub(super) fn new(
        go: &Go,
        theirs: &[Candidate],
        sockets: &[SocketId],
        start: Instant,
        rng: &mut Rng,
    ) -> Option<Self> {
        let (shots, listen) = match go.method {
            Method::Plain | Method::Relay | Method::Fresh | Method::Connect | Method::Accept => return None,
            Method::Open { .. } => (open(sockets, reflexive(go, theirs)?), LISTEN),
            Method::Guess { ports } => {
                let ports = ports.min(GUESS_PORTS_MAX);
                (guess(go, theirs, ports, rng)?, Duration::ZERO)
            }
            Method::Predict { .. } => (predict(go, theirs, sockets)?, Duration::ZERO),
        };
        let last = shots.back().map_or(0, |shot| shot.after_ms);
        let length = (Duration::from_millis(u64::from(last)) + TAIL).max(listen);
        Some(Self { start, shots, stop_at: start + length, probes: VecDeque::new(), sent: 0 })
    }

    /// How many fresh sockets a method needs.
    pub(super) const fn sockets(method: Method) -> u16 {
        match method {
            Method::Plain
            | Method::Relay
            | Method::Fresh
            | Method::Guess { .. }
            | Method::Connect
            | Method::Accept => 0,
            Method::Open { sockets } | Method::Predict { sockets } => {
                if sockets < OPEN_SOCKETS_MAX {
                    sockets
                } else {
                    OPEN_SOCKETS_MAX
                }
            }
        }
    }

    /// Whether a method costs hundreds of packets, and not tens.
    pub(super) const fn is_dear(method: Method) -> bool {
        match method {
            Method::Plain
            | Method::Relay
            | Method::Fresh
            | Method::Predict { .. }
            | Method::Connect
            | Method::Accept => false,
            Method::Open { sockets } => sockets as usize > FEW_SOCKETS,
            Method::Guess { ports } => ports > FEW_PORTS,
        }
    }

    /// Something authentic came through: no more guesses.
    pub(super) fn hit(&mut self) {
        self.shots.clear();
    }

    /// Queues the probes that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(shot) = self.shots.front().copied()
            && self.at(shot) <= now
        {
            self.shots.pop_front();
            self.sent += 1;
            self.probes.push_back(Probe { way: shot.way, size: Size::Small });
        }
    }

    /// The next probe to send.
    pub(super) fn poll_probe(&mut self) -> Option<Probe> {
        self.probes.pop_front()
    }

    /// When the next probe is due.
    pub(super) fn next_probe(&self) -> Option<Wakeup> {
        self.shots.front().map(|shot| Wakeup { at: self.at(*shot), why: "guess a port" })
    }

    /// When the time is spent.
    pub(super) const fn stop_at(&self) -> Instant {
        self.stop_at
    }

    /// The time is spent.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.stop_at <= now
    }

    /// Probes sent.
    pub(super) const fn sent(&self) -> u32 {
        self.sent
    }

    fn at(&self, shot: Shot) -> Instant {
        self.start + Duration::from_millis(u64::from(shot.after_ms))
    }
}

/// The peer's public address, which its NAT shows to everybody.
fn reflexive(go: &Go, theirs: &[Candidate]) -> Option<SocketAddr> {
    let told = theirs
        .iter()
        .find(|candidate| candidate.kind == CandidateKind::ServerReflexive && candidate.addr.is_ipv4());
    let seen = go.card.reflexive4.map(SocketAddr::V4);
    // What the card says counts only if it is among the addresses that may be probed.
    let seen = seen.filter(|seen| theirs.iter().any(|candidate| candidate.addr == *seen));
    seen.or_else(|| told.map(|candidate| candidate.addr))
}

/// The address and port that the peer's NAT gave last.
fn last(theirs: &[Candidate]) -> Option<(Ipv4Addr, u16)> {
    theirs.iter().find_map(|candidate| match (candidate.kind, candidate.addr) {
        (CandidateKind::Predicted, SocketAddr::V4(addr)) => Some((*addr.ip(), addr.port())),
        _ => None,
    })
}

/// From every socket to one address: once, or in bursts if there are few.
fn open(sockets: &[SocketId], remote: SocketAddr) -> VecDeque<Shot> {
    let bursts = if sockets.len() <= FEW_SOCKETS { BURSTS } else { 1 };
    let ways = || sockets.iter().map(|local| Way { local: *local, remote });
    (0..bursts).flat_map(|burst| paced(ways(), OPEN_PER_TICK, burst * BURST_EVERY_MS)).collect()
}

/// From the main socket to many ports of one address.
fn guess(go: &Go, theirs: &[Candidate], count: u16, rng: &mut Rng) -> Option<VecDeque<Shot>> {
    if let Some(PortPolicy::Sequential { step }) = go.card.ports {
        let (ip, last) = last(theirs)?;
        let ports: Vec<u16> = (1..=i32::from(count)).map(|ahead| port_ahead(last, step, ahead)).collect();
        let burst = |burst| {
            let ways = ports.iter().map(|port| Way::main((ip, *port).into()));
            paced(ways, usize::from(GUESS_PORTS_MAX), burst * BURST_EVERY_MS)
        };
        return Some((0..BURSTS).flat_map(burst).collect());
    }
    let ip = reflexive(go, theirs)?.ip();
    let (low, high) = match go.card.ports {
        Some(PortPolicy::Block { low, high }) if low <= high => (low.max(1), high.max(1)),
        _ => RANDOM_PORTS,
    };
    let ways = drawn(low, high, count, rng).into_iter().map(|port| Way::main((ip, port).into()));
    Some(paced(ways, GUESS_PER_TICK, 0).collect())
}

/// From every socket to one port ahead of the peer's last, in bursts.
///
/// The sockets get the ports after our own last one, and the peer aims at one of those just as we do at one
/// of its: where nobody else took a port meanwhile, the two that aim at each other meet.
fn predict(go: &Go, theirs: &[Candidate], sockets: &[SocketId]) -> Option<VecDeque<Shot>> {
    let Some(PortPolicy::Sequential { step }) = go.card.ports else { return None };
    let (ip, last) = last(theirs)?;
    let remote = (ip, port_ahead(last, step, AHEAD)).into();
    let ways = || sockets.iter().map(|local| Way { local: *local, remote });
    let bursts = 0..PREDICT_BURSTS;
    Some(bursts.flat_map(|burst| paced(ways(), usize::MAX, burst * BURST_EVERY_MS)).collect())
}

/// So many per bunch, from `begin_ms` on.
fn paced(ways: impl Iterator<Item = Way>, per_tick: usize, begin_ms: u32) -> impl Iterator<Item = Shot> {
    ways.enumerate().map(move |(place, way)| {
        let tick = u32::try_from(place / per_tick).unwrap_or(u32::MAX);
        Shot { after_ms: begin_ms.saturating_add(tick.saturating_mul(TICK_MS)), way }
    })
}

/// A port some steps ahead, past the end on to the beginning.
fn port_ahead(last: u16, step: i8, ahead: i32) -> u16 {
    let (low, high) = (i32::from(RANDOM_PORTS.0), i32::from(RANDOM_PORTS.1));
    let distance = i32::from(step) * ahead;
    let place = (i32::from(last) - low + distance).rem_euclid(high - low + 1);
    u16::try_from(low + place).unwrap_or(last)
}

/// So many different ports between two, both included, in an order that nobody can foresee.
fn drawn(low: u16, high: u16, count: u16, rng: &mut Rng) -> Vec<u16> {
    let mut ports: Vec<u16> = (low..=high).collect();
    let count = usize::from(count).min(ports.len());
    // Fisher and Yates, as far as needed.
    for place in 0..count {
        let left = u64::try_from(ports.len() - place).unwrap_or(1);
        let other = place + usize::try_from(rng.u64() % left).unwrap_or(0);
        ports.swap(place, other);
    }
    ports.truncate(count);
    ports
}

#[cfg(test)]
mod tests;
