//! Several relays: which one a pair meets at, and what happens when that one goes.

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::checkpoint::BeginOutcome;
use lanyard_wire::ids::Channel;
use lanyard_wire::nat::NatCard;
use lanyard_wire::relay::RelayRefusal;

use super::world::{APART, SECOND as OTHER, World, addr};
use super::{SECOND, bind};
use crate::device::coordinator::CoordinatorEvent;
use crate::service::EndpointCommand;

#[test]
fn channels_are_spread_over_the_relays_and_both_ends_count_to_the_same() {
    let world = World::two_relays(2).join_all();
    let places = |at: usize| [8, 9].map(|channel| place(&world, at, channel));
    assert_eq!((places(0), places(1)), ([APART, OTHER], [APART, OTHER]));
}

#[test]
fn a_relay_that_is_about_to_end_sends_both_ends_to_another_in_a_round_trip() {
    let mut world = World::two_relays(2).join_all();
    meet(&mut world, 0);
    drain(&mut world, APART);
    assert_eq!([8, 9].map(|channel| place(&world, 0, channel)), [OTHER; 2]);
    assert_eq!([8, 9].map(|channel| place(&world, 1, channel)), [OTHER; 2]);
    assert!(world.devices.iter().all(|device| device.events.contains(&CoordinatorEvent::RelaysChanged)));
}

#[test]
fn where_all_relays_are_about_to_end_the_pair_stays_until_they_do() {
    let mut world = World::two_relays(2).join_all();
    for (relay, addr) in [(0, APART), (1, OTHER)] {
        meet(&mut world, relay);
        drain(&mut world, addr);
    }
    assert_eq!([8, 9].map(|channel| place(&world, 0, channel)), [APART, OTHER]);
    assert!(!world.devices[0].coordinator.has_good_relay());
}

#[test]
fn whoever_binds_at_a_relay_that_is_about_to_end_is_refused_and_told() {
    let mut world = World::two_relays(2).join_all();
    drain(&mut world, APART);
    assert_eq!(place(&world, 0, 8), APART, "nobody had a channel there, so nobody was told");
    meet(&mut world, 0);
    let is_refused = |event: &CoordinatorEvent| {
        matches!(event, CoordinatorEvent::RelayRefused { why: RelayRefusal::Busy, .. })
    };
    assert!(world.devices[0].events.iter().any(is_refused));
    assert_eq!(place(&world, 0, 8), OTHER);
}

#[test]
fn a_relay_that_falls_silent_is_passed_over_until_it_answers_again() {
    let mut world = World::two_relays(2).join_all();
    world.endpoints.remove(&APART);
    for at in 0..2 {
        world.with(at, |coordinator, now| coordinator.poke(now));
    }
    world.pass(SECOND * 4);
    assert_eq!([place(&world, 0, 8), place(&world, 1, 8)], [OTHER; 2]);
    world.start(APART);
    world.pass(SECOND * 70);
    assert_eq!([place(&world, 0, 8), place(&world, 1, 8)], [APART; 2]);
}

#[test]
fn a_relay_that_leaves_a_question_open_is_passed_over_while_another_one_answers() {
    let mut world = World::two_relays(2).join_all();
    world.endpoints.remove(&APART);
    for at in 0..2 {
        world.with(at, |coordinator, now| coordinator.poke(now));
    }
    world.pass(SECOND / 2);
    assert_eq!([place(&world, 0, 8), place(&world, 1, 8)], [OTHER; 2], "long before its session is given up");
}

#[test]
fn where_no_relay_answers_a_pair_stays_where_it_is() {
    let Far { mut world, channel, here, there } = Far::new();
    attempt(&mut world);
    for relay in [here, there] {
        world.endpoints.remove(&relay);
    }
    world.with(0, |coordinator, now| coordinator.poke(now));
    world.pass(SECOND / 2);
    assert_eq!(place(&world, 0, channel), there);
}

#[test]
fn a_relay_that_ended_as_it_had_said_is_used_again_when_it_is_back() {
    let mut world = World::two_relays(2).join_all();
    meet(&mut world, 0);
    drain(&mut world, APART);
    world.start(APART);
    world.with(0, |coordinator, now| coordinator.poke(now));
    world.pass(SECOND * 5);
    assert_eq!(place(&world, 0, 8), APART);
}

#[test]
fn a_pair_meets_where_the_sum_of_both_round_trips_is_the_least() {
    let Far { mut world, channel, here, there } = Far::new();
    assert_eq!([0, 1].map(|at| place(&world, at, channel)), [here; 2], "as it is counted");
    attempt(&mut world);
    assert_eq!([0, 1].map(|at| place(&world, at, channel)), [there; 2]);
    assert!(world.devices.iter().all(|device| device.events.contains(&CoordinatorEvent::RelaysChanged)));

    world.forget();
    attempt(&mut world);
    let is_moved = |event: &CoordinatorEvent| *event == CoordinatorEvent::RelaysChanged;
    assert!(!world.devices.iter().any(|device| device.events.iter().any(is_moved)), "it is there already");
}

#[test]
fn the_relay_that_was_left_is_told_when_the_other_one_has_agreed() {
    let Far { mut world, channel, here, there } = Far::new();
    bind_at(&mut world, channel);
    world.pass(SECOND);
    let bindings = |world: &World| [here, there].map(|relay| world.endpoints[&relay].bindings());
    assert_eq!(bindings(&world), [1, 0]);
    attempt(&mut world);
    bind_at(&mut world, channel);
    world.pass(world.rtt * 3 / 4);
    assert_eq!(bindings(&world), [1, 1]);
    world.pass(SECOND);
    assert_eq!(bindings(&world), [0, 1]);
}

#[test]
fn a_pair_that_its_relay_does_not_take_meets_where_it_would_without_it() {
    let Far { mut world, channel, here, there } = Far::new();
    let now = world.now;
    world.endpoints.get_mut(&there).unwrap().handle_command(EndpointCommand::Drain, now);
    attempt(&mut world);
    assert_eq!(place(&world, 0, channel), there, "nobody had a channel there, so nobody was told");
    bind_at(&mut world, channel);
    world.pass(SECOND);
    assert_eq!(place(&world, 0, channel), here);
}

/// Two devices that are far from the relay to which the channel of the pair counts.
struct Far {
    world: World,
    channel: u64,
    here: SocketAddr,
    there: SocketAddr,
}

impl Far {
    fn new() -> Self {
        let mut world = World::two_relays(2).join_all();
        let peer = world.id(1);
        let grant = world.devices[0].coordinator.directory().grant_of(&peer).unwrap();
        let channel = grant.channel().unwrap().value();
        let here = place(&world, 0, channel);
        let there = if here == APART { OTHER } else { APART };
        for at in 0..2 {
            world.further.insert((addr(at), here), SECOND / 10);
            world.with(at, |coordinator, now| coordinator.network_changed(now));
        }
        world.pass(SECOND);
        world.forget();
        Self { world, channel, here, there }
    }
}

/// Binds the channel of the pair where the first device would meet the other.
fn bind_at(world: &mut World, channel: u64) {
    let peer = world.id(1);
    world.with(0, |coordinator, now| {
        let grant = coordinator.directory().grant_of(&peer).unwrap();
        let (relay, _) = coordinator.relay_for(Channel::new(channel).unwrap()).unwrap();
        coordinator.bind(grant, relay, now);
    });
}

/// Both ends go through an attempt.
fn attempt(world: &mut World) {
    let peer = world.id(1);
    world.with(0, |coordinator, now| coordinator.begin(peer, now));
    world.pass(SECOND);
    let began = world.devices[0].events.iter().rev().find_map(|event| {
        let CoordinatorEvent::Began { outcome, .. } = event else { return None };
        let BeginOutcome::Started { attempt, ticket, handshake } = outcome else { return None };
        Some((*attempt, *ticket, *handshake))
    });
    let (attempt, ticket, handshake) = began.unwrap();
    for at in 0..2 {
        world.with(at, |coordinator, now| {
            coordinator.offer(attempt, ticket, handshake, Vec::new(), NatCard::default(), now);
        });
    }
    world.pass(SECOND);
}

/// Binds the channel of both devices at a relay, by its place.
fn meet(world: &mut World, relay: u8) {
    let peer = world.id(1);
    world.with(0, |coordinator, now| {
        if relay == 0 {
            bind(coordinator, &peer, now);
        } else {
            let grant = coordinator.directory().grant_of(&peer).unwrap();
            coordinator.bind(grant, relay, now);
        }
    });
    world.pass(SECOND);
}

fn drain(world: &mut World, relay: SocketAddr) {
    let now = world.now;
    world.endpoints.get_mut(&relay).unwrap().handle_command(EndpointCommand::Drain, now);
    world.pass(world.rtt);
}

fn place(world: &World, at: usize, channel: u64) -> SocketAddr {
    world.devices[at].coordinator.relay_for(Channel::new(channel).unwrap()).unwrap().1
}
