//! `/networks/{network}/members`: devices in a network.

use axum::Json;
use lanyard_wire::names::{DeviceName, NetworkName};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::page::{Items, PageQuery, Wanted, looked_for, truth};
use super::problem::Problem;
use super::sent::{Gone, IfMatch, Named, Sent, Tagged, invalid, word};
use super::views::MemberView;
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
    /// Only those that have this in their name, number or address.
    #[serde(default)]
    #[param(required = false, max_length = 200)]
    q: String,
}

/// What is to change about a member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberBody {
    /// Its name in this network.
    #[schema(min_length = 1, max_length = 63)]
    name: String,
}

/// The member of that id, in whatever state, if the caller may know of it.
async fn seen(caller: &Caller, network: &str, id: &str) -> Result<(NetworkName, Member), Problem> {
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
        text: looked_for(q)?,
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

/// Give a member another name
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
    let name = DeviceName::parse(&body.name).map_err(|why| invalid(format!("name: {why}")))?;
    let actor = caller.actor_if(version);
    let member = caller.index().rename_member(&network, &member.device.to_string(), &name, &actor).await?;
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
