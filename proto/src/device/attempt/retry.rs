//! When to try again.

use core::time::Duration;

use crate::rng::Rng;
use crate::time::Instant;

/// Attempts begin at least so far apart, however often a path dies.
const APART: Duration = Duration::from_secs(1);

/// When to try again after a failure, in seconds; the last is repeated.
///
/// Long enough that a pair that cannot be joined costs little, short enough that one whose router was
/// restarted does not stay on the relay (`NetBird` waits an hour after three tries).
const AFTER_FAILURE_S: [u64; 4] = [30, 120, 600, 3_600];

/// The first failure of a punch that was thought to work is followed so soon by another try: HANDSHAKE has heard of it by
/// then and chooses another plan.
const OTHER_PLAN_AFTER: Duration = Duration::from_millis(250);

/// Spread of the retries, in percent, so that pairs that failed together do not retry together.
const JITTER: u32 = 10;

/// What the tries of one peer have come to so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    failures: u32,
    /// The other plan is being tried, or was.
    is_second_try: bool,
    is_stale: bool,
    began_at: Option<Instant>,
}

impl Retry {
    /// Nothing was tried yet.
    pub(super) const fn new() -> Self {
        Self { failures: 0, is_second_try: false, is_stale: false, began_at: None }
    }

    /// A try begins.
    pub(super) const fn begin(&mut self, now: Instant) {
        self.began_at = Some(now);
    }

    /// When the last try began.
    pub(super) const fn began_at(&self) -> Option<Instant> {
        self.began_at
    }

    /// The earliest moment for the next try.
    pub(super) fn not_before(&self, now: Instant) -> Instant {
        self.began_at.map_or(now, |at| now.max(at + APART))
    }

    /// Failures do not count any more.
    pub(super) const fn forget(&mut self) {
        (self.failures, self.is_second_try) = (0, false);
    }

    /// The try that runs may go by what holds no more: if it fails, the next one does not wait long.
    pub(super) const fn set_stale(&mut self, is_stale: bool) {
        self.is_stale = is_stale;
    }

    /// A try failed; gives the moment of the next. `has_other_plan` when HANDSHAKE may know a better one for the pair.
    pub(super) fn failed(&mut self, has_other_plan: bool, rng: &mut Rng, now: Instant) -> Instant {
        if core::mem::take(&mut self.is_stale) {
            return self.not_before(now);
        }
        if has_other_plan && !core::mem::replace(&mut self.is_second_try, true) {
            return now + rng.jitter(OTHER_PLAN_AFTER, JITTER);
        }
        let step = usize::try_from(self.failures).unwrap_or(usize::MAX).min(AFTER_FAILURE_S.len() - 1);
        let wait = Duration::from_secs(AFTER_FAILURE_S.get(step).copied().unwrap_or(AFTER_FAILURE_S[0]));
        self.failures = self.failures.saturating_add(1);
        now + rng.jitter(wait, JITTER)
    }
}
