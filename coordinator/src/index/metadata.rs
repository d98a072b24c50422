//! Metadata: what people write about users, networks, devices and members, in words of their own.
//!
//! Each entry says who may read it ([`Visibility`]). It is permanent, there while its subject is offline, and what queries look for
//! ([`super::query`]). It is nothing that devices act on: it has no part in a network's revision.

use core::fmt;
use core::str::FromStr;

use lanyard_wire::ids::{DeviceId, NetworkId};
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::{Grants, Need, Role};
use super::db::{FromRow, Row, Target, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::outbox::Change;
use super::text::{self, text_enum};

/// Most characters of a key.
const KEY_MAX: usize = 64;

/// Most bytes of a value.
pub const VALUE_MAX: usize = 1_024;

/// Most entries of one thing.
pub const ENTRIES_MAX: usize = 64;

text_enum! {
    /// What an entry is about.
    Kind {
        /// A user, by row id.
        User = "user",
        /// A network, by its id.
        Network = "network",
        /// A device, by its id, in whatever network.
        Device = "device",
        /// A device in one network, by row id of the membership.
        Member = "member",
    }
}

text_enum! {
    /// Who may read an entry; each may be read by those before, too.
    Visibility {
        /// The user it is about, or whose device it is; an owner of the network; administrators of the server.
        Own = "self",
        /// Administrators of a network that the subject is in.
        Admins = "admins",
        /// Everybody with a role in a network that the subject is in.
        Members = "members",
        /// Every user of this server who may know of the subject.
        Public = "public",
    }
}

/// A key: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter; upper case becomes lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> core::result::Result<Self, String> {
        let key = text.trim().to_ascii_lowercase();
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let is_key = key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(is_allowed);
        if !is_key || key.len() > KEY_MAX {
            return Err(format!("a key has 1 to {KEY_MAX} of a-z 0-9 . _ - and begins with a letter"));
        }
        Ok(Self(key))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What entries are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A user, by row id.
    User(String),
    /// A network.
    Network(NetworkId),
    /// A device.
    Device {
        /// Which one.
        id: DeviceId,
        /// Row id of the user it belongs to.
        owner: Option<String>,
    },
    /// A device in a network.
    Member {
        /// Row id of the membership.
        id: String,
        /// The network.
        network: NetworkId,
        /// Row id of the user it belongs to.
        owner: Option<String>,
    },
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Datum {
    /// Its key.
    #[serde(with = "text")]
    pub key: Key,
    /// Its value.
    pub value: String,
    /// Who may read it.
    pub visibility: Visibility,
    /// Who wrote it last: the id of a user or a device, or the name of an operator.
    pub updated_by: String,
    /// Epoch milliseconds.
    pub updated_at: i64,
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It has that value; who may read it stays as it is, and is [`Visibility::Members`] of a new one, unless it is said.
    Set(String, Option<Visibility>),
    /// It goes.
    Unset,
}

impl FromRow for Datum {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            key: text::column(row, "key")?,
            value: row.get("value")?,
            visibility: text::column(row, "visibility")?,
            updated_by: row.get("updated_by")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

impl Subject {
    /// Its kind, and its id as the table has it.
    #[must_use]
    pub fn place(&self) -> (Kind, String) {
        match self {
            Self::User(id) => (Kind::User, id.clone()),
            Self::Network(id) => (Kind::Network, id.to_string()),
            Self::Device { id, .. } => (Kind::Device, id.to_string()),
            Self::Member { id, .. } => (Kind::Member, id.clone()),
        }
    }

    /// What it takes to write about it.
    fn need(&self) -> Need {
        match self {
            Self::User(id) => Need::User(id.clone()),
            Self::Network(id) => Need::Network(*id, Role::Admin),
            Self::Device { id, owner } => Need::Device { id: *id, owner: owner.clone() },
            Self::Member { network, owner, .. } => Need::Member { network: *network, owner: owner.clone() },
        }
    }

    fn network(&self) -> Option<NetworkId> {
        match self {
            Self::Network(id) | Self::Member { network: id, .. } => Some(*id),
            Self::User(_) | Self::Device { .. } => None,
        }
    }
}

impl Index {
    /// Entries about something, by key: those that a reader may see, or all for `None`.
    ///
    /// The reader must be one who may know of the subject.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn metadata(&self, subject: &Subject, reader: Option<&Grants>) -> Result<Vec<Datum>> {
        let mut entries = entries(Target::from(&self.db), subject).await?;
        if let Some(grants) = reader {
            let farthest = self.nearness(subject, grants).await?;
            entries.retain(|entry| entry.visibility >= farthest);
        }
        Ok(entries)
    }

    /// Writes entries about something, all of them or none; those that are as they are wished change nothing.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`]; [`IndexError::Invalid`] for a value that cannot be; [`IndexError::Full`] for more than
    /// [`ENTRIES_MAX`].
    pub async fn set_metadata(
        &self,
        subject: &Subject,
        wishes: &[(Key, Wish)],
        actor: &Actor,
    ) -> Result<Vec<Datum>> {
        let mut draft = self.draft(actor).await?;
        draft.must(&subject.need())?;
        let before = entries(draft.connection(), subject).await?;
        for (key, wish) in wishes {
            let known = before.iter().find(|entry| entry.key == *key);
            match wish {
                Wish::Set(value, visibility) => {
                    check_value(value)?;
                    let visibility = visibility.or(known.map(|entry| entry.visibility));
                    let visibility = visibility.unwrap_or(Visibility::Members);
                    if known.is_none_or(|known| known.value != *value || known.visibility != visibility) {
                        draft.write_datum(subject, key, value, visibility).await?;
                    }
                }
                Wish::Unset => draft.remove_datum(subject, key).await?,
            }
        }
        let after = entries(draft.connection(), subject).await?;
        if after == before {
            return Ok(after);
        }
        if after.len() > ENTRIES_MAX {
            let why = format!("a thing has at most {ENTRIES_MAX} entries: remove some first");
            return Err(IndexError::Invalid { what: "metadata", why });
        }
        let (kind, id) = subject.place();
        let (code, entity, network) = ("metadata.set", kind.as_str(), subject.network());
        draft
            .record(Entry { code, entity, id: &id, network, before: Some(&before), after: Some(&after) })
            .await?;
        draft.publish(&Change::About { entity: kind, id }).await?;
        draft.commit().await?;
        Ok(after)
    }

    /// The narrowest visibility that somebody may read of a subject.
    async fn nearness(&self, subject: &Subject, grants: &Grants) -> Result<Visibility> {
        let is_own = |owner: Option<&String>| grants.only.is_none() && owner == Some(&grants.user);
        let by_role = |role: Option<Role>| match role {
            Some(Role::Owner) => Visibility::Own,
            Some(Role::Admin) => Visibility::Admins,
            Some(Role::Member | Role::Guest) => Visibility::Members,
            None => Visibility::Public,
        };
        if grants.is_server_admin && grants.only.is_none() {
            return Ok(Visibility::Own);
        }
        let networks: Vec<String> = match subject {
            Subject::Network(id) => return Ok(by_role(grants.role(*id))),
            Subject::User(id) if is_own(Some(id)) => return Ok(Visibility::Own),
            Subject::Device { owner, .. } | Subject::Member { owner, .. } if is_own(owner.as_ref()) => {
                return Ok(Visibility::Own);
            }
            Subject::Member { network, .. } => {
                return Ok(by_role(grants.role(*network)).max(Visibility::Admins));
            }
            Subject::User(id) => {
                sql!(
                    "SELECT network_id FROM network_roles WHERE user_id = $1 \
                     AND (expires_at IS NULL OR expires_at > $2)"
                )
                .bind(id.clone())
                .bind(self.clock.now_ms())
                .fetch_all(&self.db)
                .await?
            }
            Subject::Device { id, .. } => {
                sql!(
                    "SELECT network_id FROM memberships WHERE device_id = $1 \
                     AND state IN ('pending', 'active', 'suspended')"
                )
                .bind(id.to_string())
                .fetch_all(&self.db)
                .await?
            }
        };
        let roles = networks.iter().filter_map(|id| grants.role(id.parse().ok()?));
        Ok(by_role(roles.max()).max(Visibility::Admins))
    }
}

/// Every entry about something, by key.
async fn entries(target: Target<'_>, subject: &Subject) -> Result<Vec<Datum>> {
    let (kind, id) = subject.place();
    sql!(
        "SELECT key, value, visibility, updated_by, updated_at FROM metadata \
         WHERE entity_type = $1 AND entity_id = $2 ORDER BY key"
    )
    .bind(kind.as_str())
    .bind(id)
    .fetch_all(target)
    .await
}

/// A value is a line of text that a terminal and a page can show.
fn check_value(value: &str) -> Result<()> {
    let why = if value.is_empty() {
        "an entry without a value is removed instead".to_owned()
    } else if value.len() > VALUE_MAX {
        format!("a value has at most {VALUE_MAX} bytes")
    } else if value.chars().any(char::is_control) {
        "a value has no control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(IndexError::Invalid { what: "value", why })
}

impl Draft<'_> {
    async fn write_datum(
        &mut self,
        subject: &Subject,
        key: &Key,
        value: &str,
        visibility: Visibility,
    ) -> Result<()> {
        let (kind, id) = subject.place();
        let (now, author) = (self.now(), self.actor().id().to_owned());
        sql!(
            "INSERT INTO metadata (entity_type, entity_id, key, value, folded, visibility, updated_by, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (entity_type, entity_id, key) DO UPDATE SET \
             value = excluded.value, folded = excluded.folded, visibility = excluded.visibility, \
             updated_by = excluded.updated_by, updated_at = excluded.updated_at"
        )
        .bind(kind.as_str())
        .bind(id)
        .bind(key.as_str())
        .bind(value)
        .bind(value.to_lowercase())
        .bind(visibility.as_str())
        .bind(author)
        .bind(now)
        .execute(self.connection())
        .await
        .map(drop)
    }

    async fn remove_datum(&mut self, subject: &Subject, key: &Key) -> Result<()> {
        let (kind, id) = subject.place();
        sql!("DELETE FROM metadata WHERE entity_type = $1 AND entity_id = $2 AND key = $3")
            .bind(kind.as_str())
            .bind(id)
            .bind(key.as_str())
            .execute(self.connection())
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lower_case_words() {
        assert_eq!("Rack.Unit-2".parse::<Key>().unwrap().as_str(), "rack.unit-2");
        for wrong in ["", "2nd", "a b", "größe", "a:b", &"k".repeat(65)] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_one_line_of_bounded_length() {
        assert!(check_value("Berlin, Keller").is_ok());
        for wrong in [String::new(), "a\nb".to_owned(), "\u{1b}[31m".to_owned(), "x".repeat(1_025)] {
            assert!(check_value(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_nearer_is_less() {
        assert!(Visibility::Own < Visibility::Admins && Visibility::Members < Visibility::Public);
    }
}
