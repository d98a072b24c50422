//! Encodings of the values every message is made of.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{Malformed, Reader, Wire, Writer};

/// Length of a socket address padded to the longest one: family, port, 16 address bytes.
pub(crate) const PADDED_ADDR: usize = 19;

macro_rules! wire_number {
    ($($number:ident)*) => {$(
        impl Wire for $number {
            fn encode(&self, writer: &mut Writer) {
                writer.$number(*self);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.$number()
            }
        }
    )*};
}

wire_number!(u8 u16 u32 u64);

impl Wire for i8 {
    fn encode(&self, writer: &mut Writer) {
        writer.array(&self.to_be_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array().map(Self::from_be_bytes)
    }
}

impl Wire for bool {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::from(*self));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(reader.malformed("truth value")),
        }
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn encode(&self, writer: &mut Writer) {
        writer.array(self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(writer);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            _ => Err(reader.malformed("option")),
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn encode(&self, writer: &mut Writer) {
        self.0.encode(writer);
        self.1.encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok((A::decode(reader)?, B::decode(reader)?))
    }
}

impl Wire for Ipv4Addr {
    fn encode(&self, writer: &mut Writer) {
        writer.array(&self.octets());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array::<4>().map(Self::from)
    }
}

impl Wire for Ipv6Addr {
    fn encode(&self, writer: &mut Writer) {
        writer.array(&self.octets());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array::<16>().map(Self::from)
    }
}

/// Port, then address: the family is known from the field.
impl Wire for SocketAddrV4 {
    fn encode(&self, writer: &mut Writer) {
        writer.u16(self.port());
        self.ip().encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let port = reader.u16()?;
        Ok(Self::new(Ipv4Addr::decode(reader)?, port))
    }
}

/// Port, then address: the family is known from the field. Flow label and scope are not sent.
impl Wire for SocketAddrV6 {
    fn encode(&self, writer: &mut Writer) {
        writer.u16(self.port());
        self.ip().encode(writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let port = reader.u16()?;
        Ok(Self::new(Ipv6Addr::decode(reader)?, port, 0, 0))
    }
}

/// Family, port, address. An IPv6 scope is not sent: it means nothing on another machine.
impl Wire for SocketAddr {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::V4(addr) => {
                writer.u8(4);
                addr.encode(writer);
            }
            Self::V6(addr) => {
                writer.u8(6);
                addr.encode(writer);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            4 => SocketAddrV4::decode(reader).map(Self::V4),
            6 => SocketAddrV6::decode(reader).map(Self::V6),
            _ => Err(reader.malformed("address family")),
        }
    }
}

/// Appends a socket address and zeros up to [`PADDED_ADDR`] bytes; zeros alone for no address.
pub(crate) fn encode_padded_addr(addr: Option<SocketAddr>, writer: &mut Writer) {
    let end = writer.len().saturating_add(PADDED_ADDR);
    if let Some(addr) = addr {
        addr.encode(writer);
    }
    writer.pad_to(end);
}

/// Reads what [`encode_padded_addr`] wrote.
pub(crate) fn decode_padded_addr(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, Malformed> {
    let family = *reader.clone().bytes(PADDED_ADDR)?.first().unwrap_or(&0);
    match family {
        0 => reader.zeros(PADDED_ADDR).map(|()| None),
        4 => {
            let addr = SocketAddr::decode(reader)?;
            reader.zeros(12)?;
            Ok(Some(addr))
        }
        _ => SocketAddr::decode(reader).map(Some),
    }
}

/// Drops what an IPv6 address has beyond address and port, so that addresses compare as they travel.
#[must_use]
pub(crate) fn unscoped(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(_) => addr,
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, addr.port(), 0, 0)),
    }
}
