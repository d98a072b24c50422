//! The virtual network interface: one per agent, however many networks the device is in.
//!
//! [`Tun::create`] makes it and brings it up without addresses. Its queues go to the data plane, one per
//! shard; its [`TunAddresses`] stay with the engine, which applies the addresses of every new forwarding table
//! to them. The kernel derives the routes from the prefix lengths, so no route is ever added by hand and none
//! is left behind: everything goes with the interface when the process ends.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
compile_error!("lanyard's agent runs on Linux only so far: this system needs its own agent/src/tun");

use std::io;

use lanyard_proto::device::TunnelMtu;
use thiserror::Error;

pub use system::{TunAddresses, TunQueue};

/// The interface's MTU: the largest packet that any path may carry.
///
/// Most paths do, since most links take 1,500 bytes. What a path carries less the data plane cuts, or tells the sender
/// (`dataplane::fit`).
pub const OVERLAY_MTU: u16 = TunnelMtu::ETHERNET.most;

/// How long an interface name may be (the kernel's `IFNAMSIZ` less the final zero).
const NAME_MAX: usize = 15;

/// What to create.
#[derive(Clone, Debug)]
pub struct TunConfig {
    /// The interface's name, such as `lanyard0`.
    pub name: String,
    /// How many queues, one for each shard of the data plane.
    pub queues: usize,
}

/// The interface, before its queues go to the data plane.
///
/// Lives as long as its queues do: when the last one is closed the kernel removes it.
#[derive(Debug)]
pub struct Tun {
    /// One per shard, never empty.
    pub queues: Vec<TunQueue>,
    /// Sets addresses while the queues are in use elsewhere.
    pub addresses: TunAddresses,
}

impl Tun {
    /// Creates the interface and brings it up.
    ///
    /// Needs a Tokio runtime, for talking to the kernel about links and addresses; the interface belongs to
    /// the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`TunError`] says what is missing and what to do about it.
    pub async fn create(config: &TunConfig) -> Result<Self, TunError> {
        let is_plain = |c: char| c.is_ascii_graphic() && c != '/' && c != '%' && c != ':';
        if config.name.is_empty() || config.name.len() > NAME_MAX || !config.name.chars().all(is_plain) {
            return Err(TunError::BadName { name: config.name.clone() });
        }
        system::create(config).await
    }
}

/// What packets look like on a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// One IP packet per read and write, nothing in front of it.
    None,
    /// A virtio header in front; TCP comes and goes in trains.
    Tcp,
    /// The same, and UDP too (Linux 6.2).
    TcpAndUdp,
}

/// Why there is no interface.
#[derive(Debug, Error)]
pub enum TunError {
    /// The kernel has no TUN driver, or a container does not see it.
    #[error(
        "this computer offers no virtual network interfaces (/dev/net/tun is missing); load the driver with \
         \"modprobe tun\", or give the container the device /dev/net/tun (tun.no_driver)"
    )]
    NoDriver(#[source] io::Error),
    /// The process may not make interfaces.
    #[error(
        "no permission to create the interface {name}; start the agent as root or give it the capability \
         CAP_NET_ADMIN (tun.denied)"
    )]
    Denied {
        /// The interface wanted.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The name is taken.
    #[error(
        "the interface {name} is in use by another program; stop that program or choose another name with \
         --tun (tun.busy)"
    )]
    Busy {
        /// The interface wanted.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Not a name that an interface can have.
    #[error(
        "\"{name}\" cannot be the name of an interface: use 1 to 15 letters, digits or dashes (tun.name)"
    )]
    BadName {
        /// The name given.
        name: String,
    },
    /// Anything else the kernel had against it.
    #[error("cannot {what} the interface {name}: {source} (tun.failed)")]
    Failed {
        /// What was being done: "create", "configure".
        what: &'static str,
        /// The interface.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}
