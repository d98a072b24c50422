//! `lanyard-server db copy`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::Place;
use super::output::hanging;
use crate::index::{self, Copied, Location};
use crate::problem::Problem;

/// The database itself.
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Copy everything from one database into another, new one: "sqlite:FILE" or "postgres://USER@HOST/DATABASE". Stop the
    /// server first: what changes after the copy began is not in it.
    Copy {
        /// The database to copy.
        from: String,
        /// A file that does not exist yet, or an empty database.
        to: String,
        /// File with the password for Postgres, which only the service may read.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

impl Db {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let Self::Copy { from, to, password_file } = self;
        let (source, target) =
            (location(&from, password_file.as_deref())?, location(&to, password_file.as_deref())?);
        let mut tables = serde_json::Map::new();
        index::copy(&source, &target, &mut |copied| {
            tables.insert(copied.table.to_owned(), copied.rows.into());
            place.output.progress(&line(copied));
        })
        .await?;
        place.output.print("copied", &json!({ "to": target.to_string(), "rows": tables }), || {
            let value = match &target {
                Location::Sqlite(file) => format!("sqlite:{}", file.display()),
                Location::Postgres(url) => url.to_string(),
            };
            let settings = place.config_path();
            let next =
                format!("set data.database = \"{value}\" in {}, then start the server", settings.display());
            format!("{target} has everything\n{}", hanging("next  ", &next))
        })
    }
}

/// One line of progress.
pub(super) fn line(copied: &Copied) -> String {
    format!("{:>9}  {}", copied.rows, copied.table)
}

fn location(text: &str, password_file: Option<&Path>) -> Result<Location, Problem> {
    // The text itself is not repeated: it may hold a password.
    let wrong = |why: String| Problem::new("config.invalid", format!("one of the two databases {why}"));
    if text.is_empty() {
        return Err(wrong(
            "names no database: write \"sqlite:FILE\" or \"postgres://USER@HOST/DATABASE\"".to_owned(),
        ));
    }
    let here = std::env::current_dir().unwrap_or_default();
    let location = Location::parse(text, &here).map_err(wrong)?;
    Ok(match password_file {
        Some(file) => location.with_password_file(file),
        None => location,
    })
}
