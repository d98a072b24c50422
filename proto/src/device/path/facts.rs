//! What can be told about the direct paths to a peer.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::door::is_door;

use super::Paths;
use super::lane::next_proof;
use crate::device::candidates::Rank;
use crate::time::Instant;
use crate::transmit::{SocketId, Way};

impl Paths {
    /// Where datagrams go, if a direct path is chosen.
    pub(in crate::device) fn current(&self) -> Option<Way> {
        self.current.map(|current| current.way)
    }

    /// The same, unless it does not answer: data had better go by relay until it does, or is lost.
    pub(in crate::device) fn live(&self) -> Option<Way> {
        self.current.filter(|current| !current.health.is_doubtful()).map(|current| current.way)
    }

    /// Round trip of the current lane.
    pub(in crate::device) fn rtt(&self) -> Option<Duration> {
        self.lanes.get(&self.current()?)?.rtt
    }

    /// The shortest round trip of any lane: a hint for how long answers take.
    pub(in crate::device) fn shortest_rtt(&self) -> Option<Duration> {
        self.lanes.values().filter_map(|lane| lane.rtt).min()
    }

    /// Some lane answers small pings and none carries full-size ones.
    pub(in crate::device) fn is_full_size_lost(&self) -> bool {
        self.lanes.values().any(|lane| lane.is_small_only)
            && self.lanes.values().all(|lane| lane.proven_at.is_none())
    }

    /// Every address at which the peer has answered.
    pub(in crate::device) fn answered_at(&self) -> Vec<SocketAddr> {
        let answered = self.lanes.iter().filter(|(_, lane)| lane.is_answered);
        let mut addrs: Vec<SocketAddr> = answered.map(|(way, _)| way.remote).collect();
        addrs.dedup();
        addrs
    }

    /// Addresses worth remembering, best first: the current one, then proven ones.
    pub(in crate::device) fn endpoints(&self) -> Vec<SocketAddr> {
        let mut proven: Vec<_> =
            self.lanes.iter().filter(|(_, lane)| lane.proven_at.is_some()).map(|(way, _)| *way).collect();
        proven.sort_by_key(|way| (self.current() != Some(*way), Rank::of(way.remote), *way));
        let mut endpoints: Vec<SocketAddr> = Vec::new();
        for way in proven {
            // A connection cannot be knocked at once it is gone.
            if !is_door(way.remote) && !endpoints.contains(&way.remote) {
                endpoints.push(way.remote);
            }
        }
        endpoints
    }

    /// Whether a socket is of use: datagrams go by it, or may soon.
    pub(in crate::device) fn uses(&self, local: SocketId, now: Instant) -> bool {
        self.lanes.iter().any(|(way, lane)| {
            way.local == local
                && (self.current() == Some(*way)
                    || self.is_eligible(lane, now)
                    || lane.proof.is_some_and(|proof| next_proof(proof).is_some()))
        })
    }
}
