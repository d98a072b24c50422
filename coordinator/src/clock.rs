//! Time of this process as the machines count it.

use std::time::{SystemTime, UNIX_EPOCH};

use lanyard_proto::time::{Instant, WallClock};

/// Counts from the start of the process; the same for every machine in it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// Starts counting.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When the runtime must wake a machine that asked for `at`.
    #[must_use]
    pub fn tokio_instant(&self, at: Instant) -> tokio::time::Instant {
        self.origin + core::time::Duration::from_micros(at.as_micros().min(u64::from(u32::MAX) * 1_000_000))
    }

    /// What the machines know of the calendar.
    #[must_use]
    pub fn wall(&self) -> WallClock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallClock { at: self.now(), unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX) }
    }
}
