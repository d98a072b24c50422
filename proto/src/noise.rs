//! The key exchange: Noise IK, for both ends.
//!
//! A device that knows a service's public key (its join string pins it) makes an [`Initiator`], sends what
//! [`Initiator::hello`] gives inside a HELLO, and turns the WELCOME into keys with [`Initiator::finish`].
//! The service reads the HELLO into a [`Responder`], which knows by then who asks, and answers with
//! [`Responder::welcome`]. After two messages both ends hold the same [`SessionKeys`].
//!
//! The Noise implementation is used for the exchange alone. Its transport keeps a nonce and large cipher
//! objects per session; ours are three raw keys, and `wire::seal` does the rest.
//!
//! Sessions also come back without a key exchange, by a ticket: [`SessionKeys::resumed`] sorts the keys that
//! `wire::envelope` derives for that. The secret inside the first ticket cannot come out of the exchange, for
//! the ticket is part of its last message; the service draws it and tells it there, under keys that neither
//! end's identity key opens later.
//! [`early`] seals single packets between two devices.
//! Terms: The Noise Protocol Framework, revision 34.

pub mod early;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use lanyard_wire::codec::Wire;
use lanyard_wire::envelope::{HelloPayload, ResumedKeys, WelcomePayload};
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

use crate::rng::Rng;

/// The handshake, by its name in the Noise framework.
const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";

/// What both ends mix in first, so that the same keys in another protocol give other sessions.
const PROLOGUE: &[u8] = b"lanyard 1";

/// Bytes of the first message: ephemeral key 32, static key 32 + 16, payload 24 + 16.
pub const HELLO_NOISE_LEN: usize = 120;

/// Bytes that the second message is longer than its payload: ephemeral key 32, tag 16.
const WELCOME_OVERHEAD: usize = 48;

/// The keys of one session, seen from one end.
#[derive(Clone)]
pub struct SessionKeys {
    /// Seals what this end sends.
    pub sealing: SymmetricKey,
    /// Opens what the other end sent.
    pub opening: SymmetricKey,
    /// Goes into a ticket, so that the session can come back without a key exchange.
    pub resumption: SymmetricKey,
}

impl SessionKeys {
    /// The keys of a session that RESUME and RESUMED brought back.
    #[must_use]
    pub fn resumed(keys: &ResumedKeys, end: End) -> Self {
        let (device, service) = (keys.device.clone(), keys.service.clone());
        let resumption = keys.secret.clone();
        match end {
            End::Device => Self { sealing: device, opening: service, resumption },
            End::Service => Self { sealing: service, opening: device, resumption },
        }
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys(..)")
    }
}

/// Which end of a session we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The device, who asks.
    Device,
    /// The service, who answers.
    Service,
}

/// The asking end of a key exchange.
pub struct Initiator {
    state: HandshakeState,
    hello: [u8; HELLO_NOISE_LEN],
}

impl Initiator {
    /// Begins an exchange with the service of this key.
    ///
    /// `None` if the key is none that an agreement with is possible.
    #[must_use]
    pub fn new(
        identity: &SecretKey,
        service: &PublicKey,
        payload: &HelloPayload,
        rng: &mut Rng,
    ) -> Option<Self> {
        let secret = identity.to_bytes();
        let mut state = builder(PATTERN, PROLOGUE, rng)?
            .local_private_key(secret.as_slice())
            .ok()?
            .remote_public_key(service.as_bytes())
            .ok()?
            .build_initiator()
            .ok()?;
        let mut hello = [0; HELLO_NOISE_LEN];
        let written = state.write_message(&payload.to_bytes(), &mut hello).ok()?;
        (written == HELLO_NOISE_LEN).then_some(Self { state, hello })
    }

    /// The first message, to be put into a HELLO.
    #[must_use]
    pub const fn hello(&self) -> &[u8; HELLO_NOISE_LEN] {
        &self.hello
    }

    /// Reads the second message out of a WELCOME: what the service said, and the keys.
    ///
    /// `None` if it is not an answer of that service to this exchange. The exchange cannot go on after that:
    /// begin a new one if the true answer is still wanted.
    #[must_use]
    pub fn finish(mut self, noise: &[u8]) -> Option<(WelcomePayload, SessionKeys)> {
        let mut payload = vec![0; noise.len()];
        let read = self.state.read_message(noise, &mut payload).ok()?;
        payload.truncate(read);
        let welcome = WelcomePayload::from_bytes(&payload).ok()?;
        let (from_device, from_service) = split(&mut self.state)?;
        let keys = SessionKeys {
            sealing: from_device,
            opening: from_service,
            resumption: welcome.resumption.clone(),
        };
        Some((welcome, keys))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator(..)")
    }
}

/// The answering end of a key exchange, which has read the first message.
pub struct Responder {
    state: HandshakeState,
    device: PublicKey,
    payload: HelloPayload,
}

impl Responder {
    /// Reads the first message; the costly step of an admission (two agreements on a curve).
    ///
    /// `None` if it was not made for this service or is forged. A message that was recorded and sent again
    /// reads well: look at the payload's timestamp.
    #[must_use]
    pub fn read(identity: &SecretKey, noise: &[u8; HELLO_NOISE_LEN], rng: &mut Rng) -> Option<Self> {
        let secret = identity.to_bytes();
        let mut state = builder(PATTERN, PROLOGUE, rng)?
            .local_private_key(secret.as_slice())
            .ok()?
            .build_responder()
            .ok()?;
        let mut payload = [0; HELLO_NOISE_LEN];
        let read = state.read_message(noise, &mut payload).ok()?;
        let payload = HelloPayload::from_bytes(payload.get(..read)?).ok()?;
        let device: [u8; 32] = state.get_remote_static()?.try_into().ok()?;
        Some(Self { state, device: PublicKey::from_bytes(device), payload })
    }

    /// The identity key that the asking device has proven to own.
    #[must_use]
    pub const fn device(&self) -> PublicKey {
        self.device
    }

    /// What the device said in its first message.
    #[must_use]
    pub const fn payload(&self) -> &HelloPayload {
        &self.payload
    }

    /// Writes the second message, to be put into a WELCOME, and gives the keys.
    ///
    /// The payload's resumption secret becomes the keys'.
    #[must_use]
    pub fn welcome(mut self, payload: &WelcomePayload) -> Option<(Vec<u8>, SessionKeys)> {
        let bytes = payload.to_bytes();
        let mut noise = vec![0; bytes.len() + WELCOME_OVERHEAD];
        let written = self.state.write_message(&bytes, &mut noise).ok()?;
        noise.truncate(written);
        let (from_device, from_service) = split(&mut self.state)?;
        let keys = SessionKeys {
            sealing: from_service,
            opening: from_device,
            resumption: payload.resumption.clone(),
        };
        Some((noise, keys))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("device", &self.device).finish_non_exhaustive()
    }
}

fn builder<'k>(pattern: &str, prologue: &'k [u8], rng: &mut Rng) -> Option<Builder<'k>> {
    let resolver = Resolver { rng: rng.fork(b"noise"), usual: DefaultResolver };
    Builder::with_resolver(pattern.parse().ok()?, Box::new(resolver)).prologue(prologue).ok()
}

/// The two raw keys: what the initiator sends under, what the responder sends under.
fn split(state: &mut HandshakeState) -> Option<(SymmetricKey, SymmetricKey)> {
    if !state.is_handshake_finished() {
        return None;
    }
    let (initiator, responder) = state.dangerously_get_raw_split();
    Some((SymmetricKey::from_bytes(initiator), SymmetricKey::from_bytes(responder)))
}

/// The usual primitives with our own randomness: this crate cannot ask the operating system.
struct Resolver {
    rng: Rng,
    usual: DefaultResolver,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SeededRandom(self.rng.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        self.usual.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        self.usual.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        self.usual.resolve_cipher(choice)
    }
}

struct SeededRandom(Rng);

impl Random for SeededRandom {
    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill(target);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lanyard_wire::ids::SessionIndex;
    use lanyard_wire::seal::Ticket;

    use super::*;

    #[test]
    fn both_ends_come_to_the_same_keys_and_read_each_other() {
        let (device, service) = (secret(1), secret(2));
        let initiator = Initiator::new(&device, &service.public(), &hello(), &mut rng(1)).unwrap();
        let responder = Responder::read(&service, initiator.hello(), &mut rng(2)).unwrap();
        assert_eq!(responder.device(), device.public());
        assert_eq!(*responder.payload(), hello());

        let (noise, service_keys) = responder.welcome(&welcome()).unwrap();
        let (payload, device_keys) = initiator.finish(&noise).unwrap();

        assert_eq!(payload.observed, welcome().observed);
        assert_eq!(device_keys.sealing, service_keys.opening);
        assert_eq!(device_keys.opening, service_keys.sealing);
        assert_eq!(device_keys.resumption, service_keys.resumption);
        assert_ne!(device_keys.sealing, device_keys.opening);
    }

    #[test]
    fn a_first_message_for_another_service_does_not_open() {
        let initiator = Initiator::new(&secret(1), &secret(2).public(), &hello(), &mut rng(1)).unwrap();
        assert!(Responder::read(&secret(3), initiator.hello(), &mut rng(2)).is_none());
    }

    #[test]
    fn every_flipped_bit_of_a_first_message_is_noticed() {
        let service = secret(2);
        let initiator = Initiator::new(&secret(1), &service.public(), &hello(), &mut rng(1)).unwrap();
        for byte in 0..HELLO_NOISE_LEN {
            // The top bit of a curve point is ignored by X25519 (RFC 7748, section 5), yet hashed by Noise.
            let mut forged = *initiator.hello();
            forged[byte] ^= 0x80;
            assert!(Responder::read(&service, &forged, &mut rng(2)).is_none(), "byte {byte}");
        }
    }

    #[test]
    fn an_answer_by_another_service_is_refused() {
        let initiator = Initiator::new(&secret(1), &secret(2).public(), &hello(), &mut rng(1)).unwrap();
        let other = Initiator::new(&secret(1), &secret(3).public(), &hello(), &mut rng(1)).unwrap();
        let (noise, _) =
            Responder::read(&secret(3), other.hello(), &mut rng(2)).unwrap().welcome(&welcome()).unwrap();
        assert!(initiator.finish(&noise).is_none());
    }

    #[test]
    fn the_same_seed_makes_the_same_message() {
        let make =
            || *Initiator::new(&secret(1), &secret(2).public(), &hello(), &mut rng(7)).unwrap().hello();
        assert_eq!(make(), make());
        let other = *Initiator::new(&secret(1), &secret(2).public(), &hello(), &mut rng(8)).unwrap().hello();
        assert_ne!(make(), other);
    }

    #[test]
    fn a_resumed_session_has_fresh_keys_on_both_ends() {
        let secret = SymmetricKey::from_bytes([5; 32]);
        let keys = ResumedKeys::derive(&secret, &[1; 16], &[2; 16]);
        let device = SessionKeys::resumed(&keys, End::Device);
        let service = SessionKeys::resumed(&keys, End::Service);
        assert_eq!(device.sealing, service.opening);
        assert_eq!(device.opening, service.sealing);
        assert_eq!(device.resumption, service.resumption);
        assert_ne!(device.resumption, secret);

        let replayed = ResumedKeys::derive(&secret, &[1; 16], &[3; 16]);
        assert_ne!(SessionKeys::resumed(&replayed, End::Service).opening, service.opening);
    }

    fn secret(value: u8) -> SecretKey {
        SecretKey::from_bytes([value; 32])
    }

    fn rng(value: u8) -> Rng {
        Rng::from_seed([value; 32])
    }

    fn hello() -> HelloPayload {
        HelloPayload { timestamp_ms: 1_700_000_000_000, boot: 3, version_min: 1, version_max: 1 }
    }

    fn welcome() -> WelcomePayload {
        WelcomePayload {
            session: SessionIndex::new(9),
            version: 1,
            server_time_ms: 1_700_000_000_500,
            observed: ([192, 0, 2, 7], 4_000).into(),
            resumption: SymmetricKey::from_bytes([4; 32]),
            ticket: Ticket::from_bytes([6; 112]),
        }
    }
}
