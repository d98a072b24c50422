//! The keys, counters and indices of one session.

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::envelope::DataHeader;
use lanyard_wire::ids::SessionIndex;
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::limits::COUNTER_MAX;
use lanyard_wire::seal::DeviceWindow;

use crate::noise::SessionKeys;
use crate::rejected::Rejected;

/// How far back a counter that an UNKNOWN quotes may lie.
///
/// The hint answers something just sent; 1,024 datagrams are more than a session sends in a round trip.
const RECENT: u64 = 1_024;

/// A session that data goes through.
#[derive(Debug)]
pub(super) struct Session {
    /// Our number for it: the service writes it on what it sends.
    pub(super) local_index: SessionIndex,
    /// The service's number for it.
    pub(super) remote_index: SessionIndex,
    /// Where the service is.
    pub(super) remote: SocketAddr,
    keys: SessionKeys,
    counter: u64,
    window: DeviceWindow,
}

/// What a datagram held.
#[derive(Debug)]
pub(super) struct Opened {
    /// The service wants to hear something.
    pub(super) wants_answer: bool,
    /// The number of the datagram, which the answer names.
    pub(super) counter: u64,
    /// A message, or nothing: the keep-alive.
    pub(super) body: Vec<u8>,
}

impl Session {
    /// A session of fresh keys.
    pub(super) fn new(
        local_index: SessionIndex,
        remote_index: SessionIndex,
        remote: SocketAddr,
        keys: SessionKeys,
    ) -> Self {
        Self { local_index, remote_index, remote, keys, counter: 0, window: DeviceWindow::new() }
    }

    /// The secret that goes with the tickets given in this session.
    pub(super) const fn resumption(&self) -> &SymmetricKey {
        &self.keys.resumption
    }

    /// Seals a message; `None` when the counters are used up, which no session lives to see.
    pub(super) fn seal(&mut self, wants_answer: bool, body: &[u8]) -> Option<Vec<u8>> {
        let counter = self.counter;
        if counter >= COUNTER_MAX {
            return None;
        }
        self.counter += 1;
        let header = DataHeader { answer: wants_answer, receiver: self.remote_index, counter };
        Some(header.seal(&self.keys.sealing, body))
    }

    /// Opens a datagram that carries our index.
    pub(super) fn open(&mut self, bytes: &[u8]) -> Result<Opened, Rejected> {
        let header = DataHeader::parse(bytes).map_err(|_| Rejected::Malformed)?;
        if !self.window.check(header.counter) {
            return Err(Rejected::Replayed);
        }
        let mut bytes = bytes.to_vec();
        let body = header.open(&self.keys.opening, &mut bytes).ok_or(Rejected::Unauthenticated)?.to_vec();
        self.window.accept(header.counter);
        Ok(Opened { wants_answer: header.answer, counter: header.counter, body })
    }

    /// Did this session lately send a datagram of that counter?
    pub(super) const fn sent_lately(&self, counter: u64) -> bool {
        counter < self.counter && self.counter - counter <= RECENT
    }
}
