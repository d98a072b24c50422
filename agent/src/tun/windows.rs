//! The interface on Windows: an adapter of the Wintun driver, which is two rings of packets in memory.
//!
//! The ring has an event that tun-rs keeps for itself, so a thread, the lookout, waits for it in the shard's stead and passes
//! it on; it does so only while the shard sleeps.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tracing::{debug, info};
use tun_rs::{DeviceBuilder, InterruptEvent, SyncDevice};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND, ERROR_MOD_NOT_FOUND,
    ERROR_SHARING_VIOLATION,
};

use super::{OVERLAY_MTU, Offload, Tun, TunConfig, TunError, failed};
use crate::windows::Event;

pub use super::addresses::TunAddresses;

/// What to say where there is no driver.
pub(super) const NO_DRIVER: &str = "the Wintun driver cannot be loaded; wintun.dll belongs beside lanyard.exe, where the \
     installer puts it: repair the installation";

/// What an agent needs that may not make interfaces.
pub(super) const PERMISSION: &str =
    "start the agent as an administrator, or let the service do it: sc start lanyard";

/// The driver's file, beside the program and nowhere else: a search would take whatever lies in the working directory.
const DRIVER: &str = "wintun.dll";

/// Bytes of each ring; a power of two from 128 KiB to 64 MiB. WireGuard for Windows has as much.
const RING: u32 = 8 << 20;

/// The queue of the interface: packets in and out, nonblocking.
#[derive(Debug)]
pub struct TunQueue {
    offload: Offload,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Ring(Ring),
    /// What tests have in its place.
    #[cfg(test)]
    Socket(std::net::UdpSocket, Event),
}

impl TunQueue {
    /// A queue on a connected socket that does not block, for tests.
    #[cfg(test)]
    pub(crate) fn from_socket(socket: std::net::UdpSocket, offload: Offload) -> io::Result<Self> {
        let event = Event::new()?;
        event.follow(&socket)?;
        Ok(Self { offload, carrier: Carrier::Socket(socket, event) })
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
    /// `WouldBlock` when none is there; anything else is the interface's end.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.carrier {
            Carrier::Ring(ring) => ring.device.try_recv(buffer),
            #[cfg(test)]
            Carrier::Socket(socket, _) => socket.recv(buffer),
        }
    }

    /// Writes one packet; in parts it is put together first.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the ring is full.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let whole: Vec<u8>;
        let packet: &[u8] = if let [packet] = parts {
            packet
        } else {
            whole = parts.iter().flat_map(|part| part.iter().copied()).collect();
            &whole
        };
        match &self.carrier {
            Carrier::Ring(ring) => ring.device.try_send(packet),
            #[cfg(test)]
            Carrier::Socket(socket, _) => socket.send(packet),
        }
    }

    /// Happens when there is something to read, from this call on; or when the interface is gone.
    #[must_use]
    pub fn event(&self) -> &Event {
        match &self.carrier {
            Carrier::Ring(ring) => ring.look_out(),
            #[cfg(test)]
            Carrier::Socket(_, event) => event,
        }
    }
}

/// The adapter's rings, and the thread that waits for packets.
struct Ring {
    device: Arc<SyncDevice>,
    shared: Arc<Shared>,
    lookout: Option<JoinHandle<()>>,
}

/// What the lookout and the shard share.
struct Shared {
    /// The shard wants to know.
    asked: Event,
    /// There is something.
    ready: Event,
    /// The lookout knows that it was asked.
    is_looking: AtomicBool,
    stop: AtomicBool,
    interrupt: InterruptEvent,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    fn new(device: Arc<SyncDevice>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            asked: Event::new()?,
            ready: Event::new()?,
            is_looking: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            interrupt: InterruptEvent::new()?,
        });
        let lookout = thread::Builder::new().name("lanyard-lookout".to_owned()).spawn({
            let (device, shared) = (Arc::clone(&device), Arc::clone(&shared));
            move || shared.watch(&device)
        })?;
        Ok(Self { device, shared, lookout: Some(lookout) })
    }

    /// Sends the lookout to its place, if it is not there, and gives the event that it sets.
    fn look_out(&self) -> &Event {
        if !self.shared.is_looking.swap(true, Ordering::AcqRel) {
            self.shared.asked.set();
        }
        &self.shared.ready
    }
}

impl Shared {
    fn watch(&self, device: &SyncDevice) {
        while Event::wait_for_any([&self.asked].into_iter()).is_ok() && !self.stop.load(Ordering::Acquire) {
            let outcome = device.wait_readable_intr(&self.interrupt);
            // Before the word: the shard may ask again as soon as it has read.
            self.is_looking.store(false, Ordering::Release);
            // An error too is for the shard to find out, by reading.
            self.ready.set();
            if let Err(error) = outcome {
                debug!(%error, "the lookout ends");
                return;
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.asked.set();
        let told = self.shared.interrupt.trigger();
        if let Some(lookout) = self.lookout.take().filter(|_| told.is_ok()) {
            drop(lookout.join());
        }
    }
}

#[expect(clippy::unused_async, reason = "on Linux it asks the kernel and waits")]
pub(super) async fn create(config: &TunConfig) -> Result<Tun, TunError> {
    let name = config.name.as_str();
    let program = std::env::current_exe().map_err(|error| failed("create", name, error))?;
    let driver = program.with_file_name(DRIVER);
    if !driver.is_file() {
        return Err(TunError::NoDriver(io::Error::from(io::ErrorKind::NotFound)));
    }
    let device = DeviceBuilder::new()
        .name(name)
        .mtu(OVERLAY_MTU)
        .with(|options| {
            options
                .description("lanyard")
                .wintun_file(driver.to_string_lossy().into_owned())
                .ring_capacity(RING);
        })
        .build_sync()
        .map_err(|error| explain(name, error))?;
    let device = Arc::new(device);
    let ring = Ring::new(Arc::clone(&device)).map_err(|error| failed("create", name, error))?;
    let queue = TunQueue { offload: Offload::None, carrier: Carrier::Ring(ring) };
    let addresses = TunAddresses::new(device).map_err(|error| failed("configure", name, error))?;
    info!(interface = name, mtu = OVERLAY_MTU, "interface is up");
    Ok(Tun { queues: vec![queue], addresses })
}

fn explain(name: &str, source: io::Error) -> TunError {
    match source.raw_os_error().and_then(|code| u32::try_from(code).ok()) {
        Some(ERROR_FILE_NOT_FOUND | ERROR_MOD_NOT_FOUND) => TunError::NoDriver(source),
        Some(ERROR_ACCESS_DENIED) => TunError::Denied { name: name.to_owned(), source },
        Some(ERROR_ALREADY_EXISTS | ERROR_SHARING_VIOLATION) => {
            TunError::Busy { name: name.to_owned(), source }
        }
        _ => failed("create", name, source),
    }
}
