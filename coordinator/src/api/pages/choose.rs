//! `/setup/CODE` makes the first administrator, `/welcome/CODE` lets a user choose a password.
//!
//! Opening a link must not use it up, or a mail scanner would: that is what the form is for.

use askama::Template;
use axum::Form;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::signin::{enter, sentence};
use super::visitor::{Caller, Desk};
use super::{HOME, Message, go, refuse, show, status};
use crate::accounts::Refused;
use crate::index::IndexError;
use crate::index::credentials::PASSWORD_MIN;

#[derive(Template)]
#[template(path = "pages/choose.html")]
struct Page<'a> {
    title: &'a str,
    text: &'a str,
    action: &'a str,
    name: &'a str,
    has_name: bool,
    why: Option<String>,
    least: usize,
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) password: String,
}

pub(super) async fn show_setup(Desk(accounts): Desk, caller: Caller, Path(code): Path<String>) -> Response {
    match accounts.check_link(&code, &caller.visitor).await {
        Ok(_) => show(StatusCode::OK, &setup("", None)),
        Err(refused) => dead_link(&refused, "lanyard-server setup-link"),
    }
}

pub(super) async fn set_up(
    Desk(accounts): Desk,
    caller: Caller,
    Path(code): Path<String>,
    Form(Chosen { name, password }): Form<Chosen>,
) -> Response {
    match accounts.found(&code, &name, password, &caller.visitor).await {
        Ok(entered) => {
            tracing::info!(user = %entered.user.name, "the one-time link made an administrator");
            (caller.remember(&entered.secret), go(HOME)).into_response()
        }
        Err(refused) if can_be_mended(&refused) => {
            show(status(&refused), &setup(name.trim(), Some(sentence(&refused))))
        }
        Err(refused) => dead_link(&refused, "lanyard-server setup-link"),
    }
}

pub(super) async fn show_welcome(Desk(accounts): Desk, Path(code): Path<String>) -> Response {
    match accounts.user_of_link(&code).await {
        Ok((_, user)) => show(StatusCode::OK, &welcome(user.name.as_str(), None)),
        Err(refused) => dead_link(&refused, "lanyard-server user reset-password NAME"),
    }
}

pub(super) async fn choose(
    Desk(accounts): Desk,
    caller: Caller,
    Path(code): Path<String>,
    Form(Chosen { name, password }): Form<Chosen>,
) -> Response {
    match accounts.choose(&code, password, &caller.visitor).await {
        Ok(step) => enter(caller, step),
        Err(refused) if can_be_mended(&refused) => {
            show(status(&refused), &welcome(name.trim(), Some(sentence(&refused))))
        }
        Err(refused) => dead_link(&refused, "lanyard-server user reset-password NAME"),
    }
}

const fn setup(name: &str, why: Option<String>) -> Page<'_> {
    Page {
        title: "Become this server's administrator",
        text: "The link you followed was printed by lanyard-server and works once. Choose a name and a password to sign in \
               with from now on.",
        action: "Make the account",
        name,
        has_name: false,
        why,
        least: PASSWORD_MIN,
    }
}

const fn welcome(name: &str, why: Option<String>) -> Page<'_> {
    Page {
        title: "Choose a password",
        text: "You sign in to this lanyard server with it. The link works once.",
        action: "Choose it and sign in",
        name,
        has_name: true,
        why,
        least: PASSWORD_MIN,
    }
}

/// Whether the form can be sent again with something else in it.
pub(super) const fn can_be_mended(refused: &Refused) -> bool {
    matches!(refused, Refused::Busy | Refused::Index(IndexError::Invalid { .. } | IndexError::Taken { .. }))
}

/// A link that does not work, and what to do.
fn dead_link(refused: &Refused, command: &str) -> Response {
    match refused {
        Refused::Link => {
            let text = "It was used, is too old, or a newer one was made. On the server this makes another:";
            let page = Message {
                title: "This link does not work",
                text,
                command: Some(command),
                ..Message::default()
            };
            show(StatusCode::GONE, &page)
        }
        Refused::Wrong
        | Refused::TooMany(_)
        | Refused::Busy
        | Refused::Code
        | Refused::Late
        | Refused::Passkey
        | Refused::NoPasskeys
        | Refused::Provider(_)
        | Refused::Back
        | Refused::Stranger
        | Refused::Index(_) => refuse(refused),
    }
}
