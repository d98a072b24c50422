//! A device with a passkey, in software: what a browser and an authenticator make of a server's question (WebAuthn).

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// Somebody was there.
const PRESENT: u8 = 1;

/// The device checked who it was.
const VERIFIED: u8 = 4;

/// A public key follows.
const ATTESTED: u8 = 64;

/// One passkey.
pub(crate) struct Authenticator {
    key: EcdsaKeyPair,
    id: [u8; 32],
    /// What the server calls its user.
    pub(crate) user: String,
    /// How often it has signed.
    pub(crate) counter: u32,
    /// Where the browser believes to be.
    pub(crate) origin: String,
    /// Which name it signs for.
    pub(crate) rp: String,
    /// Whether it checks who holds it.
    pub(crate) verifies: bool,
}

impl Authenticator {
    /// A new key for a server.
    pub(crate) fn at(origin: &str, rp: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let mut id = [0; 32];
        random.fill(&mut id).unwrap();
        Self {
            key,
            id,
            user: String::new(),
            counter: 0,
            origin: origin.to_owned(),
            rp: rp.to_owned(),
            verifies: true,
        }
    }

    /// `navigator.credentials.create`
    pub(crate) fn create(&mut self, question: &Value) -> Value {
        let options = &question["publicKey"];
        assert_eq!(options["authenticatorSelection"]["userVerification"], "required", "{options}");
        assert_eq!(options["authenticatorSelection"]["residentKey"], "required", "{options}");
        self.user = options["user"]["id"].as_str().unwrap().to_owned();
        let client = self.client("webauthn.create", &options["challenge"]);
        let public = self.key.public_key().as_ref();
        let mut data = self.data(ATTESTED);
        data.extend([0; 16]);
        data.extend([0, 32]);
        data.extend(self.id);
        // COSE: an EC2 key for ES256 on P-256.
        data.extend([0xA5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&public[1..33]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&public[33..65]);
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": data}.
        let mut object = b"\xA3\x63fmt\x64none\x67attStmt\xA0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        json!({
            "id": self.id(), "rawId": self.id(), "type": "public-key",
            "response": { "attestationObject": encode(&object), "clientDataJSON": encode(&client) },
        })
    }

    /// `navigator.credentials.get`
    pub(crate) fn get(&mut self, question: &Value) -> Value {
        let options = &question["publicKey"];
        assert_eq!(options["userVerification"], "required", "{options}");
        let client = self.client("webauthn.get", &options["challenge"]);
        self.counter += 1;
        let data = self.data(0);
        let signed = [data.as_slice(), digest(&SHA256, &client).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": self.id(), "rawId": self.id(), "type": "public-key",
            "response": {
                "authenticatorData": encode(&data), "clientDataJSON": encode(&client),
                "signature": encode(signature.as_ref()), "userHandle": self.user,
            },
        })
    }

    fn client(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let client =
            json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        client.to_string().into_bytes()
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let verified = if self.verifies { VERIFIED } else { 0 };
        let mut data = digest(&SHA256, self.rp.as_bytes()).as_ref().to_vec();
        data.push(PRESENT | verified | flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn id(&self) -> String {
        encode(&self.id)
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}
