//! Draws random scenarios for a given time, on all cores, and names each seed that breaks a promise.
//!
//! `soak [SECONDS [FIRST]]`: a minute, from the first seed that the tests do not run, unless told otherwise.
//! `FIRST` may be hexadecimal with `0x` in front.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::env;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lanyard_sim::run::{each_seed, failure_of, number, repeat_line};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).map(|text| number(&text));
    let seconds = arguments.next().flatten().unwrap_or(60);
    let first = arguments.next().flatten().unwrap_or(1_000);
    let begin = Instant::now();
    let (tried, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let goes_on = |_| begin.elapsed() < Duration::from_secs(seconds);
    each_seed(first, goes_on, |seed| {
        tried.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure_of(seed) {
            failed.fetch_add(1, Ordering::Relaxed);
            println!("{seed:#x} {failure}");
            println!("    {}", repeat_line("random_scenarios_keep_every_promise", seed));
        }
    });
    let (tried, failed) = (tried.into_inner(), failed.into_inner());
    println!("{tried} seeds from {first:#x} on in {:.1?}, {failed} broke a promise", begin.elapsed());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
