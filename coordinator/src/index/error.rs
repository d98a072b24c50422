//! What can go wrong between a question and its answer.
//!
//! Constraints of the database are mapped to a variant where the query is; everything else about the file itself
//! (missing, locked, damaged, from a newer program) is told apart here, because each has another way out.

use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

/// Short for results of this module.
pub type Result<T> = core::result::Result<T, IndexError>;

/// Why a question has no answer or a change did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// There is no database file.
    #[error("there is no database at {}: run \"lanyard-server init\" first, or name the right --dir", .0.display())]
    Missing(PathBuf),
    /// There is one already, and it was to be created.
    #[error("there is already something in the database {0}: nothing was changed")]
    Exists(String),
    /// The Postgres database is there, and empty.
    #[error("the database {0} is empty: run \"lanyard-server init\" first, or copy another database into it")]
    Uninitialised(String),
    /// No connection to the Postgres server.
    #[error(
        "the database server cannot be reached ({0}): start it, or correct data.database in the settings"
    )]
    Unreachable(String),
    /// The Postgres server lets us not in.
    #[error("the database {database} refuses us ({why}): check its name, its user and data.password_file")]
    Refused {
        /// Its URL, without a password.
        database: String,
        /// What the server says.
        why: String,
    },
    /// No connection became free.
    #[error(
        "no connection to the database became free within 30 seconds: it is overloaded, or its server does not answer; \
         try again"
    )]
    Busy,
    /// The file is not a database or its pages contradict each other.
    #[error(
        "the database is damaged ({0}): stop lanyard-server, keep the damaged file, and put a backup in its place \
         (docs/operations.md, \"Backup and restore\")"
    )]
    Corrupt(String),
    /// A newer program has migrated the file.
    #[error(
        "the database has schema {found}, this lanyard-server knows {known}: install the newer lanyard-server again, or \
         restore the copy made before the upgrade"
    )]
    Newer {
        /// Schema found in the file.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// The running program has not migrated the file yet.
    #[error(
        "the database has schema {found}, this lanyard-server needs {known}: restart the lanyard-server service, which \
         upgrades it"
    )]
    Older {
        /// Schema found in the file.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// A migration that was applied reads differently now.
    #[error(
        "schema {0} of the database was made by another build of lanyard-server: install that build again"
    )]
    Foreign(i64),
    /// Another process keeps the write lock.
    #[error(
        "the database is locked by another program: close other programs that have it open, then try again"
    )]
    Locked,
    /// No space.
    #[error("the disk of the database is full: free some space, nothing was changed")]
    DiskFull,
    /// The file or its directory cannot be opened or written.
    #[error(
        "the database cannot be opened or written ({0}): run this as the user who owns the data directory"
    )]
    Denied(String),
    /// The named thing does not exist.
    #[error("there is no {what} \"{name}\"{hint}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// Where to look, beginning with ": ", or empty.
        hint: &'static str,
    },
    /// More than one thing answers to that name.
    #[error("\"{name}\" means more than one {what}: use its number")]
    Ambiguous {
        /// Kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The name is in use.
    #[error("there is already a {what} \"{name}\": choose another name")]
    Taken {
        /// Kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A prefix that cannot be a network's.
    #[error("the prefix {prefix} cannot be used: {why}")]
    Prefix {
        /// The prefix as given.
        prefix: String,
        /// Why not, and what would do.
        why: String,
    },
    /// No free prefix or address.
    #[error(
        "{0} has no free address: remove members (their addresses return after 30 days) or make a larger network"
    )]
    Full(String),
    /// Whoever asks may not do this.
    #[error("this is for {0}")]
    Forbidden(&'static str),
    /// A value that cannot be.
    #[error("{what} cannot be that: {why}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What would do.
        why: String,
    },
    /// What somebody looks for cannot be read.
    #[error("the query cannot be read: {0}")]
    Query(String),
    /// The thing is not in a state that allows this.
    #[error("{0}")]
    State(String),
    /// It is not any more as whoever asks saw it.
    #[error(
        "this {0} was changed meanwhile: read it again, and send the change once more if it is still right"
    )]
    Changed(&'static str),
    /// A column holds what this program cannot read.
    #[error("the database holds an unreadable value in {column} ({why}): restore a backup or report this")]
    Unreadable {
        /// Name of the column.
        column: &'static str,
        /// What the parser said.
        why: String,
    },
    /// No randomness from the operating system.
    #[error("the operating system gives no random numbers: {0}")]
    Randomness(String),
    /// Anything else the database says.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
}

impl IndexError {
    /// The stable code people and programs may rely on (docs/operations.md).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "index.missing",
            Self::Exists(_) => "index.exists",
            Self::Uninitialised(_) => "index.uninitialised",
            Self::Unreachable(_) => "index.unreachable",
            Self::Refused { .. } => "index.refused",
            Self::Busy => "index.busy",
            Self::Corrupt(_) => "index.corrupt",
            Self::Newer { .. } => "index.newer",
            Self::Older { .. } => "index.older",
            Self::Foreign(_) => "index.foreign",
            Self::Locked => "index.locked",
            Self::DiskFull => "index.disk_full",
            Self::Denied(_) => "index.denied",
            Self::NotFound { .. } => "index.not_found",
            Self::Ambiguous { .. } => "index.ambiguous",
            Self::Taken { .. } => "index.taken",
            Self::Prefix { .. } => "index.prefix",
            Self::Full(_) => "index.full",
            Self::Forbidden(_) => "index.forbidden",
            Self::Invalid { .. } => "index.invalid",
            Self::Query(_) => "index.query",
            Self::State(_) => "index.state",
            Self::Changed(_) => "index.changed",
            Self::Unreadable { .. } => "index.unreadable",
            Self::Randomness(_) => "system.randomness",
            Self::Database(_) => "index.failed",
        }
    }

    /// Whether a unique constraint was hit.
    pub(super) fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

impl From<sqlx::Error> for IndexError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Busy;
        }
        if let sqlx::Error::Io(error) = &error {
            return Self::Unreachable(error.to_string());
        }
        let Some(database) = error.as_database_error() else {
            return Self::Database(error);
        };
        let code = database.code().unwrap_or_default();
        let message = || database.message().to_owned();
        if database.try_downcast_ref::<PgDatabaseError>().is_some() {
            // PostgreSQL, appendix A: lock not available; out of disk; data or index corrupted; shutting down; insufficient privilege.
            return match code.as_ref() {
                "55P03" => Self::Busy,
                "53100" => Self::DiskFull,
                "XX001" | "XX002" => Self::Corrupt(message()),
                "57P01" | "57P02" | "57P03" => Self::Unreachable(message()),
                "42501" | "25006" => Self::Denied(message()),
                _ => Self::Database(error),
            };
        }
        // SQLite's primary result code is the low byte of the extended one (sqlite.org/rescode.html).
        match code.parse::<u32>().map_or(0, |code| code & 0xFF) {
            5 | 6 => Self::Locked,
            8 | 14 | 23 | 3 => Self::Denied(message()),
            11 | 26 => Self::Corrupt(message()),
            13 => Self::DiskFull,
            _ => Self::Database(error),
        }
    }
}

impl From<getrandom::Error> for IndexError {
    fn from(error: getrandom::Error) -> Self {
        Self::Randomness(error.to_string())
    }
}
