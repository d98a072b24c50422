//! Codes of an authenticator app: TOTP (RFC 6238), HMAC-SHA-1, six digits, 30 seconds, which is what every app can.

use data_encoding::BASE32_NOPAD;
use lanyard_wire::keys::ct_eq;
use ring::hmac;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::error::Result;
use super::users::UserName;

/// Length of a time step, in milliseconds.
pub const STEP_MS: i64 = 30_000;

/// Steps before and after now whose codes are taken: clocks of phones differ, and people type slowly.
const LEEWAY: i64 = 1;

/// Bytes of a secret, as RFC 4226 recommends for HMAC-SHA-1.
const LEN: usize = 20;

/// What an authenticator app and this server share.
pub struct TotpSecret(Zeroizing<Vec<u8>>);

impl core::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    /// Draws one.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub(super) fn draw() -> Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; LEN]);
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Takes the bytes of one.
    pub(super) const fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// Its bytes, to seal them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its 32 characters of base32, for somebody who types it.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// What a QR code of it says: `otpauth://totp/SERVER:NAME?secret=…&issuer=SERVER`.
    #[must_use]
    pub fn uri(&self, server: &str, name: &UserName) -> String {
        // Apps read a plus sign as it stands.
        let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
        let (server, name) = (escaped(server), escaped(name.as_str()));
        format!("otpauth://totp/{server}:{name}?secret={}&issuer={server}", self.reveal())
    }

    /// The code of a time step.
    #[must_use]
    pub fn code(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        // RFC 4226, 5.3: the last four bits say where the four bytes of the number begin.
        let from = usize::from(tag.last().copied().unwrap_or_default() & 0x0F);
        let word = tag.get(from..from + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        format!("{:06}", (u32::from_be_bytes(word) & 0x7FFF_FFFF) % 1_000_000)
    }

    /// Which step around an instant has that code; the spaces that apps show are no part of it.
    #[must_use]
    pub fn step_of(&self, code: &str, now_ms: i64) -> Option<i64> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let now = now_ms.div_euclid(STEP_MS);
        let steps = now - LEEWAY..=now + LEEWAY;
        steps.rev().find(|step| ct_eq(self.code(*step).as_bytes(), code.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &[u8]) -> TotpSecret {
        TotpSecret::from_bytes(Zeroizing::new(text.to_vec()))
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        let shared = secret(b"12345678901234567890");
        // RFC 6238, appendix B: the last six of eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(shared.code(seconds * 1_000 / STEP_MS), code, "{seconds}");
        }
    }

    #[test]
    fn a_code_is_good_for_its_step_and_the_ones_beside_it() {
        let shared = TotpSecret::draw().unwrap();
        let now = 1_750_000_000_000;
        let step = now / STEP_MS;
        for (offset, is_good) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let code = shared.code(step + offset);
            // Two steps may have the same code once in a million.
            assert_eq!(
                shared.step_of(&code, now).is_some_and(|found| found == step + offset),
                is_good,
                "{offset}"
            );
        }
        let spaced = shared.code(step);
        assert_eq!(shared.step_of(&format!(" {} {}", &spaced[..3], &spaced[3..]), now), Some(step));
        for wrong in ["", "12345", "1234567", "ä23456", &"1".repeat(10_000)] {
            assert_eq!(shared.step_of(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn the_address_for_apps_is_escaped_and_nothing_shows_in_debug() {
        let shared = secret(b"12345678901234567890");
        let uri = shared.uri("lan example", &"anna+lan@example.org".parse().unwrap());
        assert_eq!(
            uri,
            "otpauth://totp/lan%20example:anna%2Blan%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&\
             issuer=lan%20example"
        );
        assert_eq!(format!("{shared:?}"), "TotpSecret(..)");
    }
}
