//! What must hold, and the first thing that did not.
//!
//! For each flow the oracle keeps a [`Watch`]. The world shows it every quarter of a second where both ends are
//! ([`View`]), tells it of every answer and of every act that touches the pair, and the oracle demands:
//!
//! * **connected**: while both ends are online, an answer within 3 s, by relay or direct; a pair that is direct
//!   when a coordinator fails goes on as if nothing had happened;
//! * **direct**: within 10 s wherever [`crate::rule`] says that plain punching can;
//! * **impossible**: never direct where it cannot be;
//! * **back**: 75 s after the last fault every pair talks again, whatever its ends believe.
//!
//! Promises about single packets (amplification, candidates, spoofed sources, removed members, queues) are
//! checked where the packets are and end here as [`Violation`]s.

use std::fmt;
use std::time::Duration;

use lanyard_proto::overlay::Path;
use lanyard_proto::time::Instant;

use crate::net::HostId;
use crate::rule::Expect;

/// A pair that is online is connected within this.
pub const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

/// A pair that can be direct is direct within this.
pub const DIRECT_WITHIN: Duration = Duration::from_secs(10);

/// After the last fault every pair talks again within this: one longest back-off, jitter, and a reserve.
pub const BACK_WITHIN: Duration = Duration::from_secs(75);

/// After the last fault nothing but keep-alives is sent once this is over.
pub const QUIET_AFTER: Duration = Duration::from_secs(60);

/// A device without traffic notices a dead mapping at its next keep-alive: 25 s, jitter and a round trip.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Answers no further apart than [`APART`] that make a pair's use a steady one.
const STEADY: u32 = 6;

/// Answers further apart than this are no steady use.
const APART: Duration = Duration::from_millis(1_250);

/// Answers closer together than this count once: a data plane reports every 200 ms, and what comes in between is
/// one sign of life to the machine.
const TOGETHER: Duration = Duration::from_millis(210);

/// A direct path that does not answer lends its data to the relay until it does or is lost, 0.4 s later or three round
/// trips; then a pair is not direct. So whoever could be direct may be found on the relay for so long on end, longer
/// on links that lose: there a path is given up for want of answers now and then, and has to be proven again.
const LENT_MAX: Duration = Duration::from_secs(1);

/// A removed member is gone everywhere after this.
pub const REMOVED_WITHIN: Duration = Duration::from_secs(5);

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// Which promise, in one word.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
    /// Whom to look at.
    pub hosts: Vec<HostId>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// A pair at one moment, as the world sees it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Both run, are awake, believe to be online, and their coordinator runs.
    pub is_online: bool,
    /// Both run and are awake, and share a network.
    pub is_possible: bool,
    /// What the rule says about where they are.
    pub expect: Expect,
    /// Where the asking end's datagrams go.
    pub forth: Path,
    /// Where the answering end's datagrams go.
    pub back: Path,
}

/// What is remembered of a flow.
#[derive(Clone, Debug)]
pub struct Watch {
    ends: (HostId, HostId),
    patience: u32,
    /// First packet of all.
    first: Instant,
    start: Instant,
    end: Instant,
    /// Both ends online without interruption since then.
    online_since: Option<Instant>,
    /// A direct pair whose coordinator failed: it needs nobody.
    unaided: bool,
    /// Excused until then.
    calm_at: Instant,
    /// Excused from being direct until then.
    direct_at: Instant,
    last_answer: Option<Instant>,
    /// Answers that each came soon after the one before, by the same paths.
    in_a_row: u32,
    /// The paths of both ends at the last look: an end that changed its path knows of no steady flow on it yet.
    paths: (Path, Path),
    /// At every look since then one end or both were not direct.
    apart_since: Option<Instant>,
    /// What happened, for reports and for tests.
    pub record: Record,
}

/// How a flow fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// First packet to first answer.
    pub first_answer_after: Option<Duration>,
    /// First packet to both ends sending straight.
    pub direct_after: Option<Duration>,
    /// Longest time between two answers.
    pub longest_gap: Duration,
    /// Packets sent.
    pub asked: u64,
    /// Answers, duplicates left out.
    pub answered: u64,
    /// Answers that came straight.
    pub answered_direct: u64,
    /// Both ends send straight at the end.
    pub is_direct: bool,
    /// How each end sends at the end.
    pub paths: (Path, Path),
}

/// How an act touches a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// Excused for so long from now on.
    pub excused: Duration,
    /// Excused from being direct for so long.
    pub relayed: Duration,
    /// Only what is between the ends and their coordinator is touched: a direct pair must not notice.
    pub spares_direct: bool,
}

impl Watch {
    /// Watches a flow between two hosts.
    #[must_use]
    pub fn new(ends: (HostId, HostId), start: Instant, end: Instant, patience: u32) -> Self {
        Self {
            ends,
            patience,
            first: start,
            start,
            end,
            online_since: None,
            unaided: false,
            calm_at: start,
            direct_at: start,
            last_answer: None,
            in_a_row: 0,
            paths: (Path::None, Path::None),
            apart_since: None,
            record: Record::default(),
        }
    }

    /// Whether the pair is in steady use, so that both ends miss what no longer comes.
    #[must_use]
    pub fn is_lively(&self, now: Instant) -> bool {
        self.in_a_row >= STEADY && self.last_answer.is_some_and(|at| now.saturating_since(at) <= APART)
    }

    /// Whether an answer came within the last second.
    fn is_talking(&self, now: Instant) -> bool {
        self.last_answer.is_some_and(|at| now.saturating_since(at) <= Duration::from_secs(1))
    }

    /// An answer arrived.
    pub fn on_answer(&mut self, is_direct: bool, now: Instant) {
        self.record.answered += 1;
        self.record.answered_direct += u64::from(is_direct);
        self.record.first_answer_after.get_or_insert_with(|| now.saturating_since(self.first));
        if let Some(last) = self.last_answer {
            let gap = now.saturating_since(last);
            self.record.longest_gap = self.record.longest_gap.max(gap);
            self.in_a_row = if gap <= APART { self.in_a_row + u32::from(gap >= TOGETHER) } else { 0 };
        }
        self.last_answer = Some(now);
    }

    /// The pair talks between these two moments, and not again before another spell is named.
    pub fn talk(&mut self, start: Instant, end: Instant) {
        if self.start != start {
            (self.start, self.online_since, self.in_a_row) = (start, None, 0);
        }
        self.end = end;
    }

    /// Something happened to one of the ends, or between them.
    pub fn on_disturbance(&mut self, disturbance: Disturbance, view: &View, now: Instant) {
        let both_direct = view.forth.is_direct() && view.back.is_direct();
        self.in_a_row = 0;
        if disturbance.spares_direct && both_direct && self.is_talking(now) && self.calm_at <= now {
            self.unaided = true;
        } else {
            if !disturbance.spares_direct {
                self.unaided = false;
            }
            self.calm_at = self.calm_at.max(now + disturbance.excused * self.patience);
        }
        self.excuse_direct(disturbance.relayed, now);
    }

    /// The pair may be relayed for so long from now on.
    pub fn excuse_direct(&mut self, time: Duration, now: Instant) {
        self.direct_at = self.direct_at.max(now + time * self.patience);
    }

    /// Looks at the pair.
    ///
    /// # Errors
    ///
    /// The promise that is broken now.
    pub fn check(&mut self, view: &View, calm_at: Instant, now: Instant) -> Result<(), Violation> {
        self.record.is_direct = view.forth.is_direct() && view.back.is_direct();
        self.record.paths = (view.forth, view.back);
        self.apart_since = if self.record.is_direct { None } else { self.apart_since.or(Some(now)) };
        if std::mem::replace(&mut self.paths, (view.forth, view.back)) != (view.forth, view.back) {
            self.in_a_row = 0;
        }
        if now < self.start || now > self.end {
            self.online_since = None;
            return Ok(());
        }
        if self.record.is_direct {
            self.record.direct_after.get_or_insert_with(|| now.saturating_since(self.first));
        }
        if !view.is_possible || view.expect == Expect::Nothing {
            self.online_since = None;
            self.unaided = false;
            return Ok(());
        }
        self.check_back(view, calm_at, now)?;
        if !view.is_online && !self.unaided {
            self.online_since = None;
            return Ok(());
        }
        let since = *self.online_since.get_or_insert(now);
        self.check_connected(view, since, now)?;
        if self.unaided && !view.is_online {
            return Ok(());
        }
        self.check_direct(view, since, now)
    }

    fn check_back(&self, view: &View, calm_at: Instant, now: Instant) -> Result<(), Violation> {
        let due = calm_at.max(self.first) + BACK_WITHIN * self.patience;
        let recent = CONNECTED_WITHIN * self.patience;
        let silent_since = self.last_answer.unwrap_or(self.start).max(self.start);
        if now > due && now.saturating_since(silent_since) > recent {
            return Err(self.violation("back", "no answer long after the last fault", view, now));
        }
        Ok(())
    }

    fn check_connected(&self, view: &View, since: Instant, now: Instant) -> Result<(), Violation> {
        let limit = CONNECTED_WITHIN * self.patience;
        let from = self.last_answer.unwrap_or(self.start).max(since).max(self.calm_at).max(self.start);
        if now.saturating_since(from) > limit {
            return Err(self.violation("connected", "both are online and no answer comes", view, now));
        }
        Ok(())
    }

    fn check_direct(&self, view: &View, since: Instant, now: Instant) -> Result<(), Violation> {
        let from = since.max(self.calm_at).max(self.direct_at).max(self.start);
        let is_settled = now.saturating_since(from) > DIRECT_WITHIN * self.patience;
        let is_apart = self.apart_since.is_some_and(|at| now.saturating_since(at) > LENT_MAX * self.patience);
        match view.expect {
            Expect::Direct if is_settled && is_apart => {
                Err(self.violation("direct", "it could be direct and is not", view, now))
            }
            Expect::Relayed if is_settled && (view.forth.is_direct() || view.back.is_direct()) => {
                Err(self.violation("impossible", "it is direct and cannot be", view, now))
            }
            Expect::Direct | Expect::Relayed | Expect::Either | Expect::Nothing => Ok(()),
        }
    }

    fn violation(&self, rule: &'static str, what: &str, view: &View, now: Instant) -> Violation {
        let (a, b) = self.ends;
        let detail = format!(
            "d{} to d{}: {what}; expected {:?}, forth {:?}, back {:?}, online {}, last answer {}",
            a.0,
            b.0,
            view.expect,
            view.forth,
            view.back,
            view.is_online,
            self.last_answer.map_or_else(|| "never".to_owned(), |at| at.to_string()),
        );
        Violation { at: now, rule, detail, hosts: vec![a, b] }
    }
}

#[cfg(test)]
mod tests {
    use lanyard_proto::transmit::SocketId;

    use super::*;

    const LATER: Instant = Instant::from_secs(1_000);

    #[test]
    fn a_silent_pair_that_is_online_breaks_the_first_promise() {
        let mut watch = watch();
        assert_eq!(run(&mut watch, view(Expect::Either, Path::None), 0, 2), None);
        assert_eq!(run(&mut watch, view(Expect::Either, Path::None), 3, 4), Some("connected"));
    }

    #[test]
    fn an_excused_pair_may_be_silent_for_so_long() {
        let mut watch = watch();
        let silent = view(Expect::Either, Path::None);
        let excused = Duration::from_secs(5);
        let fault = Disturbance { excused, relayed: Duration::ZERO, spares_direct: false };
        watch.on_disturbance(fault, &silent, Instant::ZERO);
        assert_eq!(run(&mut watch, silent, 0, 8), None);
        assert_eq!(run(&mut watch, silent, 8, 9), Some("connected"));
    }

    #[test]
    fn a_direct_pair_may_be_on_the_relay_for_a_moment_and_no_longer() {
        let mut watch = watch();
        let pair = |path| view(Expect::Direct, path);
        assert_eq!(talk(&mut watch, pair(direct()), 0, 30), None);
        assert_eq!(talk(&mut watch, pair(Path::None), 30, 31), None);
        assert_eq!(talk(&mut watch, pair(direct()), 31, 40), None);
        assert_eq!(talk(&mut watch, pair(Path::None), 40, 45), Some("direct"));
    }

    #[test]
    fn use_is_steady_only_on_paths_that_stay_the_same() {
        let mut watch = watch();
        let relayed = view(Expect::Either, Path::None);
        assert_eq!(talk(&mut watch, relayed, 0, 8), None);
        assert!(watch.is_lively(Instant::from_secs(8)));
        assert_eq!(talk(&mut watch, view(Expect::Either, direct()), 8, 10), None);
        assert!(!watch.is_lively(Instant::from_secs(10)));
    }

    #[test]
    fn a_direct_pair_is_not_excused_by_its_coordinator() {
        let mut watch = watch();
        let direct = view(Expect::Direct, direct());
        watch.on_answer(true, Instant::ZERO);
        let excused = Duration::from_secs(60);
        let outage = Disturbance { excused, relayed: excused, spares_direct: true };
        watch.on_disturbance(outage, &direct, Instant::ZERO);
        let offline = View { is_online: false, ..direct };
        assert_eq!(run(&mut watch, offline, 0, 2), None);
        assert_eq!(run(&mut watch, offline, 3, 4), Some("connected"));
    }

    #[test]
    fn relayed_for_too_long_and_impossibly_direct_are_both_noticed() {
        let relayed = view(Expect::Direct, Path::None);
        let mut watch = watch();
        assert_eq!(talk(&mut watch, relayed, 0, 10), None);
        assert_eq!(talk(&mut watch, relayed, 10, 12), Some("direct"));
        let mut watch = self::watch();
        assert_eq!(talk(&mut watch, view(Expect::Relayed, direct()), 0, 12), Some("impossible"));
    }

    #[test]
    fn a_pair_that_never_comes_back_is_noticed_although_it_believes_to_be_offline() {
        let mut watch = watch();
        let offline = View { is_online: false, ..view(Expect::Either, Path::None) };
        let broken =
            (0..80).find_map(|second| watch.check(&offline, Instant::ZERO, Instant::from_secs(second)).err());
        assert_eq!(broken.map(|violation| violation.rule), Some("back"));
    }

    fn run(watch: &mut Watch, view: View, from: u64, to: u64) -> Option<&'static str> {
        (from * 4..=to * 4)
            .find_map(|quarter| watch.check(&view, LATER, Instant::from_millis(quarter * 250)).err())
            .map(|violation| violation.rule)
    }

    fn talk(watch: &mut Watch, view: View, from: u64, to: u64) -> Option<&'static str> {
        (from..to).find_map(|second| {
            watch.on_answer(true, Instant::from_secs(second));
            run(watch, view, second, second + 1)
        })
    }

    fn watch() -> Watch {
        Watch::new((HostId(0), HostId(1)), Instant::ZERO, Instant::MAX, 1)
    }

    const fn view(expect: Expect, path: Path) -> View {
        View { is_online: true, is_possible: true, expect, forth: path, back: path }
    }

    fn direct() -> Path {
        Path::Direct { local: SocketId::MAIN, remote: "198.51.100.97:41641".parse().unwrap() }
    }
}
