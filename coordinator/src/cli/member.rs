//! `lanyard-server member list|approve|deny|remove`

use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::NetworkName;

use super::output::table;
use super::{Place, args, operator};
use crate::index::Clock;
use crate::index::memberships::{self, Verdict};
use crate::words::ago;

/// What to do with members.
#[derive(Debug, Subcommand)]
pub enum Member {
    /// List members and who waits to become one.
    List {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
        /// Those that left or were denied, too.
        #[arg(long)]
        all: bool,
    },
    /// Let a waiting or denied device in.
    Approve(Target),
    /// Turn a device down; it may not ask again until approved.
    Deny(Target),
    /// Put a member out; its tunnels are cut at once.
    Remove(Target),
}

/// One member of one network.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The network.
    #[arg(value_parser = args::network_name)]
    network: NetworkName,
    /// The device: its name in the network, its number, or its id.
    device: String,
}

impl Member {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let (target, verdict, done) = match self {
            Self::List { network, all } => {
                let members = index.members_of(&network, all).await?;
                return place
                    .output
                    .print("members", &members, || render(&members, Clock::system().now_ms()));
            }
            Self::Approve(target) => (target, Verdict::Approve, "is a member of"),
            Self::Deny(target) => (target, Verdict::Deny, "may not join"),
            Self::Remove(target) => (target, Verdict::Remove, "is out of"),
        };
        let member = index.judge_member(&target.network, &target.device, verdict, &operator()).await?;
        place.output.print("member", &member, || {
            format!("{} ({}) {done} network \"{}\"\n", member.name, member.number, member.network)
        })
    }
}

/// The table of members.
pub(super) fn render(members: &[memberships::Member], now_ms: i64) -> String {
    if members.is_empty() {
        return "no members yet: \"lanyard-server invite add NETWORK\" prints a string to join with\n"
            .to_owned();
    }
    let row = |member: &memberships::Member| {
        vec![
            member.name.to_string(),
            member.number.to_string(),
            member.ip4.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            member.state.to_string(),
            seen(member.online, member.last_seen_at, now_ms),
        ]
    };
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    table(&["DEVICE", "NUMBER", "ADDRESS", "STATE", "SEEN"], &rows)
}

/// When a device was last there.
pub(super) fn seen(online: bool, last_seen_at: Option<i64>, now_ms: i64) -> String {
    match (online, last_seen_at) {
        (true, _) => "now".to_owned(),
        (false, Some(then)) => ago(then, now_ms),
        (false, None) => "never".to_owned(),
    }
}
