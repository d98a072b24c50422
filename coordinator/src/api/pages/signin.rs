//! `/signin` and `/signout`

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::visitor::{Caller, Desk, Entered};
use super::{go, refuse, show, status};
use crate::accounts::Refused;
use crate::api::Web;

#[derive(Template)]
#[template(path = "pages/signin.html")]
struct Page<'a> {
    name: &'a str,
    why: Option<String>,
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

pub(super) async fn show_form() -> Response {
    show(StatusCode::OK, &Page { name: "", why: None })
}

pub(super) async fn sign_in(
    Desk(accounts): Desk,
    caller: Caller,
    Form(Credentials { name, password }): Form<Credentials>,
) -> Response {
    match accounts.sign_in(&name, password, &caller.visitor).await {
        Ok(entered) => (caller.remember(&entered.secret), go("/account")).into_response(),
        Err(refused @ Refused::Index(_)) => refuse(&refused),
        Err(refused) => show(status(&refused), &Page { name: name.trim(), why: Some(sentence(&refused)) }),
    }
}

pub(super) async fn sign_out(State(web): State<Web>, entered: Entered) -> Response {
    if let Some(index) = &web.index {
        let done = match entered.actor(index).await {
            Ok(actor) => index.end_session(&entered.session.id, &actor).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            return refuse(&error.into());
        }
    }
    (entered.caller.forget(), go("/signin")).into_response()
}

/// A refusal as a sentence of its own.
pub(super) fn sentence(refused: &Refused) -> String {
    let text = refused.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
