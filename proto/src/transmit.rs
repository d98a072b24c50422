//! Datagrams on their way into a machine and out of it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

/// Which of the shell's sockets a datagram came by or is to leave by.
///
/// On a device, [`SocketId::MAIN`] is the tunnel's own socket (the shell picks the family by the remote
/// address) and higher numbers are spare sockets, opened by the shell at their first use. On the STUN service
/// the four sockets of the address grid are numbered `2 * ip + port`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u16);

impl SocketId {
    /// The socket that is shared with WireGuard.
    pub const MAIN: Self = Self(0);
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}", self.0)
    }
}

/// From one of our sockets to an address of a peer: a candidate pair of RFC 8445, section 5.7.
///
/// Behind a NAT with address-and-port-dependent mapping, several sockets that send to one address have several
/// mappings, of which one may work and the others not: so a path is a pair, not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// Our end.
    pub local: SocketId,
    /// The peer's end.
    pub remote: SocketAddr,
}

impl Way {
    /// From the tunnel's own socket.
    #[must_use]
    pub const fn main(remote: SocketAddr) -> Self {
        Self { local: SocketId::MAIN, remote }
    }
}

impl From<SocketAddr> for Way {
    fn from(remote: SocketAddr) -> Self {
        Self::main(remote)
    }
}

/// Bytes that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The socket it arrived at.
    pub local: SocketId,
    /// The address it says it came from: nothing is known about that until something proves it.
    pub remote: SocketAddr,
    /// What it carries.
    pub bytes: &'a [u8],
}

impl Datagram<'_> {
    /// The way it took.
    #[must_use]
    pub const fn way(&self) -> Way {
        Way { local: self.local, remote: self.remote }
    }
}

/// Bytes to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The socket to send from.
    pub local: SocketId,
    /// The address to send to.
    pub remote: SocketAddr,
    /// What to send.
    pub bytes: Vec<u8>,
}

/// The datagrams a machine wants sent, in order.
///
/// Bounded: when it is full the oldest goes, since everything in it is repeated when no answer comes and what
/// is newest is worth most. A shell that drains after each call never sees that happen.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: VecDeque<Transmit>,
    capacity: usize,
    dropped: u64,
}

impl Outbox {
    /// Datagrams that one call to a machine of a device may produce.
    ///
    /// A punch to 8 candidates of 30 peers at the same moment still fits.
    pub const CAPACITY: usize = 256;

    /// An empty outbox of the usual capacity.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// An empty outbox that holds `capacity` datagrams at the most.
    #[must_use]
    pub const fn with_capacity(capacity: usize) -> Self {
        Self { queue: VecDeque::new(), capacity, dropped: 0 }
    }

    /// Queues a datagram, at the cost of the oldest one if there is no room.
    pub fn push(&mut self, transmit: Transmit) {
        if self.queue.len() >= self.capacity {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(transmit);
    }

    /// Takes the next datagram to send.
    pub fn pop(&mut self) -> Option<Transmit> {
        self.queue.pop_front()
    }

    /// How many datagrams wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether at least half the room is taken: a machine with more to say had better wait for a drain.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.queue.len() * 2 >= self.capacity
    }

    /// How many datagrams were lost to a full queue since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn datagrams_leave_in_the_order_they_came() {
        let mut outbox = Outbox::new();
        outbox.push(transmit(1));
        outbox.push(transmit(2));
        assert_eq!(outbox.pop(), Some(transmit(1)));
        assert_eq!(outbox.pop(), Some(transmit(2)));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn a_full_outbox_loses_its_oldest_datagram() {
        let mut outbox = Outbox::with_capacity(2);
        for value in 1..=3 {
            outbox.push(transmit(value));
        }
        assert_eq!(outbox.len(), 2);
        assert_eq!(outbox.dropped(), 1);
        assert_eq!(outbox.pop(), Some(transmit(2)));
    }

    fn transmit(value: u8) -> Transmit {
        Transmit { local: SocketId::MAIN, remote: ([192, 0, 2, 1], 7443).into(), bytes: vec![value] }
    }
}
