//! Sleeping until a shard has something to do, and not asking too often whether it has.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as system;

pub(super) use system::{Sleeper, Waker, until_writable};

/// What is worth asking after a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// The queue.
    pub(super) queue: bool,
    /// The socket for IPv4.
    pub(super) v4: bool,
    /// The one for IPv6.
    pub(super) v6: bool,
    /// Those that are kept.
    pub(super) kept: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

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
