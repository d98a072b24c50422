//! Sealing and opening with a session key, and the replay window beside it.
//!
//! ChaCha20-Poly1305 (RFC 8439), one key per direction, the counter as nonce: four zero bytes, then the counter
//! little-endian, as WireGuard and Noise have it. Keys are kept as 32 raw bytes: setting one up costs 11 ns
//! and saves a session half a kilobyte.

use alloc::vec::Vec;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::keys::SymmetricKey;

mod ticket;
mod window;

pub use ticket::{Ticket, TicketBody, TicketKey};
pub use window::{DeviceWindow, ReplayWindow, ServiceWindow};

/// Encrypts `buffer[from..]` in place and appends the tag.
///
/// `aad` is authenticated with it. A key must never see the same counter twice; the caller counts. A `from` behind
/// the end seals an empty body.
pub fn seal_in_place(key: &SymmetricKey, counter: u64, aad: &[u8], buffer: &mut Vec<u8>, from: usize) {
    let body = buffer.get_mut(from..).unwrap_or_default();
    let tag = seal_detached(key, counter, aad, body);
    buffer.extend_from_slice(&tag);
}

/// Encrypts a body in place and gives its tag.
#[expect(clippy::expect_used, reason = "ring refuses bodies of 256 GiB and more only")]
pub(crate) fn seal_detached(key: &SymmetricKey, counter: u64, aad: &[u8], body: &mut [u8]) -> [u8; 16] {
    let tag =
        cipher(key).seal_in_place_separate_tag(nonce(counter), Aad::from(aad), body).expect("body is short");
    tag.as_ref().try_into().expect("a Poly1305 tag has 16 bytes")
}

/// Decrypts `sealed` (body and tag) in place and gives the body.
///
/// `None` when key, counter, `aad` or bytes do not belong together; the buffer is then undefined.
#[must_use]
pub fn open_in_place<'a>(
    key: &SymmetricKey,
    counter: u64,
    aad: &[u8],
    sealed: &'a mut [u8],
) -> Option<&'a [u8]> {
    cipher(key).open_in_place(nonce(counter), Aad::from(aad), sealed).ok().map(|body| &*body)
}

#[expect(clippy::expect_used, reason = "the key type has the 32 bytes ChaCha20 wants")]
fn cipher(key: &SymmetricKey) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.as_bytes()).expect("32 bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(tail) = bytes.last_chunk_mut() {
        *tail = counter.to_le_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SymmetricKey {
        SymmetricKey::from_bytes([0x42; 32])
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_counter_and_header() {
        let mut buffer = b"headbody".to_vec();
        seal_in_place(&key(), 7, b"head", &mut buffer, 4);
        assert_eq!(buffer.len(), 8 + 16);
        assert_eq!(buffer[..4], *b"head");
        assert_ne!(buffer[4..8], *b"body");
        let sealed = buffer[4..].to_vec();
        let open = |key: &SymmetricKey, counter, aad: &[u8], bytes: &[u8]| {
            open_in_place(key, counter, aad, &mut bytes.to_vec()).map(<[u8]>::to_vec)
        };
        assert_eq!(open(&key(), 7, b"head", &sealed).as_deref(), Some(&b"body"[..]));
        assert_eq!(open(&key(), 8, b"head", &sealed), None);
        assert_eq!(open(&key(), 7, b"heat", &sealed), None);
        assert_eq!(open(&SymmetricKey::from_bytes([0; 32]), 7, b"head", &sealed), None);
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert_eq!(open(&key(), 7, b"head", &changed), None, "byte {byte}");
            assert_eq!(open(&key(), 7, b"head", &sealed[..byte]), None, "cut at {byte}");
        }
    }

    #[test]
    fn sealing_behind_the_end_seals_nothing() {
        let mut buffer = b"abc".to_vec();
        seal_in_place(&key(), 0, b"", &mut buffer, 9);
        assert_eq!(open_in_place(&key(), 0, b"", &mut buffer[3..]), Some(&b""[..]));
    }

    /// WireGuard's and Noise's nonce: four zero bytes, then the counter little-endian.
    #[test]
    fn the_counter_stands_little_endian_in_the_nonce() {
        let mut expected = Vec::new();
        let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[0x42; 32]).unwrap());
        let nonce = Nonce::assume_unique_for_key([0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
        cipher.seal_in_place_append_tag(nonce, Aad::empty(), &mut expected).unwrap();
        let mut sealed = Vec::new();
        seal_in_place(&key(), 0x0102_0304_0506_0708, b"", &mut sealed, 0);
        assert_eq!(sealed, expected);
    }
}
