//! How fast the simulator is: sealed steps a minute, with a hundred devices.
//!
//! A step is one datagram taken from the wire by a machine (a device, a coordinator, or the tunnel that stands
//! for WireGuard), or one timer of a machine that went off. Everything is sealed as in earnest: X25519 and
//! BLAKE2s where sessions begin, ChaCha20-Poly1305 on every datagram of a session or a tunnel. Not counted are
//! routers, links, the scenario's own acts and the oracle's looks, though their time is.
//!
//! `pace [MINIMUM]` runs a world for a minute of virtual time, alone and then one on each core, and fails if the
//! better figure is below the minimum: five million steps a minute of real time unless told otherwise.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::env;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use lanyard_sim::nat::Kind;
use lanyard_sim::run::{Outcome, run};
use lanyard_sim::script::{Act, Flow, Scenario};

/// Devices of the world.
const DEVICES: usize = 100;

/// Steps a minute of real time that are asked for.
const MINIMUM: u64 = 5_000_000;

fn main() -> ExitCode {
    let minimum = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(MINIMUM);
    let (alone, pace) = measure(1);
    if let Some(violation) = &alone.violation {
        eprintln!("{}: {}", violation.rule, violation.detail);
        return ExitCode::FAILURE;
    }
    let Outcome { datagrams, timers, .. } = alone;
    println!("{DEVICES} devices, a minute of virtual time: {datagrams} sealed datagrams, {timers} timers");
    println!("one core:  {pace} sealed steps a minute");
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let together = measure(cores).1;
    println!("{cores} cores: {together} sealed steps a minute");
    if pace.max(together) < minimum {
        eprintln!("fewer than {minimum} a minute");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs one world on each of so many cores: the outcome of the first, and the steps a minute of all.
fn measure(cores: usize) -> (Outcome, u64) {
    let begin = Instant::now();
    let first = thread::scope(|scope| {
        for seed in 2..=u64::try_from(cores).unwrap_or(1) {
            scope.spawn(move || run(&busy(seed)));
        }
        run(&busy(1))
    });
    let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    let steps = (first.datagrams + first.timers) * u64::try_from(cores).unwrap_or(1);
    (first, steps.saturating_mul(60_000_000) / micros)
}

/// A hundred devices behind routers of every usual kind, each asking the next fifty times a second, while
/// routers forget and the coordinator restarts.
fn busy(seed: u64) -> Scenario {
    let kinds = [Kind::PortRestricted, Kind::FullCone, Kind::Symmetric, Kind::Remapped, Kind::AddrRestricted];
    let all: Vec<Kind> = kinds.into_iter().cycle().take(DEVICES).collect();
    let mut scenario = Scenario::of(&all).seeded(seed).until(60);
    scenario.flows = (0..DEVICES)
        .map(|host| Flow { every: Duration::from_millis(20), ..Flow::between(host, (host + 1) % DEVICES) })
        .collect();
    scenario.at(30, Act::CoordinatorCrash(0, Duration::from_secs(1)))
}
