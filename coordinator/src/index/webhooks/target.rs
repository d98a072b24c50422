//! Where a webhook leads and with what its messages are signed.
//!
//! Both lie sealed in the database: the secret has to be used again, and the path of many an address is a password itself.
//! Signatures are those of Standard Webhooks (standardwebhooks.com), so that receivers find a library.

use core::fmt;

use data_encoding::BASE64;
use ring::hmac;
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::index::Index;
use crate::index::error::{IndexError, Result};
use crate::reach::{Reach, is_public};

/// What the text of a signing secret begins with, by Standard Webhooks.
pub const SECRET_BEGIN: &str = "whsec_";

/// Longest address, in bytes: what browsers and proxies agree on.
const URL_MAX: usize = 2_048;

/// What messages of one webhook are signed with: 256 random bits.
///
/// It has no `Display`: whoever shows it says so with [`SigningSecret::reveal`].
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SigningSecret([u8; 32]);

impl SigningSecret {
    /// Draws one.
    pub(super) fn draw() -> Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads what [`Self::reveal`] wrote; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text.strip_prefix(SECRET_BEGIN)?.as_bytes()).ok()?);
        bytes.as_slice().try_into().ok().map(Self)
    }

    /// Its text, for the one who checks signatures with it.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{SECRET_BEGIN}{}", BASE64.encode(&self.0))
    }

    /// The signature of a message: of its id, the second it is sent in, and its body.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        signature(&self.0, id, timestamp, body)
    }
}

fn signature(key: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(tag.as_ref()))
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// Where messages go, and what they are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The address.
    pub url: Url,
    /// The secret.
    pub secret: SigningSecret,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

/// A target as it is sealed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Plain {
    url: String,
    secret: String,
}

impl Target {
    /// What may be written down of it: scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl Index {
    /// A target for its column.
    pub(super) fn seal_target(&self, webhook: &str, target: &Target) -> Result<String> {
        let plain = Plain { url: target.url.to_string(), secret: target.secret.reveal() };
        let text = serde_json::to_vec(&plain).map(Zeroizing::new);
        self.seal(&["webhook", webhook], &text.map_err(|error| unreadable(error.to_string()))?)
    }

    /// A target from its column.
    pub(super) fn unseal_target(&self, webhook: &str, sealed: &str) -> Result<Target> {
        let text = self.unseal("webhooks.target", &["webhook", webhook], sealed)?;
        let plain: Plain =
            serde_json::from_slice(&text).map_err(|_| unreadable("it is no target".to_owned()))?;
        let url = Url::parse(&plain.url).map_err(|error| unreadable(error.to_string()))?;
        let secret = SigningSecret::parse(&plain.secret);
        Ok(Target { url, secret: secret.ok_or_else(|| unreadable("it has no secret".to_owned()))? })
    }
}

fn unreadable(why: String) -> IndexError {
    IndexError::Unreadable { column: "webhooks.target", why }
}

/// Reads the address of a webhook.
///
/// Where a name leads is judged when it is connected to; here only what the address itself says.
///
/// # Errors
/// [`IndexError::Invalid`], which says what would do.
pub(super) fn parse_url(text: &str, reach: Reach) -> Result<Url> {
    let refused = |why: &str| Err(IndexError::Invalid { what: "url", why: why.to_owned() });
    if text.len() > URL_MAX {
        return refused("it has at most 2,048 bytes");
    }
    let Ok(url) = Url::parse(text.trim()) else {
        return refused("it is an address like https://example.org/hooks");
    };
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return refused("it begins with https://");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return refused("it has no user, password or fragment");
    }
    if reach == Reach::Anywhere {
        return Ok(url);
    }
    if url.scheme() != "https" {
        return refused("it begins with https://, unless an administrator of this server says it");
    }
    let is_outside = match url.host() {
        Some(Host::Ipv4(ip)) => is_public(ip.into()),
        Some(Host::Ipv6(ip)) => is_public(ip.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
        None => false,
    };
    if !is_outside {
        return refused("it leads to a public address, unless an administrator of this server says it");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_libraries_of_standard_webhooks_expect() {
        let key = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    /// "0123456789abcdef", twice.
    const KEY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    const SIGNATURE: &str = "v1,tUFSDlx3llQYKsLH1CGGY7t0kl3gE57GW4FPfiG6th4=";

    #[test]
    fn a_signature_is_the_one_that_openssl_computes() {
        let secret = SigningSecret::parse(KEY).unwrap();
        // printf '%s' 'msg_1.1750000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef -binary | base64
        assert_eq!(secret.sign("msg_1", 1_750_000_000, "{\"a\":1}"), SIGNATURE);
        let others = [("msg_2", 1_750_000_000, "{\"a\":1}"), ("msg_1", 1_750_000_001, "{\"a\":1}")];
        for (id, at, body) in others.into_iter().chain([("msg_1", 1_750_000_000, "{\"a\":2}")]) {
            assert_ne!(secret.sign(id, at, body), SIGNATURE, "{id} {at} {body}");
        }
    }

    #[test]
    fn a_secret_comes_back_from_its_text_and_is_in_no_debug() {
        let secret = SigningSecret::draw().unwrap();
        let text = secret.reveal();
        assert_eq!((text.len(), SigningSecret::parse(&text)), (50, Some(secret.clone())));
        assert_eq!(format!("{secret:?}"), "SigningSecret(..)");
        let url = Url::parse("https://example.org:8443/services/T0/secret?token=1").unwrap();
        let shown = format!("{:?}", Target { url, secret });
        assert!(shown.contains("https://example.org:8443") && !shown.contains("token"), "{shown}");
        for wrong in ["", "whsec_", "whsec_AAAA", &text[6..], "ä"] {
            assert_eq!(SigningSecret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_does_not_administer_the_server_names_public_addresses_with_tls() {
        for (address, public, anywhere) in [
            ("https://example.org/hooks?a=b", true, true),
            ("https://example.org:8443/", true, true),
            ("https://1.1.1.1/", true, true),
            ("http://example.org/", false, true),
            ("https://127.0.0.1/", false, true),
            ("https://0x7f.1/", false, true),
            ("https://2130706433/", false, true),
            ("https://[::1]/", false, true),
            ("https://[::ffff:10.0.0.1]/", false, true),
            ("https://169.254.169.254/latest", false, true),
            ("https://localhost/", false, true),
            ("https://a.localhost./", false, true),
            ("https://anna:secret@example.org/", false, false),
            ("https://example.org/#part", false, false),
            ("ftp://example.org/", false, false),
            ("file:///etc/passwd", false, false),
            ("example.org", false, false),
        ] {
            for (reach, wanted) in [(Reach::Public, public), (Reach::Anywhere, anywhere)] {
                assert_eq!(parse_url(address, reach).is_ok(), wanted, "{address} {reach:?}");
            }
        }
        let long = format!("https://example.org/{}", "a".repeat(URL_MAX));
        assert!(parse_url(&long, Reach::Anywhere).is_err());
    }
}
