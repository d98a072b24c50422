//! The start of a punch, and the fresh sockets it may be given.

use core::net::SocketAddr;

use lanyard_wire::candidate::Candidate;
use lanyard_wire::handshake::Go;
use lanyard_wire::ids::AttemptId;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::nat::NatCard;

use super::{Action, Peer};
use crate::rejected::Rejected;
use crate::time::Instant;
use crate::transmit::{SocketId, Way};

impl Peer {
    /// Whether HANDSHAKE has an offer of ours for this attempt.
    pub(in crate::device) fn has_offered(&self, coordinator: PublicKey, attempt: AttemptId) -> bool {
        self.attempt.has_offered(coordinator, attempt)
    }

    /// HANDSHAKE gave the start signal; `candidates` are those of its list worth a probe, `sockets` fresh ones, which
    /// become the peer's, `ours` the card of our NAT.
    ///
    /// # Errors
    ///
    /// When no offer of ours is meant; the sockets stay the caller's.
    pub(in crate::device) fn go(
        &mut self,
        coordinator: PublicKey,
        go: &Go,
        candidates: &[Candidate],
        sockets: &[SocketId],
        ours: &NatCard,
        now: Instant,
    ) -> Result<(), Rejected> {
        let rtt = self.paths.shortest_rtt();
        if !self.attempt.go(coordinator, go, candidates, sockets, ours, rtt, now) {
            return Err(Rejected::UnknownAttempt);
        }
        self.sockets.extend(sockets.iter().map(|socket| (*socket, false)));
        self.pings.share(go.attempt);
        self.expected = candidates.iter().map(|candidate| candidate.addr).collect();
        self.settle("punching", now);
        Ok(())
    }

    /// A TCP connection with the peer is open, as far as is known: its probes will show.
    pub(in crate::device) fn dialed(&mut self, stream: SocketAddr, now: Instant) {
        self.paths.pinged_from(Way::main(stream), true, now);
        self.settle("connected by TCP", now);
    }

    /// Closes fresh sockets that came to nothing, once the punch that they were for is over.
    pub(super) fn close_sockets(&mut self, now: Instant) {
        if self.attempt.is_punching() {
            return;
        }
        let is_active = self.traffic_at.is_some();
        let (paths, actions) = (&mut self.paths, &mut self.actions);
        self.sockets.retain(|socket, _| {
            let is_used = is_active && paths.uses(*socket, now);
            if !is_used {
                paths.forget(*socket);
                actions.push_back(Action::Close(*socket));
            }
            is_used
        });
    }
}
