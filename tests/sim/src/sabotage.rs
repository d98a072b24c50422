//! Whether the oracle notices: worlds in which something is broken behind its back.
//!
//! An act of a scenario excuses those it touches. Here the same things happen without a word, and other things
//! that never may: each has to end the run with the right promise broken.

use std::time::Duration;

use lanyard_proto::time::Instant;
use lanyard_proto::transmit::SocketId;
use lanyard_wire::envelope;
use lanyard_wire::limits::PROBE_LEN;

use crate::host::{Effects, Fact};
use crate::link::Link;
use crate::nat::Kind;
use crate::net::{HostId, Place, SiteId};
use crate::plane::MAIN_PORT;
use crate::script::{Act, Flow, HostPlan, Scenario, Spells};
use crate::trace::Trace;
use crate::world::World;

#[test]
fn a_link_that_swallows_data_is_noticed_within_seconds() {
    let scenario = Scenario::of(&[Kind::Symmetric; 2]).ping(0, 1);
    assert_eq!(noticed(&scenario, 15, swallow_data), Some(("connected", 18)));
}

#[test]
fn a_link_that_loses_most_of_everything_is_noticed_unless_it_is_an_act() {
    let scenario = Scenario::of(&[Kind::Symmetric; 2]).ping(0, 1).until(60);
    let scenario =
        Scenario { flows: vec![Flow { every: Duration::from_secs(1), ..scenario.flows[0] }], ..scenario };
    let lossy = |world: &mut World| set_link(world, Link::CLEAN.lossy(80));
    assert!(noticed(&scenario, 15, lossy).is_some_and(|(rule, _)| rule == "connected"));
    let told = scenario.at(15, Act::Lossy(SiteId(0), 60, Duration::from_secs(30)));
    assert_eq!(noticed(&told, 15, |_| ()), None);
}

#[test]
fn a_device_that_moves_to_where_a_fault_began_before_is_excused_until_it_is_over() {
    let scenario = Scenario::of(&[Kind::Symmetric; 3]).ping(0, 1).until(38);
    let scenario = scenario.at(15, Act::Roam(HostId(0), SiteId(2)));
    let harm = |world: &mut World| {
        world.net.site_mut(SiteId(2)).unwrap().config.link = Link::CLEAN.narrow(100);
    };
    // Nothing is lost by this act: what it excuses is all that is looked at.
    let told = |seconds| scenario.clone().at(10, Act::Lossy(SiteId(2), 0, Duration::from_secs(seconds)));
    for (scenario, expected) in
        [(scenario.clone(), Some(("connected", 20))), (told(30), None), (told(4), Some(("connected", 20)))]
    {
        assert_eq!(noticed(&scenario, 15, harm), expected, "{:?}", scenario.acts);
    }
}

#[test]
fn a_pair_that_is_kept_from_being_direct_is_noticed() {
    let scenario = Scenario::of(&[Kind::PortRestricted; 2]).ping(0, 1);
    assert!(noticed(&scenario, 1, sever).is_some_and(|(rule, at)| rule == "direct" && at <= 14));
}

#[test]
fn a_guess_may_be_put_off_where_others_took_ports_of_the_block_and_nowhere_else() {
    for (other, sockets, expected) in [
        (Kind::PortRestricted, 0, Some("direct")),
        (Kind::PortRestricted, 150, Some("direct")),
        (Kind::PortRestricted, 192, None),
        (Kind::FullCone, 192, Some("direct")),
    ] {
        let scenario = Scenario::of(&[Kind::Block1024, other]).ping(0, 1).until(60);
        let keep_apart = |world: &mut World| {
            let target = (world.net.addresses(HostId(1))[0], 9).into();
            (0..sockets).for_each(|port| world.send_from_host(HostId(0), 50_000 + port, target, vec![0; 40]));
            sever(world);
        };
        assert_eq!(noticed(&scenario, 1, keep_apart).map(|(rule, _)| rule), expected, "{other:?} {sockets}");
    }
}

#[test]
fn a_direct_path_where_none_can_be_is_noticed() {
    let scenario = Scenario::of(&[Kind::PortRestricted; 2]).ping(0, 1);
    let relabel = |world: &mut World| {
        for site in [SiteId(0), SiteId(1)] {
            world.net.site_mut(site).unwrap().config.nat = Kind::Symmetric.behaviour();
        }
    };
    assert!(noticed(&scenario, 1, relabel).is_some_and(|(rule, _)| rule == "impossible"));
}

#[test]
fn a_pair_that_stays_apart_after_the_last_fault_is_noticed_although_it_knows_that_it_is_offline() {
    let scenario = Scenario::of(&[Kind::Symmetric; 2]).ping(0, 1).until(200);
    let scenario = scenario.at(15, Act::Partition(SiteId(0), 0, Duration::from_secs(20)));
    let for_good = |world: &mut World| {
        for server in world.coordinators.iter().flat_map(|entry| &entry.servers).map(|server| server.id) {
            world.net.cut(Place::Server(server), Place::Gate(SiteId(0)), true);
        }
    };
    assert!(noticed(&scenario, 36, for_good).is_some_and(|(rule, _)| rule == "back"));
}

#[test]
fn a_pair_that_talks_now_and_then_is_looked_at_when_it_does() {
    let mut scenario = Scenario::of(&[Kind::Symmetric; 2]).until(4_000);
    let spells = Spells { talk: Duration::from_secs(10), rest: Duration::from_secs(990) };
    let every = Duration::from_secs(1);
    scenario.flows.push(Flow { every, spells: Some(spells), ..Flow::between(0, 1) });
    assert_eq!(noticed(&scenario, 500, |_| ()), None);
    let (rule, at) = noticed(&scenario, 500, swallow_data).unwrap();
    assert_eq!(rule, "back", "the last fault is long ago");
    assert!((1_006..=1_008).contains(&at), "in the second spell, from 1,003 s on: {at}");
}

#[test]
fn a_probe_to_a_stranger_is_noticed() {
    let mut scenario = Scenario::of(&[Kind::Open; 3]).ping(0, 1);
    scenario.services.networks = 2;
    scenario.hosts[2].networks = 0b10;
    for (to, expected) in [(1, None), (2, Some("disclosure"))] {
        let probe = |world: &mut World| {
            let target = (world.net.addresses(HostId(to))[0], MAIN_PORT).into();
            world.send_from_host(HostId(0), MAIN_PORT, target, vec![envelope::PING; PROBE_LEN]);
        };
        assert_eq!(noticed(&scenario, 15, probe).map(|(rule, _)| rule), expected);
    }
}

#[test]
fn a_removed_member_that_stays_in_a_table_is_noticed() {
    let scenario = Scenario::of(&[Kind::PortRestricted; 3]).ping(0, 1);
    let remove_quietly = |world: &mut World| {
        let (device, now) = (world.hosts[2].device, world.now());
        let index = &mut world.coordinators[0].index;
        let network = index.invitations().next().unwrap().0;
        assert!(!index.remove(network, device, now).is_empty());
    };
    assert!(noticed(&scenario, 10, remove_quietly).is_some_and(|(rule, _)| rule == "membership"));
}

#[test]
fn what_is_sent_without_end_is_noticed() {
    let mut scenario = Scenario::of(&[Kind::PortRestricted; 2]).until(200);
    scenario.flows.push(Flow::between(0, 1).during(3, 20));
    assert_eq!(noticed(&scenario, 150, |_| ()), None);
    let chatter = |world: &mut World| {
        let target = (world.net.addresses(HostId(1))[0], MAIN_PORT).into();
        (0..2_000).for_each(|_| world.send_from_host(HostId(0), MAIN_PORT, target, vec![0; 40]));
    };
    assert!(noticed(&scenario, 150, chatter).is_some_and(|(rule, _)| rule == "quiet"));
}

#[test]
fn a_machine_that_asks_for_too_much_is_noticed() {
    let scenario = Scenario::of(&[Kind::Open; 2]).ping(0, 1);
    for (fact, expected) in [
        (Fact::Flood(257), "queue"),
        (Fact::Sockets, "queue"),
        (Fact::Closed(SocketId(7)), "socket"),
        (Fact::Spoofed(lanyard_wire::ids::DeviceId::from_bytes([9; 16]), None), "spoofing"),
    ] {
        let report = |world: &mut World| {
            world.apply(HostId(0), Effects { facts: vec![fact.clone()], ..Effects::default() });
        };
        assert_eq!(noticed(&scenario, 5, report).map(|(rule, _)| rule), Some(expected), "{fact:?}");
    }
}

#[test]
fn a_device_beside_another_that_hears_nothing_is_noticed() {
    let mut scenario = Scenario::of(&[Kind::Symmetric; 2]).ping(1, 2);
    scenario.hosts.push(HostPlan { beside: Some(HostId(0)), ..HostPlan::at(SiteId(0)) });
    assert_eq!(noticed(&scenario, 15, |_| ()), None);
    assert!(noticed(&scenario, 15, swallow_data).is_some_and(|(rule, _)| rule == "connected"));
}

/// Runs the scenario with something done to it that no act announced: the promise broken, and in which second.
fn noticed(scenario: &Scenario, at: u64, harm: impl Fn(&mut World)) -> Option<(&'static str, u64)> {
    let mut world = World::new(scenario.clone().seeded(7), Trace::hashing());
    let mut is_done = false;
    while world.step() {
        if !is_done && world.now() >= Instant::from_secs(at) {
            is_done = true;
            harm(&mut world);
        }
    }
    world.judge_end();
    world.violation.map(|violation| (violation.rule, violation.at.as_micros() / 1_000_000))
}

/// Keep-alives go on, data does not: both ends believe that all is well.
fn swallow_data(world: &mut World) {
    set_link(world, Link::CLEAN.narrow(100));
}

fn set_link(world: &mut World, link: Link) {
    world.net.site_mut(SiteId(0)).unwrap().config.link = link;
}

fn sever(world: &mut World) {
    let (a, b) = (Place::Gate(SiteId(0)), Place::Gate(SiteId(1)));
    world.net.cut(a, b, true);
    world.net.cut(b, a, true);
}
