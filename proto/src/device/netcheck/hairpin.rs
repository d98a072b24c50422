//! Does the router turn around what is sent to its own outside address (RFC 4787, section 6)?
//!
//! Two devices behind one NAT that cannot reach each other inside meet at its outside, if it does. So the question is
//! put as they would put it: a spare socket learns where it is seen from, then it and the main socket knock at each
//! other's outside address at once. A router that filters what it turns around lets the second knock in. What knocks
//! is a STUN request under an id that only this device knows; nobody answers it.

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::stun::{Change, Request, TransactionId};

use super::sample::Sample;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::Instant;
use crate::transmit::{Datagram, Outbox, SocketId, Transmit};

/// When both knock, counted from the first time: one of a pair may be lost, or come before the other's opened the way.
const KNOCKS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(60), Duration::from_millis(200)];

/// Nothing heard for so long after the first knock: the router does not. The way there and back ends at the router.
const PATIENCE: Duration = Duration::from_millis(400);

/// The question, asked once.
#[derive(Debug)]
pub(super) struct Hairpin {
    spare: SocketId,
    main_seen: SocketAddr,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Where is the spare socket seen from?
    Asking(Sample),
    Knocking {
        spare_seen: SocketAddr,
        first_at: Instant,
        sent: usize,
        ids: [TransactionId; 2],
    },
    /// `None`: the spare socket was not seen.
    Done(Option<bool>),
}

impl Hairpin {
    /// Begins with a spare socket that nothing else uses; the main one is seen from `main_seen`.
    pub(super) fn new(
        spare: SocketId,
        main_seen: SocketAddr,
        server: SocketAddr,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        Self { spare, main_seen, step: Step::Asking(Sample::new(spare, server, rng, now)) }
    }

    /// Sends what is due, and gives up when it is time.
    pub(super) fn handle_timeout(&mut self, outbox: &mut Outbox, now: Instant) {
        match &mut self.step {
            Step::Asking(sample) if sample.is_over(now) => self.step = Step::Done(None),
            Step::Asking(sample) => sample.ask(now).into_iter().for_each(|transmit| outbox.push(transmit)),
            Step::Knocking { first_at, .. } if *first_at + PATIENCE <= now => {
                self.step = Step::Done(Some(false));
            }
            Step::Knocking { spare_seen, first_at, sent, ids: [by_spare, by_main] } => {
                while KNOCKS.get(*sent).is_some_and(|after| *first_at + *after <= now) {
                    *sent += 1;
                    for (local, remote, id) in
                        [(self.spare, self.main_seen, *by_spare), (SocketId::MAIN, *spare_seen, *by_main)]
                    {
                        let bytes = Request::new(id, Change::default()).encode();
                        outbox.push(Transmit { local, remote, bytes });
                    }
                }
            }
            Step::Done(_) => {}
        }
    }

    /// Takes the answer of the server, or a knock that came back; `None` if it is neither.
    pub(super) fn handle_datagram(
        &mut self,
        txid: &TransactionId,
        datagram: Datagram<'_>,
        rng: &mut Rng,
        now: Instant,
    ) -> Option<Result<(), Rejected>> {
        match &mut self.step {
            Step::Asking(sample) if sample.txid == *txid => Some(sample.answer(datagram).map(|spare_seen| {
                let ids = [rng.bytes(), rng.bytes()];
                self.step = Step::Knocking { spare_seen, first_at: now, sent: 0, ids };
            })),
            Step::Knocking { ids: [by_spare, by_main], .. } => {
                let local = match () {
                    () if by_spare == txid => SocketId::MAIN,
                    () if by_main == txid => self.spare,
                    () => return None,
                };
                if datagram.local != local {
                    return Some(Err(Rejected::NotAllowed));
                }
                if Request::parse(datagram.bytes).is_err() {
                    return Some(Err(Rejected::Malformed));
                }
                self.step = Step::Done(Some(true));
                Some(Ok(()))
            }
            Step::Asking(_) | Step::Done(_) => None,
        }
    }

    /// Nothing more is to come.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.step, Step::Done(_))
    }

    /// What was found out, as far as it was.
    pub(super) const fn verdict(&self) -> Option<bool> {
        match self.step {
            Step::Done(verdict) => verdict,
            Step::Asking(_) | Step::Knocking { .. } => None,
        }
    }

    /// When something is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        match &self.step {
            Step::Asking(sample) => Some(sample.next_at()),
            Step::Knocking { first_at, sent, .. } => {
                Some(*first_at + KNOCKS.get(*sent).copied().unwrap_or(PATIENCE))
            }
            Step::Done(_) => None,
        }
    }
}
