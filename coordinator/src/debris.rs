//! What a command has made and removes again if it fails.

use std::path::{Path, PathBuf};

use crate::index::Location;
use crate::keys;
use crate::problem::Problem;

/// Files of a run that may yet fail; dropped without [`Debris::keep`] it removes them.
#[derive(Default)]
pub(crate) struct Debris {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) dirs: Vec<PathBuf>,
}

impl Debris {
    /// Makes a key file.
    pub(crate) fn secret(&mut self, path: &Path) -> anyhow::Result<zeroize::Zeroizing<[u8; 32]>> {
        let bytes = keys::create(path).map_err(|error| unwritable(path, &error))?;
        self.files.push(path.to_owned());
        Ok(bytes)
    }

    /// Files that are not there yet are removed again; what a Postgres server got stays there.
    pub(crate) fn database(&mut self, location: &Location) {
        let Location::Sqlite(path) = location else { return };
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            let file = PathBuf::from(name);
            if !file.exists() {
                self.files.push(file);
            }
        }
    }

    /// Nothing can fail any more.
    pub(crate) fn keep(mut self) {
        self.files.clear();
        self.dirs.clear();
    }
}

impl Drop for Debris {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
        for dir in &self.dirs {
            // Only if empty: nothing of anybody else's is ever removed.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// The error for a place one may not write to.
pub(crate) fn unwritable(path: &Path, error: &anyhow::Error) -> Problem {
    let text = format!(
        "{} cannot be made ({}): run this as root, or give a --dir you may write to",
        path.display(),
        error.root_cause()
    );
    Problem::new("init.unwritable", text)
}
