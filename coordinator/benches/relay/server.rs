//! `lanyard-server` with RELAY alone, and the word of a checkpoint that pairs may use it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use lanyard_coordinator::keys::{self, FLEET_FILE};
use lanyard_proto::service::FleetKey;
use lanyard_wire::ids::Channel;
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::token::{Purpose, Token};
use tempfile::TempDir;

use super::session::{Session, unix};

/// Name of the process, which its identity follows from.
const NAME: &str = "bench";

/// Ticks of `/proc/PID/stat` in a second (Linux, USER_HZ).
const TICKS: u64 = 100;

/// A process that ends with this.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines of the relay's settings.
pub(crate) struct Settings(pub(crate) &'static str);

impl Settings {
    /// No limit on anything.
    pub(crate) const UNLIMITED: Self = Self("rate_bps = 0\nnetwork_bps = 0\n");
}

/// A relay at work.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Killed,
    fleet: SymmetricKey,
    _dir: TempDir,
}

impl Server {
    /// Starts it on a core and waits until it takes sessions.
    pub(crate) fn start(core: usize, settings: &Settings) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        keys::create_private_dir(dir.path())?;
        let fleet = SymmetricKey::from_bytes(*keys::create(&dir.path().join(FLEET_FILE))?);
        let port = super::free_port()?;
        let text = format!(
            "[data]\ndir = {:?}\n[services]\nrun = [\"relay\"]\nname = \"{NAME}\"\n\
             [control]\nlisten = [\"127.0.0.1:{port}\"]\n[web]\nlisten = \"\"\ntls = []\n[relay]\n{}",
            dir.path(),
            settings.0
        );
        let file = dir.path().join("settings.toml");
        std::fs::write(&file, text)?;
        let process = Command::new("taskset")
            .args(["-c", &core.to_string(), env!("CARGO_BIN_EXE_lanyard-server"), "--config"])
            .arg(&file)
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log"))?)
            .spawn()
            .context("start lanyard-server")?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let server = Self { address, process: Killed(process), fleet, _dir: dir };
        let log = server._dir.path().join("log");
        super::wait_for("relay that is ready", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("is ready"))
        })?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Two devices with sessions and a channel between them; each pair has addresses of its own.
    pub(crate) fn pair(&self, number: u16) -> anyhow::Result<(Session, Session, Channel)> {
        let key = keys::outpost_identity(&self.fleet, NAME).public();
        let [high, low] = number.to_be_bytes();
        let open = |end: u8| {
            let local = SocketAddr::from(([127, 1 + end, high, low.saturating_add(1)], 0));
            Session::open(u32::from(number) * 2 + u32::from(end), local, self.address, &key)
        };
        let (mut left, right) = (open(0)?, open(1)?);
        let channel = Channel::new(u64::from(number) + 1).context("a channel")?;
        let expires_s = u32::try_from(unix().as_secs())? + 3_600;
        let key = FleetKey::from_bytes(*self.fleet.as_bytes()).token_key();
        left.bind(Token::grant(&key, Purpose::Relay, left.id, right.id, channel.value(), expires_s))?;
        Ok((left, right, channel))
    }
}

/// Processor time that a process has used, in user space and in the kernel.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold blanks; user and system time are the twelfth and thirteenth after it.
    let (_, rest) = stat.rsplit_once(')').context("a line of /proc/PID/stat")?;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|text| text.parse().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 1_000 / TICKS))
}
