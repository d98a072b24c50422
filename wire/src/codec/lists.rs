//! Bounded lists and texts: a field names its limit where the message is laid out.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::{Malformed, Reader, Wire, Writer};

/// How a field is written when its type alone does not say.
pub(crate) trait Codec<T> {
    /// Appends the value.
    fn encode(&self, value: &T, writer: &mut Writer);
    /// Reads a value.
    fn decode(&self, reader: &mut Reader<'_>) -> Result<T, Malformed>;
}

/// A count byte and the items; at most `.0` of them, counted in words as `.1`.
pub(crate) struct List(pub(crate) usize, pub(crate) &'static str);

impl<T: Wire> Codec<Vec<T>> for List {
    fn encode(&self, value: &Vec<T>, writer: &mut Writer) {
        // A limit above 255 would be a mistake in this crate; the count byte bounds it all the same.
        let count = u8::try_from(value.len().min(self.0)).unwrap_or(u8::MAX);
        writer.u8(count);
        for item in value.iter().take(usize::from(count)) {
            item.encode(writer);
        }
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<Vec<T>, Malformed> {
        let count = usize::from(reader.u8()?);
        if count > self.0 {
            return Err(reader.malformed(self.1));
        }
        // Memory grows with the bytes that are there, not with the count that was claimed.
        let mut items = Vec::with_capacity(count.min(reader.remaining()));
        for _ in 0..count {
            items.push(T::decode(reader)?);
        }
        Ok(items)
    }
}

/// A length byte and UTF-8 of at most `.0` bytes, named `.1`.
pub(crate) struct Text(pub(crate) usize, pub(crate) &'static str);

impl Codec<String> for Text {
    fn encode(&self, value: &String, writer: &mut Writer) {
        let end = value.floor_char_boundary(self.0.min(usize::from(u8::MAX)));
        let text = value.get(..end).unwrap_or_default();
        writer.u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
        writer.bytes(text.as_bytes());
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<String, Malformed> {
        let length = usize::from(reader.u8()?);
        if length > self.0 {
            return Err(reader.malformed(self.1));
        }
        let bytes = reader.bytes(length)?;
        core::str::from_utf8(bytes).map(String::from).map_err(|_| reader.malformed(self.1))
    }
}

/// An IPv4 prefix: address, then length 0 to 32.
pub(crate) struct Prefix4;

impl Codec<(Ipv4Addr, u8)> for Prefix4 {
    fn encode(&self, value: &(Ipv4Addr, u8), writer: &mut Writer) {
        value.0.encode(writer);
        writer.u8(value.1.min(32));
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<(Ipv4Addr, u8), Malformed> {
        let addr = Ipv4Addr::decode(reader)?;
        let length = reader.u8()?;
        if length > 32 { Err(reader.malformed("prefix length")) } else { Ok((addr, length)) }
    }
}

/// A list of at most `.0` IPv4 prefixes.
pub(crate) struct Prefixes4(pub(crate) usize);

impl Codec<Vec<(Ipv4Addr, u8)>> for Prefixes4 {
    fn encode(&self, value: &Vec<(Ipv4Addr, u8)>, writer: &mut Writer) {
        let count = u8::try_from(value.len().min(self.0)).unwrap_or(u8::MAX);
        writer.u8(count);
        for prefix in value.iter().take(usize::from(count)) {
            Prefix4.encode(prefix, writer);
        }
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<Vec<(Ipv4Addr, u8)>, Malformed> {
        let count = usize::from(reader.u8()?);
        if count > self.0 {
            return Err(reader.malformed("prefix count"));
        }
        (0..count).map(|_| Prefix4.decode(reader)).collect()
    }
}
