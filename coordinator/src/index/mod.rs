//! INDEX: every question and change of permanent data.
//!
//! One function per question, named for it. A change, its audit row, its revision and its outbox row are one
//! transaction (`draft`); who keeps a copy in memory follows the [`outbox`]. Nothing outside this module speaks
//! SQL, and nothing in it knows a socket. The command line and the running server call the same functions, from two
//! processes on one database.

pub mod addresses;
pub mod audit;
pub mod authority;
pub mod credentials;
mod db;
pub mod devices;
mod draft;
pub mod edits;
pub mod error;
pub mod factors;
pub mod flow;
pub mod groups;
pub mod identities;
pub mod invites;
pub mod join;
pub mod links;
pub mod lists;
pub mod memberships;
pub mod metadata;
pub mod networks;
pub mod outbox;
pub mod passkeys;
pub mod query;
pub mod redeem;
pub mod repeats;
pub mod retry;
pub mod roles;
pub mod secrets;
pub mod sessions;
pub mod settings;
pub mod text;
pub mod tokens;
pub mod totp;
mod ulid;
pub mod users;
pub mod verdicts;
pub mod version;
pub mod webhooks;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lanyard_wire::keys::{SymmetricKey, derive_key};
use tokio::sync::{Notify, broadcast};

pub use self::audit::Actor;
pub use self::db::{Copied, Location, PostgresUrl, Schema, copy};
use self::db::{Db, sql};
pub use self::error::{IndexError, Result};
use self::networks::NetworksBy;

/// The permanent data of one coordinator.
#[derive(Debug)]
pub struct Index {
    db: Db,
    clock: Clock,
    ids: ulid::Ids,
    code_key: SymmetricKey,
    pepper: SymmetricKey,
    vault: SymmetricKey,
    changed: Notify,
    published: broadcast::Sender<outbox::Published>,
    flow: flow::Flow,
    answers: SymmetricKey,
    versions: SymmetricKey,
    networks_by: NetworksBy,
}

impl Index {
    /// Opens the database.
    ///
    /// `fleet` is the coordinator's fleet key: the keys under which codes are hashed and secrets sealed are derived from it.
    ///
    /// # Errors
    /// An [`IndexError`] that tells a missing, damaged, locked, newer, unwritable or unreachable database apart.
    pub async fn open(
        location: &Location,
        schema: Schema,
        fleet: &SymmetricKey,
        clock: Clock,
    ) -> Result<Self> {
        let db = Db::open(location, schema).await?;
        Ok(Self {
            db,
            clock,
            ids: ulid::Ids::default(),
            code_key: derive_key(fleet, b"lanyard codes", &[]),
            pepper: derive_key(fleet, b"lanyard passwords", &[]),
            vault: derive_key(fleet, b"lanyard vault", &[]),
            changed: Notify::new(),
            published: broadcast::channel(outbox::BACKLOG).0,
            flow: flow::Flow::default(),
            answers: derive_key(fleet, b"lanyard answers", &[]),
            versions: derive_key(fleet, b"lanyard versions", &[]),
            networks_by: NetworksBy::Admins,
        })
    }

    /// The same, where these make networks.
    #[must_use]
    pub fn with_networks_by(self, networks_by: NetworksBy) -> Self {
        Self { networks_by, ..self }
    }

    /// Who makes networks.
    #[must_use]
    pub const fn networks_by(&self) -> NetworksBy {
        self.networks_by
    }

    /// Waits for what is under way and closes the database.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Writes everything, as it is at one moment, into a new SQLite file that only its owner may read; `progress` hears
    /// of each table of a Postgres database that is done.
    ///
    /// # Errors
    /// [`IndexError::Exists`] when there is such a file, or when the database fails.
    pub async fn backup(&self, path: &Path, progress: &mut impl FnMut(&Copied)) -> Result<()> {
        self.db.backup(path, progress).await
    }

    /// The time by the clock of this index, epoch milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Asks the database whether it answers at all.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sql!("SELECT 1").execute(&self.db).await.map(drop)
    }

    /// Looks whether what is stored is sound; an empty list is good.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn integrity_findings(&self) -> Result<Vec<String>> {
        self.db.integrity_findings().await
    }
}

/// Wall time in epoch milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    fixed: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The operating system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { fixed: None }
    }

    /// A clock that shows what the caller stores in it.
    #[must_use]
    pub const fn fixed(time: Arc<AtomicI64>) -> Self {
        Self { fixed: Some(time) }
    }

    /// The time now.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        if let Some(fixed) = &self.fixed {
            return fixed.load(Ordering::Relaxed);
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}
