//! Resumption tickets: a session's secret, sealed under a key only the fleet's services hold.

use core::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::keys::{PublicKey, SymmetricKey};

/// Length of a sealed ticket: key id, nonce, body, tag.
const TICKET_LEN: usize = 112;

/// Length of what is inside.
const BODY_LEN: usize = 80;

/// A sealed ticket; opaque to the device that keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket([u8; TICKET_LEN]);

impl Ticket {
    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; TICKET_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes as sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; TICKET_LEN] {
        &self.0
    }

    /// Which of the fleet's keys sealed it.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.0.first_chunk().map_or(0, |id| u32::from_be_bytes(*id))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket(key {})", self.key_id())
    }
}

impl Wire for Ticket {
    fn encode(&self, writer: &mut Writer) {
        writer.array(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array().map(Self)
    }
}

/// What a ticket proves to the service that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketBody {
    /// Who may use it.
    pub identity: PublicKey,
    /// The resumption secret the device also holds.
    pub secret: SymmetricKey,
    /// The device's epoch when it was sealed; a ticket of an older epoch is void.
    pub epoch: u32,
    /// Unix time in seconds from which on it is void.
    pub expires_s: u64,
}

impl Wire for TicketBody {
    fn encode(&self, writer: &mut Writer) {
        self.identity.encode(writer);
        writer.array(self.secret.as_bytes());
        writer.u32(self.epoch);
        writer.u64(self.expires_s);
        writer.zeros(4);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let identity = PublicKey::decode(reader)?;
        let secret = SymmetricKey::from_bytes(reader.array()?);
        let (epoch, expires_s) = (reader.u32()?, reader.u64()?);
        reader.zeros(4)?;
        Ok(Self { identity, secret, epoch, expires_s })
    }
}

/// One of the fleet's ticket keys, ready for use: AES-256-GCM under an id that tells it from the others.
#[derive(Clone)]
pub struct TicketKey {
    id: u32,
    cipher: LessSafeKey,
}

impl TicketKey {
    /// Prepares a key.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the key type has the 32 bytes AES-256 wants")]
    pub fn new(id: u32, key: &SymmetricKey) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("32 bytes");
        Self { id, cipher: LessSafeKey::new(unbound) }
    }

    /// The id tickets of this key carry.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Seals a ticket. The nonce must be drawn at random for each.
    #[must_use]
    #[expect(clippy::expect_used, reason = "ring refuses bodies of 64 GiB and more only")]
    pub fn seal(&self, body: &TicketBody, nonce: [u8; 12]) -> Ticket {
        let mut plain = Writer::with_capacity(BODY_LEN);
        body.encode(&mut plain);
        let mut sealed = zeroize::Zeroizing::new(plain.into_bytes());
        let id = self.id.to_be_bytes();
        let tag = self
            .cipher
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(id), &mut sealed)
            .expect("body is short");
        let mut bytes = [0; TICKET_LEN];
        let parts = id.iter().chain(&nonce).chain(sealed.iter()).chain(tag.as_ref());
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = *from;
        }
        Ticket(bytes)
    }

    /// Opens a ticket; `None` when another key sealed it or it was changed. The caller checks epoch and expiry.
    #[must_use]
    pub fn open(&self, ticket: &Ticket) -> Option<TicketBody> {
        let mut reader = Reader::new(&ticket.0);
        let id = reader.u32().ok()?;
        let nonce = Nonce::assume_unique_for_key(reader.array().ok()?);
        if id != self.id {
            return None;
        }
        let mut sealed = zeroize::Zeroizing::new(reader.array::<96>().ok()?);
        let body =
            self.cipher.open_in_place(nonce, Aad::from(id.to_be_bytes()), sealed.as_mut_slice()).ok()?;
        TicketBody::from_bytes(body).ok()
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKey({}, ..)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn body() -> TicketBody {
        TicketBody {
            identity: PublicKey::from_bytes([1; 32]),
            secret: SymmetricKey::from_bytes([2; 32]),
            epoch: 3,
            expires_s: 1_800_000_000,
        }
    }

    #[test]
    fn a_ticket_opens_under_the_key_that_sealed_it() {
        let key = TicketKey::new(7, &SymmetricKey::from_bytes([9; 32]));
        let ticket = key.seal(&body(), [4; 12]);
        assert_eq!(ticket.key_id(), 7);
        assert_eq!(key.open(&ticket), Some(body()));
        let other = TicketKey::new(7, &SymmetricKey::from_bytes([8; 32]));
        assert_eq!(other.open(&ticket), None);
        let renamed = TicketKey::new(8, &SymmetricKey::from_bytes([9; 32]));
        assert_eq!(renamed.open(&ticket), None);
    }

    #[test]
    fn a_ticket_with_one_changed_bit_does_not_open() {
        let key = TicketKey::new(7, &SymmetricKey::from_bytes([9; 32]));
        let ticket = key.seal(&body(), [4; 12]);
        for byte in 0..TICKET_LEN {
            let mut changed = *ticket.as_bytes();
            changed[byte] ^= 0x80;
            assert_eq!(key.open(&Ticket::from_bytes(changed)), None, "byte {byte}");
        }
    }

    #[test]
    fn a_ticket_shows_nothing_of_its_inside() {
        let key = TicketKey::new(7, &SymmetricKey::from_bytes([9; 32]));
        let ticket = key.seal(&body(), [4; 12]);
        assert!(!ticket.as_bytes().windows(4).any(|part| part == [1; 4] || part == [2; 4]));
        assert_eq!(format!("{ticket:?} {key:?}"), "Ticket(key 7) TicketKey(7, ..)");
    }
}
