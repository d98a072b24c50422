//! `/signin`, `/signin/code` and `/signout`

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::visitor::{Caller, Desk, Entered, Slip};
use super::{HOME, go, refuse, show_scripted, status};
use crate::accounts::{Accounts, Named, Refused, Step};
use crate::api::Web;

#[derive(Template)]
#[template(path = "pages/signin.html")]
struct Page<'a> {
    name: &'a str,
    why: Option<String>,
    has_passkeys: bool,
    providers: Vec<Named>,
}

impl<'a> Page<'a> {
    fn of(accounts: &Accounts, name: &'a str, why: Option<String>) -> Self {
        Self { name, why, has_passkeys: accounts.has_passkeys(), providers: accounts.providers() }
    }
}

#[derive(Template)]
#[template(path = "pages/code.html")]
struct CodePage {
    why: Option<String>,
    has_passkeys: bool,
}

/// What the form for a code sends.
#[derive(Deserialize)]
pub(super) struct Typed {
    pub(super) code: String,
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

pub(super) async fn show_form(Desk(accounts): Desk) -> Response {
    show_scripted(StatusCode::OK, &Page::of(&accounts, "", None))
}

pub(super) async fn sign_in(
    Desk(accounts): Desk,
    caller: Caller,
    Form(Credentials { name, password }): Form<Credentials>,
) -> Response {
    match accounts.sign_in(&name, password, &caller.visitor).await {
        Ok(step) => enter(caller, step),
        Err(refused @ Refused::Index(_)) => refuse(&refused),
        Err(refused) => {
            let page = Page::of(&accounts, name.trim(), Some(sentence(&refused)));
            show_scripted(status(&refused), &page)
        }
    }
}

/// The form again, with why somebody was not let in.
pub(super) fn refused_page(accounts: &Accounts, refused: &Refused) -> Response {
    if matches!(refused, Refused::Index(_)) {
        return refuse(refused);
    }
    show_scripted(status(refused), &Page::of(accounts, "", Some(sentence(refused))))
}

/// In, or on to the second factor.
pub(super) fn enter(caller: Caller, step: Step) -> Response {
    match step {
        Step::In(entered) => (caller.remember(&entered.secret), go(HOME)).into_response(),
        Step::Code(pass) => (caller.hand(Slip::Pass, pass.reveal()), go("/signin/code")).into_response(),
    }
}

pub(super) async fn show_code(Desk(accounts): Desk, caller: Caller) -> Response {
    match caller.slip(Slip::Pass) {
        Some(_) => {
            let page = CodePage { why: None, has_passkeys: accounts.has_passkeys() };
            show_scripted(StatusCode::OK, &page)
        }
        None => go("/signin"),
    }
}

pub(super) async fn take_code(
    Desk(accounts): Desk,
    caller: Caller,
    Form(Typed { code }): Form<Typed>,
) -> Response {
    let Some(pass) = caller.slip(Slip::Pass) else { return go("/signin") };
    match accounts.finish(&pass, &code, &caller.visitor).await {
        Ok(entered) => enter(caller, Step::In(entered)),
        Err(refused @ (Refused::Code | Refused::TooMany(_))) => {
            let page = CodePage { why: Some(sentence(&refused)), has_passkeys: accounts.has_passkeys() };
            show_scripted(status(&refused), &page)
        }
        Err(refused @ Refused::Late) => refused_page(&accounts, &refused),
        Err(refused) => refuse(&refused),
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
