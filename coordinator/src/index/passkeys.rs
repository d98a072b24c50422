//! Passkeys: public keys of devices with which a user signs in without a password (WebAuthn).
//!
//! Here a key is its id and a text that `accounts` can read; there is nothing secret in it.

use lanyard_wire::keys::keyed_hash;
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::Need;
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::users::User;

/// Most passkeys of a user.
pub const PASSKEYS_MAX: usize = 20;

/// Most characters of what its owner calls one.
const LABEL_MAX: usize = 64;

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredPasskey {
    /// Row id.
    pub id: String,
    /// Row id of the user.
    pub user_id: String,
    /// What its owner calls it.
    pub label: String,
    /// The public key and what belongs to it, as `accounts` writes it.
    #[serde(skip)]
    pub key: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub last_used_at: Option<i64>,
}

impl FromRow for StoredPasskey {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            label: row.get("label")?,
            key: row.get("secret")?,
            created_at: row.get("created_at")?,
            last_used_at: row.get("last_used_at")?,
        })
    }
}

impl Index {
    /// What an authenticator calls a user: 16 bytes that say nothing about them.
    #[must_use]
    pub fn passkey_handle(&self, user: &User) -> [u8; 16] {
        let hash = keyed_hash(self.code_key.as_bytes(), &[b"passkey user", user.id.as_bytes()]);
        hash.first_chunk().copied().unwrap_or_default()
    }

    /// The passkeys of a user, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn passkeys_of(&self, user: &User) -> Result<Vec<StoredPasskey>> {
        sql!("SELECT * FROM credentials WHERE kind = 'passkey' AND user_id = $1 ORDER BY id")
            .bind(user.id.clone())
            .fetch_all(&self.db)
            .await
    }

    /// The passkey of that credential id (base64url), if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn passkey(&self, credential: &str) -> Result<Option<StoredPasskey>> {
        sql!("SELECT * FROM credentials WHERE kind = 'passkey' AND issuer = '' AND subject = $1")
            .bind(credential)
            .fetch_optional(&self.db)
            .await
    }

    /// Gives a user another passkey.
    ///
    /// # Errors
    /// [`IndexError::Taken`] when it is known already; [`IndexError::State`] when they have [`PASSKEYS_MAX`];
    /// [`IndexError::Forbidden`] unless it is one's own.
    pub async fn add_passkey(
        &self,
        user: &User,
        credential: &str,
        label: &str,
        key: &str,
        actor: &Actor,
    ) -> Result<StoredPasskey> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let label = label.trim();
        if label.chars().count() > LABEL_MAX || label.chars().any(char::is_control) {
            let why = format!("it has at most {LABEL_MAX} characters, on one line");
            return Err(IndexError::Invalid { what: "the name of a passkey", why });
        }
        let known: i64 = sql!("SELECT COUNT(*) FROM credentials WHERE kind = 'passkey' AND user_id = $1")
            .bind(user.id.clone())
            .fetch_one(draft.connection())
            .await?;
        if usize::try_from(known).is_ok_and(|known| known >= PASSKEYS_MAX) {
            return Err(IndexError::State(format!("there are {PASSKEYS_MAX} passkeys: remove one first")));
        }
        let passkey = StoredPasskey {
            id: draft.new_id()?,
            user_id: user.id.clone(),
            label: if label.is_empty() { "passkey".to_owned() } else { label.to_owned() },
            key: key.to_owned(),
            created_at: draft.now(),
            last_used_at: None,
        };
        let inserted = sql!(
            "INSERT INTO credentials (id, user_id, kind, subject, label, secret, confirmed_at, created_at) \
             VALUES ($1, $2, 'passkey', $3, $4, $5, $6, $6)"
        )
        .bind(passkey.id.clone())
        .bind(user.id.clone())
        .bind(credential)
        .bind(passkey.label.clone())
        .bind(key)
        .bind(passkey.created_at)
        .execute(draft.connection())
        .await;
        match inserted {
            Err(error) if error.is_unique_violation() => {
                return Err(IndexError::Taken { what: "passkey", name: passkey.label });
            }
            other => other?,
        };
        draft.record_passkey("user.passkey", user, None, Some(&passkey)).await?;
        draft.commit().await?;
        Ok(passkey)
    }

    /// Notes that a passkey was used, and what it says of itself since; `false` when it changed or went meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn use_passkey(&self, passkey: &StoredPasskey, key: &str) -> Result<bool> {
        // Nobody's decision, so no audit: that a session opens is noted.
        let mut transaction = self.db.begin_write().await?;
        let used =
            sql!("UPDATE credentials SET secret = $3, last_used_at = $4 WHERE id = $1 AND secret = $2")
                .bind(passkey.id.clone())
                .bind(passkey.key.clone())
                .bind(key)
                .bind(self.clock.now_ms())
                .execute(&mut transaction)
                .await?;
        transaction.commit().await?;
        Ok(used == 1)
    }

    /// Takes a passkey away.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::State`] when its user could not sign in any more;
    /// [`IndexError::Forbidden`] unless it is one's own, or a server administrator asks.
    pub async fn remove_passkey(&self, id: &str, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let known: Option<StoredPasskey> =
            sql!("SELECT * FROM credentials WHERE id = $1 AND kind = 'passkey'")
                .bind(id)
                .fetch_optional(draft.connection())
                .await?;
        let Some(before) = known else {
            return Err(IndexError::NotFound { what: "passkey", name: id.to_owned(), hint: "" });
        };
        draft.must(&Need::User(before.user_id.clone()))?;
        let user = draft.find_user(&before.user_id).await?;
        draft.remove_way_in(&user, id).await?;
        draft.record_passkey("user.passkey_off", &user, Some(&before), None).await?;
        draft.commit().await
    }
}

impl Draft<'_> {
    /// Deletes one of the ways in which a user signs in, unless it is the last.
    pub(super) async fn remove_way_in(&mut self, user: &User, id: &str) -> Result<()> {
        let others: i64 = sql!(
            "SELECT COUNT(*) FROM credentials WHERE user_id = $1 AND id <> $2 AND kind IN ('password', 'passkey', 'oidc')"
        )
        .bind(user.id.clone())
        .bind(id)
        .fetch_one(self.connection())
        .await?;
        if others == 0 && self.actor().user_id() == Some(&user.id) {
            return Err(IndexError::State(
                "it is the last way in which you can sign in: add another first".to_owned(),
            ));
        }
        sql!("DELETE FROM credentials WHERE id = $1").bind(id).execute(self.connection()).await.map(drop)
    }

    async fn record_passkey(
        &mut self,
        code: &'static str,
        user: &User,
        before: Option<&StoredPasskey>,
        after: Option<&StoredPasskey>,
    ) -> Result<()> {
        self.record(Entry { code, entity: "user", id: &user.id, network: None, before, after }).await
    }
}
