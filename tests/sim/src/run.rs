//! Running a scenario, many seeds, and what is printed when a promise is broken.

use std::collections::BTreeSet;
use std::env;
use std::num::NonZero;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lanyard_proto::time::Instant;

use crate::chance;
use crate::net::HostId;
use crate::oracle::{Record, Violation};
use crate::script::Scenario;
use crate::shrink::shrink;
use crate::trace::{Party, Trace};
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of everything that happened, in order.
    pub hash: u64,
    /// Sealed datagrams that reached a machine or a tunnel.
    pub datagrams: u64,
    /// Timers of machines that went off.
    pub timers: u64,
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// How each flow fared, in the scenario's order.
    pub flows: Vec<Record>,
    /// When the run ended.
    pub ended_at: Instant,
    /// How long pairs that talk to each other were simulated, all pairs together.
    pub pair_time: Duration,
}

/// Runs a scenario to its end.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    run_traced(scenario, Trace::hashing()).0
}

/// Runs a scenario and leaves the world as it was at the end, to look into.
///
/// # Panics
///
/// As [`check`] does.
#[must_use]
pub fn check_world(name: &str, scenario: &Scenario) -> World {
    let (outcome, world) = run_traced(scenario, Trace::hashing());
    if let Some(violation) = &outcome.violation {
        panic!("{}", explain(name, scenario, violation));
    }
    world
}

/// Runs a scenario and demands that every promise holds.
///
/// # Panics
///
/// If one does not: with the line that repeats it and the packets of the pair.
#[must_use]
pub fn check(name: &str, scenario: &Scenario) -> Outcome {
    let outcome = run(scenario);
    if let Some(violation) = &outcome.violation {
        panic!("{}", explain(name, scenario, violation));
    }
    outcome
}

/// Checks a hand-written scenario under several seeds; `LANYARD_SIM_SEED` chooses a single one.
///
/// # Panics
///
/// As [`check`] does.
pub fn check_each(name: &str, build: impl Fn() -> Scenario) -> Vec<Outcome> {
    let seeds = chosen_seed().map_or_else(|| vec![1, 2, 3], |seed| vec![seed]);
    seeds.into_iter().map(|seed| check(name, &build().seeded(seed))).collect()
}

/// Runs the scenario that each seed stands for; `LANYARD_SIM_SEED` chooses a single one.
///
/// # Panics
///
/// If a promise is broken, as [`check`] does, for the lowest of the failing seeds.
pub fn check_seeds(name: &str, first: u64, count: u64) {
    let (first, count) = chosen_seed().map_or((first, count), |seed| (seed, 1));
    let lowest = AtomicU64::new(u64::MAX);
    let end = first.saturating_add(count);
    // Seeds are handed out in order, so nothing below a failing one is left out.
    let goes_on = |seed| seed < end && seed < lowest.load(Ordering::Relaxed);
    each_seed(first, goes_on, |seed| {
        if failure_of(seed).is_some() {
            lowest.fetch_min(seed, Ordering::Relaxed);
        }
    });
    if lowest.load(Ordering::Relaxed) < end {
        check_seed(name, lowest.into_inner());
    }
}

/// Runs these seeds as [`check_seeds`] does.
///
/// # Panics
///
/// If a promise is broken, for one of the failing seeds.
pub fn check_list(name: &str, seeds: &[u64]) {
    let failed = AtomicU64::new(u64::MAX);
    let seed_at = |place: u64| usize::try_from(place).ok().and_then(|place| seeds.get(place)).copied();
    let goes_on = |place| seed_at(place).is_some() && failed.load(Ordering::Relaxed) == u64::MAX;
    each_seed(0, goes_on, |place| {
        if let Some(seed) = seed_at(place).filter(|seed| failure_of(*seed).is_some()) {
            failed.store(seed, Ordering::Relaxed);
        }
    });
    if failed.load(Ordering::Relaxed) != u64::MAX {
        check_seed(name, failed.into_inner());
    }
}

/// Every seed that once broke a promise, from `seeds.txt`, in the order in which they were found.
#[must_use]
pub fn failed_once() -> Vec<u64> {
    let lines = include_str!("../seeds.txt").lines();
    lines.filter_map(|line| number(line.split_whitespace().next()?)).collect()
}

/// The seed that the environment asks for, decimal or with `0x` in front.
#[must_use]
pub fn chosen_seed() -> Option<u64> {
    number(&env::var("LANYARD_SIM_SEED").ok()?)
}

/// A number, decimal or with `0x` in front.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

/// How a random seed breaks a promise, told as by a failing test; `None` if it does not.
#[must_use]
pub fn story_of(seed: u64) -> Option<String> {
    let scenario = chance::draw(seed);
    let violation = run(&scenario).violation?;
    Some(explain("random_scenarios_keep_every_promise", &scenario, &violation))
}

/// How many seeds the environment asks for.
#[must_use]
pub fn seed_count(default: u64) -> u64 {
    env::var("LANYARD_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Hands out seeds in order to all cores, as long as `goes_on` says so of the next one.
pub fn each_seed(first: u64, goes_on: impl Fn(u64) -> bool + Sync, visit: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(first);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(seed) {
                        break;
                    }
                    visit(seed);
                }
            });
        }
    });
}

/// What is wrong with a random seed: a broken promise, or a panic in a machine.
#[must_use]
pub fn failure_of(seed: u64) -> Option<String> {
    match attempt(seed) {
        Ok(outcome) => outcome.violation.map(|violation| violation.to_string()),
        Err(panic) => Some(panic),
    }
}

/// Runs the scenario of a random seed.
///
/// # Errors
///
/// What a machine said that panicked.
pub fn attempt(seed: u64) -> Result<Outcome, String> {
    panic::catch_unwind(|| run(&chance::draw(seed))).map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

fn check_seed(name: &str, seed: u64) {
    let scenario = chance::draw(seed);
    let result = panic::catch_unwind(|| run(&scenario));
    let Ok(outcome) = result else {
        panic!("a machine panicked\n{}", repeat_line(name, seed));
    };
    if let Some(violation) = &outcome.violation {
        panic!("{}", explain(name, &scenario, violation));
    }
}

/// The line that repeats a failure of a test.
#[must_use]
pub fn repeat_line(name: &str, seed: u64) -> String {
    format!("LANYARD_SIM_SEED={seed:#x} cargo test -p lanyard-sim {name}")
}

/// Another run of a failing scenario, made smaller, with the packets of the pair written down.
fn explain(name: &str, scenario: &Scenario, violation: &Violation) -> String {
    let small = shrink(scenario, violation.rule);
    let shown = run(&small).violation.unwrap_or_else(|| violation.clone());
    let mut hosts = shown.hosts.clone();
    if hosts.len() < 2 {
        hosts = (0..small.hosts.len()).map(HostId).collect();
    }
    let only: BTreeSet<Party> =
        hosts.iter().map(|host| Party::Device(host.0)).chain([Party::Stranger]).collect();
    let (_, world) = run_traced(&small, Trace::recording(only));
    let mut lines = vec![
        repeat_line(name, scenario.seed),
        format!("{} at {}: {}", violation.rule, violation.at, violation.detail),
        format!("made smaller: {} at {}: {}", shown.rule, shown.at, shown.detail),
        world.trace.mermaid(),
    ];
    for (host, plan) in small.hosts.iter().enumerate() {
        if let Some(site) = small.sites.get(plan.site.0) {
            lines.push(format!("d{host} starts at site {} {site:?}", plan.site.0));
        }
    }
    for server in world.coordinators.iter().flat_map(|coordinator| &coordinator.servers) {
        lines.push(format!("s{} ignored {:?}", server.id.0, server.rejected));
    }
    for host in hosts.iter().filter_map(|host| world.host(*host)) {
        lines.push(format!("d{} ignored {:?}", host.id.0, host.rejected));
    }
    lines.extend(small.flows.iter().map(|flow| format!("{flow:?}")));
    lines.extend(small.acts.iter().map(|(at, act)| format!("at {at}: {act:?}")));
    lines.join("\n")
}

fn run_traced(scenario: &Scenario, trace: Trace) -> (Outcome, World) {
    let mut world = World::new(scenario.clone(), trace);
    while world.step() {}
    world.judge_end();
    let outcome = Outcome {
        hash: world.trace.hash(),
        datagrams: world.datagrams,
        timers: world.timers,
        violation: world.violation.clone(),
        flows: world.flows.iter().map(|state| state.watch.record.clone()).collect(),
        ended_at: world.now(),
        pair_time: scenario.pair_time(world.now()),
    };
    (outcome, world)
}
