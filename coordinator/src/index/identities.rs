//! Who somebody is at an OIDC provider: its issuer and their subject there, nothing else; names and addresses change and are
//! given to others.
//!
//! What groups of a provider give (a role, this server) is written down as the provider's: it goes when the group goes,
//! and nothing that somebody here gave is touched.

use lanyard_wire::names::NetworkName;
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::roles::NetworkRole;
use super::users::{NewUser, User, UserName};

/// Users who could be called the same before a name is refused.
const NAMESAKES: u32 = 100;

/// An account at a provider that belongs to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Row id.
    pub id: String,
    /// Row id of the user.
    pub user_id: String,
    /// The provider's issuer.
    pub issuer: String,
    /// Who it is there.
    pub subject: String,
    /// What the provider called them when it was linked, for people.
    pub label: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub last_used_at: Option<i64>,
}

impl FromRow for Identity {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            issuer: row.get("issuer")?,
            subject: row.get("subject")?,
            label: row.get("label")?,
            created_at: row.get("created_at")?,
            last_used_at: row.get("last_used_at")?,
        })
    }
}

/// What the groups of somebody give them now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gifts {
    /// The provider's id in the settings.
    pub provider: String,
    /// Whether they administer this server; `None` where the provider has no say in that.
    pub admin: Option<bool>,
    /// Their role in each network that the provider has a say in; `None` for none.
    pub roles: Vec<(NetworkName, Option<Role>)>,
}

impl Index {
    /// The user that account belongs to, if it belongs to one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_of_identity(&self, issuer: &str, subject: &str) -> Result<Option<User>> {
        sql!(
            "SELECT u.* FROM users u JOIN credentials c ON c.user_id = u.id WHERE c.kind = 'oidc' AND c.issuer = $1 \
             AND c.subject = $2"
        )
        .bind(issuer)
        .bind(subject)
        .fetch_optional(&self.db)
        .await
    }

    /// The accounts of a user at providers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn identities_of(&self, user: &User) -> Result<Vec<Identity>> {
        sql!("SELECT * FROM credentials WHERE kind = 'oidc' AND user_id = $1 ORDER BY id")
            .bind(user.id.clone())
            .fetch_all(&self.db)
            .await
    }

    /// Lets a user sign in with an account at a provider.
    ///
    /// # Errors
    /// [`IndexError::Taken`] when it belongs to a user already; [`IndexError::Forbidden`] unless it is one's own doing.
    pub async fn link_identity(
        &self,
        user: &User,
        issuer: &str,
        subject: &str,
        label: &str,
        actor: &Actor,
    ) -> Result<Identity> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let identity = draft.insert_identity(user, issuer, subject, label).await?;
        draft.commit().await?;
        Ok(identity)
    }

    /// Makes a user for an account at a provider that nobody here has, by the name it gives or one like it.
    ///
    /// # Errors
    /// [`IndexError::Taken`] when the account belongs to a user meanwhile.
    pub async fn add_user_of_identity(
        &self,
        new: &NewUser,
        issuer: &str,
        subject: &str,
        label: &str,
    ) -> Result<User> {
        let actor = Actor::system();
        let mut draft = self.draft(&actor).await?;
        draft.must(&Need::Server)?;
        let mut new = new.clone();
        new.name = draft.free_user_name(&new.name).await?;
        let user = draft.insert_user(&new).await?;
        draft.insert_identity(&user, issuer, subject, label).await?;
        draft.commit().await?;
        Ok(user)
    }

    /// Takes an account at a provider from its user.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::State`] when they could not sign in any more; [`IndexError::Forbidden`] unless
    /// it is one's own, or a server administrator asks.
    pub async fn unlink_identity(&self, id: &str, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let known: Option<Identity> = sql!("SELECT * FROM credentials WHERE id = $1 AND kind = 'oidc'")
            .bind(id)
            .fetch_optional(draft.connection())
            .await?;
        let Some(before) = known else {
            return Err(IndexError::NotFound { what: "linked account", name: id.to_owned(), hint: "" });
        };
        draft.must(&Need::User(before.user_id.clone()))?;
        let user = draft.find_user(&before.user_id).await?;
        draft.remove_way_in(&user, id).await?;
        draft.record_identity("user.unlink", &user, Some(&before), None).await?;
        draft.commit().await
    }

    /// Gives a user what their groups give, and takes what they gave before and do not any more.
    ///
    /// A role that somebody here gave stays as it is, and so does an owner's.
    ///
    /// # Errors
    /// [`IndexError::State`] when no administrator would be left.
    pub async fn follow_groups(&self, user: &User, gifts: &Gifts) -> Result<()> {
        let actor = Actor::system();
        let mut draft = self.draft(&actor).await?;
        draft.must(&Need::Server)?;
        let user = draft.find_user(&user.id).await?;
        if let Some(is_admin) = gifts.admin {
            draft.follow_admin(&user, is_admin, &gifts.provider).await?;
        }
        for (slug, role) in &gifts.roles {
            draft.follow_role(&user, slug, *role, &gifts.provider).await?;
        }
        draft.commit_if_recorded().await
    }

    /// Notes that an account was used to sign in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_identity(&self, issuer: &str, subject: &str) -> Result<()> {
        // Nobody's decision, so no audit: that a session opens is noted.
        let mut transaction = self.db.begin_write().await?;
        sql!("UPDATE credentials SET last_used_at = $3 WHERE kind = 'oidc' AND issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .bind(self.clock.now_ms())
            .execute(&mut transaction)
            .await?;
        transaction.commit().await
    }
}

impl Draft<'_> {
    async fn insert_identity(
        &mut self,
        user: &User,
        issuer: &str,
        subject: &str,
        label: &str,
    ) -> Result<Identity> {
        let identity = Identity {
            id: self.new_id()?,
            user_id: user.id.clone(),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            label: label.chars().filter(|c| !c.is_control()).take(254).collect(),
            created_at: self.now(),
            last_used_at: None,
        };
        let inserted = sql!(
            "INSERT INTO credentials (id, user_id, kind, issuer, subject, label, confirmed_at, created_at) \
             VALUES ($1, $2, 'oidc', $3, $4, $5, $6, $6)"
        )
        .bind(identity.id.clone())
        .bind(identity.user_id.clone())
        .bind(identity.issuer.clone())
        .bind(identity.subject.clone())
        .bind(identity.label.clone())
        .bind(identity.created_at)
        .execute(self.connection())
        .await;
        match inserted {
            Err(error) if error.is_unique_violation() => {
                return Err(IndexError::Taken { what: "linked account", name: identity.label });
            }
            other => other?,
        };
        self.record_identity("user.link", user, None, Some(&identity)).await?;
        Ok(identity)
    }

    /// That name, or one like it that nobody has: an account elsewhere never becomes the user who is called the same here.
    async fn free_user_name(&mut self, wish: &UserName) -> Result<UserName> {
        let base: String = wish.as_str().chars().take(60).collect();
        for number in 1..=NAMESAKES {
            let name = if number == 1 { wish.to_string() } else { format!("{base}-{number}") };
            let known: Option<String> = sql!("SELECT id FROM users WHERE name = $1")
                .bind(name.clone())
                .fetch_optional(self.connection())
                .await?;
            if known.is_none() {
                return name.parse().map_err(|why| IndexError::Invalid { what: "name", why });
            }
        }
        Err(IndexError::Taken { what: "user", name: wish.to_string() })
    }

    async fn follow_admin(&mut self, before: &User, is_admin: bool, provider: &str) -> Result<()> {
        let source: String = sql!("SELECT admin_source FROM users WHERE id = $1")
            .bind(before.id.clone())
            .fetch_one(self.connection())
            .await?;
        let is_its = source == provider && before.is_server_admin;
        if is_admin == before.is_server_admin || (!is_admin && !is_its) {
            return Ok(());
        }
        let after = User { is_server_admin: is_admin, ..before.clone() };
        self.update_user(before, &after).await?;
        sql!("UPDATE users SET admin_source = $2 WHERE id = $1")
            .bind(before.id.clone())
            .bind(if is_admin { provider } else { "" })
            .execute(self.connection())
            .await
            .map(drop)
    }

    async fn follow_role(
        &mut self,
        user: &User,
        slug: &NetworkName,
        role: Option<Role>,
        provider: &str,
    ) -> Result<()> {
        let Some(network) = self.network(slug).await? else {
            tracing::warn!(network = %slug, provider, "the settings map a group to a network that does not exist");
            return Ok(());
        };
        let before = self.role(network.id, &user.id).await?;
        let source: Option<String> =
            sql!("SELECT source FROM network_roles WHERE network_id = $1 AND user_id = $2")
                .bind(network.id.to_string())
                .bind(user.id.clone())
                .fetch_optional(self.connection())
                .await?;
        let is_anothers = source.is_some_and(|source| source != provider);
        if is_anothers || before.as_ref().map(|before| before.role) == role {
            return Ok(());
        }
        let after = role.map(|role| NetworkRole {
            network_id: network.id,
            network: network.slug.clone(),
            user_id: user.id.clone(),
            user: user.name.clone(),
            role,
            expires_at: None,
            created_at: before.as_ref().map_or(self.now(), |before| before.created_at),
        });
        self.write_role(network.id, user, before.as_ref(), after.as_ref()).await?;
        sql!("UPDATE network_roles SET source = $3 WHERE network_id = $1 AND user_id = $2")
            .bind(network.id.to_string())
            .bind(user.id.clone())
            .bind(provider)
            .execute(self.connection())
            .await
            .map(drop)
    }

    async fn record_identity(
        &mut self,
        code: &'static str,
        user: &User,
        before: Option<&Identity>,
        after: Option<&Identity>,
    ) -> Result<()> {
        self.record(Entry { code, entity: "user", id: &user.id, network: None, before, after }).await
    }
}
