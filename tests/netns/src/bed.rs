//! Where everything is measured: two network namespaces joined by one veth pair, and nothing else in them.
//!
//! The kernel hands a UDP train over a veth pair in one piece, as no wire does: that flatters whoever sends trains. The
//! second [`Link`] has it cut before it crosses, like a network card without segmentation of its own, and joined
//! again behind, as drivers do (GRO).

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::fleet::output_of;
use crate::namespaces::{Namespaces, in_namespace, ip};

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
    namespaces: Namespaces,
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
        let bed = Self { namespaces: Namespaces::make(PREFIX, ["a", "b"].map(str::to_owned))? };
        let [a, b] = [0, 1].map(|end| bed.namespace(end));
        ip(&format!("-n {a} link add name {DEVICE} type veth peer name {DEVICE} netns {b}"))?;
        for (namespace, address) in [a, b].into_iter().zip(UNDERLAY) {
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
        self.namespaces.name(end)
    }

    /// A command that will run at an end.
    #[must_use]
    pub fn command(&self, end: usize, program: impl AsRef<OsStr>) -> Command {
        in_namespace(self.namespace(end), program)
    }
}
