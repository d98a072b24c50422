//! Programs that die and come back, on both ends, with wrong clocks too.

use std::time::Duration;

use lanyard_sim::nat::Kind;
use lanyard_sim::net::{HostId, SiteId};
use lanyard_sim::run::check_each;
use lanyard_sim::script::{Act, Scenario};

#[test]
fn a_device_that_crashed_is_connected_again_within_seconds() {
    for host in [0, 1] {
        let outcomes = check_each("a_device_that_crashed_is_connected_again_within_seconds", || {
            pair().at(15, Act::Crash(HostId(host), Duration::from_secs(1))).until(60)
        });
        for outcome in outcomes {
            let flow = &outcome.flows[0];
            assert!(flow.longest_gap <= Duration::from_secs(6), "{flow:?}");
            assert!(flow.is_direct, "{flow:?}");
        }
    }
}

#[test]
fn a_device_that_said_goodbye_and_came_back_is_connected_again() {
    let outcomes = check_each("a_device_that_said_goodbye_and_came_back_is_connected_again", || {
        pair().at(15, Act::Shutdown(HostId(1), Duration::from_secs(10))).until(60)
    });
    for outcome in outcomes {
        assert!(outcome.flows[0].is_direct);
    }
}

#[test]
fn a_coordinator_that_restarts_does_not_interrupt_a_direct_pair() {
    let outcomes = check_each("a_coordinator_that_restarts_does_not_interrupt_a_direct_pair", || {
        pair().at(15, Act::CoordinatorCrash(0, Duration::from_secs(2))).until(90)
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(300), "{flow:?}");
    }
}

#[test]
fn a_coordinator_that_restarts_has_its_relayed_pairs_back_within_two_seconds() {
    let outcomes =
        check_each("a_coordinator_that_restarts_has_its_relayed_pairs_back_within_two_seconds", || {
            Scenario::of(&[Kind::Symmetric, Kind::Symmetric])
                .ping(0, 1)
                .at(15, Act::CoordinatorCrash(0, Duration::from_millis(500)))
                .until(90)
        });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_millis(2_500), "{flow:?}");
    }
}

#[test]
fn a_wrong_calendar_changes_nothing() {
    const DAY: i64 = 86_400;
    for error in [-3_650 * DAY, -DAY, -600, 600, DAY, 3_650 * DAY] {
        let outcomes = check_each("a_wrong_calendar_changes_nothing", || {
            let mut scenario = Scenario::of(&[Kind::Symmetric, Kind::PortRestricted, Kind::PortRestricted]);
            scenario.hosts[1].clock_error_s = error;
            scenario
                .ping(0, 1)
                .ping(1, 2)
                .at(15, Act::Crash(HostId(1), Duration::from_secs(1)))
                .at(20, Act::ClockJump(HostId(1), -error))
                .at(25, Act::Crash(HostId(1), Duration::from_secs(1)))
                .until(60)
        });
        for outcome in outcomes {
            assert!(outcome.flows[1].is_direct, "{error} s wrong: {:?}", outcome.flows[1]);
        }
    }
}

#[test]
fn everything_may_fail_one_after_the_other() {
    check_each("everything_may_fail_one_after_the_other", || {
        let second = Duration::from_secs(1);
        pair()
            .at(15, Act::NatRebind(SiteId(0)))
            .at(16, Act::CoordinatorCrash(0, second))
            .at(17, Act::Crash(HostId(1), second))
            .at(19, Act::NatReboot(SiteId(1)))
            .at(20, Act::Suspend(HostId(0), second))
            .until(120)
    });
}

fn pair() -> Scenario {
    Scenario::of(&[Kind::PortRestricted, Kind::PortRestricted]).ping(0, 1)
}
