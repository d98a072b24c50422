//! Relayed at once, moved to the direct path without loss, back to the relay when it dies.

use std::time::Duration;

use lanyard_proto::overlay::Path;
use lanyard_proto::time::Instant;
use lanyard_sim::nat::Kind;
use lanyard_sim::net::{ServerId, SiteId};
use lanyard_sim::run::check_each;
use lanyard_sim::script::{Act, Flow, Scenario};
use lanyard_sim::services::control_addrs;

#[test]
fn the_first_answer_comes_by_relay_without_waiting_for_a_punch() {
    let outcomes = check_each("the_first_answer_comes_by_relay_without_waiting_for_a_punch", || {
        Scenario::of(&[Kind::Symmetric, Kind::Symmetric]).ping(0, 1)
    });
    for outcome in outcomes {
        // A round trip through the relay is 80 ms here. Neither bind nor session is waited for.
        let first = outcome.flows[0].first_answer_after.unwrap();
        assert!(first <= Duration::from_millis(100), "{first:?}");
        assert_eq!(outcome.flows[0].answered_direct, 0);
    }
}

#[test]
fn a_pair_moves_from_the_relay_to_the_direct_path_without_losing_a_packet() {
    let outcomes =
        check_each("a_pair_moves_from_the_relay_to_the_direct_path_without_losing_a_packet", || {
            quick(Scenario::of(&[Kind::PortRestricted, Kind::SymmetricSeq]))
        });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        // Ports have to be foreseen, so the tunnel stands before the path does.
        assert!(flow.is_direct && flow.answered > flow.answered_direct, "{flow:?}");
        // What was asked before the tunnel stood may be lost to its queue of eight, the last is on its way.
        assert!(flow.asked - flow.answered <= 24, "{flow:?}");
        assert!(flow.longest_gap <= Duration::from_millis(100), "{flow:?}");
    }
}

#[test]
fn a_severed_direct_path_falls_back_to_the_relay_within_two_seconds() {
    let outcomes = check_each("a_severed_direct_path_falls_back_to_the_relay_within_two_seconds", || {
        Scenario::of(&[Kind::PortRestricted, Kind::FullCone])
            .ping(0, 1)
            .at(15, Act::Sever(SiteId(0), SiteId(1), Duration::from_secs(30)))
            .until(40)
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.longest_gap <= Duration::from_secs(2), "{flow:?}");
        assert!(!flow.is_direct);
    }
}

#[test]
fn a_pair_that_cannot_punch_stays_relayed_and_talks_on() {
    let outcomes = check_each("a_pair_that_cannot_punch_stays_relayed_and_talks_on", || {
        Scenario::of(&[Kind::Symmetric, Kind::SymmetricSeq]).ping(0, 1).until(400)
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert_eq!(flow.answered_direct, 0);
        assert!(flow.longest_gap <= Duration::from_millis(400), "{flow:?}");
    }
}

#[test]
fn a_relayed_pair_survives_a_rebinding_of_either_router() {
    for site in [0, 1] {
        let outcomes = check_each("a_relayed_pair_survives_a_rebinding_of_either_router", || {
            Scenario::of(&[Kind::Symmetric, Kind::Symmetric]).ping(0, 1).at(15, Act::NatRebind(SiteId(site)))
        });
        for outcome in outcomes {
            let flow = &outcome.flows[0];
            assert!(flow.longest_gap <= Duration::from_secs(2), "router {site}: {flow:?}");
        }
    }
}

#[test]
fn a_relay_apart_that_restarts_serves_its_pairs_again() {
    check_each("a_relay_apart_that_restarts_serves_its_pairs_again", || {
        let mut scenario = Scenario::of(&[Kind::Symmetric, Kind::Symmetric])
            .ping(0, 1)
            .at(15, Act::RelayCrash(0, Duration::from_secs(3)))
            .until(120);
        scenario.services.apart = true;
        scenario
    });
}

#[test]
fn a_pair_whose_relay_is_about_to_end_moves_to_another_without_a_gap() {
    let outcomes = check_each("a_pair_whose_relay_is_about_to_end_moves_to_another_without_a_gap", || {
        let end = Act::RelayDrain(0, Duration::from_secs(8));
        two_relays(Scenario::of(&[Kind::Symmetric, Kind::Symmetric]).ping(0, 1).at(15, end).until(60))
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert_eq!(flow.answered_direct, 0);
        assert!(flow.longest_gap <= Duration::from_millis(400), "{flow:?}");
    }
}

#[test]
fn a_pair_whose_relay_dies_goes_on_at_another_within_a_second() {
    let outcomes = check_each("a_pair_whose_relay_dies_goes_on_at_another_within_a_second", || {
        let crash = Act::RelayCrash(0, Duration::from_secs(40));
        two_relays(Scenario::of(&[Kind::Symmetric, Kind::Symmetric]).ping(0, 1).at(15, crash).until(60))
    });
    let gaps: Vec<Duration> = outcomes.iter().map(|outcome| outcome.flows[0].longest_gap).collect();
    assert!(gaps.iter().all(|gap| *gap <= Duration::from_secs(1)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap >= Duration::from_millis(300)), "no pair was at that relay: {gaps:?}");
}

#[test]
fn every_pair_of_four_devices_ends_at_the_relay_with_the_least_sum_of_round_trips() {
    // Sites around three relays: how many milliseconds further each relay is, one way.
    let further = [[0, 80, 250], [0, 20, 220], [120, 0, 30], [250, 100, 0]];
    let pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    let outcomes = check_each("every_pair_of_four_devices_ends_at_the_relay_with_the_least_sum", || {
        let mut scenario = Scenario::of(&[Kind::Symmetric; 4]).until(60);
        (scenario.services.apart, scenario.services.more_relays) = (true, 2);
        for (site, distances) in further.iter().enumerate() {
            for (relay, ms) in distances.iter().enumerate() {
                let act = Act::Further(SiteId(site), 1 + relay, Duration::from_millis(*ms));
                scenario = scenario.at(0, act);
            }
        }
        pairs.iter().fold(scenario, |scenario, (from, to)| scenario.ping(*from, *to))
    });
    for outcome in outcomes {
        for (flow, (from, to)) in outcome.flows.iter().zip(pairs) {
            let sum = |relay: &usize| further[from][*relay] + further[to][*relay];
            let best = (0..3).min_by_key(sum).unwrap();
            let at = control_addrs(ServerId(1 + best))[0];
            let is_there = |path| matches!(path, Path::Relayed { relay, .. } if relay == at);
            assert!(is_there(flow.paths.0) && is_there(flow.paths.1), "{from} and {to}, not {at}: {flow:?}");
            // The relay before carries the pair until the better one has agreed: what comes late is not lost.
            assert!(flow.longest_gap <= Duration::from_millis(700), "{from} and {to}: {flow:?}");
            assert!(flow.asked - flow.answered <= 20, "{from} and {to}: {flow:?}");
        }
    }
}

#[test]
fn an_idle_pair_sends_nothing_and_comes_back_with_the_next_packet() {
    let outcomes = check_each("an_idle_pair_sends_nothing_and_comes_back_with_the_next_packet", || {
        let mut scenario = Scenario::of(&[Kind::PortRestricted, Kind::PortRestricted]);
        scenario.flows.push(Flow::between(0, 1).during(3, 20));
        scenario.flows.push(Flow::between(1, 0).during(400, 500));
        scenario.until(420)
    });
    for outcome in outcomes {
        let again = &outcome.flows[1];
        assert!(again.first_answer_after.unwrap() <= Duration::from_secs(1), "{again:?}");
        assert!(again.is_direct, "{again:?}");
    }
}

#[test]
fn a_burst_of_full_size_packets_is_relayed_whole() {
    let outcomes = check_each("a_burst_of_full_size_packets_is_relayed_whole", || {
        let mut scenario = Scenario::of(&[Kind::Symmetric, Kind::Symmetric]);
        let every = Duration::from_millis(2);
        scenario.flows.push(Flow { size: 1_280, every, start: Instant::from_secs(4), ..Flow::between(0, 1) });
        scenario.until(8)
    });
    for outcome in outcomes {
        let flow = &outcome.flows[0];
        assert!(flow.answered * 10 >= flow.asked * 9, "{flow:?}");
    }
}

/// Two relays, each on a machine of its own.
fn two_relays(mut scenario: Scenario) -> Scenario {
    (scenario.services.apart, scenario.services.more_relays) = (true, 1);
    scenario
}

fn quick(mut scenario: Scenario) -> Scenario {
    scenario.flows.push(Flow { every: Duration::from_millis(10), ..Flow::between(0, 1) });
    scenario.until(10)
}
