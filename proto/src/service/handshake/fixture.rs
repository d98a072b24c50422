//! Two devices, NAT cards and offers, for the tests of attempts and plans.

use alloc::vec;
use core::time::Duration;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::handshake::Offer;
use lanyard_wire::ids::{AttemptId, DeviceId};
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::nat::{Filtering, Mapping, NatCard, PortPolicy};
use lanyard_wire::token::{Purpose, Token};

use super::attempt::End;

pub(super) const COUNTS: PortPolicy = PortPolicy::Sequential { step: 1 };
pub(super) const BLOCK: PortPolicy = PortPolicy::Block { low: 1_024, high: 2_047 };

pub(super) fn id() -> AttemptId {
    AttemptId::new(5)
}

pub(super) fn devices() -> [DeviceId; 2] {
    [DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16])]
}

pub(super) fn easy() -> NatCard {
    NatCard {
        udp: true,
        mapping: Some(Mapping::EndpointIndependent),
        filtering: Some(Filtering::AddressDependent),
        ..NatCard::default()
    }
}

pub(super) fn strict() -> NatCard {
    NatCard { filtering: Some(Filtering::AddressAndPortDependent), ..easy() }
}

pub(super) fn hard(ports: PortPolicy) -> NatCard {
    NatCard { mapping: Some(Mapping::AddressAndPortDependent), ports: Some(ports), ..strict() }
}

pub(super) fn candidate(kind: CandidateKind, addr: &str) -> Candidate {
    Candidate { kind, addr: addr.parse().unwrap() }
}

pub(super) fn offer(card: NatCard) -> Offer {
    let [a, b] = devices();
    let ticket = Token::grant(&SymmetricKey::from_bytes([1; 32]), Purpose::Attempt, a, b, 5, 100);
    let candidates = vec![candidate(CandidateKind::Host, "10.0.0.2:4000")];
    Offer { attempt: id(), ticket, candidates, card, is_prepared: false, relays: vec![] }
}

/// An end that is half of `rtt_ms` away.
pub(super) fn end(card: NatCard, rtt_ms: u64) -> End {
    End::of(offer(card), ([10, 0, 0, 2], 4_000).into(), Duration::from_millis(rtt_ms))
}
