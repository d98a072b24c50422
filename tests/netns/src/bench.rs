//! What the benches share: namespaces of their own, medians, what a process costs, and an orderly end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::fleet::output_of;

/// Set by Ctrl-C and SIGTERM: the next step does not begin, and everything is taken down.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Network namespaces of one run, each with its loopback interface up. Gone when dropped.
#[derive(Debug)]
pub struct Namespaces(Vec<String>);

impl Namespaces {
    /// Makes one for each name, and removes those of runs that were killed before they could.
    ///
    /// `prefix` is what all of the bench's namespaces begin with; the number of the process follows.
    ///
    /// # Errors
    ///
    /// When this machine makes none (needs root).
    pub fn make(prefix: &str, names: impl IntoIterator<Item = String>) -> Result<Self> {
        remove_leftovers(prefix);
        let own = std::process::id();
        let mut made = Self(Vec::new());
        for name in names {
            let namespace = format!("{prefix}{own}-{name}");
            ip(&format!("netns add {namespace}"))?;
            made.0.push(namespace.clone());
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(made)
    }

    /// The full name of one, by its place; empty behind the last.
    #[must_use]
    pub fn name(&self, place: usize) -> &str {
        self.0.get(place).map_or("", String::as_str)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in &self.0 {
            // Not there when somebody else removed it.
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

fn remove_leftovers(prefix: &str) {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

/// A command that will run in a namespace.
pub fn in_namespace(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Runs `ip` with these words.
///
/// # Errors
///
/// When it fails; what it said is in the error.
pub fn ip(words: &str) -> Result<()> {
    output_of(Command::new("ip").args(words.split(' '))).map(drop)
}

/// The value in the middle, or between the two in the middle; none of none.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(*sorted.get(middle - 1)?, upper)) }
}

/// User and system time of a process, to a hundredth of a second.
///
/// # Errors
///
/// When it has ended.
pub fn cpu_time(process: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("process {process} has ended"))?;
    // The name stands in parentheses and may hold anything; the times are the 12th and 13th fields behind it.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|index| fields.get(*index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0))
        .sum();
    // USER_HZ is 100 wherever Linux runs.
    Ok(Duration::from_millis(ticks * 10))
}

/// Bytes of a process's memory, by their name in `/proc/PID/status`: `VmHWM` is the most it ever had, `RssAnon` what it has now
/// of its own.
///
/// # Errors
///
/// When it has ended, or the kernel does not tell.
pub fn memory(process: u32, which: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))
        .with_context(|| format!("process {process} has ended"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let kilobytes = value.unwrap_or_default().split_whitespace().next().unwrap_or_default();
    Ok(kilobytes.parse::<u64>().with_context(|| format!("no {which}"))? * 1_024)
}

/// From now on Ctrl-C and SIGTERM are heard, and do not end the process before it has cleaned up.
///
/// # Errors
///
/// When the system refuses.
pub fn watch_for_interrupts() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        INTERRUPTED.store(true, Ordering::Release);
    });
    Ok(())
}

/// Whether somebody wants this to end.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
