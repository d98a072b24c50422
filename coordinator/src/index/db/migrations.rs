//! Every step of the schema, for both databases: `migrations/sqlite/N_name.sql` and `migrations/postgres/N_name.sql`.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::Schema;
use crate::index::error::{IndexError, Result};

/// The steps, in order: number, name, and both texts.
macro_rules! steps {
    ($(($version:literal, $name:literal, $file:literal)),+ $(,)?) => {
        const STEPS: &[Step] = &[$(Step {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../../../migrations/sqlite/", $file, ".sql")),
            postgres: include_str!(concat!("../../../../migrations/postgres/", $file, ".sql")),
        }),+];
    };
}
steps![
    (1, "foundation", "0001_foundation"),
    (2, "pair_verdicts", "0002_pair_verdicts"),
    (3, "peer_relay", "0003_peer_relay"),
    (4, "accounts", "0004_accounts"),
    (5, "api", "0005_api"),
    (6, "providers", "0006_providers"),
    (7, "links", "0007_links"),
    (8, "membership", "0008_membership"),
    (9, "webhooks", "0009_webhooks"),
    (10, "link_rates", "0010_link_rates"),
    (11, "search", "0011_search"),
];

/// One step of the schema.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Which of the two texts of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// The steps up to and with `newest` for one database.
pub(super) fn migrations_up_to(dialect: Dialect, newest: i64) -> Migrator {
    let steps = STEPS.iter().filter(|step| step.version <= newest);
    let list = steps.map(|step| {
        let text = match dialect {
            Dialect::Sqlite => step.sqlite,
            Dialect::Postgres => step.postgres,
        };
        Migration::new(
            step.version,
            Cow::Borrowed(step.name),
            MigrationType::Simple,
            text.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(list.collect())
}

/// Every step of this program for one database.
pub(super) fn migrations(dialect: Dialect) -> Migrator {
    migrations_up_to(dialect, i64::MAX)
}

/// The newest step of a list; 0 for an empty one.
pub(super) fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The newest step that a database with [`TABLE`] has.
pub(super) async fn applied(connection: &mut impl Migrate) -> Result<i64> {
    let applied = connection.list_applied_migrations(TABLE).await.map_err(|error| failed(error, 0))?;
    Ok(applied.iter().map(|migration| migration.version).max().unwrap_or(0))
}

/// Where sqlx writes which steps were taken.
pub(super) const TABLE: &str = "_sqlx_migrations";

/// Whether a database with schema `found` may be opened as `schema` wishes.
pub(super) const fn check(schema: Schema, found: i64, known: i64) -> Result<()> {
    if found > known {
        return Err(IndexError::Newer { found, known });
    }
    if matches!(schema, Schema::Require) && found < known {
        return Err(IndexError::Older { found, known });
    }
    Ok(())
}

/// Tells a schema that is not ours from a database that failed meanwhile.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum that may grow; the rest is reported as it is"
)]
pub(super) fn failed(error: MigrateError, known: i64) -> IndexError {
    match error {
        MigrateError::VersionMismatch(version) => IndexError::Foreign(version),
        MigrateError::VersionMissing(found) => IndexError::Newer { found, known },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => IndexError::Database(sqlx::Error::Migrate(Box::new(other))),
    }
}
