//! One question about one socket: where is it seen from right now?

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::limits::STUN_REQUEST_LEN;
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

/// And for one whose silence says something: as good as never are three datagrams in a row lost by chance.
const INSISTING: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_millis(1_500)];
const INSISTING_PATIENCE: Duration = Duration::from_millis(2_500);

/// And for one that may be too long for the way.
const PADDED: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300)];

/// A question under way.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) txid: stun::TransactionId,
    pub(super) socket: SocketId,
    server: SocketAddr,
    change: Change,
    /// Bytes of the question, if more than usual.
    length: usize,
    /// Who is to answer.
    from: SocketAddr,
    begun_at: Instant,
    asked: usize,
    asks: &'static [Duration],
    patience: Duration,
}

impl Sample {
    pub(super) fn new(socket: SocketId, server: SocketAddr, rng: &mut Rng, now: Instant) -> Self {
        Self {
            txid: rng.bytes(),
            socket,
            server,
            change: Change::default(),
            length: 0,
            from: server,
            begun_at: now,
            asked: 0,
            asks: &ASKED,
            patience: PATIENCE,
        }
    }

    /// A question that nobody waits for.
    pub(super) fn unhurried(socket: SocketId, server: SocketAddr, rng: &mut Rng, now: Instant) -> Self {
        Self { asks: &UNHURRIED, patience: UNHURRIED_PATIENCE, ..Self::new(socket, server, rng, now) }
    }

    /// A question to one server that another one is to answer; that nobody does says something.
    pub(super) fn from_elsewhere(
        socket: SocketId,
        (server, change): (SocketAddr, Change),
        from: SocketAddr,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        let asked = Self::new(socket, server, rng, now);
        Self { change, from, asks: &INSISTING, patience: INSISTING_PATIENCE, ..asked }
    }

    /// A question of so many bytes: do they get there?
    pub(super) fn padded(
        socket: SocketId,
        server: SocketAddr,
        length: usize,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        Self { length, asks: &PADDED, ..Self::new(socket, server, rng, now) }
    }

    /// The question, if it is time.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Transmit> {
        let due = self.begun_at + *self.asks.get(self.asked)?;
        if due > now {
            return None;
        }
        self.asked += 1;
        let mut request = stun::Request::new(self.txid, self.change);
        let more = self.length.saturating_sub(STUN_REQUEST_LEN);
        request.padding = request.padding.saturating_add(u16::try_from(more).unwrap_or(0));
        let bytes = request.encode();
        Some(Transmit { local: self.socket, remote: self.server, bytes })
    }

    /// When it is asked next, or given up.
    pub(super) fn next_at(&self) -> Instant {
        self.asks.get(self.asked).map_or(self.begun_at + self.patience, |after| self.begun_at + *after)
    }

    /// When it is asked next, if it is to be asked again.
    pub(super) fn asks_at(&self) -> Option<Instant> {
        self.asks.get(self.asked).map(|after| self.begun_at + *after)
    }

    /// It is in vain.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.begun_at + self.patience <= now
    }

    /// The address that an answer names.
    pub(super) fn answer(&self, datagram: Datagram<'_>) -> Result<SocketAddr, Rejected> {
        if datagram.local != self.socket || datagram.remote != self.from {
            return Err(Rejected::NotAllowed);
        }
        match stun::Answer::parse(datagram.bytes).map_err(|_| Rejected::Malformed)? {
            stun::Answer::Success(response) => Ok(response.mapped),
            stun::Answer::Error(_) => Err(Rejected::Unsupported),
        }
    }
}
