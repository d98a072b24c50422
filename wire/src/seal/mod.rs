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
