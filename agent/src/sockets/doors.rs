//! Where datagrams wait between a door's connection and everybody else.
//!
//! A door's address (`lanyard_wire::door`) has no socket. What is sent to it goes into the queue of its
//! connection, [`Outlet`]; what the connection brings goes into one queue for all doors, which the first shard
//! empties as if it were a third socket. Both are bounded and keep the newest.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use lanyard_proto::door::Queue;
use lanyard_wire::door::MESSAGE_MAX;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Datagrams from all doors that wait for the shard.
const ARRIVED_MAX: usize = 1_024;

/// All doors of one set of sockets; clones are the same.
#[derive(Clone, Default)]
pub struct Doors(Arc<Shared>);

#[derive(Default)]
struct Shared {
    outlets: ArcSwap<HashMap<SocketAddr, Arc<Outlet>>>,
    arrived: Mutex<VecDeque<(SocketAddr, Vec<u8>)>>,
    has_arrived: AtomicBool,
    dropped: AtomicU64,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// What waits for one connection.
#[derive(Debug, Default)]
pub struct Outlet {
    queue: Mutex<Queue>,
    filled: Notify,
}

impl Doors {
    /// Opens a queue for an address.
    pub fn add(&self, addr: SocketAddr) -> Arc<Outlet> {
        let outlet = Arc::<Outlet>::default();
        self.0.outlets.rcu(|known| {
            let mut next = HashMap::clone(known);
            next.insert(addr, Arc::clone(&outlet));
            next
        });
        outlet
    }

    /// Closes it.
    pub fn remove(&self, addr: SocketAddr) {
        self.0.outlets.rcu(|known| {
            let mut next = HashMap::clone(known);
            next.remove(&addr);
            next
        });
    }

    /// Queues bytes, cut into datagrams of `stride`; says how many datagrams had to go for them, or could not
    /// be taken.
    pub fn send(&self, remote: SocketAddr, bytes: &[u8], stride: usize) -> u64 {
        let datagrams = bytes.chunks(stride.max(1));
        let Some(outlet) = self.0.outlets.load().get(&remote).map(Arc::clone) else {
            return datagrams.len() as u64;
        };
        let mut lost = 0;
        let mut queue = outlet.queue.lock();
        let before = queue.dropped();
        for datagram in datagrams {
            if datagram.len() > MESSAGE_MAX {
                lost += 1;
            } else {
                queue.push(datagram.to_vec());
            }
        }
        lost += queue.dropped() - before;
        drop(queue);
        outlet.filled.notify_one();
        lost
    }

    /// A connection brought a datagram.
    pub fn arrived(&self, from: SocketAddr, bytes: Vec<u8>) {
        let mut arrived = self.0.arrived.lock();
        if arrived.len() >= ARRIVED_MAX {
            arrived.pop_front();
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        arrived.push_back((from, bytes));
        drop(arrived);
        if !self.0.has_arrived.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.0.wake.get()
        {
            wake();
        }
    }

    /// Takes what has arrived, up to `limit` datagrams, oldest first.
    pub fn take(&self, limit: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        if !self.0.has_arrived.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut arrived = self.0.arrived.lock();
        let count = arrived.len().min(limit);
        let taken = arrived.drain(..count).collect();
        self.0.has_arrived.store(!arrived.is_empty(), Ordering::Release);
        taken
    }

    /// Who is to be woken when something arrives; the first word holds.
    pub fn on_arrival(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.wake.set(Box::new(wake));
    }

    /// Datagrams that arrived and had to go, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").field("outlets", &self.0.outlets.load()).finish_non_exhaustive()
    }
}

impl Outlet {
    /// The next datagram, when there is one.
    pub async fn next(&self) -> Vec<u8> {
        loop {
            if let Some(datagram) = self.pop() {
                return datagram;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until a datagram waits, and leaves it there.
    pub async fn wanted(&self) {
        while self.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// The next datagram, if there is one now.
    pub fn pop(&self) -> Option<Vec<u8>> {
        self.queue.lock().pop()
    }

    /// Forgets what waits: it is too old by the time there is a connection.
    pub fn clear(&self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use lanyard_wire::door;

    use super::*;

    #[tokio::test]
    async fn a_train_comes_out_of_the_queue_as_the_datagrams_it_was_made_of() {
        let doors = Doors::default();
        let outlet = doors.add(door::addr(0, 1));
        assert_eq!(doors.send(door::addr(0, 1), &[1, 1, 2, 2, 3], 2), 0);
        outlet.wanted().await;
        assert_eq!(outlet.next().await, [1, 1]);
        assert_eq!(outlet.next().await, [2, 2]);
        assert_eq!(outlet.next().await, [3]);
        assert_eq!(outlet.pop(), None);
    }

    #[test]
    fn what_cannot_be_taken_is_counted() {
        let doors = Doors::default();
        assert_eq!(doors.send(door::addr(0, 1), &[0; 10], 5), 2, "nobody there");
        let outlet = doors.add(door::addr(0, 1));
        assert_eq!(doors.send(door::addr(0, 1), &[0; MESSAGE_MAX + 1], MESSAGE_MAX + 1), 1, "too long");
        let lost: u64 = (0..200).map(|_| doors.send(door::addr(0, 1), &[0; 1_400], 1_400)).sum();
        assert_eq!(lost, 200 - (Queue::BYTES_MAX / 1_400) as u64);
        outlet.clear();
        assert_eq!(outlet.pop(), None);
        doors.remove(door::addr(0, 1));
        assert_eq!(doors.send(door::addr(0, 1), &[0; 10], 10), 1);
    }

    #[test]
    fn the_shard_is_woken_once_until_it_has_looked() {
        let doors = Doors::default();
        let woken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&woken);
        doors.on_arrival(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        for value in 0..3 {
            doors.arrived(door::addr(0, 1), vec![value]);
        }
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert_eq!(doors.take(2).len(), 2);
        assert_eq!(doors.take(2), [(door::addr(0, 1), vec![2])]);
        doors.arrived(door::addr(0, 1), vec![4]);
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_shard_that_does_not_look_costs_a_bounded_queue() {
        let doors = Doors::default();
        for _ in 0..ARRIVED_MAX + 7 {
            doors.arrived(door::addr(0, 1), vec![0]);
        }
        assert_eq!(doors.dropped(), 7);
        assert_eq!(doors.take(usize::MAX).len(), ARRIVED_MAX);
    }
}
