//! One try to get a session: a question sent, and what an answer to it must look like.
//!
//! Each try is new (its own index, nonce or ephemeral key, and a later timestamp), so that a service can
//! refuse what it has seen before. An answer to an earlier try finds no index and is ignored.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::envelope::{
    GateKeys, Hello, HelloPayload, Resume, ResumeBody, Resumed, ResumedKeys, Retry, VERSION, Welcome,
};
use lanyard_wire::ids::SessionIndex;
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use lanyard_wire::seal::Ticket;

use super::session::Session;
use crate::noise::{End, Initiator, SessionKeys};
use crate::rejected::Rejected;
use crate::rng::Rng;

/// A proof that we are at our address, to be shown to the service that gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookie {
    /// Who gave it.
    pub(super) remote: SocketAddr,
    bytes: [u8; 16],
}

/// Which of the two tries that may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By UDP, at the pace of the link.
    Usual,
    /// By the way not in use: the door while UDP is silent, UDP while the session goes through the door.
    Other,
}

/// A try under way.
#[derive(Debug)]
pub(super) enum Effort {
    /// A ticket was shown; RESUMED is to come.
    Resuming { index: SessionIndex, nonce: [u8; 16], secret: SymmetricKey },
    /// A key exchange was begun; RETRY or WELCOME is to come.
    Greeting { index: SessionIndex, initiator: Box<Initiator>, mac1: [u8; 16] },
}

/// A session that a try brought.
#[derive(Debug)]
pub(super) struct Won {
    /// The session.
    pub(super) session: Session,
    /// Our address as the service sees it.
    pub(super) observed: SocketAddr,
    /// The ticket to come back with, where one was given.
    pub(super) ticket: Option<Ticket>,
}

impl Effort {
    /// Shows a ticket.
    pub(super) fn resume(
        ticket: &(Ticket, SymmetricKey),
        boot: u64,
        timestamp_ms: u64,
        rng: &mut Rng,
    ) -> (Self, Vec<u8>) {
        let (ticket, secret) = ticket;
        let index = SessionIndex::new(rng.u32());
        let nonce = rng.bytes();
        let body = ResumeBody { boot, timestamp_ms };
        let bytes = Resume::new(index, nonce, *ticket, secret, &body).encode();
        (Self::Resuming { index, nonce, secret: secret.clone() }, bytes)
    }

    /// Begins a key exchange; `None` if the service's key is no key.
    pub(super) fn greet(
        identity: &SecretKey,
        service: &PublicKey,
        cookie: Option<Cookie>,
        boot: u64,
        timestamp_ms: u64,
        rng: &mut Rng,
    ) -> Option<(Self, Vec<u8>)> {
        let payload = HelloPayload { timestamp_ms, boot, version_min: VERSION, version_max: VERSION };
        let initiator = Initiator::new(identity, service, &payload, rng)?;
        let index = SessionIndex::new(rng.u32());
        let cookie = cookie.map_or([0; 16], |cookie| cookie.bytes);
        let hello = Hello::new(index, *initiator.hello(), cookie, &GateKeys::of(service));
        let bytes = hello.encode();
        Some((Self::Greeting { index, initiator: Box::new(initiator), mac1: hello.mac1 }, bytes))
    }

    /// The index that an answer must carry.
    pub(super) const fn index(&self) -> SessionIndex {
        match self {
            Self::Resuming { index, .. } | Self::Greeting { index, .. } => *index,
        }
    }

    /// Reads a RETRY: the cookie, and how many milliseconds to wait.
    pub(super) fn cookie(
        &self,
        service: &PublicKey,
        remote: SocketAddr,
        bytes: &[u8],
    ) -> Result<(Cookie, u32), Rejected> {
        let Self::Greeting { mac1, .. } = self else { return Err(Rejected::Unexpected) };
        let retry = Retry::parse(bytes).map_err(|_| Rejected::Malformed)?;
        if !retry.answers(mac1, &GateKeys::of(service)) {
            return Err(Rejected::Unauthenticated);
        }
        Ok((Cookie { remote, bytes: retry.cookie }, retry.delay_ms))
    }

    /// Reads a WELCOME. The exchange is spent either way.
    pub(super) fn welcomed(self, remote: SocketAddr, bytes: &[u8]) -> Result<Won, Rejected> {
        let Self::Greeting { index, initiator, .. } = self else { return Err(Rejected::Unexpected) };
        let welcome = Welcome::parse(bytes).map_err(|_| Rejected::Malformed)?;
        let (payload, keys) = initiator.finish(&welcome.noise).ok_or(Rejected::Unauthenticated)?;
        if payload.version != VERSION {
            return Err(Rejected::Unsupported);
        }
        Ok(Won {
            session: Session::new(index, payload.session, remote, keys),
            observed: payload.observed,
            ticket: Some(payload.ticket),
        })
    }

    /// Reads a RESUMED.
    pub(super) fn resumed(&self, remote: SocketAddr, bytes: &[u8]) -> Result<Won, Rejected> {
        let Self::Resuming { index, nonce, secret } = self else { return Err(Rejected::Unexpected) };
        let resumed = Resumed::parse(bytes).map_err(|_| Rejected::Malformed)?;
        let keys = ResumedKeys::derive(secret, nonce, &resumed.nonce);
        let body = resumed.open(&keys).ok_or(Rejected::Unauthenticated)?;
        let keys = SessionKeys::resumed(&keys, End::Device);
        Ok(Won {
            session: Session::new(*index, body.session, remote, keys),
            observed: body.observed,
            ticket: None,
        })
    }
}
