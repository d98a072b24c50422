//! What a service sends, datagram by datagram.

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::body::ServiceBody;
use lanyard_wire::codec::Wire as _;
use lanyard_wire::door::is_door;
use lanyard_wire::envelope::{self, Unknown};
use lanyard_wire::ids::SessionIndex;
use lanyard_wire::session::{FromDevice, FromService};

use super::effort::{Effort, Way};
use super::{ADDRS_MAX, KEYS_AGE, Link, LinkEvent};
use crate::rejected::Rejected;
use crate::time::Instant;
use crate::transmit::Datagram;

/// Least time between two doubts that hints cause, so that forged ones cost next to nothing.
const HINT_GAP: Duration = Duration::from_secs(1);

/// Longest pause that a RETRY can order.
const RETRY_CAP: Duration = Duration::from_secs(60);

/// RETRYs taken at once per try; one is usual, two when the cookie's time just ended.
const RETRIES: u8 = 2;

impl Link {
    /// Takes a datagram of the service; a message for the coordinator comes back.
    pub(in crate::device) fn handle_datagram(
        &mut self,
        datagram: Datagram<'_>,
        now: Instant,
    ) -> Result<Option<ServiceBody>, Rejected> {
        if self.closed {
            return Err(Rejected::UnknownSession);
        }
        let Datagram { remote, bytes, .. } = datagram;
        match *bytes.first().ok_or(Rejected::Malformed)? {
            envelope::DATA => return self.handle_data(bytes, now),
            envelope::RETRY => self.handle_retry(remote, bytes, now)?,
            envelope::WELCOME => {
                let (effort, asked_at) = self.take_effort(bytes)?;
                let won = effort.welcomed(remote, bytes)?;
                self.rekey_at = now + KEYS_AGE;
                self.open(won, asked_at, now);
            }
            envelope::RESUMED => {
                let (_, effort, asked_at) = self.effort_of(bytes)?;
                let won = effort.resumed(remote, bytes)?;
                self.open(won, asked_at, now);
            }
            envelope::UNKNOWN => self.handle_unknown(remote, bytes, now)?,
            envelope::HELLO | envelope::RESUME => return Err(Rejected::WrongDirection),
            _ => return Err(Rejected::NotOurs),
        }
        Ok(None)
    }

    /// It was asked and did not answer; it may be a datagram that was lost.
    pub(in crate::device) fn is_silent(&self) -> bool {
        self.session.as_ref().is_some_and(|(_, health)| health.is_silent())
    }

    fn handle_data(&mut self, bytes: &[u8], now: Instant) -> Result<Option<ServiceBody>, Rejected> {
        let (session, health) = self.session.as_mut().ok_or(Rejected::UnknownSession)?;
        if receiver(bytes) != Some(session.local_index) {
            return Err(Rejected::UnknownSession);
        }
        let opened = session.open(bytes)?;
        if health.heard(opened.body.is_empty(), now) {
            self.events.push_back(LinkEvent::Silence);
        }
        // The session lives after all. A try under way is dropped, unless it is for fresh keys.
        if self.effort.is_some() && self.rekey_at > now {
            self.effort = None;
            self.pace.settle();
            if !self.is_detoured() {
                self.detour.settle();
            }
        }
        if opened.wants_answer {
            // The service asks whether we are where our datagrams come from.
            self.seal(false, &FromDevice::Proof { counter: opened.counter }.to_bytes(), now);
        }
        match ServiceBody::parse(&opened.body).map_err(|_| Rejected::Malformed)? {
            ServiceBody::KeepAlive => Ok(None),
            ServiceBody::Session(FromService::Ticket(ticket)) => {
                self.set_ticket(ticket);
                Ok(None)
            }
            ServiceBody::Session(FromService::Move { addr, key: _ }) => {
                // Our ticket opens every door of the fleet, so no key is needed there; if that fails, the old
                // addresses and the pinned key remain.
                if is_door(addr) {
                    return Err(Rejected::NotAllowed);
                }
                self.addrs.retain(|known| *known != addr);
                self.addrs.insert(0, addr);
                self.addrs.truncate(ADDRS_MAX);
                self.good = 0;
                self.doubt(now);
                Ok(None)
            }
            body @ (ServiceBody::Checkpoint(_) | ServiceBody::Handshake(_) | ServiceBody::Relay(_)) => {
                Ok(Some(body))
            }
        }
    }

    fn handle_retry(&mut self, remote: SocketAddr, bytes: &[u8], now: Instant) -> Result<(), Rejected> {
        let (way, effort, _) = self.effort_of(bytes)?;
        let (cookie, delay_ms) = effort.cookie(&self.key, remote, bytes)?;
        self.cookie = Some(cookie);
        let delay = Duration::from_millis(u64::from(delay_ms)).min(RETRY_CAP);
        if !delay.is_zero() {
            match way {
                Way::Usual => self.pace.try_at(now + delay),
                Way::Other => self.detour.try_at(now + delay),
            }
        } else if self.retries < RETRIES {
            self.retries += 1;
            self.pace.extend(now);
            self.greet(way, remote, now);
        } else {
            return Err(Rejected::RateLimited);
        }
        Ok(())
    }

    /// A hint: the service says that it does not know our session, or our ticket. Anyone may have sent it, so
    /// it only makes us ask for a new session, which takes a real service to answer.
    fn handle_unknown(&mut self, remote: SocketAddr, bytes: &[u8], now: Instant) -> Result<(), Rejected> {
        let unknown = Unknown::parse(bytes).map_err(|_| Rejected::Malformed)?;
        let Unknown::Session { index: unknown, counter } = unknown else { return Err(Rejected::NotOurs) };
        let resumes = |effort: Option<&Effort>| matches!(effort, Some(Effort::Resuming { index, .. }) if *index == unknown);
        let ways = [(Way::Usual, self.effort.as_ref()), (Way::Other, self.detour.effort())];
        let way = ways.into_iter().find(|(_, effort)| resumes(*effort)).map(|(way, _)| way);
        if let Some(way) = way {
            self.greet(way, remote, now);
            return Ok(());
        }
        let about_us = self.session.as_ref().is_some_and(|(session, _)| {
            session.remote == remote && session.remote_index == unknown && session.sent_lately(counter)
        });
        if !about_us {
            return Err(Rejected::Unexpected);
        }
        if self.hinted_at.is_some_and(|at| now.saturating_since(at) < HINT_GAP) {
            return Err(Rejected::RateLimited);
        }
        self.hinted_at = Some(now);
        self.doubt(now);
        Ok(())
    }

    /// The effort that an answer belongs to, taken out.
    fn take_effort(&mut self, bytes: &[u8]) -> Result<(Effort, Instant), Rejected> {
        let (way, ..) = self.effort_of(bytes)?;
        let taken = match way {
            Way::Usual => self.effort.take().map(|effort| (effort, self.effort_at)),
            Way::Other => self.detour.take(),
        };
        taken.ok_or(Rejected::UnknownSession)
    }

    /// The effort that an answer belongs to, and when its question was sent.
    fn effort_of(&self, bytes: &[u8]) -> Result<(Way, &Effort, Instant), Rejected> {
        let index = receiver(bytes).ok_or(Rejected::Malformed)?;
        let usual = self.effort.as_ref().map(|effort| (Way::Usual, effort, self.effort_at));
        let other = self.detour.effort().map(|effort| (Way::Other, effort, self.detour.asked_at()));
        let mut both = usual.into_iter().chain(other);
        both.find(|(_, effort, _)| effort.index() == index).ok_or(Rejected::UnknownSession)
    }
}

/// The index on a datagram that a service addresses to one session or try.
pub(super) fn receiver(bytes: &[u8]) -> Option<SessionIndex> {
    match bytes.first()? {
        &(envelope::DATA | envelope::RETRY | envelope::WELCOME | envelope::RESUMED) => {
            let index: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SessionIndex::new(u32::from_be_bytes(index)))
        }
        _ => None,
    }
}
