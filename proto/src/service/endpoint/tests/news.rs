//! CHECKPOINT's pushes: what is told to whom when something changes, how soon and how often.

use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::checkpoint::{Availability, Change, FromCheckpoint, MemberState, Register, ToCheckpoint};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::session::FromDevice;

use super::world::{World, network, register};
use crate::service::EndpointCommand;

const MOMENT: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_removal_is_pushed_at_once_to_the_members_and_to_the_removed() {
    let mut world = World::with_members(3);
    let gone = world.clients[2].id;
    world.remove(2);
    world.pass(MOMENT);
    for at in 0..3 {
        let told = world.told(at);
        let [FromCheckpoint::RosterChanged(push)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((push.network, push.to), (network(), world.revision()));
        assert_eq!(push.changes, [Change::Gone(gone)], "device {at}");
    }
}

#[test]
fn a_removed_network_is_pushed_to_each_of_its_members() {
    let mut world = World::with_members(2);
    world.command(EndpointCommand::RemoveNetwork(network()));
    world.pass(MOMENT);
    for at in 0..2 {
        let told = world.told(at);
        let [FromCheckpoint::RosterChanged(push)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(push.changes, [Change::Gone(world.clients[at].id)]);
        assert!(push.to > push.from);
    }
    world.ask(0, register()).unwrap();
    assert_eq!(world.registered(0).networks, []);
}

#[test]
fn changes_that_do_not_fit_a_push_are_named_by_their_revision() {
    let mut world = World::with_members(1);
    for number in 100..120 {
        world.put_key(number, PublicKey::from_bytes([number; 32]), MemberState::Active);
    }
    world.pass(MOMENT);
    let told = world.told(0);
    let [FromCheckpoint::RosterChanged(push)] = &told[..] else { panic!("one push for all: {told:?}") };
    assert_eq!((push.to, &push.changes), (world.revision(), &Vec::new()));
}

#[test]
fn a_push_is_repeated_until_it_is_acknowledged() {
    let mut world = World::with_members(1);
    world.put_key(100, PublicKey::from_bytes([100; 32]), MemberState::Active);
    world.pass(MOMENT + Duration::from_millis(300));
    let heard = world.heard(0);
    assert_eq!((heard.len(), &heard[0]), (2, &heard[1]));
    let ServiceBody::Checkpoint(FromCheckpoint::RosterChanged(push)) = &heard[0] else { panic!("{heard:?}") };
    world.ask(0, ToCheckpoint::Ack { push: push.push }).unwrap();
    world.pass(SECOND * 20);
    assert_eq!(world.heard(0), []);
    assert_eq!(world.ask(0, ToCheckpoint::Ack { push: push.push }), Ok(()), "a second one does no harm");
}

#[test]
fn what_was_pushed_in_vain_is_told_when_the_device_is_heard() {
    let mut world = World::with_members(2);
    world.put_key(100, PublicKey::from_bytes([100; 32]), MemberState::Active);
    world.say(1, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    world.pass(SECOND * 20);
    let pushed = world.told(0).len();
    assert_eq!(pushed, 12, "each of two six times");
    world.pass(SECOND * 20);
    assert_eq!(world.told(0), [], "silence while it is silent");
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    world.pass(MOMENT);
    let told = world.told(0);
    let [FromCheckpoint::RosterChanged(changed), FromCheckpoint::Presence(presence)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((changed.to, &changed.changes), (world.revision(), &Vec::new()), "it is to ask");
    assert_eq!(presence.changes, [(world.clients[1].id, Availability::Offline)]);
}

#[test]
fn a_device_that_is_heard_between_two_copies_is_not_left_waiting_for_the_next() {
    let mut world = World::with_members(1);
    world.put_key(100, PublicKey::from_bytes([100; 32]), MemberState::Active);
    world.pass(SECOND * 9);
    assert_eq!(world.told(0).len(), 6, "0, 0.25, 0.75, 1.75, 3.75 and 7.75 s; the next look is at 15.75 s");
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    world.pass(MOMENT);
    let told = world.told(0);
    assert!(matches!(told[..], [FromCheckpoint::RosterChanged(_)]), "{told:?}");
}

#[test]
fn presence_is_collected_and_told_once() {
    let mut world = World::with_members(6);
    for at in 1..6 {
        world.say(at, &DeviceBody::Session(FromDevice::Bye)).unwrap();
        world.pass(Duration::from_millis(30));
    }
    assert_eq!(world.told(0), []);
    world.pass(Duration::from_millis(50));
    let told = world.told(0);
    let [FromCheckpoint::Presence(presence)] = &told[..] else { panic!("{told:?}") };
    let mut gone: Vec<_> = (1..6).map(|at| (world.clients[at].id, Availability::Offline)).collect();
    gone.sort_unstable();
    assert_eq!(presence.changes, gone);
}

#[test]
fn who_comes_and_goes_within_a_moment_is_told_as_it_is() {
    let mut world = World::with_members(2);
    world.say(1, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    world.pass(Duration::from_millis(100));
    world.resume(1);
    world.pass(Duration::from_millis(150));
    let told = world.told(0);
    let [FromCheckpoint::Presence(presence)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(presence.changes, [(world.clients[1].id, Availability::Online { prekey: None })]);
}

#[test]
fn who_begins_to_relay_or_ends_it_is_told_to_its_peers() {
    let mut world = World::with_members(2);
    for relays in [true, false] {
        let ToCheckpoint::Register(register) = register() else { unreachable!() };
        world.ask(1, ToCheckpoint::Register(Register { relays, ..register })).unwrap();
        world.pass(Duration::from_millis(250));
        let told = world.told(0);
        let presence = |message: &FromCheckpoint| {
            if let FromCheckpoint::Presence(presence) = message { Some(presence.clone()) } else { None }
        };
        // What was not acknowledged is said again.
        let presence = told.iter().filter_map(presence).max_by_key(|presence| presence.push).unwrap();
        let availability = if relays {
            Availability::Relaying { prekey: None }
        } else {
            Availability::Online { prekey: None }
        };
        assert_eq!(presence.changes, [(world.clients[1].id, availability)]);
    }
}

#[test]
fn who_returns_is_told_who_is_here() {
    let mut world = World::with_members(3);
    world.say(2, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    world.resume(0);
    world.said[0].clear();
    world.ask(0, register()).unwrap();
    world.pass(Duration::from_millis(250));
    let told = world.told(0);
    let here = told.iter().find_map(|message| {
        if let FromCheckpoint::Presence(presence) = message { Some(&presence.changes) } else { None }
    });
    let here = here.unwrap_or_else(|| panic!("{told:?}"));
    assert!(here.contains(&(world.clients[1].id, Availability::Online { prekey: None })));
    assert!(
        !here.contains(&(world.clients[2].id, Availability::Online { prekey: None })),
        "who is not here is not named"
    );
}
