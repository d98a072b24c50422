//! `lanyard-server network add|set|list|show`

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use ipnetwork::Ipv4Network;
use lanyard_wire::names::{JoinPassword, NetworkName};

use super::output::table;
use super::{Place, args, member, operator};
use crate::index::networks::{self, Approve, JoinMode, NetworkWishes, NewNetwork};
use crate::index::{Clock, IndexError};
use crate::routes::local_prefixes;
use crate::words::ago;

/// What to do with networks.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// Make a network.
    Add {
        /// Its name in join strings: small letters, digits, dashes.
        #[arg(value_parser = args::network_name)]
        name: NetworkName,
        /// Its IPv4 prefix [default: one that collides with nothing known].
        #[arg(long)]
        prefix: Option<Ipv4Network>,
        /// Who may ask to join.
        #[arg(long, value_enum, default_value_t = Door::Invite)]
        join: Door,
        /// Let even holders of an invite wait for "member approve".
        #[arg(long)]
        approve_by_hand: bool,
    },
    /// Change a network's settings; what is not named stays.
    #[command(after_help = "Example: lanyard-server network set home --peer-relay off")]
    Set {
        /// Its name.
        #[arg(value_parser = args::network_name)]
        name: NetworkName,
        /// What to change.
        #[command(flatten)]
        wishes: Wishes,
    },
    /// List networks.
    List,
    /// Show one network and its members.
    Show {
        /// Its name.
        #[arg(value_parser = args::network_name)]
        name: NetworkName,
    },
}

/// Who may ask to join.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Door {
    /// Holders of an invite.
    Invite,
    /// Everybody; an administrator decides.
    Request,
    /// Nobody.
    Locked,
}

/// Settings of a network, at least one.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Wishes {
    /// Who may ask to join: invite, password (once there is one), request or locked.
    #[arg(long, value_name = "MODE")]
    join: Option<JoinMode>,
    /// File whose first line is another password to join with; - is standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What an invite is worth.
    #[arg(long, value_enum)]
    approve: Option<Admit>,
    /// Whether members that are willing may pass on the sealed packets of pairs that cannot meet directly.
    #[arg(long, value_enum)]
    peer_relay: Option<Switch>,
}

/// What an invite is worth.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Admit {
    /// Its holder is a member at once.
    Auto,
    /// Its holder waits for "member approve".
    Manual,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl From<Admit> for Approve {
    fn from(admit: Admit) -> Self {
        match admit {
            Admit::Auto => Self::Auto,
            Admit::Manual => Self::Manual,
        }
    }
}

impl From<Door> for JoinMode {
    fn from(door: Door) -> Self {
        match door {
            Door::Invite => Self::Invite,
            Door::Request => Self::Request,
            Door::Locked => Self::Locked,
        }
    }
}

impl Network {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        match self {
            Self::Add { name, prefix, join, approve_by_hand } => {
                let new = NewNetwork {
                    slug: name,
                    prefix4: prefix,
                    join_mode: join.into(),
                    approve: if approve_by_hand { Approve::Manual } else { Approve::Auto },
                    avoid: local_prefixes(),
                };
                let network = index.add_network(&new, &operator()).await?;
                place.output.print("network", &network, || {
                    format!(
                        "network \"{}\" made: {} and {}/64\nnext: lanyard-server invite add {}\n",
                        network.slug, network.prefix4, network.prefix6, network.slug
                    )
                })
            }
            Self::Set { name, wishes } => {
                let password = wishes.password_file.as_deref().map(first_line).transpose()?;
                let password =
                    password.map(|password| index.password_hashing().hash_join(&password)).transpose()?;
                let wishes = NetworkWishes {
                    join_mode: wishes.join,
                    password,
                    approve: wishes.approve.map(Approve::from),
                    peer_relay: wishes.peer_relay.map(|switch| switch == Switch::On),
                };
                let network = index.set_network(&name, wishes, &operator()).await?;
                place.output.print("network", &network, || describe(&network, Clock::system().now_ms()))
            }
            Self::List => {
                let networks = index.networks().await?;
                place.output.print("networks", &networks, || render(&networks))
            }
            Self::Show { name } => {
                let network = index.network(&name).await?;
                let members = index.members_of(&name, false).await?;
                let data = serde_json::json!({ "network": network, "members": members });
                place.output.print("details", &data, || {
                    let now = Clock::system().now_ms();
                    format!("{}\n{}", describe(&network, now), member::render(&members, now))
                })
            }
        }
    }
}

/// The password in the first line of a file.
fn first_line(path: &Path) -> anyhow::Result<JoinPassword> {
    let mut line = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_line(&mut line)
    } else {
        std::fs::File::open(path).and_then(|file| std::io::BufReader::new(file).read_line(&mut line))
    };
    read.map_err(|error| IndexError::Invalid {
        what: "the file of the password",
        why: format!("{} is not readable ({error})", path.display()),
    })?;
    JoinPassword::parse(line.trim_end_matches(['\r', '\n']))
        .map_err(|error| IndexError::Invalid { what: "the password", why: error.to_string() }.into())
}

/// The table of networks.
pub(super) fn render(networks: &[networks::Network]) -> String {
    let rows: Vec<Vec<String>> = networks.iter().map(row).collect();
    table(&["NETWORK", "PREFIX", "JOIN", "APPROVE", "MEMBERS", "WAITING"], &rows)
}

fn row(network: &networks::Network) -> Vec<String> {
    vec![
        network.slug.to_string(),
        network.prefix4.to_string(),
        network.join_mode.to_string(),
        network.approve.to_string(),
        network.active.to_string(),
        network.pending.to_string(),
    ]
}

fn describe(network: &networks::Network, now_ms: i64) -> String {
    format!(
        "network   {}\nid        {}\nprefixes  {} and {}/64\njoin      {}, approved {}\nrelaying  {}\nrevision  {}\nmade      {}\n",
        network.slug,
        network.id,
        network.prefix4,
        network.prefix6,
        network.join_mode,
        if network.approve == Approve::Auto { "at once" } else { "by hand" },
        if network.peer_relay {
            "by members that are willing, then by the coordinator"
        } else {
            "by the coordinator alone"
        },
        network.revision,
        ago(network.created_at, now_ms),
    )
}
