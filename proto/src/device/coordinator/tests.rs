//! The coordinator side of devices against the services as they are.

mod relays;
mod world;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::checkpoint::{BeginOutcome, MemberState};
use lanyard_wire::envelope::{DATA, HELLO, RESUME, RelayHeader};
use lanyard_wire::nat::NatCard;
use lanyard_wire::relay::RelayRefusal;

use self::world::{APART, CHECKPOINT, World, addr, identity, network};
use super::*;
use crate::device::event::MemberChange;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn joining_brings_the_network_its_members_and_their_presence() {
    let mut world = World::new(2);
    world.join(0);
    world.until("the first is a member", |world| {
        world.devices[0].coordinator.directory().networks().count() == 1
    });
    world.pass(SECOND);
    world.join(1);
    world.pass(SECOND);

    assert!(joined(&world, 0) && joined(&world, 1));
    assert_eq!((world.members(0), world.members(1)), (1, 1));
    assert!(world.is_online(0, 1) && world.is_online(1, 0));
    let view = world.devices[1].coordinator.directory().network(network()).unwrap();
    assert_eq!((view.card.state, view.card.name.as_str()), (MemberState::Active, "home"));
    assert!(has_news(&world, 0, 1, MemberChange::Joined), "the one who was there hears of it");
    assert!(world.devices[1].coordinator.status().number.is_some());
    assert_eq!(world.devices[1].coordinator.stun_addrs(), [CHECKPOINT]);
}

#[test]
fn a_join_that_waits_becomes_a_membership_when_it_is_approved() {
    let mut world = World::new(1);
    world.index.approves = false;
    world.join(0);
    world.pass(SECOND);
    let state = |world: &World| {
        world.devices[0].coordinator.directory().network(network()).map(|view| view.card.state)
    };
    assert_eq!(state(&world), Some(MemberState::Pending));

    let approval = world.index.put(identity(0).public(), MemberState::Active, "device-0");
    world.command(&approval);
    world.pass(SECOND);
    assert_eq!(state(&world), Some(MemberState::Active));
}

#[test]
fn everybody_is_told_of_a_new_member_within_a_moment() {
    let mut world = World::joined(3);
    world.put_stranger(60, true);
    world.pass(Duration::from_millis(100));
    assert_eq!([world.members(0), world.members(1), world.members(2)], [3, 3, 3]);
    world.put_stranger(60, false);
    world.pass(Duration::from_millis(100));
    assert_eq!([world.members(0), world.members(1), world.members(2)], [2, 2, 2]);
}

#[test]
fn a_removed_device_knows_within_a_moment() {
    let mut world = World::joined(2);
    let removal = world.index.remove(world.id(1));
    world.command(&removal);
    world.pass(Duration::from_millis(100));
    assert!(world.devices[1].coordinator.directory().network(network()).is_none());
    assert!(
        world.devices[1].events.iter().any(|event| matches!(event, CoordinatorEvent::RemovedFrom { .. }))
    );
    assert_eq!(world.members(0), 0);
}

#[test]
fn a_device_removed_while_it_was_away_learns_it_when_it_returns() {
    let mut world = World::joined(2);
    world.restart_device(1);
    let lonely = world.endpoints.remove(&CHECKPOINT).unwrap();
    drop(lonely);
    world.index.remove(world.id(1));
    world.start(CHECKPOINT);
    world.pass(SECOND * 10);
    assert!(world.stands(1));
    assert!(world.devices[1].coordinator.directory().network(network()).is_none());
}

#[test]
fn leaving_is_confirmed_and_told() {
    let mut world = World::joined(2);
    world.with(1, |coordinator, now| coordinator.leave(5, network(), now));
    world.pass(SECOND);
    let left = CoordinatorEvent::Left { tag: 5, network: network() };
    assert!(world.devices[1].events.contains(&left));
    assert!(world.devices[1].coordinator.directory().network(network()).is_none());
    assert_eq!(world.members(0), 0);
}

#[test]
fn a_network_of_a_hundred_arrives_in_pages() {
    let mut world = World::new(1);
    for number in 110..210 {
        world.put_stranger(number, true);
    }
    world.join(0);
    world.pass(SECOND * 5);
    assert_eq!(world.members(0), 100);
}

#[test]
fn a_device_that_missed_changes_is_told_those_alone() {
    let mut world = World::joined(2);
    for number in 110..140 {
        world.put_stranger(number, true);
    }
    world.pass(SECOND * 5);
    world.devices[1].addr = SocketAddr::from(([192, 0, 2, 99], 1));
    let home = addr(1);
    for number in 110..115 {
        world.put_stranger(number, false);
        world.pass(Duration::from_millis(100));
    }
    world.put_stranger(150, true);
    world.pass(SECOND * 200);
    assert_eq!(world.members(1), 27, "whoever returns by a keep-alive alone is told what it missed");
    world.devices[1].addr = home;
    world.with(1, Coordinator::network_changed);
    world.pass(SECOND * 20);
    assert_eq!(world.members(1), 27);
}

#[test]
fn a_killed_and_restarted_coordinator_is_told_everything_again() {
    let mut world = World::joined(2);
    world.with(0, |coordinator, now| bind(coordinator, &DeviceId::of(&identity(1).public()), now));
    world.pass(SECOND * 70);
    world.forget();
    world.start(CHECKPOINT);
    // Something is sent within a keep-alive at the latest; traffic sends at once.
    world.with(0, Coordinator::poke);
    world.with(1, Coordinator::poke);
    world.pass(Duration::from_millis(250));

    assert!(world.stands(0) && world.stands(1));
    assert!(!world.sent.contains(&HELLO) && world.sent.contains(&RESUME), "by ticket");
    assert!(world.devices[0].events.iter().any(|event| matches!(event, CoordinatorEvent::Bound { .. })));
    assert!(world.devices[0].events.iter().any(|event| matches!(event, CoordinatorEvent::Registered { .. })));
    assert_eq!(world.members(0), 1);
    world.pass(SECOND * 10);
    assert!(world.is_online(0, 1) && world.is_online(1, 0));
}

#[test]
fn nobody_seems_away_while_a_coordinator_restarts() {
    let mut world = World::joined(2);
    world.pass(SECOND * 70);
    world.forget();
    world.start(CHECKPOINT);
    world.with(0, Coordinator::poke);
    world.with(1, Coordinator::poke);
    world.pass(SECOND * 20);
    assert!(!has_news(&world, 0, 1, MemberChange::Offline) && !has_news(&world, 1, 0, MemberChange::Offline));
}

#[test]
fn whoever_goes_away_is_told_to_the_others_and_so_is_a_bye() {
    let mut world = World::joined(3);
    world.with(1, Coordinator::shutdown);
    world.pass(SECOND);
    assert!(has_news(&world, 0, 1, MemberChange::Offline) && !world.is_online(0, 1));

    world.devices[2].addr = SocketAddr::from(([192, 0, 2, 99], 1));
    world.devices[2].coordinator.shutdown(world.now);
    world.devices[2].addr = addr(9);
    world.pass(SECOND * 100);
    assert!(!world.is_online(0, 2), "in silence, after three periods");
}

#[test]
fn someone_who_left_while_we_had_no_session_does_not_stay_online() {
    let mut world = World::joined(2);
    world.endpoints.remove(&CHECKPOINT);
    world.with(1, Coordinator::shutdown);
    world.pass(SECOND * 300);
    assert!(!world.stands(0));
    assert!(world.is_online(0, 1), "the last word counts while nobody says another");
    world.start(CHECKPOINT);
    world.pass(SECOND * 120);
    assert!(world.stands(0) && !world.is_online(0, 1));
}

#[test]
fn a_coordinator_away_for_long_leaves_the_directory_and_is_found_again() {
    let mut world = World::joined(2);
    world.endpoints.remove(&CHECKPOINT);
    world.pass(SECOND * 3_600);
    assert!(!world.stands(0));
    assert_eq!(world.members(0), 1);
    assert!(world.devices[0].coordinator.directory().grant_of(&world.id(1)).is_some());
    world.start(CHECKPOINT);
    world.pass(SECOND * 70);
    assert!(world.stands(0) && world.stands(1));
}

#[test]
fn a_restarted_device_has_its_directory_and_its_session_in_one_round_trip() {
    let mut world = World::joined(2);
    world.forget();
    world.restart_device(0);
    assert_eq!(world.members(0), 1, "before any answer");
    world.pass(world.rtt);
    assert!(world.stands(0));
    assert_eq!(world.sent.first(), Some(&RESUME));
    world.pass(SECOND);
    assert!(world.is_online(0, 1));
    assert!(!world.sent.contains(&HELLO));
}

#[test]
fn two_offers_start_both_ends_with_each_others_candidates() {
    let mut world = World::joined(2);
    let peer = world.id(1);
    world.with(0, |coordinator, now| coordinator.begin(peer, now));
    world.pass(Duration::from_millis(60));
    let Some(CoordinatorEvent::Began {
        outcome: BeginOutcome::Started { attempt, ticket, handshake }, ..
    }) = world.devices[0].events.last().cloned()
    else {
        panic!("{:?}", world.devices[0].events)
    };
    assert_eq!(invitations(&world, 1), [attempt]);
    for at in [0, 1] {
        let candidates = vec![Candidate { kind: CandidateKind::Host, addr: addr(at) }];
        let card = NatCard { udp: true, ..NatCard::default() };
        world.with(at, |coordinator, now| {
            coordinator.offer(attempt, ticket, handshake, candidates, card, now);
        });
    }
    world.pass(Duration::from_millis(60));
    for at in [0, 1] {
        let go = world.devices[at].events.iter().find_map(|event| {
            let CoordinatorEvent::Go { go } = event else { return None };
            Some(go.clone())
        });
        let go = go.expect("a start signal");
        assert!(go.candidates.iter().any(|candidate| candidate.addr == addr(1 - at)));
    }
    world.forget();
    world.pass(SECOND * 20);
    assert!(
        world.sent.iter().all(|kind| *kind == DATA) && world.sent.len() < 6,
        "nothing is repeated any more"
    );
}

#[test]
fn an_offer_without_the_other_end_is_repeated_and_then_dropped() {
    let mut world = World::joined(2);
    let peer = world.id(1);
    world.with(0, |coordinator, now| coordinator.begin(peer, now));
    world.pass(Duration::from_millis(60));
    let Some(CoordinatorEvent::Began {
        outcome: BeginOutcome::Started { attempt, ticket, handshake }, ..
    }) = world.devices[0].events.last().cloned()
    else {
        panic!("not started")
    };
    let offer = |coordinator: &mut Coordinator, now| {
        coordinator.offer(attempt, ticket, handshake, Vec::new(), NatCard::default(), now);
    };
    world.with(0, offer);
    world.pass(SECOND * 9);
    world.with(1, offer);
    world.pass(SECOND);
    assert!(
        world.devices[0].events.iter().any(|event| matches!(event, CoordinatorEvent::Go { .. })),
        "late, not lost"
    );

    world.with(0, |coordinator, _| coordinator.cancel_offer(attempt));
    world.pass(SECOND * 30);
    world.forget();
    world.pass(SECOND * 10);
    assert!(world.sent.len() <= 2, "quiet: {:?}", world.sent);
}

#[test]
fn beginning_with_somebody_who_is_away_refuses_or_is_a_stranger_says_so_at_once() {
    let mut world = World::joined(3);
    world.with(1, Coordinator::shutdown);
    let refused = vec![world.id(0)];
    world.with(2, |coordinator, now| coordinator.consent(refused, now));
    world.pass(SECOND);
    world.forget();
    let stranger = DeviceId::of(&identity(77).public());
    for peer in [world.id(1), world.id(2), stranger] {
        world.with(0, |coordinator, now| coordinator.begin(peer, now));
    }
    world.pass(world.rtt);
    let events = world.devices[0].events.iter();
    let began = events.filter_map(|event| {
        let CoordinatorEvent::Began { outcome, .. } = event else { return None };
        Some(*outcome)
    });
    let outcomes: Vec<_> = began.collect();
    assert_eq!(outcomes, [BeginOutcome::Offline, BeginOutcome::Refused, BeginOutcome::NoSharedNetwork]);
    assert_eq!(invitations(&world, 2), []);
}

#[test]
fn consent_is_said_again_to_a_restarted_coordinator() {
    let mut world = World::joined(2);
    let refused = vec![world.id(0)];
    world.with(1, |coordinator, now| coordinator.consent(refused, now));
    world.pass(SECOND * 70);
    world.start(CHECKPOINT);
    world.with(0, Coordinator::poke);
    world.with(1, Coordinator::poke);
    world.pass(SECOND);
    world.forget();
    let peer = world.id(1);
    world.with(0, |coordinator, now| coordinator.begin(peer, now));
    world.pass(SECOND);
    let refused = CoordinatorEvent::Began { peer, outcome: BeginOutcome::Refused };
    assert!(world.devices[0].events.contains(&refused));
}

#[test]
fn a_bound_channel_carries_frames_and_the_other_end_hears_of_it() {
    for mut world in [World::joined(2), World::apart(2).join_all()] {
        let (relay, frame) = bound(&mut world);
        assert!(
            world.devices[1].events.iter().any(|event| matches!(event, CoordinatorEvent::Incoming { .. }))
        );
        world.send_frame(0, relay, &frame);
        world.send_frame(1, relay, &frame);
        world.pass(world.rtt);
        assert_eq!((world.devices[0].frames, world.devices[1].frames), (1, 1));
    }
}

#[test]
fn a_service_apart_takes_the_ticket_of_the_checkpoint() {
    let mut world = World::apart(2).join_all();
    world.forget();
    let (relay, _) = bound(&mut world);
    assert_eq!(relay, APART);
    assert_eq!(world.endpoints[&APART].sessions(), 2);
}

#[test]
fn a_restarted_relay_carries_frames_again_within_a_second() {
    for (mut world, process) in [(World::joined(2), CHECKPOINT), (World::apart(2).join_all(), APART)] {
        let (relay, frame) = bound(&mut world);
        let peer = world.id(0);
        world.with(1, |coordinator, now| bind(coordinator, &peer, now));
        world.pass(SECOND * 70);
        world.start(process);
        // The shell hands the hint that a frame provoked to the machine, as it does with all that is ours.
        for _ in 0..20 {
            world.send_frame(0, relay, &frame);
            world.send_frame(1, relay, &frame);
            world.pass(Duration::from_millis(50));
        }
        assert!(world.devices[0].frames > 0 && world.devices[1].frames > 0, "{process}");
    }
}

#[test]
fn a_poke_moves_relayed_frames_to_the_new_address_and_tells_where_we_are() {
    let mut world = World::joined(2);
    let (relay, frame) = bound(&mut world);
    world.forget();
    world.devices[1].addr = addr(9);
    world.with(1, Coordinator::poke);
    // One round trip to be asked whether we are there, one to answer.
    world.pass(world.rtt * 2);
    assert!(world.devices[1].events.contains(&CoordinatorEvent::Registered { observed: addr(9) }));
    world.send_frame(0, relay, &frame);
    world.pass(world.rtt);
    assert_eq!(world.devices[1].frames, 1);
    assert!(!world.sent.contains(&RESUME) && !world.sent.contains(&HELLO), "no new session");
}

#[test]
fn an_unbound_channel_is_not_bound_again() {
    let mut world = World::joined(2);
    let (relay, frame) = bound(&mut world);
    let channel = RelayHeader::parse(&frame).unwrap().0.channel;
    world.with(0, |coordinator, now| coordinator.unbind(channel, now));
    world.pass(SECOND);
    assert_eq!(world.endpoints[&CHECKPOINT].bindings(), 0);
    world.send_frame(0, relay, &frame);
    world.pass(SECOND);
    assert_eq!(world.endpoints[&CHECKPOINT].bindings(), 0);
}

#[test]
fn a_grant_past_its_time_is_renewed_with_the_roster() {
    let mut world = World::joined(2);
    world.pass(Duration::from_secs(4 * 86_400));
    world.forget();
    let peer = world.id(1);
    let old = world.devices[0].coordinator.directory().grant_of(&peer).unwrap();
    world.with(0, |coordinator, now| coordinator.bind(old, 0, now));
    world.pass(SECOND);
    let channel = old.channel().unwrap();
    let refused = CoordinatorEvent::RelayRefused { channel, why: RelayRefusal::Expired };
    assert!(world.devices[0].events.contains(&refused));
    world.forget();
    let (_, frame) = bound(&mut world);
    assert_eq!(RelayHeader::parse(&frame).unwrap().0.channel, channel, "the same channel, a newer proof");
}

#[test]
fn faults_of_the_network_only_cost_time() {
    for seed in 0..12 {
        let mut world = World::joined(3);
        world.faults(seed, 20, Duration::from_millis(80));
        for number in 110..130 {
            world.put_stranger(number, true);
            world.pass(Duration::from_millis(150));
        }
        for number in 110..115 {
            world.put_stranger(number, false);
            world.pass(Duration::from_millis(700));
        }
        if seed % 2 == 0 {
            world.start(CHECKPOINT);
        }
        world.pass(SECOND * 60);
        world.calm();
        world.pass(SECOND * 130);
        for at in 0..3 {
            assert!(world.stands(at), "seed {seed}");
            assert_eq!(world.members(at), 17, "seed {seed}, device {at}");
        }
    }
}

#[test]
fn an_idle_device_costs_a_keep_alive_each_period_and_a_registration_each_half_hour() {
    let mut world = World::joined(1);
    world.pass(SECOND * 60);
    world.forget();
    world.pass(SECOND * 3_600);
    assert!((210..=310).contains(&world.sent.len()), "{} datagrams in an hour", world.sent.len());
    assert!(world.sent.iter().all(|kind| *kind == DATA));
}

fn joined(world: &World, at: usize) -> bool {
    world.devices[at].events.iter().any(|event| matches!(event, CoordinatorEvent::Joined { tag: 7, .. }))
}

fn has_news(world: &World, at: usize, about: usize, wanted: MemberChange) -> bool {
    let about = world.id(about);
    world.devices[at].events.iter().any(|event| {
        matches!(event, CoordinatorEvent::Member { device, change, .. } if *device == about && *change == wanted)
    })
}

fn invitations(world: &World, at: usize) -> Vec<AttemptId> {
    let events = world.devices[at].events.iter();
    let invited = events.filter_map(|event| {
        let CoordinatorEvent::Invited { attempt, .. } = event else { return None };
        Some(*attempt)
    });
    invited.collect()
}

fn bind(coordinator: &mut Coordinator, peer: &DeviceId, now: Instant) {
    let grant = coordinator.directory().grant_of(peer).unwrap();
    coordinator.bind(grant, 0, now);
}

/// Binds the channel of the first two devices; the relay and a frame for it.
fn bound(world: &mut World) -> (SocketAddr, Vec<u8>) {
    let peer = world.id(1);
    world.with(0, |coordinator, now| bind(coordinator, &peer, now));
    world.pass(SECOND);
    let bound = world.devices[0].events.iter().find_map(|event| {
        let CoordinatorEvent::Bound { channel, relay, peer_here: true } = event else { return None };
        Some((*channel, *relay))
    });
    let (channel, relay) = bound.expect("a bound channel");
    assert_eq!(relay, 0, "there is one");
    let (_, relay) = world.devices[0].coordinator.relay_for(channel).unwrap();
    let mut frame = RelayHeader { channel, length: 32 }.encode().to_vec();
    frame.extend([4; 32]);
    (relay, frame)
}
