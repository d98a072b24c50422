//! What a process costs, as /proc tells it.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// User and system time so far.
///
/// # Errors
///
/// When the process has ended.
pub fn cpu_time(process: u32) -> Result<Duration> {
    let text = read(process, "stat")?;
    // The name stands in parentheses and may hold anything; the times are the 12th and 13th fields behind it.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|index| fields.get(*index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0))
        .sum();
    // USER_HZ is 100 wherever Linux runs.
    Ok(Duration::from_millis(ticks * 10))
}

/// The most memory it ever had, in bytes.
///
/// # Errors
///
/// When the process has ended.
pub fn peak_memory(process: u32) -> Result<u64> {
    memory(process, "VmHWM:")
}

/// The memory it has now (RSS), in bytes.
///
/// # Errors
///
/// When the process has ended.
pub fn resident_memory(process: u32) -> Result<u64> {
    memory(process, "VmRSS:")
}

/// The memory it has of its own now, without pages of files (`RssAnon`), in bytes.
///
/// # Errors
///
/// When the process has ended.
pub fn own_memory(process: u32) -> Result<u64> {
    memory(process, "RssAnon:")
}

fn memory(process: u32, field: &str) -> Result<u64> {
    let text = read(process, "status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kilobytes = line.split_whitespace().next().unwrap_or_default().parse::<u64>();
    Ok(kilobytes.with_context(|| format!("process {process} has no {field}"))? * 1_024)
}

fn read(process: u32, what: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{process}/{what}"))
        .with_context(|| format!("process {process} has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_had_no_less() {
        let own = std::process::id();
        let resident = resident_memory(own).unwrap();
        assert!(resident > 1 << 18, "{resident}");
        assert!(peak_memory(own).unwrap() >= resident && own_memory(own).unwrap() < resident);
        assert!(cpu_time(own).is_ok());
    }
}
