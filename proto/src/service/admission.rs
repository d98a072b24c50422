//! Who gets a session, and what a datagram must show before anything is spent on it.
//!
//! A first message's life, cheapest check first:
//! 1. Its MAC must fit our public key. Otherwise silence: who does not know the key cannot find us.
//! 2. It must bring the cookie of its address and port. Otherwise RETRY, which is shorter than the question
//!    and is computed, not remembered. Nothing is kept of an address that is not proven.
//! 3. Its source and all sources together must not ask too often.
//! 4. Only now the key exchange; then its timestamp must be newer than what the device sent before.
//! 5. A session is granted. The device's old one stands until the new one speaks.
//!
//! A ticket needs no cookie: its answer is shorter than it, too, and only a device whom a service of this
//! fleet trusted before holds one. DATA is one look-up, one check of the counter, one opening; the session
//! moves to wherever its newest authentic datagram comes from, and `place` asks for a proof there.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use lanyard_wire::envelope::{
    DataHeader, GateKeys, Hello, Resume, Resumed, ResumedBody, ResumedKeys, Retry, Unknown, Welcome,
    WelcomePayload,
};
use lanyard_wire::ids::{DeviceId, SessionIndex};
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey, ct_eq, mac16};
use lanyard_wire::limits::{DATA_HEADER, UNKNOWN_LEN};
use lanyard_wire::seal::Ticket;

use super::bucket::{Rate, SourceBuckets, TokenBucket};
use super::register::Register;
use super::session::Session;
use super::tickets::Tickets;
use crate::noise::{End, Responder, SessionKeys};
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, WallClock};
use crate::transmit::{Datagram, Outbox, Transmit};

/// HELLOs with a cookie that one source may send. An office behind one address that wakes up at once is
/// served within seconds.
const HELLOS: Rate = Rate { per_s: 20, burst: 100 };

/// Key exchanges of all sources together.
///
/// 0.25 ms each (snow and dalek on one core): half a core at the most, so that those who have a session do
/// not feel a storm of those who want one.
const EXCHANGES: Rate = Rate { per_s: 2_000, burst: 2_000 };

/// UNKNOWN hints to one source. One brings the device back; more are for a NAT full of devices.
const HINTS: Rate = Rate { per_s: 4, burst: 20 };

/// UNKNOWN hints to all sources together: after a restart every device needs one.
const HINTS_IN_ALL: Rate = Rate { per_s: 10_000, burst: 10_000 };

/// How long a cookie's epoch is. One of the epoch before is still good, so a cookie lives two to four minutes.
const COOKIE_EPOCH_S: u64 = 120;

/// The longest wait that RETRY asks for: well within the life of its cookie.
const RETRY_DELAY_MAX_MS: u32 = 30_000;

/// What came of a DATA datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The session it came under.
    pub(super) index: SessionIndex,
    /// The device at its other end.
    pub(super) device: DeviceId,
    /// Whether the device wants an answer and has none yet.
    pub(super) wants_answer: bool,
    /// Whether it was the first of its session, so that the device has a new one now.
    pub(super) opened: bool,
    /// Whether the session moved to another address.
    pub(super) moved: bool,
    /// Whether the device says more than its share: what it says is not to be worked on.
    pub(super) excess: bool,
}

/// The gate of one endpoint.
#[derive(Debug)]
pub(super) struct Admission {
    identity: SecretKey,
    gate: GateKeys,
    cookie_key: SymmetricKey,
    tickets: Tickets,
    register: Register,
    wall: WallClock,
    rng: Rng,
    hellos: SourceBuckets,
    exchanges: TokenBucket,
    hints: SourceBuckets,
    hints_in_all: TokenBucket,
    draining: bool,
}

impl Admission {
    pub(super) fn new(
        identity: SecretKey,
        tickets: Tickets,
        register: Register,
        wall: WallClock,
        mut rng: Rng,
    ) -> Self {
        let now = wall.at;
        Self {
            gate: GateKeys::of(&identity.public()),
            identity,
            cookie_key: SymmetricKey::from_bytes(rng.bytes()),
            tickets,
            register,
            wall,
            hellos: SourceBuckets::new(HELLOS, &mut rng, now),
            exchanges: TokenBucket::full(EXCHANGES, now),
            hints: SourceBuckets::new(HINTS, &mut rng, now),
            hints_in_all: TokenBucket::full(HINTS_IN_ALL, now),
            draining: false,
            rng,
        }
    }

    pub(super) const fn register(&self) -> &Register {
        &self.register
    }

    pub(super) const fn register_mut(&mut self) -> &mut Register {
        &mut self.register
    }

    /// From now on no new session is granted; those that exist go on.
    pub(super) const fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes a HELLO: answers with silence, RETRY or WELCOME.
    pub(super) fn handle_hello(
        &mut self,
        datagram: Datagram<'_>,
        is_known: impl Fn(&DeviceId) -> bool,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Result<(), Rejected> {
        let hello = Hello::parse(datagram.bytes).map_err(|_| Rejected::Malformed)?;
        if !hello.is_for(&self.gate) {
            return Err(Rejected::WrongMac);
        }
        if self.draining {
            return Err(Rejected::Unsupported);
        }
        if !self.proves_address(&hello, datagram.remote, now) {
            self.retry(datagram, &hello, outbox, now);
            return Err(Rejected::NeedsCookie);
        }
        if !self.hellos.take(datagram.remote.ip(), now) {
            return Err(Rejected::RateLimited);
        }
        if !self.exchanges.take(EXCHANGES, 1, now) {
            self.retry(datagram, &hello, outbox, now);
            return Err(Rejected::RateLimited);
        }
        let responder =
            Responder::read(&self.identity, &hello.noise, &mut self.rng).ok_or(Rejected::Unauthenticated)?;
        let payload = *responder.payload();
        let version = payload.agreed_version().ok_or(Rejected::Unsupported)?;
        let identity = responder.device();
        let device = DeviceId::of(&identity);
        let standing = is_known(&device);
        self.register.ask(device, payload.boot, payload.timestamp_ms, now)?;
        let session = self.register.reserve(device, standing, datagram.remote, now)?;

        let resumption = SymmetricKey::from_bytes(self.rng.bytes());
        let ticket = self.ticket(identity, &resumption, now);
        let welcome = WelcomePayload {
            session,
            version,
            server_time_ms: self.wall.unix_ms(now),
            observed: datagram.remote,
            resumption,
            ticket,
        };
        let (noise, keys) = responder.welcome(&welcome).ok_or(Rejected::Unauthenticated)?;
        let session = Session::new(identity, keys, datagram.remote, hello.sender, now);
        self.register.grant(session, standing, now)?;
        outbox.push(answer(datagram, Welcome { receiver: hello.sender, noise }.encode()));
        Ok(())
    }

    /// Takes a RESUME: answers with silence or RESUMED.
    pub(super) fn handle_resume(
        &mut self,
        datagram: Datagram<'_>,
        is_known: impl Fn(&DeviceId) -> bool,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Result<(), Rejected> {
        let resume = Resume::parse(datagram.bytes).map_err(|_| Rejected::Malformed)?;
        if self.draining {
            return Err(Rejected::Unsupported);
        }
        let ticket = match self.tickets.open(&resume.ticket, self.wall.unix_s(now)) {
            Ok(ticket) => ticket,
            Err(why) => {
                // The device need not wait to find out that it has to begin anew.
                let unknown = Unknown::Session { index: resume.sender, counter: 0 };
                if let Some(hint) = self.hint(datagram.remote, datagram.bytes.len(), unknown, now) {
                    outbox.push(answer(datagram, hint));
                }
                return Err(why);
            }
        };
        let proof = resume.open(&ticket.secret).ok_or(Rejected::Unauthenticated)?;
        let device = DeviceId::of(&ticket.identity);
        let standing = is_known(&device);
        self.register.ask(device, proof.boot, proof.timestamp_ms, now)?;
        let session = self.register.reserve(device, standing, datagram.remote, now)?;

        let nonce = self.rng.bytes();
        let keys = ResumedKeys::derive(&ticket.secret, &resume.nonce, &nonce);
        let body = ResumedBody { session, server_time_ms: self.wall.unix_ms(now), observed: datagram.remote };
        let resumed = Resumed::new(resume.sender, nonce, &keys, &body);
        let keys = SessionKeys::resumed(&keys, End::Service);
        let session = Session::new(ticket.identity, keys, datagram.remote, resume.sender, now);
        self.register.grant(session, standing, now)?;
        outbox.push(answer(datagram, resumed.encode()));
        Ok(())
    }

    /// Takes DATA: its body is left in `body`, or a hint is sent that the session is unknown.
    pub(super) fn handle_data(
        &mut self,
        datagram: Datagram<'_>,
        body: &mut Vec<u8>,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Result<Arrival, Rejected> {
        let header = DataHeader::parse(datagram.bytes).map_err(|_| Rejected::Malformed)?;
        let Some(session) = self.register.session_mut(header.receiver) else {
            let unknown = Unknown::Session { index: header.receiver, counter: header.counter };
            if let Some(hint) = self.hint(datagram.remote, datagram.bytes.len(), unknown, now) {
                outbox.push(answer(datagram, hint));
            }
            return Err(Rejected::UnknownSession);
        };
        if !session.window.check(header.counter) {
            return Err(Rejected::Replayed);
        }
        body.clear();
        body.extend_from_slice(datagram.bytes);
        let length = header.open(&session.keys.opening, body).ok_or(Rejected::Unauthenticated)?.len();
        body.copy_within(DATA_HEADER..DATA_HEADER + length, 0);
        body.truncate(length);
        if !session.window.accept(header.counter) {
            return Err(Rejected::Replayed);
        }
        let opened = !session.is_confirmed();
        let moved = session.hear(header.counter, datagram.remote, datagram.bytes.len(), now);
        // The question is an answer, too.
        let question = session.ask_for_proof(&mut self.rng, now);
        let arrival = Arrival {
            index: header.receiver,
            device: session.device,
            wants_answer: header.answer && question.is_none(),
            opened,
            moved,
            excess: !session.may_speak(now),
        };
        if let Some(question) = question {
            outbox.push(answer(datagram, question));
        }
        if opened {
            self.register.confirm(header.receiver, now);
        }
        Ok(arrival)
    }

    /// A hint that something is unknown, if there is one to spare and it is no longer than what it answers.
    pub(super) fn hint(
        &mut self,
        remote: SocketAddr,
        question: usize,
        unknown: Unknown,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let may = question >= UNKNOWN_LEN
            && self.hints.take(remote.ip(), now)
            && self.hints_in_all.take(HINTS_IN_ALL, 1, now);
        may.then(|| unknown.encode())
    }

    /// A fresh ticket for the session of a device.
    pub(super) fn ticket_for(&mut self, index: SessionIndex, now: Instant) -> Option<Ticket> {
        let session = self.register.session(index)?;
        let (identity, secret) = (session.identity, session.keys.resumption.clone());
        Some(self.ticket(identity, &secret, now))
    }

    fn ticket(&mut self, identity: PublicKey, secret: &SymmetricKey, now: Instant) -> Ticket {
        self.tickets.seal(identity, secret, self.wall.unix_s(now), &mut self.rng)
    }

    fn proves_address(&self, hello: &Hello, remote: SocketAddr, now: Instant) -> bool {
        let epoch = self.cookie_epoch(now);
        let epochs = [epoch, epoch.saturating_sub(1)];
        epochs.iter().any(|epoch| ct_eq(&self.cookie(remote, *epoch), &hello.cookie))
    }

    fn retry(&mut self, datagram: Datagram<'_>, hello: &Hello, outbox: &mut Outbox, now: Instant) {
        let cookie = self.cookie(datagram.remote, self.cookie_epoch(now));
        let delay_ms = self.delay_ms(now);
        outbox.push(answer(datagram, Retry::new(hello, cookie, delay_ms, &self.gate).encode()));
    }

    /// How long a device should wait before it comes back, from how many exchanges are left.
    ///
    /// None while half are: the usual case. Then a wait drawn at random from a span that grows with
    /// the shortage, so that a storm of a million spreads itself.
    fn delay_ms(&mut self, now: Instant) -> u32 {
        let left = self.exchanges.level(EXCHANGES, now);
        let half = EXCHANGES.burst / 2;
        if left >= half {
            return 0;
        }
        let span = u64::from(RETRY_DELAY_MAX_MS) * (half - left) / half;
        u32::try_from(self.rng.below(span + 1)).unwrap_or(RETRY_DELAY_MAX_MS)
    }

    fn cookie_epoch(&self, now: Instant) -> u64 {
        self.wall.unix_s(now) / COOKIE_EPOCH_S
    }

    /// The cookie of an address: whoever can say it receives there.
    fn cookie(&self, remote: SocketAddr, epoch: u64) -> [u8; 16] {
        let port = remote.port().to_be_bytes();
        let epoch = epoch.to_be_bytes();
        let key = self.cookie_key.as_bytes();
        match remote.ip() {
            IpAddr::V4(ip) => mac16(key, &[b"cookie4", &ip.octets(), &port, &epoch]),
            IpAddr::V6(ip) => mac16(key, &[b"cookie6", &ip.octets(), &port, &epoch]),
        }
    }
}

fn answer(question: Datagram<'_>, bytes: Vec<u8>) -> Transmit {
    Transmit { local: question.local, remote: question.remote, bytes }
}
