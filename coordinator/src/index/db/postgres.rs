//! The Postgres database: how it is opened and migrated.
//!
//! The server belongs to somebody else: it is reached by URL, the database exists and is ours alone. One pool serves
//! readers and writers; changes take turns all the same (see [`super::Db::begin_write`]).

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use super::location::PostgresUrl;
use super::migrations::{TABLE, applied, check, failed, newest};
use super::{Schema, TURN_TIMEOUT, copy};
use crate::index::error::{IndexError, Result};

/// Connections of one process.
const CONNECTIONS: u32 = 8;

/// How long a statement waits for a lock that somebody else has, in milliseconds.
const LOCK_TIMEOUT_MS: &str = "30000";

/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the database behind `url`.
pub(super) async fn open(url: &PostgresUrl, schema: Schema, migrator: &Migrator) -> Result<PgPool> {
    let options = url
        .options()?
        .application_name("lanyard-server")
        .options([("lock_timeout", LOCK_TIMEOUT_MS)])
        .disable_statement_logging();
    // The pool would retry until its time is up and not say why.
    let first = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
    let mut first = first
        .map_err(|_| IndexError::Unreachable("it did not answer within 10 seconds".to_owned()))?
        .map_err(|error| not_open(url, error))?;
    let found = schema_version(&mut first).await?;
    match schema {
        Schema::Create if found > 0 && is_in_use(&mut first).await? => {
            return Err(IndexError::Exists(url.to_string()));
        }
        Schema::Upgrade | Schema::Require | Schema::Inspect if found == 0 => {
            return Err(IndexError::Uninitialised(url.to_string()));
        }
        Schema::Create | Schema::Upgrade | Schema::Require | Schema::Inspect => {}
    }
    first.close().await?;
    let known = newest(migrator);
    check(schema, found, known)?;
    let pool = pool(options).await?;
    if schema == Schema::Upgrade && found < known {
        copy::before_migration(&pool, url.copies(), found, known).await?;
    }
    if schema == Schema::Inspect {
        return Ok(pool);
    }
    migrator.run(&pool).await.map_err(|error| failed(error, known))?;
    Ok(pool)
}

async fn pool(options: PgConnectOptions) -> Result<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(TURN_TIMEOUT)
        .connect_with(options)
        .await?)
}

/// The newest step applied to the database; 0 for an empty one.
async fn schema_version(connection: &mut PgConnection) -> Result<i64> {
    let has_table: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(TABLE)
        .fetch_one(&mut *connection)
        .await?;
    if has_table { applied(connection).await } else { Ok(0) }
}

/// Whether anything was ever written into a database that has our schema.
///
/// A copy that failed leaves the schema alone, and may be tried again.
async fn is_in_use(connection: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM settings)").fetch_one(connection).await?)
}

/// Why there is no connection, with the way out.
fn not_open(url: &PostgresUrl, error: sqlx::Error) -> IndexError {
    // Class 28: invalid authorization; 3D000: no such database; 42501: no privilege (PostgreSQL, appendix A).
    let is_refusal = error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code.starts_with("28") || code == "3D000" || code == "42501");
    match error.as_database_error() {
        Some(database) if is_refusal => {
            IndexError::Refused { database: url.to_string(), why: database.message().to_owned() }
        }
        Some(_) => error.into(),
        None => IndexError::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::migrations::{Dialect, migrations, migrations_up_to};
    use super::super::{Location, sqlite};
    use super::*;

    #[tokio::test]
    async fn an_upgrade_copies_the_database_into_a_file_first() {
        let dir = tempfile::tempdir().unwrap();
        let url = lanyard_postgres::server().database().unwrap();
        let Location::Postgres(url) = Location::parse(&url, dir.path()).unwrap() else { panic!("{url}") };
        let old = open(&url, Schema::Create, &migrations_up_to(Dialect::Postgres, 3)).await.unwrap();
        sqlx::query("INSERT INTO settings (key, value) VALUES ('kept', 'so')").execute(&old).await.unwrap();
        old.close().await;
        let error = open(&url, Schema::Require, &migrations(Dialect::Postgres)).await.unwrap_err();
        let ours = newest(&migrations(Dialect::Postgres));
        assert!(matches!(error, IndexError::Older { found: 3, known } if known == ours), "{error}");

        open(&url, Schema::Upgrade, &migrations(Dialect::Postgres)).await.unwrap().close().await;

        let error = open(&url, Schema::Upgrade, &migrations_up_to(Dialect::Postgres, 3)).await.unwrap_err();
        assert!(matches!(error, IndexError::Newer { found, known: 3 } if found == ours), "{error}");
        let path = dir.path().join(format!("postgres.before-schema-{ours}"));
        let copy =
            sqlite::File::open(&path, Schema::Require, &migrations_up_to(Dialect::Sqlite, 3)).await.unwrap();
        let kept: String = sqlx::query_scalar("SELECT value FROM settings WHERE key = 'kept'")
            .fetch_one(&copy.reader)
            .await
            .unwrap();
        assert_eq!(kept, "so");
        // The file becomes one of this program's schema like any other.
        copy.close().await;
        sqlite::File::open(&path, Schema::Upgrade, &migrations(Dialect::Sqlite)).await.unwrap().close().await;
    }
}
