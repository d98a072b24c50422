//! The interface on macOS: a utun. It has one queue, carries one packet at a time, and puts four bytes in front of each.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use tracing::info;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::{OVERLAY_MTU, Offload, Tun, TunConfig, TunError, failed};

pub use super::addresses::TunAddresses;

/// What to say where there is no driver.
pub(super) const NO_DRIVER: &str = "this computer offers no utun interfaces";

/// What an agent needs that may not make interfaces.
pub(super) const PERMISSION: &str = "start the agent as root: sudo lanyard up";

/// The name that lets the system number the interface; it takes no others than this with a number.
const ANY: &str = "utun";
/// The address family in front of each packet, in network order.
const FAMILY: usize = 4;

/// The queue of the interface: packets in and out, nonblocking.
#[derive(Debug)]
pub struct TunQueue {
    file: File,
    offload: Offload,
    has_family: bool,
}

impl TunQueue {
    /// A queue on any descriptor that carries one packet per read and write and does not block; a datagram
    /// socket in tests.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, offload: Offload) -> Self {
        Self { file: File::from(fd), offload, has_family: false }
    }

    /// What packets look like here.
    #[must_use]
    pub const fn offload(&self) -> Offload {
        self.offload
    }

    /// Reads one packet.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none is there; anything else is the interface's end or its being down.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_family {
            return (&self.file).read(buffer);
        }
        let mut family = [0; FAMILY];
        let mut parts = [IoSliceMut::new(&mut family), IoSliceMut::new(buffer)];
        Ok((&self.file).read_vectored(&mut parts)?.saturating_sub(FAMILY))
    }

    /// Writes one packet in parts.
    ///
    /// # Errors
    ///
    /// As from `writev`.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.has_family {
            return (&self.file).write_vectored(parts);
        }
        let is_v6 = parts.first().and_then(|part| part.first()).is_some_and(|byte| byte >> 4 == 6);
        let family = u32::from_ne_bytes((if is_v6 { libc::AF_INET6 } else { libc::AF_INET }).to_ne_bytes());
        let family = family.to_be_bytes();
        let whole: Vec<u8>;
        let packet = if let [packet] = parts {
            packet
        } else {
            whole = parts.iter().flat_map(|part| part.iter().copied()).collect();
            whole.as_slice()
        };
        let all = [IoSlice::new(&family), IoSlice::new(packet)];
        Ok((&self.file).write_vectored(&all)?.saturating_sub(FAMILY))
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[expect(clippy::unused_async, reason = "on Linux it asks the kernel and waits")]
pub(super) async fn create(config: &TunConfig) -> Result<Tun, TunError> {
    let name = config.name.as_str();
    let builder = DeviceBuilder::new().mtu(OVERLAY_MTU);
    let builder = if name == ANY { builder } else { builder.name(name) };
    let device = builder.build_sync().map_err(|error| explain(name, error))?;
    let queue = queue(&device).map_err(|error| failed("create", name, error))?;
    let addresses = TunAddresses::new(Arc::new(device)).map_err(|error| failed("configure", name, error))?;
    info!(interface = addresses.name(), mtu = OVERLAY_MTU, "interface is up");
    Ok(Tun { queues: vec![queue], addresses })
}

fn queue(device: &SyncDevice) -> io::Result<TunQueue> {
    device.set_nonblocking(true)?;
    let file = File::from(device.as_fd().try_clone_to_owned()?);
    Ok(TunQueue { file, offload: Offload::None, has_family: true })
}

fn explain(name: &str, source: io::Error) -> TunError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDriver(source),
        Some(libc::EPERM | libc::EACCES) => TunError::Denied { name: name.to_owned(), source },
        Some(libc::EBUSY) => TunError::Busy { name: name.to_owned(), source },
        _ => failed("create", name, source),
    }
}
