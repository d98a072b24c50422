//! Moments and wake-ups, as plain numbers.
//!
//! No machine can read a clock: every verb is told what time it is. An [`Instant`] counts microseconds
//! since an arbitrary epoch, the same one for all calls to one machine. It prints, orders and starts at
//! zero in tests, which `std::time::Instant` does not. Shells convert once, with a clock that also counts
//! the time a computer sleeps. Wall time is needed for two things only, timestamps in handshakes and expiry
//! of tickets and tokens; it enters as a [`WallClock`], a pair read once by the shell.

use core::fmt;
use core::ops::{Add, AddAssign};
use core::time::Duration;

/// A moment: microseconds since an epoch that the driver of a machine chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The last moment that can be named, more than half a million years after the epoch.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment that many microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The moment that many milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// The moment that many seconds after the epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The moment `rhs` later, at most [`Instant::MAX`].
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl fmt::Display for Instant {
    /// Seconds with six decimals, as in a packet trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// When a machine next wants `handle_timeout`, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// Not later than this, please; earlier calls are harmless.
    pub at: Instant,
    /// The reason, for logs and for people who wonder why a device does not sleep.
    pub why: &'static str,
}

impl Wakeup {
    /// The earlier of two wake-ups, either of which may be missing.
    #[must_use]
    pub fn earliest(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(first), Some(second)) => Some(if second.at < first.at { second } else { first }),
            (one, None) | (None, one) => one,
        }
    }
}

/// What the wall clock said at one moment, so that a machine can tell the date without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// The moment of the reading.
    pub at: Instant,
    /// The reading: milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: u64,
}

impl WallClock {
    /// The date at `now`, in milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self, now: Instant) -> u64 {
        let forward = now.0.saturating_sub(self.at.0) / 1_000;
        let back = self.at.0.saturating_sub(now.0) / 1_000;
        self.unix_ms.saturating_add(forward).saturating_sub(back)
    }

    /// The date at `now`, in whole seconds since 1970.
    #[must_use]
    pub fn unix_s(&self, now: Instant) -> u64 {
        self.unix_ms(now) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn adding_to_a_moment_never_wraps() {
        assert_eq!(Instant::MAX + Duration::from_secs(1), Instant::MAX);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::MAX);
        assert_eq!(Instant::from_secs(1) + Duration::from_millis(5), Instant::from_micros(1_005_000));
    }

    #[test]
    fn the_time_since_a_later_moment_is_zero() {
        assert_eq!(Instant::from_secs(1).saturating_since(Instant::from_secs(2)), Duration::ZERO);
        assert_eq!(Instant::from_secs(5).saturating_since(Instant::from_secs(2)), Duration::from_secs(3));
    }

    #[test]
    fn a_moment_prints_as_seconds() {
        assert_eq!(Instant::from_micros(12_000_034).to_string(), "12.000034");
    }

    #[test]
    fn the_earlier_wakeup_wins_and_a_missing_one_does_not_count() {
        let soon = Wakeup { at: Instant::from_secs(1), why: "soon" };
        let late = Wakeup { at: Instant::from_secs(2), why: "late" };
        assert_eq!(Wakeup::earliest(Some(late), Some(soon)), Some(soon));
        assert_eq!(Wakeup::earliest(None, Some(late)), Some(late));
        assert_eq!(Wakeup::earliest(Some(soon), None), Some(soon));
        assert_eq!(Wakeup::earliest(None, None), None);
    }

    #[test]
    fn the_date_is_carried_forward_and_back_from_one_reading() {
        let wall = WallClock { at: Instant::from_secs(10), unix_ms: 1_700_000_000_000 };
        assert_eq!(wall.unix_ms(Instant::from_secs(12)), 1_700_000_002_000);
        assert_eq!(wall.unix_ms(Instant::from_secs(9)), 1_699_999_999_000);
        assert_eq!(wall.unix_s(Instant::from_secs(12)), 1_700_000_002);
    }
}
