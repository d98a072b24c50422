//! By `poll`.

use std::io;
use std::os::fd::BorrowedFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Descriptors of which one is waited for.
pub(super) struct Readable<'a, const N: usize>([Option<BorrowedFd<'a>>; N]);

impl<'a, const N: usize> Readable<'a, N> {
    #[expect(clippy::unnecessary_wraps, reason = "where the system keeps the list it can refuse")]
    pub(super) fn new(descriptors: [Option<BorrowedFd<'a>>; N]) -> io::Result<Self> {
        Ok(Self(descriptors))
    }

    /// Sleeps until one is readable or broken, and says which are.
    pub(super) fn wait(&self) -> [bool; N] {
        let Some(any) = self.0.iter().flatten().next() else { return [true; N] };
        // One that is missing stands for another, and nothing is asked of it.
        let mut set = self.0.map(|descriptor| match descriptor {
            Some(descriptor) => PollFd::new(descriptor, PollFlags::POLLIN),
            None => PollFd::new(*any, PollFlags::empty()),
        });
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) => std::array::from_fn(|at| {
                self.0.get(at).is_some_and(Option::is_some)
                    && set.get(at).and_then(PollFd::any).unwrap_or(true)
            }),
            // Interrupted is as good as woken: the caller looks at everything again.
            Err(_) => [true; N],
        }
    }
}
