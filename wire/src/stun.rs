//! STUN Binding requests and responses (RFC 8489) with what behaviour discovery needs (RFC 5780).
//!
//! Our own requests carry PADDING so that no answer is longer than its question; a service that is strict answers
//! no others.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::classify::STUN_COOKIE;
use crate::codec::{Malformed, Reader, Writer};
use crate::limits::STUN_REQUEST_LEN;

mod classic;

pub use classic::{ClassicRequest, ClassicResponse};

/// Length of a STUN header.
const HEADER: usize = 20;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const MAPPED_ADDRESS: u16 = 0x0001;
const CHANGE_REQUEST: u16 = 0x0003;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PADDING: u16 = 0x0026;
/// To which port of the asking address the answer shall go (RFC 5780, section 7.5).
pub const RESPONSE_PORT: u16 = 0x0027;
const RESPONSE_ORIGIN: u16 = 0x802B;
const OTHER_ADDRESS: u16 = 0x802C;

/// Attributes below this one must be understood (RFC 8489, section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// Unknown attributes named in an error response; a request with more is nonsense anyway.
const UNKNOWN_MAX: usize = 8;

const CHANGE_IP: u32 = 0x04;
const CHANGE_PORT: u32 = 0x02;

/// A transaction id: drawn at random for each request.
pub type TransactionId = [u8; 12];

/// From where the answer shall come (RFC 5780, section 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// From the service's other address.
    pub ip: bool,
    /// From its other port.
    pub port: bool,
}

/// A Binding request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Pairs the answer with it.
    pub txid: TransactionId,
    /// From where the answer shall come.
    pub change: Change,
    /// To which port of the asking address the answer shall go, if not to the one it came from.
    pub response_port: Option<u16>,
    /// Bytes of PADDING behind everything else.
    pub padding: u16,
}

/// Why a datagram is no request this service can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// Not a Binding request at all: no answer.
    Malformed(Malformed),
    /// Attributes that must be understood and are not: error 420.
    Unknown {
        /// The request's transaction.
        txid: TransactionId,
        /// The attributes, at most eight.
        attributes: Vec<u16>,
    },
}

impl From<Malformed> for BadRequest {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Request {
    /// A request padded to [`STUN_REQUEST_LEN`].
    #[must_use]
    pub fn new(txid: TransactionId, change: Change) -> Self {
        let used = HEADER.saturating_add(8).saturating_add(4);
        let padding = u16::try_from(STUN_REQUEST_LEN.saturating_sub(used)).unwrap_or(0);
        Self { txid, change, response_port: None, padding }
    }

    /// The bytes of the datagram: CHANGE-REQUEST, RESPONSE-PORT where there is one, then PADDING.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        if self.change.ip {
            flags |= CHANGE_IP;
        }
        if self.change.port {
            flags |= CHANGE_PORT;
        }
        let mut attributes = Writer::with_capacity(STUN_REQUEST_LEN);
        attribute(&mut attributes, CHANGE_REQUEST, &flags.to_be_bytes());
        if let Some(port) = self.response_port {
            let [high, low] = port.to_be_bytes();
            attribute(&mut attributes, RESPONSE_PORT, &[high, low, 0, 0]);
        }
        if self.padding > 0 {
            attribute(&mut attributes, PADDING, &alloc::vec![0; usize::from(self.padding)]);
        }
        message(BINDING_REQUEST, &self.txid, attributes.as_bytes())
    }

    /// Reads a whole datagram, of any client: attributes in any order, optional unknown ones skipped.
    ///
    /// # Errors
    ///
    /// When it is not a Binding request, or wants something this codec does not know.
    pub fn parse(datagram: &[u8]) -> Result<Self, BadRequest> {
        let (kind, txid, mut reader) = header(datagram)?;
        if kind != BINDING_REQUEST {
            return Err(Malformed { what: "STUN message type", at: 0 }.into());
        }
        let mut request = Self { txid, change: Change::default(), response_port: None, padding: 0 };
        let mut unknown = Vec::new();
        while let Some((kind, value)) = next_attribute(&mut reader)? {
            match kind {
                CHANGE_REQUEST => {
                    let flags = value.clone().u32().map_err(|_| reader.malformed("CHANGE-REQUEST"))?;
                    request.change = Change { ip: flags & CHANGE_IP != 0, port: flags & CHANGE_PORT != 0 };
                }
                RESPONSE_PORT => {
                    let port = value.clone().u16().map_err(|_| reader.malformed("RESPONSE-PORT"))?;
                    request.response_port = Some(port);
                }
                PADDING => request.padding = u16::try_from(value.remaining()).unwrap_or(u16::MAX),
                COMPREHENSION_OPTIONAL.. => {}
                other => unknown.push(other),
            }
        }
        if unknown.is_empty() {
            Ok(request)
        } else {
            unknown.truncate(UNKNOWN_MAX);
            Err(BadRequest::Unknown { txid, attributes: unknown })
        }
    }
}

/// A success response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// The request's transaction.
    pub txid: TransactionId,
    /// Where the request came from.
    pub mapped: SocketAddr,
    /// From where the response was sent.
    pub origin: Option<SocketAddr>,
    /// The service's other address and port, where there is one.
    pub other: Option<SocketAddr>,
}

impl Response {
    /// The bytes of the datagram: XOR-MAPPED-ADDRESS, MAPPED-ADDRESS, RESPONSE-ORIGIN, OTHER-ADDRESS.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut attributes = Writer::new();
        attribute(&mut attributes, XOR_MAPPED_ADDRESS, &address(xor(self.mapped, &self.txid)));
        attribute(&mut attributes, MAPPED_ADDRESS, &address(self.mapped));
        if let Some(origin) = self.origin {
            attribute(&mut attributes, RESPONSE_ORIGIN, &address(origin));
        }
        if let Some(other) = self.other {
            attribute(&mut attributes, OTHER_ADDRESS, &address(other));
        }
        message(BINDING_SUCCESS, &self.txid, attributes.as_bytes())
    }

    /// Reads a whole datagram, of any service; XOR-MAPPED-ADDRESS is preferred to MAPPED-ADDRESS.
    ///
    /// # Errors
    ///
    /// When it is not a success response with a mapped address.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let (kind, txid, mut reader) = header(datagram)?;
        if kind != BINDING_SUCCESS {
            return Err(Malformed { what: "STUN message type", at: 0 });
        }
        let (mut xored, mut plain, mut origin, mut other) = (None, None, None, None);
        while let Some((kind, value)) = next_attribute(&mut reader)? {
            let slot = match kind {
                XOR_MAPPED_ADDRESS => &mut xored,
                MAPPED_ADDRESS => &mut plain,
                RESPONSE_ORIGIN => &mut origin,
                OTHER_ADDRESS => &mut other,
                _ => continue,
            };
            // The first of each kind counts (RFC 8489, section 14).
            if slot.is_none() {
                *slot = Some(read_address(value).map_err(|_| reader.malformed("STUN address"))?);
            }
        }
        let mapped = xored.map(|addr| xor(addr, &txid)).or(plain);
        let mapped = mapped.ok_or(Malformed { what: "mapped address", at: datagram.len() })?;
        Ok(Self { txid, mapped, origin, other })
    }
}

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorResponse {
    /// The request's transaction.
    pub txid: TransactionId,
    /// 300 to 699; our own service says 420 (unknown attribute) only.
    pub code: u16,
    /// With 420, the attributes that were not understood.
    pub unknown: Vec<u16>,
}

impl ErrorResponse {
    /// The bytes of the datagram: ERROR-CODE without a phrase, UNKNOWN-ATTRIBUTES where there are any.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let [_, class] = (self.code / 100).to_be_bytes();
        let [_, number] = (self.code % 100).to_be_bytes();
        let mut attributes = Writer::new();
        attribute(&mut attributes, ERROR_CODE, &[0, 0, class, number]);
        if !self.unknown.is_empty() {
            let unknown: Vec<u8> = self.unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
            attribute(&mut attributes, UNKNOWN_ATTRIBUTES, &unknown);
        }
        message(BINDING_ERROR, &self.txid, attributes.as_bytes())
    }

    /// Reads a whole datagram, of any service.
    ///
    /// # Errors
    ///
    /// When it is not an error response with a code.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let (kind, txid, mut reader) = header(datagram)?;
        if kind != BINDING_ERROR {
            return Err(Malformed { what: "STUN message type", at: 0 });
        }
        let (mut code, mut unknown) = (None, Vec::new());
        while let Some((kind, mut value)) = next_attribute(&mut reader)? {
            if kind == ERROR_CODE {
                let [_, _, class, number] = value.array().map_err(|_| reader.malformed("ERROR-CODE"))?;
                if !(3..=6).contains(&class) || number > 99 {
                    return Err(reader.malformed("ERROR-CODE"));
                }
                code = Some(u16::from(class).saturating_mul(100).saturating_add(u16::from(number)));
            } else if kind == UNKNOWN_ATTRIBUTES {
                while let Ok(kind) = value.u16() {
                    unknown.push(kind);
                }
            }
        }
        let code = code.ok_or(Malformed { what: "ERROR-CODE", at: datagram.len() })?;
        Ok(Self { txid, code, unknown })
    }
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The mapped address and more.
    Success(Response),
    /// Why there is none.
    Error(ErrorResponse),
}

impl Answer {
    /// Reads a whole datagram, of any service.
    ///
    /// # Errors
    ///
    /// When it is neither a success nor an error response to a Binding request.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        match header(datagram)?.0 {
            BINDING_ERROR => ErrorResponse::parse(datagram).map(Self::Error),
            _ => Response::parse(datagram).map(Self::Success),
        }
    }

    /// The transaction it answers.
    #[must_use]
    pub const fn txid(&self) -> &TransactionId {
        match self {
            Self::Success(response) => &response.txid,
            Self::Error(response) => &response.txid,
        }
    }
}

/// Reads the header of a whole message: type, transaction, attributes.
fn header(datagram: &[u8]) -> Result<(u16, TransactionId, Reader<'_>), Malformed> {
    let mut reader = Reader::new(datagram);
    let kind = reader.u16()?;
    let length = usize::from(reader.u16()?);
    if length != datagram.len().saturating_sub(HEADER) || !length.is_multiple_of(4) {
        return Err(reader.malformed("STUN length"));
    }
    if reader.u32()? != STUN_COOKIE {
        return Err(reader.malformed("STUN cookie"));
    }
    let txid = reader.array()?;
    Ok((kind, txid, reader))
}

/// Reads the next attribute and the padding behind it; `None` at the end.
fn next_attribute<'a>(reader: &mut Reader<'a>) -> Result<Option<(u16, Reader<'a>)>, Malformed> {
    if reader.remaining() == 0 {
        return Ok(None);
    }
    let kind = reader.u16()?;
    let length = usize::from(reader.u16()?);
    let value = reader.bytes(length)?;
    // What the padding holds is not checked: RFC 8489, section 14, lets it be anything.
    reader.bytes(length.wrapping_neg() % 4)?;
    Ok(Some((kind, Reader::new(value))))
}

/// Appends an attribute with its padding.
fn attribute(writer: &mut Writer, kind: u16, value: &[u8]) {
    writer.u16(kind);
    writer.u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
    writer.bytes(value);
    writer.zeros(value.len().wrapping_neg() % 4);
}

/// A whole message.
fn message(kind: u16, txid: &TransactionId, attributes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(HEADER.saturating_add(attributes.len()));
    writer.u16(kind);
    writer.u16(u16::try_from(attributes.len()).unwrap_or(u16::MAX));
    writer.u32(STUN_COOKIE);
    writer.array(txid);
    writer.bytes(attributes);
    writer.into_bytes()
}

/// The value of an address attribute: zero, family, port, address (RFC 8489, section 14.1).
fn address(addr: SocketAddr) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(0);
    writer.u8(if addr.is_ipv4() { 1 } else { 2 });
    writer.u16(addr.port());
    match addr.ip() {
        IpAddr::V4(ip) => writer.array(&ip.octets()),
        IpAddr::V6(ip) => writer.array(&ip.octets()),
    }
    writer.into_bytes()
}

/// Reads what [`address`] wrote; the first byte may be anything.
fn read_address(mut reader: Reader<'_>) -> Result<SocketAddr, Malformed> {
    reader.u8()?;
    let family = reader.u8()?;
    if !matches!(family, 1 | 2) {
        return Err(reader.malformed("address family"));
    }
    let port = reader.u16()?;
    let ip = if family == 1 {
        IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?))
    };
    reader.finish()?;
    Ok(SocketAddr::new(ip, port))
}

/// Masks or unmasks an address with cookie and transaction (RFC 8489, section 14.2).
fn xor(addr: SocketAddr, txid: &TransactionId) -> SocketAddr {
    let [high, low, ..] = STUN_COOKIE.to_be_bytes();
    let port = addr.port() ^ u16::from_be_bytes([high, low]);
    let ip = match addr.ip() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() ^ STUN_COOKIE)),
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            let cookie = STUN_COOKIE.to_be_bytes();
            for (octet, mask) in octets.iter_mut().zip(cookie.iter().chain(txid)) {
                *octet ^= mask;
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    };
    SocketAddr::new(ip, port)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER_PERMISSIVE.decode(text.replace([' ', '\n'], "").as_bytes()).unwrap()
    }

    /// RFC 5769, section 2.2: with SOFTWARE, MESSAGE-INTEGRITY and FINGERPRINT beside the address.
    #[test]
    fn a_response_of_another_service_is_read() {
        let datagram = hex(
            "0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 00200008 0001a147
             e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96",
        );
        let response = Response::parse(&datagram).unwrap();
        assert_eq!(response.mapped, "192.0.2.1:32853".parse().unwrap());
        assert_eq!(response.origin, None);
    }

    /// RFC 5769, section 2.3.
    #[test]
    fn an_ipv6_response_of_another_service_is_read() {
        let datagram = hex(
            "01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 00200014 0002a147
             0113a9faa5d3f179bc25f4b5bed2b9d9 00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c",
        );
        let expected = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        assert_eq!(Response::parse(&datagram).unwrap().mapped, expected);
    }

    /// RFC 3489 servers answer with MAPPED-ADDRESS alone.
    #[test]
    fn a_classic_address_is_taken_where_there_is_no_other() {
        let datagram = hex("0101000c 2112a442 000000000000000000000000 00010008 0001 1d13 c0000201");
        assert_eq!(Response::parse(&datagram).unwrap().mapped, "192.0.2.1:7443".parse().unwrap());
    }

    #[test]
    fn no_answer_is_longer_than_our_question() {
        let request = Request::new([1; 12], Change { ip: true, port: false });
        assert_eq!(request.encode().len(), STUN_REQUEST_LEN);
        assert_eq!(Request::parse(&request.encode()), Ok(request));
        let addr = "[2001:db8::1]:3478".parse().unwrap();
        let response = Response { txid: [1; 12], mapped: addr, origin: Some(addr), other: Some(addr) };
        assert!(response.encode().len() <= STUN_REQUEST_LEN);
        assert_eq!(Answer::parse(&response.encode()), Ok(Answer::Success(response)));
        let error = ErrorResponse { txid: [1; 12], code: 420, unknown: alloc::vec![9; UNKNOWN_MAX] };
        assert!(error.encode().len() <= STUN_REQUEST_LEN);
        assert_eq!(Answer::parse(&error.encode()), Ok(Answer::Error(error)));
    }

    #[test]
    fn a_bare_request_is_read() {
        let datagram = hex("00010000 2112a442 0102030405060708090a0b0c");
        let request = Request::parse(&datagram).unwrap();
        assert_eq!(request.change, Change::default());
        assert_eq!(request.padding, 0);
    }

    #[test]
    fn an_attribute_that_must_be_understood_is_named() {
        let datagram = hex("00010010 2112a442 0102030405060708090a0b0c 00070004 12340000 80220004 61626364");
        let Err(BadRequest::Unknown { txid, attributes }) = Request::parse(&datagram) else {
            unreachable!("PASSWORD is not supported")
        };
        assert_eq!(txid, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(attributes, [0x0007]);
    }

    #[test]
    fn a_length_that_is_not_the_datagrams_is_malformed() {
        for text in [
            "00010004 2112a442 0102030405060708090a0b0c",
            "00010000 2112a442 0102030405060708090a0b0c 00000000",
            "00010000 2112a443 0102030405060708090a0b0c",
            "00010004 2112a442 0102030405060708090a0b0c 00030008",
            "00010006 2112a442 0102030405060708090a0b0c 000300020000",
        ] {
            assert!(matches!(Request::parse(&hex(text)), Err(BadRequest::Malformed(_))), "{text}");
        }
    }
}
