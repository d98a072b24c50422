//! A `lanyard-server` in a namespace of a bench: set up as an operator would, well, and gone when dropped.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::fleet::{NETWORK, join_string_in, output_of, program};
use crate::namespaces::in_namespace;
use crate::wait_for;

/// A running coordinator, and a place for what else the bench writes.
#[derive(Debug)]
pub struct Coordinator {
    /// What a device needs to join its network; good for five.
    pub join_string: String,
    namespace: String,
    config: PathBuf,
    process: Child,
    directory: tempfile::TempDir,
}

impl Coordinator {
    /// Starts one that has this address in this namespace, and waits until it is well. Settings are environment variables.
    ///
    /// # Errors
    ///
    /// When the program is not built, or is not well after 10 s.
    pub fn start(namespace: &str, address: Ipv4Addr, settings: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let place = directory.path().join("server");
        let server = program("lanyard-server")?;
        let mut init = in_namespace(namespace, &server);
        init.args(["init", "--public", &address.to_string(), "--network", NETWORK, "--dir"]).arg(&place);
        let join_string = join_string_in(&output_of(&mut init)?)?;
        let config = place.join("lanyard-server.toml");
        let log = File::create(directory.path().join("server.log"))?;
        let mut serve = in_namespace(namespace, &server);
        serve.arg("--config").arg(&config).arg("serve").envs(settings.iter().copied());
        serve.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = serve.spawn().context("start lanyard-server serve")?;
        let coordinator = Self { join_string, namespace: namespace.to_owned(), config, process, directory };
        wait_for("a healthy coordinator", Duration::from_secs(10), || {
            coordinator.admin(&["health"]).ok().map(drop)
        })?;
        Ok(coordinator)
    }

    /// Where it and the bench keep their data and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Leaves what is in [`Coordinator::directory`] there, for somebody to read.
    pub fn keep_directory(&mut self) {
        self.directory.disable_cleanup(true);
    }

    /// Runs one of its commands and returns what it printed.
    ///
    /// # Errors
    ///
    /// When the command fails; what it said is in the error.
    pub fn admin(&self, words: &[&str]) -> Result<String> {
        let mut command = in_namespace(&self.namespace, program("lanyard-server")?);
        output_of(command.arg("--config").arg(&self.config).args(words))
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
