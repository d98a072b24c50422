//! `/account`: what a user is here, where they are signed in, and their password.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::signin::sentence;
use super::visitor::{Desk, Entered};
use super::{go, no_index, refuse, show as answer, status};
use crate::accounts::Refused;
use crate::api::Web;
use crate::index::authority::Role;
use crate::index::credentials::PASSWORD_MIN;
use crate::index::factors::SecondFactor;
use crate::index::users::User;
use crate::index::{Index, IndexError};
use crate::words::ago;

#[derive(Template)]
#[template(path = "pages/account.html")]
struct Page<'a> {
    user: &'a User,
    networks: Vec<NetworkRow>,
    sessions: Vec<SessionRow>,
    factor: SecondFactor,
    has_providers: bool,
    done: Option<&'static str>,
    why: Option<String>,
    least: usize,
}

struct NetworkRow {
    name: String,
    role: Role,
    members: i64,
}

struct SessionRow {
    id: String,
    seen: String,
    from: String,
    program: String,
    is_this: bool,
}

/// What was done on the page before.
#[derive(Deserialize)]
pub(super) struct Done {
    #[serde(default)]
    pub(super) done: String,
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Passwords {
    old: String,
    new: String,
}

pub(super) async fn show(
    State(web): State<Web>,
    entered: Entered,
    Query(Done { done }): Query<Done>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let done = match done.as_str() {
        "password" => Some("Your password is changed; everywhere else you are signed out."),
        "session" => Some("That session is ended."),
        "totp_off" => Some("Your authenticator app is not asked for any more."),
        _ => None,
    };
    page(&web, index, &entered, done, None).await
}

pub(super) async fn change_password(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Form(Passwords { old, new }): Form<Passwords>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let Entered { user, session, caller } = &entered;
    match accounts.change(user, session, old, new, &caller.visitor).await {
        Ok(()) => go("/account?done=password"),
        Err(Refused::Wrong) => {
            let why = Some((StatusCode::FORBIDDEN, "That is not your password now.".to_owned()));
            page(&web, index, &entered, None, why).await
        }
        Err(refused @ (Refused::TooMany(_) | Refused::Busy | Refused::Index(IndexError::Invalid { .. }))) => {
            let why = Some((status(&refused), sentence(&refused)));
            page(&web, index, &entered, None, why).await
        }
        Err(refused) => refuse(&refused),
    }
}

pub(super) async fn end_session(
    State(web): State<Web>,
    entered: Entered,
    Path(id): Path<String>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let ended = match entered.actor(index).await {
        Ok(actor) => index.end_session(&id, &actor).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => go("/account?done=session"),
        Err(error) => refuse(&error.into()),
    }
}

async fn page(
    web: &Web,
    index: &Index,
    entered: &Entered,
    done: Option<&'static str>,
    why: Option<(StatusCode, String)>,
) -> Response {
    match rows(index, entered).await {
        Ok((networks, sessions, factor)) => {
            let (code, why) = why.map_or((StatusCode::OK, None), |(code, why)| (code, Some(why)));
            let (user, least) = (&entered.user, PASSWORD_MIN);
            let has_providers = web.accounts.as_ref().is_some_and(|accounts| accounts.has_providers());
            answer(code, &Page { user, networks, sessions, factor, has_providers, done, why, least })
        }
        Err(error) => refuse(&error.into()),
    }
}

/// What the page lists.
type Rows = (Vec<NetworkRow>, Vec<SessionRow>, SecondFactor);

async fn rows(index: &Index, entered: &Entered) -> crate::index::Result<Rows> {
    let grants = index.grants(&entered.user).await?;
    let networks = index.networks().await?.into_iter();
    let networks = networks.filter_map(|network| {
        let role = grants.role(network.id)?;
        Some(NetworkRow { name: network.slug.to_string(), role, members: network.active })
    });
    let now = index.now_ms();
    let sessions = index.sessions_of(&entered.user).await?.into_iter().map(|session| SessionRow {
        seen: ago(session.seen_at, now),
        from: session.ip.unwrap_or_else(|| "-".to_owned()),
        program: session.user_agent,
        is_this: session.id == entered.session.id,
        id: session.id,
    });
    Ok((networks.collect(), sessions.collect(), index.second_factor(&entered.user).await?))
}
