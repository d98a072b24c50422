//! Where everything is measured: two network namespaces joined by one veth pair, and nothing else in them.
//!
//! The kernel hands a UDP train over a veth pair in one piece, as no wire does: that flatters whoever sends trains. The
//! second [`Link`] has it cut before it crosses, like a network card without segmentation of its own, and joined
//! again behind, as drivers do (GRO).

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::fleet::output_of;

/// The two ends of the wire; benchmarking addresses (RFC 2544) are no device's own.
pub const UNDERLAY: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 2)];
/// The end of the veth pair, in both namespaces.
pub const DEVICE: &str = "wire";
/// What the names of our namespaces begin with; the number of the process follows.
const PREFIX: &str = "lybed";

/// What the wire between the two is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A veth pair as the kernel makes it.
    Veth,
    /// One that takes datagrams of UDP singly.
    NicLike,
}

/// The two namespaces. Gone when dropped.
#[derive(Debug)]
pub struct Bed {
    namespaces: [String; 2],
}

impl Link {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Veth, Self::NicLike];

    /// What it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::NicLike => "nic-like",
        }
    }
}

impl Bed {
    /// Makes both namespaces and the wire between them.
    ///
    /// # Errors
    ///
    /// When this machine cannot (not root, no `ethtool`).
    pub fn make(link: Link) -> Result<Self> {
        remove_leftovers();
        let own = std::process::id();
        let bed = Self { namespaces: ["a", "b"].map(|end| format!("{PREFIX}{own}-{end}")) };
        let [a, b] = &bed.namespaces;
        for namespace in [a, b] {
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        ip(&format!("-n {a} link add name {DEVICE} type veth peer name {DEVICE} netns {b}"))?;
        for (namespace, address) in bed.namespaces.iter().zip(UNDERLAY) {
            ip(&format!("-n {namespace} addr add {address}/24 dev {DEVICE}"))?;
            ip(&format!("-n {namespace} link set {DEVICE} up"))?;
            if link == Link::NicLike {
                let mut ethtool = in_namespace(namespace, "ethtool");
                ethtool.args(["-K", DEVICE, "tx-udp-segmentation", "off", "gro", "on"]);
                output_of(&mut ethtool).context("make the wire like that of a network card")?;
            }
        }
        Ok(bed)
    }

    /// The name of an end's namespace: 0 or 1.
    #[must_use]
    pub fn namespace(&self, end: usize) -> &str {
        self.namespaces.get(end).map_or("", String::as_str)
    }

    /// A command that will run at an end.
    #[must_use]
    pub fn command(&self, end: usize, program: impl AsRef<OsStr>) -> Command {
        in_namespace(self.namespace(end), program)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            // Not there when making it failed half-way.
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

fn in_namespace(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Removes namespaces of a run that was killed before it could.
fn remove_leftovers() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn ip(words: &str) -> Result<()> {
    output_of(Command::new("ip").args(words.split(' '))).map(drop)
}
