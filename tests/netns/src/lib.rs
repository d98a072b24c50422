//! Real programs behind real NATs.
//!
//! A [`Lab`] is a miniature internet of network namespaces made by `tests/natlab/natlab`; a [`Fleet`] is one
//! `lanyard-server` and some `lanyard` agents running in it; a [`Transfer`] is TCP through the tunnel whose
//! longest stall is measured. The programs are run as people run them: by their command line, nothing linked in. (Only the bench `crowd` has
//! members beside them that are machines of `proto`.)
//!
//! Everything here needs root and Linux, sends traffic only inside the namespaces it made, and cleans up after
//! itself, also when a test panics: the lab is tied to the process that made it.

pub mod bed;
pub mod bench;
pub mod cell;
pub mod coordinator;
pub mod disturbance;
pub mod fleet;
pub mod inside;
pub mod interrupts;
pub mod journal;
pub mod lab;
pub mod median;
pub mod namespaces;
pub mod pair;
pub mod pattern;
pub mod process;
pub mod standstill;
pub mod steal;
pub mod team;
pub mod transfer;

pub use cell::{Cell, Expected};
pub use fleet::{Agent, Fleet};
pub use lab::Lab;
pub use pair::{Outcome, connect, connect_pair};
pub use transfer::Transfer;

use std::time::{Duration, Instant};

/// Asks `question` again and again until it has an answer, or fails naming what was missing.
///
/// # Errors
///
/// When `limit` has passed without an answer.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = question() {
            return Ok(answer);
        }
        anyhow::ensure!(begun.elapsed() < limit, "after {limit:?} still missing: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
