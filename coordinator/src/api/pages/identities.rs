//! Signing in at a provider, and `/account/identities`, where accounts there are linked.
//!
//! Browsers stop a form that is redirected to another site (`form-action`), so the way to a provider is a link.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::account::Done;
use super::signin::{enter, refused_page, sentence};
use super::visitor::{Caller, Desk, Entered, Slip};
use super::{Message, go, no_index, refuse, show as answer, status};
use crate::accounts::{Accounts, Arrived, Back, Named, Refused, Step};
use crate::api::Web;
use crate::index::{Index, IndexError};
use crate::words::ago;

#[derive(Template)]
#[template(path = "pages/identities.html")]
struct Page {
    linked: Vec<Linked>,
    providers: Vec<Named>,
    has_password: bool,
    done: Option<&'static str>,
    why: Option<String>,
}

struct Linked {
    id: String,
    at: String,
    label: String,
    used: String,
}

/// What the form that links sends.
#[derive(Deserialize)]
pub(super) struct Proof {
    #[serde(default)]
    password: String,
}

/// What a provider sends somebody back with.
#[derive(Deserialize)]
pub(super) struct Returned {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    error: String,
    iss: Option<String>,
}

/// `GET /signin/oidc/ID`
pub(super) async fn send(Desk(accounts): Desk, caller: Caller, Path(id): Path<String>) -> Response {
    match accounts.send_to(&id, None, &caller.visitor).await {
        Ok(sent) => (caller.hand(Slip::Ceremony, sent.slip.reveal()), go(&sent.url)).into_response(),
        Err(refused) => refused_page(&accounts, &refused),
    }
}

/// `GET /signin/oidc/ID/callback`
pub(super) async fn take_back(
    State(web): State<Web>,
    Desk(accounts): Desk,
    caller: Caller,
    Path(id): Path<String>,
    Query(Returned { state, code, error, iss }): Query<Returned>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let current = match caller.current(index).await {
        Ok(current) => current,
        Err(error) => return refuse(&error.into()),
    };
    let slip = caller.slip(Slip::Ceremony).unwrap_or_default();
    let back = Back { state, code, error, issuer: iss, slip };
    match accounts.take_back(&id, &back, current.as_ref(), &caller.visitor).await {
        Ok(Arrived::In(entered)) => enter(caller, Step::In(entered)),
        Ok(Arrived::Linked) => go("/account/identities?done=linked"),
        Err(refused) if current.is_some() => {
            let text = sentence(&refused);
            let link = Some(("/account", "Your account"));
            answer(
                status(&refused),
                &Message { title: "Nothing was linked", text: &text, link, ..Message::default() },
            )
        }
        Err(refused) => refused_page(&accounts, &refused),
    }
}

pub(super) async fn show(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Query(Done { done }): Query<Done>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let done = match done.as_str() {
        "linked" => Some("The account is linked: next time you can sign in with it."),
        "unlinked" => Some("The account is not linked any more."),
        _ => None,
    };
    page(index, &accounts, &entered, done, None).await
}

pub(super) async fn link(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Path(id): Path<String>,
    Form(Proof { password }): Form<Proof>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    // Whoever finds a browser open must not leave a way in of theirs behind.
    let proven = match index.second_factor(&entered.user).await {
        Ok(factor) if factor.has_password => accounts.prove(&entered.user, password).await,
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    };
    let sent = match proven {
        Ok(()) => accounts.send_to(&id, Some(&entered.user), &entered.caller.visitor).await,
        Err(refused) => Err(refused),
    };
    match sent {
        Ok(sent) => {
            let text = "Sign in there with the account that you want to use here.";
            let link = Some((sent.url.as_str(), "Go on"));
            let page = Message { title: "One more step", text, link, ..Message::default() };
            (entered.caller.hand(Slip::Ceremony, sent.slip.reveal()), answer(StatusCode::OK, &page))
                .into_response()
        }
        Err(refused) => page(index, &accounts, &entered, None, Some(refused)).await,
    }
}

pub(super) async fn unlink(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Path(id): Path<String>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let unlinked = match entered.actor(index).await {
        Ok(actor) => index.unlink_identity(&id, &actor).await,
        Err(error) => Err(error),
    };
    match unlinked {
        Ok(()) => go("/account/identities?done=unlinked"),
        Err(error @ IndexError::State(_)) => page(index, &accounts, &entered, None, Some(error.into())).await,
        Err(error) => refuse(&error.into()),
    }
}

async fn page(
    index: &Index,
    accounts: &Accounts,
    entered: &Entered,
    done: Option<&'static str>,
    refused: Option<Refused>,
) -> Response {
    let (code, why) = match refused {
        None => (StatusCode::OK, None),
        Some(Refused::Wrong) => (StatusCode::FORBIDDEN, Some("That is not your password now.".to_owned())),
        Some(refused @ Refused::Index(IndexError::State(_))) => {
            (StatusCode::CONFLICT, Some(sentence(&refused)))
        }
        Some(refused @ Refused::Index(_)) => return refuse(&refused),
        Some(refused) => (status(&refused), Some(sentence(&refused))),
    };
    let read = async {
        let linked = index.identities_of(&entered.user).await?;
        Ok::<_, IndexError>((linked, index.second_factor(&entered.user).await?))
    };
    let (linked, factor) = match read.await {
        Ok(read) => read,
        Err(error) => return refuse(&error.into()),
    };
    let (providers, now) = (accounts.providers(), index.now_ms());
    let linked = linked.into_iter().map(|identity| {
        let known = providers.iter().find(|provider| provider.issuer == identity.issuer);
        Linked {
            at: known.map_or(identity.issuer, |provider| provider.name.clone()),
            id: identity.id,
            label: identity.label,
            used: identity.last_used_at.map_or_else(|| "never".to_owned(), |used| ago(used, now)),
        }
    });
    let linked = linked.collect();
    let has_password = factor.has_password;
    answer(code, &Page { linked, providers, has_password, done, why })
}
