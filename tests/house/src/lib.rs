//! What the house rules look at: the files of the project and the graph of its crates.
//!
//! The rules themselves are the tests beside this crate (`tests/layout.rs`, `tests/imports.rs`,
//! `tests/documents.rs`). Everything here reads the tree as git sees it, so that a file that is not
//! committed, or built, is never judged.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the project.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").components().collect()
}

/// Every file git tracks, or would track, relative to [`root`], in order.
///
/// # Panics
///
/// When git is missing or the tree is not a repository: the rules cannot be judged then.
#[must_use]
pub fn files() -> Vec<String> {
    let listing = run(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]));
    let mut files: Vec<String> =
        listing.lines().filter(|name| root().join(name).is_file()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    files
}

/// The files below one of the folders `under` whose name ends with `suffix`.
#[must_use]
pub fn files_below(under: &[&str], suffix: &str) -> Vec<String> {
    files()
        .into_iter()
        .filter(|name| name.ends_with(suffix) && under.iter().any(|folder| name.starts_with(folder)))
        .collect()
}

/// The text of a file of the project.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn text(name: &str) -> String {
    match std::fs::read_to_string(root().join(name)) {
        Ok(text) => text,
        Err(error) => panic!("cannot read {name}: {error}"),
    }
}

/// The workspace as cargo describes it (`cargo metadata`, without the dependencies' own graph).
///
/// # Panics
///
/// When cargo fails.
#[must_use]
pub fn metadata() -> serde_json::Value {
    let out = run(Command::new(env!("CARGO")).current_dir(root()).args([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]));
    match serde_json::from_str(&out) {
        Ok(value) => value,
        Err(error) => panic!("cargo metadata: {error}"),
    }
}

fn run(command: &mut Command) -> String {
    match command.output() {
        Ok(done) if done.status.success() => String::from_utf8_lossy(&done.stdout).into_owned(),
        Ok(done) => panic!("{command:?} failed: {}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => panic!("{command:?}: {error}"),
    }
}
