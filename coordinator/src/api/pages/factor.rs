//! `/account/totp`: an authenticator app and its recovery codes.

use std::fmt::Write as _;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use fast_qr::{ECL, QRBuilder};
use serde::Deserialize;

use super::signin::{Typed, sentence};
use super::visitor::{Desk, Entered};
use super::{go, no_index, refuse, show as answer, status};
use crate::accounts::Refused;
use crate::api::Web;
use crate::index::factors::{RecoveryCode, SecondFactor};
use crate::index::totp::TotpSecret;
use crate::index::users::User;
use crate::index::{Index, IndexError};

/// Light modules around a QR code, as ISO/IEC 18004 asks for.
const QUIET: usize = 4;

#[derive(Template)]
#[template(path = "pages/totp.html")]
struct Page {
    factor: SecondFactor,
    waiting: Option<Waiting>,
    why: Option<String>,
}

/// A secret that waits for its first code.
struct Waiting {
    /// Its characters, in groups of four.
    key: String,
    /// The dark modules of its QR code, as an SVG path.
    path: String,
    /// Its edge, in modules.
    size: usize,
}

#[derive(Template)]
#[template(path = "pages/recovery.html")]
struct CodesPage {
    codes: Vec<String>,
}

/// What the forms send that ask for the password again.
#[derive(Deserialize)]
pub(super) struct Proof {
    password: String,
}

pub(super) async fn show(State(web): State<Web>, entered: Entered) -> Response {
    page(&web, &entered, None).await
}

pub(super) async fn begin(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Form(Proof { password }): Form<Proof>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    if let Err(refused) = accounts.prove(&entered.user, password).await {
        return page(&web, &entered, Some(refused)).await;
    }
    let begun = match entered.actor(index).await {
        Ok(actor) => index.begin_totp(&entered.user, &actor).await,
        Err(error) => Err(error),
    };
    match begun {
        Ok(()) => go("/account/totp"),
        Err(error) => page(&web, &entered, Some(error.into())).await,
    }
}

pub(super) async fn confirm(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Form(Typed { code }): Form<Typed>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let confirmed = match entered.actor(index).await {
        Ok(actor) => accounts.confirm_totp(&entered.user, &entered.session, &code, &actor).await,
        Err(error) => Err(error.into()),
    };
    match confirmed {
        Ok(codes) => show_codes(&codes),
        Err(refused) => page(&web, &entered, Some(refused)).await,
    }
}

pub(super) async fn renew(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Form(Proof { password }): Form<Proof>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    if let Err(refused) = accounts.prove(&entered.user, password).await {
        return page(&web, &entered, Some(refused)).await;
    }
    let renewed = match entered.actor(index).await {
        Ok(actor) => index.new_recovery(&entered.user, &actor).await,
        Err(error) => Err(error),
    };
    match renewed {
        Ok(codes) => show_codes(&codes),
        Err(error) => page(&web, &entered, Some(error.into())).await,
    }
}

pub(super) async fn switch_off(
    State(web): State<Web>,
    Desk(accounts): Desk,
    entered: Entered,
    Form(Proof { password }): Form<Proof>,
) -> Response {
    let Some(index) = &web.index else { return no_index() };
    if let Err(refused) = accounts.prove(&entered.user, password).await {
        return page(&web, &entered, Some(refused)).await;
    }
    let done = match entered.actor(index).await {
        Ok(actor) => index.remove_second_factor(&entered.user, &actor).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => go("/account?done=totp_off"),
        Err(error) => page(&web, &entered, Some(error.into())).await,
    }
}

fn show_codes(codes: &[RecoveryCode]) -> Response {
    answer(StatusCode::OK, &CodesPage { codes: codes.iter().map(RecoveryCode::reveal).collect() })
}

async fn page(web: &Web, entered: &Entered, refused: Option<Refused>) -> Response {
    let Some(index) = &web.index else { return no_index() };
    let (code, why) = match refused {
        None => (StatusCode::OK, None),
        Some(Refused::Wrong) => (StatusCode::FORBIDDEN, Some("That is not your password now.".to_owned())),
        Some(Refused::Index(error @ IndexError::State(_))) => {
            (StatusCode::CONFLICT, Some(sentence(&error.into())))
        }
        Some(refused @ Refused::Index(_)) => return refuse(&refused),
        Some(refused) => (status(&refused), Some(sentence(&refused))),
    };
    match state(index, &entered.user, &web.name).await {
        Ok((factor, waiting)) => answer(code, &Page { factor, waiting, why }),
        Err(error) => refuse(&error.into()),
    }
}

async fn state(
    index: &Index,
    user: &User,
    server: &str,
) -> crate::index::Result<(SecondFactor, Option<Waiting>)> {
    let factor = index.second_factor(user).await?;
    let waiting = index.waiting_totp(user).await?;
    Ok((factor, waiting.map(|secret| Waiting::of(&secret, server, user))))
}

impl Waiting {
    fn of(secret: &TotpSecret, server: &str, user: &User) -> Self {
        let (path, size) = drawn(&secret.uri(server, &user.name)).unwrap_or_default();
        Self { key: grouped(&secret.reveal()), path, size }
    }
}

/// The dark modules of a QR code, those of a row that touch as one piece, and its edge; `None` for a text that is too long.
fn drawn(text: &str) -> Option<(String, usize)> {
    let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
    let mut path = String::new();
    for y in 0..code.size {
        let mut x = 0;
        while x < code.size {
            let length =
                code[y].iter().skip(x).take(code.size - x).take_while(|module| module.value()).count();
            if length > 0 {
                let _ = write!(path, "M{} {}h{length}v1h-{length}z", x + QUIET, y + QUIET);
            }
            x += length + 1;
        }
    }
    Some((path, code.size + 2 * QUIET))
}

/// In groups of four, as people type it.
fn grouped(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    characters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_with_its_finders_and_its_quiet_zone() {
        let (path, size) =
            drawn("otpauth://totp/lan:anna?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=lan").unwrap();
        // The three finders begin with a row of seven dark modules.
        let edge = size - 2 * QUIET;
        for (x, y) in [(0, 0), (edge - 7, 0), (0, edge - 7)] {
            let finder = format!("M{} {}h7v1h-7z", x + QUIET, y + QUIET);
            assert!(path.contains(&finder), "{finder} in {path}");
        }
        assert!(path.len() < 20_000, "{}", path.len());
        assert_eq!(drawn(&"x".repeat(5_000)), None);
        assert_eq!(grouped("ABCDEFGHIJ"), "ABCD EFGH IJ");
    }
}
