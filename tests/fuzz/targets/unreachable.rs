//! Any packet to nobody, or too long for its path: what its sender is told is an intact ICMP error to that sender about that packet, never about an error, and not too often.
#![no_main]

use lanyard_agent::dataplane::pieces::{Refuser, checksum};
use lanyard_proto::overlay::packet::parse;
use lanyard_proto::time::Instant;
use libfuzzer_sys::fuzz_target;

/// Answers that may be saved up.
const BURST: usize = 10;
/// The longest answer: IPv6, ICMP, and what is quoted.
const ANSWER_MAX: usize = 40 + 8 + 128;

fuzz_target!(|packet: &[u8]| {
    let mut refuser = Refuser::default();
    let now = Instant::default();
    let Some(answer) = refuser.answer(packet, None, now) else { return };
    let too_big = refuser.answer(packet, Some(1_280), now).expect("told beside the other kind");
    assert_eq!((too_big.len(), &too_big[answer.len() - 20..]), (answer.len(), &answer[answer.len() - 20..]));
    let asked = parse(packet).expect("only packets are answered");
    let told = parse(&answer).expect("an answer is a packet");
    assert_eq!((told.source, told.destination), (asked.destination, asked.source));
    assert_eq!(told.length, answer.len());
    assert!(answer.len() <= ANSWER_MAX);
    assert!(!told.destination.is_multicast() && !told.destination.is_unspecified());
    let start = if told.destination.is_ipv4() {
        assert_eq!((told.protocol, answer[20], checksum(&answer[..20])), (1, 3, [0, 0]));
        assert_eq!(checksum(&answer[20..]), [0, 0]);
        20
    } else {
        assert_eq!((told.protocol, answer[40]), (58, 1));
        let length = u16::try_from(answer.len() - 40).expect("a short answer").to_be_bytes();
        assert_eq!(checksum(&[&answer[8..40], &[0, 58], &length, &answer[40..]].concat()), [0, 0]);
        40
    };
    let quoted = &answer[start + 8..];
    assert_eq!(quoted, &packet[..quoted.len()]);
    // Whoever was given an error for an error would answer it in turn.
    assert_eq!(Refuser::default().answer(&answer, None, now), None);
    let more = (0..100).filter(|_| refuser.answer(packet, None, now).is_some()).count();
    assert_eq!(more, BURST - 1);
});
