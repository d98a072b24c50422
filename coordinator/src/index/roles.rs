//! Roles: what a user is in a network.
//!
//! A network that has an owner keeps one as long as anybody has a role in it: the last owner's is not taken away, only
//! passed on.

use std::collections::BTreeMap;

use lanyard_wire::ids::NetworkId;
use lanyard_wire::names::NetworkName;
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::{Grants, Need, Power, Role};
use super::db::{FromRow, Row, Transaction, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::networks::unknown;
use super::outbox::Change;
use super::text;
use super::users::{User, UserKind, UserName};

/// What a user is in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkRole {
    /// The network.
    #[serde(with = "text")]
    pub network_id: NetworkId,
    /// Its name.
    #[serde(with = "text")]
    pub network: NetworkName,
    /// Row id of the user.
    pub user_id: String,
    /// Their name.
    pub user: UserName,
    /// What they are.
    pub role: Role,
    /// Epoch milliseconds, when it ends by itself.
    pub expires_at: Option<i64>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

impl FromRow for NetworkRole {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            network_id: text::column(row, "network_id")?,
            network: text::column(row, "slug")?,
            user_id: row.get("user_id")?,
            user: text::column(row, "name")?,
            role: text::column(row, "role")?,
            expires_at: row.get("expires_at")?,
            created_at: row.get("created_at")?,
        })
    }
}

macro_rules! select_role {
    ($rest:literal) => {
        concat!(
            "SELECT r.*, n.slug, u.name FROM network_roles r JOIN networks n ON n.id = r.network_id \
             JOIN users u ON u.id = r.user_id WHERE n.deleted_at IS NULL AND ",
            $rest
        )
    };
}

impl Index {
    /// What a user may do now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grants(&self, user: &User) -> Result<Grants> {
        let roles: Vec<NetworkRole> =
            sql!(select_role!("r.user_id = $1 AND (r.expires_at IS NULL OR r.expires_at > $2)"))
                .bind(user.id.clone())
                .bind(self.clock.now_ms())
                .fetch_all(&self.db)
                .await?;
        let roles: BTreeMap<NetworkId, Role> =
            roles.into_iter().map(|role| (role.network_id, role.role)).collect();
        Ok(Grants {
            user: user.id.clone(),
            is_server_admin: user.is_server_admin,
            roles,
            only: None,
            may_write: true,
            by_token: false,
        })
    }

    /// Who is what in a network, by name.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is no such network.
    pub async fn roles_in(&self, slug: &NetworkName) -> Result<Vec<NetworkRole>> {
        self.network(slug).await?;
        sql!(select_role!("n.slug = $1 ORDER BY u.name")).bind(slug.to_string()).fetch_all(&self.db).await
    }

    /// What a user is, and where, by network.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is no such user.
    pub async fn roles_of(&self, user: &str) -> Result<Vec<NetworkRole>> {
        let user = self.user(user).await?;
        sql!(select_role!("r.user_id = $1 ORDER BY n.slug")).bind(user.id).fetch_all(&self.db).await
    }

    /// Makes a user something in a network, or nothing any more.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an administrator of the network asks, and an owner
    /// where owners or administrators are made or unmade; [`IndexError::State`] when no owner would be left.
    pub async fn set_role(
        &self,
        slug: &NetworkName,
        user: &str,
        role: Option<Role>,
        expires_at: Option<i64>,
        actor: &Actor,
    ) -> Result<Option<NetworkRole>> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(slug).await?.ok_or_else(|| unknown(slug))?;
        let user = draft.find_user(user).await?;
        let before = draft.role(network.id, &user.id).await?;
        let is_about_power = role.max(before.as_ref().map(|before| before.role)) >= Some(Role::Admin);
        draft.must(&Need::Network(network.id, if is_about_power { Role::Owner } else { Role::Admin }))?;
        if role == Some(Role::Owner) {
            refuse_absent(&user)?;
        }
        if role == Some(Role::Owner) && expires_at.is_some() {
            return Err(IndexError::Invalid {
                what: "expires_at",
                why: "an owner stays until another takes over".to_owned(),
            });
        }
        let after = role.map(|role| NetworkRole {
            network_id: network.id,
            network: network.slug.clone(),
            user_id: user.id.clone(),
            user: user.name.clone(),
            role,
            expires_at,
            created_at: before.as_ref().map_or(draft.now(), |before| before.created_at),
        });
        if after == before {
            return Ok(after);
        }
        draft.write_role(network.id, &user, before.as_ref(), after.as_ref()).await?;
        draft.commit().await?;
        Ok(after)
    }

    /// Makes another user the owner of a network; whoever owned it is an administrator from then on.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an owner asks.
    pub async fn pass_network_on(&self, slug: &NetworkName, to: &str, actor: &Actor) -> Result<NetworkRole> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(slug).await?.ok_or_else(|| unknown(slug))?;
        draft.must(&Need::Network(network.id, Role::Owner))?;
        let heir = draft.find_user(to).await?;
        refuse_absent(&heir)?;
        let owners: Vec<NetworkRole> =
            sql!(select_role!("n.slug = $1 AND r.role = 'owner' AND r.user_id <> $2"))
                .bind(slug.to_string())
                .bind(heir.id.clone())
                .fetch_all(draft.connection())
                .await?;
        let before = draft.role(network.id, &heir.id).await?;
        let after = NetworkRole {
            network_id: network.id,
            network: network.slug.clone(),
            user_id: heir.id.clone(),
            user: heir.name.clone(),
            role: Role::Owner,
            expires_at: None,
            created_at: before.as_ref().map_or(draft.now(), |before| before.created_at),
        };
        if before.as_ref() != Some(&after) {
            draft.write_role(network.id, &heir, before.as_ref(), Some(&after)).await?;
        }
        for before in owners {
            let user = draft.find_user(&before.user_id).await?;
            let after = NetworkRole { role: Role::Admin, ..before.clone() };
            draft.write_role(network.id, &user, Some(&before), Some(&after)).await?;
        }
        draft.commit_if_recorded().await?;
        Ok(after)
    }
}

impl Index {
    /// What an actor may do under the write lock: since they were let in somebody may have taken it from them.
    pub(super) async fn power_now(&self, transaction: &mut Transaction, actor: &Actor) -> Result<Power> {
        let Power::User(claimed) = actor.power() else { return Ok(actor.power().clone()) };
        let user: Option<User> = sql!("SELECT * FROM users WHERE id = $1")
            .bind(claimed.user.clone())
            .fetch_optional(&mut *transaction)
            .await?;
        let roles: Vec<NetworkRole> =
            sql!(select_role!("r.user_id = $1 AND (r.expires_at IS NULL OR r.expires_at > $2)"))
                .bind(claimed.user.clone())
                .bind(self.clock.now_ms())
                .fetch_all(transaction)
                .await?;
        let Some(user) = user.filter(|user| user.disabled_at.is_none()) else { return Ok(Power::None) };
        let has =
            |network: &NetworkId| roles.iter().find(|role| role.network_id == *network).map(|role| role.role);
        let roles = claimed.roles.iter();
        let roles = roles.filter_map(|(network, role)| Some((*network, has(network)?.min(*role))));
        Ok(Power::User(Grants {
            is_server_admin: claimed.is_server_admin && user.is_server_admin,
            roles: roles.collect(),
            ..claimed.clone()
        }))
    }
}

impl Draft<'_> {
    /// What a user is in a network.
    pub(super) async fn role(&mut self, network: NetworkId, user: &str) -> Result<Option<NetworkRole>> {
        sql!(select_role!("r.network_id = $1 AND r.user_id = $2"))
            .bind(network.to_string())
            .bind(user)
            .fetch_optional(self.connection())
            .await
    }

    /// Writes, changes or removes a role, and sees to it that a network with roles keeps an owner.
    pub(super) async fn write_role(
        &mut self,
        network: NetworkId,
        user: &User,
        before: Option<&NetworkRole>,
        after: Option<&NetworkRole>,
    ) -> Result<()> {
        let added_by = self.actor().user_id().map(str::to_owned);
        match after {
            Some(after) => {
                sql!(
                    "INSERT INTO network_roles (network_id, user_id, role, expires_at, added_by, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (network_id, user_id) DO UPDATE SET \
                     role = excluded.role, expires_at = excluded.expires_at, added_by = excluded.added_by, source = ''"
                )
                .bind(network.to_string())
                .bind(user.id.clone())
                .bind(after.role.as_str())
                .bind(after.expires_at)
                .bind(added_by)
                .bind(after.created_at)
                .execute(self.connection())
                .await?;
            }
            None => {
                sql!("DELETE FROM network_roles WHERE network_id = $1 AND user_id = $2")
                    .bind(network.to_string())
                    .bind(user.id.clone())
                    .execute(self.connection())
                    .await?;
                self.leave_groups(network, &user.id).await?;
            }
        }
        let was_owner = before.is_some_and(|role| role.role == Role::Owner);
        if was_owner && self.has_roles_but_no_owner(network).await? {
            return Err(IndexError::State(format!(
                "\"{}\" is the last owner of this network: pass it on to somebody else first",
                user.name
            )));
        }
        let id = format!("{network}/{}", user.id);
        let code = if after.is_some() { "role.set" } else { "role.remove" };
        self.record(Entry { code, entity: "role", id: &id, network: Some(network), before, after }).await?;
        self.publish(&Change::Role { network, user: user.id.clone() }).await
    }

    async fn has_roles_but_no_owner(&mut self, network: NetworkId) -> Result<bool> {
        let roles: Vec<String> = sql!("SELECT DISTINCT role FROM network_roles WHERE network_id = $1")
            .bind(network.to_string())
            .fetch_all(self.connection())
            .await?;
        Ok(!roles.is_empty() && !roles.iter().any(|role| role == Role::Owner.as_str()))
    }
}

/// An owner is somebody who can act as one.
fn refuse_absent(user: &User) -> Result<()> {
    if user.kind == UserKind::Service || user.disabled_at.is_some() {
        return Err(IndexError::State(format!(
            "\"{}\" cannot sign in, so they cannot own a network",
            user.name
        )));
    }
    Ok(())
}
