//! `/networks/{network}/members`: devices in a network.

use axum::Json;
use lanyard_wire::names::{DeviceName, NetworkName};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::devices::said;
use super::page::{Items, PageQuery, Wanted, looked_for, truth};
use super::problem::Problem;
use super::sent::{Gone, IfMatch, Named, Sent, Tagged, invalid, word, words};
use super::views::MemberView;
use crate::index::edits::MemberWishes;
use crate::index::lists::{Filter, Page};
use crate::index::memberships::{Member, MemberState, Verdict};

/// Which members.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those in this state; without, those that are in or wait.
    #[serde(default)]
    #[param(required = false, pattern = "^(pending|active|suspended|left|denied)$")]
    state: String,
    /// Whether those that left or were turned down are listed too: `true` or `false`.
    #[serde(default)]
    #[param(required = false, pattern = "^(true|false)$")]
    gone: String,
    /// Only those that this query finds.
    #[serde(default)]
    #[param(required = false, max_length = 512)]
    q: String,
}

/// What is to change about a member; what is not named stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberBody {
    /// Its name in this network.
    #[schema(min_length = 1, max_length = 63)]
    name: Option<String>,
    /// Its tags, all of them: words of a-z 0-9 -.
    tags: Option<Vec<String>>,
    /// When it ends by itself; null for never.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<i64>)]
    expires_at: Option<Option<i64>>,
}

/// The member of that id, in whatever state, if the caller may know of it.
pub(super) async fn seen(caller: &Caller, network: &str, id: &str) -> Result<(NetworkName, Member), Problem> {
    // Whoever owns a device sees its membership without a role in the network, but not by the network's name.
    let network = caller.network(network).await?;
    let filter = Filter { id: Some(id.to_owned()), with_gone: true, ..Filter::network(network.id) };
    let found = caller.index().members_page(&caller.grants, &filter, &Page::first(1)).await?;
    let member = found.rows.into_iter().next().ok_or_else(|| Problem::not_found("member"))?;
    Ok((network.slug, member))
}

fn shown(caller: &Caller, member: Member) -> Tagged<MemberView> {
    Tagged(caller.index().version(&member), member.into())
}

async fn judge(
    caller: &Caller,
    (network, id): (String, String),
    verdict: Verdict,
    version: IfMatch,
) -> Result<Tagged<MemberView>, Problem> {
    let (network, member) = seen(caller, &network, &id).await?;
    let actor = caller.actor_if(version.0);
    let member = caller.index().judge_member(&network, &member.device.to_string(), verdict, &actor).await?;
    Ok(shown(caller, member))
}

/// Members of a network, by name
#[utoipa::path(get, path = "/networks/{network}/members", params(("network" = String, Path), PageQuery, Which),
    responses((status = 200, body = Items<MemberView>)))]
pub(super) async fn list(
    caller: Caller,
    Named(network): Named<String>,
    wanted: Wanted<Which>,
) -> Result<Json<Items<MemberView>>, Problem> {
    let network = caller.network(&network).await?;
    let Which { state, gone, q } = wanted.filter;
    let state: Option<MemberState> = (!state.is_empty()).then(|| word("state", &state)).transpose()?;
    let filter = Filter {
        state,
        with_gone: truth("gone", &gone)? == Some(true) && state.is_none(),
        query: looked_for(&q)?,
        ..Filter::network(network.id)
    };
    let found = caller.index().members_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, MemberView::from)))
}

/// A member
#[utoipa::path(get, path = "/networks/{network}/members/{id}", params(("network" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = MemberView)))]
pub(super) async fn show(
    caller: Caller,
    Named((network, id)): Named<(String, String)>,
) -> Result<Tagged<MemberView>, Problem> {
    let (_, member) = seen(&caller, &network, &id).await?;
    Ok(shown(&caller, member))
}

/// Change a member: its name also by its user, its tags and its end by an administrator of the network
#[utoipa::path(patch, path = "/networks/{network}/members/{id}",
    params(("network" = String, Path), ("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = MemberBody, responses((status = 200, body = MemberView)))]
pub(super) async fn set(
    caller: Caller,
    Named((network, id)): Named<(String, String)>,
    IfMatch(version): IfMatch,
    Sent(body): Sent<MemberBody>,
) -> Result<Tagged<MemberView>, Problem> {
    let (network, member) = seen(&caller, &network, &id).await?;
    let name = body.name.map(|name| DeviceName::parse(&name)).transpose();
    let wishes = MemberWishes {
        name: name.map_err(|why| invalid(format!("name: {why}")))?,
        tags: body.tags.map(|tags| words("tags", &tags)).transpose()?,
        expires_at: body.expires_at,
    };
    let actor = caller.actor_if(version);
    let member = caller.index().set_member(&network, &member.device.to_string(), wishes, &actor).await?;
    Ok(shown(&caller, member))
}

/// Put a member out; it may come back with an invite it has not used yet
#[utoipa::path(delete, path = "/networks/{network}/members/{id}",
    params(("network" = String, Path), ("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204)))]
pub(super) async fn remove(
    caller: Caller,
    Named(path): Named<(String, String)>,
    version: IfMatch,
) -> Result<Gone, Problem> {
    judge(&caller, path, Verdict::Remove, version).await.map(|_| Gone)
}

/// Let a device in
#[utoipa::path(post, path = "/networks/{network}/members/{id}/approve",
    params(("network" = String, Path), ("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
pub(super) async fn approve(
    caller: Caller,
    Named(path): Named<(String, String)>,
    version: IfMatch,
) -> Result<Tagged<MemberView>, Problem> {
    judge(&caller, path, Verdict::Approve, version).await
}

/// Turn a device down; it may not ask again until it is approved
#[utoipa::path(post, path = "/networks/{network}/members/{id}/deny",
    params(("network" = String, Path), ("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
pub(super) async fn deny(
    caller: Caller,
    Named(path): Named<(String, String)>,
    version: IfMatch,
) -> Result<Tagged<MemberView>, Problem> {
    judge(&caller, path, Verdict::Deny, version).await
}

/// Switch a member off for now; it keeps its name and addresses
#[utoipa::path(post, path = "/networks/{network}/members/{id}/suspend",
    params(("network" = String, Path), ("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
pub(super) async fn suspend(
    caller: Caller,
    Named(path): Named<(String, String)>,
    version: IfMatch,
) -> Result<Tagged<MemberView>, Problem> {
    judge(&caller, path, Verdict::Suspend, version).await
}

/// Switch a member on again
#[utoipa::path(post, path = "/networks/{network}/members/{id}/resume",
    params(("network" = String, Path), ("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
pub(super) async fn resume(
    caller: Caller,
    Named(path): Named<(String, String)>,
    version: IfMatch,
) -> Result<Tagged<MemberView>, Problem> {
    judge(&caller, path, Verdict::Resume, version).await
}
