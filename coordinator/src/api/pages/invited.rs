//! `/invite/CODE` makes people what they were invited to be, `/join/CODE` tells how a device joins.
//!
//! Opening a link uses nothing up: that is what the form is for, and the agent.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::choose::{Chosen, can_be_mended};
use super::signin::sentence;
use super::visitor::{Caller, Desk, Entered};
use super::{HOME, Message, go, no_index, refuse, show, status};
use crate::accounts::Refused;
use crate::api::Web;
use crate::index::IndexError;
use crate::index::credentials::PASSWORD_MIN;
use crate::index::invites::Invite;

#[derive(Template)]
#[template(path = "pages/invited.html")]
struct InvitedPage<'a> {
    code: &'a str,
    network: String,
    role: &'static str,
    /// Who is signed in here.
    user: Option<String>,
    name: &'a str,
    why: Option<String>,
    least: usize,
}

#[derive(Template)]
#[template(path = "pages/join.html")]
struct JoinPage {
    network: String,
    join: String,
    uses: i64,
}

fn page<'a>(
    code: &'a str,
    invite: &Invite,
    entered: Option<&Entered>,
    name: &'a str,
    why: Option<String>,
) -> InvitedPage<'a> {
    InvitedPage {
        code,
        network: invite.network.to_string(),
        role: invite.gives.role.map_or("guest", |role| role.as_str()),
        user: entered.map(|entered| entered.user.name.to_string()),
        name,
        why,
        least: PASSWORD_MIN,
    }
}

/// `GET /invite/CODE`
pub(super) async fn show_invite(
    Desk(accounts): Desk,
    entered: Result<Entered, Response>,
    caller: Caller,
    Path(code): Path<String>,
) -> Response {
    match accounts.invite(&code, &caller.visitor).await {
        Ok((_, invite)) if invite.gives.role.is_some() => {
            show(StatusCode::OK, &page(&code, &invite, entered.ok().as_ref(), "", None))
        }
        Ok(_) => go(&format!("/join/{code}")),
        Err(refused) => dead(&refused),
    }
}

/// `POST /invite/CODE`, by somebody who is no user yet
pub(super) async fn become_user(
    Desk(accounts): Desk,
    caller: Caller,
    Path(code): Path<String>,
    Form(Chosen { name, password }): Form<Chosen>,
) -> Response {
    match accounts.accept_anew(&code, &name, password, &caller.visitor).await {
        Ok(entered) => {
            tracing::info!(user = %entered.user.name, "an invite made a user");
            (caller.remember(&entered.secret), go(HOME)).into_response()
        }
        Err(refused) if can_be_mended(&refused) => match accounts.invite(&code, &caller.visitor).await {
            Ok((_, invite)) => {
                let page = page(&code, &invite, None, name.trim(), Some(sentence(&refused)));
                show(status(&refused), &page)
            }
            Err(refused) => dead(&refused),
        },
        Err(refused) => dead(&refused),
    }
}

/// `POST /invite/CODE/accept`, by somebody who is signed in
pub(super) async fn accept(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Path(code): Path<String>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let accepted = async {
        let (code, _) = accounts.invite(&code, &entered.caller.visitor).await?;
        let actor = entered.actor(index).await?;
        index.accept_invite(code, &entered.user, &actor).await?.ok_or(Refused::Link)
    };
    match accepted.await {
        Ok(role) => go(&format!("/networks/{}", role.network)),
        Err(refused) => dead(&refused),
    }
}

/// `GET /join/CODE`
pub(super) async fn show_join(
    State(web): State<Web>,
    Desk(accounts): Desk,
    caller: Caller,
    Path(code): Path<String>,
) -> Response {
    let (Some(index), Some(entrance)) = (&web.index, &web.entrance) else { return no_index() };
    let found = async {
        let (code, invite) = accounts.invite(&code, &caller.visitor).await?;
        Ok::<_, Refused>((code, invite, index.public_key().await?))
    };
    match found.await {
        Ok((_, invite, _)) if invite.gives.role.is_some() => go(&format!("/invite/{code}")),
        Ok((code, invite, key)) => {
            let join = entrance.join_string(invite.network.clone(), code, key).to_string();
            let uses = invite.max_uses - invite.uses;
            show(StatusCode::OK, &JoinPage { network: invite.network.to_string(), join, uses })
        }
        Err(refused) => dead(&refused),
    }
}

/// An invite that opens nothing, and what to do.
fn dead(refused: &Refused) -> Response {
    if let Refused::Link | Refused::Index(IndexError::NotFound { .. }) = refused {
        let text = "It was used up, revoked, or is too old. Ask whoever sent it for another one.";
        let page = Message { title: "This invite does not work", text, ..Message::default() };
        return show(StatusCode::GONE, &page);
    }
    refuse(refused)
}
