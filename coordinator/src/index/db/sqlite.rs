//! The SQLite file: how it is created, opened and migrated.
//!
//! One connection writes and four read (WAL lets them run side by side).

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::migrations::{applied, check, failed, newest};
use super::{Schema, TURN_TIMEOUT};
use crate::index::error::{IndexError, Result};

/// How long a writer waits for another process before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What each connection keeps of the file in memory at the most: negative for KiB. A search through 100,000 devices reads 20 MB; with
/// SQLite's own 2 MB it takes twice as long.
const CACHE_KIB: &str = "-32768";

/// Connections that only read.
const READERS: u32 = 4;

/// Two pools on one file.
#[derive(Debug)]
pub(in crate::index) struct File {
    pub(super) writer: SqlitePool,
    pub(super) reader: SqlitePool,
}

impl File {
    /// Opens the file at `path`.
    pub(super) async fn open(path: &Path, schema: Schema, migrator: &Migrator) -> Result<Self> {
        let exists = path.try_exists().map_err(|error| IndexError::Denied(error.to_string()))?;
        match (schema, exists) {
            (Schema::Create, true) => return Err(IndexError::Exists(path.display().to_string())),
            (Schema::Upgrade | Schema::Require | Schema::Inspect, false) => {
                return Err(IndexError::Missing(path.to_owned()));
            }
            (Schema::Inspect, true) => return Self::inspect(path, migrator).await,
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
            .pragma("cache_size", CACHE_KIB)
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

    /// Opens a file that nobody writes to, without leaving a trace.
    async fn inspect(path: &Path, migrator: &Migrator) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .immutable(true)
            .read_only(true)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        check(Schema::Inspect, schema_version(&pool).await?, newest(migrator))?;
        Ok(Self { writer: pool.clone(), reader: pool })
    }

    /// Writes a copy of the whole database, as it is at one moment, into a new file that only its owner may read.
    pub(super) async fn copy_to(&self, copy: &Path) -> Result<()> {
        if copy.exists() {
            return Err(IndexError::Exists(copy.display().to_string()));
        }
        vacuum_into(&self.reader, copy).await
    }

    /// Lets SQLite look at every page and every reference between rows; an empty list is a sound file.
    pub(super) async fn integrity_findings(&self) -> Result<Vec<String>> {
        let mut lines: Vec<String> =
            sqlx::query_scalar("PRAGMA quick_check(20)").fetch_all(&self.reader).await?;
        lines.retain(|line| line != "ok");
        let strays: Vec<(String, String)> =
            sqlx::query_as("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 20")
                .fetch_all(&self.reader)
                .await?;
        lines.extend(
            strays.iter().map(|(table, parent)| format!("a row of {table} refers to none of {parent}")),
        );
        Ok(lines)
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
        .map_err(|error| denied(path, &error))
}

/// Compares the schema of the file with ours and migrates where that is wanted.
async fn bring_up_to(writer: &SqlitePool, path: &Path, schema: Schema, migrator: &Migrator) -> Result<()> {
    let known = newest(migrator);
    let found = schema_version(writer).await?;
    check(schema, found, known)?;
    if schema == Schema::Upgrade && found > 0 && found < known {
        copy_before(writer, path, known).await?;
    }
    migrator.run(writer).await.map_err(|error| failed(error, known))
}

/// The newest step applied to the file; 0 for an empty one.
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
    applied(&mut *connection).await
}

/// Writes a copy of the whole file beside it, before its schema changes.
async fn copy_before(writer: &SqlitePool, path: &Path, known: i64) -> Result<()> {
    let copy = copy_path(path, known);
    if copy.exists() {
        // An earlier attempt at the same migration made it; the first copy is the good one.
        return Ok(());
    }
    vacuum_into(writer, &copy).await?;
    tracing::info!(copy = %copy.display(), "copied the database before its schema changes");
    Ok(())
}

/// Writes a copy of everything into a new file, which has its name only when it is whole and on disk.
async fn vacuum_into(pool: &SqlitePool, copy: &Path) -> Result<()> {
    let partial = with_suffix(copy, ".partial");
    remove_if_there(&partial)?;
    // SQLite fills a file that is there and empty.
    create_private(&partial)?;
    let done = sqlx::query("VACUUM INTO $1").bind(partial.display().to_string()).execute(pool).await;
    let published = done.map_err(IndexError::from).and_then(|_| publish(&partial, copy));
    if published.is_err() {
        remove_if_there(&partial)?;
    }
    published
}

/// Removes what a try left, with the files that SQLite keeps beside it.
pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(denied(path, &error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Gives a whole file its name, once it is on disk.
pub(super) fn publish(partial: &Path, path: &Path) -> Result<()> {
    std::fs::File::open(partial)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(partial, path))
        .map_err(|error| denied(partial, &error))
}

fn denied(path: &Path, error: &std::io::Error) -> IndexError {
    IndexError::Denied(format!("{}: {error}", path.display()))
}

/// Where the copy made before schema `known` lies.
pub(super) fn copy_path(path: &Path, known: i64) -> PathBuf {
    with_suffix(path, &format!(".before-schema-{known}"))
}

/// A path with something behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::SqlSafeStr;
    use sqlx::migrate::{Migration, MigrationType};

    use super::super::migrations::{Dialect, migrations};
    use super::*;

    fn ours() -> Migrator {
        migrations(Dialect::Sqlite)
    }

    fn with_a_later_migration() -> Migrator {
        let mut list: Vec<Migration> = ours().iter().cloned().collect();
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
        File::open(&path, Schema::Create, &ours()).await.unwrap().close().await;

        let later = with_a_later_migration();
        File::open(&path, Schema::Upgrade, &later).await.unwrap().close().await;

        let copy = dir.path().join("lanyard.db.before-schema-9000");
        File::open(&copy, Schema::Require, &ours()).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        File::open(&path, Schema::Create, &with_a_later_migration()).await.unwrap().close().await;
        let before = std::fs::read(&path).unwrap();

        let error = File::open(&path, Schema::Upgrade, &ours()).await.unwrap_err();

        let ours = newest(&ours());
        assert!(matches!(error, IndexError::Newer { found: 9_000, known } if known == ours), "{error}");
        assert_eq!(before, std::fs::read(&path).unwrap());
    }

    #[tokio::test]
    async fn an_older_schema_is_not_touched_by_an_admin_command() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        File::open(&path, Schema::Create, &ours()).await.unwrap().close().await;

        let error = File::open(&path, Schema::Require, &with_a_later_migration()).await.unwrap_err();

        let ours = newest(&ours());
        assert!(matches!(error, IndexError::Older { found, known: 9_000 } if found == ours), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_named_as_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        std::fs::write(&path, vec![0x5A; 8_192]).unwrap();

        let error = File::open(&path, Schema::Upgrade, &ours()).await.unwrap_err();

        assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
        assert_eq!(error.code(), "index.corrupt");
    }

    #[tokio::test]
    async fn a_missing_file_says_to_run_init() {
        let dir = tempfile::tempdir().unwrap();
        let error = File::open(&dir.path().join("lanyard.db"), Schema::Upgrade, &ours()).await.unwrap_err();
        assert!(error.to_string().contains("lanyard-server init"), "{error}");
    }

    #[tokio::test]
    async fn a_locked_database_is_reported_as_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanyard.db");
        let holder = File::open(&path, Schema::Create, &ours()).await.unwrap();
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
