//! The coordinator is away, and everybody restarts.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::pair::first_ping;
use lanyard_netns::{Fleet, Lab, connect, wait_for};

/// How long the coordinator is away before the devices restart: `LANYARD_OUTAGE_SECONDS`, 10 s unless told.
fn outage() -> Duration {
    let told = std::env::var("LANYARD_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(told.unwrap_or(10))
}

#[test]
fn two_restarted_devices_find_each_other_without_a_coordinator() {
    let mut fleet = Fleet::start(Lab::up("port-restricted:port-restricted").unwrap()).unwrap();
    let (mut a, mut b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    assert_eq!(connect(&a, &b).unwrap().path, "direct");
    wait_for("the state on disk", Duration::from_secs(5), || {
        let saved = std::fs::read_to_string(fleet.directory().join("a/state.json")).ok()?;
        saved.contains("endpoints").then_some(())
    })
    .unwrap();

    fleet.kill_coordinator();
    let begun = Instant::now();
    wait_for("the outage", outage() + Duration::from_secs(5), || (begun.elapsed() >= outage()).then_some(()))
        .unwrap();
    a.kill();
    b.kill();
    b.start().unwrap();
    a.start().unwrap();

    let begun = Instant::now();
    let reply = wait_for("a reply from disk alone", Duration::from_secs(60), || first_ping(&a, &b).ok());
    reply.unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", fleet.log("a"), fleet.log("b")));
    println!("the tunnel was back {:?} after the restart", begun.elapsed());
    assert_eq!(a.path_to("b").as_deref(), Some("direct"));
}
