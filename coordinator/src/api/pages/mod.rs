//! Pages that work without JavaScript, but for passkeys: the front, sign-in, set-up, choosing a password, one's own account and
//! its second factor.
//!
//! Templates escape whatever they show. A form from another site is refused before it is read (`tower_http::csrf`), and
//! passwords are asked for by TLS only, or from a private address: see [`visitor`].

mod account;
mod choose;
mod factor;
mod identities;
mod invited;
mod panel;
mod passkeys;
mod signin;
pub(super) mod visitor;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use self::visitor::Entered;
use super::Web;
use crate::accounts::Refused;
use crate::index::IndexError;

/// The style sheet of these pages.
const STYLE: &str = include_str!("../../../templates/pages/pages.css");

/// Where people are once they have signed in: the panel, in a program that has it.
const HOME: &str = if cfg!(lanyard_panel) { "/" } else { "/account" };

/// Every page.
pub(super) fn router(web: &Web) -> Router<Web> {
    let guarded = Router::new()
        .route("/signin", get(signin::show_form).post(signin::sign_in))
        .route("/signin/code", get(signin::show_code).post(signin::take_code))
        .route("/signin/passkey/start", post(passkeys::ask_sign_in))
        .route("/signin/passkey/finish", post(passkeys::sign_in))
        .route("/signin/oidc/{id}", get(identities::send))
        .route("/signin/oidc/{id}/callback", get(identities::take_back))
        .route("/signout", post(signin::sign_out))
        .route("/setup/{code}", get(choose::show_setup).post(choose::set_up))
        .route("/invite/{code}", get(invited::show_invite).post(invited::become_user))
        .route("/invite/{code}/accept", post(invited::accept))
        .route("/join/{code}", get(invited::show_join))
        .route("/welcome/{code}", get(choose::show_welcome).post(choose::choose))
        .route("/account", get(account::show))
        .route("/account/password", post(account::change_password))
        .route("/account/sessions/{id}/end", post(account::end_session))
        .route("/account/totp", get(factor::show).post(factor::begin))
        .route("/account/totp/confirm", post(factor::confirm))
        .route("/account/totp/recovery", post(factor::renew))
        .route("/account/totp/off", post(factor::switch_off))
        .route("/account/passkeys", get(passkeys::show))
        .route("/account/passkeys/start", post(passkeys::begin))
        .route("/account/passkeys/finish", post(passkeys::finish))
        .route("/account/passkeys/{id}/remove", post(passkeys::remove))
        .route("/account/identities", get(identities::show))
        .route("/account/identities/{id}/link", post(identities::link))
        .route("/account/identities/{id}/unlink", post(identities::unlink))
        .route_layer(from_fn_with_state(web.clone(), visitor::guard))
        .route_layer(CsrfLayer::new().with_rejection_response(foreign_form));
    Router::new()
        .route("/", get(front))
        .route("/assets/pages.css", get(style))
        .route("/assets/passkey.js", get(passkeys::script))
        .merge(panel::router())
        .merge(guarded)
}

/// `/`
#[derive(Template)]
#[template(path = "pages/front.html")]
struct Front;

/// A page that says something, and where to go from there.
#[derive(Template, Default)]
#[template(path = "pages/message.html")]
pub(super) struct Message<'a> {
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    pub(super) command: Option<&'a str>,
    pub(super) link: Option<(&'a str, &'a str)>,
}

/// The panel for who is signed in, and for everybody else where they are.
async fn front(entered: Result<Entered, Response>, headers: HeaderMap) -> Response {
    if entered.is_ok() { panel::page(&headers) } else { show(StatusCode::OK, &Front) }
}

async fn style() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, STYLE).into_response()
}

/// An HTML answer that may load nothing but its style, and is kept nowhere.
fn show(code: StatusCode, page: &impl Template) -> Response {
    let policy =
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    show_under(policy, code, page)
}

/// The same, for a page that has our script for passkeys, which asks this server and no other.
fn show_scripted(code: StatusCode, page: &impl Template) -> Response {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
                  frame-ancestors 'none'; base-uri 'none'";
    show_under(policy, code, page)
}

fn show_under(policy: &'static str, code: StatusCode, page: &impl Template) -> Response {
    let Ok(body) = page.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        // With "no-referrer" a browser would not say where a form comes from, and it would be refused.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (code, headers, Html(body)).into_response()
}

/// The answer to a form that came from another site.
fn foreign_form(_: ProtectionError) -> Response<Body> {
    let text = "It came from another site. If you filled it in here, open the page anew and send it again.";
    show(StatusCode::FORBIDDEN, &Message { title: "This form was not taken", text, ..Message::default() })
}

/// To another page, which the browser asks for anew.
fn go(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// What a refusal is in HTTP.
const fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Wrong | Refused::Code | Refused::Late | Refused::Passkey | Refused::Stranger => {
            StatusCode::FORBIDDEN
        }
        Refused::Back => StatusCode::BAD_REQUEST,
        Refused::Provider(_) => StatusCode::BAD_GATEWAY,
        Refused::NoPasskeys => StatusCode::NOT_FOUND,
        Refused::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        Refused::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Link => StatusCode::GONE,
        Refused::Index(IndexError::Invalid { .. } | IndexError::Taken { .. }) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refused::Index(IndexError::Forbidden(_)) => StatusCode::FORBIDDEN,
        Refused::Index(IndexError::NotFound { .. }) => StatusCode::NOT_FOUND,
        Refused::Index(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A refusal that no form can show.
fn refuse(refused: &Refused) -> Response {
    if let (Refused::Index(error), StatusCode::SERVICE_UNAVAILABLE) = (refused, status(refused)) {
        tracing::error!(%error, code = error.code(), "a page could not be made");
        return show(
            StatusCode::SERVICE_UNAVAILABLE,
            &Message {
                title: "The database does not answer",
                text: "Tunnels are not concerned. The server's log says more.",
                ..Message::default()
            },
        );
    }
    let text = refused.to_string();
    show(status(refused), &Message { title: "This cannot be done", text: &text, ..Message::default() })
}

/// Where no index runs there are no accounts.
pub(super) fn no_index() -> Response {
    show(
        StatusCode::NOT_FOUND,
        &Message {
            title: "Not on this machine",
            text: "The index, which knows the users, runs in another process.",
            ..Message::default()
        },
    )
}
