//! Who runs on which core: the hub on the first, alone, and everybody else on the others.
//!
//! With 51 agents and both ends of 50 connections on all cores, what is measured is how the scheduler divides them, and the hub waits
//! for its turn with everybody else's work between two of its own. One core that is the hub's, for one peer and for all, makes
//! the two figures comparable; what the others have left is the same for both.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The cores that this program was given, of which the first can be the hub's.
#[derive(Debug)]
pub(super) struct Cores {
    first: u16,
    others: Vec<u16>,
}

impl Cores {
    /// Leaves the first core to the hub: this program goes to the others, and whatever it starts from now on. None where there is
    /// but one, which all share.
    pub(super) fn leave_the_first() -> Result<Option<Self>> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let cores = parse(list.context("/proc/self/status names no cores")?.trim())?;
        let Some((first, others)) = cores.split_first().filter(|(_, others)| !others.is_empty()) else {
            return Ok(None);
        };
        bind(std::process::id(), others)?;
        Ok(Some(Self { first: *first, others: others.to_vec() }))
    }

    /// Has a process run on the first core alone, with all its threads.
    pub(super) fn give_the_first(&self, process: u32) -> Result<()> {
        bind(process, &[self.first])
    }

    /// Lets a process run wherever there is room, as programs do.
    pub(super) fn give_all(&self, process: u32) -> Result<()> {
        let all: Vec<u16> = self.others.iter().copied().chain([self.first]).collect();
        bind(process, &all)
    }

    /// How many are left for the others.
    pub(super) fn others(&self) -> usize {
        self.others.len()
    }
}

fn bind(process: u32, cores: &[u16]) -> Result<()> {
    let cores: Vec<String> = cores.iter().map(u16::to_string).collect();
    let arguments = ["-acp", &cores.join(","), &process.to_string()];
    let done = Command::new("taskset").args(arguments).output().context("run taskset (util-linux)")?;
    ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

/// A list such as `0-2,5`.
fn parse(list: &str) -> Result<Vec<u16>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<u16>()?..=last.parse()?);
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_have_numbers_and_ranges() {
        assert_eq!(parse("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(parse("3").unwrap(), [3]);
        assert!(parse("").is_err() && parse("a-b").is_err());
    }
}
