//! `/networks/{network}/groups`: users of a network under one name.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Items, Nothing, PageQuery, Wanted};
use super::problem::Problem;
use super::sent::{Gone, Named, Sent, word};
use crate::index::groups::{Group, Word};
use crate::index::lists::Listed;

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupView {
    id: String,
    name: String,
    /// Ids of its users.
    users: Vec<String>,
    created_at: i64,
}

/// Who shall be in a group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupBody {
    /// Ids of all its users; each has a role in the network.
    users: Vec<String>,
}

impl From<Group> for GroupView {
    fn from(group: Group) -> Self {
        let Group { id, name, users, created_at, network_id: _ } = group;
        Self { id, name: name.to_string(), users, created_at }
    }
}

fn named(name: &str) -> Result<Word, Problem> {
    word("name", name)
}

/// Groups of a network, by name
#[utoipa::path(get, path = "/networks/{network}/groups", params(("network" = String, Path), PageQuery),
    responses((status = 200, body = Items<GroupView>)))]
pub(super) async fn list(
    caller: Caller,
    Named(network): Named<String>,
    wanted: Wanted<Nothing>,
) -> Result<Json<Items<GroupView>>, Problem> {
    let Nothing {} = wanted.filter;
    let network = caller.administered(&network).await?;
    let mut rows = caller.index().groups(network.id).await?;
    // A network has few enough for one statement; a page is cut from them.
    rows.retain(|group| group.name.as_str() > wanted.page.after.0.as_str());
    let most = wanted.page.limit as usize;
    let next = (rows.len() > most).then(|| rows.get(most.saturating_sub(1))).flatten();
    let next = next.map(|group| (group.name.to_string(), group.id.clone()));
    rows.truncate(most);
    Ok(Json(Items::of(Listed { rows, next }, GroupView::from)))
}

/// Make a group, or say anew who is in it
#[utoipa::path(put, path = "/networks/{network}/groups/{name}",
    params(("network" = String, Path), ("name" = String, Path)),
    request_body = GroupBody, responses((status = 200, body = GroupView)))]
pub(super) async fn set(
    caller: Caller,
    Named((network, name)): Named<(String, String)>,
    Sent(body): Sent<GroupBody>,
) -> Result<Json<GroupView>, Problem> {
    let network = caller.administered(&network).await?;
    let group = caller.index().set_group(&network.slug, &named(&name)?, &body.users, &caller.actor()).await?;
    Ok(Json(group.into()))
}

/// Take a group away; its users stay
#[utoipa::path(delete, path = "/networks/{network}/groups/{name}",
    params(("network" = String, Path), ("name" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    caller: Caller,
    Named((network, name)): Named<(String, String)>,
) -> Result<Gone, Problem> {
    let network = caller.administered(&network).await?;
    caller.index().remove_group(&network.slug, &named(&name)?, &caller.actor()).await?;
    Ok(Gone)
}
