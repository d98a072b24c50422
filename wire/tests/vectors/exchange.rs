//! The key exchange of the examples, done again with their fixed ephemeral keys.

use lanyard_wire::codec::Wire;
use lanyard_wire::envelope::{Hello, HelloPayload, Welcome, WelcomePayload};
use lanyard_wire::keys::{SecretKey, SymmetricKey};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

use crate::document::{bytes, input, secret};

/// Both messages as the page has them must be those of snow; gives the keys of device and service.
pub(crate) fn keys() -> (SymmetricKey, SymmetricKey) {
    let hello = Hello::parse(&bytes("HELLO")).unwrap();
    let welcome = Welcome::parse(&bytes("WELCOME")).unwrap();
    let (device, service) = (secret("device secret"), secret("service secret"));
    let public = service.public();
    let (device, service) = (device.to_bytes(), service.to_bytes());

    let mut initiator = builder(input("device ephemeral"))
        .local_private_key(&*device)
        .and_then(|builder| builder.remote_public_key(public.as_bytes()))
        .and_then(snow::Builder::build_initiator)
        .unwrap();
    let mut responder = builder(input("service ephemeral"))
        .local_private_key(&*service)
        .and_then(snow::Builder::build_responder)
        .unwrap();

    let mut noise = [0; 300];
    let payload = bytes("HELLO payload");
    let length = initiator.write_message(&payload, &mut noise).unwrap();
    assert_eq!(noise[..length], hello.noise, "HELLO is not the first message of the exchange");
    let length = responder.read_message(&hello.noise, &mut noise).unwrap();
    assert_eq!(noise[..length], payload);
    assert_eq!(HelloPayload::from_bytes(&payload).unwrap().to_bytes(), payload);

    let payload = bytes("WELCOME payload");
    let length = responder.write_message(&payload, &mut noise).unwrap();
    assert_eq!(noise[..length], welcome.noise, "WELCOME is not the second message of the exchange");
    let length = initiator.read_message(&welcome.noise, &mut noise).unwrap();
    assert_eq!(noise[..length], payload);
    assert_eq!(WelcomePayload::from_bytes(&payload).unwrap().to_bytes(), payload);

    let (device, service) = initiator.dangerously_get_raw_split();
    assert_eq!((device, service), responder.dangerously_get_raw_split());
    (SymmetricKey::from_bytes(device), SymmetricKey::from_bytes(service))
}

/// The early packet as the page has it must be the one that snow seals, and opens with the receiver's secrets.
pub(crate) fn early(noise: &[u8]) {
    let (device, peer, prekey) =
        (secret("device secret"), secret("peer secret"), secret("peer prekey secret"));
    let shared =
        |me: &SecretKey, other: &SecretKey| me.agree(&other.public()).unwrap().derive(b"lanyard early", &[]);
    assert_eq!(shared(&device, &peer), shared(&peer, &device));
    let shared = shared(&device, &peer);
    let (device_secret, prekey_secret) = (device.to_bytes(), prekey.to_bytes());
    let (device, prekey) = (device.public(), prekey.public());
    let builder = |own, other| {
        let pattern = "Noise_Kpsk0_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
        snow::Builder::with_resolver(pattern, Box::new(Fixed(input("device ephemeral"))))
            .prologue(b"lanyard early 1")
            .and_then(|builder| builder.local_private_key(own))
            .and_then(|builder| builder.remote_public_key(other))
            .and_then(|builder| builder.psk(0, shared.as_bytes()))
            .unwrap()
    };
    let payload = bytes("EARLY payload");
    let mut sealed = [0; 300];
    let mut sender = builder(&*device_secret, prekey.as_bytes()).build_initiator().unwrap();
    let length = sender.write_message(&payload, &mut sealed).unwrap();
    let hex: Vec<String> = sealed[..length].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sealed[..length], *noise, "EARLY is not the message {}", hex.join(" "));
    let mut opened = [0; 300];
    let mut receiver = builder(&*prekey_secret, device.as_bytes()).build_responder().unwrap();
    let length = receiver.read_message(noise, &mut opened).unwrap();
    assert_eq!(opened[..length], payload);
}

fn builder(ephemeral: [u8; 32]) -> snow::Builder<'static> {
    let pattern = "Noise_IK_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
    snow::Builder::with_resolver(pattern, Box::new(Fixed(ephemeral))).prologue(b"lanyard 1").unwrap()
}

/// The usual primitives, with one answer to every question for random bytes: the ephemeral key.
struct Fixed([u8; 32]);

impl CryptoResolver for Fixed {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Self(self.0)))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Random for Fixed {
    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), snow::Error> {
        target.copy_from_slice(&self.0);
        Ok(())
    }
}
