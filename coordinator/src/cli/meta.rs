//! `lanyard-server meta list|set|unset`

use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::NetworkName;

use super::output::table;
use super::{Place, operator};
use crate::index::metadata::{Datum, Key, Kind, Subject, Visibility, Wish};
use crate::index::{Index, IndexError};

/// What to do with metadata.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what is written about something.
    List(About),
    /// Write about something: site=berlin, contact="ext. 42".
    Set {
        /// What it is about.
        #[command(flatten)]
        about: About,
        /// What to write; a key has a-z 0-9 . _ - and begins with a letter.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        entries: Vec<(Key, String)>,
        /// Who may read it: self, admins, members or public; members for a new entry.
        #[arg(long, value_name = "WHO")]
        visible: Option<Visibility>,
    },
    /// Remove what is written about something.
    Unset {
        /// What it is about.
        #[command(flatten)]
        about: About,
        /// Which entries.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<Key>,
    },
}

/// What it is about.
#[derive(Debug, clap::Args)]
pub struct About {
    /// The kind of thing: user, network, device or member.
    kind: Kind,
    /// Its name or id; of a member NETWORK/DEVICE.
    name: String,
}

fn pair(text: &str) -> Result<(Key, String), String> {
    let (key, value) = text.split_once('=').ok_or("an entry is KEY=VALUE, like site=berlin")?;
    Ok((key.parse()?, value.to_owned()))
}

impl About {
    async fn find(&self, index: &Index) -> anyhow::Result<Subject> {
        Ok(match self.kind {
            Kind::User => Subject::User(index.user(&self.name).await?.id),
            Kind::Network => Subject::Network(index.network(&network(&self.name)?).await?.id),
            Kind::Device => {
                let device = index.device(&self.name).await?;
                Subject::Device { id: device.id, owner: device.user_id }
            }
            Kind::Member => {
                let (slug, device) = self.name.split_once('/').ok_or_else(|| IndexError::Invalid {
                    what: "the name of a member",
                    why: "it is NETWORK/DEVICE, like home/nas".to_owned(),
                })?;
                let member = index.member_named(&network(slug)?, device).await?;
                Subject::Member { id: member.id, network: member.network_id, owner: member.owner }
            }
        })
    }
}

fn network(text: &str) -> Result<NetworkName, IndexError> {
    NetworkName::parse(text)
        .map_err(|error| IndexError::Invalid { what: "the name of a network", why: error.to_string() })
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let (about, wishes): (About, Vec<(Key, Wish)>) = match self {
            Self::List(about) => (about, Vec::new()),
            Self::Set { about, entries, visible } => {
                (about, entries.into_iter().map(|(key, value)| (key, Wish::Set(value, visible))).collect())
            }
            Self::Unset { about, keys } => (about, keys.into_iter().map(|key| (key, Wish::Unset)).collect()),
        };
        let subject = about.find(&index).await?;
        let entries = if wishes.is_empty() {
            index.metadata(&subject, None).await?
        } else {
            index.set_metadata(&subject, &wishes, &operator()).await?
        };
        place.output.print("metadata", &entries, || render(&entries))
    }
}

fn render(entries: &[Datum]) -> String {
    if entries.is_empty() {
        return "nothing is written about it: \"lanyard-server meta set KIND NAME KEY=VALUE\" writes something\n"
            .to_owned();
    }
    let row = |entry: &Datum| vec![entry.key.to_string(), entry.visibility.to_string(), entry.value.clone()];
    table(&["KEY", "VISIBLE TO", "VALUE"], &entries.iter().map(row).collect::<Vec<_>>())
}
