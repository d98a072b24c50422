//! HELLO, RETRY, WELCOME: how a session begins.
//!
//! Noise_IK_25519_ChaChaPoly_BLAKE2s; the two Noise messages travel here as bytes. Who does not know the service's
//! public key cannot make a HELLO the service answers, and who cannot receive at its address gets no cookie: only
//! then is a Diffie-Hellman spent.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{HELLO, RETRY, VERSION, WELCOME, decode_kind, encode_kind};
use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::ids::SessionIndex;
use crate::keys::{PublicKey, SymmetricKey, ct_eq, hash, mac16};
use crate::limits::{HELLO_LEN, RETRY_LEN, WELCOME_MAX};
use crate::seal::Ticket;

/// Length of the first Noise message: ephemeral 32, static 32 + 16, payload 24 + 16.
const NOISE_HELLO: usize = 120;

/// Shortest second Noise message: ephemeral 32 and the tag of an empty payload.
const NOISE_WELCOME_MIN: usize = 48;

/// The two MAC keys anyone who knows a service's public key can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateKeys {
    mac1: [u8; 32],
    retry: [u8; 32],
}

impl GateKeys {
    /// Computes the keys for a service; keep them, one BLAKE2s each.
    #[must_use]
    pub fn of(service: &PublicKey) -> Self {
        Self {
            mac1: hash(&[b"lanyard mac1", service.as_bytes()]),
            retry: hash(&[b"lanyard retry", service.as_bytes()]),
        }
    }
}

/// HELLO: a device asks a service for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The device's index of the session to be.
    pub sender: SessionIndex,
    /// First message of Noise IK with a [`HelloPayload`].
    pub noise: [u8; NOISE_HELLO],
    /// The cookie of a RETRY; zero at first.
    pub cookie: [u8; 16],
    /// Keyed BLAKE2s over everything before it: the sender knows the service's public key.
    pub mac1: [u8; 16],
}

impl Hello {
    /// Makes a HELLO with its MAC. `cookie` is zero until a RETRY brought one.
    #[must_use]
    pub fn new(sender: SessionIndex, noise: [u8; NOISE_HELLO], cookie: [u8; 16], gate: &GateKeys) -> Self {
        let mut hello = Self { sender, noise, cookie, mac1: [0; 16] };
        hello.mac1 = hello.expected_mac1(gate);
        hello
    }

    /// Whether the MAC is that of someone who knows the service's public key.
    #[must_use]
    pub fn is_for(&self, gate: &GateKeys) -> bool {
        ct_eq(&self.expected_mac1(gate), &self.mac1)
    }

    /// The 160 bytes of the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = self.encode_body();
        writer.array(&self.mac1);
        writer.into_bytes()
    }

    /// Reads a whole datagram; the MAC is not checked.
    ///
    /// # Errors
    ///
    /// When it is not a HELLO of exactly 160 bytes.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        decode_kind(&mut reader, HELLO)?;
        let hello = Self {
            sender: SessionIndex::decode(&mut reader)?,
            noise: reader.array()?,
            cookie: reader.array()?,
            mac1: reader.array()?,
        };
        reader.finish()?;
        Ok(hello)
    }

    fn expected_mac1(&self, gate: &GateKeys) -> [u8; 16] {
        mac16(&gate.mac1, &[self.encode_body().as_bytes()])
    }

    fn encode_body(&self) -> Writer {
        let mut writer = Writer::with_capacity(HELLO_LEN);
        encode_kind(&mut writer, HELLO);
        self.sender.encode(&mut writer);
        writer.array(&self.noise);
        writer.array(&self.cookie);
        writer
    }
}

/// RETRY: prove that you receive at your address, and do not come back too soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The device's index from HELLO.
    pub receiver: SessionIndex,
    /// To be sent back; good for this address and port for two to four minutes.
    pub cookie: [u8; 16],
    /// How long to wait before the HELLO with the cookie, in milliseconds.
    pub delay_ms: u32,
    /// Keyed BLAKE2s over everything before it and the HELLO's MAC.
    pub mac: [u8; 16],
}

impl Retry {
    /// Answers a HELLO.
    #[must_use]
    pub fn new(hello: &Hello, cookie: [u8; 16], delay_ms: u32, gate: &GateKeys) -> Self {
        let mut retry = Self { receiver: hello.sender, cookie, delay_ms, mac: [0; 16] };
        retry.mac = retry.expected_mac(gate, &hello.mac1);
        retry
    }

    /// Whether it answers the HELLO with this MAC: who did not see that HELLO cannot make it.
    #[must_use]
    pub fn answers(&self, hello_mac1: &[u8; 16], gate: &GateKeys) -> bool {
        ct_eq(&self.expected_mac(gate, hello_mac1), &self.mac)
    }

    /// The 48 bytes of the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = self.encode_body();
        writer.array(&self.mac);
        writer.into_bytes()
    }

    /// Reads a whole datagram; the MAC is not checked.
    ///
    /// # Errors
    ///
    /// When it is not a RETRY of exactly 48 bytes.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        decode_kind(&mut reader, RETRY)?;
        let receiver = SessionIndex::decode(&mut reader)?;
        let cookie = reader.array()?;
        let delay_ms = reader.u32()?;
        reader.zeros(4)?;
        let retry = Self { receiver, cookie, delay_ms, mac: reader.array()? };
        reader.finish()?;
        Ok(retry)
    }

    fn expected_mac(&self, gate: &GateKeys, hello_mac1: &[u8; 16]) -> [u8; 16] {
        mac16(&gate.retry, &[self.encode_body().as_bytes(), hello_mac1])
    }

    fn encode_body(&self) -> Writer {
        let mut writer = Writer::with_capacity(RETRY_LEN);
        encode_kind(&mut writer, RETRY);
        self.receiver.encode(&mut writer);
        writer.array(&self.cookie);
        writer.u32(self.delay_ms);
        writer.zeros(4);
        writer
    }
}

/// WELCOME: the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The device's index from HELLO.
    pub receiver: SessionIndex,
    /// Second message of Noise IK with a [`WelcomePayload`].
    pub noise: Vec<u8>,
}

impl Welcome {
    /// The bytes of the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        encode_kind(&mut writer, WELCOME);
        self.receiver.encode(&mut writer);
        writer.bytes(&self.noise);
        writer.into_bytes()
    }

    /// Reads a whole datagram.
    ///
    /// # Errors
    ///
    /// When it is not a WELCOME of 56 to 300 bytes.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        decode_kind(&mut reader, WELCOME)?;
        let receiver = SessionIndex::decode(&mut reader)?;
        if reader.remaining() < NOISE_WELCOME_MIN || datagram.len() > WELCOME_MAX {
            return Err(Malformed { what: "length of WELCOME", at: datagram.len() });
        }
        Ok(Self { receiver, noise: reader.rest().into() })
    }
}

/// What HELLO tells the service, encrypted: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloPayload {
    /// The device's Unix time in milliseconds; a service accepts growing ones only.
    pub timestamp_ms: u64,
    /// Drawn when the agent starts: another one means it restarted.
    pub boot: u64,
    /// Lowest protocol version the device speaks.
    pub version_min: u8,
    /// Highest protocol version the device speaks.
    pub version_max: u8,
}

impl HelloPayload {
    /// The version to use: the highest both speak, if there is one.
    #[must_use]
    pub const fn agreed_version(&self) -> Option<u8> {
        if self.version_min <= VERSION && VERSION <= self.version_max { Some(VERSION) } else { None }
    }
}

impl Wire for HelloPayload {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.timestamp_ms);
        writer.u64(self.boot);
        writer.u8(self.version_min);
        writer.u8(self.version_max);
        writer.zeros(6);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (timestamp_ms, boot) = (reader.u64()?, reader.u64()?);
        let (version_min, version_max) = (reader.u8()?, reader.u8()?);
        reader.zeros(6)?;
        Ok(Self { timestamp_ms, boot, version_min, version_max })
    }
}

/// What WELCOME tells the device, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WelcomePayload {
    /// The service's index of the session.
    pub session: SessionIndex,
    /// The protocol version of this session.
    pub version: u8,
    /// The service's Unix time in milliseconds.
    pub server_time_ms: u64,
    /// The address the HELLO came from.
    pub observed: SocketAddr,
    /// The secret inside the ticket, drawn by the service.
    ///
    /// It cannot come out of the handshake, whose last message the ticket is a part of.
    pub resumption: SymmetricKey,
    /// Brings the session back without Diffie-Hellman.
    pub ticket: Ticket,
}

impl Wire for WelcomePayload {
    fn encode(&self, writer: &mut Writer) {
        self.session.encode(writer);
        writer.u8(self.version);
        writer.u64(self.server_time_ms);
        self.observed.encode(writer);
        writer.array(self.resumption.as_bytes());
        self.ticket.encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            session: SessionIndex::decode(reader)?,
            version: reader.u8()?,
            server_time_ms: reader.u64()?,
            observed: SocketAddr::decode(reader)?,
            resumption: SymmetricKey::from_bytes(reader.array()?),
            ticket: Ticket::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(byte: u8) -> GateKeys {
        GateKeys::of(&PublicKey::from_bytes([byte; 32]))
    }

    fn hello(cookie: [u8; 16]) -> Hello {
        Hello::new(SessionIndex::new(0x0102_0304), [7; NOISE_HELLO], cookie, &gate(1))
    }

    #[test]
    fn a_hello_shows_that_its_sender_knows_the_service() {
        let bytes = hello([0; 16]).encode();
        assert_eq!(bytes.len(), HELLO_LEN);
        let parsed = Hello::parse(&bytes).unwrap();
        assert!(parsed.is_for(&gate(1)));
        assert!(!parsed.is_for(&gate(2)));
        for byte in 4..HELLO_LEN {
            let mut changed = bytes.clone();
            changed[byte] ^= 1;
            assert!(!Hello::parse(&changed).unwrap().is_for(&gate(1)), "byte {byte}");
        }
    }

    #[test]
    fn a_hello_of_another_length_or_with_reserved_bytes_is_malformed() {
        let bytes = hello([0; 16]).encode();
        assert!(Hello::parse(&bytes[..159]).is_err());
        assert!(Hello::parse(&[&bytes[..], &[0]].concat()).is_err());
        for byte in 1..4 {
            let mut changed = bytes.clone();
            changed[byte] = 1;
            assert_eq!(Hello::parse(&changed).unwrap_err().what, "reserved bytes");
        }
    }

    #[test]
    fn a_retry_answers_one_hello_and_is_shorter() {
        let first = hello([0; 16]);
        let retry = Retry::new(&first, [9; 16], 250, &gate(1));
        let bytes = retry.encode();
        assert_eq!(bytes.len(), RETRY_LEN);
        let parsed = Retry::parse(&bytes).unwrap();
        assert_eq!(parsed, retry);
        assert!(parsed.answers(&first.mac1, &gate(1)));
        assert!(!parsed.answers(&hello([1; 16]).mac1, &gate(1)), "an older HELLO");
        assert!(!parsed.answers(&first.mac1, &gate(2)), "another service");
        for change in [Retry { delay_ms: 0, ..parsed }, Retry { cookie: [8; 16], ..parsed }] {
            assert!(!change.answers(&first.mac1, &gate(1)));
        }
    }

    #[test]
    fn the_largest_welcome_fits_and_a_longer_one_is_malformed() {
        let payload = WelcomePayload {
            session: SessionIndex::new(1),
            version: VERSION,
            server_time_ms: 2,
            observed: "[2001:db8::1]:7443".parse().unwrap(),
            resumption: SymmetricKey::from_bytes([2; 32]),
            ticket: Ticket::from_bytes([3; 112]),
        };
        let noise = payload.encoded_len() + NOISE_WELCOME_MIN;
        let welcome = Welcome { receiver: SessionIndex::new(1), noise: alloc::vec![1; noise] };
        assert!(welcome.encode().len() <= WELCOME_MAX);
        assert_eq!(Welcome::parse(&welcome.encode()), Ok(welcome));
        for length in [47, 293] {
            let welcome = Welcome { receiver: SessionIndex::new(1), noise: alloc::vec![1; length] };
            assert!(Welcome::parse(&welcome.encode()).is_err());
        }
    }

    #[test]
    fn a_version_is_agreed_where_the_ranges_meet() {
        let payload =
            |version_min, version_max| HelloPayload { timestamp_ms: 0, boot: 0, version_min, version_max };
        assert_eq!(payload(1, 1).agreed_version(), Some(1));
        assert_eq!(payload(1, 9).agreed_version(), Some(1));
        assert_eq!(payload(2, 9).agreed_version(), None);
        assert_eq!(payload(0, 0).agreed_version(), None);
        assert_eq!(payload(0, 0).to_bytes().len(), 24);
    }
}
