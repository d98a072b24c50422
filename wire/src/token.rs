//! Tokens: a coordinator's word that two devices may meet, checked by any of its services without asking.
//!
//! The token key is shared by the services of one fleet. A token names both devices, so it is of no use to a
//! third; it is not secret from them.

use crate::codec::messages::wire_variants;
use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::ids::{Channel, DeviceId};
use crate::keys::{SymmetricKey, ct_eq, mac16};

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// One attempt at HANDSHAKE; the value is the attempt's id.
    Attempt,
    /// One channel at RELAY; the value is the channel in its network, [`Channel::in_network`].
    Relay,
}

wire_variants!(Purpose "token purpose" {
    0x01 => Attempt,
    0x02 => Relay,
});

/// A permission for two devices, sealed with a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// What it is good for.
    pub purpose: Purpose,
    /// The device with the lower id.
    pub a: DeviceId,
    /// The device with the higher id.
    pub b: DeviceId,
    /// Attempt or channel, by purpose.
    pub value: u64,
    /// Unix time in seconds from which on it is void.
    pub expires_s: u32,
    /// Keyed BLAKE2s over all of the above.
    pub mac: [u8; 16],
}

impl Token {
    /// Makes a token for two different devices, given in any order.
    #[must_use]
    pub fn grant(
        key: &SymmetricKey,
        purpose: Purpose,
        x: DeviceId,
        y: DeviceId,
        value: u64,
        expires_s: u32,
    ) -> Self {
        let mut token = Self { purpose, a: x.min(y), b: x.max(y), value, expires_s, mac: [0; 16] };
        token.mac = token.expected_mac(key);
        token
    }

    /// Whether the holder of the key granted it and it is still valid at a Unix time in seconds.
    #[must_use]
    pub fn verify(&self, key: &SymmetricKey, now_s: u64) -> bool {
        ct_eq(&self.expected_mac(key), &self.mac) && now_s < u64::from(self.expires_s)
    }

    /// The other device; `None` when the token is not for `me`.
    #[must_use]
    pub fn other(&self, me: DeviceId) -> Option<DeviceId> {
        if me == self.a {
            Some(self.b)
        } else if me == self.b {
            Some(self.a)
        } else {
            None
        }
    }

    /// The channel that it is for; `None` when it is for an attempt.
    #[must_use]
    pub const fn channel(&self) -> Option<Channel> {
        match self.purpose {
            Purpose::Relay => Some(Channel::of_value(self.value)),
            Purpose::Attempt => None,
        }
    }

    fn expected_mac(&self, key: &SymmetricKey) -> [u8; 16] {
        let mut writer = Writer::new();
        self.encode_body(&mut writer);
        mac16(key.as_bytes(), &[b"lanyard token", writer.as_bytes()])
    }

    fn encode_body(&self, writer: &mut Writer) {
        self.purpose.encode(writer);
        self.a.encode(writer);
        self.b.encode(writer);
        writer.u64(self.value);
        writer.u32(self.expires_s);
    }
}

impl Wire for Token {
    fn encode(&self, writer: &mut Writer) {
        self.encode_body(writer);
        writer.array(&self.mac);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let purpose = Purpose::decode(reader)?;
        let a = DeviceId::decode(reader)?;
        let b = DeviceId::decode(reader)?;
        if a >= b {
            return Err(reader.malformed("token devices"));
        }
        Ok(Self { purpose, a, b, value: reader.u64()?, expires_s: reader.u32()?, mac: reader.array()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 16])
    }

    fn token(key: &SymmetricKey) -> Token {
        Token::grant(key, Purpose::Relay, device(9), device(2), 77, 1_800_000_060)
    }

    #[test]
    fn a_token_is_good_for_its_two_devices_until_it_expires() {
        let key = SymmetricKey::from_bytes([1; 32]);
        let token = token(&key);
        assert!(token.verify(&key, NOW));
        assert!(token.verify(&key, NOW + 59));
        assert!(!token.verify(&key, NOW + 60));
        assert_eq!(token.other(device(2)), Some(device(9)));
        assert_eq!(token.other(device(9)), Some(device(2)));
        assert_eq!(token.other(device(5)), None);
        let reversed = Token::grant(&key, Purpose::Relay, device(2), device(9), 77, 1_800_000_060);
        assert_eq!(token, reversed, "both ends hold the same token");
    }

    #[test]
    fn a_changed_token_is_void() {
        let key = SymmetricKey::from_bytes([1; 32]);
        let good = token(&key);
        for changed in [
            Token { purpose: Purpose::Attempt, ..good },
            Token { a: device(1), ..good },
            Token { b: device(10), ..good },
            Token { value: 78, ..good },
            Token { expires_s: u32::MAX, ..good },
            Token { mac: [0; 16], ..good },
        ] {
            assert!(!changed.verify(&key, NOW));
        }
        assert!(!good.verify(&SymmetricKey::from_bytes([2; 32]), NOW));
    }

    #[test]
    fn a_token_for_one_device_does_not_decode() {
        let key = SymmetricKey::from_bytes([1; 32]);
        let mut bytes = token(&key).to_bytes();
        assert_eq!(Token::from_bytes(&bytes), Ok(token(&key)));
        bytes.copy_within(17..33, 1);
        assert!(Token::from_bytes(&bytes).is_err());
    }
}
