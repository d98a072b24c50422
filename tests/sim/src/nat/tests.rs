//! A small STUN client measures each kind from the inside and must find what was configured.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

const INSIDE: &str = "192.168.1.10:41641";
const OUTSIDE: &str = "198.51.100.81";

#[test]
fn every_kind_measures_as_configured() {
    for kind in Kind::ALL.iter().filter(|kind| kind.behaviour().udp) {
        let behaviour = kind.behaviour();
        let name = kind.name();
        assert_eq!(measure_mapping(&mut router(behaviour)), behaviour.mapping, "mapping of {name}");
        assert_eq!(measure_filtering(&mut router(behaviour)), behaviour.filtering, "filtering of {name}");
    }
}

#[test]
fn every_combination_of_mapping_and_filtering_measures_as_configured() {
    for mapping in [
        Mapping::None,
        Mapping::EndpointIndependent,
        Mapping::AddressDependent,
        Mapping::AddressAndPortDependent,
    ] {
        for filtering in
            [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]
        {
            let sequential = Ports::Sequential { step: 1, others: 0 };
            let block = Ports::Block { low: 40_000, size: 256 };
            for ports in [Ports::Preserved, Ports::Random, sequential, block] {
                let behaviour = Behaviour { mapping, filtering, ports, ..Kind::FullCone.behaviour() };
                assert_eq!(measure_mapping(&mut router(behaviour)), mapping, "{behaviour:?}");
                assert_eq!(measure_filtering(&mut router(behaviour)), filtering, "{behaviour:?}");
            }
        }
    }
}

#[test]
fn ports_are_chosen_as_configured() {
    let mut preserved = router(Kind::PortRestricted.behaviour());
    assert_eq!(send(&mut preserved, stun(0, 0), 0).port(), 41_641);
    let mut sequential = router(Kind::SymmetricSeq.behaviour());
    let first = send(&mut sequential, stun(0, 0), 0).port();
    assert_eq!(send(&mut sequential, stun(0, 1), 0).port(), first + 1);
    assert_eq!(send(&mut sequential, stun(1, 0), 0).port(), first + 2);
    let mut random = router(Kind::Remapped.behaviour());
    assert_ne!(send(&mut random, stun(0, 0), 0).port(), 41_641);
}

#[test]
fn a_counting_router_steps_as_configured_in_both_directions() {
    for step in [2, -1, -3] {
        let ports = Ports::Sequential { step, others: 0 };
        let mut nat = router(Behaviour { ports, ..Kind::SymmetricSeq.behaviour() });
        let given: Vec<i32> = (0..4).map(|port| i32::from(send(&mut nat, stun(0, port), 0).port())).collect();
        for pair in given.windows(2).skip(usize::from(step < 0)) {
            assert_eq!(pair[1] - pair[0], i32::from(step), "{given:?}");
        }
    }
}

#[test]
fn a_block_is_crowded_by_many_sockets_and_not_by_many_peers_of_a_few() {
    let mut nat = router(Kind::Block512.behaviour());
    let mut open = |from: u16, to: u16, second| {
        let inside = SocketAddr::new(INSIDE.parse::<SocketAddr>().unwrap().ip(), from);
        nat.outbound(inside, stun(0, to), Instant::from_secs(second)).unwrap();
        nat.crowded_at()
    };
    assert_eq!((0..200).find_map(|to| open(1_000, to, 0)), None);
    assert_eq!((0..94).find_map(|from| open(2_000 + from, 0, 0)), None);
    assert_eq!(open(3_000, 0, 1), Some(Instant::from_secs(1)), "95 and the first: three parts in 16");
    assert_eq!(
        (0..94).find_map(|from| open(4_000 + from, 0, 121)),
        Some(Instant::from_secs(1)),
        "all else expired"
    );
}

#[test]
fn others_behind_a_counting_router_take_ports_between_ours() {
    let ports = Ports::Sequential { step: 1, others: 600 };
    let mut nat = router(Behaviour { ports, ..Kind::SymmetricSeq.behaviour() });
    let first = send(&mut nat, stun(0, 0), 0).port();
    assert_eq!(send(&mut nat, stun(0, 1), 0).port(), first + 1, "nobody is that quick");
    let gaps: Vec<u16> = (1..=60)
        .scan(first + 1, |last, second| {
            let port = send(&mut nat, stun(1, second), u64::from(second)).port();
            Some(port - std::mem::replace(last, port))
        })
        .collect();
    let taken: u16 = gaps.iter().sum();
    assert!((400..800).contains(&taken), "{taken} ports in a minute");
}

#[test]
fn a_block_is_used_up_and_never_left() {
    let mut nat = router(Kind::Block512.behaviour());
    let Ports::Block { low, size } = nat.behaviour().ports else { panic!("a block") };
    let mut given = BTreeSet::new();
    for port in 0..size {
        given.insert(send(&mut nat, stun(0, port), 0).port());
    }
    assert_eq!((given.first().copied(), given.len()), (Some(low), usize::from(size)));
    assert_eq!(given.last().copied(), Some(low + size - 1));
    let one_more = nat.outbound(INSIDE.parse().unwrap(), stun(1, 0), Instant::ZERO);
    assert_eq!((one_more, nat.full_at()), (Err(Dropped::Exhausted), Some(Instant::ZERO)));
    assert!(nat.outbound(INSIDE.parse().unwrap(), stun(1, 0), Instant::from_secs(121)).is_ok());
}

#[test]
fn a_customer_whose_carrier_restarts_gets_another_block() {
    let mut nat = router(Kind::Block1024.behaviour());
    let Ports::Block { low, size } = nat.behaviour().ports else { panic!("a block") };
    for turn in 0..40 {
        nat.rebind();
        let given: Vec<u16> = (0..30).map(|port| send(&mut nat, stun(0, port), turn).port()).collect();
        assert!(given.iter().all(|port| !(low..low + size).contains(port)) || turn > 0, "{given:?}");
        assert!(given.iter().max().unwrap() - given.iter().min().unwrap() < size, "{given:?}");
    }
}

#[test]
fn a_taken_port_is_not_given_twice() {
    let mut nat = router(Kind::PortRestricted.behaviour());
    let first = nat.outbound(INSIDE.parse().unwrap(), stun(0, 0), Instant::ZERO).unwrap();
    let second = nat.outbound("192.168.1.11:41641".parse().unwrap(), stun(0, 0), Instant::ZERO).unwrap();
    assert_ne!(first, second);
}

#[test]
fn a_mapping_dies_after_its_lifetime_and_outbound_traffic_keeps_it() {
    let mut nat = router(Behaviour { lifetime: Duration::from_secs(30), ..Kind::FullCone.behaviour() });
    let outside = send(&mut nat, stun(0, 0), 0);
    send(&mut nat, stun(0, 0), 20);
    assert!(nat.inbound(outside, stun(0, 0), Way::Straight, Instant::from_secs(49)).is_ok());
    assert_eq!(
        nat.inbound(outside, stun(0, 0), Way::Straight, Instant::from_secs(50)),
        Err(Dropped::Unmapped),
        "inbound traffic does not refresh"
    );
}

#[test]
fn inbound_traffic_refreshes_where_configured() {
    let behaviour = Behaviour {
        lifetime: Duration::from_secs(30),
        inbound_refresh: true,
        ..Kind::PortRestricted.behaviour()
    };
    let mut nat = router(behaviour);
    let outside = send(&mut nat, stun(0, 0), 0);
    for at in [20, 40, 60] {
        assert!(nat.inbound(outside, stun(0, 0), Way::Straight, Instant::from_secs(at)).is_ok());
    }
}

#[test]
fn a_reboot_forgets_and_a_rebind_also_changes_ports() {
    let mut nat = router(Kind::PortRestricted.behaviour());
    let before = send(&mut nat, stun(0, 0), 0);
    nat.reboot();
    assert_eq!(nat.inbound(before, stun(0, 0), Way::Straight, Instant::ZERO), Err(Dropped::Unmapped));
    assert_eq!(send(&mut nat, stun(0, 0), 1), before, "preserved ports come back after a reboot");
    nat.rebind();
    assert_ne!(send(&mut nat, stun(0, 0), 2), before);
}

#[test]
fn a_renumbered_router_has_its_new_address() {
    let mut nat = router(Kind::FullCone.behaviour());
    send(&mut nat, stun(0, 0), 0);
    nat.renumber("198.51.100.82".parse().unwrap());
    assert_eq!(send(&mut nat, stun(0, 0), 1).ip().to_string(), "198.51.100.82");
}

#[test]
fn hairpinned_packets_are_not_filtered() {
    let mut nat = router(Kind::PortRestricted.behaviour());
    let outside = send(&mut nat, stun(0, 0), 0);
    let stranger: SocketAddr = "198.51.100.81:5555".parse().unwrap();
    assert_eq!(nat.inbound(outside, stranger, Way::Straight, Instant::ZERO), Err(Dropped::Filtered));
    assert_eq!(nat.inbound(outside, stranger, Way::Hairpin, Instant::ZERO), Ok(INSIDE.parse().unwrap()));
}

#[test]
fn an_early_stranger_costs_a_router_without_firewall_its_port_to_that_stranger() {
    let behaviour = Behaviour { accepts_strangers: true, ..Kind::PortRestricted.behaviour() };
    let mut nat = router(behaviour);
    let usual = send(&mut nat, stun(0, 0), 0);
    let peer: SocketAddr = "198.51.100.97:41641".parse().unwrap();
    assert!(nat.inbound(usual, peer, Way::Straight, Instant::ZERO).is_err());
    let towards_peer = send(&mut nat, peer, 0);
    assert_ne!(towards_peer, usual);
    assert_eq!(send(&mut nat, stun(0, 0), 0), usual, "other flows keep theirs");
    assert!(nat.inbound(usual, peer, Way::Straight, Instant::ZERO).is_err());
    assert!(nat.inbound(towards_peer, peer, Way::Straight, Instant::ZERO).is_ok());
}

#[test]
fn a_stranger_is_forgotten_after_half_a_minute_and_a_flow_that_it_pushed_aside_stays_where_it_is() {
    let behaviour = Behaviour { accepts_strangers: true, ..Kind::PortRestricted.behaviour() };
    let mut nat = router(behaviour);
    let usual = send(&mut nat, stun(0, 0), 0);
    let [early, late] =
        ["198.51.100.97:41641", "198.51.100.98:41641"].map(|peer| peer.parse::<SocketAddr>().unwrap());
    for peer in [early, late] {
        assert!(nat.inbound(usual, peer, Way::Straight, Instant::ZERO).is_err());
    }
    let aside = send(&mut nat, early, 20);
    assert_ne!(aside, usual);
    assert_eq!(send(&mut nat, early, 40), aside);
    assert_eq!(send(&mut nat, late, 40), usual);
}

#[test]
fn a_thousand_flows_do_not_pile_up_once_they_expired() {
    let mut nat = router(Kind::Symmetric.behaviour());
    for second in 0..2_000_u16 {
        let remote = SocketAddr::new("203.0.113.9".parse().unwrap(), 1_000 + second);
        nat.outbound(INSIDE.parse().unwrap(), remote, Instant::from_secs(u64::from(second))).unwrap();
    }
    assert!(nat.mappings() <= 300, "{} mappings remembered", nat.mappings());
}

#[test]
fn blocked_udp_does_not_leave() {
    let mut nat = router(Kind::UdpBlocked.behaviour());
    assert_eq!(nat.outbound(INSIDE.parse().unwrap(), stun(0, 0), Instant::ZERO), Err(Dropped::Egress));
}

/// The inside socket asks the four addresses of a STUN grid and compares what they saw.
fn measure_mapping(nat: &mut Nat) -> Mapping {
    let seen = [send(nat, stun(0, 0), 0), send(nat, stun(1, 0), 0), send(nat, stun(1, 1), 0)];
    if seen[0] == inside_of(nat) {
        Mapping::None
    } else if seen[0] == seen[1] && seen[1] == seen[2] {
        Mapping::EndpointIndependent
    } else if seen[1] == seen[2] {
        Mapping::AddressDependent
    } else {
        Mapping::AddressAndPortDependent
    }
}

/// The service answers from its other address, then from its other port.
fn measure_filtering(nat: &mut Nat) -> Filtering {
    let seen = send(nat, stun(0, 0), 0);
    let mut heard = |from| nat.inbound(seen, from, Way::Straight, Instant::ZERO).is_ok();
    assert!(heard(stun(0, 0)), "the plain answer always arrives");
    if heard(stun(1, 1)) {
        Filtering::EndpointIndependent
    } else if heard(stun(0, 1)) {
        Filtering::AddressDependent
    } else {
        Filtering::AddressAndPortDependent
    }
}

fn send(nat: &mut Nat, remote: SocketAddr, at: u64) -> SocketAddr {
    let inside = inside_of(nat);
    nat.outbound(inside, remote, Instant::from_secs(at)).unwrap()
}

fn inside_of(nat: &Nat) -> SocketAddr {
    if nat.translates() { INSIDE.parse().unwrap() } else { "198.51.100.82:41641".parse().unwrap() }
}

fn stun(ip: u8, port: u16) -> SocketAddr {
    SocketAddr::new([203, 0, 113, 1 + ip].into(), 3_478 + port)
}

fn router(behaviour: Behaviour) -> Nat {
    Nat::new(behaviour, OUTSIDE.parse().unwrap(), Rng::from_seed([7; 32]))
}
