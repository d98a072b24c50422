//! The virtual network interface: one per agent, however many networks the device is in.
//!
//! [`Tun::create`] makes it and brings it up without addresses. Its queues go to the data plane, one per
//! shard; its [`TunAddresses`] stay with the engine, which applies the addresses of every new forwarding table
//! to them. The kernel derives the routes from the prefix lengths, so no route is ever added by hand and none
//! is left behind: everything goes with the interface when the process ends.

#[cfg(not(target_os = "linux"))]
mod addresses;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as system;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as system;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use lanyard_proto::device::TunnelMtu;
use lanyard_proto::overlay::table::OverlayAddress;
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

/// What the interface should have, as addresses with the lengths of their prefixes.
fn wanted(addresses: &[OverlayAddress]) -> BTreeSet<(IpAddr, u8)> {
    let of_one = |address: &OverlayAddress| {
        let ip4 = address.ip4.map(|(ip, length)| (IpAddr::V4(ip), length));
        ip4.into_iter().chain([(IpAddr::V6(address.ip6.0), address.ip6.1)])
    };
    addresses.iter().flat_map(of_one).collect()
}

fn failed(what: &'static str, name: &str, source: io::Error) -> TunError {
    TunError::Failed { what, name: name.to_owned(), source }
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
    /// The system has no TUN driver, or a container does not see it.
    #[error("{} (tun.no_driver)", system::NO_DRIVER)]
    NoDriver(#[source] io::Error),
    /// The process may not make interfaces.
    #[error("no permission to create the interface {name}; {} (tun.denied)", system::PERMISSION)]
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
