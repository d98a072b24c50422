//! `/snapshot`: everything somebody may see, at one moment.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::me::Me;
use super::problem::Problem;
use super::views::{DeviceView, LinkView, MemberView, NetworkView, UserView};

/// Everything one may see.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Snapshot {
    /// Where `/live` goes on.
    revision: i64,
    me: Me,
    users: Vec<UserView>,
    networks: Vec<NetworkView>,
    devices: Vec<DeviceView>,
    /// Those that are in or wait.
    members: Vec<MemberView>,
    links: Vec<LinkView>,
}

/// Everything one may see, at one moment; `/live` goes on from there
#[utoipa::path(get, path = "/snapshot", responses((status = 200, body = Snapshot)))]
pub(super) async fn show(caller: Caller) -> Result<Json<Snapshot>, Problem> {
    let me = Me::of(&caller).await?;
    let grants = &caller.grants;
    let seen = caller.index().seen(grants).await?;
    Ok(Json(Snapshot {
        revision: seen.cursor,
        me,
        users: seen.users.into_iter().map(|user| UserView::of(user, grants)).collect(),
        networks: seen.networks.into_iter().map(|network| NetworkView::of(&network, grants)).collect(),
        devices: seen.devices.into_iter().map(|device| DeviceView::of(device, grants)).collect(),
        members: seen.members.into_iter().map(MemberView::from).collect(),
        links: seen.links.into_iter().map(LinkView::from).collect(),
    }))
}
