//! The database: SQLite or Postgres, behind one way to ask.
//!
//! A [`Statement`] is one text for both. What differs lies in this module: opening, locking, migrating, copying.

mod copy;
mod location;
mod migrations;
mod postgres;
mod sqlite;
mod statement;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, Postgres};
use sqlx::sqlite::Sqlite;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

pub use self::copy::Copied;
#[cfg(test)]
pub(super) use self::copy::TABLES;
pub use self::location::{Location, PostgresUrl};
use self::migrations::{Dialect, migrations, newest};
#[cfg(test)]
pub(super) use self::statement::STATEMENTS;
pub(super) use self::statement::{FromRow, Row, Statement, Target, Value, sql};
use super::error::{IndexError, Result};

/// How long a caller waits for a connection, or for its turn at SQLite's one writing connection.
///
/// Longer than SQLite's busy time-out, so that a queue behind one slow writer is not told that the file is locked.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// The key of the advisory lock that changes take on Postgres: "lanyard" in ASCII.
const CHANGE_LOCK: i64 = 0x6C_616E_7961_7264;

/// What to do about the schema when opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// There must be none; the newest is made.
    Create,
    /// Bring the schema up to date; a copy of everything is made first.
    Upgrade,
    /// The schema must be the one of this program.
    Require,
    /// The schema may be an older one; nothing is changed, not even a file beside the database.
    Inspect,
}

/// An open database.
#[derive(Debug)]
pub(super) enum Db {
    Sqlite(sqlite::File),
    Postgres(Server),
}

/// A Postgres database.
#[derive(Debug)]
pub(super) struct Server {
    pool: PgPool,
    /// Whose turn it is to change something: only one waits for the lock with a connection, the rest of the pool reads.
    turn: Arc<Mutex<()>>,
}

/// A transaction of either database; dropped, it leaves no trace.
#[derive(Debug)]
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres { transaction: sqlx::Transaction<'static, Postgres>, turn: Option<OwnedMutexGuard<()>> },
}

/// Copies everything from one database into another, which must be new; `progress` hears of each table that is done.
///
/// # Errors
/// [`IndexError::Exists`] when there is something in the other; otherwise what either database says. A copy that failed
/// leaves nothing behind but an empty schema on Postgres.
pub async fn copy(from: &Location, to: &Location, progress: &mut impl FnMut(&Copied)) -> Result<()> {
    let source = Db::open(from, Schema::Require).await?;
    match to {
        Location::Sqlite(path) => {
            copy::to_file(&source, path, newest(&migrations(Dialect::Sqlite)), progress).await?;
        }
        Location::Postgres(_) => {
            let target = Db::open(to, Schema::Create).await?;
            copy::all(&source, &target, progress).await?;
            target.close().await;
        }
    }
    source.close().await;
    Ok(())
}

impl Db {
    /// Opens the database at `location`.
    pub(super) async fn open(location: &Location, schema: Schema) -> Result<Self> {
        Ok(match location {
            Location::Sqlite(path) => {
                Self::Sqlite(sqlite::File::open(path, schema, &migrations(Dialect::Sqlite)).await?)
            }
            Location::Postgres(url) => {
                let pool = postgres::open(url, schema, &migrations(Dialect::Postgres)).await?;
                Self::of_pool(pool)
            }
        })
    }

    /// A new database with the schema as it once was.
    #[cfg(test)]
    pub(super) async fn of_schema(location: &Location, version: i64) -> Result<Self> {
        use self::migrations::migrations_up_to;
        Ok(match location {
            Location::Sqlite(path) => {
                let steps = migrations_up_to(Dialect::Sqlite, version);
                Self::Sqlite(sqlite::File::open(path, Schema::Create, &steps).await?)
            }
            Location::Postgres(url) => {
                let steps = migrations_up_to(Dialect::Postgres, version);
                Self::of_pool(postgres::open(url, Schema::Create, &steps).await?)
            }
        })
    }

    /// A Postgres database behind an open pool.
    fn of_pool(pool: PgPool) -> Self {
        Self::Postgres(Server { pool, turn: Arc::default() })
    }

    /// A transaction that sees one moment, however long it lasts.
    pub(super) async fn begin_read(&self) -> Result<Transaction> {
        Ok(match self {
            // WAL does that by itself.
            Self::Sqlite(file) => Transaction::Sqlite(file.reader.begin().await?),
            Self::Postgres(server) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Transaction::Postgres { transaction: server.pool.begin_with(begin).await?, turn: None }
            }
        })
    }

    /// A transaction that changes something: nobody else changes anything until it ends.
    ///
    /// SQLite has one writer. On Postgres a lock of ours makes it so: what a change reads stays true until it is
    /// written (a free address, an unused invite), and numbers of the outbox appear in their order, which a reader's
    /// cursor relies on. Changes are few and short; `docs/design/index.md` has the reasons.
    pub(super) async fn begin_write(&self) -> Result<Transaction> {
        Ok(match self {
            Self::Sqlite(file) => Transaction::Sqlite(file.writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(server) => {
                let turn = timeout(TURN_TIMEOUT, Arc::clone(&server.turn).lock_owned()).await;
                let turn = turn.map_err(|_| IndexError::Busy)?;
                let mut transaction = server.pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)")
                    .bind(CHANGE_LOCK)
                    .execute(&mut *transaction)
                    .await?;
                Transaction::Postgres { transaction, turn: Some(turn) }
            }
        })
    }

    /// Writes everything, as it is at one moment, into a new SQLite file.
    pub(super) async fn backup(&self, path: &Path, progress: &mut impl FnMut(&Copied)) -> Result<()> {
        match self {
            Self::Sqlite(file) => file.copy_to(path).await,
            Self::Postgres(_) => {
                copy::to_file(self, path, newest(&migrations(Dialect::Postgres)), progress).await
            }
        }
    }

    /// Looks whether what is stored is sound; an empty list is good.
    pub(super) async fn integrity_findings(&self) -> Result<Vec<String>> {
        match self {
            Self::Sqlite(file) => file.integrity_findings().await,
            // Whoever runs the server has its checksums; what can be read is read by `copy`.
            Self::Postgres(_) => Ok(Vec::new()),
        }
    }

    /// Closes every connection; waits for what is under way.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(server) => server.pool.close().await,
        }
    }
}

impl Transaction {
    /// Makes it permanent.
    pub(super) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres { transaction, turn } => {
                transaction.commit().await?;
                drop(turn);
            }
        }
        Ok(())
    }
}

/// Any connection that reads.
impl<'c> From<&'c Db> for Target<'c> {
    fn from(db: &'c Db) -> Self {
        match db {
            Db::Sqlite(file) => Target::SqlitePool(&file.reader),
            Db::Postgres(server) => Target::PostgresPool(&server.pool),
        }
    }
}

impl<'c> From<&'c mut Transaction> for Target<'c> {
    fn from(transaction: &'c mut Transaction) -> Self {
        match transaction {
            Transaction::Sqlite(transaction) => Target::Sqlite(transaction),
            Transaction::Postgres { transaction, .. } => Target::Postgres(transaction),
        }
    }
}
