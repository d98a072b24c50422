//! Faults of links, and devices that are closer to each other than usual.

use std::time::Duration;

use lanyard_sim::nat::Kind;
use lanyard_sim::net::{HostId, SiteId};
use lanyard_sim::run::check_each;
use lanyard_sim::script::{Act, HostPlan, Scenario};

#[test]
fn at_sixty_percent_loss_a_pair_goes_on_and_is_well_again_soon_after() {
    for kinds in [[Kind::PortRestricted; 2], [Kind::Symmetric; 2]] {
        let name = "at_sixty_percent_loss_a_pair_goes_on_and_is_well_again_soon_after";
        let loss = Act::Lossy(SiteId(0), 60, Duration::from_secs(30));
        for outcome in check_each(name, || Scenario::of(&kinds).ping(0, 1).at(15, loss).until(150)) {
            let flow = &outcome.flows[0];
            // Of three hundred questions one in six is answered at the best.
            assert!(flow.asked - flow.answered < 290, "some get through: {flow:?}");
            assert!(flow.longest_gap <= Duration::from_secs(20), "{flow:?}");
        }
    }
}

#[test]
fn a_direct_path_that_stops_carrying_large_packets_still_carries_small_ones() {
    let name = "a_direct_path_that_stops_carrying_large_packets_still_carries_small_ones";
    let hole = Act::BlackHole(SiteId(0), 1_320, Duration::from_secs(60));
    for outcome in
        check_each(name, || Scenario::of(&[Kind::PortRestricted; 2]).ping(0, 1).at(15, hole).until(120))
    {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(300), "{flow:?}");
        assert!(flow.is_direct, "{flow:?}");
    }
}

#[test]
fn a_pair_whose_sites_lose_each_other_goes_on_by_relay_and_is_direct_again_later() {
    let name = "a_pair_whose_sites_lose_each_other_goes_on_by_relay_and_is_direct_again_later";
    let sever = Act::Sever(SiteId(0), SiteId(1), Duration::from_secs(20));
    for outcome in
        check_each(name, || Scenario::of(&[Kind::PortRestricted; 2]).ping(0, 1).at(15, sever).until(300))
    {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(1_500), "{flow:?}");
        assert!(flow.is_direct, "{flow:?}");
    }
}

#[test]
fn five_devices_that_all_begin_at_the_same_moment_are_all_direct() {
    let name = "five_devices_that_all_begin_at_the_same_moment_are_all_direct";
    let outcomes = check_each(name, || {
        let mut scenario = Scenario::of(&[Kind::PortRestricted; 5]);
        for from in 0..5 {
            for to in (0..5).filter(|to| *to != from) {
                scenario = scenario.ping(from, to);
            }
        }
        scenario
    });
    for outcome in outcomes {
        for flow in &outcome.flows {
            assert!(flow.direct_after.is_some_and(|after| after <= Duration::from_secs(2)), "{flow:?}");
        }
    }
}

#[test]
fn two_devices_on_one_computer_reach_each_other_and_the_world() {
    for kind in [Kind::Open, Kind::FullCone, Kind::PortRestricted, Kind::Symmetric] {
        let name = "two_devices_on_one_computer_reach_each_other_and_the_world";
        let outcomes = check_each(name, || beside(kind).ping(0, 2).ping(1, 2).ping(2, 1).ping(0, 1));
        for outcome in outcomes {
            let neighbour = &outcome.flows[0];
            assert!(neighbour.is_direct, "{kind:?}: {neighbour:?}");
            let first = |flow: &lanyard_sim::oracle::Record| flow.first_answer_after;
            assert!(
                outcome.flows.iter().all(|flow| first(flow).is_some_and(|at| at < Duration::from_secs(1))),
                "{kind:?}: {:?}",
                outcome.flows
            );
        }
    }
}

#[test]
fn two_devices_on_one_computer_move_together() {
    let outcomes = check_each("two_devices_on_one_computer_move_together", || {
        let mut scenario = beside(Kind::PortRestricted).ping(0, 2).ping(2, 1);
        scenario.sites.push(scenario.sites[0]);
        scenario.at(15, Act::Roam(HostId(2), SiteId(2))).until(60)
    });
    for outcome in outcomes {
        assert!(outcome.flows.iter().all(|flow| flow.is_direct), "{:?}", outcome.flows);
    }
}

/// Two sites with a device each, and a third device on the first one's computer.
fn beside(kind: Kind) -> Scenario {
    let mut scenario = Scenario::of(&[kind, Kind::PortRestricted]);
    scenario.hosts.push(HostPlan { beside: Some(HostId(0)), ..HostPlan::at(SiteId(0)) });
    scenario
}
