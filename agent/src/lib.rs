//! The lanyard agent: everything that touches a device's operating system.
//!
//! The program is small on purpose. [`cli`] turns a command line into one request for the running agent and
//! its answers into text; `lanyard daemon` is that agent: [`engine`] moves datagrams, timers, commands and
//! events between the machine of `lanyard-proto`, which decides everything, and the leaves that do the work.
//! The leaves do not know each other; `engine` alone knows them all.

pub mod cli;
pub mod clock;
pub mod config;
pub mod dataplane;
pub mod door;
pub mod engine;
pub mod exit;
pub mod ipc;
pub mod metrics;
pub mod netmon;
pub mod portmap;
pub mod sockets;
pub mod state;
pub mod stream;
pub mod tcp;
pub mod tun;
#[cfg(windows)]
pub mod windows;

/// This program's release, as people and coordinators are told it; what does not encrypt says so.
pub const VERSION: &str = if dataplane::IS_ENCRYPTED {
    env!("CARGO_PKG_VERSION")
} else {
    concat!(env!("CARGO_PKG_VERSION"), "+unencrypted")
};
