//! Datagrams on their way out, as trains.
//!
//! Consecutive datagrams to one address by one route, all of one length except a shorter last one, leave with one
//! system call. Where the kernel or the card refuses that, they leave one by one.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::routes::Route;
use super::sockets::Sockets;

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

    /// What was counted since the last call.
    pub(super) fn take_counters(&mut self) -> Sent {
        core::mem::take(&mut self.sent)
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

    /// Sends a train of datagrams of `segment` bytes from where it lies, after what was added before it.
    pub(super) fn push_train(
        &mut self,
        sockets: &Sockets,
        route: Option<Route>,
        remote: SocketAddr,
        bytes: &[u8],
        segment: usize,
    ) {
        self.flush(sockets);
        let Some(route) = route else {
            self.sent.dropped += bytes.len().div_ceil(segment.max(1)) as u64;
            return;
        };
        // As many as the kernel takes at once, by number and by length.
        let most = sockets.train_max(route).min(BYTES_MAX / segment.max(1)).max(1);
        for train in bytes.chunks(most * segment) {
            self.sent.send_train(sockets, route, remote, train, segment);
        }
    }

    /// Sends what there is.
    pub(super) fn flush(&mut self, sockets: &Sockets) {
        let Some((route, remote)) = self.target.take() else { return };
        self.sent.send_train(sockets, route, remote, &self.bytes, self.segment);
        self.bytes.clear();
        self.count = 0;
        self.is_closed = false;
    }
}

impl Sent {
    pub(super) const fn add(&mut self, more: Self) {
        self.datagrams += more.datagrams;
        self.bytes += more.bytes;
        self.dropped += more.dropped;
    }

    /// Sends a train, in one call where that is possible.
    fn send_train(
        &mut self,
        sockets: &Sockets,
        route: Route,
        remote: SocketAddr,
        bytes: &[u8],
        segment: usize,
    ) {
        let count = bytes.len().div_ceil(segment.max(1)).max(1) as u64;
        let segments = (count > 1).then_some(segment);
        match sockets.send(route, remote, bytes, segments) {
            Ok(()) => {
                self.datagrams += count;
                self.bytes += bytes.len() as u64;
            }
            Err(error) if count > 1 && error.kind() != ErrorKind::WouldBlock => {
                for datagram in bytes.chunks(segment) {
                    match sockets.send(route, remote, datagram, None) {
                        Ok(()) => {
                            self.datagrams += 1;
                            self.bytes += datagram.len() as u64;
                        }
                        Err(_) => self.dropped += 1,
                    }
                }
            }
            Err(_) => self.dropped += count,
        }
    }
}
