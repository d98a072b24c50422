//! RELAY: for two members with a grant, at their own addresses, within their rate; and for nobody else.

use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::body::DeviceBody;
use lanyard_wire::checkpoint::{Consent, MemberState, ToCheckpoint};
use lanyard_wire::envelope::{RELAY, RelayHeader, Unknown};
use lanyard_wire::ids::{Channel, DeviceId};
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::relay::{FromRelay, RelayRefusal, ToRelay};
use lanyard_wire::session::FromDevice;
use lanyard_wire::token::{Purpose, Token};

use super::world::{NOW_S, World, addr, elsewhere, request, token, token_key};
use crate::rejected::Rejected;
use crate::service::EndpointCommand;
use crate::service::endpoint::Forward;

const CHANNEL: u64 = 0x01_0203_0405;
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn frames_flow_both_ways_from_the_first_bind_on() {
    let mut world = World::with_members(2);
    let grant = grant(&world);
    world.relay(0, bind(grant)).unwrap();
    let (channel, peer) = (channel(), world.clients[0].id);
    assert_eq!(world.relayed(0), [FromRelay::Bound { request: request(1), channel, peer_here: true }]);
    assert_eq!(world.relayed(1), [FromRelay::Incoming { channel, peer }]);
    for (from, to) in [(0, 1), (1, 0)] {
        assert_eq!(forwarded(&mut world, addr(from), &frame(100)), [(addr(to), frame(100))]);
    }
    let relayed = world.endpoint.stats().relayed;
    assert_eq!((relayed.packets, relayed.bytes), (2, 200));
}

#[test]
fn a_channel_nobody_bound_carries_nothing_and_hints_so() {
    let mut world = World::with_members(2);
    let question = frame(100);
    let Forward::Hint(hint) = world.endpoint.forward(addr(0), &question, world.now) else {
        panic!("no hint")
    };
    assert_eq!(Unknown::parse(&hint), Ok(Unknown::Channel(channel())));
    for length in 8..16 {
        let short = world.endpoint.forward(addr(0), &frame(length), world.now);
        assert_eq!(short, Forward::Drop(Rejected::UnknownChannel), "a hint would be longer than {length}");
    }
}

#[test]
fn only_the_two_ends_send_and_from_where_their_sessions_are() {
    let mut world = bound(3);
    let mut other_port = addr(0);
    other_port.set_port(1);
    for stranger in [addr(2), elsewhere(), other_port] {
        assert_eq!(forwarded(&mut world, stranger, &frame(100)), [], "{stranger}");
    }
    assert_eq!(world.endpoint.stats().rejected[&Rejected::NotAllowed], 3);
    assert_eq!(world.endpoint.stats().relayed.packets, 0);
}

#[test]
fn a_frame_goes_to_the_session_of_the_other_end_whatever_is_written_in_it() {
    let mut world = bound(3);
    // An address, and the header of another frame, inside.
    let inner = [&[4, 203, 0, 113, 77, 0x15, 0xB3][..], &frame(20)[..]].concat();
    let header = RelayHeader { channel: channel(), length: u16::try_from(inner.len()).unwrap() };
    let frame = [&header.encode()[..], &inner].concat();
    assert_eq!(forwarded(&mut world, addr(0), &frame), [(addr(1), frame)]);
}

#[test]
fn a_frame_whose_length_lies_is_dropped() {
    let mut world = bound(2);
    let mut frame = frame(100);
    frame.push(0);
    assert_eq!(world.endpoint.forward(addr(0), &frame, world.now), Forward::Drop(Rejected::Malformed));
}

#[test]
fn a_channel_needs_a_token_for_this_device_and_this_moment() {
    let mut world = World::with_members(3);
    let good = grant(&world);
    let mut changed = good;
    changed.mac[0] ^= 1;
    let [x, y] = [0, 1].map(|at| world.clients[at].id);
    let foreign =
        Token::grant(&SymmetricKey::from_bytes([3; 32]), Purpose::Relay, x, y, CHANNEL, good.expires_s);
    let cases = [
        (0, changed, RelayRefusal::Forged),
        (0, foreign, RelayRefusal::Forged),
        (0, token(Purpose::Attempt, &world, [0, 1], CHANNEL, 60), RelayRefusal::Forged),
        (0, token(Purpose::Relay, &world, [0, 1], CHANNEL, 0), RelayRefusal::Expired),
        (2, good, RelayRefusal::Forged),
    ];
    for (number, (at, token, why)) in cases.into_iter().enumerate() {
        assert_eq!(world.relay(at, bind(token)), Err(Rejected::NotAllowed), "case {number}");
        assert_eq!(world.relayed(at), [FromRelay::Refused { request: request(1), why }], "case {number}");
    }
    assert_eq!(world.endpoint.bindings(), 0);
}

#[test]
fn a_channel_of_one_pair_is_not_given_to_another() {
    let mut world = bound(3);
    let token = token(Purpose::Relay, &world, [0, 2], CHANNEL, 60);
    assert_eq!(world.relay(2, bind(token)), Err(Rejected::NotAllowed));
    let busy = FromRelay::Refused { request: request(1), why: RelayRefusal::Busy };
    assert_eq!(world.relayed(2), [busy]);
    assert_eq!(forwarded(&mut world, addr(0), &frame(100)), [(addr(1), frame(100))]);
}

#[test]
fn a_pair_has_its_burst_and_then_its_rate() {
    const { assert!(super::world::RELAY.rate_bps == 800_000 && super::world::RELAY.burst == 10_000) };
    let mut world = bound(2);
    let carried = |world: &mut World| {
        (0..100).filter(|number| !forwarded(world, addr(number % 2), &frame(1_000)).is_empty()).count()
    };
    assert_eq!(carried(&mut world), 10, "the burst, both directions together");
    assert_eq!(world.endpoint.stats().rejected[&Rejected::RateLimited], 90);
    world.pass(Duration::from_millis(50));
    assert_eq!(carried(&mut world), 5, "100 kB/s for 50 ms");
}

#[test]
fn one_pair_that_uses_up_its_rate_leaves_others_alone() {
    let mut world = bound(3);
    let token = token(Purpose::Relay, &world, [1, 2], 9, 1_000);
    world.relay(2, bind(token)).unwrap();
    while !forwarded(&mut world, addr(0), &frame(1_000)).is_empty() {}
    let header = RelayHeader { channel: Channel::new(9).unwrap(), length: 4 };
    let other = [&header.encode()[..], &[4; 4]].concat();
    assert_eq!(forwarded(&mut world, addr(2), &other), [(addr(1), other)]);
}

#[test]
fn an_end_without_session_gets_frames_once_it_has_one() {
    let mut world = World::with_members(2);
    world.say(1, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    let grant = grant(&world);
    world.relay(0, bind(grant)).unwrap();
    let away = FromRelay::Bound { request: request(1), channel: channel(), peer_here: false };
    assert_eq!(world.relayed(0), [away]);
    assert_eq!(forwarded(&mut world, addr(0), &frame(100)), []);
    world.resume(1);
    assert_eq!(forwarded(&mut world, addr(0), &frame(100)), [(addr(1), frame(100))]);
}

#[test]
fn frames_follow_a_session_to_another_address_only_when_it_is_proven() {
    let mut world = bound(2);
    world.clients[1].proves = false;
    world.clients[1].addr = elsewhere();
    world.say(1, &DeviceBody::KeepAlive).unwrap();
    assert_eq!(forwarded(&mut world, addr(0), &frame(100)), [], "neither to the old one nor to the new one");
    assert_eq!(forwarded(&mut world, elsewhere(), &frame(100)), [(addr(0), frame(100))]);
    let question = world.said[1].iter().find(|said| said.wants_answer).unwrap().counter;
    let proof = world.clients[1].proof(question);
    world.send(1, &proof).unwrap();
    assert_eq!(forwarded(&mut world, addr(0), &frame(100)), [(elsewhere(), frame(100))]);
    assert_eq!(forwarded(&mut world, addr(1), &frame(100)), [], "where it was it is no more");
}

#[test]
fn who_is_no_member_any_more_loses_the_channel_at_once() {
    let causes: [(&str, fn(&mut World)); 4] = [
        ("removed", |world| world.remove(1)),
        ("suspended", |world| world.put(1, MemberState::Suspended)),
        ("network removed", |world| world.command(EndpointCommand::RemoveNetwork(super::world::network()))),
        ("refused", |world| {
            let refused = vec![world.clients[1].id];
            world.ask(0, ToCheckpoint::Consent(Consent { request: request(9), refused })).unwrap();
        }),
    ];
    for (cause, happens) in causes {
        let mut world = bound(2);
        happens(&mut world);
        assert_eq!(world.endpoint.bindings(), 0, "{cause}");
        assert_eq!(forwarded(&mut world, addr(0), &frame(100)), [], "{cause}");
        let grant = grant(&world);
        for at in [0, 1] {
            world.relayed(at);
            assert_eq!(
                world.relay(at, bind(grant)),
                Err(Rejected::NotAllowed),
                "{cause}: a token outlives a member"
            );
            let why = RelayRefusal::Expired;
            assert_eq!(world.relayed(at), [FromRelay::Refused { request: request(1), why }], "{cause}");
        }
    }
}

#[test]
fn a_channel_ends_when_both_let_it_go_or_nobody_uses_it() {
    let mut world = bound(3);
    let grant = grant(&world);
    world.relay(1, bind(grant)).unwrap();
    let unbind = ToRelay::Unbind { channel: channel() };
    assert_eq!(world.relay(2, unbind), Err(Rejected::NotAllowed), "not its channel");
    world.relay(0, unbind).unwrap();
    assert_eq!(world.endpoint.bindings(), 1, "the other end still wants it");
    world.relay(1, unbind).unwrap();
    assert_eq!(world.endpoint.bindings(), 0);
    assert_eq!(world.relay(1, unbind), Err(Rejected::UnknownChannel));

    world.relay(0, bind(grant)).unwrap();
    for _ in 0..20 {
        world.pass(SECOND * 40);
        assert_eq!(world.endpoint.bindings(), usize::from(world.now < crate::time::Instant::from_secs(310)));
        for at in 0..3 {
            world.say(at, &DeviceBody::KeepAlive).unwrap();
        }
    }
}

#[test]
fn a_device_has_so_many_channels_and_no_more() {
    let mut world = World::apart();
    let mut other = World::with_members(1);
    world.clients.append(&mut other.clients);
    world.said.push(Vec::new());
    world.resume(0);
    let me = world.clients[0].id;
    let expires_s = u32::try_from(NOW_S + 60).unwrap();
    let mut bound = 0;
    for number in 0..300_u64 {
        let mut peer = [7; 16];
        peer[8..].copy_from_slice(&number.to_be_bytes());
        let peer = DeviceId::from_bytes(peer);
        let token = Token::grant(&token_key(), Purpose::Relay, me, peer, number, expires_s);
        bound += usize::from(world.relay(0, bind(token)).is_ok());
        world.pass(Duration::from_millis(20));
    }
    assert_eq!((bound, world.endpoint.bindings()), (256, 256));
    let last = world.relayed(0).pop();
    assert_eq!(last, Some(FromRelay::Refused { request: request(1), why: RelayRefusal::RateLimited }));
}

#[test]
fn a_draining_relay_opens_no_channel_and_carries_those_it_has() {
    let mut world = bound(3);
    world.command(EndpointCommand::Drain);
    let token = token(Purpose::Relay, &world, [1, 2], 9, 1_000);
    assert_eq!(world.relay(2, bind(token)), Err(Rejected::NotAllowed));
    let refused = FromRelay::Refused { request: request(1), why: RelayRefusal::Busy };
    assert_eq!(world.relayed(2), [refused, FromRelay::Draining]);
    assert_eq!(forwarded(&mut world, addr(0), &frame(100)), [(addr(1), frame(100))]);
}

#[test]
fn a_draining_relay_says_so_each_second_to_whoever_has_a_channel() {
    let mut world = bound(3);
    world.command(EndpointCommand::Drain);
    world.pass(SECOND * 2);
    for at in 0..2 {
        assert_eq!(world.relayed(at), [FromRelay::Draining; 3], "{at}");
    }
    assert_eq!(world.relayed(2), [], "no channel");
    world.relay(0, ToRelay::Unbind { channel: channel() }).unwrap();
    world.pass(SECOND * 2);
    assert_eq!((world.relayed(0), world.endpoint.bindings()), (vec![], 0));
}

#[test]
fn an_endpoint_that_is_no_relay_says_nothing() {
    let mut world = World::without_relay();
    assert_eq!(world.endpoint.forward(addr(0), &frame(100), world.now), Forward::Drop(Rejected::Unsupported));
}

/// Members of whom the first two have a channel.
fn bound(members: usize) -> World {
    let mut world = World::with_members(members);
    let grant = grant(&world);
    world.relay(0, bind(grant)).unwrap();
    for at in 0..members {
        world.said[at].clear();
    }
    world
}

fn channel() -> Channel {
    Channel::new(CHANNEL).unwrap()
}

fn grant(world: &World) -> Token {
    token(Purpose::Relay, world, [0, 1], CHANNEL, 10_000)
}

fn bind(token: Token) -> ToRelay {
    ToRelay::Bind { request: request(1), token }
}

/// A frame of this length on the channel.
fn frame(length: usize) -> Vec<u8> {
    let header = RelayHeader { channel: channel(), length: u16::try_from(length - 8).unwrap() };
    let mut frame = header.encode().to_vec();
    frame.resize(length, 4);
    frame
}

/// Sends a frame; the frames that left because of it.
fn forwarded(world: &mut World, from: SocketAddr, frame: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
    world.sent.clear();
    let _dropped = world.send_from(from, frame);
    let sent = world.sent.drain(..).filter(|transmit| transmit.bytes[0] == RELAY);
    sent.map(|transmit| (transmit.remote, transmit.bytes)).collect()
}
