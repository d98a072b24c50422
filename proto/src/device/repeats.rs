//! When the datagram that was sent last is to be sent again.
//!
//! A path that dies takes with it what is under way, and TCP repeats that only when its patience ends, which gets longer
//! each time. The last datagram is what counts: it tells the other end what is missing, or is TCP's own repetition of it. It
//! goes out once more when the path is left for another, when our network changed, and when a peer that did not answer is
//! heard again, whose network it may have been. It does no harm where it was not lost: it is the same datagram, and
//! WireGuard takes none twice.
//!
//! Only a flow gains by it. A packet now and then is repeated soon enough, and by relay it would look to the other end as if
//! the path were left for good.

use core::time::Duration;

use super::flow::THICK;
use crate::time::Instant;

/// What was sent that long ago is no flow any more: longer than TCP waits before it repeats for the third time.
const FLOWS_FOR: Duration = Duration::from_secs(2);

/// Counts the repetitions for one peer, and remembers a reason for the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Repeats {
    count: u32,
    is_missed: bool,
    flows_until: Option<Instant>,
}

impl Repeats {
    /// How often so far; a data plane repeats when it sees another number than before.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// So many datagrams were sent.
    pub(super) fn sent(&mut self, packets: u32, now: Instant) {
        if packets >= THICK {
            self.flows_until = Some(now + FLOWS_FOR);
        }
    }

    /// What was sent last may be lost, and there may be a way now; says whether it goes out again.
    pub(super) fn again(&mut self, now: Instant) -> bool {
        let flows = self.flows_until.is_some_and(|until| now <= until);
        self.count = self.count.wrapping_add(u32::from(flows));
        flows
    }

    /// The peer does not answer.
    pub(super) const fn missed(&mut self) {
        self.is_missed = true;
    }

    /// The peer was heard; says whether that ended a silence, and what was sent last goes out again.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        core::mem::take(&mut self.is_missed) && self.again(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_silence_repeats_once() {
        let mut repeats = Repeats::default();
        repeats.sent(THICK, at(0));
        assert!(!repeats.heard(at(10)));
        repeats.missed();
        repeats.missed();
        assert!(repeats.heard(at(20)));
        assert!(!repeats.heard(at(30)));
        assert_eq!(repeats.count(), 1);
    }

    #[test]
    fn what_is_sent_now_and_then_is_not_repeated_and_neither_is_a_flow_of_long_ago() {
        let mut repeats = Repeats::default();
        repeats.sent(THICK - 1, at(0));
        assert!(!repeats.again(at(0)));
        repeats.sent(THICK, at(100));
        assert!(repeats.again(at(2_100)));
        assert!(!repeats.again(at(2_101)));
        assert_eq!(repeats.count(), 1);
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
