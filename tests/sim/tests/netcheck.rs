//! What a device finds out about its router, and what it says about a pair that stays relayed.

use std::time::Duration;

use lanyard_proto::device::{Advice, Status};
use lanyard_sim::nat::{Behaviour, Kind, Ports};
use lanyard_sim::net::{HostId, SiteConfig};
use lanyard_sim::run::{check_world, chosen_seed};
use lanyard_sim::script::{Flow, Scenario};
use lanyard_wire::checkpoint::{LinkPath, PairCode};
use lanyard_wire::nat::{Filtering, Mapping, NatCard, PortPolicy};

#[test]
fn every_kind_of_router_is_named_as_it_was_configured() {
    for kind in Kind::ALL.iter().filter(|kind| kind.behaviour().udp) {
        let card = measure(kind.behaviour()).unwrap();
        assert_is(&card, kind.behaviour(), kind.name());
        assert!(card.udp, "{}", kind.name());
    }
}

#[test]
fn every_combination_of_mapping_and_filtering_is_named_as_it_was_configured() {
    for mapping in [Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent]
    {
        for filtering in
            [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]
        {
            for ports in [Ports::Random, Ports::Sequential { step: 1, others: 0 }] {
                let behaviour = Behaviour { mapping, filtering, ports, ..Kind::FullCone.behaviour() };
                assert_is(&measure(behaviour).unwrap(), behaviour, &format!("{behaviour:?}"));
            }
        }
    }
}

#[test]
fn the_ports_of_a_symmetric_router_are_described() {
    let sequential = measure(Kind::SymmetricSeq.behaviour()).unwrap().ports;
    assert!(matches!(sequential, Some(PortPolicy::Sequential { step: 1 })), "{sequential:?}");
    let in_twos = measure(Kind::SymmetricSeqTwo.behaviour()).unwrap().ports;
    assert!(matches!(in_twos, Some(PortPolicy::Sequential { step: 2 })), "{in_twos:?}");
    assert_eq!(measure(Kind::Symmetric.behaviour()).unwrap().ports, Some(PortPolicy::Random));
}

#[test]
fn a_carrier_s_block_of_ports_is_found_as_it_is() {
    for kind in [Kind::Block512, Kind::Block1024, Kind::Block2048, Kind::Block4096] {
        let Ports::Block { low, size } = kind.behaviour().ports else { panic!("a block") };
        let found = measure(kind.behaviour()).unwrap().ports;
        assert_eq!(found, Some(PortPolicy::Block { low, high: low + (size - 1) }), "{kind:?}");
    }
}

#[test]
fn a_router_that_turns_datagrams_around_is_told_from_one_that_does_not() {
    for kind in [Kind::PortRestricted, Kind::Remapped, Kind::AddrSymmetric, Kind::Symmetric] {
        for hairpin in [true, false] {
            let card = measure(Behaviour { hairpin, ..kind.behaviour() }).unwrap();
            assert_eq!(card.hairpin, Some(hairpin), "{}", kind.name());
        }
    }
    for kind in [Kind::Open, Kind::Firewall] {
        assert_eq!(measure(kind.behaviour()).unwrap().hairpin, None, "{} translates nothing", kind.name());
    }
}

#[test]
fn a_silent_mapping_is_seen_to_live_as_long_as_it_does_and_is_kept_twice_as_often() {
    for (lifetime_s, measured, every_s) in
        [(12, 10, 8), (20, 18, 9), (30, 28, 14), (60, 55, 22), (120, 115, 22)]
    {
        for kind in
            [Kind::Firewall, Kind::AddrRestricted, Kind::PortRestricted, Kind::Remapped, Kind::Symmetric]
        {
            let nat = Behaviour { lifetime: Duration::from_secs(lifetime_s), ..kind.behaviour() };
            let status = status(nat, 700).unwrap();
            assert_eq!(status.card.lifetime_s, Some(measured), "{} {lifetime_s} s", kind.name());
            assert_eq!(status.keep_alive, Duration::from_secs(every_s), "{} {lifetime_s} s", kind.name());
        }
    }
}

#[test]
fn full_size_datagrams_are_seen_to_get_out() {
    let status = status(Kind::PortRestricted.behaviour(), 10).unwrap();
    assert_eq!(status.full_size, Some(true));
}

#[test]
fn a_network_without_udp_is_noticed() {
    assert!(!measure(Kind::UdpBlocked.behaviour()).unwrap().udp);
}

#[test]
fn a_relayed_pair_is_told_what_stands_in_its_way() {
    for (kinds, expected) in [
        ([Kind::Symmetric, Kind::Symmetric], Advice::BothMappingsVary),
        ([Kind::Symmetric, Kind::SymmetricSeq], Advice::BothMappingsVary),
        ([Kind::Symmetric, Kind::PortRestricted], Advice::Direct),
        ([Kind::PortRestricted, Kind::PortRestricted], Advice::Direct),
    ] {
        let name = "a_relayed_pair_is_told_what_stands_in_its_way";
        let world = check_world(name, &Scenario::of(&kinds).ping(0, 1).seeded(chosen_seed().unwrap_or(5)));
        let machine = world.host(HostId(0)).unwrap().machine().unwrap();
        let status = machine.status(world.now());
        assert_eq!(status.networks[0].members[0].attempt.advice, expected, "{kinds:?}");
    }
}

#[test]
fn the_coordinator_is_told_how_a_pair_fares_and_by_which_plan() {
    for (kinds, code) in [
        ([Kind::PortRestricted, Kind::PortRestricted], PairCode::Direct),
        ([Kind::Symmetric, Kind::PortRestricted], PairCode::Direct),
        ([Kind::Symmetric, Kind::Symmetric], PairCode::BothMappingsVary),
    ] {
        let name = "the_coordinator_is_told_how_a_pair_fares_and_by_which_plan";
        let world = check_world(name, &Scenario::of(&kinds).ping(0, 1).seeded(chosen_seed().unwrap_or(5)));
        let (_, verdict) = world.verdict_of(HostId(0), HostId(1)).unwrap();
        assert_eq!(verdict.code, code, "{kinds:?}: {verdict:?}");
        assert!(verdict.method.is_some(), "{kinds:?}: {verdict:?}");
        assert!((1..10_000).contains(&verdict.took_ms), "{kinds:?}: {verdict:?}");
    }
}

#[test]
fn the_coordinator_is_told_of_every_byte_and_of_the_path_it_took() {
    for (kinds, path) in [
        ([Kind::PortRestricted, Kind::PortRestricted], LinkPath::Direct),
        ([Kind::Symmetric, Kind::Symmetric], LinkPath::Relay),
    ] {
        let name = "the_coordinator_is_told_of_every_byte_and_of_the_path_it_took";
        let mut scenario = Scenario::of(&kinds).seeded(chosen_seed().unwrap_or(5));
        scenario.flows.push(Flow::between(0, 1).during(3, 50));
        let world = check_world(name, &scenario.until(80));
        let machine = world.host(HostId(0)).unwrap().machine().unwrap();
        let member = machine.status(world.now()).networks.remove(0).members.remove(0);
        let (link, told) = world.carried(HostId(0), HostId(1)).unwrap();
        assert_eq!(told, (member.tx_bytes, member.rx_bytes), "{kinds:?}");
        assert!(told.0 > 1_000 && told.1 > 1_000, "{told:?}");
        assert_eq!(link.path, path);
        let rtt = Duration::from_micros(link.rtt_us.unwrap().into());
        assert_eq!(
            Some(rtt),
            member.rtt.map(|rtt| Duration::from_micros(rtt.as_micros() as u64)),
            "{kinds:?}"
        );
        assert!(link.pings > 0 && link.lost <= link.pings, "{link:?}");
    }
}

fn measure(nat: Behaviour) -> Option<NatCard> {
    Some(status(nat, 10)?.card)
}

/// What a device behind that router says of itself after so many seconds.
fn status(nat: Behaviour, until_s: u64) -> Option<Status> {
    let mut scenario = Scenario::of(&[Kind::Open]).seeded(chosen_seed().unwrap_or(5)).until(until_s);
    scenario.sites = vec![SiteConfig { nat, ..SiteConfig::of(Kind::Open) }];
    let name = "every_kind_of_router_is_named_as_it_was_configured";
    let world = check_world(name, &scenario);
    Some(world.host(HostId(0))?.machine()?.status(world.now()))
}

fn assert_is(card: &NatCard, behaviour: Behaviour, name: &str) {
    assert_eq!(card.mapping, Some(behaviour.mapping), "mapping of {name}: {card}");
    assert_eq!(card.filtering, Some(behaviour.filtering), "filtering of {name}: {card}");
}
