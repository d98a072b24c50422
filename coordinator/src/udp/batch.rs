//! Datagrams on their way out, as trains.
//!
//! Consecutive datagrams to one address by one route, all of one length except a shorter last one, leave with one
//! system call. Where the kernel or the card refuses that, they leave one by one.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::sockets::{Route, Sockets};

/// Longest train in bytes: what one UDP/IP packet of the kernel's may carry.
const BYTES_MAX: usize = 60_000;

/// What was sent and what was not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
}

/// The train that is being put together.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    segment: usize,
    count: usize,
    target: Option<(Route, SocketAddr)>,
    /// The last datagram was shorter: nothing may follow it.
    is_closed: bool,
    sent: Sent,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(BYTES_MAX),
            segment: 0,
            count: 0,
            target: None,
            is_closed: false,
            sent: Sent::default(),
        }
    }

    pub(super) const fn counters(&self) -> Sent {
        self.sent
    }

    /// Adds a datagram; sends the train before it when it does not fit.
    pub(super) fn push(&mut self, sockets: &Sockets, route: Option<Route>, remote: SocketAddr, bytes: &[u8]) {
        let Some(route) = route else {
            // No socket of that family.
            self.sent.dropped += 1;
            return;
        };
        let fits = self.target == Some((route, remote))
            && !self.is_closed
            && bytes.len() <= self.segment
            && self.bytes.len() + bytes.len() <= BYTES_MAX
            && self.count < sockets.train_max(route);
        if !fits {
            self.flush(sockets);
            self.target = Some((route, remote));
            self.segment = bytes.len();
        }
        self.is_closed = bytes.len() < self.segment;
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
    }

    /// Sends what there is.
    pub(super) fn flush(&mut self, sockets: &Sockets) {
        let Some((route, remote)) = self.target.take() else { return };
        let segment = (self.count > 1).then_some(self.segment);
        match sockets.send(route, remote, &self.bytes, segment) {
            Ok(()) => {
                self.sent.datagrams += self.count as u64;
                self.sent.bytes += self.bytes.len() as u64;
            }
            Err(error) if segment.is_some() && error.kind() != ErrorKind::WouldBlock => {
                self.send_one_by_one(sockets, route, remote);
            }
            Err(_) => self.sent.dropped += self.count as u64,
        }
        self.bytes.clear();
        self.count = 0;
        self.is_closed = false;
    }
    fn send_one_by_one(&mut self, sockets: &Sockets, route: Route, remote: SocketAddr) {
        for datagram in self.bytes.chunks(self.segment.max(1)) {
            match sockets.send(route, remote, datagram, None) {
                Ok(()) => {
                    self.sent.datagrams += 1;
                    self.sent.bytes += datagram.len() as u64;
                }
                Err(_) => self.sent.dropped += 1,
            }
        }
    }
}
