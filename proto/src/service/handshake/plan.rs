//! What each end is to do, by the two NAT cards and by what is remembered of the two networks.
//!
//! An end whose mapping depends on the destination shows the other a port that nobody can name beforehand. That
//! is fine as long as the other's filter lets such a stranger in. Against a filter by address and port the port
//! has to be guessed, which is cheap where ports follow a pattern, dear where they do not, and hopeless where
//! both ends choose at random.
//!
//! What is not known is taken for the better case: a punch costs little, a missed path costs for long. A filter
//! alone counts as strict until it is known: against a lenient one the first probe is the hit. Terms: RFC 4787;
//! figures: docs/design/traversal.md.

use core::time::Duration;

use lanyard_wire::handshake::Method;
use lanyard_wire::limits::{GUESS_PORTS_MAX, OPEN_SOCKETS_MAX};
use lanyard_wire::nat::{Filtering, Mapping, NatCard, PortPolicy};

use super::attempt::End;
use super::memory::Past;

/// The guesser starts so much later than the one who opens.
///
/// A guess that comes before its mapping is lost. In the lab 50 of 50 random pairs met with this head start,
/// 37 of 40 without.
const HEAD_START: Duration = Duration::from_millis(150);

/// In a second round from fresh ports, an end whose port the other cannot name starts so much later.
///
/// The other's filter must be open by then. Its router may take a packet that comes before for its own, and gives what leaves for
/// there another port afterwards, which the first end's filter drops. Starts are as even as the ways to the coordinator were measured,
/// and after losses they may not have been: one that was timed by a repetition made it 182 ms (simulator, seed 0x200014069).
const FILTER_HEAD_START: Duration = Duration::from_millis(300);

/// Sockets where ports are counted: the first one counts, the others are for packets lost.
const SEQUENTIAL_SOCKETS: u16 = 4;

/// Ports tried ahead of the last one: other hosts may take a few between the sample and the start.
const SEQUENTIAL_PORTS: u16 = 16;

/// The same after that was not enough.
const SEQUENTIAL_PORTS_MORE: u16 = 48;

/// Sockets of each end where both count: as far ahead as they aim, and a few more for those taken by others.
const PREDICT_SOCKETS: u16 = 25;

/// One port in so many of a carrier's block is opened. More would use up what the customer has, fewer are found later:
/// of one in 16, half of all pairs find one by the 11th guess and 95 in 100 by the 47th.
const BLOCK_SHARE: u16 = 16;

/// Sockets in the smallest block and in the largest ones; these many are open before the guesses begin.
const BLOCK_SOCKETS: (u16, u16) = (16, 128);

/// Ports tried in a block of up to [`SMALL_BLOCK`] ports: all but 6 in 100,000 pairs meet.
const SMALL_BLOCK_PORTS: u16 = 300;

/// The largest block that counts as small.
const SMALL_BLOCK: u16 = 4_096;

/// Ports tried in a larger one: of 16,384, all but 9 in 100,000 pairs meet.
const BLOCK_PORTS: u16 = 1_150;

/// The same share where ports are scarce, for [`BLOCK_PORTS`] guesses: with that many all but 9 in 100,000 pairs meet.
const THRIFTY_SHARE: u16 = 128;

/// What two ends are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// In one word for both, as it is remembered.
    pub(super) kind: Kind,
    /// The part of each end.
    pub(super) methods: [Method; 2],
    /// Which ends have to look at their NAT once more.
    pub(super) prepares: [bool; 2],
    /// How much later than the other each starts.
    pub(super) late: [Duration; 2],
}

/// The kind of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Probe the candidates.
    Plain,
    /// The same from fresh sockets.
    Fresh,
    /// Probe ports ahead of the last one of an end that counts.
    Sequential,
    /// Guess in a block.
    Block,
    /// Guess among all ports.
    Random,
    /// Both ends count.
    Predict,
    /// UDP does not get out at one end, and the other can be reached by TCP.
    Tcp,
    /// Nothing is to be expected.
    Relay,
}

impl Kind {
    /// Whether it costs enough to be kept from repeating: hundreds of packets and mappings.
    pub(super) const fn is_dear(self) -> bool {
        matches!(self, Self::Block | Self::Random)
    }
}

impl Plan {
    const fn even(kind: Kind, method: Method) -> Self {
        Self { kind, methods: [method; 2], prepares: [false; 2], late: [Duration::ZERO; 2] }
    }

    /// Nothing but plain probes, of which nothing is expected.
    pub(super) const RELAY: Self = Self::even(Kind::Relay, Method::Relay);

    /// The same guess in a block with as few ports opened as it takes, and more guesses: it is as good, and slower.
    pub(super) fn thrifty(self, ends: &[End; 2]) -> Self {
        let Some((side, sockets)) = self.opens() else { return self };
        let fewer = block_sockets(&ends[side].card, THRIFTY_SHARE).min(sockets);
        Self::guess(self.kind, side, fewer, BLOCK_PORTS)
    }

    /// Which end opens ports of a block, and how many.
    pub(super) fn opens(&self) -> Option<(usize, u16)> {
        if self.kind != Kind::Block {
            return None;
        }
        self.methods.iter().enumerate().find_map(|(side, method)| match *method {
            Method::Open { sockets } => Some((side, sockets)),
            Method::Plain
            | Method::Relay
            | Method::Fresh
            | Method::Guess { .. }
            | Method::Predict { .. }
            | Method::Connect
            | Method::Accept => None,
        })
    }

    /// A plan in which the end on `hard` opens and the other one guesses.
    fn guess(kind: Kind, hard: usize, sockets: u16, ports: u16) -> Self {
        let (open, guess) = (Method::Open { sockets }, Method::Guess { ports });
        let (methods, late) = if hard == 0 {
            ([open, guess], [Duration::ZERO, HEAD_START])
        } else {
            ([guess, open], [HEAD_START, Duration::ZERO])
        };
        if kind == Kind::Sequential {
            // The guesser repeats its few ports, so nothing is lost; waiting would let others take ports.
            return Self { kind, methods, prepares: [hard == 0, hard != 0], late: [Duration::ZERO; 2] };
        }
        Self { kind, methods, prepares: [false; 2], late }
    }
}

/// The plan for two ends, given what happened between their networks before.
pub(super) fn choose(ends: &[End; 2], past: &Past) -> Plan {
    let kind = kind(ends);
    let hard = usize::from(!is_hard(&ends[0].card));
    match kind {
        // Fresh sockets have fresh mappings, and no other way: what is open by IPv6 or a mapped port leads to the main socket.
        Kind::Plain | Kind::Fresh if past.prefers_fresh() && by_mappings(ends) == Kind::Plain => {
            let late = behind_the_filter(ends);
            Plan { prepares: [true; 2], late, ..Plan::even(Kind::Fresh, Method::Fresh) }
        }
        Kind::Plain | Kind::Fresh => Plan::even(Kind::Plain, Method::Plain),
        _ if past.forbids(kind) => Plan::RELAY,
        Kind::Sequential => {
            let ports = if past.has_failed(kind) { SEQUENTIAL_PORTS_MORE } else { SEQUENTIAL_PORTS };
            Plan::guess(kind, hard, SEQUENTIAL_SOCKETS, ports)
        }
        Kind::Block => {
            let card = &ends[hard].card;
            let ports = if block_size(card) <= SMALL_BLOCK { SMALL_BLOCK_PORTS } else { BLOCK_PORTS };
            Plan::guess(kind, hard, block_sockets(card, BLOCK_SHARE), ports)
        }
        Kind::Random => Plan::guess(kind, hard, OPEN_SOCKETS_MAX, GUESS_PORTS_MAX),
        Kind::Predict => {
            let method = Method::Predict { sockets: PREDICT_SOCKETS };
            Plan { prepares: [true; 2], ..Plan::even(kind, method) }
        }
        Kind::Tcp => {
            let mut methods = [Method::Accept; 2];
            if let Some(blocked) = ends.iter().position(|end| !end.card.udp) {
                methods[blocked] = Method::Connect;
            }
            Plan { methods, ..Plan::even(Kind::Tcp, Method::Accept) }
        }
        Kind::Relay => Plan::RELAY,
    }
}

/// How much later each end starts, so that the other's filter knows its address.
fn behind_the_filter([a, b]: &[End; 2]) -> [Duration; 2] {
    let late = |one: &End, other: &End| {
        if is_hard(&one.card) && !is_hard(&other.card) { FILTER_HEAD_START } else { Duration::ZERO }
    };
    [late(a, b), late(b, a)]
}

/// What the cards alone suggest.
fn kind(ends: &[End; 2]) -> Kind {
    let [a, b] = ends;
    if (!a.card.udp && is_public(&b.card)) || (!b.card.udp && is_public(&a.card)) {
        return Kind::Tcp;
    }
    let is_open_way = (a.has_ipv6() && b.has_ipv6())
        || a.has_mapped_port()
        || b.has_mapped_port()
        || behind_the_same_address(&a.card, &b.card);
    if is_open_way { Kind::Plain } else { by_mappings(ends) }
}

/// What the mappings and filters of both suggest, all other ways left aside.
fn by_mappings([a, b]: &[End; 2]) -> Kind {
    match (is_hard(&a.card), is_hard(&b.card)) {
        (false, false) => Kind::Plain,
        (true, true) if counts(&a.card) && counts(&b.card) => Kind::Predict,
        (true, true) => Kind::Relay,
        (true, false) => against(&a.card, &b.card),
        (false, true) => against(&b.card, &a.card),
    }
}

/// One end whose mapping depends on the destination, one whose does not.
fn against(hard: &NatCard, easy: &NatCard) -> Kind {
    // What is not known yet may well be strict; if it is not, the first mapping opened is the hit.
    if easy.mapping.is_none()
        || matches!(easy.filtering, Some(Filtering::EndpointIndependent | Filtering::AddressDependent))
    {
        return Kind::Plain;
    }
    match hard.ports {
        // It keeps the port although its mapping varies: a probe to the port we know may well meet it.
        Some(PortPolicy::Preserved) => Kind::Plain,
        Some(PortPolicy::Sequential { .. }) => Kind::Sequential,
        Some(PortPolicy::Block { .. }) => Kind::Block,
        Some(PortPolicy::Random) | None => Kind::Random,
    }
}

const fn is_hard(card: &NatCard) -> bool {
    matches!(card.mapping, Some(Mapping::AddressDependent | Mapping::AddressAndPortDependent))
}

/// No router in the way, and no filter as far as UDP shows: TCP gets in as well unless something filters that alone.
const fn is_public(card: &NatCard) -> bool {
    card.udp
        && matches!(card.mapping, Some(Mapping::None))
        && matches!(card.filtering, Some(Filtering::EndpointIndependent))
}

const fn counts(card: &NatCard) -> bool {
    matches!(card.ports, Some(PortPolicy::Sequential { .. }))
}

/// Sockets to open for one port in so many of a block.
fn block_sockets(card: &NatCard, share: u16) -> u16 {
    (block_size(card) / share).clamp(BLOCK_SOCKETS.0, BLOCK_SOCKETS.1)
}

fn block_size(card: &NatCard) -> u16 {
    match card.ports {
        Some(PortPolicy::Block { low, high }) => high.saturating_sub(low).saturating_add(1),
        Some(PortPolicy::Preserved | PortPolicy::Sequential { .. } | PortPolicy::Random) | None => u16::MAX,
    }
}

fn behind_the_same_address(a: &NatCard, b: &NatCard) -> bool {
    match (a.reflexive4, b.reflexive4) {
        (Some(a), Some(b)) => a.ip() == b.ip(),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests;
