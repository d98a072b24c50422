//! The addresses of the interface where tun-rs sets them: macOS and Windows.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lanyard_proto::overlay::table::OverlayAddress;
use tracing::{debug, info, warn};
use tun_rs::SyncDevice;

use super::{TunError, failed, wanted};

/// The addresses of the interface, changed while its queue is at work.
pub struct TunAddresses {
    device: Arc<SyncDevice>,
    name: String,
    index: u32,
    present: BTreeSet<(IpAddr, u8)>,
}

impl std::fmt::Debug for TunAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunAddresses").field("name", &self.name).field("present", &self.present).finish()
    }
}

impl TunAddresses {
    /// Those of a new interface, which has none.
    pub(super) fn new(device: Arc<SyncDevice>) -> io::Result<Self> {
        let (name, index) = (device.name()?, device.if_index()?);
        Ok(Self { device, name, index, present: BTreeSet::new() })
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's index.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Makes the interface's addresses exactly these, and with them the routes of their prefixes. A repeated call with the
    /// same addresses does nothing.
    ///
    /// # Errors
    ///
    /// The first failure, after everything else was tried: one address that cannot be set does not take the
    /// others with it. It is tried again by the next call.
    #[expect(clippy::unused_async, reason = "on Linux it asks the kernel and waits")]
    pub async fn apply(&mut self, addresses: &[OverlayAddress]) -> Result<(), TunError> {
        let wanted = wanted(addresses);
        let mut outcome = Ok(());
        for (ip, length) in self.present.difference(&wanted).copied().collect::<Vec<_>>() {
            info!(interface = %self.name, %ip, length, "address removed");
            if let Err(error) = self.device.remove_address(ip) {
                // Gone already is as good: someone else took it away.
                debug!(interface = %self.name, %ip, %error, "address was not there any more");
            }
            self.present.remove(&(ip, length));
        }
        for (ip, length) in wanted.difference(&self.present).copied().collect::<Vec<_>>() {
            let added = match ip {
                IpAddr::V4(ip) => self.add_v4(ip, length),
                IpAddr::V6(ip) => self.device.add_address_v6(ip, length),
            };
            match added {
                Ok(()) => {
                    info!(interface = %self.name, %ip, length, "address added");
                    self.present.insert((ip, length));
                }
                Err(error) => {
                    warn!(interface = %self.name, %ip, %error, "address cannot be added");
                    outcome = outcome.and(Err(failed("configure", &self.name, error)));
                }
            }
        }
        outcome
    }

    #[cfg(target_os = "macos")]
    fn add_v4(&self, ip: Ipv4Addr, length: u8) -> io::Result<()> {
        self.device.add_address_v4(ip, length)
    }

    /// tun-rs would do it with one library more.
    #[cfg(windows)]
    fn add_v4(&self, ip: Ipv4Addr, length: u8) -> io::Result<()> {
        crate::windows::add_address(self.index, ip, length)
    }
}
