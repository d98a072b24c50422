//! One connection attempt of two devices, from the first offer to the verdicts.
//!
//! The first offer waits for the second. With both in, a plan is chosen from the two NAT cards (`plan`) and, where that
//! needs it, an end is told to look at its NAT once more and to offer again. Then each end gets its own start signal, delayed by what the other's way is longer, so that both first probes leave
//! at the same moment. Either end may ask again: the signal of a started attempt is repeated with what is
//! left of the wait.
//! Terms: RFC 8445 (candidates), RFC 4787 (mapping and filtering).

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV4};
use core::time::Duration;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::door::is_door;
use lanyard_wire::handshake::{Go, Method, Offer, RelayDistance};
use lanyard_wire::ids::{AttemptId, DeviceId};
use lanyard_wire::limits::CANDIDATES_MAX;
use lanyard_wire::nat::{Mapping, NatCard};

use super::meeting;
use super::memory::{Memory, Networks};
use super::openings::{self, Block, Openings};
use super::plan::{self, Kind, Plan};
use crate::time::Instant;

/// What one end brings to an attempt.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) card: NatCard,
    pub(super) candidates: Vec<Candidate>,
    /// One way between this end and us, half of the shortest round trip seen.
    pub(super) one_way: Duration,
    /// The address by which its network is known.
    network: IpAddr,
    is_prepared: bool,
    /// How far the relays are, first the one where it meets the other end until now.
    pub(super) relays: Vec<RelayDistance>,
}

impl End {
    /// What an offer says, and where it came from: that address is a candidate too, even if the device
    /// could not find it out by itself. A door is none, and nobody may offer one. An offer that was prepared says
    /// itself by which mapping the device is to be met now.
    pub(super) fn of(offer: Offer, observed: SocketAddr, rtt: Duration) -> Self {
        let Offer { mut candidates, mut card, is_prepared, relays, .. } = offer;
        candidates.retain(|candidate| !is_door(candidate.addr));
        let known = candidates.iter().any(|candidate| candidate.addr == observed);
        if !known && !is_prepared && !is_door(observed) && candidates.len() < CANDIDATES_MAX {
            candidates.push(Candidate { kind: CandidateKind::ServerReflexive, addr: observed });
        }
        if let SocketAddr::V4(seen) = observed
            && !is_prepared
            && is_outdated(&card, seen)
        {
            card.reflexive4 = Some(seen);
        }
        // What we saw ourselves, where that is IPv4: a card is a claim, and would put blame on somebody else's network.
        let claimed = card.reflexive4.map(|seen| IpAddr::V4(*seen.ip()));
        let network = claimed.filter(|_| !observed.is_ipv4()).unwrap_or(observed.ip());
        Self { card, candidates, one_way: rtt / 2, network, is_prepared, relays }
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.candidates.iter().any(|candidate| match candidate.addr {
            SocketAddr::V6(addr) => !addr.ip().is_unicast_link_local(),
            SocketAddr::V4(_) => false,
        })
    }

    pub(super) fn has_mapped_port(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.kind == CandidateKind::Mapped)
    }
}

/// Whether a card is from before the end got the address that it has now: guesses would go to whoever has the old one.
///
/// An end whose mapping depends on the destination shows us another port than it showed STUN, and the same address.
fn is_outdated(card: &NatCard, seen: SocketAddrV4) -> bool {
    let is_kept = matches!(card.mapping, Some(Mapping::None | Mapping::EndpointIndependent));
    card.reflexive4.is_some_and(|old| old.ip() != seen.ip() || (is_kept && old != seen))
}

/// Two devices that want a path.
#[derive(Debug)]
pub(super) struct Attempt {
    devices: [DeviceId; 2],
    state: State,
    reports: [u8; 2],
    is_direct: bool,
}

#[derive(Debug)]
enum State {
    /// One end is here.
    Waiting { side: usize, end: End },
    /// Both are, and some have to look at their NAT once more.
    Preparing { ends: [End; 2], plan: Plan, ready: [bool; 2] },
    /// Both were told to start, at these moments.
    Started { ends: [End; 2], plan: Plan, starts: [Instant; 2] },
}

/// What is to be answered to an offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The other end is not here yet.
    Wait,
    /// Each of these is to look at its NAT and to offer again; the asking end too if it is among them.
    Prepare(Vec<(DeviceId, Method)>),
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
        Self { devices, state: State::Waiting { side, end }, reports: [0; 2], is_direct: false }
    }

    pub(super) const fn devices(&self) -> [DeviceId; 2] {
        self.devices
    }

    /// What was started, and between which networks, once it was.
    pub(super) fn started(&self) -> Option<(Kind, Networks)> {
        match &self.state {
            State::Started { ends, plan, .. } => Some((plan.kind, networks_of(ends))),
            State::Waiting { .. } | State::Preparing { .. } => None,
        }
    }

    /// Which side of the pair a device is.
    pub(super) fn side_of(&self, device: DeviceId) -> Option<usize> {
        self.devices.iter().position(|party| *party == device)
    }

    /// Takes an offer of the end on `side`, a new one or a repeated one.
    pub(super) fn offer(
        &mut self,
        id: AttemptId,
        side: usize,
        end: End,
        memory: &mut Memory,
        now: Instant,
    ) -> Answer {
        match &mut self.state {
            State::Started { ends, plan, starts } => {
                Answer::Repeat(go(id, self.devices, ends, plan, starts, side, now))
            }
            State::Waiting { side: waiting, end: old } if *waiting == side => {
                *old = end;
                Answer::Wait
            }
            State::Waiting { side: waiting, end: first } => {
                let first = first.clone();
                let ends = if *waiting == 0 { [first, end] } else { [end, first] };
                let plan = plan::choose(&ends, &memory.past(networks_of(&ends), now));
                let plan = affordable(&ends, plan, &memory.openings, now);
                let ready = plan.prepares.map(|prepares| !prepares);
                if ready == [true; 2] {
                    return self.start(id, ends, plan, memory, now);
                }
                let whom = (0..2).filter_map(|side| self.to_prepare(side, &plan, ready)).collect();
                self.state = State::Preparing { ends, plan, ready };
                Answer::Prepare(whom)
            }
            State::Preparing { ends, plan, ready } => {
                if !end.is_prepared {
                    let (plan, ready) = (*plan, *ready);
                    // The word to prepare was lost; or it is the other end that is waited for.
                    let again = self.to_prepare(side, &plan, ready);
                    return again.map_or(Answer::Wait, |again| Answer::Prepare(alloc::vec![again]));
                }
                if let (Some(place), Some(ready)) = (ends.get_mut(side), ready.get_mut(side)) {
                    (*place, *ready) = (end, true);
                }
                if *ready != [true; 2] {
                    return Answer::Wait;
                }
                let (ends, plan) = (ends.clone(), *plan);
                self.start(id, ends, plan, memory, now)
            }
        }
    }

    fn to_prepare(&self, side: usize, plan: &Plan, ready: [bool; 2]) -> Option<(DeviceId, Method)> {
        (!ready.get(side)?).then_some((*self.devices.get(side)?, *plan.methods.get(side)?))
    }

    fn start(
        &mut self,
        id: AttemptId,
        ends: [End; 2],
        plan: Plan,
        memory: &mut Memory,
        now: Instant,
    ) -> Answer {
        memory.begins(networks_of(&ends), plan.kind, now);
        if let Some((block, ports)) = opening(&ends, &plan) {
            memory.openings.open(block, ports, now);
        }
        let longest = ends[0].one_way.max(ends[1].one_way);
        // The signal itself needs one way, so the end that hears it sooner waits longer.
        let starts =
            [0, 1].map(|side: usize| now + (longest.saturating_sub(ends[side].one_way) + plan.late[side]));
        let signals = [0, 1]
            .map(|side: usize| (self.devices[side], go(id, self.devices, &ends, &plan, &starts, side, now)));
        self.state = State::Started { ends, plan, starts };
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

    /// One end has, or lacks, a direct path; says whether that tells something about the plan.
    ///
    /// One that has it is enough: the other's word comes from before, or from after it was lost again.
    pub(super) fn settle(&mut self, is_direct: bool) -> bool {
        let is_news = is_direct || !self.is_direct;
        self.is_direct |= is_direct;
        is_news
    }
}

/// The plan, or what is left of it where earlier ones hold ports that it would take.
fn affordable(ends: &[End; 2], plan: Plan, openings: &Openings, now: Instant) -> Plan {
    let is_within = |plan: &Plan, part| {
        opening(ends, plan).is_none_or(|(block, ports)| openings.may_open(block, ports, part, now))
    };
    if is_within(&plan, openings::QUICK) {
        return plan;
    }
    let thrifty = plan.thrifty(ends);
    if is_within(&thrifty, openings::THRIFTY) { thrifty } else { Plan::RELAY }
}

/// What a plan takes from a customer of a carrier: whose ports, and how many.
fn opening(ends: &[End; 2], plan: &Plan) -> Option<(Block, u16)> {
    let (side, ports) = plan.opens()?;
    let end = ends.get(side)?;
    Some((Block::of(end.network, &end.card)?, ports))
}

/// The public addresses of both ends, as HANDSHAKE or STUN saw them.
fn networks_of(ends: &[End; 2]) -> Networks {
    Networks::new(ends[0].network, ends[1].network)
}

fn go(
    attempt: AttemptId,
    devices: [DeviceId; 2],
    ends: &[End; 2],
    plan: &Plan,
    starts: &[Instant; 2],
    side: usize,
    now: Instant,
) -> Go {
    let (start, method, peer) = if side == 0 {
        (starts[0], plan.methods[0], &ends[1])
    } else {
        (starts[1], plan.methods[1], &ends[0])
    };
    let wait = start.saturating_since(now).as_millis();
    Go {
        attempt,
        method,
        candidates: peer.candidates.clone(),
        card: peer.card,
        start_after_ms: u16::try_from(wait).unwrap_or(u16::MAX),
        relay: meeting::choose(devices, ends),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use lanyard_wire::nat::PortPolicy;

    use super::super::fixture::{BLOCK, COUNTS, candidate, devices, easy, end, hard, id, offer, strict};
    use super::*;

    #[test]
    fn both_ends_are_told_to_start_at_the_same_moment() {
        let now = Instant::from_secs(1);
        let mut attempt = Attempt::begin(devices(), 1, end(easy(), 30));
        let Answer::Start([(first, first_go), (second, second_go)]) =
            attempt.offer(id(), 0, end(easy(), 110), &mut Memory::default(), now)
        else {
            panic!("both offers are in")
        };
        assert_eq!([first, second], devices());
        // Signal and wait together: 55 + 0 = 15 + 40.
        assert_eq!(first_go.start_after_ms, 0);
        assert_eq!(second_go.start_after_ms, 40);
    }

    #[test]
    fn a_repeated_offer_gets_the_signal_again_with_what_is_left_of_the_wait() {
        let now = Instant::from_secs(1);
        let mut attempt = Attempt::begin(devices(), 0, end(easy(), 200));
        assert_eq!(attempt.offer(id(), 0, end(easy(), 200), &mut Memory::default(), now), Answer::Wait);
        assert!(matches!(
            attempt.offer(id(), 1, end(easy(), 0), &mut Memory::default(), now),
            Answer::Start(_)
        ));
        let later = now + Duration::from_millis(70);
        let Answer::Repeat(go) = attempt.offer(id(), 1, end(easy(), 0), &mut Memory::default(), later) else {
            panic!("started")
        };
        assert_eq!(go.start_after_ms, 30);
        let Answer::Repeat(go) =
            attempt.offer(id(), 1, end(easy(), 0), &mut Memory::default(), now + Duration::from_secs(5))
        else {
            panic!("started")
        };
        assert_eq!(go.start_after_ms, 0);
    }

    #[test]
    fn each_end_gets_the_candidates_and_the_card_of_the_other() {
        let mut attempt = Attempt::begin(devices(), 0, end_at(easy(), [192, 0, 2, 1]));
        let Answer::Start([(_, first), (_, second)]) = attempt.offer(
            id(),
            1,
            end_at(hard(PortPolicy::Random), [192, 0, 2, 2]),
            &mut Memory::default(),
            Instant::ZERO,
        ) else {
            panic!("both offers are in")
        };
        assert_eq!(first.candidates[0].addr, ([192, 0, 2, 2], 4_000).into());
        assert_eq!(first.card, hard(PortPolicy::Random));
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
    fn a_card_from_before_the_end_moved_is_passed_on_with_the_address_of_now() {
        let seen = |port| SocketAddrV4::new([198, 51, 100, 1].into(), port);
        let card_of = |card: NatCard, observed: SocketAddrV4| {
            End::of(offer(card), observed.into(), Duration::ZERO).card.reflexive4
        };
        let old =
            |card| NatCard { reflexive4: Some(SocketAddrV4::new([192, 0, 2, 9].into(), 4_000)), ..card };
        assert_eq!(card_of(old(strict()), seen(9_000)), Some(seen(9_000)));
        assert_eq!(card_of(old(hard(PortPolicy::Random)), seen(9_000)), Some(seen(9_000)));
        let here = |card| NatCard { reflexive4: Some(seen(4_000)), ..card };
        assert_eq!(card_of(here(strict()), seen(9_000)), Some(seen(9_000)), "the router gave another port");
        assert_eq!(
            card_of(here(hard(PortPolicy::Random)), seen(9_000)),
            Some(seen(4_000)),
            "as it always does"
        );
    }

    #[test]
    fn a_door_is_no_candidate_whoever_names_it() {
        let door = lanyard_wire::door::addr(1, 2);
        let candidates = vec![Candidate { kind: CandidateKind::Host, addr: door }];
        let offer = Offer { candidates, ..offer(easy()) };
        assert_eq!(End::of(offer, door, Duration::ZERO).candidates, []);
    }

    #[test]
    fn ends_that_count_are_told_to_look_again_and_start_with_what_they_saw() {
        let now = Instant::from_secs(1);
        let mut memory = Memory::default();
        let mut attempt = Attempt::begin(devices(), 0, end(hard(COUNTS), 0));
        let answer = attempt.offer(id(), 1, end(strict(), 0), &mut memory, now);
        let open = Method::Open { sockets: 4 };
        assert_eq!(answer, Answer::Prepare(vec![(devices()[0], open)]));
        assert_eq!(attempt.offer(id(), 1, end(strict(), 0), &mut memory, now), Answer::Wait);
        let again = attempt.offer(id(), 0, end(hard(COUNTS), 0), &mut memory, now);
        assert_eq!(again, Answer::Prepare(vec![(devices()[0], open)]), "the word was lost");

        let predicted = candidate(CandidateKind::Predicted, "192.0.2.9:4000");
        let prepared = Offer { candidates: vec![predicted], is_prepared: true, ..offer(hard(COUNTS)) };
        let prepared = End::of(prepared, ([192, 0, 2, 9], 1).into(), Duration::ZERO);
        let Answer::Start([(_, first), (_, second)]) = attempt.offer(id(), 0, prepared, &mut memory, now)
        else {
            panic!("both are ready")
        };
        assert_eq!((first.method, second.method), (open, Method::Guess { ports: 16 }));
        assert_eq!(second.candidates, [predicted]);
    }

    #[test]
    fn the_guesser_starts_later_than_the_one_who_opens() {
        let mut attempt = Attempt::begin(devices(), 1, end(hard(PortPolicy::Random), 0));
        let Answer::Start([(_, first), (_, second)]) =
            attempt.offer(id(), 0, end(strict(), 0), &mut Memory::default(), Instant::ZERO)
        else {
            panic!("nothing is to be prepared")
        };
        assert_eq!((first.start_after_ms, second.start_after_ms), (150, 0));
        assert_eq!(
            (first.method, second.method),
            (Method::Guess { ports: 1_200 }, Method::Open { sockets: 256 })
        );
    }

    #[test]
    fn guesses_in_one_block_are_quick_ones_then_thrifty_ones_and_then_have_to_wait() {
        let mut memory = Memory::default();
        let mut sockets_at = |second: u64, peer: u8| {
            let now = Instant::from_secs(second);
            let mut attempt = Attempt::begin(devices(), 0, end_at(hard(BLOCK), [192, 0, 2, 1]));
            let peer = end_at(strict(), [198, 51, 100, peer]);
            let Answer::Start([(_, go), _]) = attempt.offer(id(), 1, peer, &mut memory, now) else {
                panic!("nothing is to be prepared")
            };
            if let Method::Open { sockets } = go.method { sockets } else { 0 }
        };
        let sockets: Vec<u16> = (0..12).map(|peer| sockets_at(peer.into(), peer)).collect();
        assert_eq!(sockets, [64, 64, 16, 16, 16, 16, 16, 16, 16, 16, 0, 0]);
        assert_eq!(sockets_at(299, 10), 0);
        assert_eq!(sockets_at(301, 10), 16, "what was put off comes later");
        assert_eq!(sockets_at(700, 11), 64);
    }

    #[test]
    fn a_network_is_known_by_the_address_we_saw_and_not_by_one_that_is_claimed() {
        let claim = NatCard { reflexive4: Some("203.0.113.9:1".parse().unwrap()), ..easy() };
        let mut attempt = Attempt::begin(devices(), 0, end_at(claim, [192, 0, 2, 1]));
        let now = Instant::ZERO;
        attempt.offer(id(), 1, end_at(easy(), [192, 0, 2, 2]), &mut Memory::default(), now);
        let seen = Networks::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        assert_eq!(attempt.started(), Some((Kind::Plain, seen)));
    }

    #[test]
    fn one_end_with_a_direct_path_outweighs_the_others_word() {
        let mut attempt = Attempt::begin(devices(), 0, end(easy(), 0));
        assert!(attempt.settle(false));
        assert!(attempt.settle(true));
        assert!(!attempt.settle(false));
    }

    #[test]
    fn an_end_that_reports_without_end_is_not_listened_to() {
        let mut attempt = Attempt::begin(devices(), 0, end(easy(), 0));
        let heard = (0..100).filter(|_| attempt.report(0)).count();
        assert_eq!(heard, usize::from(Attempt::REPORTS_MAX));
        assert!(attempt.report(1));
    }

    fn end_at(card: NatCard, ip: [u8; 4]) -> End {
        let offer = Offer { candidates: vec![], ..offer(card) };
        End::of(offer, (ip, 4_000).into(), Duration::ZERO)
    }
}
