//! Draws random scenarios on all cores, counts the virtual time of their pairs, and names each seed that breaks a
//! promise.
//!
//! `soak [--pair-years YEARS | --seconds SECONDS] [--first NUMBER] [--style mixed|plain|wide|years|relays]`, or `soak --failed`
//!
//! Until so many years of pairs were simulated, or so many seconds of real time are over: a minute unless told
//! otherwise. Scenarios are numbered; `--first` goes on where another run ended, in decimal or with `0x` in front.
//! Virtual time counts for each pair of devices that talk to each other, from their first packet to the end of
//! the run; pairs that talk now and then count with their pauses.
//! `--failed` runs every seed that once broke a promise, and nothing else.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lanyard_sim::chance::{self, RELAYS, WIDE, YEARS};
use lanyard_sim::run::{attempt, each_seed, failed_once, number, repeat_line};

/// Seconds of a year of 365 days.
const YEAR: u64 = 31_536_000;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let Some(wish) = Wish::parse(env::args().skip(1)) else {
        eprintln!(
            "soak [--pair-years YEARS | --seconds SECONDS] [--first NUMBER] [--style mixed|plain|wide|years|relays]\n\
             soak --failed"
        );
        return ExitCode::FAILURE;
    };
    let begin = Instant::now();
    let tally = Mutex::new(Tally::new(wish.first, begin));
    let goes_on =
        |place| wish.seed_of(place).is_some() && tally.lock().is_ok_and(|tally| !wish.is_met(&tally, begin));
    each_seed(wish.first, goes_on, |place| {
        let Some(seed) = wish.seed_of(place) else { return };
        let result = attempt(seed);
        let Ok(mut tally) = tally.lock() else { return };
        tally.seeds += 1;
        tally.next = tally.next.max(place + 1);
        let failure = match result {
            Ok(outcome) => {
                tally.pairs += outcome.pair_time;
                tally.steps += outcome.datagrams + outcome.timers;
                outcome.violation.map(|violation| format!("at {} {violation}", violation.at))
            }
            Err(panic) => Some(format!("panic: {panic}")),
        };
        if let Some(failure) = failure {
            tally.failed += 1;
            println!("{seed:#x} {failure}");
            println!("    {}", repeat_line("random_scenarios_keep_every_promise", seed));
        }
        if tally.told.elapsed() >= TELL_EVERY {
            tally.told = Instant::now();
            eprintln!("{}", tally.line(wish.first, begin));
        }
    });
    let Ok(tally) = tally.into_inner() else { return ExitCode::FAILURE };
    println!("{}", tally.line(wish.first, begin));
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is asked for.
struct Wish {
    pairs: Option<Duration>,
    real: Duration,
    first: u64,
    style: fn(u64) -> u64,
    /// These and no others.
    list: Option<Vec<u64>>,
}

impl Wish {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (pairs, real) = (None, Duration::from_secs(60));
        let mut wish = Self { pairs, real, first: 0, style: chance::mixed, list: None };
        while let Some(word) = words.next() {
            if word == "--failed" {
                (wish.list, wish.real) = (Some(failed_once()), Duration::MAX);
                continue;
            }
            let value = words.next()?;
            match word.as_str() {
                "--pair-years" => {
                    let years: f64 = value.parse().ok()?;
                    let seconds = Duration::from_secs(YEAR).as_secs_f64() * years;
                    wish.pairs = Some(Duration::try_from_secs_f64(seconds).ok()?);
                }
                "--seconds" => wish.real = Duration::from_secs(number(&value)?),
                "--first" => wish.first = number(&value)?,
                "--style" => {
                    wish.style = match value.as_str() {
                        "mixed" => chance::mixed,
                        "plain" => |number| number,
                        "wide" => |number| WIDE | number,
                        "years" => |number| YEARS | number,
                        "relays" => |number| RELAYS | number,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        Some(wish)
    }

    /// The seed with this number; none after the end of a list.
    fn seed_of(&self, number: u64) -> Option<u64> {
        match &self.list {
            Some(list) => list.get(usize::try_from(number).ok()?).copied(),
            None => Some((self.style)(number)),
        }
    }

    fn is_met(&self, tally: &Tally, begin: Instant) -> bool {
        self.pairs.map_or_else(|| begin.elapsed() >= self.real, |pairs| tally.pairs >= pairs)
    }
}

/// What was done so far.
struct Tally {
    seeds: u64,
    failed: u64,
    steps: u64,
    pairs: Duration,
    /// Where another run may go on.
    next: u64,
    told: Instant,
}

impl Tally {
    const fn new(next: u64, told: Instant) -> Self {
        Self { seeds: 0, failed: 0, steps: 0, pairs: Duration::ZERO, next, told }
    }

    fn line(&self, first: u64, begin: Instant) -> String {
        let Self { seeds, failed, steps, next, .. } = self;
        let years = self.pairs.as_secs_f64() / Duration::from_secs(YEAR).as_secs_f64();
        let real = begin.elapsed();
        format!(
            "{seeds} seeds, numbers {first:#x} to {:#x}: {years:.2} virtual years of pairs, {steps} steps, \
             {failed} broke a promise, {real:.0?}",
            next.saturating_sub(1)
        )
    }
}
