//! The plans of pairs of NATs.

use alloc::vec;
use core::net::SocketAddrV4;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::handshake::Offer;
use lanyard_wire::ids::{AttemptId, DeviceId};
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::token::{Purpose, Token};

use super::super::memory::{Memory, Networks};
use super::*;
use crate::time::Instant;

#[test]
fn the_plan_follows_from_mapping_filtering_and_ports_of_both() {
    let table = [
        (easy(), easy(), Kind::Plain),
        (easy(), hard(PortPolicy::Random), Kind::Plain),
        (strict(), strict(), Kind::Plain),
        (NatCard::default(), hard(PortPolicy::Random), Kind::Plain),
        (strict(), hard(PortPolicy::Preserved), Kind::Plain),
        (strict(), hard(PortPolicy::Sequential { step: 1 }), Kind::Sequential),
        (strict(), hard(BLOCK), Kind::Block),
        (strict(), hard(PortPolicy::Random), Kind::Random),
        (strict(), NatCard { ports: None, ..hard(BLOCK) }, Kind::Random),
        (hard(PortPolicy::Sequential { step: 1 }), hard(PortPolicy::Sequential { step: 2 }), Kind::Predict),
        (hard(PortPolicy::Sequential { step: 1 }), hard(PortPolicy::Random), Kind::Relay),
        (hard(BLOCK), hard(BLOCK), Kind::Relay),
        (hard(PortPolicy::Random), hard(PortPolicy::Random), Kind::Relay),
    ];
    for (a, b, kind) in table {
        assert_eq!(choose(&[end(a), end(b)], &Past::default()).kind, kind, "{a} and {b}");
        assert_eq!(choose(&[end(b), end(a)], &Past::default()).kind, kind, "{b} and {a}");
    }
}

#[test]
fn ipv6_a_mapped_port_or_a_common_router_make_a_punch_worthwhile() {
    let random = hard(PortPolicy::Random);
    let mut with_v6 = end(random);
    with_v6.candidates.push(candidate(CandidateKind::Host, "[2001:db8::1]:4000"));
    assert_eq!(choose(&[with_v6.clone(), with_v6], &Past::default()).kind, Kind::Plain);

    let mut mapped = end(random);
    mapped.candidates.push(candidate(CandidateKind::Mapped, "192.0.2.9:4000"));
    assert_eq!(choose(&[mapped, end(random)], &Past::default()).kind, Kind::Plain);

    let reflexive =
        |port| NatCard { reflexive4: Some(SocketAddrV4::new([192, 0, 2, 5].into(), port)), ..random };
    assert_eq!(choose(&[end(reflexive(1)), end(reflexive(2))], &Past::default()).kind, Kind::Plain);
}

#[test]
fn the_end_that_is_hard_opens_and_the_other_guesses_whichever_side_they_are_on() {
    let (hard, easy) = (end(hard(PortPolicy::Random)), end(strict()));
    let plan = choose(&[hard.clone(), easy.clone()], &Past::default());
    assert_eq!(plan.methods, [Method::Open { sockets: 256 }, Method::Guess { ports: 1_200 }]);
    assert_eq!(plan.late, [Duration::ZERO, HEAD_START]);
    let plan = choose(&[easy, hard], &Past::default());
    assert_eq!(plan.methods, [Method::Guess { ports: 1_200 }, Method::Open { sockets: 256 }]);
    assert_eq!(plan.late, [HEAD_START, Duration::ZERO]);
}

#[test]
fn the_wider_a_block_the_more_is_guessed() {
    let ports_of = |low, high| {
        let plan = choose(&[end(hard(PortPolicy::Block { low, high })), end(strict())], &Past::default());
        plan.methods[1]
    };
    assert_eq!(ports_of(1_024, 5_119), Method::Guess { ports: 300 });
    assert_eq!(ports_of(16_384, 32_767), Method::Guess { ports: 1_150 });
}

#[test]
fn more_ports_are_tried_after_a_count_went_wrong() {
    let ends = [end(hard(PortPolicy::Sequential { step: 1 })), end(strict())];
    let mut memory = Memory::default();
    let networks = Networks::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    memory.ended(networks, Kind::Sequential, false, Instant::ZERO);
    let plan = choose(&ends, &memory.past(networks, Instant::ZERO));
    assert_eq!(plan.methods[1], Method::Guess { ports: 48 });
}

#[test]
fn a_dear_plan_that_failed_lately_gives_way_to_the_relay() {
    let ends = [end(hard(PortPolicy::Random)), end(strict())];
    let mut memory = Memory::default();
    let networks = Networks::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    memory.ended(networks, Kind::Random, false, Instant::ZERO);
    assert_eq!(choose(&ends, &memory.past(networks, Instant::from_secs(60))).kind, Kind::Relay);
    assert_eq!(choose(&ends, &memory.past(networks, Instant::from_secs(601))).kind, Kind::Random);
}

#[test]
fn after_a_plain_try_that_failed_both_ends_take_fresh_sockets() {
    let mut memory = Memory::default();
    let networks = Networks::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    memory.ended(networks, Kind::Plain, false, Instant::ZERO);
    let plan = choose(&[end(strict()), end(strict())], &memory.past(networks, Instant::ZERO));
    assert_eq!((plan.methods, plan.prepares), ([Method::Fresh; 2], [true; 2]));
}

const BLOCK: PortPolicy = PortPolicy::Block { low: 1_024, high: 2_047 };

fn easy() -> NatCard {
    NatCard {
        udp: true,
        mapping: Some(Mapping::EndpointIndependent),
        filtering: Some(Filtering::AddressDependent),
        ..NatCard::default()
    }
}

fn strict() -> NatCard {
    NatCard { filtering: Some(Filtering::AddressAndPortDependent), ..easy() }
}

fn hard(ports: PortPolicy) -> NatCard {
    NatCard { mapping: Some(Mapping::AddressAndPortDependent), ports: Some(ports), ..strict() }
}

fn candidate(kind: CandidateKind, addr: &str) -> Candidate {
    Candidate { kind, addr: addr.parse().unwrap() }
}

fn end(card: NatCard) -> End {
    let [a, b] = [DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16])];
    let ticket = Token::grant(&SymmetricKey::from_bytes([1; 32]), Purpose::Attempt, a, b, 5, 100);
    let candidates = vec![candidate(CandidateKind::Host, "10.0.0.2:4000")];
    let offer = Offer { attempt: AttemptId::new(5), ticket, candidates, card, is_prepared: false };
    End::of(offer, ([10, 0, 0, 2], 4_000).into(), Duration::ZERO)
}
