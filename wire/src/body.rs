//! The body of a DATA datagram, whatever service it concerns.
//!
//! The first byte tells the family; below 0x80 it comes from a device. An empty body is the keep-alive.

use alloc::vec::Vec;

use crate::checkpoint::{FromCheckpoint, ToCheckpoint};
use crate::codec::{Malformed, Wire as _};
use crate::handshake::{FromHandshake, ToHandshake};
use crate::relay::{FromRelay, ToRelay};
use crate::session::{FromDevice, FromService};

/// What a device says to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceBody {
    /// Nothing but being alive.
    KeepAlive,
    /// About the session.
    Session(FromDevice),
    /// To CHECKPOINT.
    Checkpoint(ToCheckpoint),
    /// To HANDSHAKE.
    Handshake(ToHandshake),
    /// To RELAY.
    Relay(ToRelay),
}

impl DeviceBody {
    /// Reads a whole opened body.
    ///
    /// # Errors
    ///
    /// When the type is unknown, the message malformed, or bytes are left over.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        Ok(match body.first() {
            None => Self::KeepAlive,
            Some(0x01..=0x1F) => Self::Checkpoint(ToCheckpoint::from_bytes(body)?),
            Some(0x20..=0x2F) => Self::Handshake(ToHandshake::from_bytes(body)?),
            Some(0x30..=0x3F) => Self::Relay(ToRelay::from_bytes(body)?),
            Some(0x41..=0x4F) => Self::Session(FromDevice::from_bytes(body)?),
            Some(_) => return Err(Malformed { what: "message type", at: 0 }),
        })
    }

    /// The bytes to be sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::KeepAlive => Vec::new(),
            Self::Session(message) => message.to_bytes(),
            Self::Checkpoint(message) => message.to_bytes(),
            Self::Handshake(message) => message.to_bytes(),
            Self::Relay(message) => message.to_bytes(),
        }
    }
}

/// What a service says to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceBody {
    /// Nothing but being alive.
    KeepAlive,
    /// About the session.
    Session(FromService),
    /// From CHECKPOINT.
    Checkpoint(FromCheckpoint),
    /// From HANDSHAKE.
    Handshake(FromHandshake),
    /// From RELAY.
    Relay(FromRelay),
}

impl ServiceBody {
    /// Reads a whole opened body.
    ///
    /// # Errors
    ///
    /// When the type is unknown, the message malformed, or bytes are left over.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        Ok(match body.first() {
            None => Self::KeepAlive,
            Some(0x81..=0x9F) => Self::Checkpoint(FromCheckpoint::from_bytes(body)?),
            Some(0xA0..=0xAF) => Self::Handshake(FromHandshake::from_bytes(body)?),
            Some(0xB0..=0xBF) => Self::Relay(FromRelay::from_bytes(body)?),
            Some(0xC1..=0xCF) => Self::Session(FromService::from_bytes(body)?),
            Some(_) => return Err(Malformed { what: "message type", at: 0 }),
        })
    }

    /// The bytes to be sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::KeepAlive => Vec::new(),
            Self::Session(message) => message.to_bytes(),
            Self::Checkpoint(message) => message.to_bytes(),
            Self::Handshake(message) => message.to_bytes(),
            Self::Relay(message) => message.to_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Wire;

    fn codes<'a>(families: impl IntoIterator<Item = &'a [(u8, &'a str)]>) -> Vec<u8> {
        families.into_iter().flatten().map(|(code, _)| *code).collect()
    }

    #[test]
    fn every_message_type_is_dispatched_and_no_other() {
        let device = codes([ToCheckpoint::KINDS, ToHandshake::KINDS, ToRelay::KINDS, FromDevice::KINDS]);
        let service =
            codes([FromCheckpoint::KINDS, FromHandshake::KINDS, FromRelay::KINDS, FromService::KINDS]);
        for code in 0..=u8::MAX {
            let unknown = |error: Malformed| error.at == 0;
            let device_error = DeviceBody::parse(&[code, 0xFF]).unwrap_err();
            assert_eq!(unknown(device_error), !device.contains(&code), "device {code:#x}: {device_error}");
            let service_error = ServiceBody::parse(&[code, 0xFF]).unwrap_err();
            assert_eq!(
                unknown(service_error),
                !service.contains(&code),
                "service {code:#x}: {service_error}"
            );
        }
    }

    #[test]
    fn an_empty_body_is_a_keep_alive() {
        assert_eq!(DeviceBody::parse(&[]), Ok(DeviceBody::KeepAlive));
        assert_eq!(ServiceBody::parse(&[]), Ok(ServiceBody::KeepAlive));
        assert!(ServiceBody::KeepAlive.to_bytes().is_empty());
        assert_eq!(FromDevice::Bye.to_bytes(), [0x41]);
    }
}
