//! Sessions: where a user is signed in. Each can be seen and ended.

use std::net::IpAddr;

use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::Need;
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::secrets::{Purpose, Secret};
use super::users::User;

/// How long a session lasts at the most, in milliseconds: 30 days.
pub const LIFETIME_MS: i64 = 30 * 24 * 3_600_000;

/// How long a session lasts that is not used, in milliseconds: 7 days.
pub const IDLE_MS: i64 = 7 * 24 * 3_600_000;

/// How often it is written that a session is used, in milliseconds: once a minute, or every request would be a write.
const SEEN_EVERY_MS: i64 = 60_000;

/// Longest text of a browser that is kept, in characters.
const USER_AGENT_MAX: usize = 200;

/// A browser or program that is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Row id.
    pub id: String,
    /// Row id of the user.
    pub user_id: String,
    /// What the browser calls itself.
    pub user_agent: String,
    /// Where it was opened from.
    pub ip: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds, to the minute.
    pub seen_at: i64,
    /// Epoch milliseconds, when it ends at the latest.
    pub expires_at: i64,
    /// Epoch milliseconds, when it was ended.
    pub revoked_at: Option<i64>,
}

impl FromRow for Session {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            user_agent: row.get("user_agent")?,
            ip: row.get("ip")?,
            created_at: row.get("created_at")?,
            seen_at: row.get("seen_at")?,
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
        })
    }
}

impl Session {
    /// Whether it lets its user in at that instant.
    #[must_use]
    pub const fn is_open(&self, now_ms: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at > now_ms && self.seen_at.saturating_add(IDLE_MS) > now_ms
    }
}

impl Index {
    /// Signs a user in who has proven who they are; returns the secret of the session, which is nowhere else.
    ///
    /// `stored` is what their password was compared with: it may have been changed meanwhile.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`] for somebody who was shut out or has another password now, or when the database fails.
    pub async fn open_session(
        &self,
        user: &User,
        stored: Option<&str>,
        user_agent: &str,
        ip: Option<IpAddr>,
    ) -> Result<(Session, Secret)> {
        let actor = Actor::arriving(user, ip);
        let mut draft = self.draft(&actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        if let Some(stored) = stored
            && !draft.has_password(user, stored).await?
        {
            return Err(IndexError::Forbidden("who has the password of now"));
        }
        let secret = Secret::draw()?;
        let session = Session {
            id: draft.new_id()?,
            user_id: user.id.clone(),
            user_agent: user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_MAX).collect(),
            ip: ip.map(|ip| ip.to_string()),
            created_at: draft.now(),
            seen_at: draft.now(),
            expires_at: draft.now().saturating_add(LIFETIME_MS),
            revoked_at: None,
        };
        sql!(
            "INSERT INTO sessions (id, user_id, token_hash, user_agent, ip, created_at, seen_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6, $7)"
        )
        .bind(session.id.clone())
        .bind(session.user_id.clone())
        .bind(self.hash_secret(Purpose::Session, &secret))
        .bind(session.user_agent.clone())
        .bind(session.ip.clone())
        .bind(session.created_at)
        .bind(session.expires_at)
        .execute(draft.connection())
        .await?;
        draft.record_session("session.open", None, &session).await?;
        draft.commit().await?;
        Ok((session, secret))
    }

    /// Whose session that is, if it still lets them in.
    ///
    /// # Errors
    /// When the database fails; a secret that opens nothing is `None`.
    pub async fn session(&self, secret: &Secret) -> Result<Option<(Session, User)>> {
        let now = self.clock.now_ms();
        let session: Option<Session> = sql!("SELECT * FROM sessions WHERE token_hash = $1")
            .bind(self.hash_secret(Purpose::Session, secret))
            .fetch_optional(&self.db)
            .await?;
        let Some(session) = session.filter(|session| session.is_open(now)) else { return Ok(None) };
        let user = self.user_by_id(&session.user_id).await?;
        if user.disabled_at.is_some() {
            return Ok(None);
        }
        if now.saturating_sub(session.seen_at) >= SEEN_EVERY_MS {
            // Who looks at a page need not wait for that, nor see that the disk is full.
            if let Err(error) = self.touch(&session, now).await {
                tracing::warn!(%error, code = error.code(), "the use of a session could not be noted");
            }
        }
        Ok(Some((session, user)))
    }

    /// Sessions of a user that still let them in, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions_of(&self, user: &User) -> Result<Vec<Session>> {
        let now = self.clock.now_ms();
        let mut sessions: Vec<Session> =
            sql!("SELECT * FROM sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY id DESC")
                .bind(user.id.clone())
                .bind(now)
                .fetch_all(&self.db)
                .await?;
        sessions.retain(|session| session.is_open(now));
        Ok(sessions)
    }

    /// Whether a user has an open session that was opened from that address.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_signed_in_at(&self, user: &User, ip: IpAddr) -> Result<bool> {
        let ip = ip.to_string();
        Ok(self.sessions_of(user).await?.iter().any(|session| session.ip.as_ref() == Some(&ip)))
    }

    /// Ends a session; ending it twice is no error.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless it is one's own, or a server administrator asks.
    pub async fn end_session(&self, id: &str, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let session: Option<Session> =
            sql!("SELECT * FROM sessions WHERE id = $1").bind(id).fetch_optional(draft.connection()).await?;
        let Some(before) = session else {
            return Err(IndexError::NotFound { what: "session", name: id.to_owned(), hint: "" });
        };
        draft.must(&Need::User(before.user_id.clone()))?;
        if before.revoked_at.is_some() {
            return Ok(());
        }
        draft.end(&before).await?;
        draft.commit().await
    }

    /// Ends all sessions of a user but one, after a new password or on request; returns how many.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`] unless they are one's own, or a server administrator asks.
    pub async fn end_sessions(&self, user: &User, except: Option<&str>, actor: &Actor) -> Result<u64> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let open: Vec<Session> = sql!("SELECT * FROM sessions WHERE user_id = $1 AND revoked_at IS NULL")
            .bind(user.id.clone())
            .fetch_all(draft.connection())
            .await?;
        let mut ended = 0;
        for session in open.iter().filter(|session| Some(session.id.as_str()) != except) {
            draft.end(session).await?;
            ended += 1;
        }
        draft.commit_if_recorded().await?;
        Ok(ended)
    }

    /// Removes what has been over for a month; the audit trail keeps that it was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_sessions(&self) -> Result<u64> {
        let mut transaction = self.db.begin_write().await?;
        let removed = sql!("DELETE FROM sessions WHERE expires_at < $1")
            .bind(self.clock.now_ms().saturating_sub(LIFETIME_MS))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(removed)
    }

    /// Notes that a session is in use: nobody's decision, so no audit.
    async fn touch(&self, session: &Session, now: i64) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        sql!("UPDATE sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2")
            .bind(session.id.clone())
            .bind(now)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await
    }
}

impl Draft<'_> {
    async fn end(&mut self, before: &Session) -> Result<()> {
        let after = Session { revoked_at: Some(self.now()), ..before.clone() };
        sql!("UPDATE sessions SET revoked_at = $2 WHERE id = $1")
            .bind(after.id.clone())
            .bind(after.revoked_at)
            .execute(self.connection())
            .await?;
        self.record_session("session.end", Some(before), &after).await
    }

    async fn record_session(
        &mut self,
        code: &'static str,
        before: Option<&Session>,
        after: &Session,
    ) -> Result<()> {
        self.record(Entry {
            code,
            entity: "session",
            id: &after.id,
            network: None,
            before,
            after: Some(after),
        })
        .await
    }
}
