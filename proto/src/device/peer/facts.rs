//! What can be told about a peer: for the table, the cache and people.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::ids::AttemptId;

use super::Peer;
use crate::device::relayed::Grant;
use crate::device::status::{Advice, AttemptStatus, PingStatus};
use crate::overlay::Path;
use crate::time::{Instant, WallClock};
use crate::transmit::Way;

impl Peer {
    /// Where datagrams go.
    pub(in crate::device) const fn path(&self) -> Path {
        self.path
    }

    /// The direct way that its datagrams take.
    pub(in crate::device) fn direct_way(&self) -> Option<Way> {
        match self.path {
            Path::Direct { local, remote } => Some(Way { local, remote }),
            Path::Relayed { .. } | Path::None => None,
        }
    }

    /// Every address at which it has answered, the one that we use too.
    pub(in crate::device) fn answered_at(&self) -> Vec<SocketAddr> {
        let mut addrs = self.paths.answered_at();
        if let Some(way) = self.direct_way().filter(|way| !addrs.contains(&way.remote)) {
            addrs.push(way.remote);
        }
        addrs
    }

    /// The right to a relay that it has now.
    pub(in crate::device) const fn grant(&self) -> Option<&Grant> {
        self.reach.grant.as_ref()
    }

    /// The largest packet that its path is known to carry.
    pub(in crate::device) const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// How often the datagram sent last was sent again.
    pub(in crate::device) const fn repeats(&self) -> u32 {
        self.repeats.count()
    }

    /// Round trip of the direct path.
    pub(in crate::device) fn rtt(&self) -> Option<Duration> {
        self.paths.rtt()
    }

    /// Round trip of the path that is in use, once measured.
    pub(in crate::device) fn path_rtt(&self) -> Option<Duration> {
        match self.path {
            Path::Relayed { .. } if self.is_carriers(self.path) => self.carried_rtt(),
            Path::Relayed { .. } => self.sounding.rtt(),
            Path::Direct { .. } | Path::None => self.paths.rtt(),
        }
    }

    /// How well each way answers pings.
    pub(in crate::device) fn ping_status(&self, now: Instant) -> Vec<PingStatus> {
        self.pings.status(now)
    }

    /// Bytes sent to the peer and heard from it since start.
    pub(in crate::device) const fn bytes(&self) -> (u64, u64) {
        (self.tx_bytes, self.rx_bytes)
    }

    /// The same since the last call of this.
    pub(in crate::device) fn take_untold(&mut self) -> (u64, u64) {
        let now = self.bytes();
        let (tx, rx) = core::mem::replace(&mut self.told_bytes, now);
        (self.tx_bytes.saturating_sub(tx), self.rx_bytes.saturating_sub(rx))
    }

    /// When traffic last flowed, in seconds of the Unix epoch; 0 for never.
    pub(in crate::device) fn last_traffic_s(&self, wall: &WallClock) -> u64 {
        self.last_traffic.map_or(self.last_traffic_s, |at| wall.unix_s(at))
    }

    /// Addresses worth remembering, best first.
    pub(in crate::device) fn endpoints(&self) -> Vec<SocketAddr> {
        self.recall.endpoints(self.paths.endpoints())
    }

    /// The attempt worth remembering.
    pub(in crate::device) fn memorable(&self) -> Option<AttemptId> {
        self.pings.memorable()
    }

    /// How the attempt stands; the advice is about what this peer alone knows.
    pub(in crate::device) fn attempt_status(&self) -> AttemptStatus {
        let advice = match (self.path, self.attempt.failure()) {
            (Path::Direct { .. }, _) => Advice::Direct,
            _ if self.traffic_at.is_none() => Advice::Idle,
            _ if self.attempt.is_running() => Advice::Trying,
            // Of two things in the way, the relay's is the one without which nothing goes.
            (Path::None, None | Some(Advice::ProbesLost | Advice::FullSizeLost)) => Advice::NoRelay,
            (_, Some(failure)) => failure,
            (Path::Relayed { .. }, None) => Advice::Trying,
        };
        // Who answered an earlier try and is not reached by it now is not there any more, for all that is known.
        let is_past = !self.path.is_direct() && !self.attempt.is_punching() && advice != Advice::FullSizeLost;
        let mut candidates_tried = self.attempt.tried();
        for tried in &mut candidates_tried {
            let is_in_use =
                matches!(self.path, Path::Direct { remote, .. } if remote == tried.candidate.addr);
            tried.answered = is_in_use || (tried.answered && !is_past);
        }
        AttemptStatus {
            state: self.attempt.state(),
            method: self.attempt.method(),
            their_card: self.attempt.their_card(),
            candidates_tried,
            guesses: self.attempt.guesses(),
            last_at: self.attempt.began_at(),
            next_at: self.attempt.next_at(),
            advice,
        }
    }
}
