//! Whatever is encoded decodes to itself, and whatever decodes encodes to the same bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod messages;
mod values;

use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::carry::{Carry, CarryWord};
use lanyard_wire::codec::Wire;
use lanyard_wire::envelope::{
    DataHeader, HelloPayload, RelayHeader, Resume, Resumed, ResumedBody, Unknown, Welcome, WelcomePayload,
};
use lanyard_wire::envelope::{Hello, Retry};
use lanyard_wire::join::JoinString;
use lanyard_wire::keys::{SecretKey, SymmetricKey};
use lanyard_wire::probe::{PairKey, Probe};
use lanyard_wire::seal::{TicketBody, TicketKey};
use lanyard_wire::{classify, stun};
use messages::{code, device_body, service_body};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use values::*;

/// Puts another byte somewhere.
fn change(bytes: &mut [u8], at: Index, byte: u8) {
    if !bytes.is_empty() {
        let at = at.index(bytes.len());
        bytes[at] = byte;
    }
}

proptest! {
    #[test]
    fn a_device_message_survives_its_bytes(body in device_body()) {
        prop_assert_eq!(DeviceBody::parse(&body.to_bytes()), Ok(body));
    }

    #[test]
    fn a_service_message_survives_its_bytes(body in service_body()) {
        prop_assert_eq!(ServiceBody::parse(&body.to_bytes()), Ok(body));
    }

    /// One encoding per value: bytes that differ are another message or none.
    #[test]
    fn changed_message_bytes_are_another_message_or_none(
        device in device_body(),
        service in service_body(),
        at: Index,
        byte: u8,
    ) {
        let mut bytes = device.to_bytes();
        change(&mut bytes, at, byte);
        if let Ok(body) = DeviceBody::parse(&bytes) {
            prop_assert_eq!(body.to_bytes(), bytes);
        }
        let mut bytes = service.to_bytes();
        change(&mut bytes, at, byte);
        if let Ok(body) = ServiceBody::parse(&bytes) {
            prop_assert_eq!(body.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_message_cut_short_is_malformed_within_its_bytes(body in service_body(), at: Index) {
        let bytes = body.to_bytes();
        prop_assume!(!bytes.is_empty());
        let cut = at.index(bytes.len());
        if cut > 0 {
            let error = ServiceBody::parse(&bytes[..cut]).unwrap_err();
            prop_assert!(error.at <= cut);
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in vec(any::<u8>(), 0..400), first in 0xC0..=0xCAu8) {
        parse_everything(&bytes);
        let mut ours = bytes;
        ours.insert(0, first);
        parse_everything(&ours);
    }

    #[test]
    fn a_data_datagram_opens_to_what_was_sealed(
        key: [u8; 32],
        answer: bool,
        receiver in session(),
        counter: u64,
        body in vec(any::<u8>(), 0..1_168),
    ) {
        let key = SymmetricKey::from_bytes(key);
        let header = DataHeader { answer, receiver, counter };
        let mut datagram = header.seal(&key, &body);
        prop_assert_eq!(classify::classify(&datagram), classify::Class::Lanyard);
        prop_assert_eq!(DataHeader::parse(&datagram), Ok(header));
        prop_assert_eq!(header.open(&key, &mut datagram), Some(&body[..]));
    }

    #[test]
    fn payloads_survive_their_bytes(
        times: (u64, u64, u8, u8),
        session in session(),
        observed in addr(),
        ticket in ticket(),
        secret: [u8; 32],
    ) {
        let (timestamp_ms, boot, version_min, version_max) = times;
        let hello = HelloPayload { timestamp_ms, boot, version_min, version_max };
        prop_assert_eq!(HelloPayload::from_bytes(&hello.to_bytes()), Ok(hello));
        let welcome = WelcomePayload {
            session,
            version: version_min,
            server_time_ms: timestamp_ms,
            observed,
            resumption: SymmetricKey::from_bytes(secret),
            ticket,
        };
        prop_assert_eq!(WelcomePayload::from_bytes(&welcome.to_bytes()), Ok(welcome));
        let resumed = ResumedBody { session, server_time_ms: boot, observed };
        prop_assert_eq!(ResumedBody::from_bytes(&resumed.to_bytes()), Ok(resumed));
    }

    #[test]
    fn a_probe_opens_at_the_peer_whatever_its_size(
        secrets: ([u8; 32], [u8; 32]),
        attempt in attempt(),
        txid: u64,
        nominate: bool,
        remote in addr(),
        size in 64..=1_500usize,
    ) {
        let (a, b) = (SecretKey::from_bytes(secrets.0), SecretKey::from_bytes(secrets.1));
        let a_key = PairKey::new(&a, &b.public(), attempt).unwrap();
        let b_key = PairKey::new(&b, &a.public(), attempt).unwrap();
        let ping = Probe::ping(attempt, txid, nominate);
        prop_assert_eq!(Probe::open(&ping.seal(&a_key, size), &b_key), Some(ping));
        let pong = ping.pong(remote);
        prop_assert_eq!(Probe::open(&pong.seal(&b_key, size), &a_key), Some(pong));
    }

    #[test]
    fn a_word_with_a_peer_relay_opens_at_the_other_end(
        secrets: ([u8; 32], [u8; 32]),
        word in code::<CarryWord>(CarryWord::KINDS),
        about in (attempt(), any::<u64>(), device(), channel()),
    ) {
        let (a, b) = (SecretKey::from_bytes(secrets.0), SecretKey::from_bytes(secrets.1));
        let (attempt, number, peer, channel) = about;
        let a_key = PairKey::new(&a, &b.public(), attempt).unwrap();
        let b_key = PairKey::new(&b, &a.public(), attempt).unwrap();
        let carry = Carry { word, attempt, number, peer, channel };
        prop_assert_eq!(classify::classify(&carry.seal(&a_key)), classify::Class::Lanyard);
        prop_assert_eq!(Carry::open(&carry.seal(&a_key), &b_key), Some(carry));
    }

    #[test]
    fn a_ticket_opens_to_what_was_sealed(
        key: [u8; 32],
        id: u32,
        nonce: [u8; 12],
        identity in key(),
        secret: [u8; 32],
        epoch: u32,
        expires_s: u64,
    ) {
        let key = TicketKey::new(id, &SymmetricKey::from_bytes(key));
        let body = TicketBody { identity, secret: SymmetricKey::from_bytes(secret), epoch, expires_s };
        prop_assert_eq!(key.open(&key.seal(&body, nonce)), Some(body));
    }

    #[test]
    fn stun_messages_survive_their_bytes(
        txid: [u8; 12],
        change: (bool, bool),
        mapped in addr(),
        origin in option::of(addr()),
        other in option::of(addr()),
        code in 300..700u16,
        unknown in vec(any::<u16>(), 0..8),
    ) {
        let request = stun::Request::new(txid, stun::Change { ip: change.0, port: change.1 });
        prop_assert_eq!(stun::Request::parse(&request.encode()), Ok(request));
        let response = stun::Response { txid, mapped, origin, other };
        prop_assert_eq!(stun::Answer::parse(&response.encode()), Ok(stun::Answer::Success(response)));
        prop_assert_eq!(classify::classify(&response.encode()), classify::Class::Stun);
        let error = stun::ErrorResponse { txid, code, unknown };
        prop_assert_eq!(stun::Answer::parse(&error.encode()), Ok(stun::Answer::Error(error)));
    }

    #[test]
    fn a_join_string_survives_its_text_form(
        host in prop_oneof![
            "[a-z0-9]{1,20}(\\.[a-z0-9-]{1,20}){0,3}",
            ip6().prop_map(|ip| ip.to_string()),
        ],
        port in option::of(1..=u16::MAX),
        door in option::of(1..=u16::MAX),
        network in network_name(),
        invite in option::of(invite()),
        key in key(),
    ) {
        let join = JoinString { host, port, network, invite, door, key };
        prop_assert_eq!(JoinString::parse(&join.to_string()), Ok(join));
    }

    #[test]
    fn any_text_is_parsed_without_panic(text in "\\PC{0,80}", tail in "[/?#:\\[\\]a-z0-9=.]{0,60}") {
        let _ = JoinString::parse(&text);
        let _ = JoinString::parse(&format!("lanyard://{tail}"));
        let _ = lanyard_wire::ids::DeviceNumber::parse(&text);
        let name = lanyard_wire::names::DeviceName::sanitize(&text);
        prop_assert_eq!(lanyard_wire::names::DeviceName::parse(name.as_str()), Ok(name));
    }
}

/// Every parser of datagrams and bodies; what they accept encodes to the same bytes.
fn parse_everything(bytes: &[u8]) {
    let _ = classify::classify(bytes);
    let same = |encoded: Option<Vec<u8>>| assert!(encoded.is_none_or(|encoded| encoded == bytes));
    same(Hello::parse(bytes).ok().map(|hello| hello.encode()));
    same(Retry::parse(bytes).ok().map(|retry| retry.encode()));
    same(Welcome::parse(bytes).ok().map(|welcome| welcome.encode()));
    same(Resume::parse(bytes).ok().map(|resume| resume.encode()));
    same(Resumed::parse(bytes).ok().map(|resumed| resumed.encode()));
    same(Unknown::parse(bytes).ok().map(|unknown| unknown.encode()));
    same(RelayHeader::parse(bytes).ok().map(|(header, rest)| [&header.encode(), rest].concat()));
    same(DeviceBody::parse(bytes).ok().map(|body| body.to_bytes()));
    same(ServiceBody::parse(bytes).ok().map(|body| body.to_bytes()));
    let _ = (DataHeader::parse(bytes), Probe::parse(bytes), Carry::parse(bytes));
    let _ = (stun::Request::parse(bytes), stun::Answer::parse(bytes));
}
