//! What is changed about things that exist: a member's name, a device's owner, and taking networks and devices away.
//!
//! Nothing is deleted from the database: what is taken away keeps its row, which the audit trail and the addresses that rest
//! still need.

use lanyard_wire::ids::DeviceId;
use lanyard_wire::names::{DeviceName, NetworkName};

use super::Index;
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::sql;
use super::devices::Device;
use super::draft::Draft;
use super::error::{IndexError, Result};
use super::groups::{self, Word};
use super::memberships::{LeftBy, Member, MemberState, select_member};
use super::networks::{Network, unknown};
use super::outbox::Change;
use super::roles::NetworkRole;
use super::users::UserKind;

/// Most members that are put out in one transaction.
const EXPIRED_BATCH: i64 = 200;

/// What is to be changed about a member; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct MemberWishes {
    /// Its name in the network.
    pub name: Option<DeviceName>,
    /// Its tags, all of them.
    pub tags: Option<Vec<Word>>,
    /// Epoch milliseconds when it ends by itself, or never.
    pub expires_at: Option<Option<i64>>,
}

/// What is to be changed about a device; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct DeviceWishes {
    /// Its name; it gives itself another when it joins with one.
    pub name: Option<DeviceName>,
    /// Whether it is switched off in every network.
    pub is_suspended: Option<bool>,
    /// Row id of the user it belongs to, or nobody.
    pub user_id: Option<Option<String>>,
}

impl Index {
    /// Changes what is said of a member.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an administrator of the network asks, or its owner for another
    /// name; [`IndexError::Taken`] when another member has the name; [`IndexError::Invalid`] for an end that has passed.
    pub async fn set_member(
        &self,
        slug: &NetworkName,
        member: &str,
        wishes: MemberWishes,
        actor: &Actor,
    ) -> Result<Member> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(slug).await?.ok_or_else(|| unknown(slug))?;
        let before = draft.find_member(&network, member).await?;
        let is_about_power = wishes.tags.is_some() || wishes.expires_at.is_some();
        let owner = before.owner.clone().filter(|_| !is_about_power);
        draft.must(&Need::Member { network: network.id, owner })?;
        draft.must_be_as_seen("member", &before)?;
        let mut after = before.clone();
        if let Some(name) = wishes.name.filter(|name| *name != before.name) {
            if before.state.is_live() && draft.free_name(&network, &name, before.device).await? != name {
                return Err(IndexError::Taken { what: "member", name: name.to_string() });
            }
            after.name = name;
        }
        if let Some(tags) = wishes.tags {
            after.tags = groups::sorted(tags)?;
        }
        if let Some(end) = wishes.expires_at {
            if end.is_some_and(|end| end <= draft.now()) {
                let why = "the time has passed already: remove the member instead".to_owned();
                return Err(IndexError::Invalid { what: "expires_at", why });
            }
            after.expires_at = end;
        }
        if after == before {
            return Ok(before);
        }
        let code = if after.name == before.name { "member.set" } else { "member.rename" };
        let after = draft.write_member(code, Some(&before), after).await?;
        draft.commit().await?;
        Ok(after)
    }

    /// Puts out whose time is over, at most [`EXPIRED_BATCH`] of them; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_members(&self) -> Result<usize> {
        let due: i64 = sql!(
            "SELECT COUNT(*) FROM memberships WHERE expires_at <= $1 AND state IN ('pending', 'active', 'suspended')"
        )
        .bind(self.now_ms())
        .fetch_one(&self.db)
        .await?;
        if due == 0 {
            return Ok(0);
        }
        let actor = Actor::system();
        let mut draft = self.draft(&actor).await?;
        draft.must(&Need::Server)?;
        let now = draft.now();
        let over: Vec<Member> = sql!(select_member!(
            "m.expires_at <= $1 AND m.state IN ('pending', 'active', 'suspended') ORDER BY m.expires_at LIMIT $2"
        ))
        .bind(now)
        .bind(EXPIRED_BATCH)
        .fetch_all(draft.connection())
        .await?;
        for before in &over {
            let after = Member { state: MemberState::Left, left_by: Some(LeftBy::Admin), ..before.clone() };
            draft.write_member("member.expire", Some(before), after).await?;
        }
        draft.commit_if_recorded().await?;
        Ok(over.len())
    }

    /// Changes what is said of a device. Suspended, it is switched off in each of its networks, until that is taken back.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless its owner asks for another name, or an administrator of
    /// the server for anything.
    pub async fn set_device(&self, id: DeviceId, wishes: &DeviceWishes, actor: &Actor) -> Result<Device> {
        let mut draft = self.draft(actor).await?;
        let before = draft.present_device(id).await?;
        // Who owns a device must not undo that it was suspended, nor push it onto somebody else.
        let is_about_power = wishes.is_suspended.is_some() || wishes.user_id.is_some();
        let owner = before.user_id.clone();
        draft.must(&if is_about_power { Need::Server } else { Need::Device { id, owner } })?;
        draft.must_be_as_seen("device", &before)?;
        let mut after = before.clone();
        if let Some(name) = &wishes.name {
            after.name = name.clone();
        }
        match wishes.is_suspended {
            Some(true) => after.suspended_at = before.suspended_at.or(Some(draft.now())),
            Some(false) => after.suspended_at = None,
            None => {}
        }
        if let Some(user) = &wishes.user_id {
            after.user_id = match user {
                Some(user) => Some(draft.find_user(user).await?.id),
                None => None,
            };
        }
        if after == before {
            return Ok(before);
        }
        draft.write_device("device.set", &before, &after).await?;
        if after.suspended_at.is_some() != before.suspended_at.is_some() {
            for member in draft.live_memberships(id).await? {
                draft.write_member("member.update", Some(&member), member.clone()).await?;
            }
        }
        draft.commit().await?;
        Ok(after)
    }

    /// Takes a device off the server: out of each network, and out of its user's hands. Let in again, it is back, and
    /// no more suspended.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless its owner or an administrator of the server asks, of one
    /// that is suspended an administrator only.
    pub async fn remove_device(&self, id: DeviceId, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let before = draft.present_device(id).await?;
        // Otherwise its owner would undo that it was suspended, by taking it off and letting it join again.
        let is_suspended = before.suspended_at.is_some();
        let owner = before.user_id.clone();
        draft.must(&if is_suspended { Need::Server } else { Need::Device { id, owner } })?;
        draft.must_be_as_seen("device", &before)?;
        for member in draft.live_memberships(id).await? {
            let after = Member { state: MemberState::Left, left_by: Some(LeftBy::Admin), ..member.clone() };
            draft.write_member("member.remove", Some(&member), after).await?;
        }
        let after =
            Device { removed_at: Some(draft.now()), user_id: None, suspended_at: None, ..before.clone() };
        draft.write_device("device.remove", &before, &after).await?;
        draft.commit().await
    }

    /// Takes a network away: its members are out at once, its name is free.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an owner asks.
    pub async fn remove_network(&self, slug: &NetworkName, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(slug).await?.ok_or_else(|| unknown(slug))?;
        draft.must(&Need::Network(network.id, Role::Owner))?;
        draft.must_be_as_seen("network", &network)?;
        let now = draft.now();
        sql!(
            "UPDATE memberships SET state = 'left', left_by = 'admin', updated_at = $2 WHERE network_id = $1 \
             AND state IN ('pending', 'active', 'suspended')"
        )
        .bind(network.id.to_string())
        .bind(now)
        .execute(draft.connection())
        .await?;
        sql!("UPDATE invites SET revoked_at = $2 WHERE network_id = $1 AND revoked_at IS NULL")
            .bind(network.id.to_string())
            .bind(now)
            .execute(draft.connection())
            .await?;
        draft.erase_webhooks_of(&network).await?;
        sql!("UPDATE networks SET deleted_at = $2, updated_at = $2 WHERE id = $1")
            .bind(network.id.to_string())
            .bind(now)
            .execute(draft.connection())
            .await?;
        draft.record_network("network.remove", Some(&network), None).await?;
        draft.publish(&Change::NetworkGone { id: network.id }).await?;
        draft.commit().await
    }
}

impl Draft<'_> {
    /// The device with that id, if it is on the server.
    async fn present_device(&mut self, id: DeviceId) -> Result<Device> {
        let device = self.device(id).await?.filter(|device| device.removed_at.is_none());
        device.ok_or_else(|| IndexError::NotFound {
            what: "device",
            name: id.to_string(),
            hint: ": \"lanyard-server device list\" shows what there is",
        })
    }

    async fn live_memberships(&mut self, device: DeviceId) -> Result<Vec<Member>> {
        sql!(select_member!("m.device_id = $1 AND m.state IN ('pending', 'active', 'suspended')"))
            .bind(device.to_string())
            .fetch_all(self.connection())
            .await
    }

    /// A device that was taken off the server is on it again.
    pub(super) async fn bring_back(&mut self, id: DeviceId) -> Result<()> {
        let Some(before) = self.device(id).await?.filter(|device| device.removed_at.is_some()) else {
            return Ok(());
        };
        let after = Device { removed_at: None, ..before.clone() };
        self.write_device("device.update", &before, &after).await
    }

    pub(super) async fn write_device(
        &mut self,
        code: &'static str,
        before: &Device,
        after: &Device,
    ) -> Result<()> {
        let now = self.now();
        sql!(
            "UPDATE devices SET name = $2, suspended_at = $3, user_id = $4, removed_at = $5, updated_at = $6 \
             WHERE id = $1"
        )
        .bind(after.id.to_string())
        .bind(after.name.to_string())
        .bind(after.suspended_at)
        .bind(after.user_id.clone())
        .bind(after.removed_at)
        .bind(now)
        .execute(self.connection())
        .await?;
        self.record_device(code, Some(before), after).await
    }

    /// Whoever makes a network owns it, if they are a user who signs in.
    pub(super) async fn give_to_maker(&mut self, network: &Network) -> Result<()> {
        let Some(maker) = self.actor().user_id().map(str::to_owned) else { return Ok(()) };
        let maker = self.find_user(&maker).await?;
        if maker.kind == UserKind::Service {
            return Ok(());
        }
        let role = NetworkRole {
            network_id: network.id,
            network: network.slug.clone(),
            user_id: maker.id.clone(),
            user: maker.name.clone(),
            role: Role::Owner,
            expires_at: None,
            created_at: self.now(),
        };
        self.write_role(network.id, &maker, None, Some(&role)).await
    }
}
