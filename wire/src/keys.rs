//! Keys and keyed hashes.
//!
//! Secrets are wiped when dropped, print as `..` and have no text form; only public keys do. Hashing is BLAKE2s
//! (RFC 7693) throughout, the hash of the Noise pattern, so that one function is to be trusted.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use blake2::digest::consts::{U16, U32};
use blake2::digest::{FixedOutput as _, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::codec::{Malformed, Reader, Wire, Writer};

/// Length of every key here.
pub const KEY_LEN: usize = 32;

/// An X25519 secret key: a device's or service's identity, or a WireGuard key.
#[derive(Clone)]
pub struct SecretKey(StaticSecret);

impl SecretKey {
    /// Takes 32 random bytes the caller drew, or those of a key file.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(StaticSecret::from(bytes))
    }

    /// The bytes, for the key file and for the Noise handshake; wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_LEN]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// The secret shared with the holder of the other key.
    ///
    /// `None` for a key of low order, with which everybody would share the same secret.
    #[must_use]
    pub fn agree(&self, other: &PublicKey) -> Option<SharedSecret> {
        let shared = self.0.diffie_hellman(&x25519_dalek::PublicKey::from(other.0));
        shared.was_contributory().then(|| SharedSecret(SymmetricKey(shared.to_bytes())))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// What two X25519 keys have in common; only keys derived from it are used.
#[derive(Debug)]
pub struct SharedSecret(SymmetricKey);

impl SharedSecret {
    /// Derives a key for one purpose; see [`derive_key`].
    #[must_use]
    pub fn derive(&self, label: &[u8], context: &[&[u8]]) -> SymmetricKey {
        derive_key(&self.0, label, context)
    }
}

/// Why a text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key has 43 letters, digits, dashes and underscores (base64url without padding)")]
pub struct InvalidKey;

/// An X25519 public key; text form base64url without padding, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// Takes the bytes as they are; whether the point is usable shows in [`SecretKey::agree`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes as sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Reads the text form.
    ///
    /// # Errors
    ///
    /// When the text is not 43 characters of base64url with zero in the last two bits.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| InvalidKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidKey)
    }

    /// The text form.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_text())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::parse(text)
    }
}

impl Wire for PublicKey {
    fn encode(&self, writer: &mut Writer) {
        writer.array(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array().map(Self)
    }
}

/// A 32-byte key for sealing, hashing or deriving. Compares in constant time, wiped when dropped.
#[derive(Clone)]
pub struct SymmetricKey([u8; KEY_LEN]);

impl SymmetricKey {
    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the state file and the cipher.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(..)")
    }
}

impl PartialEq for SymmetricKey {
    fn eq(&self, other: &Self) -> bool {
        ct_eq(&self.0, &other.0)
    }
}

impl Eq for SymmetricKey {}

impl Drop for SymmetricKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SymmetricKey {}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
#[must_use]
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// BLAKE2s-256 over the parts, one after the other.
#[must_use]
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    for part in parts {
        Update::update(&mut hasher, part);
    }
    hasher.finalize_fixed().into()
}

/// Keyed BLAKE2s-256 over the parts, one after the other.
///
/// A key that is empty or longer than 32 bytes is hashed first.
#[must_use]
pub fn keyed_hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    match Blake2sMac::<U32>::new_from_slice(key) {
        Ok(mut hasher) if !key.is_empty() => {
            for part in parts {
                hasher.update(part);
            }
            hasher.finalize_fixed().into()
        }
        Ok(_) | Err(_) => keyed_hash(&*Zeroizing::new(hash(&[key])), parts),
    }
}

/// Keyed BLAKE2s with 16 bytes of output over the parts, one after the other.
#[must_use]
pub fn mac16(key: &[u8; KEY_LEN], parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = <Blake2sMac<U16> as KeyInit>::new(key.into());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_fixed().into()
}

/// Derives a key for one purpose from a secret.
///
/// Keyed BLAKE2s-256 over the label and each context part, each with its length as 32 bits in front: no two
/// inputs run together.
#[must_use]
pub fn derive_key(secret: &SymmetricKey, label: &[u8], context: &[&[u8]]) -> SymmetricKey {
    let mut hasher = <Blake2sMac<U32> as KeyInit>::new((&secret.0).into());
    for part in core::iter::once(&label).chain(context) {
        hasher.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(part);
    }
    SymmetricKey(hasher.finalize_fixed().into())
}
