//! One SQL text that both databases run, with the values of its parameters.
//!
//! Statements use `$1` parameters and the common ground of SQLite and Postgres, so there is one text for each question.
//! [`sql!`] is the only way to make one: it registers the text, and a test prepares every registered text on both
//! databases, which stands in for a check at compile time.

use std::borrow::Cow;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, ColumnIndex, Decode, Row as _, Type};

use crate::index::error::{IndexError, Result};

/// Every text that [`sql!`] made, for the test that prepares them.
#[cfg(test)]
#[linkme::distributed_slice]
#[allow(unsafe_code, reason = "the linker gathers what is registered; nothing is dereferenced")]
pub(in crate::index) static STATEMENTS: [&'static str];

/// Makes a [`Statement`] of a constant text.
macro_rules! sql {
    ($text:expr $(,)?) => {{
        const TEXT: &str = $text;
        #[cfg(test)]
        #[linkme::distributed_slice($crate::index::db::STATEMENTS)]
        #[allow(unsafe_code, reason = "the linker gathers what is registered; nothing is dereferenced")]
        static REGISTERED: &str = TEXT;
        $crate::index::db::Statement::new(TEXT)
    }};
}
pub(in crate::index) use sql;

/// A text and the values of its parameters, in their order.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run"]
pub(in crate::index) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
    /// Whether a connection keeps it prepared.
    is_kept: bool,
}

/// The value of a parameter: NULL has a type too, which Postgres asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::index) enum Value {
    Text(Option<String>),
    Integer(Option<i64>),
    Truth(Option<bool>),
    Bytes(Option<Vec<u8>>),
}

/// Declares which types a parameter may have.
macro_rules! values {
    ($($type:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value.into()))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(Into::into))
            }
        }
    )+};
}
values! { String => Text, &str => Text, i64 => Integer, bool => Truth, Vec<u8> => Bytes }

/// Where a statement runs: on any reading connection, or on that of a transaction.
#[derive(Debug)]
pub(in crate::index) enum Target<'c> {
    SqlitePool(&'c SqlitePool),
    Sqlite(&'c mut SqliteConnection),
    PostgresPool(&'c PgPool),
    Postgres(&'c mut PgConnection),
}

/// One row of an answer.
#[derive(Debug)]
pub(in crate::index) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a column can be read as: the same on both databases.
pub(in crate::index) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Column for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

/// What a row can be read as.
pub(in crate::index) trait FromRow: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When a column is missing or holds what it should not.
    fn from_row(row: &Row) -> Result<Self>;
}

impl Row {
    /// The column of that name, or at that place from 0.
    ///
    /// # Errors
    /// When it is missing or of another type.
    pub(in crate::index) fn get<T: Column>(&self, column: impl Place) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// The name of a column, or its place from 0.
pub(in crate::index) trait Place: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> {}

impl<T: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>> Place for T {}

impl Statement {
    /// See [`sql!`].
    pub(in crate::index) const fn new(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), values: Vec::new(), is_kept: true }
    }

    /// A text put together from names of our own schema, never from anything that somebody sent.
    pub(super) const fn assembled(text: String) -> Self {
        Self { text: Cow::Owned(text), values: Vec::new(), is_kept: true }
    }

    /// Gives the next parameter its value.
    pub(in crate::index) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Is not kept prepared: what is put together for one question is seldom asked again, and Postgres plans it for these values
    /// then, not for any.
    pub(in crate::index) const fn once(mut self) -> Self {
        self.is_kept = false;
        self
    }

    /// Goes on with another constant text.
    pub(in crate::index) fn then(mut self, text: &'static str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// The same; each `{name}` in the text becomes the next parameter, with the value that `value` gives that name.
    pub(in crate::index) fn then_with(mut self, text: &'static str, value: impl Fn(&str) -> Value) -> Self {
        let mut rest = text;
        while let Some((before, (name, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            self.values.push(value(name));
            let number = self.values.len();
            let whole = self.text.to_mut();
            whole.push_str(before);
            whole.push('$');
            whole.push_str(&number.to_string());
            rest = after;
        }
        self.then(rest)
    }

    /// Every row of the answer.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub(in crate::index) async fn fetch_all<T: FromRow>(
        self,
        target: impl Into<Target<'_>>,
    ) -> Result<Vec<T>> {
        self.rows(target.into()).await?.iter().map(T::from_row).collect()
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub(in crate::index) async fn fetch_optional<T: FromRow>(
        self,
        target: impl Into<Target<'_>>,
    ) -> Result<Option<T>> {
        self.rows(target.into()).await?.first().map(T::from_row).transpose()
    }

    /// The one row that such a question always has.
    ///
    /// # Errors
    /// When the database fails, or there is none.
    pub(in crate::index) async fn fetch_one<T: FromRow>(self, target: impl Into<Target<'_>>) -> Result<T> {
        self.fetch_optional(target).await?.ok_or(IndexError::Database(sqlx::Error::RowNotFound))
    }

    /// Runs it for what it does; returns how many rows that concerned.
    ///
    /// # Errors
    /// When the database fails.
    pub(in crate::index) async fn execute(self, target: impl Into<Target<'_>>) -> Result<u64> {
        Ok(match target.into() {
            Target::SqlitePool(pool) => self.on_sqlite()?.execute(pool).await?.rows_affected(),
            Target::Sqlite(connection) => self.on_sqlite()?.execute(connection).await?.rows_affected(),
            Target::PostgresPool(pool) => self.on_postgres()?.execute(pool).await?.rows_affected(),
            Target::Postgres(connection) => self.on_postgres()?.execute(connection).await?.rows_affected(),
        })
    }

    /// The rows one after the other, however many there are.
    ///
    /// # Errors
    /// When a value cannot be encoded; each row has its own result.
    pub(super) fn stream(self, target: Target<'_>) -> Result<BoxStream<'_, Result<Row>>> {
        Ok(match target {
            Target::SqlitePool(pool) => {
                self.on_sqlite()?.fetch(pool).map(|row| Ok(Row::Sqlite(row?))).boxed()
            }
            Target::Sqlite(connection) => {
                self.on_sqlite()?.fetch(connection).map(|row| Ok(Row::Sqlite(row?))).boxed()
            }
            Target::PostgresPool(pool) => {
                self.on_postgres()?.fetch(pool).map(|row| Ok(Row::Postgres(row?))).boxed()
            }
            Target::Postgres(connection) => {
                self.on_postgres()?.fetch(connection).map(|row| Ok(Row::Postgres(row?))).boxed()
            }
        })
    }

    async fn rows(self, target: Target<'_>) -> Result<Vec<Row>> {
        let sqlite = |rows: Vec<SqliteRow>| rows.into_iter().map(Row::Sqlite).collect();
        let postgres = |rows: Vec<PgRow>| rows.into_iter().map(Row::Postgres).collect();
        Ok(match target {
            Target::SqlitePool(pool) => sqlite(self.on_sqlite()?.fetch_all(pool).await?),
            Target::Sqlite(connection) => sqlite(self.on_sqlite()?.fetch_all(connection).await?),
            Target::PostgresPool(pool) => postgres(self.on_postgres()?.fetch_all(pool).await?),
            Target::Postgres(connection) => postgres(self.on_postgres()?.fetch_all(connection).await?),
        })
    }

    fn on_sqlite(self) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>> {
        Ok(sqlx::query_with(AssertSqlSafe(self.text), arguments(self.values)?).persistent(self.is_kept))
    }

    fn on_postgres(self) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>> {
        Ok(sqlx::query_with(AssertSqlSafe(self.text), arguments(self.values)?).persistent(self.is_kept))
    }
}

/// Values in the form in which a driver takes them.
fn arguments<A: Arguments>(values: Vec<Value>) -> Result<A>
where
    Option<String>: for<'t> sqlx::Encode<'t, A::Database> + Type<A::Database>,
    Option<i64>: for<'t> sqlx::Encode<'t, A::Database> + Type<A::Database>,
    Option<bool>: for<'t> sqlx::Encode<'t, A::Database> + Type<A::Database>,
    Option<Vec<u8>>: for<'t> sqlx::Encode<'t, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        match value {
            // Postgres cannot store it, and what one database refuses the other does not take either.
            Value::Text(Some(text)) if text.contains('\0') => {
                let why = "it holds a NUL character: leave it out".to_owned();
                return Err(IndexError::Invalid { what: "text", why });
            }
            Value::Text(value) => arguments.add(value),
            Value::Integer(value) => arguments.add(value),
            Value::Truth(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Answers of one column.
macro_rules! scalars {
    ($($type:ty),+) => {$(
        impl FromRow for $type {
            fn from_row(row: &Row) -> Result<Self> {
                row.get(0)
            }
        }
    )+};
}
scalars!(String, i64, bool);

impl<A: Column, B: Column> FromRow for (A, B) {
    fn from_row(row: &Row) -> Result<Self> {
        Ok((row.get(0)?, row.get(1)?))
    }
}
