//! Whether the memory of a process stays what it is.
//!
//! Judged is all that is resident, pages of the program's file included, which come and go as the kernel likes; what is the
//! process's own is told beside it.

use std::time::Duration;

use anyhow::Result;
use lanyard_netns::process;

/// Time between two samples.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// How much more the median of the last quarter may be than that of the second: bytes. The first is left out, in which pools
/// and buffers are filled for the first time.
const GROWTH_MAX: u64 = 1 << 20;

/// The memory of one process over time.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Whose it is.
    pub(super) who: &'static str,
    process: u32,
    samples: Vec<u64>,
    own: Vec<u64>,
}

/// What came of it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trend {
    /// Medians of the second and of the last quarter.
    pub(super) second: u64,
    pub(super) last: u64,
    /// The most in any sample.
    pub(super) most: u64,
}

impl Memory {
    /// Nothing was looked at yet.
    pub(super) const fn of(who: &'static str, process: u32) -> Self {
        Self { who, process, samples: Vec::new(), own: Vec::new() }
    }

    /// Looks once.
    pub(super) fn sample(&mut self) -> Result<()> {
        self.samples.push(process::resident_memory(self.process)?);
        self.own.push(process::own_memory(self.process)?);
        Ok(())
    }

    /// All samples, in bytes.
    pub(super) fn samples(&self) -> &[u64] {
        &self.samples
    }

    /// The same of what is its own.
    pub(super) fn own_samples(&self) -> &[u64] {
        &self.own
    }

    /// What came of it; `None` with fewer than two samples in a quarter.
    pub(super) fn trend(&self) -> Option<Trend> {
        trend(&self.samples)
    }

    /// The same of what is its own.
    pub(super) fn own_trend(&self) -> Option<Trend> {
        trend(&self.own)
    }
}

impl Trend {
    /// It has not grown, within what is allowed.
    pub(super) const fn is_flat(self) -> bool {
        self.last <= self.second + GROWTH_MAX
    }
}

fn trend(samples: &[u64]) -> Option<Trend> {
    let quarter = samples.len() / 4;
    if quarter < 2 {
        return None;
    }
    let median = |part: &[u64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    };
    Some(Trend {
        second: median(samples.get(quarter..2 * quarter)?)?,
        last: median(samples.get(samples.len() - quarter..)?)?,
        most: samples.iter().copied().max()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn what_grows_only_in_the_first_quarter_is_flat() {
        let samples: Vec<u64> = (0..40).map(|at| (10 + at.min(9)) * MB).collect();
        let trend = trend(&samples).unwrap();
        assert_eq!(trend, Trend { second: 19 * MB, last: 19 * MB, most: 19 * MB });
        assert!(trend.is_flat());
    }

    #[test]
    fn a_leak_is_not_flat_and_a_peak_is() {
        // 0.1 MB each sample: 3 MB between the quarters.
        let leak: Vec<u64> = (0..40).map(|at| 10 * MB + at * MB / 10).collect();
        assert!(!trend(&leak).unwrap().is_flat());
        let mut peak = vec![10 * MB; 40];
        peak[35] = 90 * MB;
        let trend = trend(&peak).unwrap();
        assert!(trend.is_flat() && trend.most == 90 * MB);
    }

    #[test]
    fn a_few_samples_say_nothing() {
        assert_eq!(trend(&[1; 7]), None);
        assert!(trend(&[1; 8]).is_some());
    }
}
