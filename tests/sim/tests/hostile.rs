//! Hostile bytes: nothing breaks, nothing grows, nobody gets more than they sent.

use std::time::Duration;

use lanyard_sim::nat::Kind;
use lanyard_sim::run::check_each;
use lanyard_sim::script::{Act, Scenario};

#[test]
fn a_flood_of_hostile_bytes_disturbs_nobody_and_is_not_answered_with_more() {
    let outcomes =
        check_each("a_flood_of_hostile_bytes_disturbs_nobody_and_is_not_answered_with_more", || {
            let scenario = Scenario::of(&[Kind::FullCone, Kind::Open, Kind::Symmetric]).ping(0, 1).ping(0, 2);
            (4..24).fold(scenario, |scenario, second| scenario.at(second, Act::Hostile(300)))
        });
    for outcome in outcomes {
        for flow in &outcome.flows {
            assert!(flow.longest_gap <= Duration::from_millis(500), "{flow:?}");
        }
    }
}

#[test]
fn an_attack_during_joining_does_not_keep_anybody_out() {
    check_each("an_attack_during_joining_does_not_keep_anybody_out", || {
        let scenario = Scenario::of(&[Kind::PortRestricted, Kind::Remapped]).ping(0, 1);
        (0..6).fold(scenario, |scenario, second| scenario.at(second, Act::Hostile(200)))
    });
}

#[test]
fn replays_while_a_device_restarts_do_not_bring_old_sessions_back() {
    check_each("replays_while_a_device_restarts_do_not_bring_old_sessions_back", || {
        let host = lanyard_sim::net::HostId(1);
        let scenario = Scenario::of(&[Kind::PortRestricted, Kind::FullCone])
            .ping(0, 1)
            .at(15, Act::Crash(host, Duration::from_secs(2)))
            .at(25, Act::CoordinatorCrash(0, Duration::from_secs(2)));
        (12..40).fold(scenario, |scenario, second| scenario.at(second, Act::Hostile(100))).until(120)
    });
}
