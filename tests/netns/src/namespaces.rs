//! Network namespaces that a bench makes for itself, and what runs in them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::fleet::output_of;

/// Network namespaces of one run, each with its loopback interface up. Gone when dropped.
#[derive(Debug)]
pub struct Namespaces(Vec<String>);

impl Namespaces {
    /// Makes one for each name, and removes those of runs that were killed before they could.
    ///
    /// `prefix` is what all of the bench's namespaces begin with; the number of the process follows.
    ///
    /// # Errors
    ///
    /// When this machine makes none (needs root).
    pub fn make(prefix: &str, names: impl IntoIterator<Item = String>) -> Result<Self> {
        remove_leftovers(prefix);
        let own = std::process::id();
        let mut made = Self(Vec::new());
        for name in names {
            let namespace = format!("{prefix}{own}-{name}");
            ip(&format!("netns add {namespace}"))?;
            made.0.push(namespace.clone());
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(made)
    }

    /// The full name of one, by its place; empty behind the last.
    #[must_use]
    pub fn name(&self, place: usize) -> &str {
        self.0.get(place).map_or("", String::as_str)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in &self.0 {
            // Not there when somebody else removed it.
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

fn remove_leftovers(prefix: &str) {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

/// A command that will run in a namespace.
#[must_use]
pub fn in_namespace(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Runs `ip` with these words.
///
/// # Errors
///
/// When it fails; what it said is in the error.
pub fn ip(words: &str) -> Result<()> {
    output_of(Command::new("ip").args(words.split(' '))).map(drop)
}
