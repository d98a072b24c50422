//! Pairs that cannot meet directly meet at another member that is willing, and not at the coordinator's relay.

use std::time::Duration;

use lanyard_proto::overlay::Path;
use lanyard_sim::nat::Kind;
use lanyard_sim::net::{HostId, ServerId, SiteId};
use lanyard_sim::run::{Outcome, check_each};
use lanyard_sim::script::{Act, Scenario};
use lanyard_sim::services::control_addrs;

#[test]
fn a_pair_behind_two_hard_routers_meets_at_a_member_that_relays() {
    let outcomes =
        check_each("a_pair_behind_two_hard_routers_meets_at_a_member_that_relays", || with_carrier(60));
    for outcome in outcomes {
        assert!(is_carried(&outcome), "{:?}", outcome.flows[0]);
        assert!(outcome.flows[0].longest_gap <= Duration::from_millis(400), "{:?}", outcome.flows[0]);
    }
}

#[test]
fn a_member_that_is_not_willing_or_not_reachable_carries_nobody() {
    for kind in [Kind::Open, Kind::PortRestricted] {
        let outcomes = check_each("a_member_that_is_not_willing_or_not_reachable_carries_nobody", || {
            let mut scenario = pair_and(kind).until(60);
            scenario.hosts[2].relays = kind == Kind::PortRestricted;
            scenario
        });
        for outcome in outcomes {
            assert!(!is_carried(&outcome), "{kind:?}: {:?}", outcome.flows[0]);
        }
    }
}

#[test]
fn a_pair_whose_carrier_dies_goes_on_by_the_relay_and_returns_to_it_later() {
    let outcomes =
        check_each("a_pair_whose_carrier_dies_goes_on_by_the_relay_and_returns_to_it_later", || {
            with_carrier(240).at(30, Act::Crash(HostId(2), Duration::from_secs(20)))
        });
    for outcome in outcomes {
        assert!(is_carried(&outcome), "{:?}", outcome.flows[0]);
        assert!(outcome.flows[0].longest_gap <= Duration::from_millis(900), "{:?}", outcome.flows[0]);
    }
    let outcomes =
        check_each("a_pair_whose_carrier_dies_goes_on_by_the_relay_and_returns_to_it_later", || {
            with_carrier(60).at(30, Act::Crash(HostId(2), Duration::from_secs(100)))
        });
    assert!(outcomes.iter().all(|outcome| !is_carried(outcome)));
}

#[test]
fn a_carrier_that_is_removed_from_the_network_carries_its_pairs_no_more() {
    let outcomes = check_each("a_carrier_that_is_removed_from_the_network_carries_its_pairs_no_more", || {
        with_carrier(60).at(30, Act::Remove(HostId(2), 0))
    });
    for outcome in outcomes {
        assert!(!is_carried(&outcome), "{:?}", outcome.flows[0]);
        assert!(outcome.flows[0].longest_gap <= Duration::from_millis(900), "{:?}", outcome.flows[0]);
    }
}

#[test]
fn a_carried_pair_survives_a_rebinding_of_any_of_the_three_routers() {
    for site in [0, 1, 2] {
        let outcomes = check_each("a_carried_pair_survives_a_rebinding_of_any_of_the_three_routers", || {
            let mut scenario = pair_and(Kind::FullCone).at(40, Act::NatRebind(SiteId(site))).until(160);
            scenario.hosts[2].relays = true;
            scenario
        });
        for outcome in outcomes {
            assert!(
                outcome.flows[0].longest_gap <= Duration::from_secs(2),
                "router {site}: {:?}",
                outcome.flows[0]
            );
            assert!(is_carried(&outcome), "router {site}: {:?}", outcome.flows[0]);
        }
    }
}

#[test]
fn a_carrier_far_away_is_left_for_a_relay_that_is_near() {
    let outcomes = check_each("a_carrier_far_away_is_left_for_a_relay_that_is_near", || {
        let mut scenario = with_carrier(60);
        scenario.sites[2].link = scenario.sites[2].link.delayed(300);
        scenario
    });
    for outcome in outcomes {
        assert!(!is_carried(&outcome), "{:?}", outcome.flows[0]);
    }
}

/// Two devices behind symmetric routers that talk, and a third one.
fn pair_and(third: Kind) -> Scenario {
    Scenario::of(&[Kind::Symmetric, Kind::Symmetric, third]).ping(0, 1)
}

/// The same; the third one has no router, and relays.
fn with_carrier(until: u64) -> Scenario {
    let mut scenario = pair_and(Kind::Open).until(until);
    scenario.hosts[2].relays = true;
    scenario
}

/// Whether both ends of the first flow are at a relay that is none of the coordinator's at the end.
fn is_carried(outcome: &Outcome) -> bool {
    let is_elsewhere =
        |path| matches!(path, Path::Relayed { relay, .. } if !control_addrs(ServerId(0)).contains(&relay));
    let (forth, back) = outcome.flows[0].paths;
    is_elsewhere(forth) && is_elsewhere(back)
}
