//! `/users`: who can sign in, and services.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Items, PageQuery, Text, Wanted};
use super::problem::Problem;
use super::sent::{IfMatch, Made, Named, Sent, Tagged, invalid, word};
use super::views::UserView;
use crate::api::Web;
use crate::index::credentials::CODE_LIFETIME_MS;
use crate::index::lists::{Filter, Page};
use crate::index::users::{NewUser, User, UserKind, UserWishes};

/// A user to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUserBody {
    /// What they sign in with: 1 to 64 letters, digits and . _ - @ +; upper case becomes lower case.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What others see.
    #[serde(default)]
    display_name: String,
    email: Option<String>,
    /// `person` (as if nothing is said) or `service`.
    #[schema(pattern = "^(person|service)$")]
    kind: Option<String>,
    /// Whether they may do everything on this server.
    #[serde(default)]
    is_server_admin: bool,
}

/// What is to change about a user; what is not named stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserBody {
    display_name: Option<String>,
    /// Where to write to; empty for nowhere.
    email: Option<String>,
    /// Whether they are shut out; their sessions end at once.
    disabled: Option<bool>,
    /// Whether they may do everything on this server.
    is_server_admin: Option<bool>,
}

/// A code with which a user chooses a password.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CodeView {
    /// It works once.
    code: String,
    /// The page to open; null where this server serves none.
    #[schema(required)]
    url: Option<String>,
    expires_at: i64,
}

/// The user of that id, if the caller may know of them.
pub(super) async fn seen(caller: &Caller, id: &str) -> Result<User, Problem> {
    let found = caller.index().users_page(&caller.grants, &Filter::id(id), &Page::first(1)).await?;
    found.rows.into_iter().next().ok_or_else(|| Problem::not_found("user"))
}

fn shown(caller: &Caller, user: User) -> Tagged<UserView> {
    Tagged(caller.index().version(&user), UserView::of(user, &caller.grants))
}

/// A token makes nobody an administrator: it ends, and what they could do then would not.
fn refuse_tokens_power(caller: &Caller, is_wished: bool) -> Result<(), Problem> {
    if is_wished {
        caller.must_be_signed_in()?;
    }
    Ok(())
}

/// Users that one may know of, by name
#[utoipa::path(get, path = "/users", params(PageQuery, Text), responses((status = 200, body = Items<UserView>)))]
pub(super) async fn list(caller: Caller, wanted: Wanted<Text>) -> Result<Json<Items<UserView>>, Problem> {
    let found = caller.index().users_page(&caller.grants, &wanted.filter.filter()?, &wanted.page).await?;
    Ok(Json(Items::of(found, |user| UserView::of(user, &caller.grants))))
}

/// Make a user
#[utoipa::path(post, path = "/users", request_body = NewUserBody, responses((status = 201, body = UserView)))]
pub(super) async fn add(
    caller: Caller,
    Sent(body): Sent<NewUserBody>,
) -> Result<Made<Tagged<UserView>>, Problem> {
    refuse_tokens_power(&caller, body.is_server_admin)?;
    let new = NewUser {
        name: body.name.parse().map_err(|why| invalid(format!("name: {why}")))?,
        display_name: body.display_name,
        email: body.email,
        kind: body.kind.map_or(Ok(UserKind::Person), |kind| word("kind", &kind))?,
        is_server_admin: body.is_server_admin,
    };
    let user = caller.index().add_user(&new, &caller.actor()).await?;
    Ok(Made(shown(&caller, user)))
}

/// A user
#[utoipa::path(get, path = "/users/{id}", params(("id" = String, Path)), responses((status = 200, body = UserView)))]
pub(super) async fn show(caller: Caller, Named(id): Named<String>) -> Result<Tagged<UserView>, Problem> {
    let user = seen(&caller, &id).await?;
    Ok(shown(&caller, user))
}

/// Change a user
#[utoipa::path(patch, path = "/users/{id}", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = UserBody, responses((status = 200, body = UserView)))]
pub(super) async fn set(
    caller: Caller,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
    Sent(body): Sent<UserBody>,
) -> Result<Tagged<UserView>, Problem> {
    let user = seen(&caller, &id).await?;
    refuse_tokens_power(&caller, body.is_server_admin == Some(true))?;
    let wishes = UserWishes {
        display_name: body.display_name,
        email: body.email,
        is_server_admin: body.is_server_admin,
        is_disabled: body.disabled,
    };
    let user = caller.index().set_user(&user.id, &wishes, &caller.actor_if(version)).await?;
    Ok(shown(&caller, user))
}

/// Make a code with which a user chooses a password; an earlier one loses its use
#[utoipa::path(post, path = "/users/{id}/code", params(("id" = String, Path)), responses((status = 201, body = CodeView)))]
pub(super) async fn new_code(
    State(web): State<Web>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Made<Json<CodeView>>, Problem> {
    // With a code one signs in: a token that leaked must not become a session that nobody ends.
    caller.must_be_signed_in()?;
    let user = seen(&caller, &id).await?;
    if !caller.is_server_admin() {
        return Err(Problem::forbidden("an administrator of this server"));
    }
    // One's own password is changed by who knows it, and not by who found a session open.
    if user.id == caller.user.id {
        return Err(Problem::forbidden("another administrator of this server"));
    }
    if user.disabled_at.is_some() {
        let detail = format!("\"{}\" is shut out: let them in again first", user.name);
        return Err(Problem::new("index.state", StatusCode::CONFLICT, detail));
    }
    let expires_at = caller.index().now_ms().saturating_add(CODE_LIFETIME_MS);
    let code = caller.index().new_user_code(&user, &caller.actor()).await?.reveal();
    let url = web.entrance.as_ref().and_then(|entrance| entrance.link("welcome", &code).ok());
    Ok(Made(Json(CodeView { code, url, expires_at })))
}
