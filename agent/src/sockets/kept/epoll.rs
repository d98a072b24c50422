//! Which of many sockets have something: `epoll`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use lanyard_proto::transmit::SocketId;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::sockets::Udp;

/// Sockets read in one turn; the others have theirs in the next.
const READY_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct ReadySet(Epoll);

impl ReadySet {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    pub(super) fn add(&self, id: SocketId, udp: &Udp) -> io::Result<()> {
        Ok(self.0.add(udp.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, u64::from(id.0)))?)
    }

    /// One that is not here is fine.
    pub(super) fn remove(&self, udp: &Udp) {
        let _ = self.0.delete(udp.as_fd());
    }

    /// Names each that has something, up to a bound.
    pub(super) fn each(&self, _: &[(SocketId, Arc<Udp>)], mut name: impl FnMut(SocketId)) {
        let mut ready = [EpollEvent::empty(); READY_MAX];
        let count = self.0.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        let ids = ready.iter().take(count).filter_map(|event| u16::try_from(event.data()).ok());
        ids.map(SocketId).for_each(&mut name);
    }
}

impl AsFd for ReadySet {
    /// Readable when any of the sockets is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
