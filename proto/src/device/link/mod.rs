//! One session with one service, kept alive and brought back.
//!
//! A link that should stand tries until it does: it shows its ticket twice (RESUME, one round trip, no key
//! exchange), then begins a key exchange (HELLO), and so on, quickly at first, then with growing pauses. While
//! it stands it sends keep-alives; silence after two asks, or an UNKNOWN that quotes something lately sent,
//! makes it try for a new session *beside* the old one, which is used until the new one stands or the old
//! one is given up. Nothing unauthenticated ends a session or moves it.
//!
//! The service finds the session by its index: when a NAT gives us another address, the next datagram moves
//! it. [`Link::poke`] is that datagram, now.
//!
//! One of the addresses may be a door (`lanyard_wire::door`). It is tried beside the others where these stay
//! silent, and left as soon as one of them answers: `detour`.

mod detour;
mod effort;
mod inbound;
mod outbound;
mod pace;
mod session;

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::codec::Wire as _;
use lanyard_wire::door::is_door;
use lanyard_wire::envelope;
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::seal::Ticket;
use lanyard_wire::session::FromDevice;

use self::detour::Detour;
use self::effort::{Cookie, Effort, Way, Won};
use self::inbound::receiver;
use self::pace::{Care, Health, Pace, TRIES_TO_OFFLINE};
use self::session::Session;
use super::coordinator::Shared;
use super::netcheck::KEEP_ALIVE;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, Outbox, SocketId, Transmit};

/// Every how many tries a key exchange is begun although there is a ticket, which may be refused in silence.
const HELLO_EVERY: u32 = 3;

/// Seconds that one ticket key is in use. A ticket carries its key's number: hours since 1970.
const TICKET_EPOCH_S: u64 = 3_600;

/// Older keys that a service keeps. With an older ticket the key exchange comes first, which is faster than
/// being refused in silence.
const TICKET_EPOCHS: u64 = 2;

/// Age at which the keys of a session are agreed anew.
const KEYS_AGE: Duration = Duration::from_secs(24 * 3_600);

/// Least time between two pokes that send something.
const POKE_GAP: Duration = Duration::from_millis(100);

/// Least time between two tries that pokes bring forward.
const HURRY_GAP: Duration = Duration::from_secs(1);

/// Addresses kept per service.
const ADDRS_MAX: usize = 8;

/// How a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// First tries.
    Connecting,
    /// A session stands.
    Open {
        /// Our address as the service saw it.
        observed: SocketAddr,
        /// Round trip, once measured.
        rtt: Option<Duration>,
    },
    /// No answer since then.
    Lost {
        /// Since then.
        since: Instant,
    },
}

/// What a link tells the coordinator it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkEvent {
    /// A new session stands: what the service knew of us may be gone.
    Opened,
    /// The session is given up.
    Lost,
    /// A ticket to keep.
    Ticket,
    /// The session does not answer, or does again: [`Link::is_silent`].
    Silence,
}

/// Does the message sent have an answer of its own?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Yes, or a repetition: silence makes the session doubtful.
    Answer,
    /// No.
    Nothing,
}

/// The link.
#[derive(Debug)]
pub(super) struct Link {
    key: PublicKey,
    addrs: Vec<SocketAddr>,
    /// Which of the addresses answered last, and how many of each kind of question were sent since.
    good: usize,
    resumes: usize,
    hellos: usize,
    shared: Arc<Shared>,
    rng: Rng,
    ticket: Option<(Ticket, SymmetricKey)>,
    cookie: Option<Cookie>,
    retries: u8,
    timestamp_ms: u64,
    session: Option<(Session, Health)>,
    effort: Option<Effort>,
    /// When the question of the effort was sent: its answer tells the round trip.
    effort_at: Instant,
    /// The door, and what is tried by the way that is not in use.
    detour: Detour,
    pace: Pace,
    /// Mean time between keep-alives.
    keep_alive: Duration,
    /// When the keys are to be agreed anew.
    rekey_at: Instant,
    hinted_at: Option<Instant>,
    state: LinkState,
    since: Instant,
    closed: bool,
    outbox: Outbox,
    events: VecDeque<LinkEvent>,
}

impl Link {
    /// A link that begins to try at once.
    pub(super) fn new(
        key: PublicKey,
        addrs: Vec<SocketAddr>,
        ticket: Option<(Ticket, SymmetricKey)>,
        shared: Arc<Shared>,
        rng: Rng,
        now: Instant,
    ) -> Self {
        let mut link = Self {
            key,
            addrs: Vec::new(),
            good: 0,
            resumes: 0,
            hellos: 0,
            shared,
            rng,
            ticket,
            cookie: None,
            retries: 0,
            timestamp_ms: 0,
            session: None,
            effort: None,
            effort_at: now,
            detour: Detour::new(),
            pace: Pace::new(),
            keep_alive: KEEP_ALIVE,
            rekey_at: now + KEYS_AGE,
            hinted_at: None,
            state: LinkState::Connecting,
            since: now,
            closed: false,
            outbox: Outbox::new(),
            events: VecDeque::new(),
        };
        link.set_addrs(addrs, now);
        link
    }

    /// Names the addresses to try, best first; a door among them is kept for when the others stay silent.
    pub(super) fn set_addrs(&mut self, mut addrs: Vec<SocketAddr>, now: Instant) {
        let has_new_door = self.detour.set_door(addrs.iter().copied().find(|addr| is_door(*addr)));
        addrs.retain(|addr| !is_door(*addr));
        addrs.truncate(ADDRS_MAX);
        if self.addrs == addrs && !has_new_door {
            return;
        }
        self.addrs = addrs;
        self.good = 0;
        let moved = self.session.as_ref().is_some_and(|(session, _)| !self.is_named(session.remote));
        if self.session.is_none() || moved {
            self.pace.reset();
            self.doubt(now);
        }
    }

    /// How the link stands.
    pub(super) fn state(&self) -> LinkState {
        match (self.state, &self.session) {
            (LinkState::Open { observed, .. }, Some((_, health))) => {
                LinkState::Open { observed, rtt: health.rtt() }
            }
            (state, _) => state,
        }
    }

    /// A session stands, doubted or not.
    pub(super) const fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Where the service is, or would be looked for first.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        match &self.session {
            Some((session, _)) => Some(session.remote),
            None => {
                let first = self.addrs.get(self.good).or_else(|| self.addrs.first());
                first.copied().or(self.detour.door())
            }
        }
    }

    /// The ticket and its secret.
    pub(super) const fn ticket(&self) -> Option<&(Ticket, SymmetricKey)> {
        self.ticket.as_ref()
    }

    /// Takes a ticket that came in a message of this session.
    pub(super) fn set_ticket(&mut self, ticket: Ticket) {
        if let Some((session, _)) = &self.session {
            self.ticket = Some((ticket, session.resumption().clone()));
            self.events.push_back(LinkEvent::Ticket);
        }
    }

    /// Is this datagram for this link? By the index it carries, or, for a hint, by the address it claims.
    pub(super) fn owns(&self, datagram: &Datagram<'_>) -> bool {
        if datagram.bytes.first() == Some(&envelope::UNKNOWN) {
            return self.is_at(datagram.remote);
        }
        let Some(index) = receiver(datagram.bytes) else { return false };
        self.session.as_ref().is_some_and(|(session, _)| session.local_index == index)
            || self.effort.as_ref().is_some_and(|effort| effort.index() == index)
            || self.detour.owns(index)
    }

    /// Is that the service's address?
    pub(super) fn is_at(&self, remote: SocketAddr) -> bool {
        self.session.as_ref().is_some_and(|(session, _)| session.remote == remote) || self.is_named(remote)
    }

    fn is_named(&self, remote: SocketAddr) -> bool {
        self.addrs.contains(&remote) || self.detour.door() == Some(remote)
    }

    /// Makes the service hear us from where we are now, and answer: at once, not oftener than useful.
    pub(super) fn poke(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if let Some((_, health)) = &mut self.session
            && health.rested(POKE_GAP, now)
        {
            health.poked(now);
            self.seal(true, &[], now);
        }
        let trying = self.session.is_none() || self.effort.is_some();
        if trying && self.pace.rested(HURRY_GAP, now) {
            self.try_again(now);
        }
    }

    /// The network is another one: old pauses and cookies mean nothing.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.cookie = None;
        self.pace.reset();
        if let Some((_, health)) = &mut self.session {
            health.moved();
        }
        if self.session.is_none() && !self.closed {
            self.try_again(now);
        } else {
            self.poke(now);
            if self.is_detoured() {
                self.detour.hurry(now);
            }
        }
    }

    /// Says good-bye and stays silent.
    pub(super) fn close(&mut self, now: Instant) {
        self.seal(false, &FromDevice::Bye.to_bytes(), now);
        self.closed = true;
        self.session = None;
        self.effort = None;
        self.detour.settle();
        self.pace.settle();
    }

    /// Keep-alives, asks, tries.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        while let Some(care) = self.session.as_mut().and_then(|(_, health)| health.care(now)) {
            match care {
                Care::KeepAlive => {
                    self.seal(false, &[], now);
                    if let Some((_, health)) = &mut self.session {
                        health.sent_keep_alive();
                    }
                }
                Care::Ask => self.ask(now),
                Care::Doubt => self.doubt(now),
            }
        }
        if self.session.is_some() && self.effort.is_none() && self.rekey_at <= now {
            self.doubt(now);
        }
        if self.pace.next_at().is_some_and(|at| at <= now) {
            self.try_again(now);
        }
        if self.detour.is_due(now) {
            self.try_other_way(now);
        }
    }

    /// The next datagram to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop()
    }

    /// The next fact for the coordinator.
    pub(super) fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// When to call [`Link::handle_timeout`] next.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        if self.closed {
            return None;
        }
        let care = self.session.as_ref().map(|(_, health)| {
            let (at, why) = health.next_at();
            Wakeup { at, why }
        });
        let try_again = self.pace.next_at().map(|at| Wakeup { at, why: "try for a session" });
        Wakeup::earliest(Wakeup::earliest(care, try_again), self.detour.poll_timeout())
    }

    fn ask(&mut self, now: Instant) {
        self.seal(true, &[], now);
        if self.session.as_mut().is_some_and(|(_, health)| health.asked(now)) {
            self.events.push_back(LinkEvent::Silence);
        }
    }

    /// Begins to try for a new session, beside the old one if there is one.
    fn doubt(&mut self, now: Instant) {
        if self.closed || self.effort.is_some() {
            return;
        }
        if self.session.as_ref().is_some_and(|(_, health)| health.is_good(now)) {
            self.pace.reset();
        }
        self.try_again(now);
    }

    /// Makes the next try.
    fn try_again(&mut self, now: Instant) {
        if self.addrs.is_empty() && self.detour.door().is_none() {
            self.pace.settle();
            return;
        }
        let number = self.pace.tried(self.addrs.len().max(1), &mut self.rng, now);
        if number + 1 >= TRIES_TO_OFFLINE {
            self.give_up(now);
        }
        self.detour.follow(self.addrs.is_empty(), number, now);
        self.retries = 0;
        let with_ticket = self.shows_ticket(number, now);
        let turn = if with_ticket { &mut self.resumes } else { &mut self.hellos };
        let place = *turn;
        *turn = turn.wrapping_add(1);
        let Some(remote) = self.pick(place) else { return };
        self.ask_for_session(Way::Usual, remote, with_ticket, now);
    }

    /// Shows the ticket, or begins a key exchange.
    fn ask_for_session(&mut self, way: Way, remote: SocketAddr, with_ticket: bool, now: Instant) {
        if with_ticket {
            self.resume(way, remote, now);
        } else {
            self.greet(way, remote, now);
        }
    }

    fn shows_ticket(&self, number: u32, now: Instant) -> bool {
        self.has_good_ticket(now) && number % HELLO_EVERY != HELLO_EVERY - 1
    }

    /// A ticket that a service may still open, unless fresh keys are due.
    fn has_good_ticket(&self, now: Instant) -> bool {
        let epoch = self.shared.wall.unix_s(now) / TICKET_EPOCH_S;
        let is_fresh = |ticket: &Ticket| epoch.saturating_sub(u64::from(ticket.key_id())) <= TICKET_EPOCHS;
        self.rekey_at > now && self.ticket.as_ref().is_some_and(|(ticket, _)| is_fresh(ticket))
    }

    fn resume(&mut self, way: Way, remote: SocketAddr, now: Instant) {
        let timestamp_ms = self.timestamp(now);
        let Some(ticket) = &self.ticket else { return };
        let (effort, bytes) = Effort::resume(ticket, self.shared.boot, timestamp_ms, &mut self.rng);
        self.begin(way, effort, now);
        self.outbox.push(Transmit { local: SocketId::MAIN, remote, bytes });
    }

    fn greet(&mut self, way: Way, remote: SocketAddr, now: Instant) {
        let timestamp_ms = self.timestamp(now);
        let cookie = self.cookie.filter(|cookie| cookie.remote == remote);
        let identity = &self.shared.identity;
        let greeting =
            Effort::greet(identity, &self.key, cookie, self.shared.boot, timestamp_ms, &mut self.rng);
        let Some((effort, bytes)) = greeting else { return };
        self.begin(way, effort, now);
        self.outbox.push(Transmit { local: SocketId::MAIN, remote, bytes });
    }

    /// A session stands, asked for at `asked_at`.
    fn open(&mut self, won: Won, asked_at: Instant, now: Instant) {
        let Won { session, observed, ticket } = won;
        let rtt = Some(now.saturating_since(asked_at));
        if let Some(place) = self.addrs.iter().position(|addr| *addr == session.remote) {
            (self.good, self.resumes, self.hellos) = (place, 0, 0);
        }
        let usual = self.effort.take().map(|effort| (effort, self.effort_at));
        if is_door(session.remote) {
            self.detour.entered(usual, &mut self.rng, now);
        } else {
            self.detour.settle();
        }
        self.pace.settle();
        self.session = Some((session, Health::new(rtt, self.keep_alive, &mut self.rng, now)));
        self.state = LinkState::Open { observed, rtt };
        if let Some(ticket) = ticket {
            self.set_ticket(ticket);
        }
        self.events.push_back(LinkEvent::Opened);
        // The first datagram under the new keys is what ends the old session at the service.
        self.ask(now);
    }

    /// Stops using a session that does not answer.
    fn give_up(&mut self, now: Instant) {
        if let Some((_, health)) = self.session.take() {
            self.since = health.heard_at();
        } else if matches!(self.state, LinkState::Lost { .. }) {
            return;
        }
        self.state = LinkState::Lost { since: self.since.min(now) };
        self.events.push_back(LinkEvent::Lost);
    }

    fn pick(&self, turn: usize) -> Option<SocketAddr> {
        let place = self.good.wrapping_add(turn).checked_rem(self.addrs.len())?;
        self.addrs.get(place).copied()
    }

    /// Wall time for a first message, later than that of the one before.
    fn timestamp(&mut self, now: Instant) -> u64 {
        self.timestamp_ms = self.shared.wall.unix_ms(now).max(self.timestamp_ms.saturating_add(1));
        self.timestamp_ms
    }
}
