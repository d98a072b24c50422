//! Signing in at an OIDC provider, and linking an account there to a user.
//!
//! What a browser was sent away with waits here, and counts once, for that browser, at that provider.

use std::collections::BTreeMap;

use lanyard_wire::keys::ct_eq;
use lanyard_wire::names::NetworkName;

use super::waiting::Waiting;
use super::{Accounts, Refused, SignedIn, Slip, Visitor, source};
use crate::config::Oidc;
use crate::index::authority::Role;
use crate::index::identities::Gifts;
use crate::index::secrets::Secret;
use crate::index::users::{NewUser, User, UserName};
use crate::index::{Actor, IndexError};
use crate::oidc::{Account, Failure, Provider, Request};

/// The providers of the settings, and who is on the way to them.
#[derive(Debug)]
pub(super) struct Providers {
    list: Vec<Provider>,
    /// What browsers call this server: providers send them back there.
    url: String,
    away: Waiting<Away>,
}

/// Somebody who was sent to a provider.
struct Away {
    provider: String,
    /// What their browser carries meanwhile.
    slip: String,
    request: Request,
    /// The user who wants to link an account, if that is what it is for.
    link: Option<String>,
}

/// A provider, for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its id in the settings.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its issuer.
    pub issuer: String,
}

/// Where a browser goes, and what it carries meanwhile.
#[derive(Debug)]
pub struct Sent {
    /// The provider's page.
    pub url: String,
    /// The slip to carry.
    pub slip: Slip,
}

/// What a provider sends a browser back with.
#[derive(Default)]
pub struct Back {
    /// What was sent there; anybody may have made it up.
    pub state: String,
    /// What is exchanged for a token.
    pub code: String,
    /// Why there is no code.
    pub error: String,
    /// Who sends it, where the provider says so (RFC 9207).
    pub issuer: Option<String>,
    /// What the browser carried.
    pub slip: String,
}

/// What came of it.
#[derive(Debug)]
pub enum Arrived {
    /// They are in.
    In(SignedIn),
    /// The account is linked to the user who is signed in.
    Linked,
}

impl Providers {
    pub(super) fn new(list: Vec<Provider>, url: String) -> Self {
        Self { list, url, away: Waiting::default() }
    }
}

impl Accounts {
    /// The providers of the settings, in their order.
    #[must_use]
    pub fn providers(&self) -> Vec<Named> {
        let named = |provider: &Provider| {
            let Oidc { id, name, issuer, .. } = provider.settings();
            let name = if name.is_empty() { id } else { name };
            Named { id: id.clone(), name: name.clone(), issuer: issuer.clone() }
        };
        self.providers.list.iter().map(named).collect()
    }

    /// Whether there is any.
    #[must_use]
    pub const fn has_providers(&self) -> bool {
        !self.providers.list.is_empty()
    }

    /// Sends somebody to a provider: to sign in, or to link an account there to `link`.
    ///
    /// # Errors
    /// [`Refused::Provider`] when it does not say where to go, [`Refused::TooMany`] for who asks too often.
    pub async fn send_to(&self, id: &str, link: Option<&User>, visitor: &Visitor) -> Result<Sent, Refused> {
        self.sources.check(&source(visitor.ip))?;
        let provider = self.provider(id)?;
        let request = Request { nonce: Secret::draw()?.reveal(), verifier: Secret::draw()?.reveal() };
        let slip = Secret::draw()?.reveal();
        let state = self.providers.away.keep(Away {
            provider: id.to_owned(),
            slip: slip.clone(),
            request: request.clone(),
            link: link.map(|user| user.id.clone()),
        })?;
        let url =
            provider.way_in(&self.callback(id), &state, &request).await.map_err(|error| failed(&error))?;
        Ok(Sent { url, slip: Slip(slip) })
    }

    /// Takes somebody back whom a provider sent: `current` is who is signed in in that browser.
    ///
    /// # Errors
    /// [`Refused::Back`] when they were not sent there from this browser, [`Refused::Provider`] when it says no,
    /// [`Refused::Stranger`] when the account belongs to nobody here.
    pub async fn take_back(
        &self,
        id: &str,
        back: &Back,
        current: Option<&User>,
        visitor: &Visitor,
    ) -> Result<Arrived, Refused> {
        let provider = self.provider(id)?;
        let away = self.providers.away.take(&back.state).ok_or(Refused::Back)?;
        let is_theirs = ct_eq(away.slip.as_bytes(), back.slip.as_bytes());
        let is_its = back.issuer.as_ref().is_none_or(|issuer| *issuer == provider.settings().issuer);
        if away.provider != id || !is_theirs || !is_its {
            return Err(Refused::Back);
        }
        if !back.error.is_empty() || back.code.is_empty() {
            return Err(Refused::Provider(provider.settings().id.clone()));
        }
        let account = provider
            .account(&self.callback(id), &back.code, &away.request)
            .await
            .map_err(|error| failed(&error))?;
        match (away.link, current) {
            (Some(wanted), Some(user)) if wanted == user.id => {
                let actor = Actor::arriving(user, Some(visitor.ip));
                self.index
                    .link_identity(user, &account.issuer, &account.subject, &called(&account), &actor)
                    .await?;
                Ok(Arrived::Linked)
            }
            (Some(_), _) => Err(Refused::Back),
            (None, _) => self.enter_as(provider, &account, visitor).await.map(Arrived::In),
        }
    }

    async fn enter_as(
        &self,
        provider: &Provider,
        account: &Account,
        visitor: &Visitor,
    ) -> Result<SignedIn, Refused> {
        let settings = provider.settings();
        let known = self.index.user_of_identity(&account.issuer, &account.subject).await?;
        let user = match known {
            Some(user) if user.disabled_at.is_some() => return Err(Refused::Wrong),
            Some(user) => user,
            None if settings.create_users => {
                let new = newcomer(account);
                let label = called(account);
                self.index.add_user_of_identity(&new, &account.issuer, &account.subject, &label).await?
            }
            None => return Err(Refused::Stranger),
        };
        match self.index.follow_groups(&user, &gifts(settings, account)).await {
            // They come in with what they have; the log says what could not be taken from them.
            Err(error @ IndexError::State(_)) => {
                tracing::warn!(%error, user = %user.name, provider = %settings.id, "groups were not followed");
            }
            other => other?,
        }
        self.index.note_identity(&account.issuer, &account.subject).await?;
        let user = self.index.user_by_id(&user.id).await?;
        self.open(user, visitor).await
    }

    fn provider(&self, id: &str) -> Result<&Provider, Refused> {
        self.providers.list.iter().find(|provider| provider.settings().id == id).ok_or(Refused::Back)
    }

    /// Where a provider sends people back.
    fn callback(&self, id: &str) -> String {
        format!("{}/signin/oidc/{id}/callback", self.providers.url)
    }
}

/// Why it failed stands in the log; on the page it says which provider.
fn failed(error: &Failure) -> Refused {
    tracing::warn!(%error, "signing in at a provider failed");
    let (Failure::Unreachable(id, _) | Failure::Answer(id, _) | Failure::Token(id, _)) = error;
    Refused::Provider(id.clone())
}

/// What people see of an account.
fn called(account: &Account) -> String {
    let name = account.name.as_ref().or(account.email.as_ref()).or(account.display_name.as_ref());
    name.unwrap_or(&account.subject).clone()
}

/// A user for an account that nobody here has: named as there, as far as names here go.
fn newcomer(account: &Account) -> NewUser {
    let named = |text: &String| -> Option<UserName> {
        let text = text.trim().to_ascii_lowercase();
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-@+".contains(*c)).take(64);
        let kept: String = kept.collect();
        kept.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).parse().ok()
    };
    let wishes = [account.name.as_ref(), account.email.as_ref(), Some(&account.subject)];
    let name = wishes.into_iter().flatten().find_map(named);
    let line = |text: &Option<String>| -> String {
        text.iter().flat_map(|text| text.chars()).filter(|c| !c.is_control()).take(100).collect()
    };
    let is_address = |email: &String| {
        let parts = email.split_once('@');
        email.len() <= 254
            && !email.contains(|c: char| c.is_whitespace() || c.is_control())
            && parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
    };
    NewUser {
        display_name: line(&account.display_name),
        email: account.email.clone().filter(is_address),
        ..NewUser::person(name.unwrap_or_else(UserName::newcomer))
    }
}

/// What the groups of an account give by the settings. A token that says nothing of groups gives and takes nothing.
fn gifts(settings: &Oidc, account: &Account) -> Gifts {
    let none = Gifts { provider: settings.id.clone(), ..Gifts::default() };
    let Some(groups) = &account.groups else { return none };
    let is_in = |group: &String| groups.contains(group);
    let mut roles: BTreeMap<&NetworkName, Option<Role>> = BTreeMap::new();
    for mapped in &settings.roles {
        let role = is_in(&mapped.group).then_some(mapped.role.into());
        let best = roles.entry(&mapped.network).or_default();
        *best = role.max(*best);
    }
    Gifts {
        admin: (!settings.admin_groups.is_empty()).then(|| settings.admin_groups.iter().any(is_in)),
        roles: roles.into_iter().map(|(network, role)| (network.clone(), role)).collect(),
        ..none
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Given, GroupRole};

    fn account(name: Option<&str>, groups: Option<&[&str]>) -> Account {
        Account {
            issuer: "https://id.example.org".to_owned(),
            subject: "248289761001".to_owned(),
            name: name.map(str::to_owned),
            display_name: None,
            email: None,
            groups: groups.map(|groups| groups.iter().map(|group| (*group).to_owned()).collect()),
        }
    }

    #[test]
    fn a_newcomer_is_named_as_there_as_far_as_names_go() {
        for (name, here) in [
            (Some("Anna"), "anna"),
            (Some("CORP\\Anna Ü."), "corpanna."),
            (Some("-._anna"), "anna"),
            (Some("ÄÖÜ"), "248289761001"),
            (None, "248289761001"),
        ] {
            assert_eq!(newcomer(&account(name, None)).name.as_str(), here);
        }
        let odd = Account { subject: "§".to_owned(), ..account(None, None) };
        assert_eq!(newcomer(&odd).name.as_str(), "user");
        let long = newcomer(&account(Some(&"a".repeat(300)), None));
        assert_eq!(long.name.as_str().len(), 64);
    }

    #[test]
    fn the_best_of_several_groups_counts_and_silence_changes_nothing() {
        let home: NetworkName = NetworkName::parse("home").unwrap();
        let office = NetworkName::parse("office").unwrap();
        let role = |group: &str, network: &NetworkName, role| GroupRole {
            group: group.to_owned(),
            network: network.clone(),
            role,
        };
        let settings = Oidc {
            id: "work".to_owned(),
            admin_groups: vec!["root".to_owned()],
            roles: vec![
                role("staff", &home, Given::Member),
                role("network", &home, Given::Admin),
                role("network", &office, Given::Guest),
            ],
            ..Oidc::default()
        };
        let of = |groups: Option<&[&str]>| gifts(&settings, &account(None, groups));
        let both = of(Some(&["staff", "network"]));
        assert_eq!(both.roles, [(home.clone(), Some(Role::Admin)), (office.clone(), Some(Role::Guest))]);
        assert_eq!(both.admin, Some(false));
        assert_eq!(of(Some(&["root"])).admin, Some(true));
        assert_eq!(of(Some(&[])).roles, [(home, None), (office, None)]);
        assert_eq!(of(None), Gifts { provider: "work".to_owned(), ..Gifts::default() });
    }
}
