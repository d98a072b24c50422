//! Whether this machine runs us at all: on a busy one nobody runs for seconds at times, and no tunnel can help that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lanyard_netns::standstill::Standstill;

/// A thread that asks to be run so often.
const EVERY: Duration = Duration::from_millis(10);

/// The thread that wants to be run. Ends when dropped.
#[derive(Debug)]
pub(super) struct Machine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    runs: Mutex<Standstill>,
}

impl Machine {
    /// From now on.
    pub(super) fn watch() -> Self {
        let runs = Mutex::new(Standstill::new(Instant::now()));
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), runs });
        let watched = Arc::clone(&shared);
        thread::spawn(move || {
            while !watched.stop.load(Ordering::Acquire) {
                thread::sleep(EVERY);
                watched.lock().arrived(Instant::now());
            }
        });
        Self { shared }
    }

    /// Forgets the pauses so far.
    pub(super) fn reset(&self) {
        self.shared.lock().reset();
    }

    /// For how long it did not run at the most since the reset.
    pub(super) fn longest_pause(&self) -> Duration {
        self.shared.lock().longest(Instant::now()).0.saturating_sub(EVERY)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Standstill> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}
