//! Which pairs of NATs become direct, and how soon anything gets through.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::Duration;

use lanyard_netns::connect_pair;

/// Every pair of these is joined by plain punching (tests/natlab measures it).
const PUNCHABLE: &[&str] = &["open", "full-cone", "addr-restricted", "port-restricted", "remapped"];

const FIRST_REPLY: Duration = Duration::from_secs(1);
const DIRECT: Duration = Duration::from_secs(3);

fn becomes(pair: &str, expected: &str) {
    let outcome = connect_pair(pair).unwrap_or_else(|error| panic!("{pair}: {error:#}"));
    println!("{pair}: {outcome:?}");
    assert!(outcome.first_reply < FIRST_REPLY, "{pair}: the first reply took {:?}", outcome.first_reply);
    assert_eq!(outcome.path, expected, "{pair}");
    if expected == "direct" {
        assert!(outcome.direct_after.is_some_and(|after| after < DIRECT), "{pair}: {outcome:?}");
    }
}

#[test]
fn every_pair_that_can_be_punched_is_direct_within_three_seconds() {
    for (index, a) in PUNCHABLE.iter().enumerate() {
        for b in &PUNCHABLE[index..] {
            becomes(&format!("{a}:{b}"), "direct");
        }
    }
}

#[test]
fn two_symmetric_ends_are_relayed_at_once() {
    for pair in ["symmetric:symmetric", "symmetric:addr-symmetric", "symmetric-seq:symmetric"] {
        becomes(pair, "relay");
    }
}

#[test]
fn a_symmetric_end_is_direct_with_an_end_that_lets_its_address_in() {
    for pair in ["symmetric:full-cone", "addr-restricted:symmetric", "symmetric:open"] {
        becomes(pair, "direct");
    }
}

#[test]
fn two_devices_on_one_lan_are_direct() {
    let lab = lanyard_netns::Lab::up("[site.ra]\nhosts = [\"a\", \"b\"]\n").unwrap();
    let fleet = lanyard_netns::Fleet::start(lab).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    let outcome = lanyard_netns::connect(&a, &b).unwrap();
    assert_eq!(outcome.path, "direct", "{outcome:?}");
}
