//! A miniature internet in network namespaces, as `tests/natlab/natlab` makes it.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

static LABS: AtomicU32 = AtomicU32::new(0);

/// A lab that is up. Dropping it kills everything inside and removes it.
#[derive(Debug)]
pub struct Lab {
    name: String,
}

/// The script that makes labs.
fn natlab() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../natlab/natlab")
}

impl Lab {
    /// Brings up a lab: `KIND:KIND…` (one site each: `ra`, `rb`… with hosts `a`, `b`…) or a TOML topology.
    ///
    /// # Errors
    ///
    /// When natlab refuses the topology, or this machine cannot make labs (not root, no nftables).
    pub fn up(topology: &str) -> Result<Self> {
        let name = format!("l{}x{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let pid = std::process::id().to_string();
        let is_text = topology.contains('[');
        let shown = if is_text { "-" } else { topology };
        let mut natlab = Command::new(natlab())
            .args(["up", "-n", &name, "--tie", &pid, shown])
            .stdin(Stdio::piped())
            .spawn()
            .context("start natlab")?;
        if let Some(mut stdin) = natlab.stdin.take().filter(|_| is_text) {
            stdin.write_all(topology.as_bytes()).context("hand natlab the topology")?;
        }
        ensure!(natlab.wait()?.success(), "natlab up {topology} failed");
        Ok(Self { name })
    }

    /// The network namespace of a node.
    #[must_use]
    pub fn namespace(&self, node: &str) -> String {
        format!("nl-{}-{node}", self.name)
    }

    /// Something happens: `reboot ra`, `rebind ra`, `newip ra`, `roam a lte`, `down a`, `set ra KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// When natlab does not know the event or the node.
    pub fn event(&self, words: &[&str]) -> Result<()> {
        let status = Command::new(natlab()).args(["event", "-n", &self.name]).args(words).status()?;
        ensure!(status.success(), "natlab event {} failed", words.join(" "));
        Ok(())
    }

    /// Every node with its addresses and NAT, as natlab tells it.
    ///
    /// # Errors
    ///
    /// When the lab is gone.
    pub fn info(&self) -> Result<Value> {
        let done = Command::new(natlab()).args(["info", "-n", &self.name]).output()?;
        ensure!(done.status.success(), "natlab info: {}", String::from_utf8_lossy(&done.stderr));
        Ok(serde_json::from_slice(&done.stdout)?)
    }

    /// The addresses of the first server: two of IPv4, and two of IPv6 where a site has that.
    ///
    /// # Errors
    ///
    /// When the lab is gone.
    pub fn server_addresses(&self) -> Result<Vec<IpAddr>> {
        let info = self.info()?;
        let server = &info["nodes"]["s"];
        let both = [&server["v4"], &server["v6"]].into_iter().filter_map(Value::as_array).flatten();
        Ok(both.filter_map(|ip| ip.as_str()?.parse().ok()).collect())
    }

    /// Packets that left a site's router by its uplink since the lab came up.
    ///
    /// # Errors
    ///
    /// When there is no such site.
    pub fn packets_out(&self, site: &str) -> Result<u64> {
        let done = Command::new("ip")
            .args(["-j", "-s", "-n", &self.namespace(site), "link", "show", "dev", "wan"])
            .output()?;
        ensure!(done.status.success(), "ip link: {}", String::from_utf8_lossy(&done.stderr));
        let links: Value = serde_json::from_slice(&done.stdout)?;
        links[0]["stats64"]["tx"]["packets"].as_u64().context("ip link shows no counters")
    }

    /// The sites of the lab that are attached to its core.
    ///
    /// # Errors
    ///
    /// When the lab is gone.
    pub fn outer_sites(&self) -> Result<Vec<String>> {
        let info = self.info()?;
        let nodes = info["nodes"].as_object().into_iter().flatten();
        Ok(nodes
            .filter(|(_, node)| node["role"] == "site" && node["via"].is_null())
            .map(|(name, _)| name.clone())
            .collect())
    }

    /// The HTTP proxy of a host's site, where that is the only way out: natlab has it on the router, port 3128.
    ///
    /// # Errors
    ///
    /// When the lab is gone.
    pub fn proxy_of(&self, host: &str) -> Result<Option<String>> {
        let info = self.info()?;
        let site = info["nodes"][host]["site"].as_str().unwrap_or_default();
        let site = &info["nodes"][site];
        let has_proxy = site["egress"].as_array().is_some_and(|out| out.iter().any(|way| way == "proxy"));
        Ok(has_proxy.then(|| format!("http://{}:3128", site["gw"].as_str().unwrap_or_default())))
    }

    /// A command that will run inside a node.
    #[must_use]
    pub fn command(&self, node: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(node)]).arg(program);
        command
    }

    /// The NAT kinds natlab knows.
    ///
    /// # Errors
    ///
    /// When natlab cannot be run.
    pub fn kinds() -> Result<Vec<String>> {
        let done = Command::new(natlab()).arg("kinds").output().context("run natlab kinds")?;
        let listing = String::from_utf8(done.stdout)?;
        Ok(listing.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let gone = Command::new(natlab()).args(["down", "-n", &self.name]).status();
        if !gone.is_ok_and(|status| status.success()) {
            #[expect(clippy::print_stderr, reason = "a test's clean-up has nobody else to tell")]
            {
                eprintln!("natlab could not take down lab {}", self.name);
            }
        }
    }
}
