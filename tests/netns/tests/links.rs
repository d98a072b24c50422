//! Links that are worse than they look: short-lived mappings, and packets that vanish for their size.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::pair::first_ping;
use lanyard_netns::{Agent, Fleet, Lab, Transfer, connect, wait_for};

/// Idle for this long, several lifetimes of a mapping.
const IDLE: Duration = Duration::from_secs(90);

/// A transfer over a link with nothing wrong carries at least this much here, in a second.
const RATE_MIN: f64 = 4e6;

fn joined(topology: &str) -> (Fleet, Agent, Agent) {
    let fleet = Fleet::start(Lab::up(topology).unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    (fleet, a, b)
}

fn passes(time: Duration) {
    let begun = Instant::now();
    wait_for("the time to pass", time * 2, || (begun.elapsed() >= time).then_some(())).unwrap();
}

#[test]
fn a_pair_that_was_idle_for_long_behind_forgetful_routers_answers() {
    let topology =
        "[site.ra]\nudp_timeout = 20\nhosts = [\"a\"]\n[site.rb]\nudp_timeout = 20\nhosts = [\"b\"]\n";
    let (fleet, a, b) = joined(topology);
    assert_eq!(connect(&a, &b).unwrap().path, "direct");
    passes(IDLE);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let reply = first_ping(from, to).unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("b")));
        println!("{} to {} after {IDLE:?}: {reply:?}", from.host, to.host);
        assert!(reply < Duration::from_secs(1), "{reply:?}");
        passes(IDLE / 2);
    }
}

/// Sends for some seconds as fast as it goes; full-size packets must arrive, both ways.
fn carries_bulk(a: &Agent, b: &Agent, logs: &dyn Fn() -> String) {
    for (from, to) in [(a, b), (b, a)] {
        let transfer = Transfer::start(from.namespace(), to.namespace(), to.address().unwrap(), 0).unwrap();
        passes(Duration::from_secs(3));
        let received = transfer.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", logs()));
        let rate = received.bytes as f64 / received.took.as_secs_f64();
        println!(
            "{} to {} by {:?}: {:.1} MB/s, longest pause {:?}",
            from.host,
            to.host,
            from.path_to(&to.host),
            rate / 1e6,
            received.longest_stall
        );
        assert!(rate > RATE_MIN, "{rate} bytes a second\n{}", logs());
        assert!(received.longest_stall < Duration::from_secs(1), "{received:?}\n{}", logs());
    }
}

#[test]
fn bulk_passes_a_link_that_swallows_large_packets() {
    for (kind, mtu, path) in [
        ("port-restricted", 1_380, "direct"),
        ("symmetric", 1_380, "relay"),
        ("port-restricted", 1_300, "direct"),
        ("symmetric", 1_300, "relay"),
        ("udp-blocked", 1_380, "relay"),
    ] {
        let bad = format!("[site.ra]\nnat = \"{kind}\"\npmtud = false\nmtu = {mtu}\nhosts = [\"a\"]\n");
        let other = if path == "direct" { "port-restricted" } else { "symmetric" };
        let topology = format!("{bad}[site.rb]\nnat = \"{other}\"\nhosts = [\"b\"]\n");
        let (fleet, a, b) = joined(&topology);
        let logs = || format!("{kind} {mtu}\n{}\n{}", fleet.log("a"), fleet.log("b"));
        let outcome = connect(&a, &b).unwrap_or_else(|error| panic!("{error:#}\n{}", logs()));
        assert_eq!(outcome.path, path, "{}", logs());
        println!("{kind}, MTU {mtu}:");
        carries_bulk(&a, &b, &logs);
    }
}
