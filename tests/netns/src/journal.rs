//! When an agent took which path, read from its log.
//!
//! Asking `lanyard status` costs a process and some tens of milliseconds; the log has the microsecond, and reading
//! it disturbs nobody. Both ends and the test run on one machine, so that their clocks agree.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Agent;

/// What the log needs for this: the machine's decisions.
pub(crate) const LEVEL: &str = "info,lanyard_proto=debug";

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A moment of the day, UTC, as logs have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(Duration::new(since_epoch.as_secs() % DAY.as_secs(), since_epoch.subsec_nanos()))
    }

    /// From `earlier` to this moment, which is less than half a day later; zero if it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let after = (self.0 + DAY).saturating_sub(earlier.0);
        let after = after.checked_sub(DAY).unwrap_or(after);
        if after < DAY / 2 { after } else { Duration::ZERO }
    }

    /// Whether it comes after `earlier`, or is the same.
    #[must_use]
    pub fn is_after(self, earlier: Self) -> bool {
        self == earlier || self.since(earlier) > Duration::ZERO
    }

    /// Reads `2026-09-01T12:00:00.000123Z`.
    fn parse(stamp: &str) -> Option<Self> {
        let time = stamp.split_once('T')?.1.strip_suffix('Z')?;
        let mut parts = time.splitn(3, ':');
        let hours: u64 = parts.next()?.parse().ok()?;
        let minutes: u64 = parts.next()?.parse().ok()?;
        let seconds: f64 = parts.next()?.parse().ok()?;
        Some(Self(
            Duration::from_secs(hours * 3_600 + minutes * 60) + Duration::try_from_secs_f64(seconds).ok()?,
        ))
    }
}

/// A line `path changed` of an agent's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// When.
    pub at: Moment,
    /// `direct`, `relay` or `none`.
    pub to: &'static str,
    /// All of the line behind its time, for people.
    pub line: String,
}

/// The path changes in the log of an agent from `begun` on; of all its peers.
#[must_use]
pub fn path_changes(agent: &Agent, begun: Moment) -> Vec<PathChange> {
    changes_in(&read(&agent.log_file()), begun)
}

/// When both agents had taken a direct path after `begun`, if both have one now.
#[must_use]
pub fn direct_at(agents: [&Agent; 2], begun: Moment) -> Option<Moment> {
    let mut latest: Option<Moment> = None;
    for agent in agents {
        let changes = path_changes(agent, begun);
        if changes.last()?.to != "direct" {
            return None;
        }
        let first = changes.iter().find(|change| change.to == "direct")?.at;
        latest = Some(latest.filter(|at| at.is_after(first)).unwrap_or(first));
    }
    latest
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

fn changes_in(log: &str, begun: Moment) -> Vec<PathChange> {
    let changes = log.lines().filter_map(|line| {
        let (stamp, rest) = line.split_once(' ')?;
        let to = rest.split_once("path changed")?.1.split_once(" to=")?.1;
        let to = [("Direct", "direct"), ("Relayed", "relay"), ("None", "none")]
            .into_iter()
            .find_map(|(word, kind)| to.starts_with(word).then_some(kind))?;
        Some(PathChange { at: Moment::parse(stamp)?, to, line: rest.trim().to_owned() })
    });
    changes.filter(|change| change.at.is_after(begun)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-09-01T11:59:59.900000Z DEBUG lanyard_proto::device::answers: path changed peer=1 \
        from=None to=Relayed { relay: 203.0.113.1:7443, channel: 1 } why=\"traffic\"\n\
        2026-09-01T12:00:00.000123Z  INFO lanyard: member online\n\
        2026-09-01T12:00:00.100000Z DEBUG lanyard_proto::device::answers: path changed peer=1 from=Relayed { \
        relay: 203.0.113.1:7443, channel: 1 } to=Direct { local: 0, remote: 192.0.2.1:1 } why=\"proven\"\n";

    #[test]
    fn a_log_tells_when_which_path_was_taken() {
        let noon = Moment::parse("2026-09-01T12:00:00Z").unwrap();
        let changes = changes_in(LOG, noon);
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].to, changes[0].at.since(noon)), ("direct", Duration::from_millis(100)));
        let all = changes_in(LOG, Moment::parse("2026-09-01T11:00:00Z").unwrap());
        assert_eq!(all.iter().map(|change| change.to).collect::<Vec<_>>(), ["relay", "direct"]);
    }

    #[test]
    fn a_day_that_ends_meanwhile_does_no_harm() {
        let before = Moment::parse("2026-09-01T23:59:59.5Z").unwrap();
        let after = Moment::parse("2026-09-02T00:00:00.5Z").unwrap();
        assert_eq!(after.since(before), Duration::from_secs(1));
        assert_eq!(before.since(after), Duration::ZERO);
        assert!(after.is_after(before) && !before.is_after(after));
    }
}
