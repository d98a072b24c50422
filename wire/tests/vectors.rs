//! docs/protocol.md against the crate: every example decodes, encodes to the same bytes and, where it is sealed, opens
//! under the keys the page gives; every message has an example and a heading with its code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![expect(clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[path = "vectors/document.rs"]
mod document;
#[path = "vectors/exchange.rs"]
mod exchange;

use document::{Example, PAGE, blocks, bytes, examples, input, secret, symmetric};
use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::carry::Carry;
use lanyard_wire::checkpoint::{FromCheckpoint, RelayGrant, ToCheckpoint};
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::codec::Wire;
use lanyard_wire::early::{Early, PrekeyTag};
use lanyard_wire::envelope::{
    self, DataHeader, GateKeys, Hello, RelayHeader, Resume, Resumed, ResumedKeys, Retry, Unknown, Welcome,
};
use lanyard_wire::handshake::{FromHandshake, ToHandshake};
use lanyard_wire::ids::{AttemptId, DeviceId, NetworkTag};
use lanyard_wire::join::JoinString;
use lanyard_wire::probe::{PairKey, Probe, ProbeKind};
use lanyard_wire::relay::{FromRelay, ToRelay};
use lanyard_wire::seal::{Ticket, TicketBody, TicketKey};
use lanyard_wire::session::{FromDevice, FromService};
use lanyard_wire::token::Token;
use lanyard_wire::{limits, stun};

/// Every message a body may hold: code and name.
const MESSAGES: [&[(u8, &str)]; 8] = [
    ToCheckpoint::KINDS,
    ToHandshake::KINDS,
    ToRelay::KINDS,
    FromDevice::KINDS,
    FromCheckpoint::KINDS,
    FromHandshake::KINDS,
    FromRelay::KINDS,
    FromService::KINDS,
];

#[test]
fn every_example_decodes_and_encodes_to_the_same_bytes() {
    let examples = examples();
    assert!(examples.len() > 60, "only {} examples found", examples.len());
    for example in &examples {
        if !example.name.starts_with("input ") && !example.name.starts_with("key of ") {
            let encoded = again(example);
            assert_eq!(encoded, example.bytes, "docs/protocol.md:{}: {}", example.line, example.name);
        }
    }
}

#[test]
fn every_message_has_an_example_and_a_heading_with_its_code() {
    let examples = examples();
    for (code, name) in MESSAGES.into_iter().flatten().chain(envelope::KINDS) {
        let example = examples.iter().find(|example| example.name == *name);
        let example = example.unwrap_or_else(|| panic!("docs/protocol.md has no example of {name}"));
        assert_eq!(example.bytes[0], *code, "docs/protocol.md:{}: {name}", example.line);
        let title = format!("`0x{code:02X}` {name}");
        let heading = PAGE.lines().any(|line| line.starts_with("##") && line.contains(&title));
        assert!(heading, "docs/protocol.md has no heading with {title}");
    }
}

/// Decodes an example by its name and encodes what came of it.
fn again(example: &Example) -> Vec<u8> {
    let bytes = &example.bytes[..];
    let failed = |error: &dyn std::fmt::Display| -> ! {
        panic!("docs/protocol.md:{}: {}: {error}", example.line, example.name)
    };
    macro_rules! ok {
        ($result:expr) => {
            $result.unwrap_or_else(|error| failed(&error))
        };
    }
    match example.name.as_str() {
        "HELLO" => ok!(Hello::parse(bytes)).encode(),
        "RETRY" => ok!(Retry::parse(bytes)).encode(),
        "WELCOME" => ok!(Welcome::parse(bytes)).encode(),
        "RESUME" => ok!(Resume::parse(bytes)).encode(),
        "RESUMED" => ok!(Resumed::parse(bytes)).encode(),
        "UNKNOWN" => ok!(Unknown::parse(bytes)).encode(),
        "DATA" => {
            let key = exchange::keys().0;
            let header = ok!(DataHeader::parse(bytes));
            let mut datagram = bytes.to_vec();
            let body = header.open(&key, &mut datagram).unwrap_or_else(|| failed(&"does not open"));
            header.seal(&key, body)
        }
        "RELAY" => {
            let (header, datagram) = ok!(RelayHeader::parse(bytes));
            [&header.encode(), datagram].concat()
        }
        "PING" | "PONG" => {
            let probe = ok!(Probe::parse(bytes));
            let (device, peer) = pair(probe.attempt);
            let sender = if probe.kind == ProbeKind::Ping { device } else { peer };
            probe.seal(&sender, bytes.len())
        }
        "CARRY" => {
            let carry = ok!(Carry::parse(bytes));
            carry.seal(&pair(carry.attempt).0)
        }
        "EARLY" => ok!(Early::parse(bytes)).encode(),
        // A number and a packet, whatever that is.
        "EARLY payload" => bytes.to_vec(),
        "HELLO payload" => ok!(envelope::HelloPayload::from_bytes(bytes)).to_bytes(),
        "WELCOME payload" => ok!(envelope::WelcomePayload::from_bytes(bytes)).to_bytes(),
        "ticket body" => ok!(TicketBody::from_bytes(bytes)).to_bytes(),
        "sealed ticket" => ok!(<Ticket as Wire>::from_bytes(bytes)).as_bytes().to_vec(),
        "token" => ok!(Token::from_bytes(bytes)).to_bytes(),
        "STUN request" => stun::Request::parse(bytes).unwrap_or_else(|_| failed(&"malformed")).encode(),
        "STUN response" => ok!(stun::Response::parse(bytes)).encode(),
        "STUN error" => ok!(stun::ErrorResponse::parse(bytes)).encode(),
        name if MESSAGES.into_iter().flatten().any(|(_, known)| *known == name) => {
            if bytes.first().is_some_and(|code| *code < 0x80) {
                ok!(DeviceBody::parse(bytes)).to_bytes()
            } else {
                ok!(ServiceBody::parse(bytes)).to_bytes()
            }
        }
        _ => failed(&"no message of this crate has that name"),
    }
}

/// The keys of an attempt, as the sender of PING and CARRY and the sender of PONG have them.
fn pair(attempt: AttemptId) -> (PairKey, PairKey) {
    let (device, peer) = (secret("device secret"), secret("peer secret"));
    let key = |me: &lanyard_wire::keys::SecretKey, other: &lanyard_wire::keys::SecretKey| {
        PairKey::new(me, &other.public(), attempt).unwrap()
    };
    (key(&device, &peer), key(&peer, &device))
}

#[test]
fn every_datagram_is_classified_as_the_table_says() {
    for example in examples() {
        let class = match example.name.as_str() {
            "RELAY" => Class::Relay,
            name if envelope::KINDS.iter().any(|(_, known)| *known == name) => Class::Lanyard,
            name if name.starts_with("STUN") => Class::Stun,
            _ => continue,
        };
        assert_eq!(classify(&example.bytes), class, "docs/protocol.md:{}", example.line);
    }
    assert_eq!(classify(&bytes("RELAY")[limits::RELAY_HEADER..]), Class::WireGuard);
}

#[test]
fn the_early_packet_is_sealed_to_the_peers_prekey() {
    let example = bytes("EARLY");
    let early = Early::parse(&example).unwrap();
    assert_eq!(early.tag, PrekeyTag::of(&secret("peer prekey secret").public()));
    exchange::early(early.noise);
}

#[test]
fn the_hellos_and_the_retry_between_them_fit_each_other() {
    let gate = GateKeys::of(&secret("service secret").public());
    let hellos: Vec<Hello> = examples()
        .iter()
        .filter(|example| example.name == "HELLO")
        .map(|example| Hello::parse(&example.bytes).unwrap())
        .collect();
    let [first, second] = &hellos[..] else { panic!("the page shows two HELLOs") };
    let retry = Retry::parse(&bytes("RETRY")).unwrap();
    assert!(first.is_for(&gate) && second.is_for(&gate));
    assert!(retry.answers(&first.mac1, &gate));
    assert_eq!(retry.receiver, first.sender);
    assert_eq!(first.cookie, [0; 16]);
    assert_eq!(second.cookie, retry.cookie);
    assert_eq!(Welcome::parse(&bytes("WELCOME")).unwrap().receiver, second.sender);
}

#[test]
fn the_key_exchange_is_that_of_noise() {
    let (device, service) = exchange::keys();
    assert_eq!(device.as_bytes()[..], bytes("key of the device"));
    assert_eq!(service.as_bytes()[..], bytes("key of the service"));
    assert_eq!(secret("service secret").public().as_bytes()[..], bytes("key of the service, public"));
}

#[test]
fn the_ticket_opens_to_its_body_and_brings_the_session_back() {
    let secret_key = symmetric("resumption secret");
    let ticket = <Ticket as Wire>::from_bytes(&bytes("sealed ticket")).unwrap();
    let body = TicketBody::from_bytes(&bytes("ticket body")).unwrap();
    let key = TicketKey::new(ticket.key_id(), &symmetric("ticket key"));
    assert_eq!(key.open(&ticket), Some(body.clone()));
    assert_eq!(key.seal(&body, input("ticket nonce")), ticket);
    assert_eq!(body.identity, secret("device secret").public());
    assert_eq!(body.secret, secret_key);

    let resume = Resume::parse(&bytes("RESUME")).unwrap();
    assert_eq!(resume.ticket, ticket);
    let opened = resume.open(&secret_key).unwrap();
    assert_eq!(Resume::new(resume.sender, resume.nonce, ticket, &secret_key, &opened), resume);

    let resumed = Resumed::parse(&bytes("RESUMED")).unwrap();
    let keys = ResumedKeys::derive(&secret_key, &resume.nonce, &resumed.nonce);
    assert_eq!(keys.device.as_bytes()[..], bytes("key of the device, resumed"));
    assert_eq!(keys.service.as_bytes()[..], bytes("key of the service, resumed"));
    assert_eq!(keys.secret.as_bytes()[..], bytes("key of the tickets, resumed"));
    let opened = resumed.open(&keys).unwrap();
    assert_eq!(resumed.receiver, resume.sender);
    assert_eq!(Resumed::new(resumed.receiver, resumed.nonce, &keys, &opened), resumed);
}

#[test]
fn the_probes_open_at_their_receivers() {
    let ping = Probe::parse(&bytes("PING")).unwrap();
    let (device, peer) = pair(ping.attempt);
    assert_eq!(Probe::open(&bytes("PING"), &peer), Some(ping));
    let pong = Probe::open(&bytes("PONG"), &device).unwrap();
    assert_eq!(ping.pong(pong.observed.unwrap()), pong);
}

#[test]
fn the_question_to_a_peer_relay_opens_there() {
    let ask = Carry::parse(&bytes("CARRY")).unwrap();
    assert_eq!(Carry::open(&bytes("CARRY"), &pair(ask.attempt).1), Some(ask));
}

#[test]
fn the_tokens_are_those_of_the_pair() {
    let (device, peer) = (secret("device secret").public(), secret("peer secret").public());
    let (device, peer) = (DeviceId::of(&device), DeviceId::of(&peer));
    let tokens: Vec<Token> = examples()
        .iter()
        .filter(|example| example.name == "token")
        .map(|example| Token::from_bytes(&example.bytes).unwrap())
        .collect();
    for token in &tokens {
        assert!(token.verify(&symmetric("token key"), 0));
        assert_eq!(token.other(device), Some(peer));
    }
    let relay = tokens.iter().find_map(RelayGrant::of).unwrap();
    let Ok(ToRelay::Bind { token, .. }) = ToRelay::from_bytes(&bytes("Bind")) else { panic!("Bind") };
    let Ok(FromCheckpoint::Roster(roster)) = FromCheckpoint::from_bytes(&bytes("Roster")) else {
        panic!("Roster")
    };
    let network = roster.network.id;
    assert_eq!(NetworkTag::of_value(token.value), NetworkTag::of(&network));
    assert_eq!(
        token,
        relay.token(peer, device, &network),
        "the roster's grant and the Bind's token are the same"
    );
    assert!(PAGE.contains(&device.to_string()), "section 1 shows the device's id as text");
}

#[test]
fn the_join_strings_are_read_and_written_as_shown() {
    let key = secret("service secret").public();
    let strings: Vec<&str> = blocks("join").into_iter().flat_map(|(_, _, lines)| lines).collect();
    assert!(strings.len() >= 2);
    for text in strings {
        let join = JoinString::parse(text).unwrap();
        assert_eq!(join.to_string(), text);
        assert_eq!(join.key, key);
    }
}

#[test]
fn no_answer_to_an_unproven_address_is_longer_than_its_question() {
    let length = |name: &str| bytes(name).len();
    assert_eq!(length("HELLO"), limits::HELLO_LEN);
    assert_eq!(length("RETRY"), limits::RETRY_LEN);
    assert_eq!(length("RESUME"), limits::RESUME_LEN);
    assert_eq!(length("RESUMED"), limits::RESUMED_LEN);
    assert!(length("RETRY") <= length("HELLO"));
    assert!(length("RESUMED") <= length("RESUME"));
    assert!(length("UNKNOWN") <= length("RESUME").min(limits::DATA_HEADER + limits::TAG));
    assert!(length("STUN response").max(length("STUN error")) <= length("STUN request"));
    assert!(length("WELCOME") <= limits::WELCOME_MAX);
}
