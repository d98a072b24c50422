//! What is known of one way to the peer.

use core::net::SocketAddr;
use core::time::Duration;

use super::size::Growth;
use crate::device::candidates::Rank;
use crate::device::punch::Size;
use crate::time::Instant;
use crate::transmit::Way;

/// When pings are sent to prove a lane, after the first sign of life.
const PROOF_MS: [u64; 4] = [0, 100, 300, 700];

/// A proof without an answer by then came to nothing: the last ping and a long round trip.
pub(super) const PROOF_TIME: Duration = Duration::from_millis(1_500);

/// A better round trip must be better by a fifth and by this, or the path would flap.
const RTT_MARGIN: Duration = Duration::from_millis(10);

/// An address at which the peer was heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) rtt: Option<Duration>,
    /// A ping of any size was answered.
    pub(super) is_answered: bool,
    /// The last ping that was answered was small, and no full-size one has made this a path since. One that was a path and fell
    /// silent carries nothing of either size.
    pub(super) is_small_only: bool,
    /// A full-size ping was answered, last then.
    pub(super) proven_at: Option<Instant>,
    /// An answer or tunnel data came, last then.
    pub(super) heard_at: Option<Instant>,
    /// Where the peer saw our last ping come from.
    pub(super) seen_at: Option<SocketAddr>,
    pub(super) proof: Option<Proof>,
    pub(super) growth: Growth,
    /// How often in a row the peer left this lane, and until when it is not chosen.
    pub(super) left: u32,
    pub(super) held_until: Option<Instant>,
}

/// Pings under way that are to prove a lane: small until somebody vouches for the address, then full-size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    pub(super) size: Size,
    pub(super) started: Instant,
    pub(super) step: usize,
}

/// When the next ping of a proof is due.
pub(super) fn next_proof(proof: Proof) -> Option<Instant> {
    PROOF_MS.get(proof.step).map(|millis| proof.started + Duration::from_millis(*millis))
}

/// Whether one lane beats another by enough to move: by rank unless it is slower, else by round trip.
pub(super) fn is_better(new: (Way, Option<Duration>), old: (Way, Option<Duration>)) -> bool {
    let (new_rank, old_rank) = (Rank::of(new.0.remote), Rank::of(old.0.remote));
    let (Some(new_rtt), Some(old_rtt)) = (new.1, old.1) else { return new_rank < old_rank };
    match new_rank.cmp(&old_rank) {
        core::cmp::Ordering::Less => new_rtt <= old_rtt + (old_rtt / 5).max(RTT_MARGIN),
        core::cmp::Ordering::Equal => new_rtt + (old_rtt / 5).max(RTT_MARGIN) < old_rtt,
        core::cmp::Ordering::Greater => false,
    }
}
