//! What can be told about the tries to reach a peer.

use alloc::vec::Vec;

use lanyard_wire::handshake::Method;
use lanyard_wire::nat::NatCard;

use super::{Attempt, State};
use crate::device::status::{Advice, CandidateStatus};
use crate::time::Instant;

impl Attempt {
    /// The state in one word.
    pub(in crate::device) const fn state(&self) -> &'static str {
        match self.state {
            State::Idle => "idle",
            State::Asking { .. } => "asking",
            State::Offered { .. } => "offered",
            State::Punching { .. } => "punching",
            State::Direct => "direct",
            State::Relayed { .. } => "relayed",
        }
    }

    /// Probes are being sent, or their answers waited for.
    pub(in crate::device) const fn is_punching(&self) -> bool {
        matches!(self.state, State::Punching { .. })
    }

    /// Guesses sent by the last punch that guessed.
    pub(in crate::device) fn guesses(&self) -> u32 {
        match &self.state {
            State::Punching { guess: Some(guess), .. } => guess.sent(),
            State::Punching { guess: None, .. }
            | State::Idle
            | State::Asking { .. }
            | State::Offered { .. }
            | State::Direct
            | State::Relayed { .. } => self.guessed,
        }
    }

    /// Something is under way.
    pub(in crate::device) const fn is_running(&self) -> bool {
        matches!(self.state, State::Asking { .. } | State::Offered { .. } | State::Punching { .. })
    }

    /// The plan that HANDSHAKE chose last.
    pub(in crate::device) const fn method(&self) -> Option<Method> {
        self.method
    }

    /// The NAT of the other end, as HANDSHAKE told it last.
    pub(in crate::device) const fn their_card(&self) -> Option<NatCard> {
        self.their_card
    }

    /// Why the last try failed.
    pub(in crate::device) const fn failure(&self) -> Option<Advice> {
        self.failure
    }

    /// When the last try began.
    pub(in crate::device) const fn began_at(&self) -> Option<Instant> {
        self.retry.began_at()
    }

    /// When the next one will.
    pub(in crate::device) const fn next_at(&self) -> Option<Instant> {
        match self.state {
            State::Relayed { retry_at } => Some(retry_at),
            State::Idle
            | State::Asking { .. }
            | State::Offered { .. }
            | State::Punching { .. }
            | State::Direct => None,
        }
    }

    /// What came of each candidate of the last punch.
    pub(in crate::device) fn tried(&self) -> Vec<CandidateStatus> {
        match &self.state {
            State::Punching { punch, .. } => punch.tried(),
            State::Idle
            | State::Asking { .. }
            | State::Offered { .. }
            | State::Direct
            | State::Relayed { .. } => self.tried.clone(),
        }
    }
}
