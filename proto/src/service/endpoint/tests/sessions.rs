//! HELLO, RETRY, WELCOME, RESUME, DATA: who is let in, and what is met with silence.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::body::DeviceBody;
use lanyard_wire::checkpoint::{MemberState, ToCheckpoint};
use lanyard_wire::envelope::{DATA, RESUMED, RETRY, UNKNOWN, Unknown, WELCOME};
use lanyard_wire::ids::{DeviceId, SessionIndex};
use lanyard_wire::keys::SecretKey;
use lanyard_wire::session::FromDevice;

use super::client::Client;
use super::world::{World, addr, elsewhere, request, service};
use crate::rejected::Rejected;
use crate::service::register::Bounds;
use crate::service::{EndpointCommand, EndpointEvent};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_device_that_shows_its_address_gets_a_session() {
    let mut world = World::new();
    let at = world.add();
    world.greet(at);
    let stats = world.endpoint.stats();
    assert_eq!((stats.sessions, stats.guests), (1, 1), "member of nothing");
    world.put(at, MemberState::Active);
    assert_eq!(world.endpoint.stats().guests, 0);
}

#[test]
fn a_hello_without_cookie_costs_no_memory() {
    let mut world = World::new();
    let at = world.add();
    let hello = world.clients[at].hello(&service().public(), [0; 16]);
    for _ in 0..100 {
        assert_eq!(world.send(at, &hello), Err(Rejected::NeedsCookie));
    }
    let stats = world.endpoint.stats();
    assert_eq!((stats.sessions, stats.devices), (0, 0));
    assert_eq!(world.sent.len(), 100);
}

#[test]
fn a_hello_for_another_key_is_met_with_silence() {
    let mut world = World::new();
    let at = world.add();
    let hello = world.clients[at].hello(&SecretKey::from_bytes([5; 32]).public(), [0; 16]);
    assert_eq!(world.send(at, &hello), Err(Rejected::WrongMac));
    assert!(world.sent.is_empty());
}

#[test]
fn a_cookie_is_good_for_its_address_its_port_and_two_to_four_minutes() {
    let mut world = World::new();
    let at = world.add();
    let key = service().public();
    let first = world.clients[at].hello(&key, [0; 16]);
    let _needs_a_cookie = world.send(at, &first);
    let cookie = Client::cookie(&first, &world.take_sent(RETRY), &key);
    let mut other_port = addr(at);
    other_port.set_port(1);
    for stranger in [other_port, addr(at + 1)] {
        let hello = world.clients[at].hello(&key, cookie);
        assert_eq!(world.send_from(stranger, &hello), Err(Rejected::NeedsCookie));
    }
    world.pass(Duration::from_secs(119));
    let hello = world.clients[at].hello(&key, cookie);
    assert_eq!(world.send(at, &hello), Ok(()));
    world.pass(Duration::from_secs(122));
    let hello = world.clients[at].hello(&key, cookie);
    assert_eq!(world.send(at, &hello), Err(Rejected::NeedsCookie), "too old");
}

#[test]
fn a_recorded_hello_or_resume_is_met_with_silence() {
    let mut world = World::with_members(1);
    let hello = world.hello(0);
    let resume = world.clients[0].resume();
    assert_eq!(world.send(0, &hello), Ok(()));
    assert_eq!(world.send(0, &resume), Ok(()));
    world.sent.clear();
    for recorded in [&hello, &resume] {
        assert_eq!(world.send(0, recorded), Err(Rejected::Replayed));
    }
    assert!(world.sent.is_empty());
}

#[test]
fn the_old_session_stands_until_the_new_one_speaks() {
    let mut world = World::with_members(1);
    // Somebody sends a recorded RESUME that never arrived; the device knows nothing of it.
    let resume = world.clients[0].resume();
    world.send(0, &resume).unwrap();
    assert_eq!(world.endpoint.sessions(), 2);
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    let resumed = world.take_sent(RESUMED);
    world.clients[0].open(&resumed);
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    assert_eq!(world.endpoint.sessions(), 1, "the old one ended");
}

#[test]
fn a_session_that_never_speaks_is_gone_after_ten_seconds() {
    let mut world = World::with_members(1);
    let resume = world.clients[0].resume();
    world.send(0, &resume).unwrap();
    world.pass(SECOND * 10);
    assert_eq!(world.endpoint.sessions(), 1);
    assert_eq!(world.say(0, &DeviceBody::KeepAlive), Ok(()), "the one that spoke before");
}

#[test]
fn a_ticket_opens_a_session_at_a_service_that_never_met_the_device() {
    let mut world = World::with_members(1);
    let mut other = World::apart();
    other.clients = core::mem::take(&mut world.clients);
    other.said = vec![Vec::new()];
    other.resume(0);
    assert_eq!(other.endpoint.sessions(), 1);
    assert_eq!(other.endpoint.stats().guests, 0, "a ticket shows that somebody knew it");
}

#[test]
fn a_ticket_that_is_old_or_changed_is_answered_with_a_hint_and_nothing_else() {
    let mut world = World::with_members(1);
    let mut changed = world.clients[0].resume();
    changed[60] ^= 1;
    assert_eq!(world.send(0, &changed), Err(Rejected::Unauthenticated));
    let hint = Unknown::parse(&world.take_sent(UNKNOWN)).unwrap();
    assert_eq!(hint, Unknown::Session { index: SessionIndex::new(0x1001), counter: 0 });

    world.pass(SECOND * 3 * 3_600);
    let resume = world.clients[0].resume();
    assert_eq!(world.send(0, &resume), Err(Rejected::Expired));
    world.take_sent(UNKNOWN);
    assert!(world.sent.is_empty());
    assert_eq!(world.endpoint.sessions(), 0);
}

#[test]
fn a_ticket_without_its_secret_is_met_with_silence() {
    let mut world = World::with_members(1);
    let mut resume = world.clients[0].resume();
    *resume.last_mut().unwrap() ^= 1;
    assert_eq!(world.send(0, &resume), Err(Rejected::Unauthenticated));
    assert!(world.sent.is_empty());
}

#[test]
fn data_of_a_session_that_is_not_there_is_answered_with_its_index_and_counter() {
    let mut world = World::with_members(1);
    world.say(0, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    let (index, counter) = world.clients[0].session.as_ref().map(|open| (open.index, open.counter)).unwrap();
    assert_eq!(world.say(0, &DeviceBody::KeepAlive), Err(Rejected::UnknownSession));
    let hint = Unknown::parse(&world.take_sent(UNKNOWN)).unwrap();
    assert_eq!(hint, Unknown::Session { index, counter });
}

#[test]
fn hints_to_one_source_are_few() {
    let mut world = World::with_members(1);
    world.say(0, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    for _ in 0..100 {
        let _unknown = world.say(0, &DeviceBody::KeepAlive);
    }
    assert_eq!(world.sent.len(), 20);
    world.pass(SECOND);
    for _ in 0..100 {
        let _unknown = world.say(0, &DeviceBody::KeepAlive);
    }
    assert_eq!(world.sent.len(), 24);
}

#[test]
fn recorded_and_forged_data_changes_nothing() {
    let mut world = World::with_members(1);
    let data = world.clients[0].data(&DeviceBody::KeepAlive, true);
    world.send(0, &data).unwrap();
    world.sent.clear();
    assert_eq!(world.send_from(elsewhere(), &data), Err(Rejected::Replayed));
    let mut forged = world.clients[0].data(&DeviceBody::Session(FromDevice::Bye), true);
    forged[16] ^= 1;
    assert_eq!(world.send_from(elsewhere(), &forged), Err(Rejected::Unauthenticated));
    assert!(world.sent.is_empty());
    let data = world.clients[0].data(&DeviceBody::KeepAlive, true);
    world.send(0, &data).unwrap();
    assert_eq!(world.sent[0].remote, addr(0), "it did not move, nor end");
}

#[test]
fn a_wanted_answer_comes_at_once_and_an_unwanted_one_never() {
    let mut world = World::with_members(1);
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    assert!(world.sent.is_empty());
    let data = world.clients[0].data(&DeviceBody::KeepAlive, true);
    world.send(0, &data).unwrap();
    assert_eq!(world.take_sent(DATA).len(), 32);
}

#[test]
fn silence_ends_a_session_and_a_bye_does_so_at_once() {
    let mut world = World::with_members(2);
    world.say(1, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    let gone = |world: &World, device: DeviceId| {
        world.events.contains(&EndpointEvent::Presence { device, online: false, remote: None })
    };
    let [first, second] = [0, 1].map(|at| world.clients[at].id);
    assert!(gone(&world, second));
    world.pass(SECOND * 80);
    assert!(!gone(&world, first));
    world.pass(SECOND * 10);
    assert!(gone(&world, first));
    assert_eq!(world.endpoint.sessions(), 0);
}

#[test]
fn a_device_that_talks_without_end_is_not_listened_to() {
    let mut world = World::with_members(1);
    world.pass(SECOND * 10);
    let heard = (0..1_000).filter(|_| world.say(0, &DeviceBody::KeepAlive).is_ok()).count();
    assert_eq!(heard, 400);
    world.pass(SECOND);
    assert_eq!(world.say(0, &DeviceBody::KeepAlive), Ok(()), "and heard again when it calms down");
}

#[test]
fn a_device_cannot_have_sessions_without_end() {
    let mut world = World::with_members(1);
    world.pass(SECOND * 60);
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    let resumes: Vec<_> = (0..30).map(|_| world.clients[0].resume()).collect();
    let granted = resumes.iter().filter(|resume| world.send(0, resume).is_ok()).count();
    assert_eq!(granted, 10);
    assert_eq!(world.endpoint.sessions(), 2, "one that speaks, one that may");
}

#[test]
fn guests_are_few_and_few_from_one_source() {
    let bounds = Bounds { guests: 3, guests_per_source: 2, ..Bounds::USUAL };
    let mut world = World::bounded(bounds);
    for at in 0..5 {
        world.add();
        // The first three share an address.
        world.clients[at].addr =
            ([192, 0, 2, u8::try_from(at.max(2)).unwrap()], 40_000 + u16::try_from(at).unwrap()).into();
    }
    world.greet(0);
    world.pass(SECOND);
    world.greet(1);
    let hello = world.hello(2);
    assert_eq!(world.send(2, &hello), Err(Rejected::RateLimited), "two from one source");
    world.pass(SECOND);
    world.greet(3);
    world.greet(4);
    assert_eq!(world.endpoint.stats().guests, 3, "the oldest made room");
    assert_eq!(world.say(0, &DeviceBody::KeepAlive), Err(Rejected::UnknownSession));
    assert_eq!(world.say(4, &DeviceBody::KeepAlive), Ok(()));
}

#[test]
fn a_full_service_refuses_the_newest() {
    let mut world = World::bounded(Bounds { sessions: 2, ..Bounds::USUAL });
    for at in 0..3 {
        world.add();
        world.put(at, MemberState::Active);
    }
    world.greet(0);
    world.greet(1);
    let hello = world.hello(2);
    assert_eq!(world.send(2, &hello), Err(Rejected::Full));
    assert_eq!(world.say(0, &DeviceBody::KeepAlive), Ok(()));
}

#[test]
fn a_draining_service_serves_those_it_has_and_takes_nobody_new() {
    let mut world = World::with_members(1);
    let at = world.add();
    world.command(EndpointCommand::Drain);
    let hello = world.clients[at].hello(&service().public(), [0; 16]);
    assert_eq!(world.send(at, &hello), Err(Rejected::Unsupported));
    let resume = world.clients[0].resume();
    assert_eq!(world.send(0, &resume), Err(Rejected::Unsupported));
    assert!(world.sent.is_empty());
    assert_eq!(world.say(0, &DeviceBody::KeepAlive), Ok(()));
}

#[test]
fn a_version_that_is_not_spoken_here_is_met_with_silence() {
    let mut world = World::new();
    let at = world.add();
    world.clients[at].versions = (2, 9);
    let hello = world.hello(at);
    assert_eq!(world.send(at, &hello), Err(Rejected::Unsupported));
    assert!(world.sent.is_empty());
}

#[test]
fn what_a_service_says_nobody_says_to_it() {
    let mut world = World::new();
    for kind in [RETRY, WELCOME, RESUMED, UNKNOWN] {
        assert_eq!(world.send_from(elsewhere(), &[kind; 64]), Err(Rejected::WrongDirection));
    }
    assert_eq!(world.send_from(elsewhere(), b"GET / HTTP/1.1"), Err(Rejected::NotOurs));
    assert_eq!(world.send_from(elsewhere(), &[]), Err(Rejected::NotOurs));
    assert!(world.sent.is_empty());
    assert_eq!(world.endpoint.stats().rejected[&Rejected::WrongDirection], 4, "each is counted");
}

#[test]
fn a_message_that_is_malformed_or_for_a_service_that_is_elsewhere_is_dropped() {
    let mut world = World::with_members(1);
    let mut other = World::apart();
    other.clients = core::mem::take(&mut world.clients);
    other.said = vec![Vec::new()];
    other.resume(0);
    let leave = ToCheckpoint::Begin { request: request(1), peer: DeviceId::from_bytes([1; 16]) };
    assert_eq!(other.ask(0, leave), Err(Rejected::Unsupported));
    let nonsense = other.clients[0].sealed(&[0x7F, 1, 2, 3], false);
    assert_eq!(other.send(0, &nonsense), Err(Rejected::Malformed));
    assert!(other.heard(0).is_empty());
    assert_eq!(other.say(0, &DeviceBody::KeepAlive), Ok(()), "the session stands");
}
