//! The outermost layer: what begins, carries, resumes and ends sessions.
//!
//! Every datagram begins with its kind. Reserved bytes are zero, and a datagram where they are not is malformed:
//! they get a meaning with a new protocol version only, which HELLO and WELCOME agree on.

use alloc::vec::Vec;

use crate::codec::{Malformed, Reader, Writer};
use crate::ids::{Channel, SessionIndex};
use crate::keys::SymmetricKey;
use crate::limits::{DATA_HEADER, RELAY_HEADER, TAG, UNKNOWN_LEN};
use crate::seal;

mod hello;
mod resume;

pub use hello::{GateKeys, Hello, HelloPayload, Retry, Welcome, WelcomePayload};
pub use resume::{Resume, ResumeBody, Resumed, ResumedBody, ResumedKeys};

/// First byte of a relay frame.
pub const RELAY: u8 = 0xC0;
/// First byte of HELLO.
pub const HELLO: u8 = 0xC1;
/// First byte of RETRY.
pub const RETRY: u8 = 0xC2;
/// First byte of WELCOME.
pub const WELCOME: u8 = 0xC3;
/// First byte of DATA.
pub const DATA: u8 = 0xC4;
/// First byte of RESUME.
pub const RESUME: u8 = 0xC5;
/// First byte of RESUMED.
pub const RESUMED: u8 = 0xC6;
/// First byte of PING.
pub const PING: u8 = 0xC7;
/// First byte of PONG.
pub const PONG: u8 = 0xC8;
/// First byte of UNKNOWN.
pub const UNKNOWN: u8 = 0xC9;
/// First byte of CARRY.
pub const CARRY: u8 = 0xCA;
/// First byte of EARLY.
pub const EARLY: u8 = 0xCB;

/// First byte and name of every datagram kind.
pub const KINDS: &[(u8, &str)] = &[
    (RELAY, "RELAY"),
    (HELLO, "HELLO"),
    (RETRY, "RETRY"),
    (WELCOME, "WELCOME"),
    (DATA, "DATA"),
    (RESUME, "RESUME"),
    (RESUMED, "RESUMED"),
    (PING, "PING"),
    (PONG, "PONG"),
    (UNKNOWN, "UNKNOWN"),
    (CARRY, "CARRY"),
    (EARLY, "EARLY"),
];

/// The protocol version this crate speaks.
pub const VERSION: u8 = 1;

/// Flag of DATA: the sender wants an answer, an empty body if there is nothing else to say.
const ANSWER_WANTED: u8 = 0x01;

/// Reads the kind byte and the three reserved bytes behind it.
fn decode_kind(reader: &mut Reader<'_>, kind: u8) -> Result<(), Malformed> {
    if reader.u8()? != kind {
        return Err(reader.malformed("datagram kind"));
    }
    reader.zeros(3)
}

/// Writes what [`decode_kind`] reads.
fn encode_kind(writer: &mut Writer, kind: u8) {
    writer.u8(kind);
    writer.zeros(3);
}

/// The header of DATA: 16 bytes, authenticated with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataHeader {
    /// Whether the sender wants an answer.
    pub answer: bool,
    /// The receiver's index of the session.
    pub receiver: SessionIndex,
    /// Counts the datagrams of this direction from 0; the nonce.
    pub counter: u64,
}

impl DataHeader {
    /// The 16 bytes of the header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(DATA_HEADER);
        self.write(&mut writer);
        writer.into_bytes()
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(DATA);
        writer.u8(if self.answer { ANSWER_WANTED } else { 0 });
        writer.zeros(2);
        writer.u32(self.receiver.value());
        writer.u64(self.counter);
    }

    /// Reads the header of a whole datagram.
    ///
    /// # Errors
    ///
    /// When it is not DATA, an unknown flag is set, or there is no room for a tag.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        if reader.u8()? != DATA {
            return Err(reader.malformed("datagram kind"));
        }
        let answer = match reader.u8()? {
            0 => false,
            ANSWER_WANTED => true,
            _ => return Err(reader.malformed("flags")),
        };
        reader.zeros(2)?;
        let receiver = SessionIndex::new(reader.u32()?);
        let counter = reader.u64()?;
        reader.bytes(TAG)?;
        Ok(Self { answer, receiver, counter })
    }

    /// A whole DATA datagram: header, sealed body, tag.
    #[must_use]
    pub fn seal(&self, key: &SymmetricKey, body: &[u8]) -> Vec<u8> {
        let length = body.len().saturating_add(DATA_HEADER).saturating_add(TAG);
        let mut writer = Writer::with_capacity(length);
        self.write(&mut writer);
        writer.bytes(body);
        let mut datagram = writer.into_bytes();
        if let Some((header, body)) = datagram.split_at_mut_checked(DATA_HEADER) {
            let tag = seal::seal_detached(key, self.counter, header, body);
            datagram.extend_from_slice(&tag);
        }
        datagram
    }

    /// Opens the body of the datagram this header was parsed from, in place.
    ///
    /// `None` when it is not authentic; the bytes behind the header are then undefined.
    #[must_use]
    pub fn open<'a>(&self, key: &SymmetricKey, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let (header, sealed) = datagram.split_at_mut_checked(DATA_HEADER)?;
        seal::open_in_place(key, self.counter, header, sealed)
    }
}

/// The header of a relay frame; a WireGuard datagram follows.
///
/// Both ends of a channel use the same number, so that the relay forwards the bytes unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayHeader {
    /// The pair's channel.
    pub channel: Channel,
    /// Length of what follows; framing where datagrams travel in a stream.
    pub length: u16,
}

impl RelayHeader {
    /// The eight bytes of the header.
    #[must_use]
    pub const fn encode(&self) -> [u8; RELAY_HEADER] {
        let [a, b, c, d, e] = self.channel.to_array();
        let [high, low] = self.length.to_be_bytes();
        [RELAY, a, b, c, d, e, high, low]
    }

    /// Reads the header of a whole frame and gives what follows.
    ///
    /// # Errors
    ///
    /// When it is not a relay frame or its length is not that of what follows.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut reader = Reader::new(frame);
        if reader.u8()? != RELAY {
            return Err(reader.malformed("datagram kind"));
        }
        let channel = Channel::from_array(reader.array()?);
        let length = reader.u16()?;
        if usize::from(length) != reader.remaining() {
            return Err(reader.malformed("relay frame length"));
        }
        Ok((Self { channel, length }, reader.rest()))
    }
}

/// UNKNOWN: the receiver of something does not know the session or channel it names.
///
/// A hint anyone can forge: it makes the other end check for itself, rate-limited, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// No session has this index.
    Session {
        /// The index that was asked for.
        index: SessionIndex,
        /// The counter of the datagram, so that its sender recognises the hint.
        counter: u64,
    },
    /// No binding has this channel.
    Channel(Channel),
}

impl Unknown {
    /// The 16 bytes of the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (what, index, value) = match self {
            Self::Session { index, counter } => (1, index.value(), *counter),
            Self::Channel(channel) => (2, 0, channel.value()),
        };
        let mut writer = Writer::with_capacity(UNKNOWN_LEN);
        writer.u8(UNKNOWN);
        writer.u8(what);
        writer.zeros(2);
        writer.u32(index);
        writer.u64(value);
        writer.into_bytes()
    }

    /// Reads a whole datagram.
    ///
    /// # Errors
    ///
    /// When it is not an UNKNOWN of exactly 16 bytes.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        if reader.u8()? != UNKNOWN {
            return Err(reader.malformed("datagram kind"));
        }
        let what = reader.u8()?;
        if !matches!(what, 1 | 2) {
            return Err(reader.malformed("what is unknown"));
        }
        reader.zeros(2)?;
        let index = reader.u32()?;
        if what == 2 && index != 0 {
            return Err(reader.malformed("reserved bytes"));
        }
        let value = reader.u64()?;
        let unknown = if what == 1 {
            Self::Session { index: SessionIndex::new(index), counter: value }
        } else {
            Self::Channel(Channel::new(value).ok_or_else(|| reader.malformed("channel"))?)
        };
        reader.finish()?;
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_opens_with_its_header_unchanged_only() {
        let key = SymmetricKey::from_bytes([5; 32]);
        let header = DataHeader { answer: true, receiver: SessionIndex::new(0xAABB_CCDD), counter: 9 };
        let datagram = header.seal(&key, b"body");
        assert_eq!(datagram.len(), DATA_HEADER + 4 + TAG);
        let parsed = DataHeader::parse(&datagram).unwrap();
        assert_eq!(parsed, header);
        assert_eq!(parsed.open(&key, &mut datagram.clone()), Some(&b"body"[..]));
        for (byte, flip) in [(1, 1), (5, 1), (15, 1), (20, 1)] {
            let mut changed = datagram.clone();
            changed[byte] ^= flip;
            let parsed = DataHeader::parse(&changed).unwrap();
            assert_eq!(parsed.open(&key, &mut changed), None, "byte {byte}");
        }
    }

    #[test]
    fn an_empty_body_is_a_keep_alive_of_32_bytes() {
        let header = DataHeader { answer: false, receiver: SessionIndex::new(1), counter: 0 };
        let datagram = header.seal(&SymmetricKey::from_bytes([5; 32]), b"");
        assert_eq!(datagram.len(), 32);
        assert!(DataHeader::parse(&datagram[..31]).is_err(), "no room for a tag");
    }

    #[test]
    fn a_relay_frame_must_have_the_length_it_states() {
        let header = RelayHeader { channel: Channel::from_array([1, 2, 3, 4, 5]), length: 3 };
        let mut frame = header.encode().to_vec();
        frame.extend_from_slice(b"abc");
        assert_eq!(RelayHeader::parse(&frame), Ok((header, &b"abc"[..])));
        assert!(RelayHeader::parse(&frame[..10]).is_err());
        frame.push(0);
        assert!(RelayHeader::parse(&frame).is_err());
    }

    #[test]
    fn unknown_is_never_longer_than_what_causes_it() {
        let unknown = Unknown::Session { index: SessionIndex::new(1), counter: 2 };
        assert_eq!(unknown.encode().len(), UNKNOWN_LEN);
        assert_eq!(Unknown::parse(&unknown.encode()), Ok(unknown));
        const { assert!(UNKNOWN_LEN <= DATA_HEADER + TAG && UNKNOWN_LEN <= crate::limits::RELAY_HINT_MIN) };
        let channel = Unknown::Channel(Channel::MAX);
        assert_eq!(Unknown::parse(&channel.encode()), Ok(channel));
        let mut beyond = channel.encode();
        beyond[10] = 1;
        assert!(Unknown::parse(&beyond).is_err(), "channels have 40 bits");
    }

    #[test]
    fn kinds_are_listed_once_and_in_order() {
        assert!(KINDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
