//! Which pairs of NATs become direct, and how soon anything gets through.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::cell::{Cell, Expected, Links};
use lanyard_netns::pair::{Traffic, ping, see_each_other};
use lanyard_netns::{Agent, Fleet, Lab, connect, connect_pair, wait_for};

/// Every pair of these is joined by plain punching (tests/natlab measures it).
const PUNCHABLE: &[&str] = &["open", "full-cone", "addr-restricted", "port-restricted", "remapped"];

const FIRST_REPLY: Duration = Duration::from_secs(1);
const DIRECT: Duration = Duration::from_secs(3);

fn becomes(pair: &str, path: Expected) {
    let cell = Cell::named(pair).unwrap();
    assert_eq!(cell.expected, path, "{pair}");
    let outcome = connect_pair(&cell.topology(Links::default()), cell.patience());
    let outcome = outcome.unwrap_or_else(|error| panic!("{pair}: {error:#}"));
    println!("{pair}: {outcome:?}");
    assert!(outcome.first_reply < FIRST_REPLY, "{pair}: the first reply took {:?}", outcome.first_reply);
    assert_eq!(outcome.path, path.path(), "{pair}");
    if path == Expected::Direct {
        assert!(outcome.direct_after.is_some_and(|after| after < DIRECT), "{pair}: {outcome:?}");
    }
}

#[test]
fn every_pair_that_can_be_punched_is_direct_within_three_seconds() {
    for (index, a) in PUNCHABLE.iter().enumerate() {
        for b in &PUNCHABLE[index..] {
            becomes(&format!("{a}:{b}"), Expected::Direct);
        }
    }
}

#[test]
fn two_symmetric_ends_are_relayed_at_once() {
    for pair in ["symmetric:symmetric", "symmetric:addr-symmetric", "symmetric-seq:symmetric"] {
        becomes(pair, Expected::Relay);
    }
}

#[test]
fn a_symmetric_end_is_direct_with_an_end_that_lets_its_address_in() {
    for pair in ["symmetric:full-cone", "addr-restricted:symmetric", "symmetric:open"] {
        becomes(pair, Expected::Direct);
    }
}

#[test]
fn ports_that_follow_a_pattern_are_foreseen() {
    for pair in ["symmetric-seq:port-restricted", "symmetric-seq:symmetric-seq", "port-restricted:block-512"]
    {
        becomes(pair, Expected::Direct);
    }
}

/// 256 sockets and 1,200 guesses meet 99 times in 100, and `make matrix` counts them; here one in three is enough.
#[test]
fn ports_at_random_are_guessed() {
    let cell = Cell::named("port-restricted:symmetric").unwrap();
    let is_direct = |_: &usize| {
        let outcome = connect_pair(&cell.topology(Links::default()), cell.patience()).unwrap();
        println!("port-restricted:symmetric: {outcome:?}");
        outcome.path == Expected::Direct.path()
    };
    assert!((0..3).any(|run| is_direct(&run)), "three misses in a row are one in a million");
}

/// Either end is killed and comes back: whoever has the guessed socket, and whoever guessed, punches anew.
#[test]
fn a_guessed_path_comes_back_after_either_end_restarts() {
    let cell = Cell::named("port-restricted:block-512").unwrap();
    let fleet = Fleet::start(Lab::up(&cell.topology(Links::default())).unwrap()).unwrap();
    let (mut a, mut b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    let direct = Expected::Direct.path();
    assert_eq!(connect(&a, &b).unwrap().path, direct);
    for restarted in ["a", "b"] {
        let agent = if restarted == "a" { &mut a } else { &mut b };
        agent.kill();
        agent.start().unwrap();
        see_each_other(&a, &b).unwrap();
        let _traffic = Traffic::start(&a, &b).unwrap();
        let begun = Instant::now();
        let log = |error| panic!("{restarted} restarted: {error:#}\n{}\n{}", fleet.log("a"), fleet.log("b"));
        wait_for("a reply", Duration::from_secs(5), || ping(&a, &b, Duration::from_secs(1)).ok().map(drop))
            .unwrap_or_else(log);
        println!("{restarted} restarted: reply after {:?}", begun.elapsed());
        let is_direct =
            |one: &Agent, other: &Agent| one.path_to(&other.host).is_some_and(|path| path == direct);
        let both = || (is_direct(&a, &b) && is_direct(&b, &a)).then_some(());
        wait_for("a direct path", Duration::from_secs(5), both).unwrap_or_else(log);
        println!("{restarted} restarted: direct after {:?}", begun.elapsed());
    }
}

#[test]
fn two_ends_behind_one_nat_are_direct_where_anything_joins_them() {
    for cell in ["same-lan", "same-nat", "cgn"] {
        becomes(cell, Expected::Direct);
    }
}

#[test]
fn ipv6_joins_what_ipv4_does_not() {
    for cell in ["dual-stack", "v6-firewall:v6-firewall"] {
        becomes(cell, Expected::Direct);
    }
    becomes("v6-firewall:open", Expected::Relay);
}
