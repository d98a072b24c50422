//! The second factor: what a user shows beside their password.
//!
//! The secret that an authenticator app shares with us is sealed under a key that follows from `fleet.key`; recovery codes are
//! hashed under another, each works once. A time step whose code was taken is never taken again.

use core::fmt;

use data_encoding::HEXLOWER;
use lanyard_wire::keys::keyed_hash;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Index;
use super::audit::Actor;
use super::authority::Need;
use super::db::{FromRow, Row, sql};
use super::draft::Draft;
use super::error::{IndexError, Result};
use super::totp::TotpSecret;
use super::users::User;

/// Recovery codes that a user gets at a time.
pub const RECOVERY_CODES: usize = 10;

/// How long somebody who has shown their password may take to show the rest, in milliseconds: 5 minutes.
pub const PASS_LIFETIME_MS: i64 = 5 * 60_000;

/// Crockford's alphabet, in which a recovery code is written: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of a recovery code: 50 random bits.
const RECOVERY_LEN: usize = 10;

/// A code that stands in for the authenticator app, once.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Zeroizing<String>);

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

impl RecoveryCode {
    fn draw() -> Result<Self> {
        let mut random = Zeroizing::new([0; RECOVERY_LEN]);
        getrandom::fill(random.as_mut())?;
        Ok(Self(Zeroizing::new(
            random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect(),
        )))
    }

    /// Reads what somebody typed; `None` for what cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut code = Zeroizing::new(String::new());
        for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let c = match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                c => c,
            };
            if code.len() == RECOVERY_LEN || !ALPHABET.iter().any(|known| char::from(*known) == c) {
                return None;
            }
            code.push(c);
        }
        (code.len() == RECOVERY_LEN).then_some(Self(code))
    }

    /// Its characters, for the one it is for: `2f7ga-0kq3d`.
    #[must_use]
    pub fn reveal(&self) -> String {
        let (first, second) = self.0.split_at(RECOVERY_LEN / 2);
        format!("{first}-{second}")
    }
}

/// What a user has beside their password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SecondFactor {
    /// Whether they have a password at all.
    pub has_password: bool,
    /// When their authenticator app was confirmed, epoch milliseconds; `None` without one.
    pub since: Option<i64>,
    /// Recovery codes that were not used.
    pub recovery_left: i64,
}

/// A secret as it is stored.
struct Stored {
    secret: String,
    counter: i64,
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { secret: row.get("secret")?, counter: row.get("counter")? })
    }
}

/// What somebody carries between password and code, sealed.
#[derive(Serialize, Deserialize)]
struct Pass {
    user: String,
    expires_at: i64,
    /// Hash of what is stored of the password that they showed.
    password: String,
}

impl Index {
    /// What a user has beside their password.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn second_factor(&self, user: &User) -> Result<SecondFactor> {
        let kinds: Vec<(String, i64)> = sql!(
            "SELECT kind, COUNT(*) FROM credentials WHERE user_id = $1 AND confirmed_at IS NOT NULL GROUP BY kind"
        )
        .bind(user.id.clone())
        .fetch_all(&self.db)
        .await?;
        let count =
            |kind: &str| kinds.iter().find(|(known, _)| known == kind).map_or(0, |(_, number)| *number);
        let since = sql!(
            "SELECT confirmed_at FROM credentials WHERE kind = 'totp' AND issuer = '' AND subject = $1 \
             AND confirmed_at IS NOT NULL"
        )
        .bind(user.id.clone())
        .fetch_optional(&self.db)
        .await?;
        Ok(SecondFactor { since, has_password: count("password") > 0, recovery_left: count("recovery") })
    }

    /// Draws a secret for a user's authenticator app; it counts for nothing until [`Index::confirm_totp`].
    ///
    /// # Errors
    /// [`IndexError::State`] when they have an app already, or no password; [`IndexError::Forbidden`] unless it is one's own.
    pub async fn begin_totp(&self, user: &User, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        draft.must_have_password(user).await?;
        let secret = TotpSecret::draw()?;
        let sealed = self.seal(&["totp", &user.id], secret.as_bytes())?;
        let (id, now) = (draft.new_id()?, draft.now());
        let written = sql!(
            "INSERT INTO credentials (id, user_id, kind, subject, secret, created_at) VALUES ($1, $2, 'totp', $2, $3, $4) \
             ON CONFLICT (kind, issuer, subject) DO UPDATE SET secret = excluded.secret, counter = 0, \
             created_at = excluded.created_at WHERE credentials.confirmed_at IS NULL"
        )
        .bind(id)
        .bind(user.id.clone())
        .bind(sealed)
        .bind(now)
        .execute(draft.connection())
        .await?;
        if written == 0 {
            return Err(IndexError::State(
                "there is an authenticator app already: switch it off first".to_owned(),
            ));
        }
        draft.record_credential("user.totp_begin", user, "totp").await?;
        draft.commit().await
    }

    /// The secret that waits for its first code; `None` when none does.
    ///
    /// # Errors
    /// When the database fails, or was copied to a server with another `fleet.key`.
    pub async fn waiting_totp(&self, user: &User) -> Result<Option<TotpSecret>> {
        let stored: Option<Stored> = sql!(
            "SELECT secret, counter FROM credentials WHERE kind = 'totp' AND issuer = '' AND subject = $1 \
             AND confirmed_at IS NULL"
        )
        .bind(user.id.clone())
        .fetch_optional(&self.db)
        .await?;
        stored.map(|stored| self.open_totp(user, &stored.secret)).transpose()
    }

    /// Takes the first code of a user's app: from now on it is asked for. Their sessions but `except` end.
    ///
    /// Returns the recovery codes, which are nowhere else; `None` for a wrong code.
    ///
    /// # Errors
    /// [`IndexError::State`] when no app waits for that; [`IndexError::Forbidden`] unless it is one's own.
    pub async fn confirm_totp(
        &self,
        user: &User,
        code: &str,
        except: Option<&str>,
        actor: &Actor,
    ) -> Result<Option<Vec<RecoveryCode>>> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let stored: Option<Stored> = sql!(
            "SELECT secret, counter FROM credentials WHERE kind = 'totp' AND issuer = '' AND subject = $1 \
             AND confirmed_at IS NULL"
        )
        .bind(user.id.clone())
        .fetch_optional(draft.connection())
        .await?;
        let Some(stored) = stored else {
            return Err(IndexError::State(
                "no authenticator app waits for its first code: begin anew".to_owned(),
            ));
        };
        let now = draft.now();
        let Some(step) = self.open_totp(user, &stored.secret)?.step_of(code, now) else { return Ok(None) };
        sql!(
            "UPDATE credentials SET confirmed_at = $2, last_used_at = $2, counter = $3 WHERE kind = 'totp' \
             AND issuer = '' AND subject = $1"
        )
        .bind(user.id.clone())
        .bind(now)
        .bind(step)
        .execute(draft.connection())
        .await?;
        let codes = draft.write_recovery(user).await?;
        draft.end_others(user, except).await?;
        draft.record_credential("user.totp", user, "totp").await?;
        draft.commit().await?;
        Ok(Some(codes))
    }

    /// Takes a code of a user's app, once; `false` for a wrong one, or one that was taken.
    ///
    /// # Errors
    /// When the database fails, or was copied to a server with another `fleet.key`.
    pub async fn take_totp(&self, user: &User, code: &str) -> Result<bool> {
        let stored: Option<Stored> = sql!(
            "SELECT secret, counter FROM credentials WHERE kind = 'totp' AND issuer = '' AND subject = $1 \
             AND confirmed_at IS NOT NULL"
        )
        .bind(user.id.clone())
        .fetch_optional(&self.db)
        .await?;
        let now = self.clock.now_ms();
        let Some(stored) = stored else { return Ok(false) };
        let step = self.open_totp(user, &stored.secret)?.step_of(code, now);
        let Some(step) = step.filter(|step| *step > stored.counter) else { return Ok(false) };
        // Nobody's decision, so no audit: that a session opens is noted.
        let mut transaction = self.db.begin_write().await?;
        let taken = sql!(
            "UPDATE credentials SET counter = $3, last_used_at = $4 WHERE kind = 'totp' AND issuer = '' \
             AND subject = $1 AND secret = $2 AND confirmed_at IS NOT NULL AND counter < $3"
        )
        .bind(user.id.clone())
        .bind(stored.secret)
        .bind(step)
        .bind(now)
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(taken == 1)
    }

    /// Uses a recovery code up; `false` for one that is not theirs or was used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_recovery(&self, user: &User, code: &RecoveryCode, actor: &Actor) -> Result<bool> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let used = sql!("DELETE FROM credentials WHERE kind = 'recovery' AND issuer = '' AND subject = $1 AND user_id = $2")
            .bind(self.hash_recovery(&user.id, code))
            .bind(user.id.clone())
            .execute(draft.connection())
            .await?;
        if used == 0 {
            return Ok(false);
        }
        draft.record_credential("user.recovery", user, "recovery").await?;
        draft.commit().await?;
        Ok(true)
    }

    /// Draws other recovery codes; those before stop working.
    ///
    /// # Errors
    /// [`IndexError::State`] without an authenticator app; [`IndexError::Forbidden`] unless it is one's own.
    pub async fn new_recovery(&self, user: &User, actor: &Actor) -> Result<Vec<RecoveryCode>> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        if !draft.has_totp(user).await? {
            return Err(IndexError::State(
                "there is no authenticator app that they could stand in for".to_owned(),
            ));
        }
        let codes = draft.write_recovery(user).await?;
        draft.record_credential("user.recovery_new", user, "recovery").await?;
        draft.commit().await?;
        Ok(codes)
    }

    /// Takes a user's authenticator app and recovery codes away; `false` when they had none.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`] unless it is one's own, or a server administrator asks.
    pub async fn remove_second_factor(&self, user: &User, actor: &Actor) -> Result<bool> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let removed = sql!("DELETE FROM credentials WHERE user_id = $1 AND kind IN ('totp', 'recovery')")
            .bind(user.id.clone())
            .execute(draft.connection())
            .await?;
        if removed == 0 {
            return Ok(false);
        }
        draft.record_credential("user.totp_off", user, "totp").await?;
        draft.commit().await?;
        Ok(true)
    }

    /// Takes everything from a user but their password: app, recovery codes, passkeys, linked accounts; `false` when they had
    /// none of it.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`] unless a server administrator asks.
    pub async fn remove_all_but_password(&self, user: &User, actor: &Actor) -> Result<bool> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::Server)?;
        let removed = sql!("DELETE FROM credentials WHERE user_id = $1 AND kind <> 'password'")
            .bind(user.id.clone())
            .execute(draft.connection())
            .await?;
        if removed == 0 {
            return Ok(false);
        }
        draft.record_credential("user.factors_off", user, "all but password").await?;
        draft.commit().await?;
        Ok(true)
    }

    /// What somebody carries who has shown that password and not yet the rest: it is sealed, short-lived, and opens nothing.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn write_pass(&self, user: &User, stored: &str) -> Result<String> {
        let pass = Pass {
            user: user.id.clone(),
            expires_at: self.clock.now_ms().saturating_add(PASS_LIFETIME_MS),
            password: self.hash_stored(stored),
        };
        let text = serde_json::to_vec(&pass)
            .map_err(|error| IndexError::Unreadable { column: "pass", why: error.to_string() })?;
        self.seal(&["pass"], &text)
    }

    /// Who carries that, with what is stored of their password; `None` when it is too old, forged, or the password changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_pass(&self, pass: &str) -> Result<Option<(User, String)>> {
        let Ok(text) = self.unseal("pass", &["pass"], pass) else { return Ok(None) };
        let Ok(pass) = serde_json::from_slice::<Pass>(&text) else { return Ok(None) };
        if pass.expires_at <= self.clock.now_ms() {
            return Ok(None);
        }
        let user = self.user_by_id(&pass.user).await?;
        let (_, stored) = self.user_and_password(&user.name).await?;
        let stored = stored.filter(|stored| self.hash_stored(stored) == pass.password);
        Ok(stored.filter(|_| user.disabled_at.is_none()).map(|stored| (user, stored)))
    }

    fn hash_stored(&self, stored: &str) -> String {
        HEXLOWER.encode(&keyed_hash(self.code_key.as_bytes(), &[b"stored password", stored.as_bytes()]))
    }

    /// What is stored of a recovery code.
    fn hash_recovery(&self, user: &str, code: &RecoveryCode) -> String {
        let parts = [b"recovery".as_slice(), user.as_bytes(), code.0.as_bytes()];
        HEXLOWER.encode(&keyed_hash(self.code_key.as_bytes(), &parts))
    }

    fn open_totp(&self, user: &User, sealed: &str) -> Result<TotpSecret> {
        self.unseal("credentials.secret", &["totp", &user.id], sealed).map(TotpSecret::from_bytes)
    }
}

impl Draft<'_> {
    pub(super) async fn has_totp(&mut self, user: &User) -> Result<bool> {
        let known: Option<i64> = sql!(
            "SELECT confirmed_at FROM credentials WHERE kind = 'totp' AND issuer = '' AND subject = $1 \
             AND confirmed_at IS NOT NULL"
        )
        .bind(user.id.clone())
        .fetch_optional(self.connection())
        .await?;
        Ok(known.is_some())
    }

    /// A code beside a password needs a password.
    async fn must_have_password(&mut self, user: &User) -> Result<()> {
        let known: Option<i64> = sql!(
            "SELECT created_at FROM credentials WHERE kind = 'password' AND issuer = '' AND subject = $1"
        )
        .bind(user.id.clone())
        .fetch_optional(self.connection())
        .await?;
        if known.is_some() {
            return Ok(());
        }
        Err(IndexError::State("an authenticator app is asked beside a password: choose one first".to_owned()))
    }

    /// Ends the sessions of a user but one.
    pub(super) async fn end_others(&mut self, user: &User, except: Option<&str>) -> Result<()> {
        let now = self.now();
        sql!("UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL AND id <> $3")
            .bind(user.id.clone())
            .bind(now)
            .bind(except.unwrap_or_default())
            .execute(self.connection())
            .await
            .map(drop)
    }

    async fn write_recovery(&mut self, user: &User) -> Result<Vec<RecoveryCode>> {
        sql!("DELETE FROM credentials WHERE user_id = $1 AND kind = 'recovery'")
            .bind(user.id.clone())
            .execute(self.connection())
            .await?;
        let mut codes = Vec::new();
        for _ in 0..RECOVERY_CODES {
            let code = RecoveryCode::draw()?;
            let (id, now) = (self.new_id()?, self.now());
            let hash = self.index().hash_recovery(&user.id, &code);
            sql!(
                "INSERT INTO credentials (id, user_id, kind, subject, confirmed_at, created_at) \
                 VALUES ($1, $2, 'recovery', $3, $4, $4)"
            )
            .bind(id)
            .bind(user.id.clone())
            .bind(hash)
            .bind(now)
            .execute(self.connection())
            .await?;
            codes.push(code);
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_is_read_as_people_write_it() {
        let code = RecoveryCode::draw().unwrap();
        let text = code.reveal();
        assert_eq!(RecoveryCode::parse(&text).as_ref(), Some(&code));
        assert_eq!(
            RecoveryCode::parse(&format!(" {} ", text.to_uppercase().replace('-', " "))).as_ref(),
            Some(&code)
        );
        assert_eq!(
            RecoveryCode::parse("OIL00-00000").map(|code| code.reveal()).as_deref(),
            Some("01100-00000")
        );
        for wrong in ["", "123456", "u0000-00000", "00000-000000", "ääääääääää", &"0".repeat(10_000)]
        {
            assert_eq!(RecoveryCode::parse(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{code:?}"), "RecoveryCode(..)");
    }
}
