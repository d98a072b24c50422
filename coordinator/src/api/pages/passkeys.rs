//! `/account/passkeys` and signing in with one. What a script asks and answers is JSON; the rest is forms.

use askama::Template;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::Done;
use super::signin::sentence;
use super::visitor::{Caller, Desk, Entered, Slip};
use super::{HOME, go, no_index, refuse, show_scripted, status};
use crate::accounts::{Accounts, Question, Refused};
use crate::api::Web;
use crate::index::{Index, IndexError};
use crate::words::ago;

/// What the pages run, and all that they run.
const SCRIPT: &str = include_str!("../../../templates/pages/passkey.js");

#[derive(Template)]
#[template(path = "pages/passkeys.html")]
struct Page {
    passkeys: Vec<PasskeyRow>,
    can_have: bool,
    has_password: bool,
    done: Option<&'static str>,
    why: Option<String>,
}

struct PasskeyRow {
    id: String,
    label: String,
    made: String,
    used: String,
}

/// What the script sends before a passkey is made.
#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    password: String,
}

/// What the script sends when one was made.
#[derive(Deserialize)]
pub(super) struct Made {
    #[serde(default)]
    label: String,
    credential: Value,
}

pub(super) async fn script() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, SCRIPT).into_response()
}

pub(super) async fn show(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Query(Done { done }): Query<Done>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let done = match done.as_str() {
        "added" => Some("The passkey is added: next time you can sign in with it."),
        "removed" => Some("The passkey is removed. Delete it on its device too."),
        _ => None,
    };
    page(index, &accounts, &entered, done, None).await
}

pub(super) async fn remove(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Path(id): Path<String>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let removed = match entered.actor(index).await {
        Ok(actor) => index.remove_passkey(&id, &actor).await,
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => go("/account/passkeys?done=removed"),
        Err(error @ IndexError::State(_)) => page(index, &accounts, &entered, None, Some(error)).await,
        Err(error) => refuse(&error.into()),
    }
}

pub(super) async fn begin(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Json(Wish { password }): Json<Wish>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    // Whoever finds a browser open must not leave a key of theirs behind.
    let proven = match index.second_factor(&entered.user).await {
        Ok(factor) if factor.has_password => accounts.prove(&entered.user, password).await,
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    };
    let asked = match proven {
        Ok(()) => accounts.begin_passkey(&entered.user).await,
        Err(refused) => Err(refused),
    };
    ask(entered.caller, asked)
}

pub(super) async fn finish(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Json(Made { label, credential }): Json<Made>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let slip = entered.caller.slip(Slip::Ceremony).unwrap_or_default();
    let added = match entered.actor(index).await {
        Ok(actor) => accounts.add_passkey(&entered.user, &slip, credential, &label, &actor).await,
        Err(error) => Err(error.into()),
    };
    match added {
        Ok(_) => Json(json!({ "to": "/account/passkeys?done=added" })).into_response(),
        Err(refused) => told(&refused),
    }
}

pub(super) async fn ask_sign_in(Desk(accounts): Desk, caller: Caller) -> Response {
    let asked = accounts.ask_passkey(&caller.visitor);
    ask(caller, asked)
}

pub(super) async fn sign_in(Desk(accounts): Desk, caller: Caller, Json(credential): Json<Value>) -> Response {
    let slip = caller.slip(Slip::Ceremony).unwrap_or_default();
    match accounts.enter_with_passkey(&slip, credential, &caller.visitor).await {
        Ok(entered) => (caller.remember(&entered.secret), Json(json!({ "to": HOME }))).into_response(),
        Err(refused) => told(&refused),
    }
}

/// A question, and the slip for its answer.
fn ask(caller: Caller, asked: Result<Question, Refused>) -> Response {
    match asked {
        Ok(question) => {
            let kept = [(header::CACHE_CONTROL, "no-store")];
            (caller.hand(Slip::Ceremony, question.slip.reveal()), kept, Json(question.options))
                .into_response()
        }
        Err(refused) => told(&refused),
    }
}

/// A refusal for the script to show.
fn told(refused: &Refused) -> Response {
    if let Refused::Index(error) = refused {
        tracing::warn!(%error, code = error.code(), "a passkey could not be stored or read");
    }
    let is_wrong = matches!(refused, Refused::Wrong);
    let why = if is_wrong { "That is not your password now.".to_owned() } else { sentence(refused) };
    (status(refused), Json(json!({ "why": why }))).into_response()
}

async fn page(
    index: &Index,
    accounts: &Accounts,
    entered: &Entered,
    done: Option<&'static str>,
    why: Option<IndexError>,
) -> Response {
    let read = async {
        let passkeys = index.passkeys_of(&entered.user).await?;
        Ok::<_, IndexError>((passkeys, index.second_factor(&entered.user).await?))
    };
    let (passkeys, factor) = match read.await {
        Ok(read) => read,
        Err(error) => return refuse(&error.into()),
    };
    let now = index.now_ms();
    let rows = passkeys.into_iter().map(|passkey| PasskeyRow {
        id: passkey.id,
        label: passkey.label,
        made: ago(passkey.created_at, now),
        used: passkey.last_used_at.map_or_else(|| "never".to_owned(), |used| ago(used, now)),
    });
    let code = if why.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let page = Page {
        passkeys: rows.collect(),
        can_have: accounts.has_passkeys(),
        has_password: factor.has_password,
        done,
        why: why.map(|error| sentence(&error.into())),
    };
    show_scripted(code, &page)
}
