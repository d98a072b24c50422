//! One sealed packet: Noise `Kpsk0`, one message, no answer.
//!
//! Pattern K authenticates a sender whose key the receiver knows. The receiver's static key in it is its prekey, which it
//! forgets after a day, so that what was recorded stays closed when identity keys are stolen later. The pre-shared key is what the
//! two identities agree on: prekeys come from the coordinator, which without it could hand out one of its own and read along.
//! Each message has an ephemeral key of its own, so there is no state; a packet's number, grown by its sender, is what tells
//! a recording from news.

use alloc::vec;
use alloc::vec::Vec;

use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use snow::Builder;

use super::builder;
use crate::rng::Rng;

/// The message, by its name in the Noise framework.
const PATTERN: &str = "Noise_Kpsk0_25519_ChaChaPoly_BLAKE2s";

/// What both ends mix in first.
const PROLOGUE: &[u8] = b"lanyard early 1";

/// Bytes of the number in front of the packet.
const NUMBER: usize = 8;

/// Bytes that the message is longer than number and packet: ephemeral key 32, tag 16.
const OVERHEAD: usize = 48;

/// Seals a packet from `me` to the holder of `prekey`, whose identity is `peer`.
///
/// `None` if either key is none that an agreement with is possible.
#[must_use]
pub fn seal_early(
    me: &SecretKey,
    peer: &PublicKey,
    prekey: &PublicKey,
    number: u64,
    packet: &[u8],
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    let secret = me.to_bytes();
    let shared = pair_secret(me, peer)?;
    let mut state = message(secret.as_slice(), prekey.as_bytes(), &shared, rng)?.build_initiator().ok()?;
    let payload = [&number.to_be_bytes(), packet].concat();
    let mut noise = vec![0; payload.len() + OVERHEAD];
    let written = state.write_message(&payload, &mut noise).ok()?;
    noise.truncate(written);
    Some(noise)
}

/// Opens what `peer` sealed for us: the number and the packet.
///
/// `None` if it was made by somebody else, for somebody else, or changed on the way.
#[must_use]
pub fn open_early(
    me: &SecretKey,
    prekey: &SecretKey,
    peer: &PublicKey,
    noise: &[u8],
    rng: &mut Rng,
) -> Option<(u64, Vec<u8>)> {
    let secret = prekey.to_bytes();
    let shared = pair_secret(me, peer)?;
    let mut state = message(secret.as_slice(), peer.as_bytes(), &shared, rng)?.build_responder().ok()?;
    let mut payload = vec![0; noise.len()];
    let read = state.read_message(noise, &mut payload).ok()?;
    payload.truncate(read);
    let number = u64::from_be_bytes(*payload.first_chunk::<NUMBER>()?);
    payload.drain(..NUMBER);
    Some((number, payload))
}

fn message<'k>(
    own: &'k [u8],
    other: &'k [u8],
    shared: &'k SymmetricKey,
    rng: &mut Rng,
) -> Option<Builder<'k>> {
    builder(PATTERN, PROLOGUE, rng)?
        .local_private_key(own)
        .ok()?
        .remote_public_key(other)
        .ok()?
        .psk(0, shared.as_bytes())
        .ok()
}

fn pair_secret(me: &SecretKey, peer: &PublicKey) -> Option<SymmetricKey> {
    Some(me.agree(peer)?.derive(b"lanyard early", &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_opens_for_the_holder_of_prekey_and_identity() {
        let (a, b, prekey) = (secret(1), secret(2), secret(3));
        let noise = seal(&a, &b, &prekey);
        assert_eq!(noise.len(), OVERHEAD + NUMBER + 6);
        assert_eq!(open_early(&b, &prekey, &a.public(), &noise, &mut rng()), Some((9, b"packet".to_vec())));
    }

    #[test]
    fn a_prekey_that_the_coordinator_put_in_between_opens_nothing() {
        let (a, b, planted) = (secret(1), secret(2), secret(4));
        let noise = seal(&a, &b, &planted);
        let coordinator = secret(5);
        assert!(open_early(&coordinator, &planted, &a.public(), &noise, &mut rng()).is_none());
    }

    #[test]
    fn a_third_member_cannot_speak_for_another() {
        let (a, b, prekey, third) = (secret(1), secret(2), secret(3), secret(6));
        let noise = seal(&third, &b, &prekey);
        assert!(open_early(&b, &prekey, &a.public(), &noise, &mut rng()).is_none());
    }

    #[test]
    fn every_changed_byte_is_noticed_and_short_ones_are_refused() {
        let (a, b, prekey) = (secret(1), secret(2), secret(3));
        let noise = seal(&a, &b, &prekey);
        for byte in 0..noise.len() {
            let mut forged = noise.clone();
            // The top bit of a curve point is ignored by X25519 (RFC 7748, section 5), yet hashed by Noise.
            forged[byte] ^= 0x80;
            assert!(open_early(&b, &prekey, &a.public(), &forged, &mut rng()).is_none(), "byte {byte}");
            assert!(open_early(&b, &prekey, &a.public(), &noise[..byte], &mut rng()).is_none());
        }
    }

    fn seal(from: &SecretKey, to: &SecretKey, prekey: &SecretKey) -> Vec<u8> {
        seal_early(from, &to.public(), &prekey.public(), 9, b"packet", &mut rng()).unwrap()
    }

    fn secret(value: u8) -> SecretKey {
        SecretKey::from_bytes([value; 32])
    }

    fn rng() -> Rng {
        Rng::from_seed([7; 32])
    }
}
