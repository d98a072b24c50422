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

/// Sleeps until one of these is readable or broken, and says which are.
pub(super) fn until_readable<const N: usize>(descriptors: [BorrowedFd<'_>; N]) -> [bool; N] {
    let mut set = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    match poll(&mut set, PollTimeout::NONE) {
        Ok(_) => set.map(|descriptor| descriptor.any().unwrap_or(true)),
        // Interrupted is as good as woken: the caller looks at everything again.
        Err(_) => [true; N],
    }
}

/// Whether a descriptor is worth a system call that may find nothing.
///
/// One that had something is asked again; one that had nothing only now and then, as long as others keep the thread
/// from sleeping, and when the kernel says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interest {
    is_hot: bool,
    passed: u8,
}

impl Interest {
    /// A quiet one is asked every fourth time: a shard's turn takes half a millisecond at the most.
    const EVERY: u8 = 4;

    pub(super) const fn new() -> Self {
        Self { is_hot: true, passed: 0 }
    }

    /// Asks, if it is worth it, and remembers whether there was something.
    pub(super) fn ask(&mut self, ask: impl FnOnce() -> bool) -> bool {
        self.passed += 1;
        if !self.is_hot && self.passed < Self::EVERY {
            return false;
        }
        self.passed = 0;
        self.is_hot = ask();
        self.is_hot
    }

    /// What the kernel says.
    pub(super) fn set(&mut self, is_ready: bool) {
        self.is_hot = is_ready;
    }
}

/// Sleeps until this is writable, at most so long.
pub(super) fn until_writable(descriptor: &impl AsFd, timeout_ms: u16) {
    let mut set = [PollFd::new(descriptor.as_fd(), PollFlags::POLLOUT)];
    let _ = poll(&mut set, PollTimeout::from(timeout_ms));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_descriptors_the_one_that_has_something_is_named() {
        let (waker, sleeper) = Waker::new().unwrap();
        let (_quiet, other) = Waker::new().unwrap();
        waker.wake();
        assert_eq!(until_readable([other.as_fd(), sleeper.as_fd()]), [false, true]);
        drain(&sleeper);
        drop(waker);
        assert_eq!(until_readable([other.as_fd(), sleeper.as_fd()]), [false, true], "its other end is gone");
    }

    #[test]
    fn a_quiet_descriptor_is_asked_now_and_then_and_when_the_kernel_says_so() {
        let mut interest = Interest::new();
        let asked = |interest: &mut Interest| {
            let mut was_asked = false;
            interest.ask(|| {
                was_asked = true;
                false
            });
            was_asked
        };
        assert!(asked(&mut interest), "a new one");
        assert_eq!([(); 5].map(|()| asked(&mut interest)), [false, false, false, true, false]);
        interest.set(true);
        assert!(asked(&mut interest));
        assert!(!asked(&mut interest));
        interest.set(true);
        assert!(interest.ask(|| true) && interest.ask(|| true), "one that has something");
    }
}
