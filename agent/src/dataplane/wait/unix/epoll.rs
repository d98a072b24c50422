//! By `epoll`: the descriptors stay registered, so that a sleep costs the kernel no more than what is ready. `poll` would have it
//! enter and leave the queues of those that wait for each of them, every time.

use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Descriptors of which one is waited for.
pub(super) struct Readable<'a, const N: usize> {
    epoll: Epoll,
    /// Registered, so they have to stay open.
    descriptors: PhantomData<[BorrowedFd<'a>; N]>,
}

impl<'a, const N: usize> Readable<'a, N> {
    pub(super) fn new(descriptors: [Option<BorrowedFd<'a>>; N]) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (at, descriptor) in (0..).zip(descriptors) {
            if let Some(descriptor) = descriptor {
                epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, at))?;
            }
        }
        Ok(Self { epoll, descriptors: PhantomData })
    }

    /// Sleeps until one is readable or broken, and says which are.
    pub(super) fn wait(&self) -> [bool; N] {
        let mut events = [EpollEvent::empty(); N];
        match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => {
                let ready = events.get(..count).unwrap_or_default();
                std::array::from_fn(|at| ready.iter().any(|event| event.data() == at as u64))
            }
            // Interrupted is as good as woken: the caller looks at everything again.
            Err(_) => [true; N],
        }
    }
}
