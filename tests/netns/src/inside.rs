//! Doing something inside a network namespace, without leaving this process.
//!
//! A namespace belongs to a thread. A new thread enters it, opens the sockets, and hands them out: a socket stays
//! in the namespace it was opened in, whoever uses it later.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

/// Runs `work` on a thread of its own inside the network namespace `namespace` and returns what it made.
///
/// # Errors
///
/// When the namespace does not exist, may not be entered (needs root), or `work` fails or panics.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = Path::new("/run/netns").join(namespace);
    let file = File::open(&path).with_context(|| format!("open the network namespace {}", path.display()))?;
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(&file).with_context(|| format!("enter the network namespace {namespace}"))?;
                work()
            })
            .join()
            .map_err(|_panic| anyhow!("the work inside {namespace} panicked"))?
    })
}

#[expect(unsafe_code, reason = "the standard library has no call to change a thread's network namespace")]
fn enter(namespace: &File) -> std::io::Result<()> {
    // SAFETY: setns takes a descriptor we own and changes only which network this thread sees.
    let failed = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if failed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
