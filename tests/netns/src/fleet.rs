//! One `lanyard-server` and some `lanyard` agents, each in its node of a lab, run by their command line.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::lab::Lab;
use crate::{journal, wait_for};

/// Where the coordinator listens in every lab: the two addresses of natlab's first server.
pub const SERVER: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)];

/// The network every fleet has from the start.
pub const NETWORK: &str = "home";

/// A coordinator with its data, the join string of its first network, and the agents that were started.
#[derive(Debug)]
pub struct Fleet {
    /// The lab all of it runs in.
    pub lab: Lab,
    /// What a device needs to join: `lanyard://203.0.113.1/home?invite=…#p=…`.
    pub join_string: String,
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    coordinator: Option<Child>,
}

/// One agent: a daemon in a host's namespace, and the command line that speaks to it.
#[derive(Debug)]
pub struct Agent {
    /// The host it runs on, and its name in the network.
    pub host: String,
    namespace: String,
    directory: PathBuf,
    settings: Vec<(String, String)>,
    /// Another build than the Makefile's.
    program: Option<PathBuf>,
    daemon: Option<Child>,
}

impl Fleet {
    /// Sets up a coordinator in node `s` of a lab, as an operator would: `init`, then `serve`.
    ///
    /// # Errors
    ///
    /// When the programs are not built, or the coordinator does not come up within 10 s.
    pub fn start(lab: Lab) -> Result<Self> {
        Self::start_with(lab, &[])
    }

    /// The same, with these variables in the environment of `serve`: settings that are not the default.
    ///
    /// # Errors
    ///
    /// As from [`Fleet::start`].
    pub fn start_with(lab: Lab, environment: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let servers = lab.server_addresses()?;
        let init = lab
            .command("s", program("lanyard-server")?)
            .arg("init")
            .args(["--public", &SERVER[0].to_string(), "--public-alt", &SERVER[1].to_string()])
            .args(["--network", NETWORK, "--dir"])
            .arg(directory.path().join("server"))
            .output()
            .context("run lanyard-server init")?;
        let said = String::from_utf8_lossy(&init.stdout).into_owned();
        ensure!(init.status.success(), "init: {said}{}", String::from_utf8_lossy(&init.stderr));
        let join_string = join_string_in(&said)?;
        let list = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // Both families, where the lab has both.
        let environment = ["LANYARD_SERVER_PUBLIC_ADDRESSES", "LANYARD_SERVER_STUN_ADDRESSES"]
            .into_iter()
            .map(|name| (name, list.as_str()))
            .chain(environment.iter().copied())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut fleet = Self { lab, join_string, directory, environment, coordinator: None };
        fleet.start_coordinator()?;
        Ok(fleet)
    }

    /// Where the coordinator and the agents keep their data and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the coordinator's process and waits until it says that it is well.
    ///
    /// # Errors
    ///
    /// When it ends, or is not well after 10 s; its log is part of the error.
    pub fn start_coordinator(&mut self) -> Result<()> {
        self.spawn_coordinator()?;
        let config = self.config();
        let lab = &self.lab;
        let doctor = program("lanyard-server")?;
        wait_for("a healthy coordinator", Duration::from_secs(10), || {
            let mut asked = lab.command("s", &doctor);
            let done = asked.arg("--config").arg(&config).arg("health").output().ok()?;
            done.status.success().then_some(())
        })
        .with_context(|| self.log("server"))
    }

    /// Starts the coordinator's process and does not wait.
    ///
    /// # Errors
    ///
    /// When the program cannot be run.
    pub fn spawn_coordinator(&mut self) -> Result<()> {
        let log = File::options().append(true).create(true).open(self.directory.path().join("server.log"))?;
        let mut command = self.lab.command("s", program("lanyard-server")?);
        command.arg("--config").arg(self.config()).arg("serve").envs(self.environment.iter().cloned());
        self.coordinator = Some(
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .context("start lanyard-server serve")?,
        );
        Ok(())
    }

    /// Ends the coordinator as a shutdown would, and waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    pub fn stop_coordinator(&mut self) -> Result<()> {
        self.coordinator.take().map_or(Ok(()), |child| stop(child, "the coordinator"))
    }

    /// Ends the coordinator as a power cut would (`kill -9`).
    pub fn kill_coordinator(&mut self) {
        if let Some(mut child) = self.coordinator.take() {
            end(&mut child);
        }
    }

    /// Runs an admin command of the coordinator and returns what it printed.
    ///
    /// # Errors
    ///
    /// When the command fails; what it said is in the error.
    pub fn admin(&self, words: &[&str]) -> Result<String> {
        let mut command = self.lab.command("s", program("lanyard-server")?);
        command.arg("--config").arg(self.config()).args(words);
        output_of(&mut command)
    }

    /// A join string with an invite for thirty devices (the first one is for five).
    ///
    /// # Errors
    ///
    /// When the coordinator's command line refuses.
    pub fn join_string_for_many(&self) -> Result<String> {
        let said = self.admin(&["invite", "add", NETWORK, "--uses", "30"])?;
        join_string_in(&said)
    }

    /// Starts an agent on `host` and joins it to the fleet's network under the host's name.
    ///
    /// # Errors
    ///
    /// When the daemon does not come up or the join is refused; the agent's log is part of the error.
    pub fn join(&self, host: &str) -> Result<Agent> {
        self.join_with(host, &[])
    }

    /// The same with settings, given as environment variables (`LANYARD_PORT`).
    ///
    /// # Errors
    ///
    /// When the daemon does not come up or the join is refused; the agent's log is part of the error.
    pub fn join_with(&self, host: &str, settings: &[(&str, &str)]) -> Result<Agent> {
        let agent = self.agent_with(host, settings)?;
        let join_string = self.join_string_on(host)?;
        agent
            .run(&["join", &join_string, "--name", host])
            .with_context(|| self.log(host))
            .with_context(|| self.log("server"))?;
        Ok(agent)
    }

    /// The join string as somebody on `host` would have it: a host without IPv4 needs the server's IPv6 address.
    fn join_string_on(&self, host: &str) -> Result<String> {
        let info = self.lab.info()?;
        let has_v4 = info["nodes"][host]["v4"].as_array().is_some_and(|own| !own.is_empty());
        let v6 = self.lab.server_addresses()?.into_iter().find(IpAddr::is_ipv6);
        let v6 = v6.filter(|_| !has_v4).map(|ip| format!("[{ip}]"));
        Ok(v6.map_or_else(
            || self.join_string.clone(),
            |v6| self.join_string.replacen(&SERVER[0].to_string(), &v6, 1),
        ))
    }

    /// Starts an agent on `host` that has joined nothing yet.
    ///
    /// # Errors
    ///
    /// When the daemon does not come up within 10 s; its log is part of the error.
    pub fn agent(&self, host: &str) -> Result<Agent> {
        self.agent_with(host, &[])
    }

    /// The same with settings, given as environment variables (`LANYARD_PORT`).
    ///
    /// # Errors
    ///
    /// When the daemon does not come up within 10 s; its log is part of the error.
    pub fn agent_with(&self, host: &str, settings: &[(&str, &str)]) -> Result<Agent> {
        // What the host's site gives besides.
        let proxy = self.lab.proxy_of(host)?;
        let proxy = proxy.iter().map(|proxy| ("HTTPS_PROXY", proxy.as_str()));
        let settings: Vec<_> = settings.iter().copied().chain(proxy).collect();
        let mut agent = Agent::new(host, &self.lab.namespace(host), self.directory.path(), &settings)?;
        agent.start().with_context(|| self.log(host))?;
        Ok(agent)
    }

    /// The last lines of a log, for an error message.
    #[must_use]
    pub fn log(&self, who: &str) -> String {
        let text =
            std::fs::read_to_string(self.directory.path().join(format!("{who}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("log of {who}:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("server").join("lanyard-server.toml")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill_coordinator();
    }
}

impl Agent {
    /// An agent that has not been started, with its state and its log below `directory`.
    ///
    /// # Errors
    ///
    /// When there is no place for its state.
    pub fn new(host: &str, namespace: &str, directory: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let directory = directory.join(host);
        std::fs::create_dir_all(&directory)?;
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(Self {
            host: host.to_owned(),
            namespace: namespace.to_owned(),
            directory,
            settings: settings.collect(),
            program: None,
            daemon: None,
        })
    }

    /// Has this build of `lanyard` run from the next start on.
    pub fn use_program(&mut self, program: &Path) {
        self.program = Some(program.to_owned());
    }

    /// Starts the daemon and waits until its socket answers.
    ///
    /// # Errors
    ///
    /// When it does not answer within 10 s.
    pub fn start(&mut self) -> Result<()> {
        let log = File::options().append(true).create(true).open(self.log_file())?;
        let mut command = self.command()?;
        if !self.settings.iter().any(|(name, _)| name == "LANYARD_LOG") {
            command.env("LANYARD_LOG", journal::LEVEL);
        }
        command.arg("daemon").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.daemon = Some(command.spawn().context("start lanyard daemon")?);
        wait_for("an agent that answers", Duration::from_secs(10), || self.run(&["status"]).ok().map(drop))
    }

    /// Ends the daemon as a power cut would (`kill -9`).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            end(&mut child);
        }
    }

    /// Ends the daemon as a shutdown would, and waits until it has saved what it knows.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |child| stop(child, &self.host))
    }

    /// Where the daemon writes its log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.directory.with_extension("log")
    }

    /// The process of the daemon.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// The network namespace the agent runs in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// `lanyard` with the options that name this agent, ready for a verb.
    ///
    /// # Errors
    ///
    /// When the program is not built.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(self.program.clone().map_or_else(|| program("lanyard"), Ok)?)
            .env("LANYARD_CONFIG", "/dev/null")
            .env("LANYARD_STATE", &self.directory)
            .env("LANYARD_SOCKET", self.directory.join("lanyard.sock"))
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs a verb and returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails; what it said is in the error.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        output_of(self.command()?.args(words))
    }

    /// Runs a verb with `--json` and reads its answer.
    ///
    /// # Errors
    ///
    /// When it fails or does not print JSON.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let said = output_of(self.command()?.arg("--json").args(words))?;
        serde_json::from_str(&said).with_context(|| format!("{words:?} printed {said}"))
    }

    /// This device's IPv4 address in the fleet's network.
    ///
    /// # Errors
    ///
    /// When the agent is not a member yet.
    pub fn address(&self) -> Result<Ipv4Addr> {
        let said = self.run(&["ip", "-4"])?;
        said.trim().parse().with_context(|| format!("`lanyard ip -4` printed {said:?}"))
    }

    /// How the agent sees `peer`: the entry of `status --json`.
    ///
    /// # Errors
    ///
    /// When the agent does not know the peer.
    pub fn peer(&self, peer: &str) -> Result<Value> {
        let status = self.json(&["status"])?;
        for network in status["networks"].as_array().into_iter().flatten() {
            for member in network["members"].as_array().into_iter().flatten() {
                if member["name"] == peer {
                    return Ok(member.clone());
                }
            }
        }
        bail!("{} does not know {peer}: {status}", self.host)
    }

    /// The kind of path to `peer` at this moment: `direct`, `relay` or `none`.
    #[must_use]
    pub fn path_to(&self, peer: &str) -> Option<String> {
        self.peer(peer).ok()?["path"]["kind"].as_str().map(str::to_owned)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of the workspace, as the Makefile built it.
///
/// # Errors
///
/// When it is not there.
pub fn program(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|path| {
        // tests run from target/debug/deps, programs from target/debug
        path.ancestors().skip(1).take(2).map(Path::to_path_buf).find(|folder| folder.join(name).is_file())
    });
    let folder =
        std::env::var_os("LANYARD_BIN_DIR").map(PathBuf::from).filter(|folder| folder.join(name).is_file());
    let folder = folder.or(beside).with_context(|| format!("{name} is not built: run `make build` first"))?;
    Ok(folder.join(name))
}

/// The join string in what a command of the coordinator printed.
///
/// # Errors
///
/// When there is none.
pub fn join_string_in(said: &str) -> Result<String> {
    let found = said
        .split(|mark: char| mark.is_whitespace() || mark == '\'')
        .find(|word| word.starts_with("lanyard://"));
    found.map(str::to_owned).with_context(|| format!("no join string in: {said}"))
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
///
/// When it fails; what it said is in the error.
pub fn output_of(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "{command:?} ended with {}: {said}{complained}", done.status);
    Ok(said.into_owned())
}

/// Tells a process to end (SIGTERM) and waits until it has.
///
/// # Errors
///
/// When it cannot be told.
fn stop(mut child: Child, who: &str) -> Result<()> {
    let told = Command::new("kill").arg(child.id().to_string()).status().context("run kill")?;
    ensure!(told.success(), "{who} cannot be told to end");
    child.wait().with_context(|| format!("wait for the end of {who}"))?;
    Ok(())
}

fn end(child: &mut Child) {
    // Both may fail only because the process has ended already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}
