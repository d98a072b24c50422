//! What is wrong with the wire at the moment: nothing, a share of its datagrams lost, the direct path between the pair cut.
//!
//! Both are rules where frames arrive, at both ends. What passes between the far end and the coordinator, which is in the
//! namespace of the first, is lost like everything else, but never cut. A frame is what the wire carries in one piece: on a
//! plain veth pair that is a whole train of datagrams.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use lanyard_netns::bed::{Bed, DEVICE};

/// Where the coordinator listens: control and relay, and STUN.
const COORDINATOR_PORTS: &str = "{ 7443, 3478, 3479 }";

/// Whether the pair can reach each other without the coordinator's relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direct {
    Open,
    Cut,
}

impl Direct {
    /// The path the pair takes then, as `lanyard status` names it.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Open => "direct",
            Self::Cut => "relay",
        }
    }
}

/// Makes the wire so at both ends, in place of what it was like before.
pub(super) fn impose(bed: &Bed, direct: Direct, loss_percent: f64) -> Result<()> {
    let rules = rules(direct, loss_percent);
    for end in 0..2 {
        let mut nft = bed.command(end, "nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped());
        let mut child = nft.spawn().context("start nft")?;
        child.stdin.take().context("nft takes no rules")?.write_all(rules.as_bytes())?;
        ensure!(child.wait()?.success(), "nft refused:\n{rules}");
    }
    Ok(())
}

/// One transaction of nft: the old table goes and the new one is there at the same moment.
fn rules(direct: Direct, loss_percent: f64) -> String {
    let mut rules = Vec::new();
    if direct == Direct::Cut {
        rules.push(format!(
            "iifname \"{DEVICE}\" udp sport != {COORDINATOR_PORTS} udp dport != {COORDINATOR_PORTS} drop"
        ));
    }
    if loss_percent > 0.0 {
        let of_million = (loss_percent * 1e4).round();
        rules.push(format!("iifname \"{DEVICE}\" numgen random mod 1000000 < {of_million} drop"));
    }
    format!(
        "table inet faults\ndelete table inet faults\ntable inet faults {{\nchain arriving {{\n\
         type filter hook prerouting priority -300\n{}\n}}\n}}\n",
        rules.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_without_faults_has_no_rules_that_drop() {
        assert!(!rules(Direct::Open, 0.0).contains("drop"));
        let both = rules(Direct::Cut, 1.0);
        assert_eq!(both.matches("drop").count(), 2);
        assert!(both.contains("mod 1000000 < 10000 drop"), "{both}");
    }
}
