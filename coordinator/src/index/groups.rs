//! Words that stand for many: tags of members, and groups of people in a network.
//!
//! A tag says what a device is there for (`nas`, `build`), and is given by administrators of the network. A group has users; their
//! devices are found by it. Both are what queries look for, and what rules will name.

use core::fmt;
use core::str::FromStr;

use lanyard_wire::ids::NetworkId;
use lanyard_wire::names::NetworkName;
use serde::{Deserialize, Serialize};

use super::Index;
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::memberships::Member;
use super::metadata::Kind;
use super::networks::unknown;
use super::outbox::Change;
use super::text;

/// Most characters of a tag or of a group's name.
const WORD_MAX: usize = 32;

/// Most tags of a member, most groups of a network, and most users of a group.
pub const TAGS_MAX: usize = 32;
const GROUPS_MAX: usize = 256;
const USERS_MAX: usize = 10_000;

/// A tag or the name of a group: 1 to 32 of `a-z 0-9 -`, beginning with a letter; upper case becomes lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

impl Word {
    /// The word as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> core::result::Result<Self, String> {
        let word = text.trim().to_ascii_lowercase();
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_word = word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(is_allowed);
        if !is_word || word.len() > WORD_MAX {
            return Err(format!(
                "tags and groups are words of 1 to {WORD_MAX} of a-z 0-9 - that begin with a letter"
            ));
        }
        Ok(Self(word))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Word {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// Tags in their order, each once.
///
/// # Errors
/// [`IndexError::Invalid`] for more than [`TAGS_MAX`].
pub(super) fn sorted(mut tags: Vec<Word>) -> Result<Vec<Word>> {
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > TAGS_MAX {
        let why = format!("a member has at most {TAGS_MAX} of them");
        return Err(IndexError::Invalid { what: "tags", why });
    }
    Ok(tags)
}

/// Tags from a column in which spaces are between them.
pub(super) fn tags_from(row: &Row, name: &'static str) -> Result<Vec<Word>> {
    let words: Option<String> = row.get(name)?;
    let unreadable = |why| IndexError::Unreadable { column: name, why };
    let words = words.unwrap_or_default();
    let mut tags: Vec<Word> =
        words.split_whitespace().map(|tag| tag.parse().map_err(unreadable)).collect::<Result<_>>()?;
    tags.sort_unstable();
    Ok(tags)
}

/// Users of a network under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Row id.
    pub id: String,
    /// Its network.
    #[serde(with = "text")]
    pub network_id: NetworkId,
    /// Its name.
    pub name: Word,
    /// Row ids of its users.
    pub users: Vec<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

impl FromRow for Group {
    fn from_row(row: &Row) -> Result<Self> {
        let users: Option<String> = row.get("users")?;
        let mut users: Vec<String> =
            users.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        users.sort_unstable();
        Ok(Self {
            id: row.get("id")?,
            network_id: text::column(row, "network_id")?,
            name: text::column(row, "name")?,
            users,
            created_at: row.get("created_at")?,
        })
    }
}

macro_rules! select_group {
    ($rest:literal) => {
        concat!(
            "SELECT g.*, (SELECT string_agg(gu.user_id, ' ') FROM group_users gu WHERE gu.group_id = g.id) AS users \
             FROM user_groups g WHERE g.network_id = $1",
            $rest
        )
    };
}

impl Index {
    /// Groups of a network, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn groups(&self, network: NetworkId) -> Result<Vec<Group>> {
        sql!(select_group!(" ORDER BY g.name")).bind(network.to_string()).fetch_all(&self.db).await
    }

    /// Makes a group, or gives it other users, by row id; each must have a role in the network.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an administrator of the network asks; [`IndexError::State`] for a
    /// user who is nothing in the network; [`IndexError::Invalid`] for too many.
    pub async fn set_group(
        &self,
        slug: &NetworkName,
        name: &Word,
        users: &[String],
        actor: &Actor,
    ) -> Result<Group> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(slug).await?.ok_or_else(|| unknown(slug))?.id;
        draft.must(&Need::Network(network, Role::Admin))?;
        let before = draft.group(network, name).await?;
        let mut users = users.to_vec();
        users.sort_unstable();
        users.dedup();
        if users.len() > USERS_MAX {
            let why = format!("a group has at most {USERS_MAX}");
            return Err(IndexError::Invalid { what: "users", why });
        }
        for user in &users {
            if draft.role(network, user).await?.is_none() {
                let why = format!("user {user} has no role in this network: give them one first");
                return Err(IndexError::State(why));
            }
        }
        let known = before.clone();
        let (id, created_at) = match known {
            Some(known) => (known.id, known.created_at),
            None => (draft.new_id()?, draft.now()),
        };
        let after = Group { id, network_id: network, name: name.clone(), users, created_at };
        if before.as_ref() == Some(&after) {
            return Ok(after);
        }
        if before.is_none() {
            draft.insert_group(&after).await?;
        }
        draft.write_users(before.as_ref(), &after).await?;
        draft.record_group("group.set", before.as_ref(), Some(&after)).await?;
        draft.commit().await?;
        Ok(after)
    }

    /// Takes a group away.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an administrator of the network asks.
    pub async fn remove_group(&self, slug: &NetworkName, name: &Word, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(slug).await?.ok_or_else(|| unknown(slug))?.id;
        draft.must(&Need::Network(network, Role::Admin))?;
        let Some(before) = draft.group(network, name).await? else {
            return Err(IndexError::NotFound { what: "group", name: name.to_string(), hint: "" });
        };
        let empty = Group { users: Vec::new(), ..before.clone() };
        draft.write_users(Some(&before), &empty).await?;
        sql!("DELETE FROM user_groups WHERE id = $1")
            .bind(before.id.clone())
            .execute(draft.connection())
            .await?;
        draft.record_group("group.remove", Some(&before), None).await?;
        draft.commit().await
    }
}

impl Draft<'_> {
    async fn group(&mut self, network: NetworkId, name: &Word) -> Result<Option<Group>> {
        sql!(select_group!(" AND g.name = $2"))
            .bind(network.to_string())
            .bind(name.as_str())
            .fetch_optional(self.connection())
            .await
    }

    async fn insert_group(&mut self, group: &Group) -> Result<()> {
        let groups: i64 = sql!("SELECT COUNT(*) FROM user_groups WHERE network_id = $1")
            .bind(group.network_id.to_string())
            .fetch_one(self.connection())
            .await?;
        if usize::try_from(groups).is_ok_and(|groups| groups >= GROUPS_MAX) {
            let why = format!("a network has at most {GROUPS_MAX}: remove some first");
            return Err(IndexError::Invalid { what: "groups", why });
        }
        sql!("INSERT INTO user_groups (id, network_id, name, created_at) VALUES ($1, $2, $3, $4)")
            .bind(group.id.clone())
            .bind(group.network_id.to_string())
            .bind(group.name.as_str())
            .bind(group.created_at)
            .execute(self.connection())
            .await
            .map(drop)
    }

    async fn write_users(&mut self, before: Option<&Group>, after: &Group) -> Result<()> {
        let before = before.map_or(&[][..], |before| &before.users);
        for user in before.iter().filter(|user| !after.users.contains(user)) {
            sql!("DELETE FROM group_users WHERE group_id = $1 AND user_id = $2")
                .bind(after.id.clone())
                .bind(user.clone())
                .execute(self.connection())
                .await?;
        }
        for user in after.users.iter().filter(|user| !before.contains(user)) {
            sql!("INSERT INTO group_users (group_id, user_id) VALUES ($1, $2)")
                .bind(after.id.clone())
                .bind(user.clone())
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    async fn record_group(
        &mut self,
        code: &'static str,
        before: Option<&Group>,
        after: Option<&Group>,
    ) -> Result<()> {
        let Some(group) = after.or(before) else { return Ok(()) };
        let (entity, network) = ("group", Some(group.network_id));
        self.record(Entry { code, entity, id: &group.id, network, before, after }).await?;
        let id = group.network_id.to_string();
        self.publish(&Change::About { entity: Kind::Network, id }).await
    }

    /// Takes somebody out of the groups of a network where they are nothing any more.
    pub(super) async fn leave_groups(&mut self, network: NetworkId, user: &str) -> Result<()> {
        sql!(
            "DELETE FROM group_users WHERE user_id = $2 \
             AND group_id IN (SELECT g.id FROM user_groups g WHERE g.network_id = $1)"
        )
        .bind(network.to_string())
        .bind(user)
        .execute(self.connection())
        .await
        .map(drop)
    }

    /// Gives a membership the tags it has now.
    pub(super) async fn write_tags(&mut self, before: Option<&Member>, after: &Member) -> Result<()> {
        let before = before.map_or(&[][..], |before| &before.tags);
        for tag in before.iter().filter(|tag| !after.tags.contains(tag)) {
            sql!("DELETE FROM member_tags WHERE membership_id = $1 AND tag = $2")
                .bind(after.id.clone())
                .bind(tag.as_str())
                .execute(self.connection())
                .await?;
        }
        for tag in after.tags.iter().filter(|tag| !before.contains(tag)) {
            sql!("INSERT INTO member_tags (membership_id, tag) VALUES ($1, $2)")
                .bind(after.id.clone())
                .bind(tag.as_str())
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_and_tags_are_each_there_once() {
        let word = |text: &str| text.parse::<Word>();
        assert_eq!(word(" NAS-2 ").unwrap().as_str(), "nas-2");
        for wrong in ["", "2nd", "a b", "a,b", "größe", &"x".repeat(33)] {
            assert!(word(wrong).is_err(), "{wrong}");
        }
        let tags = vec![word("b").unwrap(), word("a").unwrap(), word("B").unwrap()];
        assert_eq!(sorted(tags).unwrap(), [word("a").unwrap(), word("b").unwrap()]);
    }
}
