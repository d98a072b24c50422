//! `/setup/CODE`: the one-time admin link.
//!
//! Opening it shows a button; pressing the button uses the code up. A code has 40 bits and lives for an hour, and
//! the whole server takes ten wrong ones a minute.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use lanyard_wire::names::InviteCode;

use super::{Web, page};
use crate::index::settings::LinkOutcome;

/// Wrong codes in one window.
const GUESSES_MAX: u32 = 10;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts wrong codes.
#[derive(Debug, Clone, Default)]
pub(super) struct Guesses {
    window: Arc<Mutex<Option<(Instant, u32)>>>,
}

impl Guesses {
    /// Whether another code may be tried.
    fn is_open(&self, now: Instant) -> bool {
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.is_none_or(|(since, count)| now.duration_since(since) >= WINDOW || count < GUESSES_MAX)
    }

    /// Notes a wrong one.
    fn count(&self, now: Instant) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        *window = match *window {
            Some((since, count)) if now.duration_since(since) < WINDOW => Some((since, count + 1)),
            Some(_) | None => Some((now, 1)),
        };
    }
}

pub(super) async fn show(Path(code): Path<String>) -> Response {
    page::respond(StatusCode::OK, "lanyard: confirm", &page::confirm_form(&code))
}

pub(super) async fn confirm(
    State(web): State<Web>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Path(code): Path<String>,
) -> Response {
    let refuse = |code, why: &str| page::respond(code, "lanyard: link", &page::refused(why));
    let Some(index) = &web.index else {
        return refuse(StatusCode::NOT_FOUND, "The index does not run in this process.");
    };
    if !web.guesses.is_open(Instant::now()) {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "Too many wrong codes; wait a minute.");
    }
    let outcome = match InviteCode::parse(&code) {
        Ok(code) => index.use_admin_link(code, Some(remote.ip())).await,
        Err(_) => Ok(LinkOutcome::Wrong),
    };
    match outcome {
        Ok(LinkOutcome::Confirmed) => {
            tracing::info!("the one-time admin link was used");
            page::respond(StatusCode::OK, "lanyard: confirmed", &page::confirmed())
        }
        Ok(LinkOutcome::Wrong) => {
            web.guesses.count(Instant::now());
            refuse(StatusCode::FORBIDDEN, "Its code is not the one this server printed last.")
        }
        Ok(LinkOutcome::Used) => {
            refuse(StatusCode::GONE, "It was used before. If that was not you, see the audit trail.")
        }
        Ok(LinkOutcome::Expired) => refuse(StatusCode::GONE, "It is older than an hour."),
        Err(error) => {
            tracing::error!(%error, code = error.code(), "the admin link could not be checked");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "The database does not answer; see the server's log.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_codes_close_the_door_for_a_minute() {
        let guesses = Guesses::default();
        let start = Instant::now();
        for _ in 0..GUESSES_MAX {
            assert!(guesses.is_open(start));
            guesses.count(start);
        }
        assert!(!guesses.is_open(start));
        assert!(guesses.is_open(start + WINDOW));
    }
}
