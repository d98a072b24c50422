//! Scenarios drawn from seeds, and seeds that once failed.

use lanyard_sim::chance::{self, RELAYS, WIDE, YEARS};
use lanyard_sim::run::{check_seeds, chosen_seed, run, seed_count};

#[test]
fn random_scenarios_keep_every_promise() {
    check_seeds("random_scenarios_keep_every_promise", 0, seed_count(1_000));
}

#[test]
fn every_router_and_every_fault_keep_every_promise() {
    check_seeds("every_router_and_every_fault_keep_every_promise", WIDE, seed_count(1_000) / 3);
}

#[test]
fn pairs_that_move_between_relays_keep_every_promise() {
    check_seeds("pairs_that_move_between_relays_keep_every_promise", RELAYS, seed_count(1_000) / 10);
}

#[test]
fn two_days_keep_every_promise() {
    check_seeds("two_days_keep_every_promise", YEARS, seed_count(1_000) / 500);
}

#[test]
fn every_seed_that_once_failed_passes_now() {
    let listed = include_str!("../seeds.txt");
    for line in listed.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let seed = line.split_whitespace().next().unwrap_or_default().trim_start_matches("0x");
        let seed = u64::from_str_radix(seed, 16).expect("a line of seeds.txt begins with a hexadecimal seed");
        check_seeds("every_seed_that_once_failed_passes_now", seed, 1);
    }
}

#[test]
fn the_same_seed_gives_the_same_hash() {
    let seeds = chosen_seed().map_or(0..12, |seed| seed..seed + 1);
    let mut hashes = std::collections::BTreeSet::new();
    for seed in seeds.clone() {
        let first = run(&chance::draw(seed));
        assert_eq!(first, run(&chance::draw(seed)), "seed {seed:#x}");
        hashes.insert(first.hash);
    }
    assert_eq!(hashes.len(), seeds.count(), "different seeds give different runs");
}
