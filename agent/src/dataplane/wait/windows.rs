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

/// Whom it wakes.
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

/// What a shard sleeps by: its queue, the waker and its sockets.
pub(in crate::dataplane) struct Watch<'a> {
    sleeper: &'a Sleeper,
    queue: &'a TunQueue,
    sockets: &'a ShardSockets,
    reads_kept: bool,
}

impl Sleeper {
    /// What to sleep by: a queue and the sockets, those that are kept included if they are read here, or the waker.
    ///
    /// # Errors
    /// None here.
    #[expect(clippy::unnecessary_wraps, reason = "other systems keep the list, and can refuse")]
    pub(in crate::dataplane) fn watch<'a>(
        &'a self,
        queue: &'a TunQueue,
        sockets: &'a ShardSockets,
        reads_kept: bool,
    ) -> io::Result<Watch<'a>> {
        Ok(Watch { sleeper: self, queue, sockets, reads_kept })
    }
}

impl Watch<'_> {
    /// Sleeps until there is something. Of several events the system names one, so all are worth asking.
    pub(in crate::dataplane) fn sleep(&self) -> Ready {
        let v6 = self.sockets.v6.iter().map(Udp::event);
        let kept = self.reads_kept.then(|| self.sockets.kept.event());
        let events = [self.queue.event(), &*self.sleeper.0, self.sockets.v4.event()];
        if Event::wait_for_any(events.into_iter().chain(v6).chain(kept)).is_err() {
            // Cannot happen with handles that are open; it must not become a loop that burns a core.
            thread::sleep(Duration::from_millis(1));
        }
        Ready { queue: true, v4: true, v6: true, kept: true }
    }
}

/// Gives the system a moment: it queues what is sent, and has no room only when it has no memory.
pub(in crate::dataplane) fn until_writable(_: &Udp, timeout_ms: u16) {
    thread::sleep(Duration::from_millis(timeout_ms.min(1).into()));
}
