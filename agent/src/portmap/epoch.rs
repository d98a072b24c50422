//! Whether the router restarted, by the time it says it has been up (RFC 6887, section 8.5).

use lanyard_proto::time::Instant;

/// What the router's clock said, and when that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Seconds since the router lost its mappings the last time.
    pub(super) seconds: u32,
    /// When it said so.
    pub(super) heard_at: Instant,
}

impl Epoch {
    /// Whether `later` tells of a restart since `self`.
    ///
    /// The router's clock may be off by a sixteenth and by two seconds, as the RFC has it; more, in either
    /// direction, and mappings were lost in between. A router that had just started when we heard it first can
    /// only be caught by the moment it names.
    pub(super) fn is_broken_by(self, later: Self) -> bool {
        let up = later.heard_at.saturating_since(Instant::from_secs(later.seconds.into()));
        if Instant::ZERO + up > self.heard_at {
            return true;
        }
        let ours = later.heard_at.saturating_since(self.heard_at).as_secs();
        let (before, after) = (u64::from(self.seconds), u64::from(later.seconds));
        if after + 1 < before {
            return true;
        }
        let theirs = after.saturating_sub(before);
        ours + 2 < theirs - theirs / 16 || theirs + 2 < ours - ours / 16
    }

    /// The same of an announcement, which is mostly made because of a restart, and believed where the router's whole seconds leave it open:
    /// one that restarts within a second of giving us a port counts that second, too. At worst each of its few repetitions makes us renew.
    pub(super) fn may_be_broken_by(self, announced: Self) -> bool {
        let rounded = Self { seconds: announced.seconds.saturating_sub(1), ..announced };
        self.is_broken_by(announced) || self.is_broken_by(rounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_or_stands_still_tells_of_a_restart() {
        let young = epoch(10_000, 1);
        assert!(young.is_broken_by(epoch(10_002, 0)), "it had just started then, too");

        let first = epoch(10_000, 500);
        assert!(!first.is_broken_by(epoch(10_000, 500)));
        assert!(!first.is_broken_by(epoch(10_060, 560)));
        assert!(!first.is_broken_by(epoch(10_060, 557)), "a clock that is 5 % slow");
        assert!(!first.is_broken_by(epoch(10_001, 499)), "rounding");
        assert!(first.is_broken_by(epoch(10_060, 3)), "back to the start");
        assert!(first.is_broken_by(epoch(10_600, 620)), "a restart ten minutes ago, as long up as before");
        assert!(first.is_broken_by(epoch(10_060, 700)), "another router at the same address");
        assert!(first.is_broken_by(epoch(10_060, u32::MAX)));
    }

    #[test]
    fn a_restart_within_a_second_is_believed_of_an_announcement() {
        let heard = |millis, seconds| Epoch { seconds, heard_at: Instant::from_millis(millis) };
        // Started at 44.95 s, and counts from 44.
        let (lease, announced) = (heard(44_400, 9), heard(45_020, 1));
        assert!(lease.may_be_broken_by(announced));
        let (young, announced) = (heard(44_400, 0), heard(45_020, 1));
        assert!(!young.is_broken_by(announced) && young.may_be_broken_by(announced));
        assert!(!heard(45_900, 1).may_be_broken_by(heard(46_100, 2)), "a later one tells nothing new");
        assert!(!heard(500_000, 400).may_be_broken_by(heard(510_000, 410)));
    }

    fn epoch(heard_s: u64, seconds: u32) -> Epoch {
        Epoch { seconds, heard_at: Instant::from_secs(heard_s) }
    }
}
