//! Several relays: which one a pair meets at, and what happens when that one goes.

use lanyard_wire::ids::Channel;
use lanyard_wire::relay::RelayRefusal;

use super::world::{APART, SECOND as OTHER, World};
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
    for relay in [0, 1] {
        meet(&mut world, relay);
    }
    drain(&mut world, APART);
    drain(&mut world, OTHER);
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
fn a_relay_that_ended_as_it_had_said_is_used_again_when_it_is_back() {
    let mut world = World::two_relays(2).join_all();
    meet(&mut world, 0);
    drain(&mut world, APART);
    world.start(APART);
    world.with(0, |coordinator, now| coordinator.poke(now));
    world.pass(SECOND * 5);
    assert_eq!(place(&world, 0, 8), APART);
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

fn drain(world: &mut World, relay: core::net::SocketAddr) {
    let now = world.now;
    world.endpoints.get_mut(&relay).unwrap().handle_command(EndpointCommand::Drain, now);
    world.pass(world.rtt);
}

fn place(world: &World, at: usize, channel: u64) -> core::net::SocketAddr {
    world.devices[at].coordinator.relay_for(Channel::new(channel).unwrap()).unwrap().1
}
