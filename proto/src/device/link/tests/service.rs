//! The other end of a link, in as few lines as its keys allow.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::codec::Wire as _;
use lanyard_wire::envelope::{
    DATA, DataHeader, GateKeys, HELLO, Hello, RESUME, Resume, Resumed, ResumedBody, ResumedKeys, Retry,
    Unknown, Welcome, WelcomePayload,
};
use lanyard_wire::ids::SessionIndex;
use lanyard_wire::keys::{SecretKey, SymmetricKey};
use lanyard_wire::seal::{ServiceWindow, Ticket, TicketBody, TicketKey};
use lanyard_wire::session::FromDevice;

use super::world::UNIX_MS;
use crate::noise::{End, Responder, SessionKeys};
use crate::rng::Rng;

/// What a service does, without limits of any kind.
pub(super) struct Service {
    pub(super) alive: bool,
    pub(super) hints: bool,
    pub(super) takes_cookies: bool,
    pub(super) deaf_to_data: bool,
    pub(super) retry_delay_ms: u32,
    pub(super) sessions_granted: usize,
    pub(super) exchanges: usize,
    pub(super) answers: usize,
    pub(super) byes: usize,
    pub(super) timestamps: Vec<u64>,
    identity: SecretKey,
    fleet: u8,
    sessions: BTreeMap<SessionIndex, Session>,
    rng: Rng,
    now_ms: u64,
}

struct Session {
    keys: SessionKeys,
    remote: SocketAddr,
    remote_index: SessionIndex,
    window: ServiceWindow,
    counter: u64,
    newest: Option<u64>,
}

impl Service {
    pub(super) fn new(identity: SecretKey) -> Self {
        Self {
            alive: true,
            hints: true,
            takes_cookies: true,
            deaf_to_data: false,
            retry_delay_ms: 0,
            sessions_granted: 0,
            exchanges: 0,
            answers: 0,
            byes: 0,
            timestamps: Vec::new(),
            identity,
            fleet: 1,
            sessions: BTreeMap::new(),
            rng: Rng::from_seed([2; 32]),
            now_ms: 0,
        }
    }

    /// Killed and started again: sessions are gone, the fleet's key is not.
    pub(super) fn restart(&mut self) {
        self.sessions.clear();
    }

    /// The fleet has another key.
    pub(super) fn forget_tickets(&mut self) {
        self.restart();
        self.fleet += 1;
    }

    /// Sessions under whose keys something was heard.
    pub(super) fn confirmed(&self) -> usize {
        self.sessions.values().filter(|session| session.newest.is_some()).count()
    }

    /// Where the sessions are.
    pub(super) fn remotes(&self) -> Vec<SocketAddr> {
        self.sessions.values().map(|session| session.remote).collect()
    }

    /// The newest session and the newest counter heard in it.
    pub(super) fn newest(&self) -> (SessionIndex, u64) {
        let (index, session) = self.sessions.last_key_value().unwrap();
        (*index, session.newest.unwrap())
    }

    /// Seals a message for the device.
    pub(super) fn say(&mut self, body: &[u8]) -> Vec<u8> {
        let mut session = self.sessions.last_entry().unwrap();
        session.get_mut().seal(body)
    }

    /// A ticket for the newest session.
    pub(super) fn ticket(&mut self) -> Ticket {
        let secret = self.sessions.last_key_value().unwrap().1.keys.resumption.clone();
        self.seal_ticket(secret)
    }

    /// Takes a datagram; gives the answers.
    pub(super) fn handle(&mut self, remote: SocketAddr, bytes: &[u8], now_ms: u64) -> Vec<Vec<u8>> {
        self.now_ms = now_ms;
        if !self.alive {
            return Vec::new();
        }
        let answer = match bytes[0] {
            HELLO => self.hello(remote, bytes),
            RESUME => self.resume(remote, bytes),
            DATA => return self.data(remote, bytes),
            kind => panic!("a device does not send {kind:#x}"),
        };
        answer.into_iter().collect()
    }

    fn hello(&mut self, remote: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        let gate = GateKeys::of(&self.identity.public());
        let hello = Hello::parse(bytes).unwrap();
        assert!(hello.is_for(&gate));
        let port = remote.port().to_be_bytes();
        let mut cookie = [7; 16];
        cookie[..2].copy_from_slice(&port);
        if hello.cookie != cookie || !self.takes_cookies {
            return Some(Retry::new(&hello, cookie, self.retry_delay_ms, &gate).encode());
        }
        let responder = Responder::read(&self.identity, &hello.noise, &mut self.rng)?;
        self.timestamps.push(responder.payload().timestamp_ms);
        let resumption = SymmetricKey::from_bytes(self.rng.bytes());
        let session = SessionIndex::new(self.rng.u32());
        let ticket = self.seal_ticket(resumption.clone());
        let server_time_ms = self.now_ms;
        let payload =
            WelcomePayload { session, version: 1, server_time_ms, observed: remote, resumption, ticket };
        let (noise, keys) = responder.welcome(&payload)?;
        self.exchanges += 1;
        self.grant(session, keys, remote, hello.sender);
        Some(Welcome { receiver: hello.sender, noise }.encode())
    }

    fn resume(&mut self, remote: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        let resume = Resume::parse(bytes).unwrap();
        let ticket = self.ticket_key(resume.ticket.key_id()).open(&resume.ticket)?;
        let body = resume.open(&ticket.secret)?;
        self.timestamps.push(body.timestamp_ms);
        let nonce = self.rng.bytes();
        let keys = ResumedKeys::derive(&ticket.secret, &resume.nonce, &nonce);
        let session = SessionIndex::new(self.rng.u32());
        let body = ResumedBody { session, server_time_ms: self.now_ms, observed: remote };
        let answer = Resumed::new(resume.sender, nonce, &keys, &body).encode();
        self.grant(session, SessionKeys::resumed(&keys, End::Service), remote, resume.sender);
        Some(answer)
    }

    fn data(&mut self, remote: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        if self.deaf_to_data {
            return Vec::new();
        }
        let header = DataHeader::parse(bytes).unwrap();
        let Some(session) = self.sessions.get_mut(&header.receiver) else {
            let hint = Unknown::Session { index: header.receiver, counter: header.counter };
            return if self.hints { vec![hint.encode()] } else { Vec::new() };
        };
        let mut copy = bytes.to_vec();
        let Some(body) = header.open(&session.keys.opening, &mut copy).map(<[u8]>::to_vec) else {
            return Vec::new();
        };
        if !session.window.accept(header.counter) {
            return Vec::new();
        }
        if session.newest.is_none_or(|newest| newest < header.counter) {
            session.newest = Some(header.counter);
            session.remote = remote;
        }
        let answer = header.answer.then(|| session.seal(&[]));
        self.sessions.retain(|index, other| *index == header.receiver || other.newest.is_none());
        self.answers += usize::from(answer.is_some());
        if body == FromDevice::Bye.to_bytes() {
            self.byes += 1;
            self.sessions.clear();
        }
        answer.into_iter().collect()
    }

    fn grant(
        &mut self,
        index: SessionIndex,
        keys: SessionKeys,
        remote: SocketAddr,
        remote_index: SessionIndex,
    ) {
        // Only what was confirmed stands beside the new one.
        self.sessions.retain(|_, session| session.newest.is_some());
        let window = ServiceWindow::new();
        self.sessions.insert(index, Session { keys, remote, remote_index, window, counter: 0, newest: None });
        self.sessions_granted += 1;
    }

    fn seal_ticket(&mut self, secret: SymmetricKey) -> Ticket {
        let epoch = u32::try_from((UNIX_MS + self.now_ms) / 3_600_000).unwrap();
        let identity = self.identity.public();
        let body = TicketBody { identity, secret, epoch: 0, expires_s: u64::MAX };
        let nonce = self.rng.bytes();
        self.ticket_key(epoch).seal(&body, nonce)
    }

    fn ticket_key(&self, id: u32) -> TicketKey {
        TicketKey::new(id, &SymmetricKey::from_bytes([self.fleet; 32]))
    }
}

impl Session {
    fn seal(&mut self, body: &[u8]) -> Vec<u8> {
        let header = DataHeader { answer: false, receiver: self.remote_index, counter: self.counter };
        self.counter += 1;
        header.seal(&self.keys.sealing, body)
    }
}
