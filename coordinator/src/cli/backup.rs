//! `lanyard-server backup` and `lanyard-server restore`
//!
//! A backup is a data directory: keys, settings, and the database as it was at one moment, in an SQLite file whichever
//! database the coordinator has. `restore` puts one where there is nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use lanyard_wire::keys::SymmetricKey;
use serde_json::json;

use super::output::hanging;
use super::{CONFIG_FILE, Place, db, environment};
use crate::config::Config;
use crate::debris::{Debris, unwritable};
use crate::index::{self, Clock, Index, IndexError, Location, Schema};
use crate::keys::{self, FLEET_FILE, IDENTITY_FILE};
use crate::problem::{Problem, story_of};

/// Name of the database in a backup.
const DATABASE_FILE: &str = "lanyard.db";

/// What a backup has besides settings and database; what is not there is not needed.
const FILES: [&str; 4] = [IDENTITY_FILE, FLEET_FILE, "web.crt", "web.key"];

/// Saves everything that makes this coordinator what it is.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// Directory to make for it; it will hold the server's keys.
    to: PathBuf,
}

/// Puts a backup into an empty data directory, or says whether it could be.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The backup.
    from: PathBuf,
    /// Only look whether it is whole and fits this program; nothing is changed.
    #[arg(long)]
    check: bool,
}

impl Backup {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let config = place.config()?;
        let to = std::path::absolute(&self.to).context("find the place for the backup")?;
        if to.exists() {
            let text = format!(
                "{} is there already: name a directory that is not, nothing was changed",
                to.display()
            );
            return Err(Problem::new("backup.exists", text).into());
        }
        let mut partial = to.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        if partial.exists() {
            let text =
                format!("{} is left of a backup that was broken off: remove it first", partial.display());
            return Err(Problem::new("backup.exists", text).into());
        }
        let mut debris = Debris::default();
        debris.dirs.push(partial.clone());
        keys::create_private_dir(&partial).map_err(|error| unwritable(&partial, &error))?;

        copy_files(&config.data.dir, &partial, &mut debris)?;
        copy_file(&place.config_path(), &partial.join(CONFIG_FILE), &mut debris)?;
        let database = partial.join(DATABASE_FILE);
        debris.files.push(database.clone());
        let index = place.index(&config).await?;
        index.backup(&database, &mut |copied| place.output.progress(&db::line(copied))).await?;
        index.close().await;

        std::fs::rename(&partial, &to).with_context(|| format!("name the backup {}", to.display()))?;
        debris.keep();
        let data = json!({ "dir": to });
        place.output.print("backup", &data, || {
            let note = "it holds the server's keys: whoever has it can pose as this server. \"lanyard-server restore --check\" \
                        says whether it is whole";
            format!("{} is a backup\n{}", to.display(), hanging("note  ", note))
        })
    }
}

impl Restore {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let from = std::path::absolute(&self.from).context("find the backup")?;
        let findings = examine(&from).await;
        if !findings.is_empty() {
            let text = format!("{} cannot be restored: {}", from.display(), findings.join("; "));
            return Err(Problem::new("backup.damaged", text).into());
        }
        if self.check {
            let data = json!({ "dir": from, "whole": true });
            return place.output.print("backup", &data, || format!("{} is whole\n", from.display()));
        }
        let dir = std::path::absolute(place.dir()).context("find the data directory")?;
        refuse_to_cover(&dir, &place.config_path())?;
        let settings = Config::load(&from.join(CONFIG_FILE), environment())?;
        if place.dir.is_none() && settings.data.dir != dir {
            let wanted = settings.data.dir.display();
            let text = format!(
                "the settings in the backup name the data directory {wanted}: say --dir {wanted}, or another"
            );
            return Err(Problem::new("backup.elsewhere", text).into());
        }
        let mut debris = Debris::default();
        if !dir.exists() {
            debris.dirs.push(dir.clone());
        }
        keys::create_private_dir(&dir).map_err(|error| unwritable(&dir, &error))?;
        copy_files(&from, &dir, &mut debris)?;
        copy_file(&from.join(CONFIG_FILE), &place.config_path(), &mut debris)?;
        let database = self.restore_database(place, &from, &dir, &mut debris).await?;
        debris.keep();
        let data = json!({ "dir": dir, "database": database.to_string() });
        place.output.print("restored", &data, || {
            let note = "invites that were used since the backup was made are open again: \"lanyard-server invite list\" shows \
                        them";
            format!(
                "{} is a coordinator again\n{}\nstart it:  {}\n",
                dir.display(),
                hanging("note  ", note),
                place.start_command()
            )
        })
    }

    /// Puts the database where the restored settings want it.
    async fn restore_database(
        &self,
        place: &Place,
        from: &Path,
        dir: &Path,
        debris: &mut Debris,
    ) -> anyhow::Result<Location> {
        let mut config = place.config()?;
        config.data.dir = dir.to_owned();
        let wanted = config.database()?;
        if let Location::Sqlite(file) = &wanted {
            debris.database(&wanted);
            copy_file(&from.join(DATABASE_FILE), file, debris)?;
            return Ok(wanted);
        }
        // A backup of an older program gets the schema of this one on the way.
        let way = dir.join("restore.partial");
        keys::create_private_dir(&way).map_err(|error| unwritable(&way, &error))?;
        let moved = self.move_on(place, from, &way, &wanted).await;
        std::fs::remove_dir_all(&way).with_context(|| format!("remove {}", way.display()))?;
        moved.map(|()| wanted)
    }

    async fn move_on(&self, place: &Place, from: &Path, way: &Path, wanted: &Location) -> anyhow::Result<()> {
        let file = way.join(DATABASE_FILE);
        let mut debris = Debris::default();
        copy_file(&from.join(DATABASE_FILE), &file, &mut debris)?;
        debris.keep();
        let file = Location::Sqlite(file);
        let fleet = keys::read_fleet(from)?;
        Index::open(&file, Schema::Upgrade, &fleet, Clock::system()).await?.close().await;
        Ok(index::copy(&file, wanted, &mut |copied| place.output.progress(&db::line(copied))).await?)
    }
}

/// What is wrong with a backup; nothing if it can be restored.
async fn examine(dir: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    if let Err(error) = Config::load(&dir.join(CONFIG_FILE), environment()) {
        findings.push(error.to_string());
    }
    let identity = keys::read_identity(dir);
    let fleet = keys::read_fleet(dir);
    findings.extend(identity.as_ref().err().map(story_of));
    findings.extend(fleet.as_ref().err().map(story_of));
    let log = dir.join("lanyard.db-wal");
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        findings.push(format!(
            "{} holds changes of a server that was not stopped: \"lanyard-server backup\" makes a backup that is whole",
            log.display()
        ));
    }
    // The database is looked at even if a key is missing: one list of everything that is wrong.
    let key = fleet.unwrap_or_else(|_| SymmetricKey::from_bytes([0; 32]));
    match look_into(&dir.join(DATABASE_FILE), &key).await {
        Ok(public) => {
            if identity.is_ok_and(|identity| identity.public() != public) {
                findings
                    .push(format!("{IDENTITY_FILE} is not the key of the coordinator in {DATABASE_FILE}"));
            }
        }
        Err(error) => findings.push(error.to_string()),
    }
    findings
}

/// Looks at everything in a database file; returns whose it is.
async fn look_into(path: &Path, fleet: &SymmetricKey) -> Result<lanyard_wire::keys::PublicKey, IndexError> {
    let location = Location::Sqlite(path.to_owned());
    let index = Index::open(&location, Schema::Inspect, fleet, Clock::system()).await?;
    if let Some(finding) = index.integrity_findings().await?.into_iter().next() {
        return Err(IndexError::Corrupt(finding));
    }
    let public = index.public_key().await;
    index.close().await;
    public
}

/// A coordinator that is there stays as it is.
fn refuse_to_cover(dir: &Path, settings: &Path) -> Result<(), Problem> {
    let databases = ["lanyard.db", "lanyard.db-wal", "lanyard.db-shm"];
    let files = FILES.iter().copied().chain(databases).map(|name| dir.join(name));
    let Some(there) = files.chain([settings.to_owned()]).find(|file| file.exists()) else { return Ok(()) };
    let text = format!(
        "there is a coordinator already: {} exists, and nothing was changed. Stop it and move {} away, or give another --dir",
        there.display(),
        dir.display()
    );
    Err(Problem::new("backup.covers", text))
}

fn copy_files(from: &Path, to: &Path, debris: &mut Debris) -> anyhow::Result<()> {
    for name in FILES {
        if from.join(name).exists() {
            copy_file(&from.join(name), &to.join(name), debris)?;
        }
    }
    Ok(())
}

/// Copies a file for its owner's eyes only.
fn copy_file(from: &Path, to: &Path, debris: &mut Debris) -> anyhow::Result<()> {
    let content = std::fs::read(from).map(zeroize::Zeroizing::new);
    let content = content.with_context(|| format!("read {}", from.display()))?;
    keys::write_private(to, &content).map_err(|error| unwritable(to, &error))?;
    debris.files.push(to.to_owned());
    Ok(())
}
