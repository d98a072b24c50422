//! Tokens: how programs act for a user. A token never may more than its user, and less if it says so.

use lanyard_wire::ids::NetworkId;
use lanyard_wire::names::NetworkName;
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::{Grants, Need};
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::networks::unknown;
use super::secrets::{Purpose, Secret};
use super::text::{self, text_enum};
use super::users::User;

/// What the text of a token begins with, so that people and scanners of leaked secrets know one when they see it.
pub const BEGIN: &str = "lyt_";

/// Characters that are shown of a token again.
const PREFIX: usize = 6;

/// How often it is written that a token is used, in milliseconds.
const USED_EVERY_MS: i64 = 60_000;

/// Most tokens of one user that can be used.
const TOKENS_MAX: i64 = 100;

text_enum! {
    /// What a token may.
    Scope {
        /// Look.
        Read = "read",
        /// Also change what its user may change.
        Write = "write",
    }
}

/// A token as listed; its secret is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiToken {
    /// Row id.
    pub id: String,
    /// Row id of its user.
    pub user_id: String,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of its secret.
    pub prefix: String,
    /// What it may.
    pub scope: Scope,
    /// The only network it may touch.
    #[serde(serialize_with = "network_text")]
    pub network_id: Option<NetworkId>,
    /// Epoch milliseconds, when it ends by itself.
    pub expires_at: Option<i64>,
    /// Epoch milliseconds, to the minute.
    pub last_used_at: Option<i64>,
    /// Epoch milliseconds, when it was ended.
    pub revoked_at: Option<i64>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

fn network_text<S: serde::Serializer>(
    network: &Option<NetworkId>,
    serializer: S,
) -> core::result::Result<S::Ok, S::Error> {
    network.map(|network| network.to_string()).serialize(serializer)
}

/// What a new token shall be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What its owner calls it.
    pub name: String,
    /// What it may.
    pub scope: Scope,
    /// The only network it may touch.
    pub network: Option<NetworkName>,
    /// How long it lasts, in milliseconds.
    pub lifetime_ms: Option<i64>,
}

impl FromRow for ApiToken {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            name: row.get("name")?,
            prefix: row.get("prefix")?,
            scope: text::column(row, "scope")?,
            network_id: text::optional_column(row, "network_id")?,
            expires_at: row.get("expires_at")?,
            last_used_at: row.get("last_used_at")?,
            revoked_at: row.get("revoked_at")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl ApiToken {
    /// Whether it lets its user act at that instant.
    #[must_use]
    pub fn is_open(&self, now_ms: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now_ms)
    }

    /// What is left of what its user may.
    #[must_use]
    pub fn limit(&self, grants: Grants) -> Grants {
        let may_write = grants.may_write && self.scope == Scope::Write;
        Grants { only: self.network_id, may_write, by_token: true, ..grants }
    }
}

impl Index {
    /// Makes a token and returns it with its secret, which is shown this once.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`] unless it is for oneself, or a server administrator asks; [`IndexError::NotFound`] for a
    /// network that is none or that the user has no role in.
    pub async fn add_token(&self, user: &User, new: &NewToken, actor: &Actor) -> Result<(ApiToken, Secret)> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let network_id = match &new.network {
            Some(slug) => Some(draft.network(slug).await?.ok_or_else(|| unknown(slug))?.id),
            None => None,
        };
        if let (Some(network), Some(slug)) = (network_id, &new.network)
            && !user.is_server_admin
            && !draft.has_role(network, &user.id).await?
        {
            return Err(unknown(slug));
        }
        if new.lifetime_ms.is_some_and(|lifetime| lifetime <= 0) {
            return Err(IndexError::Invalid {
                what: "lifetime",
                why: "it is longer than nothing".to_owned(),
            });
        }
        if user.disabled_at.is_some() {
            return Err(IndexError::State(format!(
                "\"{}\" is shut out: a token of theirs opens nothing",
                user.name
            )));
        }
        let name = new.name.trim();
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            return Err(IndexError::Invalid { what: "name", why: "it has 1 to 64 characters".to_owned() });
        }
        let open = draft.open_tokens(&user.id).await?;
        if open >= TOKENS_MAX {
            return Err(IndexError::State(format!("{open} tokens are enough: end some that are not used")));
        }
        let secret = Secret::draw()?;
        let token = ApiToken {
            id: draft.new_id()?,
            user_id: user.id.clone(),
            name: name.to_owned(),
            prefix: secret.reveal().chars().take(PREFIX).collect(),
            scope: new.scope,
            network_id,
            expires_at: new.lifetime_ms.map(|lifetime| draft.now().saturating_add(lifetime)),
            last_used_at: None,
            revoked_at: None,
            created_at: draft.now(),
        };
        sql!(
            "INSERT INTO api_tokens (id, user_id, name, prefix, token_hash, scope, network_id, expires_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        )
        .bind(token.id.clone())
        .bind(token.user_id.clone())
        .bind(token.name.clone())
        .bind(token.prefix.clone())
        .bind(self.hash_secret(Purpose::Token, &secret))
        .bind(token.scope.as_str())
        .bind(token.network_id.map(|network| network.to_string()))
        .bind(token.expires_at)
        .bind(token.created_at)
        .execute(draft.connection())
        .await?;
        draft.record_token("token.add", None, &token).await?;
        draft.commit().await?;
        Ok((token, secret))
    }

    /// Whose token that is, if it can be used.
    ///
    /// # Errors
    /// When the database fails; a secret that opens nothing is `None`.
    pub async fn token(&self, secret: &Secret) -> Result<Option<(ApiToken, User)>> {
        let now = self.clock.now_ms();
        let token: Option<ApiToken> = sql!("SELECT * FROM api_tokens WHERE token_hash = $1")
            .bind(self.hash_secret(Purpose::Token, secret))
            .fetch_optional(&self.db)
            .await?;
        let Some(token) = token.filter(|token| token.is_open(now)) else { return Ok(None) };
        let user = self.user_by_id(&token.user_id).await?;
        if user.disabled_at.is_some() {
            return Ok(None);
        }
        if token.last_used_at.is_none_or(|used| now.saturating_sub(used) >= USED_EVERY_MS)
            && let Err(error) = self.note_use(&token, now).await
        {
            tracing::warn!(%error, code = error.code(), "the use of a token could not be noted");
        }
        Ok(Some((token, user)))
    }

    /// Tokens of a user that can be used, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens_of(&self, user: &User) -> Result<Vec<ApiToken>> {
        let now = self.clock.now_ms();
        let mut tokens: Vec<ApiToken> =
            sql!("SELECT * FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL ORDER BY id DESC")
                .bind(user.id.clone())
                .fetch_all(&self.db)
                .await?;
        tokens.retain(|token| token.is_open(now));
        Ok(tokens)
    }

    /// Ends a token; ending it twice is no error.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless it is one's own, or a server administrator asks.
    pub async fn end_token(&self, id: &str, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let token: Option<ApiToken> = sql!("SELECT * FROM api_tokens WHERE id = $1")
            .bind(id)
            .fetch_optional(draft.connection())
            .await?;
        let Some(before) = token else {
            return Err(IndexError::NotFound { what: "token", name: id.to_owned(), hint: "" });
        };
        draft.must(&Need::User(before.user_id.clone()))?;
        if before.revoked_at.is_some() {
            return Ok(());
        }
        let after = ApiToken { revoked_at: Some(draft.now()), ..before.clone() };
        sql!("UPDATE api_tokens SET revoked_at = $2 WHERE id = $1")
            .bind(after.id.clone())
            .bind(after.revoked_at)
            .execute(draft.connection())
            .await?;
        draft.record_token("token.end", Some(&before), &after).await?;
        draft.commit().await
    }

    /// Notes that a token is in use: nobody's decision, so no audit.
    async fn note_use(&self, token: &ApiToken, now: i64) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        sql!("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1")
            .bind(token.id.clone())
            .bind(now)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await
    }
}

// On the connection of the change: who waits for another one while they hold the lock may wait for those who wait for it.
impl Draft<'_> {
    async fn has_role(&mut self, network: NetworkId, user: &str) -> Result<bool> {
        let now = self.now();
        let roles: i64 = sql!(
            "SELECT COUNT(*) FROM network_roles WHERE network_id = $1 AND user_id = $2 \
             AND (expires_at IS NULL OR expires_at > $3)"
        )
        .bind(network.to_string())
        .bind(user)
        .bind(now)
        .fetch_one(self.connection())
        .await?;
        Ok(roles > 0)
    }

    /// How many tokens of a user can be used.
    async fn open_tokens(&mut self, user: &str) -> Result<i64> {
        let now = self.now();
        sql!(
            "SELECT COUNT(*) FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL \
             AND (expires_at IS NULL OR expires_at > $2)"
        )
        .bind(user)
        .bind(now)
        .fetch_one(self.connection())
        .await
    }

    async fn record_token(
        &mut self,
        code: &'static str,
        before: Option<&ApiToken>,
        after: &ApiToken,
    ) -> Result<()> {
        self.record(Entry { code, entity: "token", id: &after.id, network: None, before, after: Some(after) })
            .await
    }
}
