//! Packets that came early, and are to be dropped once when they come again by the session.
//!
//! Whoever sends a packet early sends it through the session too, because nothing tells it whether the first one arrived. What
//! arrived is kept here for as long as the second may be under way. Nearly always there is nothing, and then a packet costs one
//! comparison.

use std::time::Duration;

use lanyard_proto::time::Instant;
use lanyard_wire::ids::DeviceId;

/// Packets of one peer; the oldest goes. As many as its end keeps for a session.
const KEPT_MAX: usize = 8;
/// How long one may come again: WireGuard's handshake is a round trip, with a first message lost twice 750 ms more.
const KEPT: Duration = Duration::from_secs(3);

/// A packet that waits for a session with a peer, and may go early.
#[derive(Debug)]
pub struct Waiting {
    /// The peer.
    pub peer: DeviceId,
    /// The IP packet; a copy, the data plane keeps its own.
    pub packet: Vec<u8>,
}

/// What came early from one peer.
#[derive(Debug, Default)]
pub(super) struct CameEarly {
    packets: Vec<Vec<u8>>,
    until: Instant,
}

impl CameEarly {
    /// Keeps a packet that is delivered now.
    pub(super) fn keep(&mut self, packet: Vec<u8>, now: Instant) {
        if self.until <= now {
            self.packets.clear();
        }
        if self.packets.len() >= KEPT_MAX {
            self.packets.remove(0);
        }
        self.packets.push(packet);
        self.until = now + KEPT;
    }

    /// Whether this packet out of the session was delivered before; says so once. `now` is asked for only where something is kept.
    pub(super) fn is_second(&mut self, packet: &[u8], now: impl FnOnce() -> Instant) -> bool {
        if self.packets.is_empty() {
            return false;
        }
        if self.until <= now() {
            self.packets = Vec::new();
            return false;
        }
        let found = self.packets.iter().position(|kept| kept == packet);
        found.map(|at| self.packets.swap_remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_came_early_is_dropped_once() {
        let mut early = CameEarly::default();
        let now = || Instant::from_secs(1);
        assert!(!early.is_second(b"one", now));
        early.keep(b"one".to_vec(), now());
        early.keep(b"two".to_vec(), now());
        assert!(early.is_second(b"one", now));
        assert!(!early.is_second(b"one", now), "the same again is another packet");
        assert!(early.is_second(b"two", now));
    }

    #[test]
    fn what_never_came_again_is_forgotten() {
        let mut early = CameEarly::default();
        for number in 0..20 {
            early.keep(vec![number], Instant::from_secs(1));
        }
        assert!(!early.is_second(&[11], || Instant::from_secs(2)), "pushed out");
        assert!(early.is_second(&[12], || Instant::from_secs(2)));
        assert!(!early.is_second(&[13], || Instant::from_secs(4)), "too late");
    }
}
