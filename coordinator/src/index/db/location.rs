//! Where the database is: a file, or a Postgres server.

use core::fmt;
use core::str::FromStr;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

use crate::index::error::{IndexError, Result};

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A database of a Postgres server.
    Postgres(PostgresUrl),
}

/// A URL `postgres://USER@HOST:PORT/DATABASE?PARAMETERS`, without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: String,
    password_file: Option<PathBuf>,
    /// Copies made before a migration get this name, and what they are behind it.
    copies: PathBuf,
}

impl Location {
    /// Reads `sqlite:FILE` or a Postgres URL; a relative file lies in `dir`, and nothing at all means `lanyard.db` there.
    ///
    /// # Errors
    /// What is wrong with the text, and what would do.
    pub fn parse(text: &str, dir: &Path) -> core::result::Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Sqlite(dir.join("lanyard.db")));
        }
        if let Some(file) = text.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            if file.is_empty() {
                return Err("names no file: write it as \"sqlite:lanyard.db\"".to_owned());
            }
            return Ok(Self::Sqlite(dir.join(file)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(text, dir.join("postgres")).map(Self::Postgres);
        }
        Err("must be \"sqlite:FILE\" or \"postgres://USER@HOST/DATABASE\"".to_owned())
    }

    /// The same place, with its password read from a file when it is opened; a file has none.
    #[must_use]
    pub fn with_password_file(self, file: &Path) -> Self {
        match self {
            Self::Postgres(url) => {
                Self::Postgres(PostgresUrl { password_file: Some(file.to_owned()), ..url })
            }
            Self::Sqlite(_) => self,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl PostgresUrl {
    fn parse(text: &str, copies: PathBuf) -> core::result::Result<Self, String> {
        let authority = text.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        let has_password = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
            || text.contains("password=");
        if has_password {
            return Err(
                "holds a password, which does not belong into settings: write it into a file that only the \
                        service may read, and name that in data.password_file"
                    .to_owned(),
            );
        }
        PgConnectOptions::from_str(text).map_err(|error| format!("is no Postgres URL: {error}"))?;
        Ok(Self { url: text.to_owned(), password_file: None, copies })
    }

    /// What the names of copies begin with.
    pub(super) fn copies(&self) -> &Path {
        &self.copies
    }

    /// How to connect; reads the password.
    pub(super) fn options(&self) -> Result<PgConnectOptions> {
        let refused = |why: String| IndexError::Refused { database: self.url.clone(), why };
        let options = PgConnectOptions::from_str(&self.url).map_err(|error| refused(error.to_string()))?;
        let Some(file) = &self.password_file else { return Ok(options) };
        let password = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
            refused(format!("its password cannot be read from {}: {error}", file.display()))
        })?;
        Ok(options.password(password.trim_end_matches(['\r', '\n'])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> core::result::Result<Location, String> {
        Location::parse(text, Path::new("/data"))
    }

    #[test]
    fn nothing_means_the_file_in_the_data_directory() {
        assert_eq!(parse("").unwrap(), Location::Sqlite("/data/lanyard.db".into()));
        assert_eq!(parse("sqlite:other.db").unwrap(), Location::Sqlite("/data/other.db".into()));
        assert_eq!(parse("sqlite:///srv/lanyard.db").unwrap(), Location::Sqlite("/srv/lanyard.db".into()));
    }

    #[test]
    fn a_postgres_url_is_shown_as_it_was_written() {
        for url in ["postgres://lanyard@db.example/lanyard", "postgresql:///lanyard?host=/run/postgresql"] {
            assert_eq!(parse(url).unwrap().to_string(), url);
        }
    }

    #[test]
    fn a_password_is_refused_wherever_it_stands_and_never_repeated() {
        for url in ["postgres://lanyard:s3cret@db/lanyard", "postgres:///lanyard?user=x&password=s3cret"] {
            let why = parse(url).unwrap_err();
            assert!(why.contains("data.password_file") && !why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_would_do() {
        for text in ["mysql://db/lanyard", "lanyard.db", "sqlite:"] {
            assert!(parse(text).unwrap_err().contains("sqlite:"), "{text}");
        }
    }
}
