//! Binding requests of clients from before the magic cookie, and what they are answered (RFC 3489).
//!
//! Our own devices never send these. A service that is not strict answers them, so that phones, game consoles and
//! old tools find it useful. RESPONSE-ADDRESS, which would send the answer to somebody else, is refused with
//! silence: RFC 5389 took it out because it made every server a reflector.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{
    BINDING_REQUEST, BINDING_SUCCESS, CHANGE_IP, CHANGE_PORT, CHANGE_REQUEST, Change, HEADER, MAPPED_ADDRESS,
    address, attribute, next_attribute,
};
use crate::classify::STUN_COOKIE;
use crate::codec::{Malformed, Reader, Writer};

/// Where the answer was sent from.
const SOURCE_ADDRESS: u16 = 0x0004;
/// From where it would have come with both changes.
const CHANGED_ADDRESS: u16 = 0x0005;
/// RFC 3489, section 11.2.2.
const RESPONSE_ADDRESS: u16 = 0x0002;
/// Attributes above this one may be ignored (RFC 3489, section 11.2).
const MANDATORY_LAST: u16 = 0x7FFF;

/// A Binding request without the magic cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClassicRequest {
    /// Pairs the answer with it; where newer messages have the cookie, it has four more bytes.
    pub txid: [u8; 16],
    /// From where the answer shall come.
    pub change: Change,
}

impl ClassicRequest {
    /// Reads a whole datagram.
    ///
    /// # Errors
    ///
    /// When it is no Binding request, has the cookie (then it is none of these), or wants what it may not.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        if reader.u16()? != BINDING_REQUEST {
            return Err(Malformed { what: "STUN message type", at: 0 });
        }
        if usize::from(reader.u16()?) != datagram.len().saturating_sub(HEADER) {
            return Err(reader.malformed("STUN length"));
        }
        let txid: [u8; 16] = reader.array()?;
        if txid.starts_with(&STUN_COOKIE.to_be_bytes()) {
            return Err(reader.malformed("STUN transaction"));
        }
        let mut change = Change::default();
        while let Some((kind, mut value)) = next_attribute(&mut reader)? {
            match kind {
                CHANGE_REQUEST => {
                    let flags = value.u32().map_err(|_| reader.malformed("CHANGE-REQUEST"))?;
                    change = Change { ip: flags & CHANGE_IP != 0, port: flags & CHANGE_PORT != 0 };
                }
                RESPONSE_ADDRESS..=MANDATORY_LAST => return Err(reader.malformed("STUN attribute")),
                _ => {}
            }
        }
        Ok(Self { txid, change })
    }
}

/// The answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClassicResponse {
    /// The request's transaction.
    pub txid: [u8; 16],
    /// Where the request came from.
    pub mapped: SocketAddr,
    /// From where the answer is sent.
    pub source: SocketAddr,
    /// The service's other address and port, or the same ones where it has no other.
    pub changed: SocketAddr,
}

impl ClassicResponse {
    /// The bytes of the datagram: MAPPED-ADDRESS, SOURCE-ADDRESS, CHANGED-ADDRESS.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut attributes = Writer::new();
        attribute(&mut attributes, MAPPED_ADDRESS, &address(self.mapped));
        attribute(&mut attributes, SOURCE_ADDRESS, &address(self.source));
        attribute(&mut attributes, CHANGED_ADDRESS, &address(self.changed));
        let attributes = attributes.into_bytes();
        let mut writer = Writer::with_capacity(HEADER.saturating_add(attributes.len()));
        writer.u16(BINDING_SUCCESS);
        writer.u16(u16::try_from(attributes.len()).unwrap_or(u16::MAX));
        writer.array(&self.txid);
        writer.bytes(&attributes);
        writer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;

    use super::*;
    use crate::stun::Request;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER_PERMISSIVE.decode(text.replace(' ', "").as_bytes()).unwrap()
    }

    #[test]
    fn a_request_with_and_without_a_wish_is_read() {
        let bare = hex("00010000 0102030405060708090a0b0c0d0e0f10");
        let request = ClassicRequest::parse(&bare).unwrap();
        assert_eq!((request.txid[0], request.txid[15], request.change), (1, 16, Change::default()));
        let wish = hex("00010008 0102030405060708090a0b0c0d0e0f10 00030004 00000006");
        assert_eq!(ClassicRequest::parse(&wish).unwrap().change, Change { ip: true, port: true });
    }

    #[test]
    fn nobody_else_can_be_made_to_get_the_answer() {
        let reflected = hex("0001000c 0102030405060708090a0b0c0d0e0f10 00020008 0001 1f90 c0000263");
        assert!(ClassicRequest::parse(&reflected).is_err());
    }

    #[test]
    fn no_datagram_is_a_request_of_both_kinds() {
        let newer = Request::new([9; 12], Change::default()).encode();
        assert!(ClassicRequest::parse(&newer).is_err());
        assert!(Request::parse(&hex("00010000 0102030405060708090a0b0c0d0e0f10")).is_err());
        for cut in 0..newer.len() {
            assert!(ClassicRequest::parse(&newer[..cut]).is_err());
        }
    }

    #[test]
    fn an_answer_has_the_three_addresses_of_old() {
        let [mapped, source, changed] =
            ["192.0.2.1:7443", "203.0.113.1:3478", "203.0.113.2:3479"].map(|addr| addr.parse().unwrap());
        let bytes = ClassicResponse { txid: [7; 16], mapped, source, changed }.encode();
        let expected = hex(
            "01010024 07070707070707070707070707070707 00010008 00011d13c0000201 00040008 00010d96cb007101 00050008 00010d97cb007102",
        );
        assert_eq!(bytes, expected);
    }
}
