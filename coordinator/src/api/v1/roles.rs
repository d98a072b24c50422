//! `/networks/{network}/roles`: who is what in a network.

use axum::Json;
use serde::Deserialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Items, Nothing, PageQuery, Wanted};
use super::problem::Problem;
use super::sent::{Gone, Named, Sent, invalid, word};
use super::views::RoleView;
use crate::index::lists::Filter;

/// What a user is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleBody {
    /// `guest`, `member`, `admin` or `owner`.
    #[schema(pattern = "^(guest|member|admin|owner)$")]
    role: String,
    /// When it ends by itself, in epoch milliseconds; never without.
    expires_at: Option<i64>,
}

/// Who is to own a network.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerBody {
    /// Id or name of the user.
    user_id: String,
}

/// Who is what in a network; for who does not administer it, only what they are themselves
#[utoipa::path(get, path = "/networks/{network}/roles", params(("network" = String, Path), PageQuery),
    responses((status = 200, body = Items<RoleView>)))]
pub(super) async fn list(
    caller: Caller,
    Named(network): Named<String>,
    wanted: Wanted<Nothing>,
) -> Result<Json<Items<RoleView>>, Problem> {
    let filter = Filter::network(caller.network(&network).await?.id);
    let found = caller.index().roles_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, RoleView::from)))
}

/// Make a user something in a network, by their id or name
#[utoipa::path(put, path = "/networks/{network}/roles/{user_id}",
    params(("network" = String, Path), ("user_id" = String, Path)),
    request_body = RoleBody, responses((status = 200, body = RoleView)))]
pub(super) async fn set(
    caller: Caller,
    Named((network, user)): Named<(String, String)>,
    Sent(body): Sent<RoleBody>,
) -> Result<Json<RoleView>, Problem> {
    // Who does not administer the network learns nothing about which users there are.
    let network = caller.administered(&network).await?;
    let role = word("role", &body.role)?;
    if body.expires_at.is_some_and(|at| at <= caller.index().now_ms()) {
        return Err(invalid("expires_at: it is in the future".to_owned()));
    }
    let index = caller.index();
    let set = index.set_role(&network.slug, &user, Some(role), body.expires_at, &caller.actor()).await?;
    set.map(|role| Json(role.into())).ok_or_else(|| Problem::not_found("role"))
}

/// Make a user nothing in a network; their devices stay in it
#[utoipa::path(delete, path = "/networks/{network}/roles/{user_id}",
    params(("network" = String, Path), ("user_id" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    caller: Caller,
    Named((network, user)): Named<(String, String)>,
) -> Result<Gone, Problem> {
    let network = caller.administered(&network).await?;
    caller.index().set_role(&network.slug, &user, None, None, &caller.actor()).await?;
    Ok(Gone)
}

/// Make another user the owner; whoever owned it becomes an administrator
#[utoipa::path(post, path = "/networks/{network}/owner", params(("network" = String, Path)),
    request_body = OwnerBody, responses((status = 200, body = RoleView)))]
pub(super) async fn pass_on(
    caller: Caller,
    Named(network): Named<String>,
    Sent(body): Sent<OwnerBody>,
) -> Result<Json<RoleView>, Problem> {
    let network = caller.administered(&network).await?;
    let role = caller.index().pass_network_on(&network.slug, &body.user_id, &caller.actor()).await?;
    Ok(Json(role.into()))
}
