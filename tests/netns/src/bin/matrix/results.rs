//! What was measured, kept as JSON and judged.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lanyard_netns::Outcome;
use lanyard_netns::cell::{Cell, Class, Expected, Links};
use serde_json::{Value, json};

/// Packets one attempt may cost at one router: the budget of reference and documents.
///
/// What is counted beside probes (data by relay, questions to the coordinator) is some tens of packets.
pub(super) const PACKETS_MAX: u64 = 2_000;

/// All cells.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) links: Links,
    pub(super) cells: Vec<Measured>,
}

/// A cell and what its runs came to.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) cell: Cell,
    pub(super) runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) enum Run {
    Connected { path: String, first_reply: Duration, direct_after: Option<Duration>, packets: u64 },
    Failed { why: String },
}

impl Run {
    pub(super) fn of(outcome: Result<Outcome>) -> Self {
        match outcome {
            Ok(Outcome { first_reply, path, direct_after, packets }) => {
                let packets = packets.into_iter().max().unwrap_or_default();
                Self::Connected { path, first_reply, direct_after, packets }
            }
            Err(error) => Self::Failed { why: format!("{error:#}") },
        }
    }

    fn is_direct(&self) -> bool {
        matches!(self, Self::Connected { path, .. } if path == Expected::Direct.path())
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { path, first_reply, direct_after, packets } => {
                let direct = direct_after.map_or("-".to_owned(), millis);
                write!(f, "{path:<8} {:>12} {direct:>12} {packets:>8}", millis(*first_reply))
            }
            Self::Failed { why } => write!(f, "FAILED   {why}"),
        }
    }
}

impl Measured {
    pub(super) const fn of(cell: Cell) -> Self {
        Self { cell, runs: Vec::new() }
    }

    pub(super) fn direct(&self) -> usize {
        self.runs.iter().filter(|run| run.is_direct()).count()
    }

    pub(super) fn connected(&self) -> usize {
        self.runs.iter().filter(|run| matches!(run, Run::Connected { .. })).count()
    }

    pub(super) fn packets(&self) -> u64 {
        let packets = self.runs.iter().map(|run| match run {
            Run::Connected { packets, .. } => *packets,
            Run::Failed { .. } => 0,
        });
        packets.max().unwrap_or_default()
    }

    /// Times to the first reply, in order.
    pub(super) fn first_replies(&self) -> Vec<Duration> {
        let mut times: Vec<_> = self
            .runs
            .iter()
            .filter_map(|run| match run {
                Run::Connected { first_reply, .. } => Some(*first_reply),
                Run::Failed { .. } => None,
            })
            .collect();
        times.sort_unstable();
        times
    }

    /// Times to the direct path, in order.
    pub(super) fn direct_times(&self) -> Vec<Duration> {
        let mut times: Vec<_> = self
            .runs
            .iter()
            .filter_map(|run| match run {
                Run::Connected { direct_after, .. } => *direct_after,
                Run::Failed { .. } => None,
            })
            .collect();
        times.sort_unstable();
        times
    }

    /// Connected every time, within budget, and direct as often as it must be; direct in spite of everything is luck.
    pub(super) fn is_as_expected(&self) -> bool {
        let misses = self.runs.len() - self.direct();
        let is_direct_enough = self.cell.expected == Expected::Relay || misses <= self.misses_allowed();
        self.connected() == self.runs.len() && self.packets() <= PACKETS_MAX && is_direct_enough
    }

    /// Guessing may miss: of 50 runs once where ports are random, a little more often where other traffic takes the
    /// predicted ones.
    fn misses_allowed(&self) -> usize {
        let percent = match self.cell.classes {
            Some([Class::Sequential, Class::Sequential]) => 5,
            Some([Class::PortRestricted, Class::Sequential] | [Class::Sequential, Class::PortRestricted]) => {
                3
            }
            Some([Class::PortRestricted, Class::Random] | [Class::Random, Class::PortRestricted]) => 2,
            _ => 0,
        };
        (self.runs.len() * percent + 50) / 100
    }
}

impl Results {
    pub(super) fn to_json(&self) -> Value {
        let cells = self.cells.iter().map(|measured| {
            let runs = measured.runs.iter().map(|run| match run {
                Run::Connected { path, first_reply, direct_after, packets } => json!({
                    "path": path,
                    "first_reply_us": micros(*first_reply),
                    "direct_after_us": direct_after.map(micros),
                    "packets": packets,
                }),
                Run::Failed { why } => json!({ "failed": why }),
            });
            json!({
                "cell": measured.cell.name,
                "expected": measured.cell.expected.path(),
                "runs": runs.collect::<Vec<_>>(),
            })
        });
        json!({
            "delay_ms": self.links.delay_ms,
            "loss_percent": self.links.loss_percent,
            "cells": cells.collect::<Vec<_>>(),
        })
    }

    fn from_json(stored: &Value) -> Result<Self> {
        let number = |key: &str| stored[key].as_u64().and_then(|number| u32::try_from(number).ok());
        let links = Links {
            delay_ms: number("delay_ms").unwrap_or_default(),
            loss_percent: number("loss_percent").unwrap_or_default(),
        };
        let cells = stored["cells"].as_array().context("no cells")?.iter().map(|cell| {
            let name = cell["cell"].as_str().context("a cell without a name")?;
            let known = Cell::named(name).with_context(|| format!("there is no cell {name}"))?;
            let runs = cell["runs"].as_array().context("a cell without runs")?;
            Ok(Measured { cell: known, runs: runs.iter().map(run_of).collect::<Result<_>>()? })
        });
        Ok(Self { links, cells: cells.collect::<Result<_>>()? })
    }
}

/// Results of several files: runs of one cell come together.
impl FromIterator<Self> for Results {
    fn from_iter<T: IntoIterator<Item = Self>>(all: T) -> Self {
        let mut sum = Self::default();
        for Self { links, cells } in all {
            sum.links = links;
            for measured in cells {
                match sum.cells.iter_mut().find(|known| known.cell.name == measured.cell.name) {
                    Some(known) => known.runs.extend(measured.runs),
                    None => sum.cells.push(measured),
                }
            }
        }
        sum
    }
}

/// Reads what an earlier run printed.
pub(super) fn read(file: &str) -> Result<Results> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    Results::from_json(&serde_json::from_str(&text).with_context(|| file.to_owned())?)
        .with_context(|| file.to_owned())
}

fn run_of(stored: &Value) -> Result<Run> {
    if let Some(why) = stored["failed"].as_str() {
        return Ok(Run::Failed { why: why.to_owned() });
    }
    let time = |key: &str| stored[key].as_u64().map(Duration::from_micros);
    Ok(Run::Connected {
        path: stored["path"].as_str().context("a run without a path")?.to_owned(),
        first_reply: time("first_reply_us").context("a run without a first reply")?,
        direct_after: time("direct_after_us"),
        packets: stored["packets"].as_u64().unwrap_or_default(),
    })
}

/// The smallest time that `percent` of the sorted `times` do not exceed.
pub(super) fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied()
}

pub(super) fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_from_json_and_several_files_are_one() {
        let run = Run::Connected {
            path: "direct".to_owned(),
            first_reply: Duration::from_millis(44),
            direct_after: Some(Duration::from_millis(170)),
            packets: 31,
        };
        let failed = Run::Failed { why: "no reply".to_owned() };
        let cell = Cell::named("open:symmetric").unwrap();
        let results = Results {
            links: Links { delay_ms: 20, loss_percent: 0 },
            cells: vec![Measured { cell, runs: vec![run, failed] }],
        };
        let stored = results.to_json();
        let both: Results =
            [&stored, &stored].map(|stored| Results::from_json(stored).unwrap()).into_iter().collect();
        assert_eq!((both.cells.len(), both.links.delay_ms), (1, 20));
        let measured = &both.cells[0];
        assert_eq!((measured.runs.len(), measured.direct(), measured.packets()), (4, 2, 31));
        assert_eq!(measured.direct_times(), [Duration::from_millis(170); 2]);
        assert!(!measured.is_as_expected());
    }

    #[test]
    fn only_guessing_may_miss_and_only_now_and_then() {
        let misses = |name: &str, runs: usize| {
            let direct = Run::Connected {
                path: "direct".to_owned(),
                first_reply: Duration::ZERO,
                direct_after: None,
                packets: 0,
            };
            let relayed = Run::Connected {
                path: "relay".to_owned(),
                first_reply: Duration::ZERO,
                direct_after: None,
                packets: 0,
            };
            let mut runs = vec![direct; runs];
            runs[0] = relayed;
            Measured { cell: Cell::named(name).unwrap(), runs }.is_as_expected()
        };
        assert!(misses("symmetric:port-restricted", 50));
        assert!(!misses("symmetric:port-restricted", 5));
        assert!(!misses("open:port-restricted", 50));
    }

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times: Vec<_> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Some(Duration::from_millis(10)));
        assert_eq!(percentile(&times, 95), Some(Duration::from_millis(19)));
        assert_eq!(percentile(&[], 95), None);
    }
}
