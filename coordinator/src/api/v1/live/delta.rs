//! What a change means to one listener: the thing as they may see it now, or that it is gone.

use serde::Serialize;
use serde_json::json;

use super::Follower;
use crate::api::v1::links::LinkView;
use crate::api::v1::views::{DeviceView, EventView, InviteView, MemberView, NetworkView, RoleView, UserView};
use crate::index::Result;
use crate::index::authority::Role;
use crate::index::lists::pairs::Link;
use crate::index::lists::{Filter, PAGE_MAX, Page};
use crate::index::metadata::Kind;
use crate::index::outbox::Change;

use lanyard_wire::ids::{DeviceId, NetworkId};

/// One event for a listener.
pub(super) struct Delta {
    /// Kind of thing.
    pub(super) kind: &'static str,
    /// What happened to it, in JSON.
    pub(super) data: String,
}

impl Delta {
    /// It is there, and looks like that.
    fn put(kind: &'static str, item: &impl Serialize) -> Self {
        Self { kind, data: json!({ "op": "put", "item": item }).to_string() }
    }

    /// How two devices reach each other.
    pub(super) fn link(link: Link) -> Self {
        Self::put("link", &LinkView::from(link))
    }

    /// It is not there any more, or not for this listener.
    pub(super) fn gone(kind: &'static str, id: &str) -> Self {
        Self { kind, data: json!({ "op": "gone", "id": id }).to_string() }
    }
}

/// Which thing a change is about: of several changes of one thing the last is told.
pub(super) fn key(change: &Change) -> String {
    match change {
        Change::Network(network) => format!("network {}", network.id),
        Change::NetworkGone { id } => format!("network {id}"),
        Change::Member(member) => format!("member {} {}", member.network, DeviceId::of(&member.identity)),
        Change::MemberGone { network, device, .. } => format!("member {network} {device}"),
        Change::Invite { id, .. } => format!("invite {id}"),
        Change::User { id } => format!("user {id}"),
        Change::Role { network, user } => format!("role {network} {user}"),
        Change::Device { id } => format!("device {id}"),
        Change::Presence { device, .. } => format!("presence {device}"),
        Change::Link { a, b } => format!("link {a} {b}"),
        Change::About { entity, id } => format!("about {entity} {id}"),
        Change::TryAgain { a, b } => format!("try {a} {b}"),
        Change::Path { device, peer, .. } => format!("path {device} {peer}"),
        Change::Event { id } => format!("event {id}"),
        Change::Setting { key } => format!("setting {key}"),
    }
}

const ONE: Page = Page::first(1);

impl Follower {
    /// What to tell the listener of a change.
    pub(super) async fn deltas(&mut self, change: &Change) -> Result<Vec<Delta>> {
        let mut deltas = Vec::new();
        match change {
            Change::Network(network) => deltas.extend(self.network(network.id).await?),
            Change::NetworkGone { id } => {
                // For everybody else the role in it is gone, which was told already.
                deltas.extend(self.grants.role(*id).map(|_| Delta::gone("network", &id.to_string())));
                // Which devices were in it, no row tells, nor which pairs of them share another network.
                self.is_shifted |= self.grants.role(*id).is_some() || !self.own.is_empty();
            }
            Change::Member(member) => {
                self.member(member.network, DeviceId::of(&member.identity), &mut deltas).await?;
            }
            Change::MemberGone { network, device, .. } => self.member(*network, *device, &mut deltas).await?,
            Change::Invite { id, .. } => {
                let found = self.index.invites_page(&self.grants, &Filter::id(id), &ONE).await?;
                deltas.extend(found.rows.into_iter().map(|row| Delta::put("invite", &InviteView::from(row))));
            }
            Change::User { id } => deltas.extend(self.user(id).await?),
            Change::Role { network, user } => self.role(*network, user, &mut deltas).await?,
            Change::Device { id } => deltas.extend(self.device(*id).await?),
            Change::Presence { device, .. } => {
                deltas.extend(self.device(*device).await?);
                let filter = Filter { device: Some(*device), ..Filter::default() };
                let found = self.index.members_page(&self.grants, &filter, &Page::first(PAGE_MAX)).await?;
                deltas.extend(found.rows.into_iter().map(|row| Delta::put("member", &MemberView::from(row))));
            }
            Change::Link { a, b } => {
                let filter = Filter { device: Some(*a), peer: Some(*b), ..Filter::default() };
                let found = self.index.links_page(&self.grants, &filter, &ONE).await?;
                match found.rows.into_iter().next() {
                    Some(row) => deltas.push(Delta::link(row)),
                    None if self.index.is_link_lost(&self.grants, (*a, *b)).await? => {
                        deltas.push(Delta::gone("link", &format!("{a}/{b}")));
                    }
                    None => {}
                }
            }
            Change::About { entity: Kind::User, id } => deltas.extend(self.user(id).await?),
            Change::About { entity: Kind::Network, id } => {
                if let Ok(id) = id.parse() {
                    deltas.extend(self.network(id).await?);
                }
            }
            Change::About { entity: Kind::Device, id } => {
                if let Ok(id) = id.parse() {
                    deltas.extend(self.device(id).await?);
                }
            }
            Change::About { entity: Kind::Member, id } => {
                let found = self.index.members_page(&self.grants, &Filter::id(id), &ONE).await?;
                deltas.extend(found.rows.into_iter().map(|row| Delta::put("member", &MemberView::from(row))));
            }
            Change::Event { id } => {
                let found = self.index.events_page(&self.grants, &Filter::id(id), &ONE).await?;
                deltas.extend(found.rows.into_iter().map(|row| Delta::put("event", &EventView::from(row))));
            }
            Change::TryAgain { .. } | Change::Path { .. } | Change::Setting { .. } => {}
        }
        Ok(deltas)
    }

    async fn network(&self, id: NetworkId) -> Result<Option<Delta>> {
        let found = self.index.networks_page(&self.grants, &Filter::id(id.to_string()), &ONE).await?;
        let view = |row| Delta::put("network", &NetworkView::of(&row, &self.grants));
        Ok(found.rows.into_iter().next().map(view))
    }

    async fn user(&self, id: &str) -> Result<Option<Delta>> {
        let found = self.index.users_page(&self.grants, &Filter::id(id), &ONE).await?;
        let view = |row| Delta::put("user", &UserView::of(row, &self.grants));
        Ok(found.rows.into_iter().next().map(view))
    }

    async fn device(&mut self, id: DeviceId) -> Result<Option<Delta>> {
        let found = self.index.devices_page(&self.grants, &Filter::id(id.to_string()), &ONE).await?;
        let Some(device) = found.rows.into_iter().next() else {
            let was_own = self.own.remove(&id);
            self.is_shifted |= was_own;
            let was_seen = was_own || (self.grants.is_server_admin && self.grants.only.is_none());
            return Ok(was_seen.then(|| Delta::gone("device", &id.to_string())));
        };
        // With a device come and go its memberships in networks of others.
        let is_own = device.user_id.as_ref() == Some(&self.grants.user);
        self.is_shifted |= if is_own { self.own.insert(id) } else { self.own.remove(&id) };
        Ok(Some(Delta::put("device", &DeviceView::of(device, &self.grants))))
    }

    /// A member came, changed or went: with it what its network counts, which pairs are there now and which no more, and whether its
    /// device is seen at all.
    async fn member(&mut self, network: NetworkId, device: DeviceId, deltas: &mut Vec<Delta>) -> Result<()> {
        // Whose own device is the other end sees the pair, and not this member.
        let lost = self.index.links_lost(&self.grants, device, network).await?;
        deltas.extend(lost.into_iter().map(|(a, b)| Delta::gone("link", &format!("{a}/{b}"))));
        self.links_within(network, device, deltas).await?;
        let filter = Filter { device: Some(device), with_gone: true, ..Filter::network(network) };
        let found = self.index.members_page(&self.grants, &filter, &ONE).await?;
        let Some(member) = found.rows.into_iter().next() else { return Ok(()) };
        let is_gone = !member.state.is_live();
        if is_gone {
            deltas.push(Delta::gone("member", &member.id));
        } else {
            deltas.push(Delta::put("member", &MemberView::from(member)));
        }
        match self.device(device).await? {
            Some(delta) => deltas.push(delta),
            None if is_gone => deltas.push(Delta::gone("device", &device.to_string())),
            None => {}
        }
        deltas.extend(self.network(network).await?);
        Ok(())
    }

    /// The pairs of a device within a network: they are there again with a member that is active again.
    async fn links_within(
        &self,
        network: NetworkId,
        device: DeviceId,
        deltas: &mut Vec<Delta>,
    ) -> Result<()> {
        let filter = Filter { device: Some(device), ..Filter::network(network) };
        let mut page = Page::first(PAGE_MAX);
        loop {
            let found = self.index.links_page(&self.grants, &filter, &page).await?;
            deltas.extend(found.rows.into_iter().map(Delta::link));
            let Some(after) = found.next else { return Ok(()) };
            page.after = after;
        }
    }

    /// A user became something in a network, or is nothing there any more: with it whether they are seen at all.
    async fn role(&self, network: NetworkId, user: &str, deltas: &mut Vec<Delta>) -> Result<()> {
        let filter = Filter { user: Some(user.to_owned()), ..Filter::network(network) };
        let found = self.index.roles_page(&self.grants, &filter, &ONE).await?;
        let is_watched = self.grants.role(network) >= Some(Role::Admin) || user == self.grants.user;
        match found.rows.into_iter().next() {
            Some(role) => deltas.push(Delta::put("role", &RoleView::from(role))),
            None if is_watched => deltas.push(Delta::gone("role", &format!("{network}/{user}"))),
            None => return Ok(()),
        }
        match self.user(user).await? {
            Some(delta) => deltas.push(delta),
            None => deltas.push(Delta::gone("user", user)),
        }
        Ok(())
    }
}
