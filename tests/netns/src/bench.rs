//! What the bench programs have in common: how they begin, and how they show what they measured.

use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bed::Link;

/// A figure that is measured in every round.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    /// Digits behind the point.
    pub digits: usize,
}

impl Figure {
    /// One with this name in JSON, this name in the table, and so many digits behind the point.
    #[must_use]
    pub const fn new(name: &'static str, title: &'static str, digits: usize) -> Self {
        Self { name, title, digits }
    }

    /// A value of it, as the table shows it.
    #[must_use]
    pub fn show(&self, value: f64) -> String {
        format!("{value:.*}", self.digits)
    }
}

/// The main function of the bench `name`: says `usage` if that is asked for, and tells of an error with exit code 2.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the end of a program, not of a library"
)]
pub fn main_of(name: &str, usage: &str, run: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    if std::env::args().skip(1).any(|argument| matches!(argument.as_str(), "--help" | "-h")) {
        print!("{usage}");
        return ExitCode::SUCCESS;
    }
    run().unwrap_or_else(|error| {
        eprintln!("{name}: {error:#}; \"{name} --help\" tells how it is called");
        ExitCode::from(2)
    })
}

/// The kinds of wire that an option asks for: one by its name, or `both`.
///
/// # Errors
///
/// For any other name.
pub fn links(name: &str) -> Result<Vec<Link>> {
    if name == "both" {
        return Ok(Link::ALL.to_vec());
    }
    let link = Link::ALL.into_iter().find(|link| link.name() == name);
    Ok(vec![link.with_context(|| format!("there is no link {name}: veth, nic-like or both"))?])
}

/// What a report says of the machine that it was made on.
#[must_use]
pub fn machine() -> Value {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    json!({ "kernel": kernel.trim(), "cores": cores })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_a_name_and_both_are_both() {
        assert_eq!(links("nic-like").unwrap(), [Link::NicLike]);
        assert_eq!(links("both").unwrap(), Link::ALL);
        assert!(links("wire").is_err());
    }

    #[test]
    fn a_figure_is_shown_with_its_digits() {
        assert_eq!(Figure::new("ratio", "all to one", 2).show(1.0), "1.00");
        assert_eq!(Figure::new("lost", "pings lost", 0).show(3.0), "3");
    }
}
