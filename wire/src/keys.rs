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

#[cfg(test)]
mod tests {
    use alloc::format;

    use data_encoding::HEXLOWER;

    use super::*;

    fn key(hex: &str) -> [u8; 32] {
        HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 7748, section 6.1.
    #[test]
    fn public_keys_are_those_of_rfc_7748() {
        let alice =
            SecretKey::from_bytes(key("77076d0a7318a57d3c16c17251b26645df4c2f92ebc099ee0b9f8a6dd2a3f1c9"));
        let alice = match alice.agree(&PublicKey::from_bytes([0; 32])) {
            None => alice,
            Some(_) => unreachable!("zero is a point of low order"),
        };
        let bob =
            SecretKey::from_bytes(key("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        assert_eq!(
            bob.public().as_bytes(),
            &key("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let (one, other) = (alice.agree(&bob.public()).unwrap(), bob.agree(&alice.public()).unwrap());
        assert_eq!(one.0, other.0);
    }

    /// RFC 7693, appendix B, for the hash; the keyed one against its definition.
    #[test]
    fn hashing_is_blake2s() {
        let expected = key("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        assert_eq!(hash(&[b"abc"]), expected);
        assert_eq!(hash(&[b"a", b"", b"bc"]), expected);
        // Test vector of the reference implementation: key 00..1f, empty input.
        let sequence: [u8; 32] = core::array::from_fn(|index| u8::try_from(index).unwrap());
        let expected = key("48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49");
        assert_eq!(keyed_hash(&sequence, &[]), expected);
        assert_ne!(mac16(&sequence, &[]), expected[..16], "the output length is part of the hash");
    }

    #[test]
    fn keys_of_unusual_length_are_hashed_first() {
        assert_eq!(keyed_hash(&[], &[b"x"]), keyed_hash(&hash(&[]), &[b"x"]));
        assert_eq!(keyed_hash(&[9; 33], &[b"x"]), keyed_hash(&hash(&[&[9; 33]]), &[b"x"]));
    }

    #[test]
    fn derived_keys_depend_on_where_a_part_ends() {
        let secret = SymmetricKey::from_bytes([3; 32]);
        let key = derive_key(&secret, b"label", &[b"ab", b"c"]);
        assert_eq!(key, derive_key(&secret, b"label", &[b"ab", b"c"]));
        for other in [
            derive_key(&secret, b"label", &[b"a", b"bc"]),
            derive_key(&secret, b"label", &[b"abc"]),
            derive_key(&secret, b"label", &[]),
            derive_key(&secret, b"labela", &[b"b", b"c"]),
            derive_key(&SymmetricKey::from_bytes([4; 32]), b"label", &[b"ab", b"c"]),
        ] {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn points_of_low_order_give_no_secret() {
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            assert!(SecretKey::from_bytes([5; 32]).agree(&PublicKey::from_bytes(point)).is_none());
        }
    }

    #[test]
    fn a_public_key_survives_its_text_form() {
        let public = SecretKey::from_bytes([5; 32]).public();
        let text = public.to_text();
        assert_eq!(text.len(), 43);
        assert_eq!(PublicKey::parse(&text), Ok(public));
        assert_eq!(PublicKey::parse(&text[..42]), Err(InvalidKey));
        assert_eq!(PublicKey::parse(&format!("{text}=")), Err(InvalidKey));
        // The last character has two bits to spare, which must be zero: one key, one text.
        assert_eq!(PublicKey::parse(&format!("{}B", "A".repeat(42))), Err(InvalidKey));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secret = SecretKey::from_bytes([0xAB; 32]);
        let shared = secret.agree(&secret.public()).unwrap();
        let shown = format!("{secret:?} {shared:?} {:?}", SymmetricKey::from_bytes([0xAB; 32]));
        assert_eq!(shown, "SecretKey(..) SharedSecret(SymmetricKey(..)) SymmetricKey(..)");
    }
}
