//! `/me`: who asks, where they are signed in, and their tokens.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Door};
use super::page::{Asked, Items};
use super::problem::Problem;
use super::sent::{Gone, Made, Named, Sent, invalid, word};
use super::views::{RoleView, SessionView, TokenView, UserView};
use super::words::ViaWord;
use crate::index::lists::{Filter, PAGE_MAX, Page};
use crate::index::networks::NetworksBy;
use crate::index::tokens::{BEGIN, NewToken};
use crate::index::users::{User, UserKind};

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    pub(super) user: UserView,
    /// What they are where, less what their token leaves out.
    pub(super) roles: Vec<RoleView>,
    /// Whether they may do everything on this server, with what they showed.
    pub(super) server_admin: bool,
    /// `session` or `token`: what they showed.
    #[schema(value_type = ViaWord)]
    pub(super) via: &'static str,
    /// Whether they may change anything with it.
    pub(super) may_write: bool,
    /// Whether they may make networks.
    pub(super) may_make_networks: bool,
    /// Version of the server.
    pub(super) version: &'static str,
}

impl Me {
    pub(super) async fn of(caller: &Caller) -> Result<Self, Problem> {
        let own = Filter { user: Some(caller.user.id.clone()), ..Filter::default() };
        let roles = caller.index().roles_page(&caller.grants, &own, &Page::first(PAGE_MAX)).await?;
        Ok(Self {
            user: UserView::of(caller.user.clone(), &caller.grants),
            roles: roles.rows.into_iter().map(RoleView::from).collect(),
            server_admin: caller.is_server_admin(),
            via: match caller.door {
                Door::Session(_) => "session",
                Door::Token(_) => "token",
            },
            may_write: caller.grants.may_write,
            may_make_networks: caller.grants.only.is_none()
                && (caller.is_server_admin() || caller.index().networks_by() == NetworksBy::Users),
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTokenBody {
    /// What its owner calls it: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// `read` or `write`: what it may.
    #[schema(pattern = "^(read|write)$")]
    scope: String,
    /// Name or id of the only network it may touch; all of its user's without.
    network: Option<String>,
    /// Seconds until it ends by itself, at most ten years; never without.
    #[schema(minimum = 1, maximum = 315_360_000)]
    expires_in: Option<u32>,
    /// Id of the user it is for, when an administrator of the server makes one for a service.
    user_id: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewTokenView {
    #[serde(flatten)]
    token: TokenView,
    /// What the program sends: shown this once.
    secret: String,
}

/// Whose tokens.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    /// Id of the user, when an administrator of the server asks; oneself without.
    user_id: Option<String>,
}

impl Whose {
    async fn user(self, caller: &Caller) -> Result<User, Problem> {
        match self.user_id {
            Some(id) if id != caller.user.id => {
                if !caller.is_server_admin() {
                    return Err(Problem::forbidden("an administrator of this server"));
                }
                super::users::seen(caller, &id).await
            }
            Some(_) | None => Ok(caller.user.clone()),
        }
    }
}

/// Longest life of a token, in seconds: ten years.
const LIFE_MAX: u32 = 315_360_000;

/// Who asks, and what they may do
#[utoipa::path(get, path = "/me", responses((status = 200, body = Me)))]
pub(super) async fn show(caller: Caller) -> Result<Json<Me>, Problem> {
    Me::of(&caller).await.map(Json)
}

/// Where one is signed in
#[utoipa::path(get, path = "/me/sessions", responses((status = 200, body = Items<SessionView>)))]
pub(super) async fn list_sessions(caller: Caller) -> Result<Json<Items<SessionView>>, Problem> {
    let this = caller.must_be_signed_in()?.id.clone();
    let sessions = caller.index().sessions_of(&caller.user).await?;
    Ok(Json(Items::all(sessions, |session| SessionView::of(session, Some(&this)))))
}

/// End a session
#[utoipa::path(delete, path = "/me/sessions/{id}", params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn end_session(caller: Caller, Named(id): Named<String>) -> Result<Gone, Problem> {
    caller.must_be_signed_in()?;
    let own = caller.index().sessions_of(&caller.user).await?;
    if !own.iter().any(|session| session.id == id) {
        return Err(Problem::not_found("session"));
    }
    caller.index().end_session(&id, &caller.actor()).await?;
    Ok(Gone)
}

/// One's tokens; an administrator of the server sees those of anybody
#[utoipa::path(get, path = "/me/tokens", params(Whose), responses((status = 200, body = Items<TokenView>)))]
pub(super) async fn list_tokens(
    caller: Caller,
    Asked(whose): Asked<Whose>,
) -> Result<Json<Items<TokenView>>, Problem> {
    caller.must_be_signed_in()?;
    let tokens = caller.index().tokens_of(&whose.user(&caller).await?).await?;
    Ok(Json(Items::all(tokens, TokenView::from)))
}

/// Make a token; its secret is shown this once
#[utoipa::path(post, path = "/me/tokens", request_body = NewTokenBody, responses((status = 201, body = NewTokenView)))]
pub(super) async fn add_token(
    caller: Caller,
    Sent(body): Sent<NewTokenBody>,
) -> Result<Made<Json<NewTokenView>>, Problem> {
    caller.must_be_signed_in()?;
    let network = match &body.network {
        Some(name) => Some(caller.network(name).await?.slug),
        None => None,
    };
    if body.expires_in.is_some_and(|seconds| !(1..=LIFE_MAX).contains(&seconds)) {
        return Err(invalid(format!("expires_in: 1 to {LIFE_MAX} seconds")));
    }
    let user = match &body.user_id {
        Some(id) if *id != caller.user.id => super::users::seen(&caller, id).await?,
        Some(_) | None => caller.user.clone(),
    };
    // With a token of somebody's one acts in their name, which the audit trail would believe.
    if user.id != caller.user.id && user.kind == UserKind::Person {
        return Err(Problem::forbidden("the user themselves"));
    }
    let new = NewToken {
        name: body.name,
        scope: word("scope", &body.scope)?,
        network,
        lifetime_ms: body.expires_in.map(|seconds| i64::from(seconds) * 1_000),
    };
    let (token, secret) = caller.index().add_token(&user, &new, &caller.actor()).await?;
    let secret = format!("{BEGIN}{}", secret.reveal());
    Ok(Made(Json(NewTokenView { token: token.into(), secret })))
}

/// End a token
#[utoipa::path(delete, path = "/me/tokens/{id}", params(("id" = String, Path), Whose), responses((status = 204)))]
pub(super) async fn end_token(
    caller: Caller,
    Named(id): Named<String>,
    Asked(whose): Asked<Whose>,
) -> Result<Gone, Problem> {
    caller.must_be_signed_in()?;
    let own = caller.index().tokens_of(&whose.user(&caller).await?).await?;
    if !own.iter().any(|token| token.id == id) {
        return Err(Problem::not_found("token"));
    }
    caller.index().end_token(&id, &caller.actor()).await?;
    Ok(Gone)
}
