//! Invites for people: whoever holds the code becomes something in its network, as the user they are or as a new one.

use std::net::IpAddr;

use lanyard_wire::names::InviteCode;

use super::Index;
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::sql;
use super::draft::Draft;
use super::error::Result;
use super::invites::{Invite, select_invite};
use super::networks::{Network, unknown};
use super::roles::NetworkRole;
use super::users::{NewUser, User};

impl Index {
    /// The invite of that code, for devices or people, if it can still be used; it is not used yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invite_of(&self, code: InviteCode) -> Result<Option<Invite>> {
        let invite: Option<Invite> = sql!(select_invite!("i.code_hash = $1"))
            .bind(self.hash_code(code))
            .fetch_optional(&self.db)
            .await?;
        Ok(invite.filter(|invite| invite.is_open(self.now_ms())))
    }

    /// Makes a user what an invite says, unless they are that or more already, which spends nothing; `None` when the invite was used,
    /// revoked or ran out meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accept_invite(
        &self,
        code: InviteCode,
        user: &User,
        actor: &Actor,
    ) -> Result<Option<NetworkRole>> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::User(user.id.clone()))?;
        let Some(invite) = draft.open_person_invite(code).await? else { return Ok(None) };
        let user = draft.find_user(&user.id).await?;
        let role = draft.give(&invite, &user).await?;
        draft.commit_if_recorded().await?;
        Ok(Some(role))
    }

    /// The same for somebody who is no user yet: they become one, with a password.
    ///
    /// # Errors
    /// [`super::IndexError::Taken`] for a name that somebody has.
    pub async fn accept_invite_anew(
        &self,
        code: InviteCode,
        new: &NewUser,
        stored: &str,
        ip: Option<IpAddr>,
    ) -> Result<Option<User>> {
        let actor = Actor::link_holder("invite", ip);
        let mut draft = self.draft(&actor).await?;
        draft.must(&Need::Link)?;
        let Some(invite) = draft.open_person_invite(code).await? else { return Ok(None) };
        // What an invite gives is a role; no invite makes anybody the server's administrator.
        let user = draft.insert_user(&NewUser { is_server_admin: false, ..new.clone() }).await?;
        draft.write_password(&user, stored, None).await?;
        draft.give(&invite, &user).await?;
        draft.commit().await?;
        Ok(Some(user))
    }
}

impl Draft<'_> {
    async fn open_person_invite(&mut self, code: InviteCode) -> Result<Option<Invite>> {
        let hash = self.index().hash_code(code);
        let invite: Option<Invite> = sql!(select_invite!("i.code_hash = $1 AND i.role IS NOT NULL"))
            .bind(hash)
            .fetch_optional(self.connection())
            .await?;
        Ok(invite.filter(|invite| invite.is_open(self.now())))
    }

    /// Gives a user the role of an invite, and counts the use.
    async fn give(&mut self, invite: &Invite, user: &User) -> Result<NetworkRole> {
        let network: Network =
            self.network(&invite.network).await?.ok_or_else(|| unknown(&invite.network))?;
        let before = self.role(network.id, &user.id).await?;
        let now = self.now();
        let stands = before.clone().filter(|role| role.expires_at.is_none_or(|end| end > now));
        if let Some(role) = stands.filter(|role| Some(role.role) >= invite.gives.role) {
            return Ok(role);
        }
        let after = NetworkRole {
            network_id: network.id,
            network: network.slug,
            user_id: user.id.clone(),
            user: user.name.clone(),
            role: invite.gives.role.unwrap_or(Role::Guest),
            expires_at: invite.gives.end(now),
            created_at: before.as_ref().map_or(now, |before| before.created_at),
        };
        // Whoever administers the server is the owner of every network already.
        if user.is_server_admin {
            return Ok(NetworkRole { role: Role::Owner, expires_at: None, ..after });
        }
        self.write_role(network.id, user, before.as_ref(), Some(&after)).await?;
        self.use_invite_for_person(invite, user).await?;
        Ok(after)
    }
}
