//! The SQLite file: how it is created, opened, migrated and read.
//!
//! One connection writes and four read (WAL lets them run side by side). Statements use `$1` parameters and the
//! common ground of SQLite and Postgres, so that the queries beside this file serve both.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqlSafeStr};

use super::error::{IndexError, Result};

/// How long a writer waits for another process before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a caller waits for its turn at the one writing connection.
///
/// Longer than the busy time-out, so that a queue behind one slow writer is not told that the file is locked.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that only read.
const READERS: u32 = 4;

/// What to do about the schema when opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// The file must not exist; it is created with the newest schema.
    Create,
    /// Bring the schema up to date; a copy of the file is made first.
    Upgrade,
    /// The schema must be the one of this program.
    Require,
}

/// Two pools on one file.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) writer: SqlitePool,
    pub(super) reader: SqlitePool,
}

/// Every migration of this program, in order.
pub(super) fn migrations() -> Migrator {
    let texts = [
        (1, "foundation", include_str!("../../../migrations/sqlite/0001_foundation.sql")),
        (2, "pair_verdicts", include_str!("../../../migrations/sqlite/0002_pair_verdicts.sql")),
        (3, "peer_relay", include_str!("../../../migrations/sqlite/0003_peer_relay.sql")),
    ];
    let list = texts.map(|(version, name, sql)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(list.into())
}

impl Backend {
    /// Opens the file at `path`.
    pub(super) async fn open(path: &Path, schema: Schema, migrator: &Migrator) -> Result<Self> {
        let exists = path.try_exists().map_err(|error| IndexError::Denied(error.to_string()))?;
        match (schema, exists) {
            (Schema::Create, true) => return Err(IndexError::Exists(path.to_owned())),
            (Schema::Upgrade | Schema::Require, false) => return Err(IndexError::Missing(path.to_owned())),
            (Schema::Create, false) | (Schema::Upgrade | Schema::Require, true) => {}
        }
        if schema == Schema::Create {
            create_private(path)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // A removal that was confirmed to an administrator survives a power cut; writes are rare enough.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .disable_statement_logging();
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TURN_TIMEOUT)
            .connect_with(options.clone())
            .await?;
        bring_up_to(&writer, path, schema, migrator).await?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(TURN_TIMEOUT)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer, reader })
    }

    /// Closes both pools; waits for what is under way.
    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Makes an empty file that only its owner may read; SQLite gives its side files the same mode.
fn create_private(path: &Path) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| IndexError::Denied(error.to_string()))
}

/// Compares the schema of the file with ours and migrates where that is wanted.
async fn bring_up_to(writer: &SqlitePool, path: &Path, schema: Schema, migrator: &Migrator) -> Result<()> {
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = schema_version(writer).await?;
    if found > known {
        return Err(IndexError::Newer { found, known });
    }
    if schema == Schema::Require && found < known {
        return Err(IndexError::Older { found, known });
    }
    if schema == Schema::Upgrade && found > 0 && found < known {
        copy_before(writer, path, known).await?;
    }
    migrator.run(writer).await.map_err(|error| migration_failed(error, known))
}

/// Tells a schema that is not ours from a database that failed meanwhile.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum that may grow; the rest is reported as it is"
)]
fn migration_failed(error: MigrateError, known: i64) -> IndexError {
    match error {
        MigrateError::VersionMismatch(version) => IndexError::Foreign(version),
        MigrateError::VersionMissing(found) => IndexError::Newer { found, known },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => IndexError::Database(sqlx::Error::Migrate(Box::new(other))),
    }
}

/// The newest migration applied to the file; 0 for an empty one.
async fn schema_version(writer: &SqlitePool) -> Result<i64> {
    let mut connection = writer.acquire().await?;
    let table: Option<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
    )
    .fetch_optional(&mut *connection)
    .await?;
    if table.is_none() {
        return Ok(0);
    }
    let applied = connection
        .list_applied_migrations("_sqlx_migrations")
        .await
        .map_err(|error| migration_failed(error, 0))?;
    Ok(applied.iter().map(|migration| migration.version).max().unwrap_or(0))
}

/// Writes a copy of the whole file beside it, before its schema changes.
async fn copy_before(writer: &SqlitePool, path: &Path, known: i64) -> Result<()> {
    let copy = copy_path(path, known);
    if copy.exists() {
        // An earlier attempt at the same migration made it; the first copy is the good one.
        return Ok(());
    }
    sqlx::query("VACUUM INTO $1").bind(copy.display().to_string()).execute(writer).await?;
    tracing::info!(copy = %copy.display(), "copied the database before its schema changes");
    Ok(())
}

/// Where the copy made before schema `known` lies.
fn copy_path(path: &Path, known: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-schema-{known}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_a_later_migration() -> Migrator {
        let mut list: Vec<Migration> = migrations().iter().cloned().collect();
        list.push(Migration::new(
            9_000,
            Cow::Borrowed("later"),
            MigrationType::Simple,
            "CREATE TABLE later (id TEXT NOT NULL PRIMARY KEY)".into_sql_str(),
            false,
        ));
        Migrator::with_migrations(list)
    }

    #[tokio::test]
    async fn an_upgrade_copies_the_database_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        Backend::open(&path, Schema::Create, &migrations()).await.unwrap().close().await;

        let later = with_a_later_migration();
        Backend::open(&path, Schema::Upgrade, &later).await.unwrap().close().await;

        let copy = dir.path().join("lanyard.db.before-schema-9000");
        Backend::open(&copy, Schema::Require, &migrations()).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        Backend::open(&path, Schema::Create, &with_a_later_migration()).await.unwrap().close().await;
        let before = std::fs::read(&path).unwrap();

        let error = Backend::open(&path, Schema::Upgrade, &migrations()).await.unwrap_err();

        assert!(matches!(error, IndexError::Newer { found: 9_000, known: 3 }), "{error}");
        assert_eq!(before, std::fs::read(&path).unwrap());
    }

    #[tokio::test]
    async fn an_older_schema_is_not_touched_by_an_admin_command() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        Backend::open(&path, Schema::Create, &migrations()).await.unwrap().close().await;

        let error = Backend::open(&path, Schema::Require, &with_a_later_migration()).await.unwrap_err();

        assert!(matches!(error, IndexError::Older { found: 3, known: 9_000 }), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_named_as_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        std::fs::write(&path, vec![0x5A; 8_192]).unwrap();

        let error = Backend::open(&path, Schema::Upgrade, &migrations()).await.unwrap_err();

        assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
        assert_eq!(error.code(), "index.corrupt");
    }

    #[tokio::test]
    async fn a_missing_file_says_to_run_init() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            Backend::open(&dir.path().join("lanyard.db"), Schema::Upgrade, &migrations()).await.unwrap_err();
        assert!(error.to_string().contains("lanyard-server init"), "{error}");
    }

    #[tokio::test]
    async fn a_locked_database_is_reported_as_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        let holder = Backend::open(&path, Schema::Create, &migrations()).await.unwrap();
        let held = holder.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();

        let impatient = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(Duration::from_millis(20))
            .connect()
            .await;
        let mut impatient = impatient.unwrap();
        let error: IndexError =
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut impatient).await.unwrap_err().into();

        assert!(matches!(error, IndexError::Locked), "{error}");
        drop(held);
    }
}
