//! When to try again.

use core::time::Duration;

use lanyard_wire::handshake::{Go, Method};
use lanyard_wire::nat::{Mapping, NatCard, PortPolicy};

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

/// While HANDSHAKE lets a guess rest that hardly ever misses, or wait for ports of a block, the steps grow no longer than the
/// second one, so many times.
///
/// It rests for ten minutes or waits for five, and whoever comes sooner learns nothing: with steps that grow, a pair that was
/// told so three times waited up to an hour for a path that was there again. A few messages each, as nothing is guessed
/// meanwhile.
const RESTS_MAX: u32 = 7;

/// Spread of the retries, in percent, so that pairs that failed together do not retry together.
const JITTER: u32 = 10;

/// What the tries of one peer have come to so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    failures: u32,
    /// HANDSHAKE lets the plan for the try that runs rest.
    is_resting: bool,
    /// How many tries on end ended so.
    rests: u32,
    /// The other plan is being tried, or was.
    is_second_try: bool,
    is_stale: bool,
    began_at: Option<Instant>,
}

impl Retry {
    /// Nothing was tried yet.
    pub(super) const fn new() -> Self {
        Self {
            failures: 0,
            is_resting: false,
            rests: 0,
            is_second_try: false,
            is_stale: false,
            began_at: None,
        }
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
        (self.failures, self.rests, self.is_second_try) = (0, 0, false);
    }

    /// HANDSHAKE gave the start signal of the try that runs; `ours` is the card of our NAT.
    pub(super) const fn told(&mut self, go: &Go, ours: &NatCard) {
        self.is_resting = is_put_off(go, ours);
    }

    /// The try that runs may go by what holds no more: if it fails, the next one does not wait long.
    pub(super) const fn set_stale(&mut self, is_stale: bool) {
        self.is_stale = is_stale;
    }

    /// A try failed; gives the moment of the next. `has_other_plan` when HANDSHAKE may know a better one for the pair.
    pub(super) fn failed(&mut self, has_other_plan: bool, rng: &mut Rng, now: Instant) -> Instant {
        let is_resting = core::mem::take(&mut self.is_resting) && self.rests < RESTS_MAX;
        if core::mem::take(&mut self.is_stale) {
            return self.not_before(now);
        }
        if has_other_plan && !core::mem::replace(&mut self.is_second_try, true) {
            return now + rng.jitter(OTHER_PLAN_AFTER, JITTER);
        }
        let longest = if is_resting { 1 } else { AFTER_FAILURE_S.len() - 1 };
        let step = usize::try_from(self.failures).unwrap_or(usize::MAX).min(longest);
        let wait = Duration::from_secs(AFTER_FAILURE_S.get(step).copied().unwrap_or(AFTER_FAILURE_S[0]));
        if is_resting {
            self.rests += 1;
            self.failures = self.failures.max(1);
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        now + rng.jitter(wait, JITTER)
    }
}

/// Whether these cards ask for a guess in a carrier's block, and HANDSHAKE says relay all the same: one has failed between
/// the two networks, which is hardly ever the fault of the guess, or earlier ones hold what may be held of the block.
const fn is_put_off(go: &Go, ours: &NatCard) -> bool {
    let theirs = &go.card;
    let has_block = match (varies(ours), varies(theirs)) {
        (true, false) => matches!(ours.ports, Some(PortPolicy::Block { .. })),
        (false, true) => matches!(theirs.ports, Some(PortPolicy::Block { .. })),
        (true, true) | (false, false) => false,
    };
    has_block && matches!(go.method, Method::Relay)
}

const fn varies(card: &NatCard) -> bool {
    matches!(card.mapping, Some(Mapping::AddressDependent | Mapping::AddressAndPortDependent))
}
