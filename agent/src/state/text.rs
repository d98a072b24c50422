//! Values of the protocol as text in a file: names and ids as people read them, secrets in base64url.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use lanyard_wire::keys::{SecretKey, SymmetricKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// A value that is written as it prints and read as it parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// `N` bytes in base64url.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(de::Error::custom)?;
        let bytes = bytes.as_slice().try_into();
        bytes.map(Self).map_err(|_| de::Error::custom(format_args!("{N} bytes in base64url belong here")))
    }
}

/// A secret key in base64url; forgotten when dropped.
#[derive(Clone)]
pub(super) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(super) fn from_key(key: &SecretKey) -> Self {
        Self(key.to_bytes())
    }

    pub(super) fn into_key(self) -> SecretKey {
        SecretKey::from_bytes(*self.0)
    }

    pub(super) fn from_symmetric(key: &SymmetricKey) -> Self {
        Self(Zeroizing::new(*key.as_bytes()))
    }

    pub(super) fn into_symmetric(self) -> SymmetricKey {
        SymmetricKey::from_bytes(*self.0)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(*self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(|bytes| Self(Zeroizing::new(bytes.0)))
    }
}
