//! RESUME and RESUMED: a session returns by its ticket, without Diffie-Hellman and without a cookie.
//!
//! The answer is shorter than the question, so a forged source gains nothing; the old binding of a device stands
//! until the first DATA under the new keys, so a replayed RESUME gains nothing either.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{RESUME, RESUMED, decode_kind, encode_kind};
use crate::codec::messages::wire_fields;
use crate::codec::{Malformed, Reader, Wire, Writer, decode_padded_addr, encode_padded_addr};
use crate::ids::SessionIndex;
use crate::keys::{SymmetricKey, derive_key};
use crate::limits::{RESUME_LEN, RESUMED_LEN};
use crate::seal::{Ticket, open_in_place, seal_in_place};

/// Length of RESUMED's sealed part: index, time, padded address, tag.
const RESUMED_SEALED: usize = 47;

/// RESUME: a device shows its ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The device's index of the session to be.
    pub sender: SessionIndex,
    /// Drawn at random for each RESUME, also for a repeated one.
    pub nonce: [u8; 16],
    /// The ticket of the last WELCOME, Registered or Ticket.
    pub ticket: Ticket,
    /// A sealed [`ResumeBody`].
    pub sealed: [u8; 32],
}

/// What RESUME tells the service, sealed under the resumption secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeBody {
    /// As in HELLO.
    pub boot: u64,
    /// The device's Unix time in milliseconds.
    pub timestamp_ms: u64,
}

wire_fields!(ResumeBody { boot, timestamp_ms });

impl Resume {
    /// Makes a RESUME with the secret that belongs to the ticket.
    #[must_use]
    pub fn new(
        sender: SessionIndex,
        nonce: [u8; 16],
        ticket: Ticket,
        secret: &SymmetricKey,
        body: &ResumeBody,
    ) -> Self {
        let mut resume = Self { sender, nonce, ticket, sealed: [0; 32] };
        let mut sealed = body.to_bytes();
        seal_in_place(&resume.key(secret), 0, resume.encode_header().as_bytes(), &mut sealed, 0);
        resume.sealed = sealed.try_into().unwrap_or([0; 32]);
        resume
    }

    /// Opens the sealed part with the secret found in the ticket; `None` when they do not belong together.
    #[must_use]
    pub fn open(&self, secret: &SymmetricKey) -> Option<ResumeBody> {
        let mut sealed = self.sealed;
        let body = open_in_place(&self.key(secret), 0, self.encode_header().as_bytes(), &mut sealed)?;
        ResumeBody::from_bytes(body).ok()
    }

    /// The 168 bytes of the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = self.encode_header();
        writer.array(&self.sealed);
        writer.into_bytes()
    }

    /// Reads a whole datagram; nothing is opened.
    ///
    /// # Errors
    ///
    /// When it is not a RESUME of exactly 168 bytes.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        decode_kind(&mut reader, RESUME)?;
        let resume = Self {
            sender: SessionIndex::decode(&mut reader)?,
            nonce: reader.array()?,
            ticket: Ticket::decode(&mut reader)?,
            sealed: reader.array()?,
        };
        reader.finish()?;
        Ok(resume)
    }

    fn key(&self, secret: &SymmetricKey) -> SymmetricKey {
        derive_key(secret, b"lanyard resume", &[&self.nonce])
    }

    fn encode_header(&self) -> Writer {
        let mut writer = Writer::with_capacity(RESUME_LEN);
        encode_kind(&mut writer, RESUME);
        self.sender.encode(&mut writer);
        writer.array(&self.nonce);
        self.ticket.encode(&mut writer);
        writer
    }
}

/// RESUMED: the service took the ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The device's index from RESUME.
    pub receiver: SessionIndex,
    /// Drawn at random by the service.
    pub nonce: [u8; 16],
    /// A sealed [`ResumedBody`].
    pub sealed: [u8; RESUMED_SEALED],
}

/// What RESUMED tells the device, sealed under a key of the new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumedBody {
    /// The service's index of the session.
    pub session: SessionIndex,
    /// The service's Unix time in milliseconds.
    pub server_time_ms: u64,
    /// The address the RESUME came from.
    pub observed: SocketAddr,
}

impl Wire for ResumedBody {
    fn encode(&self, writer: &mut Writer) {
        self.session.encode(writer);
        writer.u64(self.server_time_ms);
        encode_padded_addr(Some(self.observed), writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let session = SessionIndex::decode(reader)?;
        let server_time_ms = reader.u64()?;
        let observed = decode_padded_addr(reader)?.ok_or_else(|| reader.malformed("address family"))?;
        Ok(Self { session, server_time_ms, observed })
    }
}

/// The keys of a resumed session, the same at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumedKeys {
    /// Seals what the device sends.
    pub device: SymmetricKey,
    /// Seals what the service sends.
    pub service: SymmetricKey,
    /// The resumption secret of the tickets this session gives out.
    pub secret: SymmetricKey,
    /// Seals RESUMED itself.
    answer: SymmetricKey,
}

impl ResumedKeys {
    /// Derives them from the old resumption secret and the nonces of both datagrams.
    #[must_use]
    pub fn derive(secret: &SymmetricKey, device_nonce: &[u8; 16], service_nonce: &[u8; 16]) -> Self {
        let derive = |label: &[u8]| derive_key(secret, label, &[device_nonce, service_nonce]);
        Self {
            device: derive(b"lanyard resumed device"),
            service: derive(b"lanyard resumed service"),
            secret: derive(b"lanyard resumed secret"),
            answer: derive(b"lanyard resumed answer"),
        }
    }
}

impl Resumed {
    /// Answers a RESUME; `keys` are derived from its nonce and this one.
    #[must_use]
    pub fn new(receiver: SessionIndex, nonce: [u8; 16], keys: &ResumedKeys, body: &ResumedBody) -> Self {
        let mut resumed = Self { receiver, nonce, sealed: [0; RESUMED_SEALED] };
        let mut sealed = body.to_bytes();
        seal_in_place(&keys.answer, 0, resumed.encode_header().as_bytes(), &mut sealed, 0);
        resumed.sealed = sealed.try_into().unwrap_or([0; RESUMED_SEALED]);
        resumed
    }

    /// Opens the sealed part; `None` when it is not the answer to the RESUME the keys were derived from.
    #[must_use]
    pub fn open(&self, keys: &ResumedKeys) -> Option<ResumedBody> {
        let mut sealed = self.sealed;
        let body = open_in_place(&keys.answer, 0, self.encode_header().as_bytes(), &mut sealed)?;
        ResumedBody::from_bytes(body).ok()
    }

    /// The 71 bytes of the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = self.encode_header();
        writer.array(&self.sealed);
        writer.into_bytes()
    }

    /// Reads a whole datagram; nothing is opened.
    ///
    /// # Errors
    ///
    /// When it is not a RESUMED of exactly 71 bytes.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        decode_kind(&mut reader, RESUMED)?;
        let resumed = Self {
            receiver: SessionIndex::decode(&mut reader)?,
            nonce: reader.array()?,
            sealed: reader.array()?,
        };
        reader.finish()?;
        Ok(resumed)
    }

    fn encode_header(&self) -> Writer {
        let mut writer = Writer::with_capacity(RESUMED_LEN);
        encode_kind(&mut writer, RESUMED);
        self.receiver.encode(&mut writer);
        writer.array(&self.nonce);
        writer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESUMED_MAX;

    fn secret(byte: u8) -> SymmetricKey {
        SymmetricKey::from_bytes([byte; 32])
    }

    fn resume() -> Resume {
        let body = ResumeBody { boot: 5, timestamp_ms: 6 };
        Resume::new(SessionIndex::new(1), [2; 16], Ticket::from_bytes([3; 112]), &secret(4), &body)
    }

    #[test]
    fn a_resume_opens_under_its_secret_unchanged_only() {
        let bytes = resume().encode();
        assert_eq!(bytes.len(), RESUME_LEN);
        let parsed = Resume::parse(&bytes).unwrap();
        assert_eq!(parsed.open(&secret(4)), Some(ResumeBody { boot: 5, timestamp_ms: 6 }));
        assert_eq!(parsed.open(&secret(5)), None);
        for byte in 4..RESUME_LEN {
            let mut changed = bytes.clone();
            changed[byte] ^= 1;
            assert_eq!(Resume::parse(&changed).unwrap().open(&secret(4)), None, "byte {byte}");
        }
    }

    #[test]
    fn a_resumed_answers_the_nonce_it_was_derived_from() {
        let keys = ResumedKeys::derive(&secret(4), &[2; 16], &[8; 16]);
        for observed in ["192.0.2.1:7443", "[2001:db8::1]:7443"] {
            let body = ResumedBody {
                session: SessionIndex::new(9),
                server_time_ms: 10,
                observed: observed.parse().unwrap(),
            };
            let bytes = Resumed::new(SessionIndex::new(1), [8; 16], &keys, &body).encode();
            assert_eq!(bytes.len(), RESUMED_LEN);
            let parsed = Resumed::parse(&bytes).unwrap();
            assert_eq!(parsed.open(&keys), Some(body));
            let replayed = ResumedKeys::derive(&secret(4), &[7; 16], &[8; 16]);
            assert_eq!(parsed.open(&replayed), None, "the answer to an older RESUME");
        }
        const { assert!(RESUMED_LEN <= RESUMED_MAX && RESUMED_MAX <= RESUME_LEN) };
    }

    #[test]
    fn every_key_of_a_resumed_session_differs() {
        let keys = ResumedKeys::derive(&secret(4), &[2; 16], &[8; 16]);
        let all = [secret(4), keys.device, keys.service, keys.secret, keys.answer];
        for (index, key) in all.iter().enumerate() {
            assert!(!all[..index].contains(key));
        }
    }
}
