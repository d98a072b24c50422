//! Who calls: a user by the cookie of their session, or a program by a token of theirs.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum_extra::extract::CookieJar;

use super::problem::Problem;
use crate::api::Web;
use crate::api::pages::visitor::Way;
use crate::index::audit::Via;
use crate::index::authority::{Grants, Role};
use crate::index::lists::{Filter, Page};
use crate::index::networks::Network;
use crate::index::secrets::Secret;
use crate::index::sessions::Session;
use crate::index::tokens::{ApiToken, BEGIN, Scope};
use crate::index::users::User;
use crate::index::version::Version;
use crate::index::{Actor, Index};

/// Whoever calls, let in.
#[derive(Clone)]
pub(super) struct Caller {
    /// Who.
    pub(super) user: User,
    /// What they may do, less what their token leaves out.
    pub(super) grants: Grants,
    /// By which door.
    pub(super) door: Door,
    /// What they showed, to be looked at again while they stay.
    pub(super) pass: Pass,
    way: Way,
    index: Arc<Index>,
}

/// How a caller showed who they are.
#[derive(Clone)]
pub(super) enum Door {
    /// Signed in with a browser.
    Session(Session),
    /// A program with a token.
    Token(ApiToken),
}

/// What a caller showed.
#[derive(Clone)]
pub(super) enum Pass {
    /// The cookie of a session.
    Session(Secret),
    /// A token.
    Token(Secret),
}

impl Pass {
    /// Whom it lets in now, and with what they may do; `None` if nobody any more.
    pub(super) async fn look(&self, index: &Index) -> crate::index::Result<Option<(User, Grants, Door)>> {
        let found = match self {
            Self::Session(secret) => {
                index.session(secret).await?.map(|(session, user)| (user, Door::Session(session)))
            }
            Self::Token(secret) => index.token(secret).await?.map(|(token, user)| (user, Door::Token(token))),
        };
        let Some((user, door)) = found else { return Ok(None) };
        let grants = index.grants(&user).await?;
        let grants = match &door {
            Door::Session(_) => grants,
            Door::Token(token) => token.limit(grants),
        };
        Ok(Some((user, grants, door)))
    }
}

impl Caller {
    /// What is asked.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// The same, to be kept.
    pub(super) fn shared_index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }

    /// Who makes a change.
    pub(super) fn actor(&self) -> Actor {
        let via = match self.door {
            Door::Session(_) => Via::Panel,
            Door::Token(_) => Via::Api,
        };
        Actor::user(self.grants.clone(), via, self.way.ip)
    }

    /// Who makes a change of something that must still be as they saw it.
    pub(super) fn actor_if(&self, version: Option<Version>) -> Actor {
        self.actor().expecting(version)
    }

    /// Whether they administer the whole server.
    pub(super) fn is_server_admin(&self) -> bool {
        self.grants.is_server_admin && self.grants.only.is_none()
    }

    /// The network of that name or id, if they may know of it.
    pub(super) async fn network(&self, name: &str) -> Result<Network, Problem> {
        let name = name.to_ascii_lowercase();
        let found =
            self.index.networks_page(&self.grants, &Filter::id(name.clone()), &Page::first(2)).await?;
        let mut found = found.rows;
        // A name that reads like the id of another network is a name.
        found.sort_by_key(|network| network.slug.as_str() != name);
        found.into_iter().next().ok_or_else(|| Problem::not_found("network"))
    }

    /// The same, for what only its administrators see.
    pub(super) async fn administered(&self, name: &str) -> Result<Network, Problem> {
        let network = self.network(name).await?;
        if self.grants.role(network.id) < Some(Role::Admin) {
            return Err(Problem::forbidden("an administrator of this network"));
        }
        Ok(network)
    }

    /// Refuses programs: a token that leaked must not make others, nor look at where its user is signed in.
    pub(super) fn must_be_signed_in(&self) -> Result<&Session, Problem> {
        match &self.door {
            Door::Session(session) => Ok(session),
            Door::Token(_) => {
                let detail = "this is done signed in with a browser, not with a token";
                Err(Problem::new("api.session_only", StatusCode::FORBIDDEN, detail))
            }
        }
    }
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let index = web.index.clone().ok_or_else(Problem::no_index)?;
        let way = Way::of(parts, &web.proxies);
        let pass = match bearer(parts) {
            Some(Some(secret)) => Pass::Token(secret),
            Some(None) => return Err(stranger(web, way)),
            None => match way.session_secret(&CookieJar::from_headers(&parts.headers)) {
                Some(secret) => Pass::Session(secret),
                None => return Err(Problem::unauthenticated()),
            },
        };
        let Some((user, grants, door)) = pass.look(&index).await? else { return Err(stranger(web, way)) };
        let is_change = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if let Door::Token(ApiToken { scope: Scope::Read, .. }) = door
            && is_change
        {
            let detail = "this token only reads: make one with the scope \"write\"";
            return Err(Problem::new("api.read_only", StatusCode::FORBIDDEN, detail));
        }
        let caller = Self { user, grants, door, pass, way, index };
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

/// The token of a request; `Some(None)` for what is there and is none: it is refused, not passed over.
fn bearer(parts: &Parts) -> Option<Option<Secret>> {
    let value = parts.headers.get(header::AUTHORIZATION)?;
    let text = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    Some(text.and_then(|text| text.trim().strip_prefix(BEGIN)).and_then(Secret::parse))
}

/// Who shows something that opens nothing; told to wait when they go on with that.
fn stranger(web: &Web, way: Way) -> Problem {
    match web.accounts.as_ref().map(|accounts| accounts.note_stranger(way.ip)) {
        Some(Err(refused)) => refused.into(),
        Some(Ok(())) | None => Problem::unauthenticated(),
    }
}
