//! The coordinator is away, and the devices have only each other and what is on their disks.

use std::time::Duration;

use lanyard_sim::nat::Kind;
use lanyard_sim::net::{HostId, SiteId};
use lanyard_sim::run::check_each;
use lanyard_sim::script::{Act, Flow, Scenario};

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_direct_pair_talks_on_through_ten_minutes_without_coordinator() {
    let outcomes = check_each("a_direct_pair_talks_on_through_ten_minutes_without_coordinator", || {
        pair().at(15, Act::CoordinatorCrash(0, TEN_MINUTES)).until(720)
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(300), "{flow:?}");
    }
}

#[test]
fn both_devices_restarted_without_coordinator_find_each_other_from_what_is_on_disk() {
    for kinds in [[Kind::PortRestricted, Kind::PortRestricted], [Kind::FullCone, Kind::AddrRestricted]] {
        let name = "both_devices_restarted_without_coordinator_find_each_other_from_what_is_on_disk";
        let outcomes = check_each(name, || {
            let mut scenario = Scenario::of(&kinds).ping(0, 1);
            scenario.flows.push(Flow::between(1, 0).during(120, 160));
            scenario
                .at(15, Act::CoordinatorCrash(0, TEN_MINUTES))
                .at(60, Act::Crash(HostId(0), Duration::from_secs(2)))
                .at(61, Act::Crash(HostId(1), Duration::from_secs(3)))
                .until(200)
        });
        for outcome in outcomes {
            let flow = &outcome.flows[0];
            assert!(flow.longest_gap <= Duration::from_secs(20), "{flow:?}");
            assert!(flow.is_direct, "{flow:?}");
            assert!(
                outcome.flows[1].first_answer_after.unwrap() <= Duration::from_secs(1),
                "{:?}",
                outcome.flows[1]
            );
        }
    }
}

#[test]
fn a_rebinding_without_coordinator_is_survived_where_the_other_end_can_be_reached() {
    let outcomes =
        check_each("a_rebinding_without_coordinator_is_survived_where_the_other_end_can_be_reached", || {
            Scenario::of(&[Kind::PortRestricted, Kind::FullCone])
                .ping(0, 1)
                .at(15, Act::CoordinatorCrash(0, TEN_MINUTES))
                .at(30, Act::NatRebind(SiteId(0)))
                .until(60)
        });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_secs(2), "{flow:?}");
    }
}

#[test]
fn a_partition_from_the_coordinator_does_not_touch_a_direct_pair() {
    let outcomes = check_each("a_partition_from_the_coordinator_does_not_touch_a_direct_pair", || {
        let long = Duration::from_secs(120);
        pair().at(15, Act::Partition(SiteId(0), 0, long)).at(40, Act::OneWay(SiteId(1), 0, long)).until(300)
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(300), "{flow:?}");
    }
}

#[test]
fn one_of_two_coordinators_may_be_away() {
    let outcomes = check_each("one_of_two_coordinators_may_be_away", || {
        let mut scenario = Scenario::of(&[Kind::Symmetric, Kind::Symmetric, Kind::PortRestricted]);
        scenario.services.coordinators = 2;
        scenario.services.networks = 2;
        for (host, networks) in scenario.hosts.iter_mut().zip([0b01, 0b11, 0b10]) {
            host.networks = networks;
        }
        scenario.ping(0, 1).ping(1, 2).at(15, Act::CoordinatorCrash(1, Duration::from_secs(60))).until(60)
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(300), "the other coordinator's pair: {flow:?}");
    }
}

fn pair() -> Scenario {
    Scenario::of(&[Kind::PortRestricted, Kind::PortRestricted]).ping(0, 1)
}
