//! Users: people who sign in, and services.
//!
//! A user is disabled, never deleted: the audit trail goes on naming who did what.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Index;
use super::audit::Actor;
use super::authority::Need;
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::outbox::Change;
use super::text::{self, text_enum};

/// Most characters of a name.
const NAME_MAX: usize = 64;

/// Most characters of a name for display and of an e-mail address.
const TEXT_MAX: usize = 254;

text_enum! {
    /// What kind of user.
    UserKind {
        /// Somebody who signs in.
        Person = "person",
        /// A program; it cannot sign in.
        Service = "service",
    }
}

/// The name somebody signs in with: 1 to 64 of `a-z 0-9 . _ - @ +`, beginning with a letter or digit.
///
/// Upper case becomes lower case, so that nobody can be `Anna` beside `anna`. An e-mail address is such a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// What somebody is called whose name elsewhere has nothing that a name here may have.
    pub(crate) fn newcomer() -> Self {
        Self("user".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = String;

    fn from_str(text: &str) -> core::result::Result<Self, String> {
        let name = text.trim().to_ascii_lowercase();
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(format!("a user's name has 1 to {NAME_MAX} characters"));
        }
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-@+".contains(c);
        if let Some(other) = name.chars().find(|c| !is_allowed(*c)) {
            return Err(format!("a user's name has letters, digits and . _ - @ + only, not \"{other}\""));
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err("a user's name begins with a letter or a digit".to_owned());
        }
        Ok(Self(name))
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for UserName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Row id.
    pub id: String,
    /// What they sign in with.
    pub name: UserName,
    /// What others see; the name, if it is empty.
    pub display_name: String,
    /// Where to write to; it identifies nobody.
    pub email: Option<String>,
    /// Person or service.
    pub kind: UserKind,
    /// Whether they may do everything on this server.
    pub is_server_admin: bool,
    /// Epoch milliseconds, when they were shut out.
    pub disabled_at: Option<i64>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// What a new user shall be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// What they sign in with.
    pub name: UserName,
    /// What others see.
    pub display_name: String,
    /// Where to write to.
    pub email: Option<String>,
    /// Person or service.
    pub kind: UserKind,
    /// Whether they may do everything on this server.
    pub is_server_admin: bool,
}

impl NewUser {
    /// Somebody who signs in and may do nothing yet.
    #[must_use]
    pub const fn person(name: UserName) -> Self {
        Self {
            name,
            display_name: String::new(),
            email: None,
            kind: UserKind::Person,
            is_server_admin: false,
        }
    }
}

/// What is to be changed about a user; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct UserWishes {
    /// What others see.
    pub display_name: Option<String>,
    /// Where to write to; empty for nowhere.
    pub email: Option<String>,
    /// Whether they may do everything on this server.
    pub is_server_admin: Option<bool>,
    /// Whether they are shut out.
    pub is_disabled: Option<bool>,
}

impl FromRow for User {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: text::column(row, "name")?,
            display_name: row.get("display_name")?,
            email: row.get("email")?,
            kind: text::column(row, "kind")?,
            is_server_admin: row.get("is_server_admin")?,
            disabled_at: row.get("disabled_at")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Index {
    /// Every user, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(&self) -> Result<Vec<User>> {
        sql!("SELECT * FROM users ORDER BY name").fetch_all(&self.db).await
    }

    /// The user of that name or id.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is none.
    pub async fn user(&self, name: &str) -> Result<User> {
        sql!("SELECT * FROM users WHERE name = $1 OR id = $1 ORDER BY CASE WHEN name = $1 THEN 0 ELSE 1 END")
            .bind(name.trim().to_ascii_lowercase())
            .fetch_optional(&self.db)
            .await?
            .ok_or_else(|| unknown(name))
    }

    /// The user with that row id.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is none.
    pub async fn user_by_id(&self, id: &str) -> Result<User> {
        sql!("SELECT * FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.db)
            .await?
            .ok_or_else(|| unknown(id))
    }

    /// Makes a user; they can sign in once they have a password or another credential.
    ///
    /// # Errors
    /// [`IndexError::Taken`] when the name is in use, [`IndexError::Forbidden`] unless a server administrator asks.
    pub async fn add_user(&self, new: &NewUser, actor: &Actor) -> Result<User> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::Server)?;
        let user = draft.insert_user(new).await?;
        draft.commit().await?;
        Ok(user)
    }

    /// Changes what is said of a user, and what they may do.
    ///
    /// Who is shut out is signed out everywhere, at once.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless it is the user's own name and address, or a server
    /// administrator asks; [`IndexError::State`] when no administrator would be left.
    pub async fn set_user(&self, name: &str, wishes: &UserWishes, actor: &Actor) -> Result<User> {
        let mut draft = self.draft(actor).await?;
        let before = draft.find_user(name).await?;
        draft.must_be_as_seen("user", &before)?;
        let is_about_power = wishes.is_server_admin.is_some() || wishes.is_disabled.is_some();
        let need = if is_about_power { Need::Server } else { Need::User(before.id.clone()) };
        draft.must(&need)?;
        let mut after = before.clone();
        if let Some(display_name) = &wishes.display_name {
            after.display_name = checked_text("display_name", display_name)?;
        }
        if let Some(email) = &wishes.email {
            after.email = checked_email(email)?;
        }
        after.is_server_admin = wishes.is_server_admin.unwrap_or(before.is_server_admin);
        match wishes.is_disabled {
            Some(true) => after.disabled_at = before.disabled_at.or(Some(draft.now())),
            Some(false) => after.disabled_at = None,
            None => {}
        }
        if after == before {
            return Ok(before);
        }
        refuse_mighty_service(&after)?;
        draft.update_user(&before, &after).await?;
        draft.commit().await?;
        Ok(after)
    }
}

impl Draft<'_> {
    /// The user of that name or id, as they are under the write lock.
    pub(super) async fn find_user(&mut self, name: &str) -> Result<User> {
        sql!("SELECT * FROM users WHERE name = $1 OR id = $1 ORDER BY CASE WHEN name = $1 THEN 0 ELSE 1 END")
            .bind(name.trim().to_ascii_lowercase())
            .fetch_optional(self.connection())
            .await?
            .ok_or_else(|| unknown(name))
    }

    /// Writes a new user.
    pub(super) async fn insert_user(&mut self, new: &NewUser) -> Result<User> {
        let user = User {
            id: self.new_id()?,
            name: new.name.clone(),
            display_name: checked_text("display_name", &new.display_name)?,
            email: checked_email(new.email.as_deref().unwrap_or_default())?,
            kind: new.kind,
            is_server_admin: new.is_server_admin,
            disabled_at: None,
            created_at: self.now(),
        };
        refuse_mighty_service(&user)?;
        let inserted = sql!(
            "INSERT INTO users (id, name, display_name, email, kind, is_server_admin, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)"
        )
        .bind(user.id.clone())
        .bind(user.name.as_str())
        .bind(user.display_name.clone())
        .bind(user.email.clone())
        .bind(user.kind.as_str())
        .bind(user.is_server_admin)
        .bind(user.created_at)
        .execute(self.connection())
        .await;
        match inserted {
            Err(error) if error.is_unique_violation() => {
                return Err(IndexError::Taken { what: "user", name: user.name.to_string() });
            }
            other => other?,
        };
        self.record_user("user.add", None, &user).await?;
        Ok(user)
    }

    /// Writes what changed about a user, and sees to it that an administrator is left.
    pub(super) async fn update_user(&mut self, before: &User, after: &User) -> Result<()> {
        let now = self.now();
        sql!(
            "UPDATE users SET display_name = $2, email = $3, is_server_admin = $4, disabled_at = $5, updated_at = $6, \
             admin_source = CASE WHEN is_server_admin = $4 THEN admin_source ELSE '' END WHERE id = $1"
        )
        .bind(after.id.clone())
        .bind(after.display_name.clone())
        .bind(after.email.clone())
        .bind(after.is_server_admin)
        .bind(after.disabled_at)
        .bind(now)
        .execute(self.connection())
        .await?;
        let may_all = |user: &User| user.is_server_admin && user.disabled_at.is_none();
        if may_all(before) && !may_all(after) && self.server_admins().await? == 0 {
            return Err(IndexError::State(format!(
                "\"{}\" is the last administrator of this server: make another user one first",
                before.name
            )));
        }
        if before.disabled_at.is_none() && after.disabled_at.is_some() {
            self.shut_out(&after.id).await?;
        }
        self.record_user("user.set", Some(before), after).await
    }

    async fn server_admins(&mut self) -> Result<i64> {
        sql!("SELECT COUNT(*) FROM users WHERE is_server_admin AND disabled_at IS NULL")
            .fetch_one(self.connection())
            .await
    }

    /// Ends every session of a user, and links that let them in.
    async fn shut_out(&mut self, user: &str) -> Result<()> {
        let now = self.now();
        sql!("UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL")
            .bind(user)
            .bind(now)
            .execute(self.connection())
            .await?;
        self.end_codes(user).await
    }

    async fn record_user(&mut self, code: &'static str, before: Option<&User>, after: &User) -> Result<()> {
        self.record(Entry { code, entity: "user", id: &after.id, network: None, before, after: Some(after) })
            .await?;
        self.publish(&Change::User { id: after.id.clone() }).await
    }
}

/// A server whose last administrator cannot sign in would have none.
fn refuse_mighty_service(user: &User) -> Result<()> {
    if user.kind == UserKind::Service && user.is_server_admin {
        return Err(IndexError::State(format!(
            "\"{}\" is a service: only a person administers this server",
            user.name
        )));
    }
    Ok(())
}

fn checked_text(what: &'static str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(IndexError::Invalid {
            what,
            why: format!("it has at most {TEXT_MAX} characters, on one line"),
        });
    }
    Ok(text.to_owned())
}

/// Something that could be an address; whether it is one shows when something is sent there.
fn checked_email(text: &str) -> Result<Option<String>> {
    let email = checked_text("email", text)?;
    if email.is_empty() {
        return Ok(None);
    }
    let is_address = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if !is_address || email.contains(char::is_whitespace) {
        return Err(IndexError::Invalid { what: "email", why: "it looks like anna@example.org".to_owned() });
    }
    Ok(Some(email))
}

fn unknown(name: &str) -> IndexError {
    IndexError::NotFound {
        what: "user",
        name: name.to_owned(),
        hint: ": \"lanyard-server user list\" shows who there is",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_and_say_what_is_wrong_with_them() {
        let name = |text: &str| text.parse::<UserName>();
        assert_eq!(name(" Anna ").unwrap().as_str(), "anna");
        assert_eq!(name("anna+lan@example.org").unwrap().as_str(), "anna+lan@example.org");
        for (text, why) in [("", "1 to 64"), ("a b", "\" \""), ("änna", "\"ä\""), ("-a", "begins")] {
            assert!(name(text).unwrap_err().contains(why), "{text}");
        }
        assert!(name(&"a".repeat(65)).is_err());
    }
}
