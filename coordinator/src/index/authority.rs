//! Who may do what: the one place that decides.
//!
//! Every change states what it needs ([`Need`]) before it is committed; a draft that never asked is not committed at
//! all. Whoever acts carries what they may do ([`Power`]) since they were let in, so the answer needs no question of its
//! own to the database.

use std::collections::BTreeMap;

use lanyard_wire::ids::{DeviceId, NetworkId};

use super::error::{IndexError, Result};
use super::text::text_enum;

text_enum! {
    /// What a user is in a network; each may do what those before may.
    Role {
        /// Sees the network and its members.
        Guest = "guest",
        /// May also bring devices of their own.
        Member = "member",
        /// Lets devices in and puts them out, invites, changes settings.
        Admin = "admin",
        /// May also name administrators, pass the network on, and delete it.
        Owner = "owner",
    }
}

/// What a change needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// To administer the whole server.
    Server,
    /// To be that user, or to administer the server.
    User(String),
    /// At least that role in that network.
    Network(NetworkId, Role),
    /// To be that device, or the user it belongs to.
    Device {
        /// The device.
        id: DeviceId,
        /// The user it belongs to.
        owner: Option<String>,
    },
    /// To administer that network, or to be the user whose device is in it.
    Member {
        /// The network.
        network: NetworkId,
        /// The user it belongs to.
        owner: Option<String>,
    },
    /// To be a user of this server.
    Anybody,
    /// To hold the one-time link to this server.
    Link,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Power {
    /// Everything: the program itself, and whoever may read its data directory.
    All,
    /// What concerns that device.
    Device(DeviceId),
    /// What a user may.
    User(Grants),
    /// To use the one-time link.
    Link,
    /// Nothing any more: a user who was shut out meanwhile.
    None,
}

/// What a user may, as it was when they were let in for this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// Row id of the user.
    pub user: String,
    /// Whether they may do everything on this server.
    pub is_server_admin: bool,
    /// What they are in which network.
    pub roles: BTreeMap<NetworkId, Role>,
    /// The only network they may touch, for a token that is limited to one.
    pub only: Option<NetworkId>,
    /// Whether they may change anything, for a token that only reads.
    pub may_write: bool,
    /// Whether a program asks, with a token: it is not told where its user is signed in, nor of their tokens.
    pub by_token: bool,
}

impl Grants {
    /// What whoever may read the data directory sees: everything.
    #[must_use]
    pub const fn operator() -> Self {
        Self {
            user: String::new(),
            is_server_admin: true,
            roles: BTreeMap::new(),
            only: None,
            may_write: true,
            by_token: false,
        }
    }

    /// What they are in a network; a server administrator is its owner everywhere.
    #[must_use]
    pub fn role(&self, network: NetworkId) -> Option<Role> {
        if self.only.is_some_and(|only| only != network) {
            return None;
        }
        if self.is_server_admin { Some(Role::Owner) } else { self.roles.get(&network).copied() }
    }

    fn meets(&self, need: &Need) -> bool {
        if !self.may_write {
            return false;
        }
        match need {
            Need::Network(network, role) => self.role(*network) >= Some(*role),
            Need::Server => self.is_server_admin && self.only.is_none(),
            Need::User(id) => self.only.is_none() && (self.is_server_admin || *id == self.user),
            Need::Device { owner, .. } => {
                self.only.is_none() && (self.is_server_admin || owner.as_ref() == Some(&self.user))
            }
            Need::Member { network, owner } => {
                let is_own = owner.as_ref() == Some(&self.user);
                self.role(*network) >= Some(Role::Admin)
                    || (is_own && self.only.is_none_or(|only| only == *network))
            }
            Need::Anybody => self.only.is_none(),
            Need::Link => false,
        }
    }
}

impl Power {
    /// Whether it is enough.
    #[must_use]
    pub fn meets(&self, need: &Need) -> bool {
        match self {
            Self::All => true,
            Self::Device(own) => matches!(need, Need::Device { id, .. } if id == own),
            Self::User(grants) => grants.meets(need),
            Self::Link => *need == Need::Link,
            Self::None => false,
        }
    }

    /// Refuses what it is not enough for.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`], which names who could.
    pub fn must(&self, need: &Need) -> Result<()> {
        if self.meets(need) {
            return Ok(());
        }
        Err(IndexError::Forbidden(match need {
            Need::Network(_, Role::Owner) => "an owner of this network",
            Need::Network(_, Role::Admin) => "an administrator of this network",
            Need::Network(_, Role::Member) => "a member of this network",
            Need::Network(_, Role::Guest) => "somebody who belongs to this network",
            Need::Server => "an administrator of this server",
            Need::User(_) => "the user themselves, or an administrator of this server",
            Need::Device { .. } => "the device's owner, or an administrator of this server",
            Need::Member { .. } => "an administrator of this network, or the device's owner",
            Need::Anybody => "a user of this server",
            Need::Link => "whoever holds the one-time link",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: NetworkId = NetworkId::from_bytes([1; 16]);
    const ELSEWHERE: NetworkId = NetworkId::from_bytes([2; 16]);

    fn grants(role: Option<Role>) -> Grants {
        Grants {
            user: "anna".to_owned(),
            is_server_admin: false,
            roles: role.into_iter().map(|role| (HERE, role)).collect(),
            only: None,
            may_write: true,
            by_token: false,
        }
    }

    fn device(owner: Option<&str>) -> Need {
        Need::Device { id: DeviceId::from_bytes([7; 16]), owner: owner.map(str::to_owned) }
    }

    #[test]
    fn a_role_is_enough_for_itself_and_less_and_only_in_its_network() {
        let roles = [Role::Guest, Role::Member, Role::Admin, Role::Owner];
        for has in roles {
            let power = Power::User(grants(Some(has)));
            for wants in roles {
                assert_eq!(power.meets(&Need::Network(HERE, wants)), has >= wants, "{has} for {wants}");
                assert!(!power.meets(&Need::Network(ELSEWHERE, wants)), "{has} elsewhere");
            }
            assert!(!power.meets(&Need::Server) && !power.meets(&Need::Link), "{has}");
        }
        assert!(!Power::User(grants(None)).meets(&Need::Network(HERE, Role::Guest)));
    }

    #[test]
    fn a_user_has_power_over_themselves_and_their_devices_only() {
        let power = Power::User(grants(Some(Role::Owner)));
        assert!(power.meets(&Need::User("anna".to_owned())) && power.meets(&device(Some("anna"))));
        assert!(!power.meets(&Need::User("ben".to_owned())));
        assert!(!power.meets(&device(Some("ben"))) && !power.meets(&device(None)));
    }

    #[test]
    fn a_token_never_may_more_than_it_says() {
        let all = Grants { is_server_admin: true, ..grants(None) };
        let needs =
            [Need::Server, Need::User("ben".to_owned()), device(None), Need::Network(ELSEWHERE, Role::Owner)];
        for need in &needs {
            assert!(Power::User(all.clone()).meets(need), "{need:?}");
            assert!(!Power::User(Grants { only: Some(HERE), ..all.clone() }).meets(need), "{need:?}");
            assert!(!Power::User(Grants { may_write: false, ..all.clone() }).meets(need), "{need:?}");
        }
        assert!(Power::User(Grants { only: Some(HERE), ..all }).meets(&Need::Network(HERE, Role::Owner)));
    }

    #[test]
    fn a_device_has_power_over_itself() {
        let power = Power::Device(DeviceId::from_bytes([7; 16]));
        assert!(power.meets(&device(None)));
        assert!(!power.meets(&Need::Device { id: DeviceId::from_bytes([8; 16]), owner: None }));
        assert!(!power.meets(&Need::Network(HERE, Role::Guest)) && !power.meets(&Need::Server));
    }

    #[test]
    fn a_refusal_names_who_could() {
        let error = Power::Link.must(&Need::Network(HERE, Role::Admin)).unwrap_err();
        assert_eq!(error.code(), "index.forbidden");
        assert!(error.to_string().contains("an administrator of this network"), "{error}");
    }
}
