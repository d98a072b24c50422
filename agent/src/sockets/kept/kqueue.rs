//! Which of many sockets have something: `kqueue`.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use lanyard_proto::transmit::SocketId;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::sockets::Udp;

/// Sockets read in one turn; the others have theirs in the next.
const READY_MAX: usize = 16;
/// Not waiting at all.
const AT_ONCE: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

#[derive(Debug)]
pub(super) struct ReadySet(Kqueue);

impl ReadySet {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Kqueue::new()?))
    }

    pub(super) fn add(&self, id: SocketId, udp: &Udp) -> io::Result<()> {
        self.change(udp, EvFlags::EV_ADD, id)
    }

    /// One that is not here is fine.
    pub(super) fn remove(&self, udp: &Udp) {
        let _ = self.change(udp, EvFlags::EV_DELETE, SocketId::MAIN);
    }

    /// Names each that has something, up to a bound.
    pub(super) fn each(&self, _: &[(SocketId, Arc<Udp>)], mut name: impl FnMut(SocketId)) {
        let mut ready = [event(0, EvFlags::empty(), SocketId::MAIN); READY_MAX];
        let count = self.0.kevent(&[], &mut ready, Some(AT_ONCE)).unwrap_or(0);
        let ids = ready.iter().take(count).filter_map(|event| u16::try_from(event.udata()).ok());
        ids.map(SocketId).for_each(&mut name);
    }

    fn change(&self, udp: &Udp, flags: EvFlags, id: SocketId) -> io::Result<()> {
        let descriptor = usize::try_from(udp.as_fd().as_raw_fd()).map_err(io::Error::other)?;
        self.0.kevent(&[event(descriptor, flags, id)], &mut [], Some(AT_ONCE))?;
        Ok(())
    }
}

fn event(descriptor: usize, flags: EvFlags, id: SocketId) -> KEvent {
    KEvent::new(descriptor, EventFilter::EVFILT_READ, flags, FilterFlag::empty(), 0, id.0 as isize)
}

impl AsFd for ReadySet {
    /// Readable when any of the sockets is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
