//! Two devices behind two NATs: how soon they reach each other, and by which path.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::fleet::{Agent, Fleet};
use crate::journal::{Moment, direct_at, path_changes};
use crate::lab::Lab;
use crate::wait_for;

/// What became of one pair.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From the first packet to its reply.
    pub first_reply: Duration,
    /// The path the pair settled on: `direct` or `relay`.
    pub path: String,
    /// From the first packet to the direct path at both ends, when there is one.
    pub direct_after: Option<Duration>,
    /// Packets that left each outer router meanwhile, in the order of the sites' names.
    ///
    /// All of them: probes, data by relay, and what agents say to the coordinator beside.
    pub packets: Vec<u64>,
}

/// How long a pair that could be direct is given before its path is what it is.
///
/// A plain try and a guess after it take 5 s together.
pub const PATIENCE: Duration = Duration::from_secs(7);

/// Brings up a lab, joins `a` and `b`, and lets `a` speak to `b`, which becomes direct within `patience` or never.
///
/// # Errors
///
/// When the lab, the coordinator or an agent does not come up, or no reply arrives within 5 s.
pub fn connect_pair(topology: &str, patience: Duration) -> Result<Outcome> {
    let fleet = Fleet::start(Lab::up(topology)?)?;
    let (a, b) = (fleet.join("a")?, fleet.join("b")?);
    let sites = fleet.lab.outer_sites()?;
    let count = || sites.iter().map(|site| fleet.lab.packets_out(site)).collect();
    connect_within([&a, &b], patience, count)
        .with_context(|| format!("{}\n{}\n{}", fleet.log("a"), fleet.log("b"), fleet.log("server")))
}

/// Lets `a` speak to `b` and watches the path settle; packets are not counted.
///
/// # Errors
///
/// When they do not see each other online within 5 s, or none of five echo requests is answered within a second.
pub fn connect(a: &Agent, b: &Agent) -> Result<Outcome> {
    connect_within([a, b], PATIENCE, || Ok(Vec::new()))
}

fn connect_within(
    ends: [&Agent; 2],
    patience: Duration,
    count: impl Fn() -> Result<Vec<u64>>,
) -> Result<Outcome> {
    let [a, b] = ends;
    see_each_other(a, b)?;
    let before = count()?;
    let (begun, begun_at) = (Instant::now(), Moment::now());
    let ask = || ping(a, b, Duration::from_secs(1));
    // Where links lose packets, one echo says little: with 5 % on each, one in five has no reply.
    let again = |_| (1..5).find_map(|_| ask().ok().map(|_| begun.elapsed()));
    let first_reply =
        ask().map_or_else(again, Some).with_context(|| format!("{} had no reply from {}", a.host, b.host))?;
    let mut traffic = Traffic::start(a, b)?;
    let limit = patience.saturating_sub(begun.elapsed());
    let direct = wait_for("a direct path", limit, || direct_at(ends, begun_at)).ok();
    let packets = count()?.into_iter().zip(before).map(|(after, before)| after - before).collect();
    traffic.stop();
    let path = a.path_to(&b.host).unwrap_or_default();
    // The first packet takes some tens of milliseconds to be sent, on a busy machine; then the pair gets a path.
    let first_at = path_changes(a, begun_at).first().map_or(begun_at, |change| change.at);
    let direct_after = direct.map(|at| at.since(first_at));
    Ok(Outcome { first_reply, path, direct_after, packets })
}

/// Waits until each agent sees the other online.
///
/// # Errors
///
/// When that takes more than 5 s.
pub fn see_each_other(a: &Agent, b: &Agent) -> Result<()> {
    for (one, other) in [(a, b), (b, a)] {
        wait_for(&format!("{} sees {} online", one.host, other.host), Duration::from_secs(5), || {
            one.peer(&other.host).ok()?["online"].as_bool().filter(|online| *online)
        })?;
    }
    Ok(())
}

/// Sends one echo request through the tunnel and returns the time to its reply.
///
/// # Errors
///
/// When no reply arrives within 5 s.
pub fn first_ping(a: &Agent, b: &Agent) -> Result<Duration> {
    ping(a, b, Duration::from_secs(5))
}

/// Sends one echo request through the tunnel and returns the time to its reply.
///
/// # Errors
///
/// When no reply arrives within `patience`, which counts in whole seconds.
pub fn ping(a: &Agent, b: &Agent, patience: Duration) -> Result<Duration> {
    let patience = patience.as_secs().max(1).to_string();
    let address = b.address()?;
    let done = std::process::Command::new("ip")
        .args([
            "netns",
            "exec",
            a.namespace(),
            "ping",
            "-n",
            "-c",
            "1",
            "-W",
            &patience,
            &address.to_string(),
        ])
        .output()?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let time = said.split("time=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let millis: f64 =
        time.with_context(|| format!("{} had no reply from {}: {said}", a.host, b.host))?.parse()?;
    Ok(Duration::from_secs_f64(millis / 1_000.0))
}

/// Echo requests ten times a second, so that the pair is not idle.
#[derive(Debug)]
pub struct Traffic(Child);

impl Traffic {
    /// Starts pinging `b` from `a`, for a minute at most.
    ///
    /// # Errors
    ///
    /// When `ping` cannot be run.
    pub fn start(a: &Agent, b: &Agent) -> Result<Self> {
        let address = b.address()?.to_string();
        let child = std::process::Command::new("ip")
            .args(["netns", "exec", a.namespace(), "ping", "-n", "-q", "-i", "0.1", "-c", "600", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Ends it.
    pub fn stop(&mut self) {
        // Fails only when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop();
    }
}
