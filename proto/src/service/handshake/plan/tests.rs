//! The plans of pairs of NATs.

use core::net::SocketAddrV4;

use lanyard_wire::candidate::CandidateKind;

use super::super::fixture::{BLOCK, COUNTS, candidate, easy, end, hard, strict};
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
        (strict(), hard(COUNTS), Kind::Sequential),
        (strict(), hard(BLOCK), Kind::Block),
        (strict(), hard(PortPolicy::Random), Kind::Random),
        (strict(), NatCard { ports: None, ..hard(BLOCK) }, Kind::Random),
        (hard(COUNTS), hard(PortPolicy::Sequential { step: 2 }), Kind::Predict),
        (hard(COUNTS), hard(PortPolicy::Random), Kind::Relay),
        (hard(BLOCK), hard(BLOCK), Kind::Relay),
        (hard(PortPolicy::Random), hard(PortPolicy::Random), Kind::Relay),
    ];
    for (a, b, kind) in table {
        assert_eq!(choose(&[end(a, 0), end(b, 0)], &Past::default()).kind, kind, "{a} and {b}");
        assert_eq!(choose(&[end(b, 0), end(a, 0)], &Past::default()).kind, kind, "{b} and {a}");
    }
}

#[test]
fn ipv6_a_mapped_port_or_a_common_router_make_a_punch_worthwhile() {
    let random = hard(PortPolicy::Random);
    let mut with_v6 = end(random, 0);
    with_v6.candidates.push(candidate(CandidateKind::Host, "[2001:db8::1]:4000"));
    assert_eq!(choose(&[with_v6.clone(), with_v6], &Past::default()).kind, Kind::Plain);

    let mut mapped = end(random, 0);
    mapped.candidates.push(candidate(CandidateKind::Mapped, "192.0.2.9:4000"));
    assert_eq!(choose(&[mapped, end(random, 0)], &Past::default()).kind, Kind::Plain);

    let reflexive =
        |port| NatCard { reflexive4: Some(SocketAddrV4::new([192, 0, 2, 5].into(), port)), ..random };
    assert_eq!(choose(&[end(reflexive(1), 0), end(reflexive(2), 0)], &Past::default()).kind, Kind::Plain);
}

#[test]
fn where_udp_does_not_get_out_a_public_end_is_called_by_tcp() {
    let blocked = end(NatCard { udp: false, ..NatCard::default() }, 0);
    let public = NatCard {
        udp: true,
        mapping: Some(Mapping::None),
        filtering: Some(Filtering::EndpointIndependent),
        ..NatCard::default()
    };
    let plan = choose(&[blocked.clone(), end(public, 0)], &Past::default());
    assert_eq!((plan.kind, plan.methods), (Kind::Tcp, [Method::Connect, Method::Accept]));
    let plan = choose(&[end(public, 0), blocked.clone()], &Past::default());
    assert_eq!(plan.methods, [Method::Accept, Method::Connect]);

    let walled = NatCard { filtering: Some(Filtering::AddressAndPortDependent), ..public };
    for other in [end(walled, 0), end(easy(), 0), blocked.clone()] {
        assert_eq!(choose(&[blocked.clone(), other], &Past::default()).kind, Kind::Plain);
    }
}

#[test]
fn the_end_that_is_hard_opens_and_the_other_guesses_whichever_side_they_are_on() {
    let (hard, easy) = (end(hard(PortPolicy::Random), 0), end(strict(), 0));
    let plan = choose(&[hard.clone(), easy.clone()], &Past::default());
    assert_eq!(plan.methods, [Method::Open { sockets: 256 }, Method::Guess { ports: 1_200 }]);
    assert_eq!(plan.late, [Duration::ZERO, HEAD_START]);
    let plan = choose(&[easy, hard], &Past::default());
    assert_eq!(plan.methods, [Method::Guess { ports: 1_200 }, Method::Open { sockets: 256 }]);
    assert_eq!(plan.late, [HEAD_START, Duration::ZERO]);
}

#[test]
fn the_wider_a_block_the_more_is_opened_and_guessed() {
    for (high, sockets, ports) in [
        (1_151, 16, 300),
        (1_535, 32, 300),
        (2_047, 64, 300),
        (3_071, 128, 300),
        (5_119, 128, 300),
        (17_407, 128, 1_150),
    ] {
        let block = PortPolicy::Block { low: 1_024, high };
        let plan = choose(&[end(hard(block), 0), end(strict(), 0)], &Past::default());
        assert_eq!(plan.methods, [Method::Open { sockets }, Method::Guess { ports }], "up to {high}");
    }
}

#[test]
fn where_ports_are_scarce_fewer_are_opened_and_more_guessed_and_nothing_else_changes() {
    for (high, sockets) in [(1_535, 16), (2_047, 16), (5_119, 32), (9_215, 64), (17_407, 128)] {
        let ends = [end(strict(), 0), end(hard(PortPolicy::Block { low: 1_024, high }), 0)];
        let plan = choose(&ends, &Past::default());
        let thrifty = plan.thrifty(&ends);
        assert_eq!(
            thrifty.methods,
            [Method::Guess { ports: 1_150 }, Method::Open { sockets }],
            "up to {high}"
        );
        assert_eq!((thrifty.kind, thrifty.late), (Kind::Block, plan.late));
        // No hit at all, by the sum in docs/design/traversal.md.
        let size = f64::from(high - 1_023);
        let missed: f64 = (0..1_150_u16.min(high - 1_023))
            .map(|guess| 1.0 - f64::from(sockets) / (size - f64::from(guess)))
            .product();
        assert!(missed < 0.000_1, "{missed}");
    }
    let ends = [end(strict(), 0), end(hard(COUNTS), 0)];
    let plan = choose(&ends, &Past::default());
    assert_eq!(plan.thrifty(&ends), plan);
}

#[test]
fn more_ports_are_tried_after_a_count_went_wrong() {
    let ends = [end(hard(COUNTS), 0), end(strict(), 0)];
    let mut memory = Memory::default();
    let networks = Networks::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    memory.ended(networks, Kind::Sequential, false, Instant::ZERO);
    let plan = choose(&ends, &memory.past(networks, Instant::ZERO));
    assert_eq!(plan.methods[1], Method::Guess { ports: 48 });
}

#[test]
fn a_dear_plan_that_failed_lately_gives_way_to_the_relay() {
    let ends = [end(hard(PortPolicy::Random), 0), end(strict(), 0)];
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
    let plan = choose(&[end(strict(), 0), end(strict(), 0)], &memory.past(networks, Instant::ZERO));
    assert_eq!((plan.methods, plan.prepares), ([Method::Fresh; 2], [true; 2]));
}

#[test]
fn in_a_second_round_an_end_with_many_ports_waits_for_the_filter_of_the_other() {
    let mut memory = Memory::default();
    let networks = Networks::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    memory.ended(networks, Kind::Plain, false, Instant::ZERO);
    let past = memory.past(networks, Instant::ZERO);
    let random = hard(PortPolicy::Random);
    let waits = |a, b| choose(&[end(a, 0), end(b, 0)], &past).late;
    assert_eq!(waits(random, easy()), [FILTER_HEAD_START, Duration::ZERO]);
    assert_eq!(waits(easy(), random), [Duration::ZERO, FILTER_HEAD_START]);
    assert_eq!(waits(easy(), strict()), [Duration::ZERO; 2]);
    assert_eq!(choose(&[end(random, 0), end(easy(), 0)], &Past::default()).late, [Duration::ZERO; 2]);
}

#[test]
fn fresh_sockets_are_not_tried_where_the_only_open_way_leads_to_the_main_ones() {
    let random = hard(PortPolicy::Random);
    let mut memory = Memory::default();
    let networks = Networks::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    memory.ended(networks, Kind::Plain, false, Instant::ZERO);
    let past = memory.past(networks, Instant::ZERO);
    for (kind, addr) in
        [(CandidateKind::Host, "[2001:db8::1]:4000"), (CandidateKind::Mapped, "192.0.2.9:4000")]
    {
        let open = |card| {
            let mut end = end(card, 0);
            end.candidates.push(candidate(kind, addr));
            end
        };
        for (other, expected) in [(random, Kind::Plain), (strict(), Kind::Plain), (easy(), Kind::Fresh)] {
            assert_eq!(choose(&[open(random), open(other)], &past).kind, expected, "{other}");
        }
        assert_eq!(choose(&[open(strict()), open(strict())], &past).kind, Kind::Fresh);
    }
}
