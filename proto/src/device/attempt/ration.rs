//! How many dear guesses a peer may have of us.

use core::time::Duration;

use crate::time::Instant;

/// Guesses of hundreds of packets that one peer may have at once.
///
/// HANDSHAKE rations them as well, but goes by addresses that the other end names. This end pays for them, and it must
/// not be for a member to say how often we knock at a thousand ports of somebody.
pub(super) const GUESSES: u32 = 6;

/// One more is allowed each time this passes.
const GUESS_EVERY: Duration = Duration::from_secs(600);

/// A token bucket, kept as the moment at which it will be full again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ration {
    full_at: Option<Instant>,
}

impl Ration {
    pub(super) const fn full() -> Self {
        Self { full_at: None }
    }

    /// Takes one guess out of the ration; `false` when none is left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + GUESS_EVERY;
        let may = full_at.saturating_since(now) <= GUESS_EVERY * GUESSES;
        if may {
            self.full_at = Some(full_at);
        }
        may
    }
}
