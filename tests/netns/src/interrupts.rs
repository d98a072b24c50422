//! Ctrl-C and SIGTERM, for programs that have namespaces to remove.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

static CAME: AtomicBool = AtomicBool::new(false);

/// From now on they are heard, and do not end the process before it has cleaned up.
///
/// # Errors
///
/// When signals cannot be watched.
pub fn watch() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        CAME.store(true, Ordering::Release);
    });
    Ok(())
}

/// Whether one came: the next step is not to begin.
#[must_use]
pub fn came() -> bool {
    CAME.load(Ordering::Acquire)
}
