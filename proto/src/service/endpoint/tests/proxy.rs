//! RELAY is no proxy: whatever addresses a stranger or a member writes into datagrams, or pretends to send from, no
//! frame goes anywhere but to where the other end proved that it hears us.

use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use lanyard_wire::body::DeviceBody;
use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::codec::{Wire as _, Writer};
use lanyard_wire::envelope::{RELAY, RelayHeader};
use lanyard_wire::ids::Channel;
use lanyard_wire::relay::ToRelay;
use lanyard_wire::token::{Purpose, Token};

use super::world::{World, addr, request, token};
use crate::rejected::Rejected;

const CHANNEL: u64 = 0x01_0203_0405;

/// Places that only the relay's own machine, or its neighbours, can reach: what relays of other makers were made
/// to forward to (CVE-2020-26262, CVE-2026-27624), and their like.
const NEGATIVE: [&str; 24] = [
    "127.0.0.1:22",
    "127.8.8.8:7443",
    "0.0.0.0:22",
    "[::1]:22",
    "[::]:22",
    "[::ffff:127.0.0.1]:22",
    "[::ffff:0.0.0.0]:22",
    "[::ffff:10.0.0.1]:22",
    "[::127.0.0.1]:22",
    "10.0.0.1:22",
    "172.16.0.1:22",
    "172.31.255.255:22",
    "192.168.0.1:22",
    "100.64.0.1:22",
    "169.254.169.254:80",
    "[fd00:ec2::254]:80",
    "[fe80::1]:22",
    "[fc00::1]:22",
    "[64:ff9b::7f00:1]:22",
    "[2002:7f00:1::]:22",
    "224.0.0.1:22",
    "255.255.255.255:22",
    "[ff02::1]:22",
    "[100::1]:443",
];

#[test]
fn an_address_in_a_frame_is_payload() {
    let mut world = bound();
    for place in places() {
        for inside in writings(place) {
            let frame = frame(&inside);
            assert_eq!(forwarded(&mut world, addr(0), &frame), [addr(1)], "{place}");
            // A frame in the frame.
            let nested = self::frame(&frame);
            assert_eq!(forwarded(&mut world, addr(1), &nested), [addr(0)], "{place}");
        }
    }
}

#[test]
fn a_frame_whose_source_is_forged_goes_nowhere() {
    let mut world = bound();
    for place in places() {
        assert_eq!(forwarded(&mut world, place, &frame(b"forged")), [], "{place}");
        assert_eq!(forwarded(&mut world, addr(0), &frame(b"after")), [addr(1)], "{place}");
    }
}

#[test]
fn a_hello_whose_source_is_forged_begins_no_session_there() {
    for place in places() {
        let mut world = bound();
        let hello = world.hello_from(1, place);
        // What the cookie was worth at one address it is not worth at another.
        assert_eq!(world.send_from(place, &hello), Err(Rejected::NeedsCookie), "{place}");
        assert_eq!(forwarded(&mut world, addr(0), &frame(b"after")), [addr(1)], "{place}");
    }
}

#[test]
fn a_session_that_seems_to_move_takes_no_frames_along_before_it_is_proven() {
    for place in places() {
        let mut world = bound();
        world.clients[1].proves = false;
        // An authentic datagram of the other end, sent on from elsewhere by somebody on the way.
        let datagram = world.clients[1].data(&DeviceBody::KeepAlive, false);
        world.send_from(place, &datagram).unwrap();
        assert_eq!(forwarded(&mut world, addr(0), &frame(b"after")), [], "{place}");
        // It speaks from where it is: everything is as before.
        world.say(1, &DeviceBody::KeepAlive).unwrap();
        assert_eq!(forwarded(&mut world, addr(0), &frame(b"later")), [addr(1)], "{place}");
    }
}

#[test]
fn no_token_with_an_address_for_bytes_opens_a_channel() {
    for place in places() {
        let mut world = World::with_members(2);
        let good = grant(&world).to_bytes();
        for inside in writings(place) {
            for at in (1..good.len()).filter(|at| at + inside.len() <= good.len()) {
                let mut bytes = good.clone();
                bytes[at..at + inside.len()].copy_from_slice(&inside);
                let Ok(forged) = Token::from_bytes(&bytes) else { continue };
                let _refused = world.relay(0, ToRelay::Bind { request: request(1), token: forged });
                world.pass(core::time::Duration::from_millis(50));
            }
        }
        assert_eq!(world.endpoint.bindings(), 0, "{place}");
        assert_eq!(forwarded(&mut world, addr(0), &frame(b"after")), [], "{place}");
    }
}

/// The ways in which this protocol, STUN and people write an address.
fn writings(place: SocketAddr) -> Vec<Vec<u8>> {
    let mut plain = Writer::new();
    place.encode(&mut plain);
    let candidate = Candidate { kind: CandidateKind::Host, addr: place };
    let octets = match place.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let port = place.port().to_be_bytes();
    [
        plain.as_bytes().to_vec(),
        candidate.to_bytes(),
        [&octets[..], &port].concat(),
        [&port[..], &octets].concat(),
        format!("{place}").into_bytes(),
    ]
    .into()
}

fn places() -> impl Iterator<Item = SocketAddr> {
    NEGATIVE.into_iter().map(|text| text.parse().unwrap())
}

fn bound() -> World {
    let mut world = World::with_members(2);
    let token = grant(&world);
    world.relay(0, ToRelay::Bind { request: request(1), token }).unwrap();
    world
}

fn grant(world: &World) -> Token {
    token(Purpose::Relay, world, [0, 1], CHANNEL, 10_000)
}

fn frame(inside: &[u8]) -> Vec<u8> {
    let header =
        RelayHeader { channel: Channel::new(CHANNEL).unwrap(), length: u16::try_from(inside.len()).unwrap() };
    [&header.encode()[..], inside].concat()
}

/// Sends a frame; where frames went because of it.
fn forwarded(world: &mut World, from: SocketAddr, frame: &[u8]) -> Vec<SocketAddr> {
    world.pass(core::time::Duration::from_millis(20));
    world.sent.clear();
    let _dropped = world.send_from(from, frame);
    let sent = world.sent.drain(..).filter(|transmit| transmit.bytes[0] == RELAY);
    sent.map(|transmit| transmit.remote).collect()
}
