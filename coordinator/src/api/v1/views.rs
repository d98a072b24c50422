//! What programs see: names and types that do not change when the tables do.
//!
//! Instants are epoch milliseconds, ids are texts, words are those of the command line.

use serde::Serialize;
use utoipa::ToSchema;

use super::words::{ApproveWord, JoinWord, MemberWord, RoleWord, ScopeWord, UserWord};
use crate::index::audit::AuditEvent;
use crate::index::authority::{Grants, Role};
use crate::index::devices::Device;
use crate::index::invites::Invite;
use crate::index::memberships::Member;
use crate::index::networks::Network;
use crate::index::roles::NetworkRole;
use crate::index::sessions::Session;
use crate::index::tokens::ApiToken;
use crate::index::users::User;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserView {
    pub(super) id: String,
    /// What they sign in with.
    pub(super) name: String,
    /// What others see; the name, if it is empty.
    pub(super) display_name: String,
    /// For themselves and administrators of the server only.
    pub(super) email: Option<String>,
    /// `person` or `service`.
    #[schema(value_type = UserWord)]
    pub(super) kind: &'static str,
    /// Whether they may do everything on this server.
    pub(super) is_server_admin: bool,
    /// When they were shut out.
    pub(super) disabled_at: Option<i64>,
    pub(super) created_at: i64,
}

impl UserView {
    /// A user, as somebody sees them.
    pub(super) fn of(user: User, grants: &Grants) -> Self {
        let is_near = grants.only.is_none() && (grants.is_server_admin || user.id == grants.user);
        Self {
            id: user.id,
            name: user.name.to_string(),
            display_name: user.display_name,
            email: user.email.filter(|_| is_near),
            kind: user.kind.as_str(),
            is_server_admin: user.is_server_admin,
            disabled_at: user.disabled_at,
            created_at: user.created_at,
        }
    }
}

/// A network.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NetworkView {
    pub(super) id: String,
    /// Its name in join strings.
    pub(super) name: String,
    /// `locked`, `invite`, `password` or `request`: who may ask to join.
    #[schema(value_type = JoinWord)]
    pub(super) join_mode: &'static str,
    /// Whether it has a password to join with.
    pub(super) has_password: bool,
    /// `auto` or `manual`: whether an invite's holder is a member at once.
    #[schema(value_type = ApproveWord)]
    pub(super) approve: &'static str,
    /// Its IPv4 prefix.
    pub(super) prefix4: String,
    /// Its IPv6 prefix.
    pub(super) prefix6: String,
    /// Whether members may pass on frames for each other.
    pub(super) peer_relay: bool,
    /// Count of changes that devices see.
    pub(super) revision: u64,
    /// Active members.
    pub(super) members: i64,
    /// Devices that wait for approval.
    pub(super) pending: i64,
    pub(super) created_at: i64,
    /// What the caller is in it: `guest`, `member`, `admin` or `owner`.
    #[schema(value_type = RoleWord)]
    pub(super) role: &'static str,
}

impl NetworkView {
    /// A network, as somebody sees it who has a role in it.
    pub(super) fn of(network: &Network, grants: &Grants) -> Self {
        let role = grants.role(network.id).unwrap_or(Role::Guest);
        Self {
            id: network.id.to_string(),
            name: network.slug.to_string(),
            join_mode: network.join_mode.as_str(),
            has_password: network.has_password,
            approve: network.approve.as_str(),
            prefix4: network.prefix4.to_string(),
            prefix6: format!("{}/64", network.prefix6),
            peer_relay: network.peer_relay,
            revision: network.revision.value(),
            members: network.active,
            pending: network.pending,
            created_at: network.created_at,
            role: role.as_str(),
        }
    }
}

/// A device in a network.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MemberView {
    pub(super) id: String,
    /// Name of the network.
    pub(super) network: String,
    /// Id of the device.
    pub(super) device_id: String,
    /// The nine digits people read out: `291-044-871`.
    pub(super) number: String,
    /// Its name in this network.
    pub(super) name: String,
    /// `pending`, `active`, `suspended`, `left` or `denied`.
    #[schema(value_type = MemberWord)]
    pub(super) state: &'static str,
    pub(super) ip4: Option<String>,
    pub(super) ip6: Option<String>,
    /// `invite`, `password`, `request` or `admin`: by which door it came.
    pub(super) joined_via: &'static str,
    pub(super) online: bool,
    pub(super) last_seen_at: Option<i64>,
    /// Id of the user whose device it is.
    pub(super) user_id: Option<String>,
    /// Its tags, in their order.
    pub(super) tags: Vec<String>,
    /// When it ends by itself.
    pub(super) expires_at: Option<i64>,
    pub(super) created_at: i64,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let state = member.state_for_devices().as_str();
        Self {
            id: member.id,
            network: member.network.to_string(),
            device_id: member.device.to_string(),
            number: member.number.to_string(),
            name: member.name.to_string(),
            state,
            ip4: member.ip4.map(|ip| ip.to_string()),
            ip6: member.ip6.map(|ip| ip.to_string()),
            joined_via: member.joined_via.as_str(),
            online: member.online,
            last_seen_at: member.last_seen_at,
            user_id: member.owner,
            tags: member.tags.iter().map(ToString::to_string).collect(),
            expires_at: member.expires_at,
            created_at: member.created_at,
        }
    }
}

/// An enrolled machine.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeviceView {
    pub(super) id: String,
    /// The nine digits people read out: `291-044-871`.
    pub(super) number: String,
    /// The name it gave last.
    pub(super) name: String,
    /// Id of the user it belongs to.
    pub(super) user_id: Option<String>,
    pub(super) os: String,
    pub(super) agent_version: String,
    pub(super) online: bool,
    pub(super) last_seen_at: Option<i64>,
    /// Its public address then; for its user and administrators of the server only.
    pub(super) last_ip: Option<String>,
    /// When it was suspended everywhere.
    pub(super) suspended_at: Option<i64>,
    pub(super) created_at: i64,
}

impl DeviceView {
    /// A device, as somebody sees it.
    pub(super) fn of(device: Device, grants: &Grants) -> Self {
        let is_own = device.user_id.as_ref() == Some(&grants.user);
        let is_near = grants.only.is_none() && (grants.is_server_admin || is_own);
        Self {
            id: device.id.to_string(),
            number: device.number.to_string(),
            name: device.name.to_string(),
            user_id: device.user_id,
            os: device.os,
            agent_version: device.agent_version,
            online: device.online,
            last_seen_at: device.last_seen_at,
            last_ip: device.last_ip.filter(|_| is_near),
            suspended_at: device.suspended_at,
            created_at: device.created_at,
        }
    }
}

/// A code that lets devices or people in; the code itself is shown once, when it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InviteView {
    pub(super) id: String,
    /// Name of its network.
    pub(super) network: String,
    /// First two characters of the code.
    pub(super) code_prefix: String,
    pub(super) max_uses: i64,
    pub(super) uses: i64,
    /// Whether its holder is a member at once.
    pub(super) auto_approve: bool,
    /// `device` or `person`: whom it lets in.
    pub(super) target: &'static str,
    /// What a person becomes in the network.
    pub(super) role: Option<&'static str>,
    /// Id of the user whose the devices become.
    pub(super) owner_id: Option<String>,
    /// Tags that the devices get.
    pub(super) tags: Vec<String>,
    /// Seconds that the membership or the role lasts; null for ever.
    pub(super) member_for: Option<i64>,
    pub(super) expires_at: i64,
    pub(super) revoked_at: Option<i64>,
    pub(super) created_by: String,
    pub(super) created_at: i64,
}

impl From<Invite> for InviteView {
    fn from(invite: Invite) -> Self {
        Self {
            id: invite.id,
            network: invite.network.to_string(),
            code_prefix: invite.code_prefix,
            max_uses: invite.max_uses,
            uses: invite.uses,
            auto_approve: invite.auto_approve,
            target: if invite.gives.role.is_some() { "person" } else { "device" },
            role: invite.gives.role.map(Role::as_str),
            owner_id: invite.gives.owner_id,
            tags: invite.gives.tags.iter().map(ToString::to_string).collect(),
            member_for: invite.gives.member_life_ms.map(|life| life / 1_000),
            expires_at: invite.expires_at,
            revoked_at: invite.revoked_at,
            created_by: invite.created_by,
            created_at: invite.created_at,
        }
    }
}

/// What a user is in a network.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoleView {
    /// Ids of the network and of the user, with a slash between them.
    pub(super) id: String,
    /// Name of the network.
    pub(super) network: String,
    pub(super) user_id: String,
    /// Name of the user.
    pub(super) user: String,
    /// `guest`, `member`, `admin` or `owner`.
    #[schema(value_type = RoleWord)]
    pub(super) role: &'static str,
    /// When it ends by itself.
    pub(super) expires_at: Option<i64>,
    pub(super) created_at: i64,
}

impl From<NetworkRole> for RoleView {
    fn from(role: NetworkRole) -> Self {
        Self {
            id: format!("{}/{}", role.network_id, role.user_id),
            network: role.network.to_string(),
            user_id: role.user_id,
            user: role.user.to_string(),
            role: role.role.as_str(),
            expires_at: role.expires_at,
            created_at: role.created_at,
        }
    }
}

/// Where a user is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    pub(super) id: String,
    /// What the browser calls itself.
    pub(super) user_agent: String,
    pub(super) ip: Option<String>,
    pub(super) created_at: i64,
    /// To the minute.
    pub(super) seen_at: i64,
    pub(super) expires_at: i64,
    /// Whether it is the one that asks.
    pub(super) is_this: bool,
}

impl SessionView {
    pub(super) fn of(session: Session, this: Option<&str>) -> Self {
        Self {
            is_this: this == Some(session.id.as_str()),
            id: session.id,
            user_agent: session.user_agent,
            ip: session.ip,
            created_at: session.created_at,
            seen_at: session.seen_at,
            expires_at: session.expires_at,
        }
    }
}

/// A token of a program; its secret is shown once, when it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenView {
    pub(super) id: String,
    pub(super) name: String,
    /// The first characters of its secret.
    pub(super) prefix: String,
    /// `read` or `write`.
    #[schema(value_type = ScopeWord)]
    pub(super) scope: &'static str,
    /// Id of the only network it may touch.
    pub(super) network_id: Option<String>,
    pub(super) expires_at: Option<i64>,
    /// To the minute.
    pub(super) last_used_at: Option<i64>,
    pub(super) created_at: i64,
}

impl From<ApiToken> for TokenView {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            prefix: token.prefix,
            scope: token.scope.as_str(),
            network_id: token.network_id.map(|network| network.to_string()),
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            created_at: token.created_at,
        }
    }
}

/// Who changed what.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventView {
    pub(super) id: String,
    pub(super) at: i64,
    /// `user`, `operator`, `device` or `system`.
    pub(super) actor_kind: String,
    /// Their name or id.
    pub(super) actor_id: String,
    /// `panel`, `cli`, `api`, `agent` or `system`: the door they came by.
    pub(super) via: String,
    /// What was done: `member.approve`.
    pub(super) code: String,
    /// Kind of thing changed.
    pub(super) entity_type: String,
    pub(super) entity_id: String,
    /// How it was before; missing for something new.
    #[schema(value_type = serde_json::Value)]
    pub(super) before: Option<serde_json::Value>,
    /// How it is since; missing for something gone.
    #[schema(value_type = serde_json::Value)]
    pub(super) after: Option<serde_json::Value>,
}

impl From<AuditEvent> for EventView {
    fn from(event: AuditEvent) -> Self {
        let read = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        Self {
            id: event.id,
            at: event.at,
            actor_kind: event.actor_kind,
            actor_id: event.actor_id,
            via: event.via,
            code: event.code,
            entity_type: event.entity_type,
            entity_id: event.entity_id,
            before: read(event.before),
            after: read(event.after),
        }
    }
}
