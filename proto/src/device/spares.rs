//! Fresh sockets: their numbers, and what is being found out with them before a punch.
//!
//! A plan may need to know the port that the NAT gave last, or the mapping of a socket that nothing has used yet. Both
//! are one question to a STUN server from a fresh socket, asked when HANDSHAKE says so and as late as possible.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::handshake::{Go, Method};
use lanyard_wire::ids::AttemptId;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::limits::CANDIDATES_MAX;

use super::Device;
use super::event::Event;
use super::guess::Guess;
use crate::time::Instant;
use crate::transmit::SocketId;

/// Numbers from here on are given to punches; those below are netcheck's.
const FIRST: u16 = 64;

/// Fresh sockets open at the same time: two punches of the largest kind, or paths by so many.
///
/// With the sockets of netcheck and the tunnel's own that is well under the 1,024 files that a program may have open.
pub const FRESH_SOCKETS_MAX: usize = 512;

/// The numbers in use.
#[derive(Debug)]
pub(super) struct Spares {
    next: u16,
    open: BTreeSet<SocketId>,
    preparing: BTreeMap<SocketId, Preparing>,
    /// Sockets that are ready for the punch of an attempt.
    ready: BTreeMap<AttemptId, SocketId>,
    /// Sockets that have served and are closed with the next table.
    closing: Vec<SocketId>,
}

/// An attempt whose next offer waits for what a fresh socket shows.
#[derive(Clone, Copy, Debug)]
struct Preparing {
    coordinator: PublicKey,
    attempt: AttemptId,
    method: Method,
}

impl Default for Spares {
    fn default() -> Self {
        Self {
            next: FIRST,
            open: BTreeSet::new(),
            preparing: BTreeMap::new(),
            ready: BTreeMap::new(),
            closing: Vec::new(),
        }
    }
}

impl Spares {
    /// So many numbers that are not in use, or as many as there are left.
    ///
    /// They go round, so that no late answer to a closed socket is heard by the next.
    pub(super) fn take(&mut self, count: usize) -> Vec<SocketId> {
        let count = count.min(FRESH_SOCKETS_MAX.saturating_sub(self.open.len()));
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let socket = SocketId(self.next);
            self.next = self.next.checked_add(1).unwrap_or(FIRST);
            if self.open.insert(socket) {
                taken.push(socket);
            }
        }
        taken
    }

    /// A socket is closed.
    pub(super) fn release(&mut self, socket: SocketId) {
        self.open.remove(&socket);
        self.preparing.remove(&socket);
        self.ready.retain(|_, ready| *ready != socket);
    }
}

impl Device {
    /// HANDSHAKE wants to know more before it gives the start signal.
    pub(super) fn on_prepare(
        &mut self,
        coordinator: PublicKey,
        attempt: AttemptId,
        method: Method,
        now: Instant,
    ) {
        let mut peers = self.peers.of_attempt(attempt).into_iter();
        if !peers
            .any(|device| self.peers.get(&device).is_some_and(|peer| peer.has_offered(coordinator, attempt)))
        {
            return;
        }
        let preparing = Preparing { coordinator, attempt, method };
        let Some(socket) = self.spares.take(1).first().copied() else {
            self.offer_prepared(preparing, None, now);
            return;
        };
        self.spares.preparing.insert(socket, preparing);
        self.netcheck.sample(socket, now);
    }

    /// A fresh socket was seen from there, or from nowhere.
    pub(super) fn on_sampled(&mut self, socket: SocketId, mapped: Option<SocketAddr>, now: Instant) {
        let Some(preparing) = self.spares.preparing.remove(&socket) else { return };
        if preparing.method == Method::Fresh && mapped.is_some() {
            let old = self.spares.ready.insert(preparing.attempt, socket);
            old.into_iter().for_each(|old| self.close(old));
        } else {
            self.close(socket);
        }
        self.offer_prepared(preparing, mapped, now);
    }

    /// The sockets for a punch that is to start.
    pub(super) fn sockets_for(&mut self, go: &Go) -> Vec<SocketId> {
        let ready = self.spares.ready.remove(&go.attempt);
        match (go.method, ready) {
            (Method::Fresh, ready) => ready.into_iter().collect(),
            (method, ready) => {
                ready.into_iter().for_each(|ready| self.close(ready));
                self.spares.take(usize::from(Guess::sockets(method)))
            }
        }
    }

    /// A fresh socket has served. It goes after the next table, which names it no more: until then data may still take it.
    pub(super) fn close(&mut self, socket: SocketId) {
        self.spares.release(socket);
        self.spares.closing.push(socket);
    }

    /// Closes what no table names any more.
    pub(super) fn close_served(&mut self) {
        for socket in core::mem::take(&mut self.spares.closing) {
            self.push_event(Event::CloseSocket(socket));
        }
    }

    /// An offer that was made is over: what was prepared for it goes, or is being prepared.
    pub(super) fn unprepare(&mut self, attempt: AttemptId) {
        let preparing = self.spares.preparing.iter().find(|(_, preparing)| preparing.attempt == attempt);
        let sockets = [preparing.map(|(socket, _)| *socket), self.spares.ready.get(&attempt).copied()];
        sockets.into_iter().flatten().for_each(|socket| self.close(socket));
    }

    /// Offers again, with what was found out.
    fn offer_prepared(&mut self, preparing: Preparing, mapped: Option<SocketAddr>, now: Instant) {
        let Preparing { coordinator, attempt, method } = preparing;
        let card = *self.netcheck.card();
        let mut candidates = self.candidates();
        if let Some(addr) = mapped {
            let kind = if method == Method::Fresh {
                // The main socket's mappings are what did not work.
                candidates.retain(|candidate| candidate.kind == CandidateKind::Host);
                CandidateKind::ServerReflexive
            } else {
                CandidateKind::Predicted
            };
            candidates.insert(0, Candidate { kind, addr });
            candidates.truncate(CANDIDATES_MAX);
        }
        if let Some(coordinator) = self.coordinator_mut(&coordinator) {
            coordinator.offer_prepared(attempt, candidates, card, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round_and_skip_those_in_use() {
        let mut spares = Spares { next: u16::MAX, ..Spares::default() };
        let kept = spares.take(2);
        assert_eq!(kept, [SocketId(u16::MAX), SocketId(FIRST)]);
        spares.next = u16::MAX;
        assert_eq!(spares.take(1), [SocketId(FIRST + 1)]);
        spares.release(SocketId(FIRST));
        spares.next = FIRST;
        assert_eq!(spares.take(1), [SocketId(FIRST)]);
    }

    #[test]
    fn no_more_sockets_are_given_than_may_be_open() {
        let mut spares = Spares::default();
        assert_eq!(spares.take(500).len(), 500);
        assert_eq!(spares.take(256).len(), 12);
        assert_eq!(spares.take(1), []);
    }
}
