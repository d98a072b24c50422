//! INDEX: every question and change of permanent data.
//!
//! One function per question, named for it. A change, its audit row, its revision and its outbox row are one
//! transaction (`draft`); who keeps a copy in memory follows the [`outbox`]. Nothing outside this module speaks
//! SQL, and nothing in it knows a socket. The command line and the running server call the same functions, from two
//! processes on one file.

pub mod addresses;
pub mod audit;
mod backend;
pub mod devices;
mod draft;
pub mod error;
pub mod invites;
pub mod join;
pub mod memberships;
pub mod networks;
pub mod outbox;
pub mod settings;
pub mod text;
mod ulid;
pub mod verdicts;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lanyard_wire::keys::{SymmetricKey, derive_key};
use tokio::sync::Notify;

pub use self::audit::Actor;
pub use self::backend::Schema;
use self::backend::{Backend, migrations};
pub use self::error::{IndexError, Result};

/// The permanent data of one coordinator.
#[derive(Debug)]
pub struct Index {
    backend: Backend,
    clock: Clock,
    code_key: SymmetricKey,
    changed: Notify,
}

impl Index {
    /// Opens the database at `path`.
    ///
    /// `fleet` is the coordinator's fleet key: the key under which one-time codes are hashed is derived from it.
    ///
    /// # Errors
    /// An [`IndexError`] that tells a missing, damaged, locked, newer or unwritable file apart.
    pub async fn open(path: &Path, schema: Schema, fleet: &SymmetricKey, clock: Clock) -> Result<Self> {
        let backend = Backend::open(path, schema, &migrations()).await?;
        Ok(Self {
            backend,
            clock,
            code_key: derive_key(fleet, b"lanyard codes", &[]),
            changed: Notify::new(),
        })
    }

    /// Waits for what is under way and closes the file.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// Asks the database whether it answers at all.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.backend.reader).await?;
        Ok(())
    }

    /// Lets SQLite look at every page; an empty list is a sound file.
    ///
    /// # Errors
    /// When the file cannot be read at all.
    pub async fn integrity_findings(&self) -> Result<Vec<String>> {
        let mut lines: Vec<String> =
            sqlx::query_scalar("PRAGMA quick_check(20)").fetch_all(&self.backend.reader).await?;
        lines.retain(|line| line != "ok");
        Ok(lines)
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
