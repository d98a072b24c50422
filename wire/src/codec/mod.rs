//! `Reader` and `Writer`: the only code that walks over bytes.
//!
//! Numbers are big-endian. A list is a count byte and its items, a text is a length byte and UTF-8, an option is
//! `0` or `1` and the value, a truth value is `0` or `1`, a socket address is a family byte (`4` or `6`), the port
//! and the address. Every value has exactly one encoding: a decoder refuses all others, so that
//! `encode(decode(bytes)) == bytes` for everything that decodes.

use alloc::vec::Vec;
use core::fmt;

mod values;

pub(crate) use values::{PADDED_ADDR, decode_padded_addr, encode_padded_addr, unscoped};
pub(crate) mod lists;
pub(crate) mod messages;

/// Why bytes are not a message: what was being read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Malformed {
    /// The part that is wrong, in words for a log line: `"candidate count"`.
    pub what: &'static str,
    /// Offset of its first byte from the start of the bytes given to the reader.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {} at byte {}", self.what, self.at)
    }
}

impl core::error::Error for Malformed {}

/// A value with one encoding in bytes.
pub trait Wire: Sized {
    /// Appends the encoding.
    ///
    /// Lists and texts longer than their limit are cut at the limit: what is written always decodes.
    fn encode(&self, writer: &mut Writer);

    /// Reads one value and leaves the reader behind it.
    ///
    /// # Errors
    ///
    /// When the bytes end early or are not the one encoding of a value.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// The encoding as bytes of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.encode(&mut writer);
        writer.into_bytes()
    }

    /// Length of the encoding in bytes, for senders that fill a datagram item by item.
    fn encoded_len(&self) -> usize {
        self.to_bytes().len()
    }

    /// Reads a value that fills the bytes to the end.
    ///
    /// # Errors
    ///
    /// As [`Wire::decode`], and when bytes are left over.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Reads numbers and byte strings from the front of a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
    at: usize,
    last: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, at: 0, last: 0 }
    }

    /// Offset of the next byte to be read.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self
            .left
            .split_at_checked(count)
            .ok_or(Malformed { what: "length: bytes missing", at: self.at })?;
        self.advance(tail, count);
        Ok(head)
    }

    /// Reads `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) =
            self.left.split_first_chunk().ok_or(Malformed { what: "length: bytes missing", at: self.at })?;
        self.advance(tail, N);
        Ok(*head)
    }

    /// Reads one byte.
    ///
    /// # Errors
    ///
    /// When none is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// Reads a 16-bit number.
    ///
    /// # Errors
    ///
    /// When fewer than two bytes are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a 32-bit number.
    ///
    /// # Errors
    ///
    /// When fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a 64-bit number.
    ///
    /// # Errors
    ///
    /// When fewer than eight bytes are left.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads `count` bytes that must be zero.
    ///
    /// # Errors
    ///
    /// When fewer are left or one is not zero: reserved bytes get a meaning only with a new protocol version.
    pub fn zeros(&mut self, count: usize) -> Result<(), Malformed> {
        if self.bytes(count)?.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(self.malformed("reserved bytes"))
        }
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.left;
        self.advance(&[], rest.len());
        rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// When bytes are left over.
    pub const fn finish(&self) -> Result<(), Malformed> {
        if self.left.is_empty() {
            Ok(())
        } else {
            Err(Malformed { what: "length: bytes left over", at: self.at })
        }
    }

    /// The error for the value read last.
    #[must_use]
    pub const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.last }
    }

    const fn advance(&mut self, tail: &'a [u8], count: usize) {
        self.left = tail;
        self.last = self.at;
        self.at = self.at.saturating_add(count);
    }
}

/// Appends numbers and byte strings to a vector.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Starts empty with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends a 16-bit number.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends a 32-bit number.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends a 64-bit number.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends the bytes of an array.
    pub fn array<const N: usize>(&mut self, value: &[u8; N]) {
        self.bytes(value);
    }

    /// Appends bytes without a length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// Appends `count` zero bytes.
    pub fn zeros(&mut self, count: usize) {
        self.pad_to(self.bytes.len().saturating_add(count));
    }

    /// Appends zero bytes until `length` bytes are written; nothing when there are more already.
    pub fn pad_to(&mut self, length: usize) {
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Ends the writing.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;

    #[test]
    fn an_error_names_the_byte_where_the_bad_value_begins() {
        let mut reader = Reader::new(&[0, 0, 7]);
        reader.u16().unwrap();
        assert_eq!(bool::decode(&mut reader), Err(Malformed { what: "truth value", at: 2 }));
    }

    #[test]
    fn bytes_that_end_early_are_malformed_and_not_consumed() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert!(reader.u32().is_err());
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.at(), 2);
        assert_eq!(reader.rest(), [3]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn left_over_bytes_are_malformed() {
        assert_eq!(u16::from_bytes(&[0, 1, 2]).unwrap_err().at, 2);
    }

    #[test]
    fn addresses_have_the_documented_bytes() {
        let addr: SocketAddr = "192.0.2.1:7443".parse().unwrap();
        assert_eq!(addr.to_bytes(), [4, 0x1D, 0x13, 192, 0, 2, 1]);
        let addr: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
        assert_eq!(addr.to_bytes(), [6, 0, 1, 0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(SocketAddr::from_bytes(&addr.to_bytes()), Ok(addr));
        assert!(SocketAddr::from_bytes(&[5, 0, 1, 1, 2, 3, 4]).is_err());
    }

    #[test]
    fn a_padded_address_refuses_bytes_in_its_padding() {
        let mut writer = Writer::new();
        encode_padded_addr(Some("192.0.2.1:7443".parse().unwrap()), &mut writer);
        let mut bytes = writer.into_bytes();
        assert_eq!(bytes.len(), PADDED_ADDR);
        assert!(decode_padded_addr(&mut Reader::new(&bytes)).unwrap().is_some());
        bytes[18] = 1;
        assert!(decode_padded_addr(&mut Reader::new(&bytes)).is_err());
    }

    #[test]
    fn a_claimed_count_costs_no_memory() {
        use lists::{Codec, List};
        let decoded: Result<Vec<[u8; 16]>, _> = List(255, "count").decode(&mut Reader::new(&[200]));
        assert!(decoded.is_err());
        let decoded: Result<Vec<u8>, _> = List(2, "count").decode(&mut Reader::new(&[3, 1, 2, 3]));
        assert_eq!(decoded, Err(Malformed { what: "count", at: 0 }));
    }

    #[test]
    fn texts_and_lists_are_cut_at_their_limit() {
        use lists::{Codec, List, Text};
        let mut writer = Writer::new();
        Text(4, "text").encode(&"aaaé".into(), &mut writer);
        assert_eq!(writer.into_bytes(), b"\x03aaa", "no half a character");
        let mut writer = Writer::new();
        List(2, "count").encode(&alloc::vec![1u8, 2, 3], &mut writer);
        assert_eq!(writer.into_bytes(), [2, 1, 2]);
    }

    #[test]
    fn a_prefix_longer_than_an_address_is_malformed() {
        use lists::{Codec, Prefix4};
        assert!(Prefix4.decode(&mut Reader::new(&[10, 0, 0, 0, 32])).is_ok());
        assert!(Prefix4.decode(&mut Reader::new(&[10, 0, 0, 0, 33])).is_err());
    }
}
