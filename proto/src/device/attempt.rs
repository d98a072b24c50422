//! One try after another to get a direct path to one peer.
//!
//! 1. *Asking*: the checkpoint is asked to begin an attempt, or the peer did and we are invited.
//! 2. *Offered*: HANDSHAKE has our candidates and waits for the peer's.
//! 3. *Punching*: both ends were told to go and probe each other.
//! 4. *Direct* when a path was proven, otherwise *relayed* until it is time to try again.
//!
//! Two ends may begin at the same moment under different attempt ids; both ids are offered, whichever is
//! told to go first punches, and probes are understood under either. Which path datagrams take is decided
//! in `path` and `peer`: an attempt runs beside the traffic and never stops it.

mod facts;
mod retry;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use lanyard_wire::candidate::Candidate;
use lanyard_wire::checkpoint::BeginOutcome;
use lanyard_wire::door::is_door;
use lanyard_wire::handshake::{Go, Method, Verdict};
use lanyard_wire::ids::AttemptId;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::nat::NatCard;
use lanyard_wire::token::Token;

use self::retry::Retry;
use super::candidates::Rank;
use super::guess::Guess;
use super::punch::{Probe, Punch};
use super::ration::Ration;
use super::status::{Advice, CandidateStatus};
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{SocketId, Way};

/// A checkpoint that has not answered by then is taken to be away; its questions are repeated meanwhile.
const ASKING_MAX: Duration = Duration::from_secs(5);

/// HANDSHAKE keeps a lonely offer for ten seconds (docs/protocol.md); waiting longer is in vain.
const OFFERED_MAX: Duration = Duration::from_secs(10);

/// Guesses of hundreds of packets that this peer may have of us: so many at once, and one more each time this passes.
///
/// HANDSHAKE rations them as well, for two networks. But this end pays for them, and neither a coordinator nor a member who has
/// many addresses should say how often we knock at a thousand ports of somebody.
const GUESSES: u32 = 6;
const GUESS_EVERY: Duration = Duration::from_secs(600);

/// Offers that may be out at once: one of ours, one of the peer's, and one to spare.
const OFFERS_MAX: usize = 3;

/// What the device has to do for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptWish {
    /// Ask the checkpoint to begin.
    Begin { coordinator: PublicKey },
    /// Tell HANDSHAKE where we may be reached.
    Offer { coordinator: PublicKey, attempt: AttemptId, ticket: Token, handshake: u8 },
    /// Stop repeating that.
    Cancel { coordinator: PublicKey, attempt: AttemptId },
    /// Tell HANDSHAKE what came of it.
    Report { coordinator: PublicKey, attempt: AttemptId, verdict: Verdict },
}

/// How the pair stands while an attempt runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The direct path and its round trip.
    pub(super) direct: Option<(Way, Duration)>,
    /// A relay would carry the pair.
    pub(super) has_relay: bool,
    /// Small probes pass, full-size ones do not.
    pub(super) is_full_size_lost: bool,
}

/// The tries to reach one peer.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    state: State,
    coordinator: Option<PublicKey>,
    standing: Standing,
    offers: VecDeque<(PublicKey, AttemptId)>,
    retry: Retry,
    method: Option<Method>,
    their_card: Option<NatCard>,
    tried: Vec<CandidateStatus>,
    guessed: u32,
    ration: Ration,
    failure: Option<Advice>,
    wishes: VecDeque<AttemptWish>,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    Asking {
        coordinator: PublicKey,
        since: Instant,
    },
    Offered {
        since: Instant,
    },
    Punching {
        coordinator: PublicKey,
        attempt: AttemptId,
        punch: Punch,
        /// The direct path from before, which proves nothing about this punch.
        before: Option<Way>,
        /// What is tried beside it where no candidate names the right port.
        guess: Option<Box<Guess>>,
        is_reported: bool,
    },
    Direct,
    Relayed {
        retry_at: Instant,
    },
}

impl Attempt {
    /// Nothing was tried yet.
    pub(super) const fn new(rng: Rng) -> Self {
        Self {
            state: State::Idle,
            coordinator: None,
            standing: Standing { direct: None, has_relay: false, is_full_size_lost: false },
            offers: VecDeque::new(),
            retry: Retry::new(),
            method: None,
            their_card: None,
            tried: Vec::new(),
            guessed: 0,
            ration: Ration::full(),
            failure: None,
            wishes: VecDeque::new(),
            rng,
        }
    }

    /// Which coordinator can begin attempts, if any answers.
    pub(super) fn set_coordinator(&mut self, coordinator: Option<PublicKey>) {
        self.coordinator = coordinator;
    }

    /// How the pair stands; a direct path found is reported at once.
    pub(super) fn set_standing(&mut self, standing: Standing) {
        self.standing = standing;
        let Some((way, rtt)) = standing.direct else { return };
        match &mut self.state {
            // The peer may have moved, and our own silence not have lasted long enough to tell.
            State::Punching { before, .. } if *before == Some(way) => {}
            State::Punching { coordinator, attempt, punch, guess, is_reported, .. } => {
                punch.narrow(Rank::of(way.remote));
                if let Some(guess) = guess {
                    guess.hit();
                }
                let (coordinator, attempt) = (*coordinator, *attempt);
                if !core::mem::replace(is_reported, true) {
                    self.report_direct(coordinator, attempt, way.remote, rtt);
                }
                self.retry.forget();
            }
            State::Idle | State::Relayed { .. } => {
                self.state = State::Direct;
                self.retry.forget();
            }
            State::Asking { .. } | State::Offered { .. } | State::Direct => {}
        }
    }

    /// Traffic wants a path: tries unless something is under way or failed lately.
    pub(super) fn want(&mut self, now: Instant) {
        if matches!(self.state, State::Idle) {
            self.begin(now);
        }
    }

    /// What was learnt before holds no more (a path died, a network or a NAT changed): tries at once.
    pub(super) fn restart(&mut self, now: Instant) {
        self.retry.forget();
        if matches!(self.state, State::Asking { .. } | State::Offered { .. }) {
            // What was offered may be out of date.
            self.retry.set_stale(true);
            return;
        }
        self.begin(now);
    }

    /// The peer is heard again: if the last try failed for want of it, the next one comes now.
    pub(super) fn peer_returned(&mut self, now: Instant) {
        if matches!(self.state, State::Relayed { .. }) && self.failure == Some(Advice::PeerOffline) {
            self.begin(now);
        }
    }

    /// Nobody wants a path any more.
    pub(super) fn rest(&mut self) {
        self.cancel_offers();
        self.keep_tried();
        self.state = State::Idle;
        self.retry.forget();
        self.retry.set_stale(false);
    }

    /// The checkpoint answered our question.
    pub(super) fn began(&mut self, coordinator: PublicKey, outcome: BeginOutcome, now: Instant) {
        let is_asking =
            matches!(self.state, State::Asking { coordinator: asked, .. } if asked == coordinator);
        match outcome {
            BeginOutcome::Started { attempt, ticket, handshake } => {
                self.offer(coordinator, attempt, ticket, handshake, now);
            }
            BeginOutcome::Offline if is_asking => self.fail(Advice::PeerOffline, now),
            BeginOutcome::Refused if is_asking => self.fail(Advice::RefusedThere, now),
            BeginOutcome::NoSharedNetwork if is_asking => self.fail(Advice::NoSharedNetwork, now),
            // Late answers to a question that something else overtook.
            BeginOutcome::Offline | BeginOutcome::Refused | BeginOutcome::NoSharedNetwork => {}
        }
    }

    /// Offers our candidates for an attempt that the peer, or we, began.
    pub(super) fn offer(
        &mut self,
        coordinator: PublicKey,
        attempt: AttemptId,
        ticket: Token,
        handshake: u8,
        now: Instant,
    ) {
        if self.offers.iter().any(|offer| *offer == (coordinator, attempt)) {
            return;
        }
        if self.offers.len() >= OFFERS_MAX
            && let Some((coordinator, attempt)) = self.offers.pop_front()
        {
            self.wishes.push_back(AttemptWish::Cancel { coordinator, attempt });
        }
        self.offers.push_back((coordinator, attempt));
        self.wishes.push_back(AttemptWish::Offer { coordinator, attempt, ticket, handshake });
        self.retry.begin(now);
        if !matches!(self.state, State::Punching { .. }) {
            self.state = State::Offered { since: now };
        }
    }

    /// Whether HANDSHAKE has an offer of ours for this attempt.
    pub(super) fn has_offered(&self, coordinator: PublicKey, attempt: AttemptId) -> bool {
        self.offers.iter().any(|offer| *offer == (coordinator, attempt))
    }

    /// HANDSHAKE has both offers: punch. Says whether the attempt was one of ours.
    ///
    /// `sockets` are those opened for it: to guess with, or the one to punch from if the method is fresh; `ours` is the card
    /// of our NAT.
    pub(super) fn go(
        &mut self,
        coordinator: PublicKey,
        go: &Go,
        candidates: &[Candidate],
        sockets: &[SocketId],
        ours: &NatCard,
        rtt: Option<Duration>,
        now: Instant,
    ) -> bool {
        let Some(at) = self.offers.iter().position(|offer| *offer == (coordinator, go.attempt)) else {
            return false;
        };
        self.offers.remove(at);
        self.method = Some(go.method);
        self.their_card = Some(go.card);
        self.retry.told(go, ours);
        let start = now + Duration::from_millis(u64::from(go.start_after_ms));
        let may_guess = !Guess::is_dear(go.method) || self.ration.take(GUESSES, GUESS_EVERY, now);
        let guess = may_guess.then(|| Guess::new(go, candidates, sockets, start, &mut self.rng)).flatten();
        let guess = guess.map(Box::new);
        let punch = Punch::new(candidates, start, rtt);
        let before = self.standing.direct.map(|(way, _)| way);
        let punch = match (go.method, sockets) {
            (Method::Fresh, [fresh, ..]) => punch.from(*fresh),
            _ => punch,
        };
        let attempt = go.attempt;
        self.state = State::Punching { coordinator, attempt, punch, before, guess, is_reported: false };
        self.handle_timeout(now);
        true
    }

    /// HANDSHAKE does not take an offer.
    pub(super) fn offer_rejected(&mut self, attempt: AttemptId, now: Instant) {
        self.offers.retain(|(_, offered)| *offered != attempt);
        if self.offers.is_empty() && matches!(self.state, State::Offered { .. }) {
            self.fail(Advice::CoordinatorUnreachable, now);
        }
    }

    /// An authenticated ping came this way.
    pub(super) fn heard_from(&mut self, way: Way, now: Instant) {
        if let State::Punching { punch, guess, .. } = &mut self.state {
            punch.heard_from(way, now);
            punch.handle_timeout(now);
            if let Some(guess) = guess {
                guess.hit();
            }
        }
    }

    /// An authenticated answer came this way.
    pub(super) fn answered(&mut self, way: Way) {
        if let State::Punching { punch, guess, .. } = &mut self.state {
            punch.answered(way);
            if let Some(guess) = guess {
                guess.hit();
            }
        }
    }

    /// Moves on when time is spent.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Asking { since, .. } if *since + ASKING_MAX <= now => {
                self.fail(Advice::CoordinatorUnreachable, now);
            }
            State::Offered { since } if *since + OFFERED_MAX <= now => self.fail(Advice::PeerOffline, now),
            State::Punching { punch, guess, .. } => {
                if let Some(guess) = guess {
                    guess.handle_timeout(now);
                }
                punch.handle_timeout(now);
                if punch.is_over(now) && guess.as_ref().is_none_or(|guess| guess.is_over(now)) {
                    self.end_punch(now);
                }
            }
            State::Relayed { retry_at } if *retry_at <= now => self.begin(now),
            State::Idle
            | State::Asking { .. }
            | State::Offered { .. }
            | State::Direct
            | State::Relayed { .. } => {}
        }
    }

    /// What to do for the attempt.
    pub(super) fn poll_wish(&mut self) -> Option<AttemptWish> {
        self.wishes.pop_front()
    }

    /// The next probe to send.
    pub(super) fn poll_probe(&mut self) -> Option<Probe> {
        match &mut self.state {
            // The guess first: where ports are counted, each new mapping takes one.
            State::Punching { punch, guess, .. } => {
                guess.as_mut().and_then(|guess| guess.poll_probe()).or_else(|| punch.poll_probe())
            }
            State::Idle
            | State::Asking { .. }
            | State::Offered { .. }
            | State::Direct
            | State::Relayed { .. } => None,
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        match &self.state {
            State::Idle | State::Direct => None,
            State::Asking { since, .. } => {
                Some(Wakeup { at: *since + ASKING_MAX, why: "no checkpoint answers" })
            }
            State::Offered { since } => {
                Some(Wakeup { at: *since + OFFERED_MAX, why: "the peer does not offer" })
            }
            State::Punching { punch, guess, .. } => {
                let guess = guess.as_deref();
                let stop_at = punch.stop_at().max(guess.map(Guess::stop_at));
                let stop = stop_at.map(|at| Wakeup { at, why: "the time of a punch is spent" });
                [punch.next_probe(), guess.and_then(Guess::next_probe)]
                    .into_iter()
                    .fold(stop, Wakeup::earliest)
            }
            State::Relayed { retry_at } => Some(Wakeup { at: *retry_at, why: "try again for a direct path" }),
        }
    }

    fn begin(&mut self, now: Instant) {
        let retry_at = self.retry.not_before(now);
        if retry_at > now {
            // A punch that found its path has nothing left to find, now that this is dead.
            if self.is_running() && !matches!(self.state, State::Punching { is_reported: true, .. }) {
                self.retry.set_stale(true);
            } else {
                self.keep_tried();
                self.state = State::Relayed { retry_at };
            }
            return;
        }
        self.keep_tried();
        self.retry.set_stale(false);
        let Some(coordinator) = self.coordinator else {
            self.fail(Advice::CoordinatorUnreachable, now);
            return;
        };
        self.retry.begin(now);
        self.state = State::Asking { coordinator, since: now };
        self.wishes.push_back(AttemptWish::Begin { coordinator });
    }

    fn end_punch(&mut self, now: Instant) {
        let State::Punching { coordinator, attempt, is_reported, .. } = self.state else { return };
        if let Some((way, rtt)) = self.standing.direct {
            if !is_reported {
                self.report_direct(coordinator, attempt, way.remote, rtt);
            }
            self.keep_tried();
            self.cancel_offers();
            self.failure = None;
            self.retry.set_stale(false);
            self.state = State::Direct;
            return;
        }
        let verdict = if self.standing.has_relay { Verdict::Relayed } else { Verdict::None };
        self.wishes.push_back(AttemptWish::Report { coordinator, attempt, verdict });
        let why = if self.standing.is_full_size_lost { Advice::FullSizeLost } else { Advice::ProbesLost };
        self.fail(why, now);
    }

    fn fail(&mut self, why: Advice, now: Instant) {
        self.keep_tried();
        self.cancel_offers();
        self.failure = Some(why);
        if self.standing.direct.is_some() {
            self.state = State::Direct;
            return;
        }
        let is_punched = matches!(why, Advice::ProbesLost | Advice::FullSizeLost);
        let has_other_plan = is_punched && self.method.is_some_and(|method| method != Method::Relay);
        self.state = State::Relayed { retry_at: self.retry.failed(has_other_plan, &mut self.rng, now) };
    }

    fn report_direct(
        &mut self,
        coordinator: PublicKey,
        attempt: AttemptId,
        remote: SocketAddr,
        rtt: Duration,
    ) {
        // What stands for a connection means nothing to others.
        let remote = if is_door(remote) { (Ipv4Addr::UNSPECIFIED, 0).into() } else { remote };
        let rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        let verdict = Verdict::Direct { remote, rtt_us };
        self.wishes.push_back(AttemptWish::Report { coordinator, attempt, verdict });
    }

    fn cancel_offers(&mut self) {
        for (coordinator, attempt) in self.offers.drain(..) {
            self.wishes.push_back(AttemptWish::Cancel { coordinator, attempt });
        }
    }

    fn keep_tried(&mut self) {
        if let State::Punching { punch, guess, .. } = &self.state {
            self.tried = punch.tried();
            self.guessed = guess.as_ref().map_or(0, |guess| guess.sent());
        }
    }
}

#[cfg(test)]
mod tests;
