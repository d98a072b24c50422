//! Judging an ID token (OIDC Core 1.0, 3.1.3.7): its signature, who made it, for whom, when, and in answer to what.
//!
//! The `jsonwebtoken` crate reads and judges; the arithmetic of signatures is ring's. Only public-key signatures count: a
//! token "signed" with a secret that two sides share, or not at all, is refused by its name.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Header, Validation, decode, decode_header,
};
use lanyard_wire::keys::ct_eq;
use ring::signature as ring_signature;
use ring_signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Seconds by which the clocks of a provider and of this server may differ.
const LEEWAY_S: u64 = 60;

/// Most keys of a provider that are looked at.
const KEYS_MAX: usize = 100;

/// Most groups of somebody that are looked at.
const GROUPS_MAX: usize = 1_000;

/// Most characters of a subject: OIDC Core says 255.
const SUBJECT_MAX: usize = 255;

/// Signatures that count.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Somebody's account at a provider, as a good token tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The provider.
    pub issuer: String,
    /// Who it is there, for ever.
    pub subject: String,
    /// What they are called there at the moment; it identifies nobody.
    pub name: Option<String>,
    /// Their name for display.
    pub display_name: Option<String>,
    /// Where to write to; it identifies nobody.
    pub email: Option<String>,
    /// Their groups; `None` where the token says nothing of them.
    pub groups: Option<Vec<String>>,
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
    pub(super) nonce: &'a str,
    /// The claim with the groups; empty for none.
    pub(super) groups: &'a str,
}

/// The keys of a provider.
#[derive(Debug)]
pub(super) struct Keys(Vec<Jwk>);

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    /// Reads a set of keys (RFC 7517); those that this program cannot use are passed over, as the RFC wants it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let set: KeySet = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let keys =
            set.keys.into_iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let signs = |key: &Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        Ok(Self(keys.filter(signs).collect()))
    }

    /// Whether there is a key for that token.
    pub(super) fn fit(&self, token: &str) -> bool {
        decode_header(token).is_ok_and(|header| self.of(&header).next().is_some())
    }

    /// Whose token that is, if it is good.
    pub(super) fn account(&self, token: &str, expected: &Expected<'_>) -> Result<Account, String> {
        install();
        let header = decode_header(token).map_err(|error| error.to_string())?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("its signature is {:?}, not one by a public key", header.alg));
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[expected.issuer]);
        validation.set_audience(&[expected.client]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let mut why = "no key of the provider fits it".to_owned();
        for key in self.of(&header) {
            let Ok(key) = DecodingKey::from_jwk(key) else { continue };
            match decode::<Map<String, Value>>(token, &key, &validation) {
                Ok(data) => return judged(&data.claims, expected),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// The keys that may have signed it: the one it names, or all if it names none.
    fn of<'a>(&'a self, header: &Header) -> impl Iterator<Item = &'a Jwk> {
        let name = header.kid.clone();
        self.0.iter().filter(move |key| name.is_none() || key.common.key_id == name)
    }
}

/// What the library leaves to its users: the nonce, and who else the token is for.
fn judged(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<Account, String> {
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    let nonce = text("nonce").unwrap_or_default();
    if !ct_eq(nonce.as_bytes(), expected.nonce.as_bytes()) {
        return Err("it answers another request (nonce)".to_owned());
    }
    let is_for_many = claims.get("aud").and_then(Value::as_array).is_some_and(|list| list.len() > 1);
    match claims.get("azp") {
        Some(party) if party.as_str() != Some(expected.client) => {
            return Err("it was given to another program (azp)".to_owned());
        }
        None if is_for_many => {
            return Err("it is for several programs and does not say which asked (azp)".to_owned());
        }
        Some(_) | None => {}
    }
    let subject = text("sub").filter(|subject| !subject.is_empty() && subject.len() <= SUBJECT_MAX);
    let subject = subject.ok_or("it does not say who somebody is (sub)")?;
    let owned = |claim: &str| text(claim).map(str::to_owned).filter(|text| !text.is_empty());
    let is_verified = claims.get("email_verified").and_then(Value::as_bool) == Some(true);
    Ok(Account {
        issuer: expected.issuer.to_owned(),
        subject: subject.to_owned(),
        name: owned("preferred_username"),
        display_name: owned("name"),
        email: owned("email").filter(|_| is_verified),
        groups: groups(claims, expected.groups),
    })
}

/// The groups of a claim: a list or a single name; `realm_access.roles` goes down a level where there is no such claim.
fn groups(claims: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    if name.is_empty() {
        return None;
    }
    let value = claims.get(name).or_else(|| {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    })?;
    match value {
        Value::String(group) => Some(vec![group.clone()]),
        Value::Array(list) => {
            let names = list.iter().filter_map(Value::as_str).take(GROUPS_MAX);
            Some(names.map(str::to_owned).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// Tells the library, once, to calculate with ring.
fn install() {
    static ONCE: Once = Once::new();
    static RING: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        jwk_utils: JwkUtils::new_unimplemented(),
    };
    ONCE.call_once(|| {
        // Somebody else's would be refused, and there is nobody else.
        let _is_ours = RING.install_default();
    });
}

/// This program signs no tokens.
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() || !ALGORITHMS.contains(algorithm) {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(ByRing { algorithm: *algorithm, key: key.kind().clone() }))
}

/// A signature, judged by ring.
struct ByRing {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], made: &Vec<u8>) -> Result<(), signature::Error> {
        let judged = match (&self.key, rsa(self.algorithm), elliptic(self.algorithm)) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, Some(algorithm), _) => {
                RsaPublicKeyComponents { n, e }.verify(algorithm, message, made)
            }
            (DecodingKeyKind::SecretOrDer(point), _, Some(algorithm)) => {
                UnparsedPublicKey::new(algorithm, point).verify(message, made)
            }
            (DecodingKeyKind::RsaModulusExponent { .. } | DecodingKeyKind::SecretOrDer(_), _, _) => {
                return Err(signature::Error::new());
            }
        };
        judged.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

const fn rsa(algorithm: Algorithm) -> Option<&'static ring_signature::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&ring_signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&ring_signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&ring_signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::HS256
        | Algorithm::HS384
        | Algorithm::HS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::EdDSA => None,
    }
}

fn elliptic(algorithm: Algorithm) -> Option<&'static dyn ring_signature::VerificationAlgorithm> {
    match algorithm {
        Algorithm::ES256 => Some(&ring_signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Some(&ring_signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Some(&ring_signature::ED25519),
        Algorithm::HS256
        | Algorithm::HS384
        | Algorithm::HS512
        | Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // A key of 2,048 bits and two tokens, made with another program.
    /// n of the key; e is 65537.
    const MODULUS: &str = "\
        vRnYeEbV1akwwPpWs4adJk_g9aWH40GeMyA8Fr9RzvRRJ5RUHbh7aL3VyaXXscJNVvrkwLsqhwCOr8AII2TkB_9MfGM31Kxo\
        y4yvM3KHXNZQzs0tsMEeBPoWf1pvsfcrYxinrQJHwMfTZvypDKqL5mIyJOBmAUOL0ZlOkXzWj_GbBOLGRrO8QVJ7oyjk-6Fk\
        suxlXIiDt7oruUwFp3oIExCiImFx7BfAq9N00hVAYsTJ2no8JyOf9L-7tK62YMUVijIX0kwdfVt8ihdwecLmH_7c8mXmxsL9\
        tEh1QcqXHbCYzasZXlLn6ElL9fDQHCxgJaG2IpKtkNUwqPlmkYa4wQ\
        ";
    /// The claims of both tokens.
    const CLAIMS: &str = "\
        eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUub3JnIiwiYXVkIjoibGFueWFyZCIsInN1YiI6ImEtMSIsImV4cCI6NDEwMjQ0\
        NDgwMCwiaWF0IjoxNzUwMDAwMDAwLCJub25jZSI6Im4iLCJyZWFsbV9hY2Nlc3MiOnsicm9sZXMiOlsic3RhZmYiLCJsYW4i\
        XX19\
        ";
    /// The signature of the first, RS256.
    const PKCS1: &str = "\
        AkHT9tzNiFAjxUx9RffUAtizT2RIkt4gjRjBde3lTndDDuraGQK2Qdjwx9iL-tKye0MEmXlXjRNRPU3akGMlgqY0TY4sHd1B\
        2SdZdrp8e7N8e8dOFVFm_qGuEBsA8-ZCe1is1T2sUfGhDLapOBnmYtXwosLJg-sJp0w8u6kY4D15X6ucOmqaw0rFfTa2TfI9\
        YQ7oE56P6YNsMqQEZv6mOmtxmkvkKe_IhdI3wBNf-6-JwYDEE0M86tq0nYgzIZIAeyjRg61AzRA9UyUbNNq_3N7DnwLgVfhd\
        -HhbUhuZhMgSFY4nLAbUomq5lVpw8RKZQVvrktbXCs575RQFAFKEUg\
        ";
    /// The signature of the second, PS256.
    const PSS: &str = "\
        QqEi-RcPwFX6_nGy003UNTLb7cNmZ3YG0LDOxKPuBXDfIF-gFDPLLMBlYbL1Nq2DG4UWrKnIZ5yns4N8Ly2iUjrUqhOWhc2j\
        p0r9PyqT1G03vgxSrpnKVCj78Ugsefh2yfsA-IdaJgEdd0iYdCv-CBN0NVF3BXAyh1IyI4SvOTcON58RrRH2jrsKyFOuRQFu\
        Qw9TU6ADRFkuALrq4O6xbSTPAdbiMtoItmg3bAIrwygb-I7du6373XBQU3AMziKyDyuHG6GqxdC7HyScBL9ZwyMC78eLDQKZ\
        8Tsa109QQb-4RCBeTeAeTvZDMvf8HPPr67d443762k7tWt_kwPjDnw\
        ";

    const EXPECTED: Expected<'_> = Expected {
        issuer: "https://id.example.org",
        client: "lanyard",
        nonce: "n",
        groups: "realm_access.roles",
    };

    fn keys() -> Keys {
        let keys = json!({ "keys": [
            { "kty": "RSA", "n": MODULUS, "e": "AQAB", "kid": "other", "use": "enc" },
            { "kty": "new", "kid": "k" },
            { "kty": "RSA", "n": MODULUS, "e": "AQAB", "kid": "k", "use": "sig" },
        ] });
        Keys::parse(keys.to_string().as_bytes()).unwrap()
    }

    fn token(header: &Value, signature: &str) -> String {
        let header = data_encoding::BASE64URL_NOPAD.encode(header.to_string().as_bytes());
        format!("{header}.{CLAIMS}.{signature}")
    }

    #[test]
    fn rsa_signatures_of_both_kinds_are_known_from_wrong_ones() {
        let (pkcs1, pss) = (json!({ "alg": "RS256", "kid": "k" }), json!({ "alg": "PS256", "kid": "k" }));
        for (header, signature) in [(&pkcs1, PKCS1), (&pss, PSS)] {
            let account = keys().account(&token(header, signature), &EXPECTED).unwrap();
            assert_eq!(account.subject, "a-1");
            assert_eq!(account.groups.unwrap(), ["staff", "lan"]);
        }
        for (header, signature) in [(&pkcs1, PSS), (&pss, PKCS1), (&pkcs1, ""), (&pkcs1, &PKCS1[..100])] {
            keys().account(&token(header, signature), &EXPECTED).unwrap_err();
        }
        let unnamed = json!({ "alg": "RS256", "kid": "gone" });
        assert!(!keys().fit(&token(&unnamed, PKCS1)) && keys().fit(&token(&pkcs1, PKCS1)));
    }

    #[test]
    fn a_token_in_any_shape_is_an_error_and_no_panic() {
        for odd in ["", ".", "..", "a.b.c", &"x.".repeat(10_000), "e30.e30.", "\u{0}.\u{0}.\u{0}", "ä.ö.ü"]
        {
            keys().account(odd, &EXPECTED).unwrap_err();
            assert!(!keys().fit(odd));
        }
        for algorithm in ["none", "HS256", "HS512", "rs256", "RS1"] {
            let header = json!({ "alg": algorithm, "kid": "k" });
            keys().account(&token(&header, PKCS1), &EXPECTED).unwrap_err();
        }
        for odd in ["", "[]", "{}", "{\"keys\":7}", "\u{0}"] {
            Keys::parse(odd.as_bytes()).unwrap_err();
        }
        assert!(Keys::parse(b"{\"keys\":[null,1,{}]}").unwrap().0.is_empty());
    }

    #[test]
    fn groups_are_a_list_or_one_and_silence_is_not_an_empty_list() {
        let claims = |value: Value| value.as_object().unwrap().clone();
        let of = |value: Value, name: &str| groups(&claims(value), name);
        assert_eq!(of(json!({ "groups": ["a", 7, "b"] }), "groups").unwrap(), ["a", "b"]);
        assert_eq!(of(json!({ "groups": "a" }), "groups").unwrap(), ["a"]);
        assert_eq!(
            of(json!({ "https://x.example/groups": ["a"] }), "https://x.example/groups").unwrap(),
            ["a"]
        );
        assert_eq!(of(json!({ "groups": [] }), "groups").unwrap(), [""; 0]);
        for silent in [json!({}), json!({ "groups": null }), json!({ "groups": {} }), json!({ "a": 1 })] {
            assert_eq!(of(silent, "groups"), None);
        }
        assert_eq!(of(json!({ "groups": ["a"] }), ""), None);
    }
}
