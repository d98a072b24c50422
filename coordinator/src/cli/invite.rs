//! `lanyard-server invite add|list|revoke`

use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::NetworkName;
use serde_json::json;

use super::args::Tags;
use super::output::table;
use super::{Place, args, operator};
use crate::entrance::Entrance;
use crate::index::authority::Role;
use crate::index::invites::{self, Gives, NewInvite};
use crate::index::{Clock, Index};
use crate::words::span;

/// Rounds what is left, so that a fresh invite for 24 hours is not listed with 23.
const HALF_A_MINUTE_MS: i64 = 30_000;

/// What to do with invites.
#[derive(Debug, Subcommand)]
pub enum Invite {
    /// Make an invite and print the string to join with, or for people the link to open. It is shown this once.
    Add {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
        /// It is for people, who become this in the network: guest, member or admin.
        #[arg(long, value_name = "ROLE", conflicts_with_all = ["owner", "tags", "approve_by_hand"])]
        person: Option<Role>,
        /// The user whose the devices become: their name or id.
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
        /// Tags that the devices get: nas,build.
        #[arg(long, value_name = "TAGS", value_parser = args::tags)]
        tags: Option<Tags>,
        /// How long they are in from then: 90s, 30m, 24h, 7d; for ever without.
        #[arg(long, value_name = "TIME", value_parser = args::lifetime_ms)]
        member_for: Option<i64>,
        /// How many it lets in.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        uses: u32,
        /// How long it lasts: 90s, 30m, 24h, 7d.
        #[arg(long, default_value = "24h", value_parser = args::lifetime_ms, value_name = "TIME")]
        expires: i64,
        /// Let its holders wait for "member approve".
        #[arg(long)]
        approve_by_hand: bool,
    },
    /// List invites.
    List {
        /// Of one network only.
        #[arg(value_parser = args::network_name)]
        network: Option<NetworkName>,
    },
    /// End an invite. Who came in with it stays in.
    Revoke {
        /// Its id or its whole code.
        invite: String,
    },
}

impl Invite {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let config = place.config()?;
        let index = place.index(&config).await?;
        match self {
            Self::Add { network, person, owner, tags, member_for, uses, expires, approve_by_hand } => {
                let gives = Gives {
                    role: person,
                    owner_id: owner,
                    member_life_ms: member_for,
                    tags: tags.map_or_else(Vec::new, |Tags(tags)| tags),
                };
                let new = NewInvite {
                    network: network.clone(),
                    max_uses: uses,
                    lifetime_ms: expires,
                    auto_approve: !approve_by_hand,
                    gives,
                };
                let entrance = Entrance::of(&config);
                if let Some(role) = person {
                    return for_people(place, &index, &entrance, &new, role).await;
                }
                let key = index.public_key().await?;
                let (invite, code) = index.add_invite(&new, &operator()).await?;
                let join = entrance.join_string(network, code, key).to_string();
                place.output.print("invite", &json!({ "invite": invite, "join": join }), || {
                    let uses = if uses == 1 { "1 device".to_owned() } else { format!("{uses} devices") };
                    format!("lanyard join '{join}'\n(for {uses}, {}; shown this once)\n", span(expires))
                })
            }
            Self::List { network } => {
                let invites = index.invites(network.as_ref()).await?;
                place.output.print("invites", &invites, || {
                    let now = Clock::system().now_ms();
                    let rows: Vec<Vec<String>> = invites.iter().map(|invite| row(invite, now)).collect();
                    table(&["INVITE", "NETWORK", "CODE", "USES", "STATE"], &rows)
                })
            }
            Self::Revoke { invite } => {
                let invite = index.revoke_invite(&invite, &operator()).await?;
                place.output.print("invite", &invite, || {
                    format!("invite {}... of network \"{}\" is revoked\n", invite.code_prefix, invite.network)
                })
            }
        }
    }
}

/// Makes an invite for people, and prints the page that they open.
async fn for_people(
    place: &Place,
    index: &Index,
    entrance: &Entrance,
    new: &NewInvite,
    role: Role,
) -> anyhow::Result<ExitCode> {
    // Without a page nobody could accept it.
    entrance.link("invite", "")?;
    let (invite, code) = index.add_invite(new, &operator()).await?;
    let link = entrance.link("invite", &code.to_string())?;
    place.output.print("invite", &json!({ "invite": invite, "link": link }), || {
        let people =
            if new.max_uses == 1 { "1 person".to_owned() } else { format!("{} people", new.max_uses) };
        format!("{link}\n(makes {people} {role} of it, {}; shown this once)\n", span(new.lifetime_ms))
    })
}

fn row(invite: &invites::Invite, now_ms: i64) -> Vec<String> {
    let state = if invite.revoked_at.is_some() {
        "revoked".to_owned()
    } else if invite.uses >= invite.max_uses {
        "used up".to_owned()
    } else if invite.expires_at <= now_ms {
        "expired".to_owned()
    } else {
        format!("open, {} left", span(invite.expires_at - now_ms + HALF_A_MINUTE_MS))
    };
    vec![
        invite.id.clone(),
        invite.network.to_string(),
        format!("{}...", invite.code_prefix),
        format!("{}/{}", invite.uses, invite.max_uses),
        state,
    ]
}
