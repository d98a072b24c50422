//! Passwords and one-time codes: how a user shows who they are.
//!
//! A password is stored as its Argon2id string, computed with a secret key that is derived from `fleet.key` (a "pepper"):
//! whoever has a copy of the database alone cannot even begin to guess. Computing one takes memory and time on purpose;
//! [`super::Index`] only compares and stores, the caller decides how many at once.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use lanyard_wire::names::JoinPassword;
use zeroize::Zeroizing;

use super::Index;
use super::audit::Actor;
use super::authority::Need;
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::networks::StoredPassword;
use super::secrets::{Purpose, Secret};
use super::users::{User, UserKind, UserName};

/// Fewest characters of a password (NIST SP 800-63B-4 asks for 15 without a second factor, 8 with one).
pub const PASSWORD_MIN: usize = 10;

/// Most bytes of a password that are looked at.
pub const PASSWORD_MAX: usize = 1_024;

/// How long a code that lets somebody choose a password may be used, in milliseconds: 3 days.
pub const CODE_LIFETIME_MS: i64 = 3 * 24 * 3_600_000;

/// A password as somebody typed it; it is wiped when it is dropped.
pub struct Password(Zeroizing<String>);

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// Takes what was typed, to compare it.
    #[must_use]
    pub fn typed(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Takes what was typed, to make it somebody's password.
    ///
    /// # Errors
    /// [`IndexError::Invalid`] for one that is too short, too long, or the user's own name.
    pub fn chosen(text: String, name: &UserName) -> Result<Self> {
        let password = Self::typed(text);
        let why = if password.0.chars().count() < PASSWORD_MIN {
            format!(
                "it has at least {PASSWORD_MIN} characters; a few words in a row are easy to keep in mind"
            )
        } else if password.0.len() > PASSWORD_MAX {
            format!("it has at most {PASSWORD_MAX} bytes")
        } else if password.0.to_lowercase().contains(name.as_str()) && name.as_str().len() > 3 {
            "it holds the user's own name".to_owned()
        } else {
            return Ok(password);
        };
        Err(IndexError::Invalid { what: "password", why })
    }
}

/// Computes and compares passwords; it costs 19 MiB and some tens of milliseconds each time.
#[derive(Clone)]
pub struct PasswordHashing {
    pepper: Zeroizing<[u8; 32]>,
}

impl core::fmt::Debug for PasswordHashing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PasswordHashing(..)")
    }
}

impl PasswordHashing {
    fn argon2(&self) -> Result<Argon2<'_>> {
        // The defaults of the library are OWASP's first choice: 19 MiB, two passes, one lane.
        Argon2::new_with_secret(&*self.pepper, Algorithm::Argon2id, Version::V0x13, Params::default())
            .map_err(|error| IndexError::State(format!("Argon2 refuses its settings: {error}")))
    }

    /// The string that is stored of a password.
    ///
    /// # Errors
    /// When the operating system gives no random numbers or no memory.
    pub fn hash(&self, password: &Password) -> Result<String> {
        let hash = self.argon2()?.hash_password(password.0.as_bytes());
        Ok(hash.map_err(|error| IndexError::Randomness(error.to_string()))?.to_string())
    }

    /// What to store of a network's password. Many know it, and it is typed once: it costs what a user's does.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn hash_join(&self, password: &JoinPassword) -> Result<StoredPassword> {
        self.hash(&Password::typed(password.reveal().to_owned())).map(StoredPassword)
    }

    /// Whether that is the password of which this was stored.
    ///
    /// # Errors
    /// When what is stored cannot be read.
    pub fn is_join_password(&self, password: &JoinPassword, stored: &StoredPassword) -> Result<bool> {
        self.is_right(&Password::typed(password.reveal().to_owned()), Some(&stored.0))
    }

    /// Whether it is that password. Without a stored one it takes as long and is not.
    ///
    /// # Errors
    /// When what is stored cannot be read.
    pub fn is_right(&self, password: &Password, stored: Option<&str>) -> Result<bool> {
        if password.0.len() > PASSWORD_MAX {
            return Ok(false);
        }
        let Some(stored) = stored else {
            self.hash(password)?;
            return Ok(false);
        };
        let stored = PasswordHash::new(stored).map_err(|error| IndexError::Unreadable {
            column: "credentials.secret",
            why: error.to_string(),
        })?;
        Ok(self.argon2()?.verify_password(password.0.as_bytes(), &stored).is_ok())
    }
}

impl Index {
    /// What computes and compares passwords of this coordinator.
    #[must_use]
    pub fn password_hashing(&self) -> PasswordHashing {
        PasswordHashing { pepper: Zeroizing::new(*self.pepper.as_bytes()) }
    }

    /// The user of that name, and what is stored of their password: one question, whether there is such a user or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_and_password(&self, name: &UserName) -> Result<(Option<User>, Option<String>)> {
        let found: Option<WithPassword> = sql!(
            "SELECT u.*, c.secret FROM users u LEFT JOIN credentials c ON c.kind = 'password' AND c.issuer = '' \
             AND c.subject = u.id WHERE u.name = $1"
        )
        .bind(name.as_str())
        .fetch_optional(&self.db)
        .await?;
        Ok(found.map_or((None, None), |found| (Some(found.user), found.stored)))
    }

    /// Gives a user a password; `stored` is what [`PasswordHashing::hash`] made of it.
    ///
    /// All their sessions but `except` end: whoever knew the old one is out.
    ///
    /// # Errors
    /// [`IndexError::State`] for a service; [`IndexError::Forbidden`] unless it is one's own, or a server administrator
    /// asks.
    pub async fn set_password(
        &self,
        user: &User,
        stored: &str,
        except: Option<&str>,
        actor: &Actor,
    ) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        draft.write_password(user, stored, except).await?;
        draft.commit().await
    }

    /// Makes a code that lets a user choose a password; those before stop working.
    ///
    /// # Errors
    /// [`IndexError::State`] for a service; [`IndexError::Forbidden`] unless a server administrator asks.
    pub async fn new_user_code(&self, user: &User, actor: &Actor) -> Result<Secret> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::Server)?;
        refuse_service(user)?;
        let (secret, now) = (Secret::draw()?, draft.now());
        draft.end_codes(&user.id).await?;
        let id = draft.new_id()?;
        sql!(
            "INSERT INTO user_codes (id, user_id, code_hash, expires_at, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)"
        )
        .bind(id)
        .bind(user.id.clone())
        .bind(self.hash_secret(Purpose::UserCode, &secret))
        .bind(now.saturating_add(CODE_LIFETIME_MS))
        .bind(actor.id())
        .bind(now)
        .execute(draft.connection())
        .await?;
        draft.record_credential("user.code", user, "code").await?;
        draft.commit().await?;
        Ok(secret)
    }

    /// Whose code that is, if it can still be used; it is not used yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_of_code(&self, code: &Secret) -> Result<Option<User>> {
        let user: Option<String> = sql!(
            "SELECT user_id FROM user_codes WHERE code_hash = $1 AND used_at IS NULL AND expires_at > $2"
        )
        .bind(self.hash_secret(Purpose::UserCode, code))
        .bind(self.clock.now_ms())
        .fetch_optional(&self.db)
        .await?;
        match user {
            Some(id) => {
                self.user_by_id(&id).await.map(|user| Some(user).filter(|user| user.disabled_at.is_none()))
            }
            None => Ok(None),
        }
    }

    /// Uses a code up and gives its user a password; `false` when the code was used or ran out meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn use_user_code(
        &self,
        code: &Secret,
        user: &User,
        stored: &str,
        actor: &Actor,
    ) -> Result<bool> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let now = draft.now();
        let used = sql!(
            "UPDATE user_codes SET used_at = $3 WHERE code_hash = $1 AND user_id = $2 AND used_at IS NULL \
             AND expires_at > $3"
        )
        .bind(self.hash_secret(Purpose::UserCode, code))
        .bind(user.id.clone())
        .bind(now)
        .execute(draft.connection())
        .await?;
        if used == 0 {
            return Ok(false);
        }
        draft.write_password(user, stored, None).await?;
        draft.commit().await?;
        Ok(true)
    }
}

/// A user and what is stored of their password.
struct WithPassword {
    user: User,
    stored: Option<String>,
}

impl FromRow for WithPassword {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { user: User::from_row(row)?, stored: row.get("secret")? })
    }
}

impl Draft<'_> {
    /// Whether that is what is stored of a user's password now.
    pub(super) async fn has_password(&mut self, user: &User, stored: &str) -> Result<bool> {
        let secret: Option<String> =
            sql!("SELECT secret FROM credentials WHERE kind = 'password' AND issuer = '' AND subject = $1")
                .bind(user.id.clone())
                .fetch_optional(self.connection())
                .await?;
        Ok(secret.as_deref() == Some(stored))
    }

    /// Ends the links that let a user choose a password.
    pub(super) async fn end_codes(&mut self, user: &str) -> Result<()> {
        let now = self.now();
        sql!(
            "UPDATE user_codes SET expires_at = $2 WHERE user_id = $1 AND used_at IS NULL AND expires_at > $2"
        )
        .bind(user)
        .bind(now)
        .execute(self.connection())
        .await
        .map(drop)
    }

    /// Writes a password and ends the sessions that were opened with another.
    pub(super) async fn write_password(
        &mut self,
        user: &User,
        stored: &str,
        except: Option<&str>,
    ) -> Result<()> {
        refuse_service(user)?;
        let (id, now) = (self.new_id()?, self.now());
        sql!(
            "INSERT INTO credentials (id, user_id, kind, subject, secret, confirmed_at, created_at) \
             VALUES ($1, $2, 'password', $2, $3, $4, $4) ON CONFLICT (kind, issuer, subject) DO UPDATE SET \
             secret = excluded.secret, confirmed_at = excluded.confirmed_at, created_at = excluded.created_at"
        )
        .bind(id)
        .bind(user.id.clone())
        .bind(stored)
        .bind(now)
        .execute(self.connection())
        .await?;
        sql!("UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL AND id <> $3")
            .bind(user.id.clone())
            .bind(now)
            .bind(except.unwrap_or_default())
            .execute(self.connection())
            .await?;
        self.end_codes(&user.id).await?;
        self.record_credential("user.password", user, "password").await
    }

    /// Notes that a user's credential of that kind changed; nothing of it stands in the audit trail.
    pub(super) async fn record_credential(
        &mut self,
        code: &'static str,
        user: &User,
        kind: &'static str,
    ) -> Result<()> {
        let after = serde_json::json!({ "kind": kind });
        self.record(Entry {
            code,
            entity: "user",
            id: &user.id,
            network: None,
            before: None,
            after: Some(&after),
        })
        .await
    }
}

fn refuse_service(user: &User) -> Result<()> {
    match user.kind {
        UserKind::Person => Ok(()),
        UserKind::Service => {
            Err(IndexError::State(format!("\"{}\" is a service and does not sign in", user.name)))
        }
    }
}
