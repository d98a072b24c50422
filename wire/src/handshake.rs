//! Messages with HANDSHAKE, which lets two devices start punching at the same moment.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::candidate::Candidate;
use crate::codec::lists::List;
use crate::codec::messages::{wire_fields, wire_variants};
use crate::ids::{AttemptId, RelayTag};
use crate::limits::{CANDIDATES_MAX, RELAYS_MAX};
use crate::nat::NatCard;
use crate::token::Token;

/// From a device to HANDSHAKE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToHandshake {
    /// Here is where I may be reached; repeated until Go or Rejected.
    Offer(Offer),
    /// How the attempt ended for me; sent once.
    Report(Report),
}

wire_variants!(ToHandshake "handshake message" {
    0x20 => Offer(offer),
    0x21 => Report(report),
});

/// From HANDSHAKE to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromHandshake {
    /// Both offers are in: start.
    Go(Go),
    /// Both offers are in, and the plan needs a look at your NAT as it is now: look, and offer again.
    Prepare {
        /// The attempt of the Offer.
        attempt: AttemptId,
        /// The plan, of which the new Offer is to bring the beginning.
        method: Method,
    },
    /// The peer's offer is not in yet: ask again.
    Wait {
        /// The attempt of the Offer.
        attempt: AttemptId,
        /// When to repeat the Offer, in milliseconds.
        ms: u16,
    },
    /// The Offer was not taken; do not repeat it.
    Rejected {
        /// The attempt of the Offer.
        attempt: AttemptId,
        /// Why.
        why: OfferRefusal,
    },
}

wire_variants!(FromHandshake "handshake message" {
    0xA0 => Go(go),
    0xA1 => Wait { attempt, ms },
    0xA2 => Rejected { attempt, why },
    0xA3 => Prepare { attempt, method },
});

/// One end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The attempt the checkpoint named.
    pub attempt: AttemptId,
    /// The checkpoint's word that the two may meet.
    pub ticket: Token,
    /// Where the device may be reached, at most [`CANDIDATES_MAX`].
    pub candidates: Vec<Candidate>,
    /// What it knows about its NAT.
    pub card: NatCard,
    /// Made after a Prepare, with what that asked for; or as far as it could be had.
    pub is_prepared: bool,
    /// The relays that answer it, at most [`RELAYS_MAX`]; first the one where it meets the peer until now.
    pub relays: Vec<RelayDistance>,
}

wire_fields!(Offer {
    attempt,
    ticket,
    candidates as List(CANDIDATES_MAX, "candidate count"),
    card,
    is_prepared,
    relays as List(RELAYS_MAX, "relay count"),
});

/// How far a relay is from a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayDistance {
    /// The relay.
    pub relay: RelayTag,
    /// The round trip to it in milliseconds; 65,535 for that and more.
    pub rtt_ms: u16,
}

wire_fields!(RelayDistance { relay, rtt_ms });

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its end, as seen by the sender.
    pub verdict: Verdict,
}

wire_fields!(Report { attempt, verdict });

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A direct path was proven.
    Direct {
        /// The peer's address on it; unspecified where it is a TCP connection.
        remote: SocketAddr,
        /// Its round trip in microseconds.
        rtt_us: u32,
    },
    /// No direct path; the relay carries the pair.
    Relayed,
    /// Neither a direct path nor a relay.
    None,
}

wire_variants!(Verdict "verdict" {
    0x01 => Direct { remote, rtt_us },
    0x02 => Relayed,
    0x03 => None,
});

/// The start signal, one to each end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Go {
    /// The attempt.
    pub attempt: AttemptId,
    /// What to do.
    pub method: Method,
    /// The peer's candidates.
    pub candidates: Vec<Candidate>,
    /// The peer's NAT.
    pub card: NatCard,
    /// Time from receiving this to the first probe, in milliseconds: differs between the ends, so that both start
    /// at the same moment.
    pub start_after_ms: u16,
    /// The relay where both are to meet from now on; none where they have no measured one in common.
    pub relay: Option<RelayTag>,
}

wire_fields!(Go {
    attempt,
    method,
    candidates as List(CANDIDATES_MAX, "candidate count"),
    card,
    start_after_ms,
    relay,
});

/// The plan of an attempt, as one end of it. The two ends may have different parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Probe every candidate.
    Plain,
    /// A direct path is not to be expected; probe host candidates, and stay on the relay.
    Relay,
    /// Probe every candidate from a fresh socket, whose mapping nothing has disturbed yet.
    ///
    /// To be prepared: the offer brings what STUN shows of that socket.
    Fresh,
    /// The NAT here gives every destination another port: open mappings towards the peer's address from so many
    /// fresh sockets, at most [`OPEN_SOCKETS_MAX`](crate::limits::OPEN_SOCKETS_MAX), among which the peer guesses.
    ///
    /// To be prepared where ports are sequential: the offer brings the port that the NAT gave last, as a
    /// predicted candidate.
    Open {
        /// How many sockets.
        sockets: u16,
    },
    /// The peer's NAT gives every destination another port: probe so many ports of its address, at most
    /// [`GUESS_PORTS_MAX`](crate::limits::GUESS_PORTS_MAX), in the order that its card's port policy suggests.
    Guess {
        /// How many ports.
        ports: u16,
    },
    /// Both NATs count: from so many fresh sockets, at most [`OPEN_SOCKETS_MAX`](crate::limits::OPEN_SOCKETS_MAX), probe one port that lies ahead of the
    /// peer's last.
    ///
    /// To be prepared by both ends, as for `Open`.
    Predict {
        /// How many sockets.
        sockets: u16,
    },
    /// UDP does not get out here: open a TCP connection to a public address of the peer (RFC 6544, an active candidate),
    /// and probe every candidate besides.
    Connect,
    /// The peer's UDP does not get out: take TCP connections at the main socket's port for a while (RFC 6544, a
    /// passive candidate), and probe every candidate besides.
    Accept,
}

wire_variants!(Method "method" {
    0x01 => Plain,
    0x02 => Relay,
    0x03 => Fresh,
    0x04 => Open { sockets },
    0x05 => Guess { ports },
    0x06 => Predict { sockets },
    0x07 => Connect,
    0x08 => Accept,
});

/// Why an Offer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OfferRefusal {
    /// The ticket's time is over; begin again at the checkpoint.
    Expired,
    /// The ticket is not for this device and attempt, or not of this fleet.
    Forged,
    /// The service holds as many attempts as it can.
    Full,
    /// Too many offers from this device.
    RateLimited,
}

wire_variants!(OfferRefusal "offer refusal" {
    0x01 => Expired,
    0x02 => Forged,
    0x03 => Full,
    0x04 => RateLimited,
});
