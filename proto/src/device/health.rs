//! Whether the direct path in use still answers.
//!
//! Nothing is asked while data flows both ways. Three things raise a suspicion: data went out and nothing came
//! back; a flow that was coming in stopped at once, which is how an end that only receives learns that
//! its NAT forgot it; or the peer went over to the relay. A suspect path is pinged quickly until it answers or is
//! lost. Once the first ping is overdue the path is doubtful: data takes the relay meanwhile, so that what TCP repeats
//! arrives. A path on which nothing was heard for long is pinged as well, so that NATs keep it open.

use core::time::Duration;

use super::flow::Flow;
use crate::time::{Instant, Wakeup};

/// Data went out and nothing came back for so long, one round trip aside: the path is suspect.
///
/// TCP that hears nothing repeats after two round trips, and again 200 ms and a round trip after that (RFC 8985, Linux):
/// with 80 ms at 160 and 440 ms. By then the path must be doubtful: 130 ms for this, or 200 if the report before the last was
/// still one of answers, and 120 for the ping.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// An answer may be later than a ping's by this: TCP waits up to 40 ms for a second segment before it says that it has one.
const ANSWER_DELAY: Duration = Duration::from_millis(50);

/// A suspect path is pinged so often.
const SUSPECT_EVERY: Duration = Duration::from_millis(60);

/// The first ping of a suspicion is overdue so long after its round trip: both ends may be busy.
///
/// Doubled for each doubt that turned out wrong, up to three times: where much is lost a missing answer says little.
const OVERDUE: Duration = Duration::from_millis(40);
const ALARMS_MAX: u32 = 3;

/// A suspect path without an answer is lost after this, or three round trips if they are longer.
///
/// Seven pings: at 5 % loss each way all of them vanish once in ten million times. Data does not wait for it: it has
/// gone by relay since the first ping was overdue.
const LOST_AFTER: Duration = Duration::from_millis(400);

/// The same after our own network changed, or two round trips: the suspicion is well founded.
const LOST_AFTER_CHANGE: Duration = Duration::from_millis(300);

/// A path on which nothing was heard for so long is pinged.
///
/// Half of the 30 s that the shortest-lived NAT bindings last, so that one lost ping does no harm.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A device asks each path at one of these moments, so far apart, so that it wakes once for several. When the first of them
/// is it draws itself: two ends are not to ask at the same moment.
pub(super) const MOMENTS: Duration = Duration::from_secs(3);

/// The end that asked last waits longer by this, so that its moment is after the other's, which asks next: one question and
/// its answer keep the bindings of both ends, and each learns in turn how the path is. Where the other end is silent it is
/// 18 s from question to question at the most, less than the 20 s after which some carriers forget.
const TURN: Duration = MOMENTS;

/// What the owner of the path has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// A flow that was coming in stopped: our NAT may have forgotten us, here and elsewhere.
    Stopped,
    /// Ping the path.
    Ping,
    /// The first ping of a suspicion is overdue: data goes by relay, and others may have to learn our new address.
    Suspected,
    /// The path is dead.
    Lost,
}

/// The health of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    state: State,
    /// When the path was taken, or what was sent was last followed by something heard.
    well_at: Instant,
    /// When the path is pinged if nothing is heard.
    keep_at: Instant,
    /// The first of this device's [`MOMENTS`].
    first: Duration,
    flow: Flow,
    /// Doubts that turned out wrong.
    alarms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everything sent was followed by something heard.
    Well,
    /// Sent since then, nothing heard yet.
    Waiting { since: Instant },
    /// Pinged quickly until it answers or is lost; doubtful once that was told.
    Suspect { since: Instant, next_at: Instant, lost_at: Instant, tell_at: Option<Instant> },
}

impl Health {
    /// A path that was just taken.
    pub(super) fn new(first: Duration, now: Instant) -> Self {
        let keep_at = moment_before(now + KEEP_ALIVE, first);
        Self { state: State::Well, well_at: now, keep_at, first, flow: Flow::default(), alarms: 0 }
    }

    /// Nothing is owed to us.
    pub(super) fn is_well(&self) -> bool {
        self.state == State::Well
    }

    /// The path is suspect and did not answer in time: data had better take another.
    pub(super) const fn is_doubtful(&self) -> bool {
        matches!(self.state, State::Suspect { tell_at: None, .. })
    }

    /// Since when the path is suspect.
    pub(super) const fn suspect_since(&self) -> Option<Instant> {
        match self.state {
            State::Suspect { since, .. } => Some(since),
            State::Well | State::Waiting { .. } => None,
        }
    }

    /// Data went out and nothing has come in since then.
    pub(super) fn sent(&mut self, since: Instant) {
        if self.state == State::Well {
            self.state = State::Waiting { since: since.max(self.well_at) };
        }
    }

    /// A ping was answered.
    pub(super) fn answered(&mut self, now: Instant) {
        self.recover(now);
        self.keep_at = moment_before(now + KEEP_ALIVE + TURN, self.first);
    }

    /// So many datagrams of data came in.
    pub(super) fn heard(&mut self, packets: u32, now: Instant) {
        self.recover(now);
        self.flow.heard(packets, now);
    }

    /// The peer asked, and is answered. That shows nothing of what we send, but if it does not arrive the peer doubts the path.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.keep_at = self.keep_at.max(moment_before(now + KEEP_ALIVE, self.first));
    }

    /// So many datagrams of data came in on another path, as where each end sends on its own. They show nothing of this one,
    /// but if they stop our NAT may have forgotten both.
    pub(super) fn heard_elsewhere(&mut self, packets: u32, now: Instant) {
        self.flow.heard(packets, now);
    }

    /// Our own network changed: the path has to answer now, and is doubtful until it does.
    pub(super) fn network_changed(&mut self, rtt: Option<Duration>, now: Instant) {
        self.doubt(LOST_AFTER_CHANGE.max(rtt.unwrap_or_default() * 2), now);
    }

    /// The peer sends by relay, as it would not if this path were well: doubtful until it answers.
    pub(super) fn peer_left(&mut self, rtt: Option<Duration>, now: Instant) {
        if !self.is_doubtful() {
            self.doubt(lost_after(rtt), now);
        }
    }

    /// What is due; call until `None`.
    pub(super) fn handle_timeout(&mut self, rtt: Option<Duration>, now: Instant) -> Option<Sign> {
        if self.flow.has_stopped(now) {
            if self.suspect_since().is_none() {
                self.suspect(rtt, now);
            }
            return Some(Sign::Stopped);
        }
        match self.state {
            State::Well if self.keep_at <= now => {
                self.state = State::Waiting { since: now };
                Some(Sign::Ping)
            }
            State::Waiting { since } if since + quiet(rtt) <= now => {
                self.suspect(rtt, now);
                self.handle_timeout(rtt, now)
            }
            State::Suspect { lost_at, .. } if lost_at <= now => Some(Sign::Lost),
            State::Suspect { since, next_at, lost_at, tell_at: Some(tell_at) } if tell_at <= now => {
                self.state = State::Suspect { since, next_at, lost_at, tell_at: None };
                Some(Sign::Suspected)
            }
            State::Suspect { since, next_at, lost_at, tell_at } if next_at <= now => {
                let next_at = now + SUSPECT_EVERY;
                self.state = State::Suspect { since, next_at, lost_at, tell_at };
                Some(Sign::Ping)
            }
            State::Well | State::Waiting { .. } | State::Suspect { .. } => None,
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self, rtt: Option<Duration>) -> Option<Wakeup> {
        let state = match self.state {
            State::Well => Wakeup { at: self.keep_at, why: "keep a direct path alive" },
            State::Waiting { since } => Wakeup { at: since + quiet(rtt), why: "a path is quiet" },
            State::Suspect { next_at, lost_at, tell_at, .. } => {
                let at = next_at.min(lost_at).min(tell_at.unwrap_or(lost_at));
                Wakeup { at, why: "a path is suspect" }
            }
        };
        let flow = self.flow.stops_at().map(|at| Wakeup { at, why: "a flow stopped" });
        Wakeup::earliest(Some(state), flow)
    }

    /// What was sent since the last time was followed by something heard.
    fn recover(&mut self, now: Instant) {
        if self.is_doubtful() {
            self.alarms = (self.alarms + 1).min(ALARMS_MAX);
        }
        self.state = State::Well;
        self.well_at = now;
        self.keep_at = moment_before(now + KEEP_ALIVE, self.first);
    }

    fn suspect(&mut self, rtt: Option<Duration>, now: Instant) {
        let overdue = OVERDUE * (1 << self.alarms);
        let tell_at = Some(now + rtt.map_or(SUSPECT_EVERY, |rtt| rtt + overdue));
        self.state = State::Suspect { since: now, next_at: now, lost_at: now + lost_after(rtt), tell_at };
    }

    fn doubt(&mut self, lost_after: Duration, now: Instant) {
        let (next_at, lost_at, tell_at) = (now, now + lost_after, Some(now));
        self.state = State::Suspect { since: now, next_at, lost_at, tell_at };
    }
}

/// The last of a device's moments until then.
fn moment_before(at: Instant, first: Duration) -> Instant {
    let since_first = at.saturating_since(Instant::ZERO + first).as_micros();
    let since_moment = u64::try_from(since_first % MOMENTS.as_micros()).unwrap_or_default();
    Instant::from_micros(at.as_micros() - since_moment)
}

fn lost_after(rtt: Option<Duration>) -> Duration {
    LOST_AFTER.max(rtt.unwrap_or_default() * 3)
}

fn quiet(rtt: Option<Duration>) -> Duration {
    rtt.map_or(QUIET, |rtt| QUIET.max(rtt + ANSWER_DELAY))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_flow_that_stops_is_asked_about_once_and_an_answer_settles_it() {
        let mut health = Health::new(Duration::ZERO, at(0));
        health.heard(40, at(1_000));
        assert_eq!(signs(&mut health, 1_000, 1_200), [(1_150, Sign::Stopped), (1_150, Sign::Ping)]);
        health.answered(at(1_190));
        assert_eq!(signs(&mut health, 1_190, 10_000), []);
    }

    #[test]
    fn an_end_that_only_receives_notices_that_nothing_comes_any_more() {
        let mut health = Health::new(Duration::ZERO, at(0));
        health.heard(40, at(1_000));
        let signs = signs(&mut health, 1_000, 3_000);
        assert_eq!(
            signs[..4],
            [(1_150, Sign::Stopped), (1_150, Sign::Ping), (1_210, Sign::Ping), (1_230, Sign::Suspected)]
        );
        assert_eq!(signs.last(), Some(&(1_550, Sign::Lost)));
    }

    #[test]
    fn a_flow_that_came_on_another_path_and_stops_is_asked_about_on_this_one() {
        let mut health = Health::new(Duration::ZERO, at(0));
        for half in 0..8 {
            health.heard_elsewhere(1, at(half * 500));
            assert_eq!(signs(&mut health, half * 500, half * 500 + 499), []);
        }
        let signs = signs(&mut health, 3_500, 6_000);
        assert_eq!(signs[..2], [(4_500, Sign::Stopped), (4_500, Sign::Ping)]);
        assert_eq!(signs.last(), Some(&(4_900, Sign::Lost)));
    }

    #[test]
    fn a_packet_now_and_then_is_no_flow() {
        let mut health = Health::new(Duration::ZERO, at(0));
        for second in 1..5 {
            health.heard(1, at(second * 1_000));
            assert_eq!(signs(&mut health, second * 1_000, second * 1_000 + 999), []);
        }
    }

    #[test]
    fn an_answered_suspicion_tells_nobody() {
        let mut health = Health::new(Duration::ZERO, at(0));
        for round in 1..50 {
            let start = round * 300;
            health.sent(at(start));
            assert_eq!(signs(&mut health, start, start + 140), [(start + 100, Sign::Ping)]);
            health.answered(at(start + 140));
            assert!(!health.is_doubtful());
        }
    }

    #[test]
    fn a_path_is_doubtful_from_the_first_overdue_answer_to_the_next_one() {
        let mut health = Health::new(Duration::ZERO, at(0));
        health.sent(at(1_000));
        signs(&mut health, 1_000, 1_179);
        assert!(!health.is_doubtful());
        signs(&mut health, 1_179, 1_180);
        assert!(health.is_doubtful());
        health.answered(at(1_190));
        assert!(!health.is_doubtful());
        health.peer_left(Some(Duration::from_millis(40)), at(1_200));
        assert_eq!(signs(&mut health, 1_200, 1_200), [(1_200, Sign::Suspected), (1_200, Sign::Ping)]);
        assert!(health.is_doubtful());
    }

    #[test]
    fn what_went_before_the_path_was_last_well_raises_no_suspicion() {
        let mut health = Health::new(Duration::ZERO, at(0));
        health.answered(at(5_000));
        health.sent(at(4_000));
        assert_eq!(signs(&mut health, 5_000, 5_100), [(5_100, Sign::Ping)]);
    }

    #[test]
    fn where_answers_get_lost_a_missing_one_says_less() {
        let mut health = Health::new(Duration::ZERO, at(0));
        for (round, overdue) in [40, 80, 160, 320, 320].into_iter().enumerate() {
            let start = 10_000 * (u64::try_from(round).unwrap() + 1);
            health.answered(at(start));
            health.sent(at(start));
            let told = start + 100 + 40 + overdue;
            signs(&mut health, start, told - 1);
            assert!(!health.is_doubtful(), "round {round}");
            signs(&mut health, told - 1, told);
            assert!(health.is_doubtful(), "round {round}");
        }
    }

    #[test]
    fn two_ends_of_a_path_without_data_keep_it_open_in_turn() {
        let mut ends = [300, 1_100].map(|first| Health::new(Duration::from_millis(first), at(0)));
        let mut asked = Vec::new();
        for now in (0..=70_000).map(at) {
            for asking in 0..2 {
                if ends[asking].handle_timeout(None, now) == Some(Sign::Ping) {
                    asked.push((now.as_micros() / 1_000, asking));
                    ends[1 - asking].pinged(now);
                    ends[asking].answered(now);
                }
            }
        }
        assert_eq!(asked, [(12_300, 0), (25_100, 1), (39_300, 0), (52_100, 1), (66_300, 0)]);
        let [mut alone, _] = ends;
        let next = signs(&mut alone, 70_000, 100_000);
        assert_eq!(next.first(), Some(&(84_300, Sign::Ping)), "the other went silent");
    }

    fn signs(health: &mut Health, from: u64, until: u64) -> Vec<(u64, Sign)> {
        let mut signs = Vec::new();
        let mut now = at(from);
        loop {
            while let Some(sign) = health.handle_timeout(Some(Duration::from_millis(40)), now) {
                signs.push((now.as_micros() / 1_000, sign));
                if sign == Sign::Lost {
                    return signs;
                }
            }
            let next = health.poll_timeout(Some(Duration::from_millis(40))).unwrap().at;
            if next > at(until) {
                return signs;
            }
            assert!(next > now, "spins");
            now = next;
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
