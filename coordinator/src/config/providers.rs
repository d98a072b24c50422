//! `[[oidc]]`: where people sign in, beside here.

use lanyard_wire::names::NetworkName;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::index::authority::Role;
use crate::index::text;
use crate::oidc::is_safe;
use crate::problem::Problem;

/// Most characters of a provider's id.
const ID_MAX: usize = 32;

/// `[[oidc]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oidc {
    /// Stands in addresses, and in the audit trail.
    pub id: String,
    /// What people call it; the id, if it is empty.
    pub name: String,
    /// Its issuer, to the letter.
    pub issuer: String,
    /// What this server is called there.
    pub client_id: String,
    /// File with the client's secret, relative to the data directory; empty for a public client.
    pub client_secret_file: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim that lists somebody's groups; empty for none.
    pub groups_claim: String,
    /// Groups whose members administer this server.
    pub admin_groups: Vec<String>,
    /// Which group is what in which network.
    pub roles: Vec<GroupRole>,
    /// Whether somebody becomes a user who signs in there and is none.
    pub create_users: bool,
}

/// What a group gives in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRole {
    /// The group, as the provider names it.
    pub group: String,
    /// The network.
    #[serde(with = "text")]
    pub network: NetworkName,
    /// What its members are there.
    pub role: Given,
}

/// What a group can give: an owner is named by an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Given {
    /// Sees the network and its members.
    Guest,
    /// May also bring devices of their own.
    Member,
    /// Lets devices in and puts them out, invites, changes settings.
    Admin,
}

impl From<Given> for Role {
    fn from(given: Given) -> Self {
        match given {
            Given::Guest => Self::Guest,
            Given::Member => Self::Member,
            Given::Admin => Self::Admin,
        }
    }
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: String::new(),
            scopes: ["openid", "profile", "email"].map(str::to_owned).to_vec(),
            groups_claim: String::new(),
            admin_groups: Vec::new(),
            roles: Vec::new(),
            create_users: false,
        }
    }
}

/// Checks what types cannot say.
pub(super) fn check(providers: &[Oidc]) -> Result<(), Problem> {
    for (place, provider) in providers.iter().enumerate() {
        let id = &provider.id;
        let wrong = |key: &str, why: &str| {
            let which = if id.is_empty() { format!("number {}", place + 1) } else { format!("\"{id}\"") };
            Err(Problem::new("config.invalid", format!("oidc, {which}: {key} {why}")))
        };
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.is_empty() || id.len() > ID_MAX || !id.chars().all(is_word) {
            return wrong("id", "must be 1 to 32 of a-z 0-9 -, for example \"work\"");
        }
        if providers.iter().take(place).any(|other| other.id == *id || other.issuer == provider.issuer) {
            return wrong("id and issuer", "must differ from those of the others");
        }
        let is_issuer = |url: &Url| is_safe(url) && url.query().is_none() && url.fragment().is_none();
        if !Url::parse(&provider.issuer).is_ok_and(|url| is_issuer(&url)) {
            return wrong(
                "issuer",
                "must be the https:// address that the provider calls itself, without ? and #",
            );
        }
        if provider.client_id.is_empty() {
            return wrong(
                "client_id",
                "is empty: the provider gave one when this server was registered there",
            );
        }
        if !provider.scopes.iter().any(|scope| scope == "openid") {
            return wrong("scopes", "must have \"openid\" among them");
        }
        let needs_groups = !provider.admin_groups.is_empty() || !provider.roles.is_empty();
        if needs_groups && provider.groups_claim.is_empty() {
            return wrong("groups_claim", "is empty: name the claim that lists groups, often \"groups\"");
        }
    }
    Ok(())
}
