//! `lanyard-server member list|approve|deny|remove|suspend|resume|set`

use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::{DeviceName, NetworkName};

use super::args::{End, Tags};
use super::output::table;
use super::{Place, args, operator};
use crate::index::Clock;
use crate::index::edits::MemberWishes;
use crate::index::memberships::{self, Verdict};
use crate::words::{ago, span};

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
    /// Switch a member off for now; it keeps its name and addresses.
    Suspend(Target),
    /// Switch a member on again.
    Resume(Target),
    /// Change what is said of a member.
    #[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
    Set {
        /// Which one.
        #[command(flatten)]
        target: Target,
        /// Its name in the network.
        #[arg(long, group = "change")]
        name: Option<DeviceName>,
        /// Its tags, all of them: nas,build; "" for none.
        #[arg(long, group = "change", value_name = "TAGS", value_parser = args::tags)]
        tags: Option<Tags>,
        /// When it ends by itself: 90s, 30m, 24h or 7d from now, or never.
        #[arg(long, group = "change", value_name = "TIME", value_parser = args::end)]
        expires: Option<End>,
    },
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
            Self::Suspend(target) => (target, Verdict::Suspend, "is switched off in"),
            Self::Resume(target) => (target, Verdict::Resume, "is switched on in"),
            Self::Set { target, name, tags, expires } => {
                let wishes = MemberWishes {
                    name,
                    tags: tags.map(|Tags(tags)| tags),
                    expires_at: expires.map(|End(life)| life.map(|life| index.now_ms().saturating_add(life))),
                };
                let member = index.set_member(&target.network, &target.device, wishes, &operator()).await?;
                return place
                    .output
                    .print("member", &member, || render(core::slice::from_ref(&member), index.now_ms()));
            }
        };
        let member = index.judge_member(&target.network, &target.device, verdict, &operator()).await?;
        place.output.print("member", &member, || {
            format!("{} ({}) {done} network \"{}\"\n", member.name, member.number, member.network)
        })
    }
}

/// The table of members.
pub(super) fn render(members: &[memberships::Member], now_ms: i64) -> String {
    let has_tags = members.iter().any(|member| !member.tags.is_empty());
    let has_end = members.iter().any(|member| member.expires_at.is_some());
    if members.is_empty() {
        return "no members yet: \"lanyard-server invite add NETWORK\" prints a string to join with\n"
            .to_owned();
    }
    let row = |member: &memberships::Member| {
        let mut row = vec![
            member.name.to_string(),
            member.number.to_string(),
            member.ip4.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            member.state.to_string(),
            seen(member.online, member.last_seen_at, now_ms),
        ];
        if has_end {
            row.push(
                member.expires_at.map_or_else(|| "-".to_owned(), |end| format!("in {}", span(end - now_ms))),
            );
        }
        if has_tags {
            row.push(member.tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        row
    };
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    let mut heading = vec!["DEVICE", "NUMBER", "ADDRESS", "STATE", "SEEN"];
    heading.extend(has_end.then_some("ENDS"));
    heading.extend(has_tags.then_some("TAGS"));
    table(&heading, &rows)
}

/// When a device was last there.
pub(super) fn seen(online: bool, last_seen_at: Option<i64>, now_ms: i64) -> String {
    match (online, last_seen_at) {
        (true, _) => "now".to_owned(),
        (false, Some(then)) => ago(then, now_ms),
        (false, None) => "never".to_owned(),
    }
}
