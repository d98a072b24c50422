//! Signing in with a passkey (WebAuthn): no name, no password; the device checks who holds it, which is a second factor.
//!
//! What a browser is asked to sign waits here, and is given out once: nobody can answer a question twice.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use super::waiting::Waiting;
use super::{Accounts, Refused, SignedIn, Slip, Visitor, source};
use crate::index::passkeys::StoredPasskey;
use crate::index::users::User;
use crate::index::{Actor, IndexError};

/// What passkeys need: a name by which browsers know this server.
#[derive(Debug)]
pub(super) struct Passkeys {
    server: Webauthn,
    registrations: Waiting<(String, PasskeyRegistration)>,
    sign_ins: Waiting<DiscoverableAuthentication>,
}

impl Passkeys {
    /// For a server that browsers know by that URL; `None` where it has an IP address for a name, or none.
    pub(super) fn of(url: &str, name: &str) -> Option<Self> {
        let origin = Url::parse(url).ok()?;
        let domain = origin.domain()?.to_owned();
        let server = WebauthnBuilder::new(&domain, &origin).ok()?.rp_name(name).build().ok()?;
        Some(Self { server, registrations: Waiting::default(), sign_ins: Waiting::default() })
    }
}

/// A question for a browser: what to ask, and the slip under which the answer is expected.
#[derive(Debug)]
pub struct Question {
    /// Options of `navigator.credentials`, as JSON.
    pub options: Value,
    /// What the browser shows with its answer.
    pub slip: Slip,
}

impl Accounts {
    /// Whether users can have passkeys here.
    #[must_use]
    pub const fn has_passkeys(&self) -> bool {
        self.passkeys.is_some()
    }

    /// Asks a browser to make a passkey for a signed-in user.
    ///
    /// # Errors
    /// [`Refused::NoPasskeys`] where there can be none.
    pub async fn begin_passkey(&self, user: &User) -> Result<Question, Refused> {
        let passkeys = self.passkeys.as_ref().ok_or(Refused::NoPasskeys)?;
        let known = self.index.passkeys_of(user).await?;
        let known: Vec<_> =
            known.iter().filter_map(|known| Some(read(known).ok()?.cred_id().clone())).collect();
        let handle = Uuid::from_bytes(self.index.passkey_handle(user));
        let display =
            if user.display_name.is_empty() { user.name.as_str() } else { user.display_name.as_str() };
        let (options, state) = passkeys
            .server
            .start_passkey_registration(handle, user.name.as_str(), display, Some(known))
            .map_err(|error| refused(&error))?;
        let mut options = to_json(&options)?;
        // The library asks for keys that need a name; ours sign in without one, so the device must keep them.
        if let Some(Value::Object(selection)) = options.pointer_mut("/publicKey/authenticatorSelection") {
            selection.insert("residentKey".to_owned(), json!("required"));
            selection.insert("requireResidentKey".to_owned(), json!(true));
        }
        let slip = passkeys.registrations.keep((user.id.clone(), state))?;
        Ok(Question { options, slip: Slip(slip) })
    }

    /// Takes a browser's answer to [`Self::begin_passkey`].
    ///
    /// # Errors
    /// [`Refused::Passkey`] for an answer that does not fit the question.
    pub async fn add_passkey(
        &self,
        user: &User,
        slip: &str,
        answer: Value,
        label: &str,
        actor: &Actor,
    ) -> Result<StoredPasskey, Refused> {
        let passkeys = self.passkeys.as_ref().ok_or(Refused::NoPasskeys)?;
        let (asked, state) = passkeys.registrations.take(slip).ok_or(Refused::Passkey)?;
        if asked != user.id {
            return Err(Refused::Passkey);
        }
        let answer: RegisterPublicKeyCredential =
            serde_json::from_value(answer).map_err(|_| Refused::Passkey)?;
        let made =
            passkeys.server.finish_passkey_registration(&answer, &state).map_err(|error| refused(&error))?;
        let id = BASE64URL_NOPAD.encode(made.cred_id());
        Ok(self.index.add_passkey(user, &id, label, &write(&made)?, actor).await?)
    }

    /// Asks a browser to sign in with whichever passkey it has for this server.
    ///
    /// # Errors
    /// [`Refused::NoPasskeys`] where there can be none, [`Refused::TooMany`] for who asks too often.
    pub fn ask_passkey(&self, visitor: &Visitor) -> Result<Question, Refused> {
        let passkeys = self.passkeys.as_ref().ok_or(Refused::NoPasskeys)?;
        self.sources.check(&source(visitor.ip))?;
        let (options, state) =
            passkeys.server.start_discoverable_authentication().map_err(|error| refused(&error))?;
        let slip = passkeys.sign_ins.keep(state)?;
        Ok(Question { options: to_json(&options)?, slip: Slip(slip) })
    }

    /// Lets in whoever answers [`Self::ask_passkey`] with a passkey that is known. Their device checked who they are, so
    /// no code is asked for.
    ///
    /// # Errors
    /// [`Refused::Passkey`] for any other answer.
    pub async fn enter_with_passkey(
        &self,
        slip: &str,
        answer: Value,
        visitor: &Visitor,
    ) -> Result<SignedIn, Refused> {
        let passkeys = self.passkeys.as_ref().ok_or(Refused::NoPasskeys)?;
        let state = passkeys.sign_ins.take(slip).ok_or(Refused::Passkey)?;
        let answer: PublicKeyCredential = serde_json::from_value(answer).map_err(|_| Refused::Passkey)?;
        let (handle, id) =
            passkeys.server.identify_discoverable_authentication(&answer).map_err(|error| refused(&error))?;
        let known = self.index.passkey(&BASE64URL_NOPAD.encode(id)).await?.ok_or(Refused::Passkey)?;
        let user = self.index.user_by_id(&known.user_id).await?;
        if handle != Uuid::from_bytes(self.index.passkey_handle(&user)) || user.disabled_at.is_some() {
            return Err(Refused::Passkey);
        }
        let mut key = read(&known)?;
        let result = passkeys
            .server
            .finish_discoverable_authentication_v2(&answer, state, &key)
            .map_err(|error| refused(&error))?;
        if !result.user_verified() {
            return Err(Refused::Passkey);
        }
        key.update_credential(&result);
        // Two at once with one counter: the second is refused, as a copy of the device would be.
        if !self.index.use_passkey(&known, &write(&key)?).await? {
            return Err(Refused::Passkey);
        }
        self.open(user, visitor).await
    }

    /// Opens a session for somebody who showed who they are without a password.
    pub(super) async fn open(&self, user: User, visitor: &Visitor) -> Result<SignedIn, Refused> {
        let opened = self.index.open_session(&user, None, &visitor.user_agent, Some(visitor.ip)).await;
        match opened {
            Ok((session, secret)) => Ok(SignedIn { user, session, secret }),
            Err(IndexError::Forbidden(_)) => Err(Refused::Wrong),
            Err(error) => Err(error.into()),
        }
    }
}

/// Why an answer was refused stands in the log; whoever sent it need not know.
fn refused(error: &WebauthnError) -> Refused {
    tracing::info!(%error, "a passkey was refused");
    Refused::Passkey
}

fn read(stored: &StoredPasskey) -> Result<Passkey, Refused> {
    serde_json::from_str(&stored.key).map_err(|error| {
        IndexError::Unreadable { column: "credentials.secret", why: error.to_string() }.into()
    })
}

fn write(key: &Passkey) -> Result<String, Refused> {
    serde_json::to_string(key).map_err(|error| unwritable(&error))
}

fn to_json(options: &impl serde::Serialize) -> Result<Value, Refused> {
    serde_json::to_value(options).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_json::Error) -> Refused {
    IndexError::State(format!("a passkey cannot be written ({error}); report this")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_need_a_name_that_is_no_address() {
        for (url, can) in [
            ("https://lan.example.org", true),
            ("https://lan.example.org:8443", true),
            ("http://localhost:8080", true),
            ("https://203.0.113.10", false),
            ("https://[2001:db8::1]", false),
            ("nonsense", false),
        ] {
            assert_eq!(Passkeys::of(url, "lan").is_some(), can, "{url}");
        }
    }
}
