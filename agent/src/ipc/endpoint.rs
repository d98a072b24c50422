//! Where commands reach the agent: a Unix socket, on Windows a named pipe.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as system;

pub use system::{Endpoint, Stream, connect};

/// A place of its own for each test.
#[cfg(test)]
pub(super) fn place_in(directory: &std::path::Path) -> std::path::PathBuf {
    if cfg!(windows) {
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        format!(r"\\.\pipe\lanyard-test-{name}").into()
    } else {
        directory.join("lanyard.sock")
    }
}
