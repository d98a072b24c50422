//! `lanyard-server role list|set|remove|pass-on`

use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::NetworkName;

use super::output::table;
use super::{Place, args, operator};
use crate::index::Clock;
use crate::index::authority::Role;
use crate::index::roles::NetworkRole;
use crate::words::{ago, span};

/// What to do with roles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List who is what in a network.
    List {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
    },
    /// Make a user something in a network.
    Set {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
        /// Their name or id.
        user: String,
        /// owner, admin, member or guest.
        role: Role,
        /// For how long: 90s, 30m, 24h or 7d.
        #[arg(long, value_name = "TIME", value_parser = args::lifetime_ms)]
        expires: Option<i64>,
    },
    /// Make a user nothing in a network any more; their devices stay in it.
    Remove {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
        /// Their name or id.
        user: String,
    },
    /// Make another user the owner of a network; whoever owned it becomes an administrator.
    PassOn {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
        /// Their name or id.
        user: String,
    },
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let now = Clock::system().now_ms();
        match self {
            Self::List { network } => {
                let roles = index.roles_in(&network).await?;
                place.output.print("roles", &roles, || render(&roles, now))
            }
            Self::Set { network, user, role, expires } => {
                let expires_at = expires.map(|time| now.saturating_add(time));
                let role = index.set_role(&network, &user, Some(role), expires_at, &operator()).await?;
                place.output.print("role", &role, || render(role.as_slice(), now))
            }
            Self::Remove { network, user } => {
                index.set_role(&network, &user, None, None, &operator()).await?;
                place
                    .output
                    .print("role", &(), || format!("{user} is nothing in network \"{network}\" any more\n"))
            }
            Self::PassOn { network, user } => {
                let role = index.pass_network_on(&network, &user, &operator()).await?;
                place.output.print("role", &role, || format!("{} owns network \"{network}\"\n", role.user))
            }
        }
    }
}

fn render(roles: &[NetworkRole], now: i64) -> String {
    let rows: Vec<Vec<String>> = roles
        .iter()
        .map(|role| {
            let ends = role.expires_at.map_or_else(|| "-".to_owned(), |at| format!("in {}", span(at - now)));
            vec![role.user.to_string(), role.role.to_string(), ago(role.created_at, now), ends]
        })
        .collect();
    table(&["USER", "ROLE", "SINCE", "ENDS"], &rows)
}
