//! Sleeping on events: the ring of the interface has one, and so has every socket.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Ready;
use crate::sockets::{ShardSockets, Udp};
use crate::tun::TunQueue;
use crate::windows::Event;

/// Wakes a sleeping shard from another thread; used to stop it.
#[derive(Debug)]
pub(in crate::dataplane) struct Waker(Arc<Event>);

/// What a shard sleeps by.
#[derive(Debug)]
pub(in crate::dataplane) struct Sleeper(Arc<Event>);

impl Waker {
    /// A waker and whom it wakes.
    pub(in crate::dataplane) fn new() -> io::Result<(Self, Sleeper)> {
        let event = Arc::new(Event::new()?);
        Ok((Self(Arc::clone(&event)), Sleeper(event)))
    }

    pub(in crate::dataplane) fn wake(&self) {
        self.0.set();
    }
}

impl Sleeper {
    /// Sleeps until the queue or a socket has something, those that are kept included if they are read here, or the
    /// waker wakes. Of several events the system names one, so all are worth asking.
    pub(in crate::dataplane) fn sleep(
        &self,
        queue: &TunQueue,
        sockets: &ShardSockets,
        reads_kept: bool,
    ) -> Ready {
        let v6 = sockets.v6.iter().map(Udp::event);
        let kept = reads_kept.then(|| sockets.kept.event());
        let events = [queue.event(), &*self.0, sockets.v4.event()].into_iter().chain(v6).chain(kept);
        if Event::wait_for_any(events).is_err() {
            // Cannot happen with handles that are open; it must not become a loop that burns a core.
            thread::sleep(Duration::from_millis(1));
        }
        Ready { v4: true, v6: true, kept: true }
    }
}

/// Gives the system a moment: it queues what is sent, and has no room only when it has no memory.
pub(in crate::dataplane) fn until_writable(_: &Udp, timeout_ms: u16) {
    thread::sleep(Duration::from_millis(timeout_ms.min(1).into()));
}
