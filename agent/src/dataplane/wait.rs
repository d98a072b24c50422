//! Sleeping until a descriptor has something to do.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Wakes a sleeping shard from another thread; used to stop it.
#[derive(Debug)]
pub(super) struct Waker(UnixStream);

impl Waker {
    /// A waker and the descriptor that it makes readable.
    pub(super) fn new() -> io::Result<(Self, UnixStream)> {
        let (waker, sleeper) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        sleeper.set_nonblocking(true)?;
        Ok((Self(waker), sleeper))
    }

    pub(super) fn wake(&self) {
        // A full pipe wakes as well.
        let _ = (&self.0).write(&[1]);
    }
}

/// Takes out what a waker put in.
pub(super) fn drain(sleeper: &UnixStream) {
    let mut bytes = [0; 16];
    while (&*sleeper).read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// Sleeps until one of these is readable or broken.
pub(super) fn until_readable<const N: usize>(descriptors: [BorrowedFd<'_>; N]) {
    let mut set = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    // Interrupted is as good as woken: the caller looks at everything again.
    let _ = poll(&mut set, PollTimeout::NONE);
}

/// Sleeps until this is writable, at most so long.
pub(super) fn until_writable(descriptor: &impl AsFd, timeout_ms: u16) {
    let mut set = [PollFd::new(descriptor.as_fd(), PollFlags::POLLOUT)];
    let _ = poll(&mut set, PollTimeout::from(timeout_ms));
}
