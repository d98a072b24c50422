//! Everything from one database into another, whichever of the two kinds each is.
//!
//! Rows are copied as they are, table by table in the order of their foreign keys, from one moment of the source and in
//! one transaction of the target: a copy is whole or not there. A backup of a Postgres database is such a copy, in an
//! SQLite file.

use std::path::Path;

use futures_util::TryStreamExt;
use sqlx::postgres::PgPool;

use super::migrations::{Dialect, migrations_up_to};
use super::statement::{Statement, Value};
use super::{Db, FromRow, Row, Schema, Target, Transaction, sqlite};
use crate::index::error::{IndexError, Result};

/// Every table of the schema, each after those it refers to.
pub(in crate::index) const TABLES: &[&str] = &[
    "users",
    "networks",
    "network_roles",
    "devices",
    "invites",
    "memberships",
    "invite_uses",
    "audit_events",
    "settings",
    "outbox",
    "pair_verdicts",
    "link_hours",
    "credentials",
    "sessions",
    "user_codes",
    "api_tokens",
    "api_repeats",
    "metadata",
    "member_tags",
    "invite_people",
    "user_groups",
    "group_users",
    "webhooks",
    "webhook_deliveries",
];

/// Columns that count by themselves.
const NUMBERED: [(&str, &str); 2] = [("outbox", "id"), ("metadata", "number")];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Truth,
    Bytes,
}

/// A column of a table.
struct Described {
    name: String,
    kind: Kind,
}

/// How many rows of a table were copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
}

/// Writes what a Postgres database of an older schema holds into an SQLite file beside `path`, before it is migrated.
pub(super) async fn before_migration(pool: &PgPool, path: &Path, found: i64, known: i64) -> Result<()> {
    let file = sqlite::copy_path(path, known);
    if file.exists() {
        return Ok(());
    }
    to_file(&Db::of_pool(pool.clone()), &file, found, &mut |_| {}).await?;
    tracing::info!(copy = %file.display(), "copied the database before its schema changes");
    Ok(())
}

/// Writes what a database of schema `version` holds into a new SQLite file.
pub(super) async fn to_file(
    from: &Db,
    path: &Path,
    version: i64,
    progress: &mut impl FnMut(&Copied),
) -> Result<()> {
    if path.exists() {
        return Err(IndexError::Exists(path.display().to_string()));
    }
    let partial = sqlite::with_suffix(path, ".partial");
    sqlite::remove_if_there(&partial)?;
    let file =
        sqlite::File::open(&partial, Schema::Create, &migrations_up_to(Dialect::Sqlite, version)).await?;
    let target = Db::Sqlite(file);
    let copied = all(from, &target, progress).await;
    target.close().await;
    let published = copied.and_then(|()| sqlite::publish(&partial, path));
    if published.is_err() {
        sqlite::remove_if_there(&partial)?;
    }
    published
}

/// Copies every table of `from` into the empty database `to`; both have the same schema.
pub(super) async fn all(from: &Db, to: &Db, progress: &mut impl FnMut(&Copied)) -> Result<()> {
    let mut source = from.begin_read().await?;
    let mut target = to.begin_write().await?;
    for table in TABLES {
        let (there, here) = (described(&mut source, table).await?, described(&mut target, table).await?);
        // A copy made before a migration has the tables of that time, on both sides.
        if there.is_empty() && here.is_empty() {
            continue;
        }
        if there.is_empty() || here.is_empty() {
            return Err(IndexError::State(format!(
                "only one of the databases has the table {table}; report this"
            )));
        }
        let columns = merged(there, &here);
        let rows = one(&mut source, &mut target, table, &columns).await?;
        progress(&Copied { table, rows });
    }
    if let Transaction::Postgres { .. } = &target {
        for (table, column) in NUMBERED {
            next_number(table, column).execute(&mut target).await?;
        }
    }
    target.commit().await
}

/// Postgres goes on numbering after the rows that were copied.
fn next_number(table: &str, column: &str) -> Statement {
    Statement::assembled(format!(
        "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), \
         (SELECT COALESCE(MAX({column}), 0) + 1 FROM {table}), FALSE)"
    ))
}

/// Copies one table.
async fn one(
    source: &mut Transaction,
    target: &mut Transaction,
    table: &str,
    columns: &[Described],
) -> Result<u64> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let names = names.join(", ");
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
    let insert = format!("INSERT INTO {table} ({names}) VALUES ({})", places.join(", "));
    let mut rows =
        Statement::assembled(format!("SELECT {names} FROM {table}")).stream(Target::from(source))?;
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        let mut statement = Statement::assembled(insert.clone());
        for (place, column) in columns.iter().enumerate() {
            statement = statement.bind(value(&row, place, column.kind)?);
        }
        count += statement.execute(&mut *target).await?;
    }
    Ok(count)
}

fn value(row: &Row, place: usize, kind: Kind) -> Result<Value> {
    Ok(match kind {
        Kind::Text => Value::Text(row.get(place)?),
        Kind::Integer => Value::Integer(row.get(place)?),
        Kind::Truth => Value::Truth(row.get(place)?),
        Kind::Bytes => Value::Bytes(row.get(place)?),
    })
}

/// The columns of a table, in their order; none if there is no such table.
async fn described(transaction: &mut Transaction, table: &str) -> Result<Vec<Described>> {
    let text = match transaction {
        Transaction::Sqlite(_) => "SELECT name, type FROM pragma_table_info($1) ORDER BY cid",
        Transaction::Postgres { .. } => {
            "SELECT a.attname::text, format_type(CASE WHEN t.typbasetype = 0 THEN t.oid ELSE t.typbasetype END, NULL) \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        }
    };
    Statement::new(text).bind(table).fetch_all(transaction).await
}

impl FromRow for Described {
    fn from_row(row: &Row) -> Result<Self> {
        let kind: String = row.get(1)?;
        let kind = match kind.to_ascii_lowercase().as_str() {
            "integer" | "bigint" => Kind::Integer,
            "boolean" => Kind::Truth,
            "blob" | "bytea" => Kind::Bytes,
            _ => Kind::Text,
        };
        Ok(Self { name: row.get(0)?, kind })
    }
}

/// The source's columns; what is a truth value on one side is one on both, for SQLite has integers instead.
fn merged(source: Vec<Described>, target: &[Described]) -> Vec<Described> {
    let is_truth = |name: &str| target.iter().any(|column| column.name == name && column.kind == Kind::Truth);
    source
        .into_iter()
        .map(|column| if is_truth(&column.name) { Described { kind: Kind::Truth, ..column } } else { column })
        .collect()
}
