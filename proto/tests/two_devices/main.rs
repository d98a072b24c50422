//! Two devices, a coordinator and a STUN service over a plain network: HOUSE's third flow, end to end.
//!
//! The real machines of both ends and nothing else: no NAT, no loss (`tests/sim` has those), 20 ms one way
//! between anybody. Tunnel data is played by observations that follow each device's own table.

use std::net::SocketAddr;
use std::time::Duration;

use lanyard_proto::device::{Advice, Command, Event, MemberChange};
use lanyard_proto::overlay::Path;
use lanyard_proto::transmit::SocketId;
use lanyard_wire::nat::Mapping;

#[cfg(test)]
mod early;
#[cfg(test)]
mod world;

use world::{CONTROL, World, direct, kind, ms, table_of};

#[test]
fn two_devices_join_meet_by_relay_and_go_direct() {
    let mut world = World::new();
    world.join_both();
    let connected = world.now;
    world.connect(0);
    assert!(world.path(0).is_relayed(), "the first packet leaves at once");
    world.talk_for(ms(400));
    for at in 0..2 {
        assert_eq!(world.path(at), direct(1 - at));
        let kinds: Vec<&str> = world.devices[at].moves.iter().map(|(_, path)| kind(*path)).collect();
        assert_eq!(kinds, ["relayed", "direct"], "no gap in between");
    }
    let (direct_at, _) = world.devices[0].moves[1];
    assert!(direct_at.saturating_since(connected) <= ms(250), "{:?}", direct_at.saturating_since(connected));
    assert_eq!(world.devices[0].lost, 0, "every packet arrived, relayed or direct");
    assert_eq!(world.devices[1].lost, 0);
}

#[test]
fn the_first_packet_arrives_by_relay_after_one_relayed_trip() {
    let mut world = World::new();
    world.join_both();
    world.forbid_direct = true;
    let start = world.now;
    world.connect(0);
    world.talk_for(ms(300));
    let first = world.devices[1].first_heard.unwrap();
    assert!(first.saturating_since(start) <= ms(60), "{:?}", first.saturating_since(start));
    world.talk_for(Duration::from_secs(5));
    assert!(world.path(0).is_relayed() && world.path(1).is_relayed());
    let status = world.devices[0].device.status(world.now);
    assert_eq!(status.networks[0].members[0].attempt.advice, Advice::ProbesLost);
}

#[test]
fn where_the_usual_ports_do_not_meet_fresh_ones_do_and_the_path_keeps_them() {
    let mut world = World::new();
    world.join_both();
    world.forbid_usual = true;
    world.connect(0);
    world.talk_for(Duration::from_secs(5));
    for at in 0..2 {
        let Path::Direct { local, .. } = world.path(at) else { panic!("{:?}", world.path(at)) };
        assert_ne!(local, SocketId::MAIN);
        assert_eq!(world.devices[at].open, [local].into(), "all others were closed");
    }
    let lost = world.devices[0].lost;
    world.talk_for(Duration::from_secs(60));
    assert_eq!(world.devices[0].lost, lost);
    world.run_for(Duration::from_secs(200));
    for at in 0..2 {
        assert!(world.devices[at].open.is_empty(), "a path that nobody uses needs no socket");
    }
}

#[test]
fn a_socket_that_is_being_prepared_is_closed_when_the_attempt_ends() {
    let mut world = World::new();
    world.join_both();
    world.forbid_usual = true;
    world.connect(0);
    // Until the second try asks from where a fresh socket is seen.
    let is_fresh = |socket: &SocketId| socket.0 >= 64;
    let steps = (0..1_000).take_while(|_| {
        world.talk_for(ms(5));
        !world.devices[0].open.iter().any(is_fresh)
    });
    assert!(steps.count() < 1_000, "a fresh socket is asked about");
    let refused = world.devices[1].id;
    world.command(0, Command::Refuse { peer: refused, refused: true });
    world.run_for(Duration::from_secs(5));
    assert!(!world.devices[0].open.iter().any(is_fresh), "{:?}", world.devices[0].open);
}

#[test]
fn a_port_that_the_router_maps_brings_a_relayed_pair_together() {
    let mut world = World::new();
    world.join_both();
    world.forbid_direct = true;
    world.connect(0);
    world.talk_for(Duration::from_secs(10));
    assert!(world.path(0).is_relayed() && world.path(1).is_relayed());

    let mapped: SocketAddr = (world.devices[0].address.ip(), 40_000).into();
    world.mapped = Some(mapped);
    world.command(0, Command::Mapped { addr: Some(mapped) });
    world.talk_for(Duration::from_secs(3));
    assert!(world.path(0).is_direct(), "it tries again at once");
    assert!(matches!(world.path(1), Path::Direct { remote, .. } if remote == mapped));

    let probes = world.sent_to.get(&(1, mapped)).copied();
    world.command(0, Command::Mapped { addr: Some(mapped) });
    world.command(0, Command::Mapped { addr: None });
    world.talk_for(Duration::from_secs(3));
    assert!(world.path(1).is_direct(), "a proven path is left when it fails, not by hearsay");
    assert!(probes < world.sent_to.get(&(1, mapped)).copied());
}

#[test]
fn a_dead_direct_path_falls_back_to_the_relay_and_returns() {
    let mut world = World::new();
    world.join_both();
    world.connect(0);
    world.talk_for(Duration::from_secs(3));
    world.forbid_direct = true;
    world.talk_for(ms(1_200));
    assert!(world.path(0).is_relayed() && world.path(1).is_relayed());
    let lost = world.devices.iter().map(|end| end.lost).collect::<Vec<_>>();
    world.talk_for(Duration::from_secs(3));
    let after: Vec<u32> = world.devices.iter().map(|end| end.lost).collect();
    assert_eq!(lost, after, "the relay carries everything");
    world.forbid_direct = false;
    world.talk_for(Duration::from_secs(40));
    assert!(world.path(0).is_direct() && world.path(1).is_direct());
}

#[test]
fn a_removed_member_is_out_of_the_table_in_the_event_that_tells_it() {
    let mut world = World::new();
    world.join_both();
    world.connect(0);
    world.talk_for(Duration::from_secs(1));
    let gone = world.devices[1].id;
    world.remove(1);
    world.run_for(ms(500));
    let events = &world.devices[0].events;
    let told = events.iter().position(
        |event| matches!(event, Event::Member { device, change: MemberChange::Left, .. } if *device == gone),
    );
    let told = told.expect("told that the member left");
    let table = events[told..].iter().find_map(table_of).expect("a new table with it");
    assert!(table.peer(&gone).is_none());
    assert!(world.devices[1].events.iter().any(|event| matches!(event, Event::RemovedFrom { .. })));
    assert!(world.devices[1].table.peers.is_empty() && world.devices[1].table.addresses.is_empty());
}

#[test]
fn a_refused_peer_learns_no_candidate_and_stays_out() {
    let mut world = World::new();
    world.join_both();
    let refused = world.devices[0].id;
    world.command(1, Command::Refuse { peer: refused, refused: true });
    world.run_for(ms(300));
    world.connect(0);
    world.run_for(Duration::from_secs(5));
    assert!(!world.path(0).is_direct());
    let address = world.devices[1].address;
    assert!(!world.sent_to.contains_key(&(0, address)), "its address was never disclosed");
    assert_eq!(world.sent_to.get(&(1, world.devices[0].address)), None);
    let status = world.devices[0].device.status(world.now);
    assert_eq!(status.networks[0].members[0].attempt.advice, Advice::RefusedThere);
}

#[test]
fn traffic_survives_a_coordinator_that_dies_and_comes_back() {
    let mut world = World::new();
    world.join_both();
    world.connect(0);
    world.talk_for(Duration::from_secs(2));
    let lost = world.devices[0].lost;
    world.is_coordinator_up = false;
    world.talk_for(Duration::from_secs(300));
    assert!(world.path(0).is_direct());
    world.restart_coordinator();
    world.talk_for(Duration::from_secs(120));
    assert!(world.is_online(0) && world.is_online(1));
    assert_eq!(world.devices[0].lost, lost);
}

#[test]
fn a_coordinator_that_still_loads_its_roster_puts_nobody_out_and_relays_on() {
    let mut world = World::new();
    world.forbid_direct = true;
    world.join_both();
    world.connect(0);
    world.talk_for(Duration::from_secs(5));
    assert!(world.path(0).is_relayed());
    world.restart_coordinator_without_roster();
    world.talk_for(Duration::from_secs(5));
    let lost = world.devices[0].lost;
    world.talk_for(Duration::from_secs(30));
    assert_eq!(world.devices[0].lost, lost, "the relay knows its pairs by their tokens");
    for at in 0..2 {
        assert_eq!(
            world.devices[at].table.peers.len(),
            1,
            "device {at} was told of a roster that was not there"
        );
    }
    world.load_roster();
    world.talk_for(Duration::from_secs(5));
    assert!(world.is_online(0) && world.is_online(1));
    assert_eq!(world.devices[0].lost, lost);
}

#[test]
fn two_restarted_devices_meet_while_the_coordinator_is_away() {
    let mut world = World::new();
    world.join_both();
    world.connect(0);
    world.talk_for(Duration::from_secs(5));
    world.is_coordinator_up = false;
    world.talk_for(Duration::from_secs(5));
    for at in 0..2 {
        world.restart_device(at);
    }
    world.run_for(Duration::from_secs(2));
    world.connect(0);
    world.talk_for(Duration::from_secs(1));
    assert!(world.path(0).is_direct() && world.path(1).is_direct());
}

#[test]
fn idle_devices_send_keep_alives_to_the_coordinator_and_nothing_to_each_other() {
    let mut world = World::new();
    world.join_both();
    world.connect(0);
    world.talk_for(Duration::from_secs(2));
    world.run_for(Duration::from_secs(240));
    assert_eq!((world.path(0), world.path(1)), (Path::None, Path::None));
    world.sent_to.clear();
    world.run_for(Duration::from_secs(600));
    let peers = [(0, world.devices[1].address), (1, world.devices[0].address)];
    assert!(peers.iter().all(|pair| !world.sent_to.contains_key(pair)), "silence between idle peers");
    let control: SocketAddr = CONTROL.parse().unwrap();
    for at in 0..2 {
        let sent = world.sent_to.get(&(at, control)).copied().unwrap_or(0);
        assert!((36..=55).contains(&sent), "{sent} datagrams to the coordinator in ten minutes");
    }
}

#[test]
fn netcheck_finds_that_there_is_no_nat() {
    let mut world = World::new();
    world.join_both();
    world.command(0, Command::Netcheck { tag: 7 });
    world.run_for(Duration::from_secs(2));
    let card = world.devices[0].events.iter().find_map(|event| {
        let Event::Netcheck { tag: 7, card } = event else { return None };
        Some(*card)
    });
    assert_eq!(card.unwrap().mapping, Some(Mapping::None));
}
