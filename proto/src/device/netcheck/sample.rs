//! One question about one socket: where is it seen from right now?

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::stun::{self, Change};

use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::Instant;
use crate::transmit::{Datagram, SocketId, Transmit};

/// When the question is asked, counted from the beginning: the other end waits for it, so quickly.
const ASKED: [Duration; 3] = [Duration::ZERO, Duration::from_millis(60), Duration::from_millis(200)];

/// No answer after this: the offer goes without.
const PATIENCE: Duration = Duration::from_millis(700);

/// The same for a question that nobody waits for.
const UNHURRIED: [Duration; 2] = [Duration::ZERO, Duration::from_secs(1)];
const UNHURRIED_PATIENCE: Duration = Duration::from_secs(2);

/// A question under way.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) txid: stun::TransactionId,
    pub(super) socket: SocketId,
    server: SocketAddr,
    begun_at: Instant,
    asked: usize,
    asks: &'static [Duration],
    patience: Duration,
}

impl Sample {
    pub(super) fn new(socket: SocketId, server: SocketAddr, rng: &mut Rng, now: Instant) -> Self {
        Self { txid: rng.bytes(), socket, server, begun_at: now, asked: 0, asks: &ASKED, patience: PATIENCE }
    }

    /// A question that nobody waits for.
    pub(super) fn unhurried(socket: SocketId, server: SocketAddr, rng: &mut Rng, now: Instant) -> Self {
        Self { asks: &UNHURRIED, patience: UNHURRIED_PATIENCE, ..Self::new(socket, server, rng, now) }
    }

    /// The question, if it is time.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Transmit> {
        let due = self.begun_at + *self.asks.get(self.asked)?;
        if due > now {
            return None;
        }
        self.asked += 1;
        let bytes = stun::Request::new(self.txid, Change { ip: false, port: false }).encode();
        Some(Transmit { local: self.socket, remote: self.server, bytes })
    }

    /// When it is asked next, or given up.
    pub(super) fn next_at(&self) -> Instant {
        self.asks.get(self.asked).map_or(self.begun_at + self.patience, |after| self.begun_at + *after)
    }

    /// It is in vain.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.begun_at + self.patience <= now
    }

    /// The address that an answer names.
    pub(super) fn answer(&self, datagram: Datagram<'_>) -> Result<SocketAddr, Rejected> {
        if datagram.local != self.socket || datagram.remote != self.server {
            return Err(Rejected::NotAllowed);
        }
        match stun::Answer::parse(datagram.bytes).map_err(|_| Rejected::Malformed)? {
            stun::Answer::Success(response) => Ok(response.mapped),
            stun::Answer::Error(_) => Err(Rejected::Unsupported),
        }
    }
}
