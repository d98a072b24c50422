//! One connection attempt of two devices, from the first offer to the verdicts.
//!
//! The first offer waits for the second. With both in, a method is chosen from the two NAT cards and each end
//! gets its own start signal, delayed by what the other's way is longer, so that both first probes leave
//! at the same moment. Either end may ask again: the signal of a started attempt is repeated with what is
//! left of the wait.
//! Terms: RFC 8445 (candidates), RFC 4787 (mapping and filtering).

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::door::is_door;
use lanyard_wire::handshake::{Go, Method, Offer};
use lanyard_wire::ids::{AttemptId, DeviceId};
use lanyard_wire::limits::CANDIDATES_MAX;
use lanyard_wire::nat::{Filtering, Mapping, NatCard};

use crate::time::Instant;

/// Added to both waits, for the time that the services and the devices themselves take.
const SLACK: Duration = Duration::from_millis(20);

/// What one end brings to an attempt.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) card: NatCard,
    pub(super) candidates: Vec<Candidate>,
    /// One way between this end and us, half of the shortest round trip seen.
    pub(super) one_way: Duration,
}

impl End {
    /// What an offer says, and where it came from: that address is a candidate too, even if the device
    /// could not find it out by itself. A door is none, and nobody may offer one.
    pub(super) fn of(offer: Offer, observed: SocketAddr, rtt: Duration) -> Self {
        let mut candidates = offer.candidates;
        candidates.retain(|candidate| !is_door(candidate.addr));
        let known = candidates.iter().any(|candidate| candidate.addr == observed);
        if !known && !is_door(observed) && candidates.len() < CANDIDATES_MAX {
            candidates.push(Candidate { kind: CandidateKind::ServerReflexive, addr: observed });
        }
        Self { card: offer.card, candidates, one_way: rtt / 2 }
    }

    fn has_ipv6(&self) -> bool {
        self.candidates.iter().any(|candidate| match candidate.addr {
            SocketAddr::V6(addr) => !addr.ip().is_unicast_link_local(),
            SocketAddr::V4(_) => false,
        })
    }

    fn has_mapped_port(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.kind == CandidateKind::Mapped)
    }
}

/// Two devices that want a path.
#[derive(Debug)]
pub(super) struct Attempt {
    devices: [DeviceId; 2],
    state: State,
    reports: [u8; 2],
}

#[derive(Debug)]
enum State {
    /// One end is here.
    Waiting { side: usize, end: End },
    /// Both were told to start, at these moments.
    Started { ends: [End; 2], method: Method, starts: [Instant; 2] },
}

/// What is to be answered to an offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The other end is not here yet.
    Wait,
    /// Both ends start now: one signal for each.
    Start([(DeviceId, Go); 2]),
    /// The signal again, for the asking end.
    Repeat(Go),
}

impl Attempt {
    /// Reports each end may send: one at the end of the punch, some for changes of mind.
    const REPORTS_MAX: u8 = 4;

    /// Begins with the first offer, by the device on `side` of the pair.
    pub(super) const fn begin(devices: [DeviceId; 2], side: usize, end: End) -> Self {
        Self { devices, state: State::Waiting { side, end }, reports: [0; 2] }
    }

    pub(super) const fn devices(&self) -> [DeviceId; 2] {
        self.devices
    }

    pub(super) const fn has_started(&self) -> bool {
        matches!(self.state, State::Started { .. })
    }

    /// Which side of the pair a device is.
    pub(super) fn side_of(&self, device: DeviceId) -> Option<usize> {
        self.devices.iter().position(|party| *party == device)
    }

    /// Takes an offer of the end on `side`, a new one or a repeated one.
    pub(super) fn offer(&mut self, id: AttemptId, side: usize, end: End, now: Instant) -> Answer {
        let (first_side, first) = match &mut self.state {
            State::Started { ends, method, starts } => {
                return Answer::Repeat(go(id, ends, *method, starts, side, now));
            }
            State::Waiting { side: waiting, end: old } if *waiting == side => {
                *old = end;
                return Answer::Wait;
            }
            State::Waiting { side: waiting, end: old } => (*waiting, old.clone()),
        };
        let ends = if first_side == 0 { [first, end] } else { [end, first] };
        let method = choose_method(&ends);
        let longest = ends[0].one_way.max(ends[1].one_way);
        // The signal itself needs one way, so the end that hears it sooner waits longer.
        let starts = [0, 1].map(|side| {
            let end: &End = if side == 0 { &ends[0] } else { &ends[1] };
            now + (longest.saturating_sub(end.one_way) + SLACK)
        });
        let signals = [0, 1].map(|side| (self.devices[side % 2], go(id, &ends, method, &starts, side, now)));
        self.state = State::Started { ends, method, starts };
        Answer::Start(signals)
    }

    /// Takes a verdict of one side; says whether there were not too many of them.
    pub(super) fn report(&mut self, side: usize) -> bool {
        match self.reports.get_mut(side) {
            Some(count) if *count < Self::REPORTS_MAX => {
                *count += 1;
                true
            }
            _ => false,
        }
    }
}

fn go(
    attempt: AttemptId,
    ends: &[End; 2],
    method: Method,
    starts: &[Instant; 2],
    side: usize,
    now: Instant,
) -> Go {
    let (start, peer) = if side == 0 { (starts[0], &ends[1]) } else { (starts[1], &ends[0]) };
    let wait = start.saturating_since(now).as_millis();
    Go {
        attempt,
        method,
        candidates: peer.candidates.clone(),
        card: peer.card,
        start_after_ms: u16::try_from(wait).unwrap_or(u16::MAX),
    }
}

/// Whether it makes sense to punch, by the two NAT cards.
///
/// An end whose mapping depends on the destination shows the other a port that nobody can name beforehand.
/// That is fine as long as the other end's mapping and filtering let such a stranger in; two of that kind, or
/// one against a filter by address and port, have no chance over IPv4 without guessing. What is not known is
/// taken for the better case: a punch costs little, a missed path costs for long.
pub(super) fn choose_method(ends: &[End; 2]) -> Method {
    let [a, b] = ends;
    let open_way = (a.has_ipv6() && b.has_ipv6())
        || a.has_mapped_port()
        || b.has_mapped_port()
        || behind_the_same_address(&a.card, &b.card);
    if open_way {
        return Method::Plain;
    }
    let hopeless = (is_hard(&a.card) && is_hard(&b.card))
        || (is_hard(&a.card) && is_strict(&b.card))
        || (is_hard(&b.card) && is_strict(&a.card));
    if hopeless { Method::Relay } else { Method::Plain }
}

fn is_hard(card: &NatCard) -> bool {
    matches!(card.mapping, Some(Mapping::AddressDependent | Mapping::AddressAndPortDependent))
}

fn is_strict(card: &NatCard) -> bool {
    card.filtering == Some(Filtering::AddressAndPortDependent)
}

fn behind_the_same_address(a: &NatCard, b: &NatCard) -> bool {
    match (a.reflexive4, b.reflexive4) {
        (Some(a), Some(b)) => a.ip() == b.ip(),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::net::SocketAddrV4;

    use super::*;

    #[test]
    fn both_ends_are_told_to_start_at_the_same_moment() {
        let now = Instant::from_secs(1);
        let mut attempt = Attempt::begin(devices(), 1, end(easy(), 30));
        let Answer::Start([(first, first_go), (second, second_go)]) =
            attempt.offer(id(), 0, end(easy(), 110), now)
        else {
            panic!("both offers are in")
        };
        assert_eq!([first, second], devices());
        // Signal and wait together: 55 + 20 = 15 + 60.
        assert_eq!(first_go.start_after_ms, 20);
        assert_eq!(second_go.start_after_ms, 60);
    }

    #[test]
    fn a_repeated_offer_gets_the_signal_again_with_what_is_left_of_the_wait() {
        let now = Instant::from_secs(1);
        let mut attempt = Attempt::begin(devices(), 0, end(easy(), 200));
        assert_eq!(attempt.offer(id(), 0, end(easy(), 200), now), Answer::Wait);
        assert!(matches!(attempt.offer(id(), 1, end(easy(), 0), now), Answer::Start(_)));
        let later = now + Duration::from_millis(70);
        let Answer::Repeat(go) = attempt.offer(id(), 1, end(easy(), 0), later) else { panic!("started") };
        assert_eq!(go.start_after_ms, 50);
        let Answer::Repeat(go) = attempt.offer(id(), 1, end(easy(), 0), now + Duration::from_secs(5)) else {
            panic!("started")
        };
        assert_eq!(go.start_after_ms, 0);
    }

    #[test]
    fn each_end_gets_the_candidates_and_the_card_of_the_other() {
        let mut attempt = Attempt::begin(devices(), 0, end_at(easy(), [192, 0, 2, 1]));
        let Answer::Start([(_, first), (_, second)]) =
            attempt.offer(id(), 1, end_at(hard(), [192, 0, 2, 2]), Instant::ZERO)
        else {
            panic!("both offers are in")
        };
        assert_eq!(first.candidates[0].addr, ([192, 0, 2, 2], 4_000).into());
        assert_eq!(first.card, hard());
        assert_eq!(second.candidates[0].addr, ([192, 0, 2, 1], 4_000).into());
        assert_eq!(second.card, easy());
    }

    #[test]
    fn the_address_an_offer_came_from_is_a_candidate() {
        let observed = ([198, 51, 100, 1], 9_000).into();
        let offer = Offer { candidates: vec![], ..offer(easy()) };
        let end = End::of(offer, observed, Duration::ZERO);
        assert_eq!(end.candidates, [Candidate { kind: CandidateKind::ServerReflexive, addr: observed }]);
    }

    #[test]
    fn a_door_is_no_candidate_whoever_names_it() {
        let door = lanyard_wire::door::addr(1, 2);
        let candidates = vec![Candidate { kind: CandidateKind::Host, addr: door }];
        let offer = Offer { candidates, ..offer(easy()) };
        assert_eq!(End::of(offer, door, Duration::ZERO).candidates, []);
    }

    #[test]
    fn the_method_follows_from_mapping_and_filtering_of_both() {
        let table = [
            (easy(), easy(), Method::Plain),
            (easy(), hard(), Method::Plain),
            (hard(), hard(), Method::Relay),
            (strict(), hard(), Method::Relay),
            (strict(), strict(), Method::Plain),
            (NatCard::default(), hard(), Method::Plain),
        ];
        for (a, b, method) in table {
            assert_eq!(choose_method(&[end(a, 0), end(b, 0)]), method, "{a} and {b}");
            assert_eq!(choose_method(&[end(b, 0), end(a, 0)]), method, "{b} and {a}");
        }
    }

    #[test]
    fn ipv6_a_mapped_port_or_a_common_router_make_a_punch_worthwhile() {
        let mut with_v6 = end(hard(), 0);
        with_v6.candidates.push(host("[2001:db8::1]:4000"));
        assert_eq!(choose_method(&[with_v6.clone(), with_v6]), Method::Plain);

        let mut mapped = end(hard(), 0);
        mapped.candidates.push(Candidate { kind: CandidateKind::Mapped, ..host("192.0.2.9:4000") });
        assert_eq!(choose_method(&[mapped, end(hard(), 0)]), Method::Plain);

        let reflexive =
            |port| NatCard { reflexive4: Some(SocketAddrV4::new([192, 0, 2, 5].into(), port)), ..hard() };
        assert_eq!(choose_method(&[end(reflexive(1), 0), end(reflexive(2), 0)]), Method::Plain);
    }

    #[test]
    fn an_end_that_reports_without_end_is_not_listened_to() {
        let mut attempt = Attempt::begin(devices(), 0, end(easy(), 0));
        let heard = (0..100).filter(|_| attempt.report(0)).count();
        assert_eq!(heard, usize::from(Attempt::REPORTS_MAX));
        assert!(attempt.report(1));
    }

    fn id() -> AttemptId {
        AttemptId::new(5)
    }

    fn devices() -> [DeviceId; 2] {
        [DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16])]
    }

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

    fn hard() -> NatCard {
        NatCard { mapping: Some(Mapping::AddressAndPortDependent), ..easy() }
    }

    fn host(addr: &str) -> Candidate {
        Candidate { kind: CandidateKind::Host, addr: addr.parse().unwrap() }
    }

    fn offer(card: NatCard) -> Offer {
        use lanyard_wire::keys::SymmetricKey;
        use lanyard_wire::token::{Purpose, Token};
        let [a, b] = devices();
        let ticket = Token::grant(&SymmetricKey::from_bytes([1; 32]), Purpose::Attempt, a, b, 5, 100);
        Offer { attempt: id(), ticket, candidates: vec![host("10.0.0.2:4000")], card }
    }

    fn end(card: NatCard, rtt_ms: u64) -> End {
        End::of(offer(card), ([10, 0, 0, 2], 4_000).into(), Duration::from_millis(rtt_ms))
    }

    fn end_at(card: NatCard, ip: [u8; 4]) -> End {
        let offer = Offer { candidates: vec![], ..offer(card) };
        End::of(offer, (ip, 4_000).into(), Duration::ZERO)
    }
}
