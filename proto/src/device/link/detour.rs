//! The way round blocked UDP: a door, tried beside UDP and left for it.
//!
//! 1. Every try by UDP that stays without an answer for [`PATIENCE`] is followed by one at the door. Both run
//!    on; the first answer makes the session.
//! 2. While the session goes through the door, UDP is asked for a session of its own every [`UDP_AGAIN`], and
//!    at once when the network changes. Only its answer moves the link: what the door carries is never put at
//!    risk by a question.
//!
//! The program opens the connection with the first datagram to the door and closes it when none was sent for
//! a minute, so nothing here knows whether there is one.

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::door::is_door;
use lanyard_wire::ids::SessionIndex;

use super::Link;
use super::effort::{Effort, Way};
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};

/// How long a question by UDP may be unanswered before the same is asked at the door.
///
/// Longer than a round trip to any place on earth, so that a working UDP wins; short enough that a device
/// without UDP has its session half a second after it began.
const PATIENCE: Duration = Duration::from_millis(300);

/// Between two looks whether UDP works again.
const UDP_AGAIN: Duration = Duration::from_secs(60);

/// Between the questions to the addresses of a service that has several.
const NEXT_ADDR: Duration = Duration::from_secs(1);

/// The door of a service, and the try by the way not in use.
#[derive(Debug)]
pub(super) struct Detour {
    door: Option<SocketAddr>,
    effort: Option<(Effort, Instant)>,
    next_at: Option<Instant>,
    /// Which try the next one follows.
    number: u32,
    /// Which of the addresses UDP is asked at next.
    turn: usize,
}

impl Detour {
    /// No door is known.
    pub(super) const fn new() -> Self {
        Self { door: None, effort: None, next_at: None, number: 0, turn: 0 }
    }

    /// The door's address.
    pub(super) const fn door(&self) -> Option<SocketAddr> {
        self.door
    }

    /// Takes the door's address; says whether it is a new one.
    pub(super) fn set_door(&mut self, door: Option<SocketAddr>) -> bool {
        let is_new = self.door != door && door.is_some();
        self.door = door;
        is_new
    }

    /// The try under way.
    pub(super) fn effort(&self) -> Option<&Effort> {
        self.effort.as_ref().map(|(effort, _)| effort)
    }

    /// When it was sent.
    pub(super) fn asked_at(&self) -> Instant {
        self.effort.as_ref().map_or(Instant::ZERO, |(_, at)| *at)
    }

    /// Whether an answer with that index is to it.
    pub(super) fn owns(&self, index: SessionIndex) -> bool {
        self.effort().is_some_and(|effort| effort.index() == index)
    }

    /// Takes the try out.
    pub(super) const fn take(&mut self) -> Option<(Effort, Instant)> {
        self.effort.take()
    }

    /// A try was sent.
    pub(super) fn begin(&mut self, effort: Effort, now: Instant) {
        self.effort = Some((effort, now));
    }

    /// A try by UDP was made: the door follows, at once if there was no address to try.
    pub(super) fn follow(&mut self, is_alone: bool, number: u32, now: Instant) {
        if self.door.is_none() {
            return;
        }
        let at = if is_alone { now } else { now + PATIENCE };
        self.number = number;
        self.next_at = Some(self.next_at.filter(|next| *next > now).map_or(at, |next| next.min(at)));
    }

    /// The session goes through the door from now on; what UDP was asked may still be answered.
    pub(super) fn entered(&mut self, usual: Option<(Effort, Instant)>, rng: &mut Rng, now: Instant) {
        self.effort = usual;
        self.turn = 0;
        self.next_at = Some(now + rng.jitter(UDP_AGAIN, 10));
    }

    /// UDP is to be asked now.
    pub(super) const fn hurry(&mut self, now: Instant) {
        self.turn = 0;
        self.next_at = Some(now);
    }

    /// The service asks for patience.
    pub(super) const fn try_at(&mut self, at: Instant) {
        self.next_at = Some(at);
    }

    /// The usual way works: nothing to do here.
    pub(super) fn settle(&mut self) {
        self.effort = None;
        self.next_at = None;
    }

    /// Is a try due?
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_at.is_some_and(|at| at <= now)
    }

    /// When the next try is due.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        self.next_at.map(|at| Wakeup { at, why: "try the other way" })
    }
}

impl Link {
    /// The session goes through the door.
    pub(in crate::device) fn is_detoured(&self) -> bool {
        self.session.as_ref().is_some_and(|(session, _)| is_door(session.remote))
    }

    /// A try was sent that way.
    pub(super) fn begin(&mut self, way: Way, effort: Effort, now: Instant) {
        match way {
            Way::Usual => (self.effort, self.effort_at) = (Some(effort), now),
            Way::Other => self.detour.begin(effort, now),
        }
    }

    /// Makes the try that is due: at the door while UDP is silent, by UDP while the door is in use.
    pub(super) fn try_other_way(&mut self, now: Instant) {
        self.detour.next_at = None;
        if self.effort.is_some() || self.session.is_none() {
            let Some(door) = self.detour.door else { return };
            self.retries = 0;
            let with_ticket = self.shows_ticket(self.detour.number, now);
            self.ask_for_session(Way::Other, door, with_ticket, now);
        } else if self.is_detoured() {
            let remote = self.pick(self.detour.turn);
            self.detour.turn = self.detour.turn.wrapping_add(1);
            let is_round = self.detour.turn >= self.addrs.len();
            if is_round {
                self.detour.turn = 0;
            }
            let wait = if is_round { self.rng.jitter(UDP_AGAIN, 10) } else { NEXT_ADDR };
            self.detour.next_at = Some(now + wait);
            let Some(remote) = remote else { return };
            self.retries = 0;
            let with_ticket = self.has_good_ticket(now);
            self.ask_for_session(Way::Other, remote, with_ticket, now);
        }
    }
}
