//! Which pairs become direct, and how soon.

use std::time::Duration;

use lanyard_sim::link::Link;
use lanyard_sim::nat::{Behaviour, Kind};
use lanyard_sim::net::{SiteConfig, SiteId};
use lanyard_sim::run::{check, check_each, chosen_seed};
use lanyard_sim::script::{Act, Flow, HostPlan, Scenario};
use lanyard_wire::nat::Filtering;

#[test]
fn every_pair_of_kinds_becomes_what_the_rule_says_in_both_directions() {
    let seed = chosen_seed().unwrap_or(7);
    for from in Kind::ALL {
        for to in Kind::ALL {
            let scenario = Scenario::of(&[*from, *to]).ping(0, 1).seeded(seed);
            let name = "every_pair_of_kinds_becomes_what_the_rule_says_in_both_directions";
            let outcome = check(name, &scenario);
            if from.behaviour().udp && to.behaviour().udp {
                let first = outcome.flows[0].first_answer_after;
                let pair = format!("{}:{}", from.name(), to.name());
                assert!(first.is_some_and(|first| first < Duration::from_secs(1)), "{pair}: {first:?}");
            }
        }
    }
}

#[test]
fn plain_pairs_are_direct_within_a_second() {
    let name = "plain_pairs_are_direct_within_a_second";
    for outcome in check_each(name, || Scenario::of(&[Kind::PortRestricted, Kind::PortRestricted]).ping(0, 1))
    {
        let direct = outcome.flows[0].direct_after.unwrap();
        assert!(direct <= Duration::from_secs(1), "{direct:?}");
        assert!(outcome.flows[0].asked - outcome.flows[0].answered <= 2, "{:?}", outcome.flows[0]);
    }
}

#[test]
fn both_ends_may_ask_at_once() {
    check_each("both_ends_may_ask_at_once", || {
        Scenario::of(&[Kind::PortRestricted, Kind::Remapped]).ping(0, 1).ping(1, 0)
    });
}

#[test]
fn devices_that_share_a_carriers_block_keep_ports_for_themselves_and_become_direct_one_after_another() {
    let name =
        "devices_that_share_a_carriers_block_keep_ports_for_themselves_and_become_direct_one_after_another";
    let outcomes = check_each(name, || {
        let nat = Behaviour { lifetime: Duration::from_secs(300), ..Kind::Block1024.behaviour() };
        let home = SiteConfig { nat, ..SiteConfig::of(Kind::Block1024) };
        let sites = [vec![home], vec![SiteConfig::of(Kind::PortRestricted); 4]].concat();
        let mut scenario = with_sites(sites, &[0, 0, 0, 1, 2, 3, 4]).until(1_200);
        scenario.flows.clear();
        for (from, to) in (0..3).flat_map(|from| (3..7).map(move |to| (from, to))) {
            let every = Duration::from_secs(1);
            scenario.flows.push(Flow { every, ..Flow::between(from, to) }.during(5, 1_200));
        }
        scenario.at(100, Act::NatReboot(SiteId(0)))
    });
    for outcome in outcomes {
        assert!(outcome.flows.iter().all(|flow| flow.is_direct), "{:?}", outcome.flows);
        let gap = outcome.flows.iter().map(|flow| flow.longest_gap).max().unwrap();
        assert!(gap <= Duration::from_secs(5), "{gap:?}");
    }
}

#[test]
fn neighbours_on_one_lan_use_the_lan() {
    let outcomes = check_each("neighbours_on_one_lan_use_the_lan", || {
        let mut scenario = Scenario::of(&[Kind::Symmetric]).ping(0, 1);
        scenario.hosts.push(HostPlan::at(SiteId(0)));
        scenario
    });
    for outcome in outcomes {
        assert!(outcome.flows[0].is_direct);
    }
}

#[test]
fn isolated_neighbours_meet_at_a_router_that_hairpins() {
    for hairpin in [true, false] {
        let outcomes = check_each("isolated_neighbours_meet_at_a_router_that_hairpins", || {
            let nat = Behaviour { hairpin, ..Kind::PortRestricted.behaviour() };
            let site = SiteConfig { nat, isolated: true, ..SiteConfig::of(Kind::PortRestricted) };
            with_sites(vec![site], &[0, 0])
        });
        for outcome in outcomes {
            assert_eq!(outcome.flows[0].is_direct, hairpin);
        }
    }
}

#[test]
fn homes_behind_one_carrier_meet_where_it_hairpins() {
    for hairpin in [true, false] {
        let outcomes = check_each("homes_behind_one_carrier_meet_where_it_hairpins", || {
            let nat = Behaviour { hairpin, ..Kind::PortRestricted.behaviour() };
            let carrier = SiteConfig { nat, ..SiteConfig::of(Kind::PortRestricted) };
            let home = SiteConfig { via: Some(SiteId(0)), ..SiteConfig::of(Kind::PortRestricted) };
            with_sites(vec![carrier, home, home], &[1, 2])
        });
        for outcome in outcomes {
            assert_eq!(outcome.flows[0].is_direct, hairpin);
        }
    }
}

#[test]
fn ipv6_behind_firewalls_makes_symmetric_ends_direct() {
    let outcomes = check_each("ipv6_behind_firewalls_makes_symmetric_ends_direct", || {
        let ipv6 = Some(Filtering::AddressAndPortDependent);
        let site = SiteConfig { ipv6, ..SiteConfig::of(Kind::Symmetric) };
        with_sites(vec![site, site], &[0, 1])
    });
    for outcome in outcomes {
        assert!(outcome.flows[0].is_direct);
    }
}

#[test]
fn a_link_too_narrow_for_full_size_packets_never_carries_the_tunnel_directly() {
    let outcomes =
        check_each("a_link_too_narrow_for_full_size_packets_never_carries_the_tunnel_directly", || {
            let narrow = SiteConfig { link: Link::CLEAN.narrow(1_320), ..SiteConfig::of(Kind::FullCone) };
            with_sites(vec![narrow, SiteConfig::of(Kind::FullCone)], &[0, 1])
        });
    for outcome in outcomes {
        assert_eq!(outcome.flows[0].answered_direct, 0);
    }
}

#[test]
fn homes_with_the_same_lan_prefix_do_not_take_a_neighbour_for_the_peer() {
    check_each("homes_with_the_same_lan_prefix_do_not_take_a_neighbour_for_the_peer", || {
        let home = SiteConfig::of(Kind::PortRestricted);
        // Each home has a device with the same inside address as the peer; the four share one network.
        with_sites(vec![home, home], &[0, 1, 0, 1]).ping(2, 3).ping(3, 0)
    });
}

#[test]
fn a_pair_far_apart_is_direct_too() {
    let outcomes = check_each("a_pair_far_apart_is_direct_too", || {
        let far = SiteConfig { link: Link::CLEAN.delayed(150), ..SiteConfig::of(Kind::PortRestricted) };
        with_sites(vec![far, far], &[0, 1])
    });
    for outcome in outcomes {
        assert!(outcome.flows[0].direct_after.unwrap() <= Duration::from_secs(4), "{:?}", outcome.flows[0]);
    }
}

#[test]
fn a_pair_with_bad_links_is_direct_in_the_end() {
    let outcomes = check_each("a_pair_with_bad_links_is_direct_in_the_end", || {
        let bad = SiteConfig { link: Link::CLEAN.lossy(10), ..SiteConfig::of(Kind::PortRestricted) };
        let scenario = with_sites(vec![bad, bad], &[0, 1]).until(60);
        Scenario { patience: 4, ..scenario }
    });
    for outcome in outcomes {
        assert!(outcome.flows[0].direct_after.is_some());
    }
}

fn with_sites(sites: Vec<SiteConfig>, hosts: &[usize]) -> Scenario {
    let hosts = hosts.iter().map(|site| HostPlan::at(SiteId(*site))).collect();
    Scenario { sites, hosts, ..Scenario::of(&[]) }.ping(0, 1)
}
