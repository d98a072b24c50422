//! A TCP transfer through everything that happens to a path: it never breaks, and stalls two seconds at most.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::pair::{first_ping, see_each_other};
use lanyard_netns::{Agent, Fleet, Lab, Transfer, connect, wait_for};

/// The longest a transfer may stand still.
const STALL: Duration = Duration::from_secs(2);

/// Slow enough that the lab's links are never the limit, fast enough that a stall is seen.
const RATE: u64 = 2_000_000;

struct Running {
    fleet: Fleet,
    a: Agent,
    b: Agent,
    transfer: Transfer,
}

/// Two joined devices with a transfer between them, on a settled path of kind `path`.
fn running(kinds: &str, path: &str) -> Running {
    let fleet = Fleet::start(Lab::up(kinds).unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    let outcome = connect(&a, &b).unwrap();
    assert_eq!(outcome.path, path, "{outcome:?}");
    let transfer = Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), RATE).unwrap();
    let running = Running { fleet, a, b, transfer };
    running.goes_on_for(Duration::from_secs(1));
    running
}

impl Running {
    /// Lets the transfer run; it must still be there afterwards.
    fn goes_on_for(&self, time: Duration) {
        let begun = Instant::now();
        wait_for("the time to pass", time + Duration::from_secs(1), || {
            (begun.elapsed() >= time || !self.transfer.is_alive()).then_some(())
        })
        .unwrap();
        assert!(self.transfer.is_alive(), "the transfer broke\n{}", self.logs());
    }

    fn path_becomes(&self, path: &str, limit: Duration) {
        wait_for(&format!("path {path} at both ends"), limit, || {
            let there = self.a.path_to("b")? == path && self.b.path_to("a")? == path;
            there.then_some(())
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.logs()));
    }

    fn logs(&self) -> String {
        ["server", "a", "b"].map(|who| self.fleet.log(who)).join("\n")
    }

    /// Ends the transfer; every byte must have arrived without a long stall.
    fn ends_well(self) {
        let logs = self.logs();
        let received = self.transfer.finish().unwrap_or_else(|error| panic!("{error:#}\n{logs}"));
        println!("{received:?}");
        assert!(received.longest_stall <= STALL, "{received:?}\n{logs}");
    }
}

#[test]
fn a_transfer_survives_the_promotion_from_relay_to_direct() {
    let fleet = Fleet::start(Lab::up("port-restricted:remapped").unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    see_each_other(&a, &b).unwrap();
    let transfer = Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), RATE).unwrap();
    let running = Running { fleet, a, b, transfer };
    running.path_becomes("direct", Duration::from_secs(5));
    running.goes_on_for(Duration::from_secs(2));
    running.ends_well();
}

#[test]
fn a_transfer_survives_a_router_that_forgets_every_mapping() {
    let running = running("port-restricted:port-restricted", "direct");
    running.fleet.lab.event(&["reboot", "ra"]).unwrap();
    running.goes_on_for(Duration::from_secs(4));
    running.fleet.lab.event(&["reboot", "rb"]).unwrap();
    running.goes_on_for(Duration::from_secs(4));
    running.ends_well();
}

#[test]
fn a_transfer_falls_back_to_the_relay_when_the_direct_path_dies_for_good() {
    let running = running("full-cone:symmetric", "direct");
    // From now on what comes to the full cone uninvited is dropped, and the other end changes its port.
    running.fleet.lab.event(&["set", "ra", "nat=port-restricted"]).unwrap();
    running.fleet.lab.event(&["rebind", "rb"]).unwrap();
    running.path_becomes("relay", Duration::from_secs(5));
    running.goes_on_for(Duration::from_secs(2));
    running.ends_well();
}

#[test]
fn a_transfer_survives_a_rebinding_of_either_nat() {
    let running = running("port-restricted:port-restricted", "direct");
    for site in ["ra", "rb"] {
        running.fleet.lab.event(&["rebind", site]).unwrap();
        running.goes_on_for(Duration::from_secs(5));
    }
    running.path_becomes("direct", Duration::from_secs(10));
    running.ends_well();
}

#[test]
fn a_direct_transfer_does_not_notice_a_coordinator_that_is_killed() {
    let mut running = running("port-restricted:full-cone", "direct");
    running.fleet.kill_coordinator();
    running.goes_on_for(Duration::from_secs(3));
    running.fleet.start_coordinator().unwrap();
    running.goes_on_for(Duration::from_secs(2));
    running.ends_well();
}

#[test]
fn a_relayed_transfer_survives_a_coordinator_that_is_killed_and_restarted() {
    let mut running = running("symmetric:symmetric", "relay");
    running.fleet.kill_coordinator();
    running.fleet.spawn_coordinator().unwrap();
    running.goes_on_for(Duration::from_secs(5));
    running.ends_well();
}

#[test]
fn a_removed_member_is_cut_off_within_seconds() {
    let fleet = Fleet::start(Lab::up("port-restricted:port-restricted").unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    connect(&a, &b).unwrap();
    fleet.admin(&["member", "remove", "home", "b"]).unwrap();
    wait_for("a forgets b", Duration::from_secs(2), || a.peer("b").err()).unwrap();
    assert!(first_ping(&a, &b).is_err(), "a removed member still answers");
}
