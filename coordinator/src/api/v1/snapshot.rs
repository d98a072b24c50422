//! `/snapshot`: what somebody may see of a fleet, at one moment.
//!
//! It is as large as the fleet, and all of it is in memory until it is sent: there are few at a time, and who does not read
//! theirs loses it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::caller::Caller;
use super::links::LinkView;
use super::me::Me;
use super::places::{Place, Places};
use super::problem::Problem;
use super::views::{DeviceView, MemberView, NetworkView, UserView};
use crate::api::Web;

/// Most snapshots of this process that are made or sent at a time, and of one user.
const AT_A_TIME: usize = 2;
const OF_ONE: usize = 1;

/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(3);

/// Bytes that are handed to the connection at once, and how long it may take to send them.
const PIECE: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// Places for snapshots.
pub(in crate::api) fn places() -> Places {
    Places::new(AT_A_TIME, OF_ONE)
}

/// What one may see of users, networks, devices, members and links. Invites, events and roles of others are lists.
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

/// Users, networks, devices, members and links that one may see, at one moment; `/live` goes on from there
#[utoipa::path(get, path = "/snapshot", responses((status = 200, body = Snapshot)))]
pub(super) async fn show(State(web): State<Web>, caller: Caller) -> Result<Response, Problem> {
    let place = web.snapshots.wait(&caller.user.id, WAIT).await.ok_or_else(|| {
        let detail = "a snapshot of yours, or others of the server, are being sent: try again";
        Problem::new("api.crowded", StatusCode::SERVICE_UNAVAILABLE, detail).after(5)
    })?;
    let me = Me::of(&caller).await?;
    let grants = &caller.grants;
    let seen = caller.index().seen(grants).await?;
    let snapshot = Snapshot {
        revision: seen.cursor,
        me,
        users: seen.users.into_iter().map(|user| UserView::of(user, grants)).collect(),
        networks: seen.networks.into_iter().map(|network| NetworkView::of(&network, grants)).collect(),
        devices: seen.devices.into_iter().map(|device| DeviceView::of(device, grants)).collect(),
        members: seen.members.into_iter().map(MemberView::from).collect(),
        links: seen.links.into_iter().map(LinkView::from).collect(),
    };
    let text = serde_json::to_vec(&snapshot).map_err(|error| {
        tracing::error!(%error, "a snapshot could not be written");
        Problem::new("api.failed", StatusCode::INTERNAL_SERVER_ERROR, "the snapshot could not be written")
    })?;
    drop(snapshot);
    Ok(send(text.into(), place))
}

/// Sends a text in pieces, and leaves its place when it is read, or is not read.
fn send(mut text: Bytes, place: Place) -> Response {
    // With its length: one that is cut off is no answer.
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, text.len().to_string()),
    ];
    let (sender, receiver) = mpsc::channel(1);
    let (reading, left) = oneshot::channel::<Infallible>();
    tokio::spawn(async move {
        while !text.is_empty() {
            // A copy: a piece of the whole would keep all of it.
            let piece = Bytes::copy_from_slice(&text.split_to(text.len().min(PIECE)));
            if !matches!(timeout(PATIENCE, sender.send(piece)).await, Ok(Ok(()))) {
                break;
            }
        }
        // The end of the text, which whoever reads is not to wait for; the last pieces may be under way.
        drop((text, sender));
        drop(timeout(PATIENCE, left).await);
        drop(place);
    });
    let state = (receiver, reading);
    let pieces = stream::unfold(state, async |(mut receiver, reading): (mpsc::Receiver<Bytes>, _)| {
        receiver.recv().await.map(|piece| (Ok::<_, Infallible>(piece), (receiver, reading)))
    });
    (headers, Body::from_stream(pieces)).into_response()
}
