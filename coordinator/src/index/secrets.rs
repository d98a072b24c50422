//! Secrets that are given out once: what is stored of them opens nothing. Those that we must be able to read again are
//! sealed.
//!
//! A drawn secret has 256 bits, so a fast keyed hash is enough: nobody can try them all, and a copy of the database, without
//! the key derived from `fleet.key`, does not even tell whether a guess is right.

use core::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use lanyard_wire::keys::keyed_hash;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Index;
use super::error::{IndexError, Result};

/// A secret of 256 random bits: a session's, a token's, or that of a link somebody is sent.
///
/// It has no `Display`: whoever shows it says so with [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Draws one.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub(crate) fn draw() -> Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads its 43 characters of base64url; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.as_slice().try_into().ok().map(Self)
    }

    /// Its 43 characters, for the one it is for.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a secret is for: one for one thing is none for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Session,
    UserCode,
    Token,
}

impl Index {
    /// What is stored of a secret.
    pub(super) fn hash_secret(&self, purpose: Purpose, secret: &Secret) -> String {
        let label: &[u8] = match purpose {
            Purpose::Session => b"session",
            Purpose::UserCode => b"user code",
            Purpose::Token => b"token",
        };
        HEXLOWER.encode(&keyed_hash(self.code_key.as_bytes(), &[label, &secret.0]))
    }

    /// Seals what we have to read again: base64url of a random nonce, the ciphertext and its tag.
    ///
    /// `context` says what it is and whose; it opens with the same one only.
    pub(super) fn seal(&self, context: &[&str], plain: &[u8]) -> Result<String> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut sealed = plain.to_vec();
        let unsealable = |_| IndexError::State("a secret cannot be sealed; report this".to_owned());
        self.vault_key()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.join("\0")),
                &mut sealed,
            )
            .map_err(unsealable)?;
        Ok(BASE64URL_NOPAD.encode(&[nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what [`Self::seal`] made.
    ///
    /// # Errors
    /// [`IndexError::Unreadable`], which names `column`, for anything else, and for what another `fleet.key` sealed.
    pub(super) fn unseal(
        &self,
        column: &'static str,
        context: &[&str],
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let unreadable =
            || IndexError::Unreadable { column, why: "it was sealed under another fleet.key".to_owned() };
        let sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| unreadable())?;
        let mut sealed = Zeroizing::new(sealed);
        let (nonce, body) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        let plain = self
            .vault_key()?
            .open_in_place(nonce, Aad::from(context.join("\0")), body)
            .map_err(|_| unreadable())?;
        Ok(Zeroizing::new(plain.to_vec()))
    }

    fn vault_key(&self) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, self.vault.as_bytes());
        key.map(LessSafeKey::new)
            .map_err(|_| IndexError::State("no key to seal with; report this".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_from_its_text_and_is_not_in_its_debug() {
        let secret = Secret::draw().unwrap();
        let text = secret.reveal();
        assert_eq!(Secret::parse(&text), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        for wrong in ["", "abc", &text[1..], &format!("{text}A"), "ä"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }
}
