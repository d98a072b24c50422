//! Joining, leaving, being removed, refusing, and who may hear of whom.

use std::time::Duration;

use lanyard_sim::nat::Kind;
use lanyard_sim::net::HostId;
use lanyard_sim::run::check_each;
use lanyard_sim::script::{Act, Flow, Scenario};

#[test]
fn a_device_that_joins_later_is_reached_by_those_who_were_there() {
    let outcomes = check_each("a_device_that_joins_later_is_reached_by_those_who_were_there", || {
        let mut scenario = Scenario::of(&[Kind::PortRestricted, Kind::FullCone, Kind::Symmetric]);
        scenario.services.networks = 2;
        scenario.hosts[2].networks = 0b10;
        scenario.flows.push(Flow::between(0, 2).during(12, 60));
        scenario.flows.push(Flow::between(2, 1).during(12, 60));
        scenario.at(10, Act::Join(HostId(2), 0))
    });
    for outcome in outcomes {
        assert!(outcome.flows.iter().all(|flow| flow.answered > 100), "{:?}", outcome.flows);
    }
}

#[test]
fn a_removed_member_is_cut_off_within_seconds() {
    let outcomes =
        check_each("a_removed_member_is_cut_off_within_seconds", || trio().at(10, Act::Remove(HostId(1), 0)));
    for outcome in outcomes {
        let (cut, kept) = (&outcome.flows[0], &outcome.flows[1]);
        // Seven seconds of answers before the removal, and less than two after it.
        assert!(cut.answered <= 90, "{cut:?}");
        assert!(kept.longest_gap <= Duration::from_millis(300), "{kept:?}");
    }
}

#[test]
fn a_member_that_leaves_is_gone_and_the_others_talk_on() {
    let outcomes = check_each("a_member_that_leaves_is_gone_and_the_others_talk_on", || {
        trio().at(10, Act::Leave(HostId(1), 0))
    });
    for outcome in outcomes {
        assert!(outcome.flows[0].answered <= 90, "{:?}", outcome.flows[0]);
        assert!(outcome.flows[1].longest_gap <= Duration::from_millis(300), "{:?}", outcome.flows[1]);
    }
}

#[test]
fn a_member_removed_while_asleep_is_cut_off_when_it_wakes() {
    check_each("a_member_removed_while_asleep_is_cut_off_when_it_wakes", || {
        trio()
            .at(10, Act::Suspend(HostId(1), Duration::from_secs(120)))
            .at(20, Act::Remove(HostId(1), 0))
            .until(240)
    });
}

#[test]
fn a_pair_in_two_networks_talks_on_when_one_of_them_ends() {
    let outcomes = check_each("a_pair_in_two_networks_talks_on_when_one_of_them_ends", || {
        let mut scenario = Scenario::of(&[Kind::PortRestricted, Kind::PortRestricted]).ping(0, 1);
        scenario.services.networks = 2;
        for host in &mut scenario.hosts {
            host.networks = 0b11;
        }
        scenario.at(12, Act::Remove(HostId(0), 0))
    });
    for outcome in outcomes {
        assert!(outcome.flows[0].longest_gap <= Duration::from_secs(1), "{:?}", outcome.flows[0]);
    }
}

#[test]
fn a_refused_peer_reaches_nothing_and_learns_nothing() {
    let outcomes = check_each("a_refused_peer_reaches_nothing_and_learns_nothing", || {
        let mut scenario = trio();
        scenario.flows[0] = Flow::between(1, 0).during(10, 60);
        scenario.at(5, Act::Refuse(HostId(0), HostId(1), true))
    });
    for outcome in outcomes {
        assert_eq!(outcome.flows[0].answered, 0, "{:?}", outcome.flows[0]);
    }
}

#[test]
fn a_refusal_that_ends_lets_the_pair_meet() {
    check_each("a_refusal_that_ends_lets_the_pair_meet", || {
        Scenario::of(&[Kind::PortRestricted, Kind::PortRestricted])
            .ping(1, 0)
            .at(2, Act::Refuse(HostId(0), HostId(1), true))
            .at(20, Act::Refuse(HostId(0), HostId(1), false))
            .until(120)
    });
}

#[test]
fn devices_of_different_networks_never_hear_of_each_other() {
    let outcomes = check_each("devices_of_different_networks_never_hear_of_each_other", || {
        let mut scenario = Scenario::of(&[Kind::Open, Kind::FullCone, Kind::Open, Kind::FullCone]);
        scenario.services.networks = 2;
        for (host, networks) in scenario.hosts.iter_mut().zip([0b01, 0b01, 0b10, 0b10]) {
            host.networks = networks;
        }
        scenario.ping(0, 1).ping(2, 3).ping(0, 2)
    });
    for outcome in outcomes {
        assert_eq!(outcome.flows[2].answered, 0);
        assert!(outcome.flows[0].is_direct && outcome.flows[1].is_direct);
    }
}

#[test]
fn a_network_larger_than_one_page_is_known_to_everybody() {
    let outcomes = check_each("a_network_larger_than_one_page_is_known_to_everybody", || {
        let mut scenario = Scenario::of(&[Kind::PortRestricted; 40]);
        scenario.flows = (1..40).map(|host| Flow::between(host, 0)).collect();
        scenario.until(20)
    });
    for outcome in outcomes {
        assert!(outcome.flows.iter().all(|flow| flow.is_direct), "{:?}", outcome.flows);
    }
}

/// Three members; the first asks the two others.
fn trio() -> Scenario {
    Scenario::of(&[Kind::PortRestricted, Kind::FullCone, Kind::PortRestricted]).ping(0, 1).ping(0, 2)
}
