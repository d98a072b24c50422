//! What a program is told when something cannot be done: `application/problem+json` (RFC 9457) with a stable code.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::Refused;
use crate::index::IndexError;

/// Why a request was not carried out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A code that does not change.
    #[schema(example = "index.not_found")]
    code: &'static str,
    /// What happened, and what to do about it.
    detail: String,
    /// Seconds after which it is worth trying again.
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem with a code, a status and a sentence.
    pub(super) fn new(code: &'static str, status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let (status, detail) = (status.as_u16(), detail.into());
        Self { kind: "about:blank", title, status, code, detail, retry_after: None }
    }

    /// Nobody is signed in, and no token is shown.
    pub(super) fn unauthenticated() -> Self {
        let detail = "sign in, or send a token: \"Authorization: Bearer lyt_...\"";
        Self::new("api.unauthenticated", StatusCode::UNAUTHORIZED, detail)
    }

    /// There is no such thing, or nothing the caller may know of.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(
            "index.not_found",
            StatusCode::NOT_FOUND,
            format!("there is no such {what}, or none you may see"),
        )
    }

    /// The caller may not do that.
    pub(super) fn forbidden(who: &'static str) -> Self {
        IndexError::Forbidden(who).into()
    }

    /// The index runs in another process.
    pub(super) fn no_index() -> Self {
        let detail = "the index, which knows the users, runs in another process: ask that one";
        Self::new("api.no_index", StatusCode::NOT_FOUND, detail)
    }

    /// The request has something in its query, path or headers that cannot be.
    pub(super) fn query(detail: impl Into<String>) -> Self {
        Self::new("api.query", StatusCode::BAD_REQUEST, detail)
    }

    /// The same, to be tried again after so many seconds.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// Marks the answer to a request that failed before it changed anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Untouched;

/// What an error of INDEX is in HTTP.
fn status(error: &IndexError) -> StatusCode {
    match error {
        IndexError::NotFound { .. } => StatusCode::NOT_FOUND,
        IndexError::Forbidden(_) => StatusCode::FORBIDDEN,
        IndexError::Taken { .. }
        | IndexError::Ambiguous { .. }
        | IndexError::State(_)
        | IndexError::Full(_) => StatusCode::CONFLICT,
        IndexError::Query(_) => StatusCode::BAD_REQUEST,
        IndexError::Changed(_) => StatusCode::PRECONDITION_FAILED,
        IndexError::Invalid { .. } | IndexError::Prefix { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        IndexError::Busy | IndexError::Locked | IndexError::Unreachable(_) | IndexError::DiskFull => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        IndexError::Missing(_)
        | IndexError::Exists(_)
        | IndexError::Uninitialised(_)
        | IndexError::Refused { .. }
        | IndexError::Corrupt(_)
        | IndexError::Newer { .. }
        | IndexError::Older { .. }
        | IndexError::Foreign(_)
        | IndexError::Denied(_)
        | IndexError::Unreadable { .. }
        | IndexError::Randomness(_)
        | IndexError::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        let status = status(&error);
        if status.is_server_error() {
            tracing::error!(%error, code = error.code(), "a request could not be answered");
            return Self::new(
                error.code(),
                status,
                "the database does not answer; the server's log says more",
            );
        }
        // Where the command line would look is of no use here.
        if let IndexError::NotFound { what, name, .. } = &error {
            return Self::new(error.code(), status, format!("there is no {what} \"{name}\""));
        }
        Self::new(error.code(), status, error.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany(seconds) => {
                let detail = format!("too many tries from your address: wait {seconds} s");
                Self::new("api.too_many", StatusCode::TOO_MANY_REQUESTS, detail).after(seconds)
            }
            Refused::Index(error) => error.into(),
            Refused::Wrong
            | Refused::Busy
            | Refused::Link
            | Refused::Code
            | Refused::Late
            | Refused::Passkey
            | Refused::NoPasskeys
            | Refused::Provider(_)
            | Refused::Back
            | Refused::Stranger => Self::unauthenticated(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let headers =
            [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (status, headers, body).into_response();
        if matches!(self.code, "index.busy" | "index.locked" | "index.disk_full") {
            response.extensions_mut().insert(Untouched);
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
