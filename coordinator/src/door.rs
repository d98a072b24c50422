//! Connections that carry datagrams, between HTTP (`api`) and the control machine's shell (`udp`).
//!
//! A datagram's life in a door:
//! 1. `api` reads a binary message and hands it over ([`Connection::arrived`]); while the machine is behind, the
//!    connection is not read, so that TCP slows its sender down.
//! 2. The shell gives it to the machine like one that came by UDP, under the connection's address.
//! 3. What the machine sends or passes on to such an address goes to that connection's queue ([`Doors::send`]):
//!    bounded, newest kept.
//! 4. `api` writes the queue to the stream as fast as the stream takes it.
//!
//! Nothing here knows who is at the other end: sessions are the machine's business, under the same limits per source
//! as by UDP.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_proto::door::Queue;
use lanyard_wire::door;
use tokio::sync::{Notify, mpsc};

/// Connections at a time. Each has a queue of 128 KiB at the most and some 50 KiB of TLS: under 4 GB when
/// every queue is full, 1 GB when none is.
const CONNECTIONS_MAX: usize = 20_000;

/// Connections from one source at a time: an office behind one address, or behind one proxy.
const PER_SOURCE_MAX: u32 = 1_024;

/// Datagrams that wait for the machine, of all connections together.
const ARRIVED_MAX: usize = 1_024;

/// First bits of an origin that stands for an IPv6 source: no IPv4 source is out of 240.0.0.0/4 (RFC 1112, section 4).
const HASHED: u32 = 0xF000_0000;

/// A datagram out of a connection.
#[derive(Debug)]
pub struct Arrived {
    /// The connection's address.
    pub remote: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// All connections; clones are the same.
#[derive(Clone, Debug)]
pub struct Doors(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    hash: RandomState,
    next: AtomicU32,
    arrived: mpsc::Sender<Arrived>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Table {
    connections: HashMap<SocketAddr, Arc<Outlet>>,
    sources: HashMap<u32, u32>,
}

#[derive(Debug, Default)]
struct Counters {
    refused: AtomicU64,
    rx: AtomicU64,
    tx: AtomicU64,
    dropped: AtomicU64,
    unknown: AtomicU64,
}

/// What waits for one connection.
#[derive(Debug, Default)]
struct Outlet {
    queue: Mutex<Queue>,
    filled: Notify,
}

impl Doors {
    /// No connections yet, and where their datagrams come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Arrived>) {
        let (arrived, receiver) = mpsc::channel(ARRIVED_MAX);
        let shared = Shared {
            table: Mutex::default(),
            hash: RandomState::new(),
            next: AtomicU32::new(1),
            arrived,
            counters: Counters::default(),
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// A new connection from there; `None` when there are too many.
    #[must_use]
    pub fn enter(&self, source: IpAddr) -> Option<Connection> {
        let origin = self.origin_of(source);
        let mut table = lock(&self.0.table);
        let from_there = table.sources.get(&origin).copied().unwrap_or(0);
        if table.connections.len() >= CONNECTIONS_MAX || from_there >= PER_SOURCE_MAX {
            self.0.counters.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let addr = door::addr(origin, self.0.next.fetch_add(1, Ordering::Relaxed));
        let outlet = Arc::<Outlet>::default();
        // A number comes back after four thousand million connections; who has it by then is an old friend.
        if table.connections.contains_key(&addr) {
            return None;
        }
        table.connections.insert(addr, Arc::clone(&outlet));
        table.sources.insert(origin, from_there + 1);
        drop(table);
        Some(Connection { doors: self.clone(), addr, origin, outlet })
    }

    /// Queues a datagram for a connection; for one that is gone, or too long a datagram, it is dropped and counted.
    pub fn send(&self, remote: SocketAddr, bytes: &[u8]) {
        let outlet = lock(&self.0.table).connections.get(&remote).cloned();
        let Some(outlet) = outlet.filter(|_| bytes.len() <= door::MESSAGE_MAX) else {
            self.0.counters.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.0.counters.tx.fetch_add(1, Ordering::Relaxed);
        let mut queue = lock(&outlet.queue);
        let before = queue.dropped();
        queue.push(bytes.to_vec());
        self.0.counters.dropped.fetch_add(queue.dropped() - before, Ordering::Relaxed);
        drop(queue);
        outlet.filled.notify_one();
    }

    /// Writes the numbers into the metrics.
    pub fn observe(&self) {
        let counters = &self.0.counters;
        let set = |name: &'static str, value: &AtomicU64| {
            metrics::counter!(name).absolute(value.load(Ordering::Relaxed));
        };
        set("lanyard_door_refused_total", &counters.refused);
        set("lanyard_door_rx_datagrams_total", &counters.rx);
        set("lanyard_door_tx_datagrams_total", &counters.tx);
        set("lanyard_door_dropped_total", &counters.dropped);
        set("lanyard_door_unknown_total", &counters.unknown);
        metrics::gauge!("lanyard_door_connections").set(lock(&self.0.table).connections.len() as f64);
    }

    /// IPv4 sources as they are, IPv6 ones by a keyed hash of their /64.
    fn origin_of(&self, source: IpAddr) -> u32 {
        match source.to_canonical() {
            IpAddr::V4(ip) => ip.to_bits(),
            IpAddr::V6(ip) => {
                let hash = self.0.hash.hash_one(ip.to_bits() >> 64);
                HASHED | u32::try_from(hash >> 36).unwrap_or(0)
            }
        }
    }

    fn leave(&self, addr: SocketAddr, origin: u32) {
        let mut table = lock(&self.0.table);
        table.connections.remove(&addr);
        if let Some(count) = table.sources.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                table.sources.remove(&origin);
            }
        }
    }
}

/// The address that a person should see for a machine's remote: behind a door's, the device's own, as far as known.
#[must_use]
pub fn source_of(remote: IpAddr) -> IpAddr {
    match door::origin(remote) {
        Some(origin) if origin & HASHED != HASHED => Ipv4Addr::from_bits(origin).into(),
        Some(_) | None => remote,
    }
}

/// One connection; dropping it forgets it.
#[derive(Debug)]
pub struct Connection {
    doors: Doors,
    addr: SocketAddr,
    origin: u32,
    outlet: Arc<Outlet>,
}

impl Connection {
    /// Hands a datagram to the machine; waits while that is behind. False once it is gone.
    pub async fn arrived(&self, bytes: Vec<u8>) -> bool {
        self.doors.0.counters.rx.fetch_add(1, Ordering::Relaxed);
        self.doors.0.arrived.send(Arrived { remote: self.addr, bytes }).await.is_ok()
    }

    /// The next datagram for the stream, when there is one.
    pub async fn next(&self) -> Vec<u8> {
        loop {
            if let Some(datagram) = self.pop() {
                return datagram;
            }
            self.outlet.filled.notified().await;
        }
    }

    /// The next datagram, if there is one now.
    #[must_use]
    pub fn pop(&self) -> Option<Vec<u8>> {
        lock(&self.outlet.queue).pop()
    }

    /// The address the machine knows it by.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.doors.leave(self.addr, self.origin);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is consistent after every statement, also after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_to_a_connection_comes_out_of_it_in_order() {
        let (doors, mut arrived) = Doors::new();
        let one = doors.enter("203.0.113.9".parse().unwrap()).unwrap();
        let other = doors.enter("203.0.113.9".parse().unwrap()).unwrap();
        assert_ne!(one.addr(), other.addr());
        doors.send(one.addr(), b"first");
        doors.send(one.addr(), b"second");
        assert_eq!(one.next().await, b"first");
        assert_eq!(one.next().await, b"second");
        assert_eq!(other.pop(), None);
        assert!(other.arrived(b"hello".to_vec()).await);
        let Arrived { remote, bytes } = arrived.recv().await.unwrap();
        assert_eq!((remote, bytes.as_slice()), (other.addr(), &b"hello"[..]));
    }

    #[test]
    fn a_connection_that_is_gone_gets_nothing_and_its_place_is_free() {
        let (doors, _arrived) = Doors::new();
        let connection = doors.enter("203.0.113.9".parse().unwrap()).unwrap();
        let addr = connection.addr();
        drop(connection);
        doors.send(addr, b"too late");
        assert_eq!(doors.0.counters.unknown.load(Ordering::Relaxed), 1);
        let table = lock(&doors.0.table);
        assert!(table.connections.is_empty() && table.sources.is_empty());
    }

    #[test]
    fn one_source_cannot_take_all_places() {
        let (doors, _arrived) = Doors::new();
        let from = |text: &str| doors.enter(text.parse().unwrap());
        let taken: Vec<_> = (0..PER_SOURCE_MAX).map(|_| from("203.0.113.9").unwrap()).collect();
        assert!(from("203.0.113.9").is_none());
        assert!(from("203.0.113.10").is_some());
        drop(taken);
        assert!(from("203.0.113.9").is_some());
        // A /64 is one source.
        let taken: Vec<_> = (0..PER_SOURCE_MAX).map(|_| from("2001:db8::1").unwrap()).collect();
        assert!(from("2001:db8::2").is_none());
        assert!(from("2001:db8:0:1::2").is_some());
        drop(taken);
    }

    #[test]
    fn a_reader_that_does_not_read_costs_no_more_than_its_queue() {
        let (doors, _arrived) = Doors::new();
        let connection = doors.enter("203.0.113.9".parse().unwrap()).unwrap();
        for _ in 0..1_000 {
            doors.send(connection.addr(), &[7; 1_400]);
        }
        assert!(lock(&connection.outlet.queue).bytes() <= Queue::BYTES_MAX);
        assert!(doors.0.counters.dropped.load(Ordering::Relaxed) > 900);
    }

    #[test]
    fn a_datagram_too_long_for_a_message_is_not_queued() {
        let (doors, _arrived) = Doors::new();
        let connection = doors.enter("203.0.113.9".parse().unwrap()).unwrap();
        doors.send(connection.addr(), &[0; door::MESSAGE_MAX + 1]);
        assert_eq!(connection.pop(), None);
    }

    #[test]
    fn people_see_the_devices_address_and_not_the_doors() {
        let (doors, _arrived) = Doors::new();
        let connection = doors.enter("::ffff:203.0.113.9".parse().unwrap()).unwrap();
        assert_eq!(source_of(connection.addr().ip()).to_string(), "203.0.113.9");
        let far: IpAddr = "2001:db8::1".parse().unwrap();
        let connection = doors.enter(far).unwrap();
        assert_eq!(source_of(connection.addr().ip()), connection.addr().ip(), "a hash tells nobody anything");
        assert_eq!(source_of(far), far);
    }
}
