//! Sleeping in `poll`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Ready;
use crate::sockets::ShardSockets;
use crate::tun::TunQueue;

/// Wakes a sleeping shard from another thread; used to stop it.
#[derive(Debug)]
pub(in crate::dataplane) struct Waker(UnixStream);

/// What a shard sleeps by.
#[derive(Debug)]
pub(in crate::dataplane) struct Sleeper(UnixStream);

impl Waker {
    /// A waker and whom it wakes.
    pub(in crate::dataplane) fn new() -> io::Result<(Self, Sleeper)> {
        let (waker, sleeper) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        sleeper.set_nonblocking(true)?;
        Ok((Self(waker), Sleeper(sleeper)))
    }

    pub(in crate::dataplane) fn wake(&self) {
        // A full pipe wakes as well.
        let _ = (&self.0).write(&[1]);
    }
}

impl Sleeper {
    /// Sleeps until the queue or a socket has something, those that are kept included if they are read here, or the
    /// waker wakes.
    pub(in crate::dataplane) fn sleep(
        &self,
        queue: &TunQueue,
        sockets: &ShardSockets,
        reads_kept: bool,
    ) -> Ready {
        let (v4, waker) = (sockets.v4.as_fd(), self.0.as_fd());
        // What this shard lacks stands there twice.
        let v6 = sockets.v6.as_ref().map_or(v4, AsFd::as_fd);
        let kept = if reads_kept { sockets.kept.as_fd() } else { v4 };
        let [_, woken, v4, v6, kept] = until_readable([queue.as_fd(), waker, v4, v6, kept]);
        if woken {
            self.drain();
        }
        Ready { v4, v6, kept }
    }

    /// Takes out what a waker put in.
    fn drain(&self) {
        let mut bytes = [0; 16];
        while (&self.0).read(&mut bytes).is_ok_and(|count| count > 0) {}
    }
}

/// Sleeps until one of these is readable or broken, and says which are.
fn until_readable<const N: usize>(descriptors: [BorrowedFd<'_>; N]) -> [bool; N] {
    let mut set = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    match poll(&mut set, PollTimeout::NONE) {
        Ok(_) => set.map(|descriptor| descriptor.any().unwrap_or(true)),
        // Interrupted is as good as woken: the caller looks at everything again.
        Err(_) => [true; N],
    }
}

/// Sleeps until this is writable, at most so long.
pub(in crate::dataplane) fn until_writable(descriptor: &impl AsFd, timeout_ms: u16) {
    let mut set = [PollFd::new(descriptor.as_fd(), PollFlags::POLLOUT)];
    let _ = poll(&mut set, PollTimeout::from(timeout_ms));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_descriptors_the_one_that_has_something_is_named() {
        let (waker, Sleeper(sleeper)) = Waker::new().unwrap();
        let (_quiet, Sleeper(other)) = Waker::new().unwrap();
        waker.wake();
        assert_eq!(until_readable([other.as_fd(), sleeper.as_fd()]), [false, true]);
        let sleeper = Sleeper(sleeper);
        sleeper.drain();
        drop(waker);
        assert_eq!(
            until_readable([other.as_fd(), sleeper.0.as_fd()]),
            [false, true],
            "its other end is gone"
        );
    }
}
