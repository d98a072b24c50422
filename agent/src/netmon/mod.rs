//! Watches the computer's own network: which addresses it has, and when that changes.
//!
//! [`Monitor::start`] listens to the kernel's announcements on a task of its own. A burst of them (a cable
//! pulled, Wi-Fi joined: dozens within a moment) becomes one change, and announcements that change nothing (an
//! IPv6 router repeating itself every few seconds) become none. The overlay's own interface is left out
//! everywhere.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod routes;
#[cfg(not(target_os = "linux"))]
use routes as system;

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What this computer's network looks like from inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNetwork {
    /// Unicast addresses of interfaces that are up, without loopback, link-local and overlay ones, in order.
    pub addresses: Vec<IpAddr>,
    /// IPv4 prefixes that are routed somewhere else than by the default route, without overlay ones, in order.
    pub prefixes: Vec<(Ipv4Addr, u8)>,
    /// The router that IPv4 leaves by; of several, the one the system prefers.
    pub router: Option<Router>,
}

/// The next hop of the default route, as this computer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its address.
    pub gateway: Ipv4Addr,
    /// This computer's address towards it.
    pub local: Ipv4Addr,
}

/// Tells when the network changed and what it is now.
#[derive(Debug)]
pub struct Monitor {
    network: watch::Receiver<LocalNetwork>,
    task: JoinHandle<()>,
}

impl Monitor {
    /// Looks once and starts to listen. `overlay` is the index of the overlay's interface, if there is one
    /// already. Needs a Tokio runtime; what is watched is the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When the kernel's announcements cannot be heard.
    pub async fn start(overlay: Option<u32>) -> io::Result<Self> {
        let watcher = system::Watcher::open(overlay).await?;
        let (sender, network) = watch::channel(watcher.network());
        let task = tokio::spawn(watcher.run(sender));
        Ok(Self { network, task })
    }

    /// The network as it is now.
    #[must_use]
    pub fn network(&self) -> LocalNetwork {
        self.network.borrow().clone()
    }

    /// Waits for the next change and gives the network after it.
    ///
    /// A link that went and came back with the same addresses counts: the routers on the way may have
    /// forgotten us. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// When the kernel stopped announcing; there will be no further change.
    pub async fn changed(&mut self) -> io::Result<LocalNetwork> {
        self.network.changed().await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(self.network.borrow_and_update().clone())
    }
}

/// The router with the address the kernel picks towards it; connecting a UDP socket sends nothing.
fn towards(gateway: Ipv4Addr) -> Option<Router> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((gateway, 9)).ok()?;
    let IpAddr::V4(local) = socket.local_addr().ok()?.ip() else { return None };
    Some(Router { gateway, local })
}

/// Whether peers could reach us at an address of ours.
const fn is_reachable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast())
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
