//! The one clock of the agent: time since boot, counted while the computer sleeps too.
//!
//! A laptop that slept an hour has lost its NAT mappings and its sessions. On Linux `CLOCK_MONOTONIC`, behind
//! `std::time::Instant`, stands still meanwhile and would hide that; `CLOCK_BOOTTIME` does not, nor do `CLOCK_MONOTONIC` of
//! macOS and the performance counter of Windows. The machines never see a clock: the shell converts here, once, into
//! [`Instant`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanyard_proto::time::{Instant, WallClock};

/// Tells what time it is, as the machines count it. Its epoch is the start of the computer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The present moment.
    #[must_use]
    pub fn now(self) -> Instant {
        let read = since_boot();
        Instant::from_micros(u64::try_from(read.as_micros()).unwrap_or(u64::MAX))
    }

    /// The present moment together with the date, for machines that need one (tickets expire by date).
    #[must_use]
    pub fn wall(self) -> WallClock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallClock { at: self.now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// In every Linux since 2.6.39; a system without it gets the monotonic clock.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC))
        .map(Duration::from)
        .unwrap_or_default()
}

#[cfg(target_os = "macos")]
fn since_boot() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

#[cfg(windows)]
fn since_boot() -> Duration {
    crate::windows::since_boot()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_and_counts_from_boot() {
        let earlier = Clock.now();
        let later = Clock.now();
        assert!(earlier > Instant::ZERO);
        assert!(later >= earlier);
    }

    #[test]
    fn the_date_belongs_to_the_present_moment() {
        let wall = Clock.wall();
        let year_2020_ms = 1_577_836_800_000;
        assert!(wall.unix_ms > year_2020_ms);
        assert!(Clock.now() >= wall.at);
    }
}
