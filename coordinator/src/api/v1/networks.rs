//! `/networks`: their names, prefixes and how one gets in.

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use lanyard_wire::names::{JoinPassword, NetworkName};

use super::caller::Caller;
use super::links::LinkView;
use super::page::{Items, Nothing, PageQuery, Text, Wanted};
use super::problem::Problem;
use super::sent::{Gone, IfMatch, Made, Named, Sent, Tagged, invalid, word};
use super::views::NetworkView;
use crate::index::lists::Filter;
use crate::index::networks::{Approve, JoinMode, Network, NetworkWishes, NewNetwork, StoredPassword};
use crate::routes::local_prefixes;

/// A network to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNetworkBody {
    /// Its name in join strings.
    #[schema(min_length = 1, max_length = 63)]
    name: String,
    /// Its IPv4 prefix; a free one is drawn without.
    #[schema(example = "10.20.0.0/16")]
    prefix4: Option<String>,
    /// `invite` (as if nothing is said), `request` or `locked`.
    #[schema(pattern = "^(locked|invite|request)$")]
    join_mode: Option<String>,
    /// `auto` (as if nothing is said) or `manual`.
    #[schema(pattern = "^(auto|manual)$")]
    approve: Option<String>,
}

/// What is to change about a network; what is not named stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkBody {
    /// Who may ask to join: `invite`, `password`, `request` or `locked`.
    #[schema(pattern = "^(locked|invite|password|request)$")]
    join_mode: Option<String>,
    /// Another password to join with.
    #[schema(min_length = 1, max_length = 64)]
    password: Option<String>,
    /// What an invite is worth: `auto` or `manual`.
    #[schema(pattern = "^(auto|manual)$")]
    approve: Option<String>,
    /// Whether members may pass on frames for each other.
    peer_relay: Option<bool>,
}

/// Who may ask to join a new network, which has no password yet.
fn first_join_mode(text: &str) -> Result<JoinMode, Problem> {
    match word("join_mode", text)? {
        JoinMode::Password => Err(invalid("join_mode: it is none of: locked, invite, request".to_owned())),
        mode @ (JoinMode::Locked | JoinMode::Invite | JoinMode::Request) => Ok(mode),
    }
}

/// What to store of a password; it is computed on another thread, as it takes a while on purpose.
async fn stored(caller: &Caller, password: &str) -> Result<StoredPassword, Problem> {
    let password = JoinPassword::parse(password).map_err(|why| invalid(format!("password: {why}")))?;
    let hashing = caller.index().password_hashing();
    let computing = tokio::task::spawn_blocking(move || hashing.hash_join(&password));
    let failed = |_| Problem::new("index.failed", StatusCode::INTERNAL_SERVER_ERROR, "it was not computed");
    Ok(computing.await.map_err(failed)??)
}

fn approve(text: &str) -> Result<Approve, Problem> {
    word("approve", text)
}

fn shown(caller: &Caller, network: &Network) -> Tagged<NetworkView> {
    Tagged(caller.index().version(network), NetworkView::of(network, &caller.grants))
}

/// Networks where one has a role, by name
#[utoipa::path(get, path = "/networks", params(PageQuery, Text), responses((status = 200, body = Items<NetworkView>)))]
pub(super) async fn list(caller: Caller, wanted: Wanted<Text>) -> Result<Json<Items<NetworkView>>, Problem> {
    let found = caller.index().networks_page(&caller.grants, &wanted.filter.filter()?, &wanted.page).await?;
    Ok(Json(Items::of(found, |network| NetworkView::of(&network, &caller.grants))))
}

/// Make a network; whoever makes it owns it
#[utoipa::path(post, path = "/networks", request_body = NewNetworkBody, responses((status = 201, body = NetworkView)))]
pub(super) async fn add(
    caller: Caller,
    Sent(body): Sent<NewNetworkBody>,
) -> Result<Made<Tagged<NetworkView>>, Problem> {
    let new = NewNetwork {
        slug: NetworkName::parse(&body.name).map_err(|why| invalid(format!("name: {why}")))?,
        prefix4: match body.prefix4 {
            Some(text) => Some(text.parse().map_err(|why| invalid(format!("prefix4: {why}")))?),
            None => None,
        },
        join_mode: body.join_mode.map_or(Ok(JoinMode::Invite), |text| first_join_mode(&text))?,
        approve: body.approve.map_or(Ok(Approve::Auto), |text| approve(&text))?,
        avoid: local_prefixes(),
    };
    let network = caller.index().add_network(&new, &caller.actor()).await?;
    Ok(Made(shown(&caller, &network)))
}

/// A network, by its name or id
#[utoipa::path(get, path = "/networks/{network}", params(("network" = String, Path)),
    responses((status = 200, body = NetworkView)))]
pub(super) async fn show(caller: Caller, Named(name): Named<String>) -> Result<Tagged<NetworkView>, Problem> {
    let network = caller.network(&name).await?;
    Ok(shown(&caller, &network))
}

/// Change a network
#[utoipa::path(patch, path = "/networks/{network}",
    params(("network" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = NetworkBody, responses((status = 200, body = NetworkView)))]
pub(super) async fn set(
    caller: Caller,
    Named(name): Named<String>,
    IfMatch(version): IfMatch,
    Sent(body): Sent<NetworkBody>,
) -> Result<Tagged<NetworkView>, Problem> {
    let network = match &body.password {
        // Nobody else makes the server compute.
        Some(_) => caller.administered(&name).await?,
        None => caller.network(&name).await?,
    };
    let password = match &body.password {
        Some(password) => Some(stored(&caller, password).await?),
        None => None,
    };
    let wishes = NetworkWishes {
        join_mode: body.join_mode.map(|text| word("join_mode", &text)).transpose()?,
        password,
        approve: body.approve.as_deref().map(approve).transpose()?,
        peer_relay: body.peer_relay,
    };
    let network = caller.index().set_network(&network.slug, wishes, &caller.actor_if(version)).await?;
    Ok(shown(&caller, &network))
}

/// Take a network away: its members are out at once
#[utoipa::path(delete, path = "/networks/{network}",
    params(("network" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
pub(super) async fn remove(
    caller: Caller,
    Named(name): Named<String>,
    IfMatch(version): IfMatch,
) -> Result<Gone, Problem> {
    let network = caller.network(&name).await?;
    caller.index().remove_network(&network.slug, &caller.actor_if(version)).await?;
    Ok(Gone)
}

/// How pairs of its members reach each other, as they reported last
#[utoipa::path(get, path = "/networks/{network}/links", params(("network" = String, Path), PageQuery),
    responses((status = 200, body = Items<LinkView>)))]
pub(super) async fn links(
    caller: Caller,
    Named(name): Named<String>,
    wanted: Wanted<Nothing>,
) -> Result<Json<Items<LinkView>>, Problem> {
    let Nothing {} = wanted.filter;
    let filter = Filter::network(caller.network(&name).await?.id);
    let found = caller.index().links_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, LinkView::from)))
}
