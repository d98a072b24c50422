//! Time in which the hypervisor ran somebody else, while programs here wanted to run.
//!
//! On rented machines it comes in bursts of seconds, a third of a core and more, and then says more about a rate than the
//! program does.

use std::fs;

use anyhow::{Context as _, Result};

/// The clocks of all cores at one moment, in ticks of `/proc/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    all: u64,
    stolen: u64,
}

impl Clocks {
    /// Those of now.
    ///
    /// # Errors
    ///
    /// `/proc/stat` cannot be read, or is not as `proc(5)` says.
    pub fn now() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?).context("/proc/stat has no line of all cores")
    }

    /// The share of the time since `earlier` that was stolen, from 0 to 1.
    #[must_use]
    pub fn stolen_since(self, earlier: Self) -> f64 {
        let all = u32::try_from(self.all.saturating_sub(earlier.all)).unwrap_or(u32::MAX);
        let stolen = u32::try_from(self.stolen.saturating_sub(earlier.stolen)).unwrap_or(u32::MAX);
        f64::from(stolen) / f64::from(all.max(1))
    }

    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
        // User, nice, system, idle, waiting, two kinds of interrupts, stolen; guests are in the first two.
        let ticks = ticks.get(..8)?;
        Some(Self { all: ticks.iter().sum(), stolen: *ticks.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_all_cores_and_of_the_time_between() {
        let before = Clocks::parse("cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n").unwrap();
        let after = Clocks::parse("cpu  60 0 30 80 0 5 5 20 5 0\n").unwrap();
        assert!((after.stolen_since(before) - 0.1).abs() < 1e-9);
        assert!(before.stolen_since(before).abs() < 1e-9);
        assert_eq!(Clocks::parse("cpu0 1 2 3 4 5 6 7 8 9 10\n"), None);
        assert_eq!(Clocks::parse("cpu  1 2 3\n"), None);
    }
}
