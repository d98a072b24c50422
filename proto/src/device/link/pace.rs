//! How fast to try, and how to notice that a service is gone.

use core::time::Duration;

use super::Link;
use crate::backoff::Backoff;
use crate::rng::Rng;
use crate::time::Instant;

/// Every how many keep-alives an answer is asked for. An answer costs the service a seal.
const ASK_EVERY: u8 = 4;

/// Asks that may go unanswered before the session is doubted.
const ASKS: u8 = 2;

/// First wait for an answer, and for a try.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Tries in quick order: 0, 0.25, 0.75, 1.75, 2.75, 3.75 s. A restarted coordinator is back within them.
const QUICK_TRIES: u32 = 6;

/// Longest wait between quick tries.
const QUICK_CAP: Duration = Duration::from_secs(1);

/// First and longest wait between the tries that follow, with full jitter: a coordinator that comes back
/// after an hour must not meet everybody in the same second.
const SLOW: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// A session that lived this long was a good one: the next tries begin quickly again.
const HEALTHY: Duration = Duration::from_secs(60);

/// Tries after which we say that there is no answer, 1.75 s after the first.
pub(super) const TRIES_TO_OFFLINE: u32 = 4;

/// When to try for a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    quick: Backoff,
    slow: Backoff,
    /// When the newest try was made.
    tried_at: Option<Instant>,
    /// When the next one will be.
    next_at: Option<Instant>,
    /// Tries since somebody last answered; a round of slow ones counts once.
    tries: u32,
    /// Addresses tried in the present round.
    round: usize,
}

impl Pace {
    /// No try is due.
    pub(super) const fn new() -> Self {
        Self {
            quick: Backoff::new(FIRST_WAIT, QUICK_CAP),
            slow: Backoff::new(SLOW.0, SLOW.1),
            tried_at: None,
            next_at: None,
            tries: 0,
            round: 0,
        }
    }

    /// When the next try is due.
    pub(super) const fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Asks for a try at `at`.
    pub(super) fn try_at(&mut self, at: Instant) {
        self.next_at = Some(at);
    }

    /// An answer came that takes another question: leaves the same time again for that.
    pub(super) fn extend(&mut self, now: Instant) {
        let Some((tried_at, next_at)) = self.tried_at.zip(self.next_at) else { return };
        self.next_at = Some(next_at.max(now + now.saturating_since(tried_at) * 2));
    }

    /// The newest try is at least `gap` ago.
    pub(super) fn rested(&self, gap: Duration, now: Instant) -> bool {
        self.tried_at.is_none_or(|at| now.saturating_since(at) >= gap)
    }

    /// Notes a try made now, at one of so many addresses, and says which one it is, from 0 on.
    ///
    /// Before a long pause every address has its turn, or those that cannot answer, IPv6 where there is none,
    /// would double the pauses of the one that can.
    pub(super) fn tried(&mut self, addrs: usize, rng: &mut Rng, now: Instant) -> u32 {
        self.round = if self.quick.tries() < QUICK_TRIES { addrs } else { self.round % addrs.max(1) + 1 };
        let is_over = self.round >= addrs;
        let wait = match (self.quick.tries() < QUICK_TRIES, is_over) {
            (true, _) => self.quick.step(),
            (false, true) => self.slow.delay(rng),
            (false, false) => QUICK_CAP,
        };
        self.tried_at = Some(now);
        self.next_at = Some(now + wait);
        let number = self.tries;
        self.tries = self.tries.saturating_add(u32::from(is_over));
        number
    }

    /// A session stands: no more tries. How fast the next ones come depends on how long it lives.
    pub(super) const fn settle(&mut self) {
        self.next_at = None;
        self.tries = 0;
    }

    /// The next tries begin quickly.
    pub(super) fn reset(&mut self) {
        self.quick.reset();
        self.slow.reset();
    }
}

impl Link {
    /// Keep-alives are to come so often, on average.
    pub(in crate::device) const fn set_keep_alive(&mut self, every: Duration) {
        self.keep_alive = every;
        if let Some((_, health)) = &mut self.session {
            health.every = every;
        }
    }
}

/// Whether the session's other end lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    /// Mean time between keep-alives. The mapping they keep is the tunnel's own as well: while it stands, whoever wants a
    /// path to us reaches us by relay.
    every: Duration,
    opened_at: Instant,
    heard_at: Instant,
    keep_alive_at: Instant,
    /// Keep-alives sent since an answer was last asked for.
    unasked: u8,
    ask: Option<Ask>,
    /// An ask went unanswered, and nothing came since.
    is_silent: bool,
    rtt: Option<Duration>,
    /// It was measured elsewhere: the next sample takes its place.
    is_rtt_old: bool,
}

/// Something that should be answered.
#[derive(Clone, Copy, Debug)]
struct Ask {
    first_at: Instant,
    sent_at: Instant,
    due: Instant,
    /// Keep-alives with the flag sent by the schedule; none yet if a message began it.
    tries: u8,
    /// Only one datagram asked, so that its answer tells the round trip.
    single: bool,
}

/// What to do about a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Send a keep-alive.
    KeepAlive,
    /// Send a keep-alive that wants an answer.
    Ask,
    /// The other end is silent: try to get a new session.
    Doubt,
}

impl Health {
    /// A session that was just opened, with a keep-alive `every` so often.
    pub(super) fn new(rtt: Option<Duration>, every: Duration, rng: &mut Rng, now: Instant) -> Self {
        let keep_alive_at = now + rng.jitter(every, 10);
        Self {
            every,
            opened_at: now,
            heard_at: now,
            keep_alive_at,
            unasked: 0,
            ask: None,
            is_silent: false,
            rtt,
            is_rtt_old: true,
        }
    }

    /// Whether an ask went unanswered and nothing came since.
    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Smoothed round trip.
    pub(super) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The network is another one: what was measured holds until the next sample.
    pub(super) const fn moved(&mut self) {
        self.is_rtt_old = true;
    }

    /// When something authentic last came.
    pub(super) const fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// It lived long enough to count as good.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        now.saturating_since(self.opened_at) >= HEALTHY
    }

    /// When something is to be done, and what for.
    pub(super) fn next_at(&self) -> (Instant, &'static str) {
        match self.ask {
            Some(ask) if ask.due <= self.keep_alive_at => (ask.due, "answer overdue"),
            Some(_) | None => (self.keep_alive_at, "keep-alive"),
        }
    }

    /// What is due now, if anything.
    pub(super) fn care(&mut self, now: Instant) -> Option<Care> {
        if let Some(ask) = self.ask
            && ask.due <= now
        {
            if ask.tries < ASKS {
                return Some(Care::Ask);
            }
            self.ask = None;
            return Some(Care::Doubt);
        }
        if self.keep_alive_at > now {
            return None;
        }
        // A machine that slept does not know whether anything still stands.
        let slept = now.saturating_since(self.keep_alive_at) > self.every;
        Some(if slept || self.asks_next() { Care::Ask } else { Care::KeepAlive })
    }

    /// The next keep-alive asks for an answer, unless one is asked for already.
    pub(super) const fn asks_next(&self) -> bool {
        self.ask.is_none() && self.unasked + 1 >= ASK_EVERY
    }

    /// Something was sent: it is as good as a keep-alive.
    pub(super) fn sent(&mut self, rng: &mut Rng, now: Instant) {
        self.keep_alive_at = now + rng.jitter(self.every, 10);
    }

    /// A keep-alive was sent that asks for nothing.
    pub(super) const fn sent_keep_alive(&mut self) {
        self.unasked = self.unasked.saturating_add(1);
    }

    /// An answer was asked for, by the schedule; says whether that is because the one before got none, for the first time.
    pub(super) fn asked(&mut self, now: Instant) -> bool {
        self.unasked = 0;
        let before = self.ask.map_or(0, |ask| ask.tries);
        let first_at = self.ask.map_or(now, |ask| ask.first_at);
        let due = now + self.patience().saturating_mul(1 << before.min(4));
        self.ask = Some(Ask { first_at, sent_at: now, due, tries: before + 1, single: self.ask.is_none() });
        before > 0 && !core::mem::replace(&mut self.is_silent, true)
    }

    /// An answer was asked for out of turn: now, whatever the schedule says.
    pub(super) fn poked(&mut self, now: Instant) {
        match &mut self.ask {
            Some(ask) => {
                ask.sent_at = now;
                ask.single = false;
            }
            None => {
                self.asked(now);
            }
        }
    }

    /// The newest ask is at least `gap` ago.
    pub(super) fn rested(&self, gap: Duration, now: Instant) -> bool {
        self.ask.is_none_or(|ask| now.saturating_since(ask.sent_at) >= gap)
    }

    /// A message was sent that has an answer of its own.
    pub(super) fn expects(&mut self, now: Instant) {
        if self.ask.is_none() {
            let due = now + self.patience();
            self.ask = Some(Ask { first_at: now, sent_at: now, due, tries: 0, single: false });
        }
    }

    /// Something authentic came; says whether it broke a silence.
    pub(super) fn heard(&mut self, is_keep_alive: bool, now: Instant) -> bool {
        self.heard_at = now;
        let was_silent = core::mem::take(&mut self.is_silent);
        let Some(ask) = self.ask.take() else { return was_silent };
        if ask.single && is_keep_alive {
            let sample = now.saturating_since(ask.first_at);
            let old = self.rtt.filter(|_| !core::mem::take(&mut self.is_rtt_old));
            // RFC 6298, section 2.
            self.rtt = Some(old.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        }
        was_silent
    }

    /// How long to wait for an answer.
    fn patience(&self) -> Duration {
        self.rtt.map_or(FIRST_WAIT, |rtt| FIRST_WAIT.max(rtt * 2))
    }
}
