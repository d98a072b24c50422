//! Devices that move, routers that forget, computers that sleep.

use std::time::Duration;

use lanyard_sim::nat::Kind;
use lanyard_sim::net::{HostId, SiteConfig, SiteId};
use lanyard_sim::run::{Outcome, check_each};
use lanyard_sim::script::{Act, Scenario};

const HOME: &[Kind] = &[Kind::PortRestricted, Kind::PortRestricted, Kind::Symmetric, Kind::FullCone];

#[test]
fn a_roaming_device_keeps_its_session() {
    for host in [0, 1] {
        let outcomes = check_each("a_roaming_device_keeps_its_session", || {
            home().at(15, Act::Roam(HostId(host), SiteId(3))).until(40)
        });
        expect_short_gap(&outcomes, "roam", 2_000, true);
    }
}

#[test]
fn a_device_that_roams_behind_a_symmetric_router_talks_on() {
    let outcomes = check_each("a_device_that_roams_behind_a_symmetric_router_talks_on", || {
        home().at(15, Act::Roam(HostId(0), SiteId(2))).until(40)
    });
    // Direct by a guess, or relayed: that is chance.
    for outcome in &outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_secs(2), "{flow:?}");
    }
}

#[test]
fn a_device_that_comes_home_to_its_peer_uses_the_lan() {
    let outcomes = check_each("a_device_that_comes_home_to_its_peer_uses_the_lan", || {
        home().at(15, Act::Roam(HostId(0), SiteId(1))).until(40)
    });
    expect_short_gap(&outcomes, "come home", 2_000, true);
}

#[test]
fn a_router_that_forgets_interrupts_a_direct_pair_for_less_than_two_seconds() {
    for site in [0, 1] {
        for act in [Act::NatReboot(SiteId(site)), Act::NatRebind(SiteId(site)), Act::NewAddress(SiteId(site))]
        {
            let name = "a_router_that_forgets_interrupts_a_direct_pair_for_less_than_two_seconds";
            let outcomes = check_each(name, || home().at(15, act).until(40));
            expect_short_gap(&outcomes, &format!("{act:?}"), 2_000, true);
        }
    }
}

#[test]
fn both_routers_may_forget_at_once() {
    let outcomes = check_each("both_routers_may_forget_at_once", || {
        home().at(15, Act::NatRebind(SiteId(0))).at(15, Act::NatRebind(SiteId(1))).until(40)
    });
    expect_short_gap(&outcomes, "both rebind", 2_500, true);
}

#[test]
fn both_devices_may_roam_at_once() {
    let outcomes = check_each("both_devices_may_roam_at_once", || {
        home().at(15, Act::Roam(HostId(0), SiteId(3))).at(15, Act::Roam(HostId(1), SiteId(0))).until(40)
    });
    expect_short_gap(&outcomes, "both roam", 2_500, true);
}

#[test]
fn a_device_that_roams_back_and_forth_is_direct_in_the_end() {
    let outcomes = check_each("a_device_that_roams_back_and_forth_is_direct_in_the_end", || {
        (0..6)
            .fold(home(), |scenario, turn| {
                scenario.at(15 + 4 * turn, Act::Roam(HostId(0), SiteId(if turn % 2 == 0 { 3 } else { 0 })))
            })
            .until(60)
    });
    expect_short_gap(&outcomes, "back and forth", 2_500, true);
}

#[test]
fn a_computer_that_slept_is_connected_again_soon() {
    for seconds in [5, 60, 600] {
        let outcomes = check_each("a_computer_that_slept_is_connected_again_soon", || {
            home().at(15, Act::Suspend(HostId(1), Duration::from_secs(seconds))).until(60 + seconds)
        });
        for outcome in outcomes {
            let gap = outcome.flows[0].longest_gap;
            assert!(gap <= Duration::from_secs(seconds + 5), "{gap:?} after {seconds} s of sleep");
        }
    }
}

#[test]
fn an_uplink_that_was_gone_for_a_while_is_used_again() {
    for seconds in [2, 20, 120] {
        check_each("an_uplink_that_was_gone_for_a_while_is_used_again", || {
            home().at(15, Act::UplinkDown(SiteId(0), Duration::from_secs(seconds))).until(120 + seconds)
        });
    }
}

fn home() -> Scenario {
    let mut scenario = Scenario::of(&HOME[..2]).ping(0, 1);
    for (lan, kind) in (30..).zip(&HOME[2..]) {
        scenario.sites.push(SiteConfig { lan, ..SiteConfig::of(*kind) });
    }
    scenario
}

fn expect_short_gap(outcomes: &[Outcome], what: &str, limit_ms: u64, direct: bool) {
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(limit_ms), "{what}: {flow:?}");
        assert_eq!(flow.is_direct, direct, "{what}: {flow:?}");
    }
}
