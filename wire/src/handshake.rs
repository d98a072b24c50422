//! Messages with HANDSHAKE, which lets two devices start punching at the same moment.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::candidate::Candidate;
use crate::codec::lists::List;
use crate::codec::messages::{wire_fields, wire_variants};
use crate::ids::AttemptId;
use crate::limits::CANDIDATES_MAX;
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
}

wire_fields!(Offer { attempt, ticket, candidates as List(CANDIDATES_MAX, "candidate count"), card });

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
        /// The peer's address on it.
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
}

wire_fields!(Go { attempt, method, candidates as List(CANDIDATES_MAX, "candidate count"), card, start_after_ms });

/// The plan of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Probe every candidate.
    Plain,
    /// A direct path is not to be expected; probe host candidates, and stay on the relay.
    Relay,
}

wire_variants!(Method "method" {
    0x01 => Plain,
    0x02 => Relay,
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
