//! The door beside UDP.

use alloc::vec;
use core::time::Duration;

use lanyard_wire::envelope::{DATA, HELLO, RESUME};

use super::super::LinkState;
use super::world::{DOOR, ELSEWHERE, SERVICE, World};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_door_is_left_alone_where_udp_answers() {
    let mut world = World::open(World::with_door(vec![SERVICE, DOOR], true));
    world.pass(SECOND * 300);
    assert_eq!(world.link.remote(), Some(SERVICE));
    assert_eq!(world.service.remotes().len(), 1);
    assert_eq!(world.service.sessions_granted, 1);
}

#[test]
fn where_udp_is_blocked_the_door_is_tried_300_ms_later_and_beside_it() {
    let mut world = World::with_door(vec![SERVICE, DOOR], false);
    world.run_until_open();
    assert_eq!(world.link.remote(), Some(DOOR));
    // Two round trips after 300 ms, as by UDP.
    assert!(world.now.as_micros() / 1_000 <= 300 + 80, "{}", world.now);
    assert_eq!(world.kinds(), [HELLO, HELLO, HELLO, HELLO, DATA], "two by UDP, two at the door");
    assert!(matches!(world.link.state(), LinkState::Open { observed: DOOR, .. }));
}

#[test]
fn a_ticket_opens_at_the_door_as_well() {
    let mut world = World::open(World::with_door(vec![SERVICE, DOOR], false));
    let ticket = world.link.ticket().cloned();
    world.link = world.link_to(vec![SERVICE, DOOR], ticket);
    world.sent.clear();
    let start = world.now;
    world.run_until_open();
    assert!(world.now <= start + Duration::from_millis(340), "{} after {start}", world.now);
    assert_eq!(world.kinds(), [RESUME, RESUME, RESUME, DATA]);
}

#[test]
fn a_coordinator_whose_name_has_no_address_here_is_found_at_its_door() {
    let mut world = World::with_door(vec![DOOR], false);
    assert_eq!(world.link.remote(), Some(DOOR));
    world.run_until_open();
    assert_eq!(world.now.as_micros() / 1_000, 80, "nothing else to wait for");
}

#[test]
fn the_link_goes_back_to_udp_within_a_minute_of_its_return_and_loses_nothing_before() {
    let mut world = World::open(World::with_door(vec![SERVICE, DOOR], false));
    world.pass(SECOND * 200);
    assert_eq!(world.link.remote(), Some(DOOR));
    assert_eq!(world.service.sessions_granted, 1, "asking by UDP costs no session");
    assert!(world.link.is_open());
    let probes = world.kinds().iter().filter(|kind| **kind == RESUME).count();
    assert!((2..=4).contains(&probes), "{probes} probes in 200 s");
    world.has_udp = true;
    let start = world.now;
    world.run_until(|world| world.link.remote() == Some(SERVICE));
    assert!(world.now <= start + SECOND * 67, "{} after {start}", world.now);
    world.pass(SECOND * 300);
    assert_eq!(world.link.remote(), Some(SERVICE));
}

#[test]
fn a_change_of_network_asks_udp_at_once() {
    let mut world = World::open(World::with_door(vec![SERVICE, DOOR], false));
    world.pass(SECOND);
    world.has_udp = true;
    world.link.network_changed(world.now);
    world.pass(world.rtt * 2);
    assert_eq!(world.link.remote(), Some(SERVICE));
}

#[test]
fn all_addresses_of_a_service_are_asked_for_the_way_back() {
    let nobody = "192.0.2.77:7443".parse().unwrap();
    let mut world = World::open(World::with_door(vec![nobody, ELSEWHERE, DOOR], false));
    world.has_udp = true;
    world.pass(SECOND * 70);
    assert_eq!(world.link.remote(), Some(ELSEWHERE));
}

#[test]
fn udp_that_dies_under_a_session_is_replaced_by_the_door_before_anybody_calls_it_lost() {
    let mut world = World::open(World::with_door(vec![SERVICE, DOOR], true));
    world.pass(SECOND * 70);
    world.has_udp = false;
    let start = world.now;
    world.link.poke(world.now);
    world.run_until(|world| world.link.remote() == Some(DOOR));
    assert!(world.now <= start + SECOND * 2, "{} after {start}", world.now);
    world.pass(SECOND);
    assert!(matches!(world.link.state(), LinkState::Open { .. }));
}

#[test]
fn a_session_without_any_way_is_lost_and_comes_back_by_the_door() {
    let mut world = World::open(World::with_door(vec![SERVICE, DOOR], false));
    world.service.alive = false;
    world.pass(SECOND * 200);
    assert!(matches!(world.link.state(), LinkState::Lost { .. }));
    world.service.alive = true;
    let start = world.now;
    world.run_until_open();
    assert!(world.now <= start + SECOND * 62, "{} after {start}", world.now);
}

#[test]
fn a_closed_link_is_silent_at_the_door_too() {
    let mut world = World::open(World::with_door(vec![SERVICE, DOOR], false));
    world.link.close(world.now);
    world.pass(Duration::ZERO);
    world.sent.clear();
    world.pass(SECOND * 200);
    assert!(world.sent.is_empty());
    assert_eq!(world.link.poll_timeout(), None);
}
