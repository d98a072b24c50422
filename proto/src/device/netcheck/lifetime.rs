//! For how long a mapping survives without traffic, measured beside everything else.
//!
//! A spare socket of its own is let age; the main socket's mapping is never put at risk. One step:
//!
//! 1. **Birth.** It asks a server, and three seconds later once more: a Linux router gives a mapping its full life only
//!    when it was used both ways for two seconds.
//! 2. **Silence**, for so long as the step is about.
//! 3. **Proof.** Behind a filter the other server is asked to have the first one answer: an answer that comes in was
//!    let in by what the first server's mapping remembers, and had that been forgotten, the question would not have
//!    brought it back. Where the mapping depends on the destination and its port cannot be the same by chance, the first
//!    server is asked again: another port is another mapping. Where neither tells, nothing is measured.
//!
//! The first step is a silence of a second, which every mapping survives: if the proof fails there, the servers or the
//! router do not do what it takes. Then the length of silence is halved in on, at most four steps, each of seven
//! datagrams and as many answers at the most. It is done once in a network.
//!
//! Terms: RFC 4787, section 4.3; RFC 5780, section 4.6 does the same with RESPONSE-PORT, which our servers refuse in
//! production.

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::nat::{Filtering, Mapping, NatCard, PortPolicy};
use lanyard_wire::stun::{Change, TransactionId};

use super::sample::Sample;
use super::verdict::Grid;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, Outbox, SocketId};

/// The socket whose mapping ages; no run uses this number.
pub(super) const SOCKET: SocketId = SocketId(63);

/// Silences in question, in seconds: a little less than what routers are set to (20, 30, 60, 90, 120, 180, 300 s), so
/// that half of what survived is a good keep-alive.
const SILENCES_S: [u16; 8] = [10, 18, 28, 55, 85, 115, 175, 240];

/// The silence tried first: whether a mapping lives for 30 s decides between fast and usual keep-alives.
const FIRST: usize = 2;

/// The silence that every mapping survives.
const NO_TIME: Duration = Duration::from_secs(1);

/// Between the two questions of a birth.
const TO_GROW: Duration = Duration::from_secs(3);

/// Mean wait before the first step, give or take half: a site's devices that come up together do not ask together.
const BEGIN_AFTER: Duration = Duration::from_secs(10);

/// Wait after a step that nobody answered: the network is down, or the servers are.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The measurement, if it is on.
#[derive(Debug, Default)]
pub(super) struct Lifetime {
    work: Option<Work>,
}

#[derive(Debug)]
struct Work {
    plan: Plan,
    /// So many silences, the shortest, are known to be survived.
    low: usize,
    /// The first of those that are known not to be.
    high: usize,
    is_proven: bool,
    step: Step,
}

/// Whom to ask for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// It makes the mapping.
    first: SocketAddr,
    proof: Proof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// An answer of the first server, asked for at this other one.
    LetIn { asked: SocketAddr, change: Change },
    /// The same outside port as before.
    SamePort,
}

#[derive(Debug)]
enum Step {
    Wait(Instant),
    Birth(Sample),
    /// Born, and asked once more then.
    Growth(Instant),
    Grown(Sample),
    Silence {
        until: Instant,
        seen: SocketAddr,
    },
    Proof {
        question: Sample,
        seen: SocketAddr,
    },
}

/// How a measurement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// A mapping survives at least so many seconds.
    Seconds(u16),
    /// It cannot be told here.
    Nothing,
}

impl Lifetime {
    /// Begins, unless it is on; says whether there is anything to measure.
    pub(super) fn begin(&mut self, card: &NatCard, grid: &Grid, rng: &mut Rng, now: Instant) -> bool {
        if self.work.is_none() {
            self.work = Plan::of(card, grid).map(|plan| Work {
                plan,
                low: 0,
                high: SILENCES_S.len(),
                is_proven: false,
                step: Step::Wait(now + rng.jitter(BEGIN_AFTER, 50)),
            });
        }
        self.work.is_some()
    }

    /// Whether it is on.
    pub(super) const fn is_on(&self) -> bool {
        self.work.is_some()
    }

    /// Ends it; says whether its socket is to be closed.
    pub(super) fn end(&mut self) -> bool {
        self.work.take().is_some()
    }

    /// Sends what is due. `Some` when it ended, and the socket is to be closed.
    pub(super) fn handle_timeout(
        &mut self,
        outbox: &mut Outbox,
        rng: &mut Rng,
        now: Instant,
    ) -> Option<Measured> {
        let work = self.work.as_mut()?;
        let is_over = match &work.step {
            Step::Birth(question) | Step::Grown(question) | Step::Proof { question, .. } => {
                question.is_over(now)
            }
            Step::Wait(at) | Step::Growth(at) | Step::Silence { until: at, .. } => *at <= now,
        };
        if is_over {
            let first = Sample::unhurried(SOCKET, work.plan.first, rng, now);
            work.step = match work.step {
                Step::Wait(_) => Step::Birth(first),
                Step::Growth(_) => Step::Grown(first),
                Step::Birth(_) | Step::Grown(_) => {
                    tracing::debug!("nobody answers who was to measure how long a mapping lives");
                    Step::Wait(now + rng.jitter(AGAIN_AFTER, 10))
                }
                Step::Silence { seen, .. } => Step::Proof { question: work.plan.question(rng, now), seen },
                Step::Proof { .. } => return self.judge(false, now),
            };
        }
        let (Step::Birth(question) | Step::Grown(question) | Step::Proof { question, .. }) = &mut work.step
        else {
            return None;
        };
        question.ask(now).into_iter().for_each(|transmit| outbox.push(transmit));
        None
    }

    /// Takes an answer; the first `None` if it answers no question of this measurement, the second while it goes on.
    pub(super) fn handle_datagram(
        &mut self,
        txid: &TransactionId,
        datagram: Datagram<'_>,
        now: Instant,
    ) -> Option<Result<Option<Measured>, Rejected>> {
        let work = self.work.as_mut()?;
        let (Step::Birth(question) | Step::Grown(question) | Step::Proof { question, .. }) = &work.step
        else {
            return None;
        };
        if question.txid != *txid {
            return None;
        }
        let answer = match question.answer(datagram) {
            Ok(answer) => answer,
            Err(rejected) => return Some(Err(rejected)),
        };
        match work.step {
            Step::Birth(_) => work.step = Step::Growth(now + TO_GROW),
            Step::Grown(_) => work.step = Step::Silence { until: now + work.silence(), seen: answer },
            Step::Proof { seen, .. } => {
                let is_alive = work.plan.proof != Proof::SamePort || seen == answer;
                return Some(Ok(self.judge(is_alive, now)));
            }
            Step::Wait(_) | Step::Growth(_) | Step::Silence { .. } => {}
        }
        Some(Ok(None))
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let at = match &self.work.as_ref()?.step {
            Step::Birth(question) | Step::Grown(question) | Step::Proof { question, .. } => {
                question.next_at()
            }
            Step::Wait(at) | Step::Growth(at) | Step::Silence { until: at, .. } => *at,
        };
        Some(Wakeup { at, why: "measure how long a mapping lives" })
    }

    /// A step is over: the next, or the end.
    fn judge(&mut self, is_alive: bool, now: Instant) -> Option<Measured> {
        let work = self.work.as_mut()?;
        tracing::debug!(silence_s = work.silence().as_secs(), is_alive, "a silent mapping was looked at");
        if !work.is_proven {
            if !is_alive {
                self.work = None;
                return Some(Measured::Nothing);
            }
            work.is_proven = true;
        } else if is_alive {
            work.low = work.next() + 1;
        } else {
            work.high = work.next();
        }
        if work.low < work.high {
            work.step = Step::Wait(now);
            return None;
        }
        let survived = work.low.checked_sub(1).and_then(|at| SILENCES_S.get(at));
        let seconds = survived.copied().unwrap_or(u16::try_from(NO_TIME.as_secs()).unwrap_or(1));
        self.work = None;
        Some(Measured::Seconds(seconds))
    }
}

impl Work {
    /// Which silence comes next.
    const fn next(&self) -> usize {
        if self.low == 0 && self.high == SILENCES_S.len() {
            FIRST
        } else {
            usize::midpoint(self.low, self.high)
        }
    }

    fn silence(&self) -> Duration {
        if !self.is_proven {
            return NO_TIME;
        }
        SILENCES_S.get(self.next()).map_or(NO_TIME, |seconds| Duration::from_secs((*seconds).into()))
    }
}

impl Plan {
    /// How to measure behind that NAT with those servers, if there is a way.
    fn of(card: &NatCard, grid: &Grid) -> Option<Self> {
        let [[first, second], [_, opposite]] = *grid;
        let first = first?;
        let is_steady = matches!(card.mapping?, Mapping::None | Mapping::EndpointIndependent);
        let proof = match (card.filtering?, opposite, second) {
            (Filtering::AddressDependent | Filtering::AddressAndPortDependent, Some(asked), _)
                if is_steady =>
            {
                Proof::LetIn { asked, change: Change { ip: true, port: true } }
            }
            (Filtering::AddressAndPortDependent, None, Some(asked)) if is_steady => {
                Proof::LetIn { asked, change: Change { ip: false, port: true } }
            }
            _ if is_steady => return None,
            _ => match card.ports? {
                PortPolicy::Sequential { .. } | PortPolicy::Block { .. } | PortPolicy::Random => {
                    Proof::SamePort
                }
                PortPolicy::Preserved => return None,
            },
        };
        Some(Self { first, proof })
    }

    fn question(&self, rng: &mut Rng, now: Instant) -> Sample {
        match self.proof {
            Proof::LetIn { asked, change } => {
                Sample::from_elsewhere(SOCKET, (asked, change), self.first, rng, now)
            }
            Proof::SamePort => Sample::unhurried(SOCKET, self.first, rng, now),
        }
    }
}
