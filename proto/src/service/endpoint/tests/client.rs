//! A device's end of a session by hand: it says what a test wants, forged things included, and nothing by itself.

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::envelope::{
    DataHeader, GateKeys, Hello, HelloPayload, Resume, ResumeBody, Resumed, ResumedKeys, Retry, Welcome,
};
use lanyard_wire::ids::{DeviceId, SessionIndex};
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use lanyard_wire::seal::Ticket;
use lanyard_wire::session::FromDevice;

use crate::noise::{End, Initiator, SessionKeys};
use crate::rng::Rng;

/// Where the device finds its session; the service's answers carry it.
const INDEX: SessionIndex = SessionIndex::new(0x1001);

/// What a service said under a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) body: ServiceBody,
    pub(super) wants_answer: bool,
    pub(super) counter: u64,
}

/// A device by hand.
pub(super) struct Client {
    pub(super) identity: SecretKey,
    pub(super) id: DeviceId,
    pub(super) addr: SocketAddr,
    pub(super) boot: u64,
    pub(super) timestamp_ms: u64,
    /// The protocol versions it says it speaks.
    pub(super) versions: (u8, u8),
    /// What it can come back with.
    pub(super) ticket: Option<(Ticket, SymmetricKey)>,
    pub(super) session: Option<Session>,
    /// Whether it answers when it is asked where it is.
    pub(super) proves: bool,
    exchange: Option<Initiator>,
    nonce: Option<[u8; 16]>,
    rng: Rng,
}

/// Keys and counters of an open session.
pub(super) struct Session {
    keys: SessionKeys,
    pub(super) index: SessionIndex,
    pub(super) counter: u64,
}

impl Client {
    pub(super) fn new(number: u8, addr: SocketAddr) -> Self {
        let identity = SecretKey::from_bytes([number; 32]);
        Self {
            id: DeviceId::of(&identity.public()),
            identity,
            addr,
            boot: 1,
            timestamp_ms: 1,
            versions: (1, 1),
            ticket: None,
            session: None,
            proves: true,
            exchange: None,
            nonce: None,
            rng: Rng::from_seed([number; 32]),
        }
    }

    /// A HELLO of a new exchange, with this cookie.
    pub(super) fn hello(&mut self, service: &PublicKey, cookie: [u8; 16]) -> Vec<u8> {
        self.timestamp_ms += 1;
        let (timestamp_ms, boot) = (self.timestamp_ms, self.boot);
        let (version_min, version_max) = self.versions;
        let payload = HelloPayload { timestamp_ms, boot, version_min, version_max };
        let exchange = Initiator::new(&self.identity, service, &payload, &mut self.rng).unwrap();
        let hello = Hello::new(INDEX, *exchange.hello(), cookie, &GateKeys::of(service));
        self.exchange = Some(exchange);
        hello.encode()
    }

    /// A RESUME with the newest ticket.
    pub(super) fn resume(&mut self) -> Vec<u8> {
        self.timestamp_ms += 1;
        let (ticket, secret) = self.ticket.clone().unwrap();
        let nonce = self.rng.bytes();
        self.nonce = Some(nonce);
        let body = ResumeBody { boot: self.boot, timestamp_ms: self.timestamp_ms };
        Resume::new(INDEX, nonce, ticket, &secret, &body).encode()
    }

    /// Takes WELCOME or RESUMED; from now on DATA is sealed under its keys.
    pub(super) fn open(&mut self, datagram: &[u8]) {
        let (index, keys) = if let Ok(welcome) = Welcome::parse(datagram) {
            let (said, keys) = self.exchange.take().unwrap().finish(&welcome.noise).unwrap();
            self.ticket = Some((said.ticket, said.resumption));
            (said.session, keys)
        } else {
            let resumed = Resumed::parse(datagram).unwrap();
            let secret = &self.ticket.as_ref().unwrap().1;
            let keys = ResumedKeys::derive(secret, &self.nonce.unwrap(), &resumed.nonce);
            (resumed.open(&keys).unwrap().session, SessionKeys::resumed(&keys, End::Device))
        };
        self.session = Some(Session { keys, index, counter: 0 });
    }

    /// The next DATA of the session.
    pub(super) fn data(&mut self, body: &DeviceBody, answer: bool) -> Vec<u8> {
        self.sealed(&body.to_bytes(), answer)
    }

    /// The next DATA of the session with any body.
    pub(super) fn sealed(&mut self, body: &[u8], answer: bool) -> Vec<u8> {
        let session = self.session.as_mut().unwrap();
        let header = DataHeader { answer, receiver: session.index, counter: session.counter };
        session.counter += 1;
        header.seal(&session.keys.sealing, body)
    }

    /// Opens DATA of the service; `None` if it is of an older session.
    pub(super) fn read(&self, datagram: &[u8]) -> Option<Said> {
        let header = DataHeader::parse(datagram).ok()?;
        assert_eq!(header.receiver, INDEX);
        let mut bytes = datagram.to_vec();
        let body = header.open(&self.session.as_ref()?.keys.opening, &mut bytes)?;
        let body = ServiceBody::parse(body).unwrap();
        Some(Said { body, wants_answer: header.answer, counter: header.counter })
    }

    /// The answer to a question where it is.
    pub(super) fn proof(&mut self, counter: u64) -> Vec<u8> {
        self.data(&DeviceBody::Session(FromDevice::Proof { counter }), false)
    }

    /// The cookie of a RETRY, which must answer this HELLO.
    pub(super) fn cookie(hello: &[u8], retry: &[u8], service: &PublicKey) -> [u8; 16] {
        let mac1 = hello[hello.len() - 16..].try_into().unwrap();
        let retry = Retry::parse(retry).unwrap();
        assert!(retry.answers(&mac1, &GateKeys::of(service)));
        retry.cookie
    }
}
