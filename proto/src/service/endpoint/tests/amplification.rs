//! No address that has not shown that it hears us gets more bytes than came from it.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::body::DeviceBody;
use lanyard_wire::carry::{Carry, CarryWord};
use lanyard_wire::checkpoint::{
    Consent, FromCheckpoint, Join, LinkPath, LinkReport, Links, MemberState, PairCode, PairVerdict, Register,
    RosterAsk, ToCheckpoint,
};
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::early::{Early, PrekeyTag};
use lanyard_wire::envelope::{self, RelayHeader, Unknown};
use lanyard_wire::handshake::{Offer, Report, ToHandshake, Verdict};
use lanyard_wire::ids::{AttemptId, Channel, DeviceId, PushId, Revision, SessionIndex};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::nat::NatCard;
use lanyard_wire::probe::{PairKey, Probe};
use lanyard_wire::relay::ToRelay;
use lanyard_wire::session::FromDevice;
use lanyard_wire::stun::{Change, Request};
use lanyard_wire::token::Purpose;

use super::client::Client;
use super::world::{World, elsewhere, network, request, service, token};
use crate::rng::Rng;

#[test]
fn no_datagram_of_a_stranger_is_answered_with_more_bytes_than_it_has() {
    let mut world = bound();
    let datagrams = of_every_kind(&mut world);
    for (kind, name) in envelope::KINDS {
        assert!(datagrams.iter().any(|bytes| bytes[0] == *kind), "no {name} among the datagrams");
    }
    let mut answered = Vec::new();
    for (number, bytes) in datagrams.iter().enumerate() {
        let stranger = stranger(number);
        for _ in 0..3 {
            let _ignored = world.send_from(stranger, bytes);
        }
        world.pass(Duration::from_secs(20));
        assert_paid(&world, stranger, bytes);
        if world.traffic[&stranger].1 > 0 {
            answered.push(bytes[0]);
        }
    }
    answered.sort_unstable();
    answered.dedup();
    let expected = [envelope::RELAY, envelope::HELLO, envelope::DATA, envelope::RESUME];
    assert_eq!(answered, expected, "these have an answer at all");
}

#[test]
fn nor_is_any_that_was_cut_changed_or_padded() {
    let mut world = bound();
    let datagrams = of_every_kind(&mut world);
    let mut rng = Rng::from_seed([5; 32]);
    for number in 0..20_000 {
        let pick = usize::try_from(rng.below(datagrams.len() as u64)).unwrap();
        let mut bytes = datagrams[pick].clone();
        match rng.below(3) {
            0 => bytes.truncate(usize::try_from(rng.below(bytes.len() as u64)).unwrap() + 1),
            1 => bytes.resize(usize::try_from(rng.below(1_500)).unwrap() + 1, 0),
            _ => {
                let place = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
                bytes[place] ^= 1 << rng.below(8);
            }
        }
        let stranger = stranger(number);
        let _ignored = world.send_from(stranger, &bytes);
        assert_paid(&world, stranger, &bytes);
    }
}

#[test]
fn a_member_that_seems_to_be_elsewhere_is_told_no_more_than_it_paid_for() {
    let messages = of_every_type(&bound());
    let families = [ToCheckpoint::KINDS, ToHandshake::KINDS, ToRelay::KINDS, FromDevice::KINDS];
    for (code, name) in families.into_iter().flatten() {
        assert!(messages.iter().any(|body| body.to_bytes().first() == Some(code)), "no {name}");
    }
    let mut gained = 0;
    for (body, answer) in messages.iter().flat_map(|body| [(body, false), (body, true)]) {
        let mut world = bound();
        let home = world.clients[0].addr;
        let before = world.traffic[&home];
        let datagram = world.clients[0].data(body, answer);
        let _ignored = world.send(0, &datagram);
        let (question, told) = (world.traffic[&home].0 - before.0, world.traffic[&home].1 - before.1);
        gained += usize::from(told > question);

        let mut world = bound();
        world.clients[0].proves = false;
        world.clients[0].addr = elsewhere();
        for _ in 0..3 {
            let datagram = world.clients[0].data(body, answer);
            let _ignored = world.send(0, &datagram);
            // News for it, too: a peer that wants a path, a roster that grows.
            let peer = world.clients[0].id;
            world.ask(1, ToCheckpoint::Begin { request: request(90), peer }).unwrap();
            world.put_key(200, PublicKey::from_bytes([200; 32]), MemberState::Suspended);
            world.put_key(200, PublicKey::from_bytes([200; 32]), MemberState::Active);
            world.pass(Duration::from_secs(5));
            assert_paid(&world, elsewhere(), &datagram);
        }
    }
    assert!(gained >= 4, "at home {gained} of the questions have longer answers: there is something to gain");
}

#[test]
fn what_a_moved_member_asked_is_answered_once_it_shows_that_it_is_there() {
    let mut world = bound();
    world.clients[0].addr = elsewhere();
    world.clients[0].proves = false;
    world.ask(0, ToCheckpoint::RosterAsk(everything())).unwrap();
    let said = core::mem::take(&mut world.said[0]);
    let question = said.iter().find(|said| said.wants_answer).unwrap();
    assert_eq!(said.len(), 1, "the question and nothing else: {said:?}");
    let wrong = world.clients[0].proof(question.counter + 1);
    assert!(world.send(0, &wrong).is_err());
    assert_eq!(world.told(0), [], "a guess");
    let proof = world.clients[0].proof(question.counter);
    world.send(0, &proof).unwrap();
    assert!(matches!(world.told(0)[..], [FromCheckpoint::Roster(_)]));
}

#[test]
fn a_registration_sent_on_from_elsewhere_does_not_make_a_device_believe_that_it_is_there() {
    let mut world = bound();
    let home = world.clients[0].addr;
    let ToCheckpoint::Register(register) = super::world::register() else { unreachable!() };
    let held_up = world.clients[0].data(&DeviceBody::Checkpoint(ToCheckpoint::Register(register)), false);
    world.send_from(elsewhere(), &held_up).unwrap();
    assert_eq!(world.told(0), [], "nothing before it shows where it is");
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    let told = world.told(0);
    let [FromCheckpoint::Registered(registered)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(registered.observed, home);
}

#[test]
fn a_keep_alive_from_elsewhere_is_enough_to_be_asked() {
    let mut world = bound();
    world.clients[0].addr = elsewhere();
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    assert!(world.said[0].iter().any(|said| said.wants_answer));
    world.said[0].clear();
    let peer = world.clients[0].id;
    world.ask(1, ToCheckpoint::Begin { request: request(90), peer }).unwrap();
    assert!(
        matches!(world.told(0)[..], [FromCheckpoint::Invited(_)]),
        "proven at once, so it hears everything"
    );
}

fn assert_paid(world: &World, addr: SocketAddr, bytes: &[u8]) {
    let (came, went) = world.traffic[&addr];
    let head = &bytes[..bytes.len().min(24)];
    assert!(went <= came, "{went} bytes went to {addr}, {came} came from there: {head:02x?}");
}

/// Three members with sessions and more without; the first two share a relay channel.
fn bound() -> World {
    let mut world = World::with_members(3);
    for number in 100..112 {
        world.put_key(number, PublicKey::from_bytes([number; 32]), MemberState::Active);
    }
    let token = token(Purpose::Relay, &world, [0, 1], CHANNEL, 1_000);
    world.relay(0, ToRelay::Bind { request: request(1), token }).unwrap();
    world.settle_down();
    for at in 0..3 {
        world.said[at].clear();
    }
    world.traffic.clear();
    world.traffic.insert(world.clients[0].addr, (0, 0));
    world
}

const CHANNEL: u64 = 0x01_0203_0405;

/// Datagrams of every kind of which one could hope for an answer, and some of which nobody could.
fn of_every_kind(world: &mut World) -> Vec<Vec<u8>> {
    let key = service().public();
    let other = SecretKey::from_bytes([98; 32]).public();
    let mut stranger = Client::new(77, elsewhere());
    let hello = stranger.hello(&key, [0; 16]);
    let mut datagrams = vec![
        stranger.hello(&key, [1; 16]),
        stranger.hello(&other, [0; 16]),
        envelope::Retry::parse(&{
            let _asked = world.send_from(elsewhere(), &hello);
            world.take_sent(envelope::RETRY)
        })
        .unwrap()
        .encode(),
        hello,
        [&[envelope::WELCOME, 0, 0, 0][..], &[1; 200]].concat(),
        [&[envelope::RESUMED, 0, 0, 0][..], &[1; 67]].concat(),
        Unknown::Session { index: SessionIndex::new(1), counter: 1 }.encode(),
        Unknown::Channel(Channel::new(CHANNEL).unwrap()).encode(),
        world.clients[0].resume(),
    ];
    // The cookie of one address is worth nothing at another.
    let retry = datagrams[2].clone();
    let cookie = envelope::Retry::parse(&retry).unwrap().cookie;
    datagrams.push(stranger.hello(&key, cookie));
    let mut junk = world.clients[1].resume();
    junk[40] ^= 1;
    datagrams.push(junk);
    for body in of_every_type(world) {
        // Sealed under the keys of a session, for an index that is none, and with a tag that is wrong.
        let mut data = world.clients[2].data(&body, true);
        *data.last_mut().unwrap() ^= 1;
        datagrams.push(data.clone());
        data[4] ^= 0x40;
        datagrams.push(data);
    }
    for (channel, length) in [(CHANNEL, 1_400), (CHANNEL, 8), (99, 1_400), (99, 8), (99, 0)] {
        let header = RelayHeader { channel: Channel::new(channel).unwrap(), length };
        datagrams.push([&header.encode()[..], &vec![4; usize::from(length)]].concat());
    }
    let pair = PairKey::new(&SecretKey::from_bytes([1; 32]), &key, AttemptId::new(5)).unwrap();
    let ping = Probe::ping(AttemptId::new(5), 6, false);
    datagrams.push(ping.seal(&pair, 1_232));
    datagrams.push(ping.pong(elsewhere()).seal(&pair, 64));
    let (word, peer, channel) = (CarryWord::Ask, DeviceId::from_bytes([5; 16]), Channel::MAX);
    datagrams.push(Carry { word, attempt: AttemptId::new(5), number: 6, peer, channel }.seal(&pair));
    let prekey = PublicKey::from_bytes([6; 32]);
    datagrams.push(Early { tag: PrekeyTag::of(&prekey), noise: &[7; 100] }.encode());
    let stun = Request::new([7; 12], Change { ip: false, port: false }).encode();
    assert_eq!(classify(&stun), Class::Stun);
    datagrams.push(stun);
    datagrams.push(b"GET / HTTP/1.1\r\n\r\n".to_vec());
    datagrams
}

/// One of each message that a device can say.
fn of_every_type(world: &World) -> Vec<DeviceBody> {
    let (request, peer) = (request(50), world.clients[1].id);
    let attempt = AttemptId::new(5);
    let ticket = token(Purpose::Attempt, world, [0, 1], 5, 60);
    let join = Join {
        request,
        network: NetworkName::parse("home").unwrap(),
        invite: None,
        password: None,
        name: DeviceName::parse("nas").unwrap(),
        wireguard: PublicKey::from_bytes([5; 32]),
        os: String::new(),
        version: String::new(),
        prefixes: Vec::new(),
    };
    let register =
        Register { request, card: NatCard::default(), candidates: Vec::new(), relays: false, prekey: None };
    let (candidates, card) = (Vec::new(), NatCard::default());
    let verdict = PairVerdict { peer, code: PairCode::Direct, method: None, took_ms: 80 };
    let (path, rtt_us) = (LinkPath::Direct, None);
    let link = LinkReport { peer, path, rtt_us, pings: 0, lost: 0, tx_bytes: 1, rx_bytes: 1 };
    let offer = Offer { attempt, ticket, candidates, card, is_prepared: false, relays: vec![] };
    vec![
        DeviceBody::KeepAlive,
        DeviceBody::Session(FromDevice::Proof { counter: 7 }),
        DeviceBody::Checkpoint(ToCheckpoint::Register(register)),
        DeviceBody::Checkpoint(ToCheckpoint::Join(join)),
        DeviceBody::Checkpoint(ToCheckpoint::RosterAsk(everything())),
        DeviceBody::Checkpoint(ToCheckpoint::Begin { request, peer }),
        DeviceBody::Checkpoint(ToCheckpoint::Ack { push: PushId::new(1) }),
        DeviceBody::Checkpoint(ToCheckpoint::Consent(Consent { request, refused: Vec::new() })),
        DeviceBody::Checkpoint(ToCheckpoint::PairVerdict(verdict)),
        DeviceBody::Checkpoint(ToCheckpoint::Links(Links { links: vec![link] })),
        DeviceBody::Handshake(ToHandshake::Offer(offer)),
        DeviceBody::Handshake(ToHandshake::Report(Report { attempt, verdict: Verdict::Relayed })),
        DeviceBody::Relay(ToRelay::Bind {
            request,
            token: token(Purpose::Relay, world, [0, 1], CHANNEL, 1_000),
        }),
        DeviceBody::Relay(ToRelay::Unbind { channel: Channel::new(CHANNEL).unwrap() }),
        DeviceBody::Checkpoint(ToCheckpoint::Leave { request, network: network() }),
        DeviceBody::Session(FromDevice::Bye),
    ]
}

fn everything() -> RosterAsk {
    RosterAsk { request: request(51), network: network(), since: Revision::ZERO, after: None }
}

fn stranger(number: usize) -> SocketAddr {
    let [_, _, a, b] = u32::try_from(number).unwrap().to_be_bytes();
    ([100, 64, a, b], 9_000).into()
}
