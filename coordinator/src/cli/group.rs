//! `lanyard-server group list|set|remove`

use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::NetworkName;

use super::output::table;
use super::{Place, args, operator};
use crate::index::groups::{Group, Word};

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the groups of a network.
    List {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
    },
    /// Make a group, or say anew who is in it.
    Set {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
        /// The group: a word of a-z 0-9 -.
        group: Word,
        /// Names or ids of all its users; each has a role in the network.
        users: Vec<String>,
    },
    /// Take a group away; its users stay.
    Remove {
        /// The network.
        #[arg(value_parser = args::network_name)]
        network: NetworkName,
        /// The group.
        group: Word,
    },
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        match self {
            Self::List { network } => {
                let groups = index.groups(index.network(&network).await?.id).await?;
                place.output.print("groups", &groups, || {
                    let row = |group: &Group| vec![group.name.to_string(), group.users.len().to_string()];
                    table(&["GROUP", "USERS"], &groups.iter().map(row).collect::<Vec<_>>())
                })
            }
            Self::Set { network, group, users } => {
                let mut ids = Vec::new();
                for user in &users {
                    ids.push(index.user(user).await?.id);
                }
                let group = index.set_group(&network, &group, &ids, &operator()).await?;
                place.output.print("group", &group, || {
                    format!("group \"{}\" of network \"{network}\" has {} users\n", group.name, ids.len())
                })
            }
            Self::Remove { network, group } => {
                index.remove_group(&network, &group, &operator()).await?;
                place.output.print("removed", &group, || {
                    format!("network \"{network}\" has no group \"{group}\" any more\n")
                })
            }
        }
    }
}
