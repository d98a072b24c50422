//! Sleeping on descriptors: the queue's, the sockets', and one end of a pair by which others wake the shard.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::Ready;
use crate::sockets::ShardSockets;
use crate::tun::TunQueue;

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
use self::epoll::Readable;
#[cfg(not(target_os = "linux"))]
mod poll;
#[cfg(not(target_os = "linux"))]
use self::poll::Readable;

/// Wakes a sleeping shard from another thread; used to stop it.
#[derive(Debug)]
pub(in crate::dataplane) struct Waker(UnixStream);

/// Whom it wakes.
#[derive(Debug)]
pub(in crate::dataplane) struct Sleeper(UnixStream);

/// What a shard sleeps by: its queue, the waker, and its sockets for IPv4, IPv6 and those that are kept.
pub(in crate::dataplane) struct Watch<'a> {
    sleeper: &'a Sleeper,
    readable: Readable<'a, 5>,
}

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
    /// What to sleep by: a queue and the sockets, those that are kept included if they are read here, or the waker.
    ///
    /// # Errors
    /// When the system gives no descriptor for it.
    pub(in crate::dataplane) fn watch<'a>(
        &'a self,
        queue: &'a TunQueue,
        sockets: &'a ShardSockets,
        reads_kept: bool,
    ) -> io::Result<Watch<'a>> {
        let v6 = sockets.v6.as_ref().map(AsFd::as_fd);
        let kept = reads_kept.then(|| sockets.kept.as_fd());
        let descriptors = [Some(queue.as_fd()), Some(self.0.as_fd()), Some(sockets.v4.as_fd()), v6, kept];
        Ok(Watch { sleeper: self, readable: Readable::new(descriptors)? })
    }

    /// Takes out what a waker put in.
    fn drain(&self) {
        let mut bytes = [0; 16];
        while (&self.0).read(&mut bytes).is_ok_and(|count| count > 0) {}
    }
}

impl Watch<'_> {
    /// Sleeps until there is something, and says where.
    pub(in crate::dataplane) fn sleep(&self) -> Ready {
        let [queue, woken, v4, v6, kept] = self.readable.wait();
        if woken {
            self.sleeper.drain();
        }
        Ready { queue, v4, v6, kept }
    }
}

/// Sleeps until this is writable, at most so long.
pub(in crate::dataplane) fn until_writable(descriptor: &impl AsFd, timeout_ms: u16) {
    let mut set = [PollFd::new(descriptor.as_fd(), PollFlags::POLLOUT)];
    let _ = nix::poll::poll(&mut set, PollTimeout::from(timeout_ms));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_descriptors_the_one_that_has_something_is_named() {
        let (waker, Sleeper(sleeper)) = Waker::new().unwrap();
        let (_quiet, Sleeper(other)) = Waker::new().unwrap();
        let readable = Readable::new([Some(other.as_fd()), None, Some(sleeper.as_fd())]).unwrap();
        for _ in 0..2 {
            waker.wake();
            assert_eq!(readable.wait(), [false, false, true]);
            assert_eq!(readable.wait(), [false, false, true], "nobody took it out");
            (&sleeper).read_exact(&mut [0]).unwrap();
        }
        drop(waker);
        assert_eq!(readable.wait(), [false, false, true], "its other end is gone");
    }
}
