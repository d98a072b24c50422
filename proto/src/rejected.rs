//! Why an input was ignored.
//!
//! Nothing a stranger sends is fatal to a machine: it gives one of these back, changes nothing, and the shell
//! counts it under the variant's name. One enum serves all machines, so a counter means the same everywhere.

use thiserror::Error;

/// The reason why a machine ignored a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[error("{}", self.as_str())]
pub enum Rejected {
    /// The bytes are no message of this protocol, or one with impossible contents.
    Malformed,
    /// A datagram that is not for this machine: another protocol, or noise.
    NotOurs,
    /// A kind of message that only the other end sends.
    WrongDirection,
    /// A kind of message that this end does not take, or a service that does not run here.
    Unsupported,
    /// A first message whose MAC1 does not fit this service's key: the sender does not know us.
    WrongMac,
    /// The sender's address was not proven yet; a cookie was sent.
    NeedsCookie,
    /// A seal, ticket or handshake that does not open.
    Unauthenticated,
    /// Seen before, or older than the window.
    Replayed,
    /// A ticket, token or timestamp past its time.
    Expired,
    /// A session index that we did not give out, or that is gone.
    UnknownSession,
    /// A relay channel that is not bound.
    UnknownChannel,
    /// The sender may not do this: no member, not a party of the attempt, the wrong address.
    NotAllowed,
    /// A device that is no peer of ours.
    UnknownPeer,
    /// The peer is refused by the user of this device.
    RefusedPeer,
    /// An answer to a question that was not asked, or was answered already.
    Unexpected,
    /// A connection attempt that is over or was never begun.
    UnknownAttempt,
    /// A revision that does not follow ours: a delta was missed and the gap is asked for.
    RevisionGap,
    /// What the answer depends on is not there yet: the roster is being loaded, or the device has not shown where it is.
    NotReady,
    /// The sender used up its share.
    RateLimited,
    /// A relay's limit that pairs share is used up, and the pair has had its fair part of it.
    OverShare,
    /// The pair's network used up its quota at the relay for today, and the trickle that is left.
    OverQuota,
    /// A bounded table is full and its rule keeps what is in it.
    Full,
    /// Longer than this message may be.
    TooLong,
}

impl Rejected {
    /// All reasons, in the order of declaration.
    pub const ALL: &'static [Self] = &[
        Self::Malformed,
        Self::NotOurs,
        Self::WrongDirection,
        Self::Unsupported,
        Self::WrongMac,
        Self::NeedsCookie,
        Self::Unauthenticated,
        Self::Replayed,
        Self::Expired,
        Self::UnknownSession,
        Self::UnknownChannel,
        Self::NotAllowed,
        Self::UnknownPeer,
        Self::RefusedPeer,
        Self::Unexpected,
        Self::UnknownAttempt,
        Self::RevisionGap,
        Self::NotReady,
        Self::RateLimited,
        Self::OverShare,
        Self::OverQuota,
        Self::Full,
        Self::TooLong,
    ];

    /// The name of its counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotOurs => "not_ours",
            Self::WrongDirection => "wrong_direction",
            Self::Unsupported => "unsupported",
            Self::WrongMac => "wrong_mac",
            Self::NeedsCookie => "needs_cookie",
            Self::Unauthenticated => "unauthenticated",
            Self::Replayed => "replayed",
            Self::Expired => "expired",
            Self::UnknownSession => "unknown_session",
            Self::UnknownChannel => "unknown_channel",
            Self::NotAllowed => "not_allowed",
            Self::UnknownPeer => "unknown_peer",
            Self::RefusedPeer => "refused_peer",
            Self::Unexpected => "unexpected",
            Self::UnknownAttempt => "unknown_attempt",
            Self::RevisionGap => "revision_gap",
            Self::NotReady => "not_ready",
            Self::RateLimited => "rate_limited",
            Self::OverShare => "over_share",
            Self::OverQuota => "over_quota",
            Self::Full => "full",
            Self::TooLong => "too_long",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_reason_has_a_counter_name_of_its_own() {
        let names: BTreeSet<_> = Rejected::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Rejected::ALL.len());
    }

    #[test]
    fn a_reason_prints_as_its_counter() {
        assert_eq!(Rejected::Replayed.to_string(), "replayed");
    }
}
