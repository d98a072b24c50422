//! What a request carries: names in its path, its body, and the version of the thing it changes.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::api::Web;
use crate::index::version::Version;

/// The names in a path.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Web> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let named = Path::<T>::from_request_parts(parts, web).await;
        named.map(|Path(named)| Self(named)).map_err(|error| Problem::query(error.body_text()))
    }
}

/// The body of a request, as JSON.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Web> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, web).await {
            Ok(Json(sent)) => Ok(Self(sent)),
            Err(error) => Err(Problem::new("api.body", error.status(), error.body_text())),
        }
    }
}

/// The same, where nothing needs to be said: then there is no body at all.
pub(super) struct MaySay<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<Web> for MaySay<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = Bytes::from_request(Request::new(body), web).await;
        let body = body.map_err(|error| Problem::new("api.body", error.status(), error.body_text()))?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        let request = Request::from_parts(parts, Body::from(body));
        Sent::from_request(request, web).await.map(|Sent(sent)| Self(sent))
    }
}

/// The version that the thing must have, from `If-Match`; any will do if nothing is said, or `*`.
pub(super) struct IfMatch(pub(super) Option<Version>);

impl FromRequestParts<Web> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match version.filter(|version| !version.contains('"')) {
            Some(version) => Ok(Self(Some(Version::claimed(version)))),
            None => Err(Problem::query("If-Match is the ETag of the thing as it was read, with its quotes")),
        }
    }
}

/// Something with the version it has.
pub(super) struct Tagged<T>(pub(super) Version, pub(super) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.0.as_str())) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// Something that was made.
pub(super) struct Made<T>(pub(super) T);

impl<T: IntoResponse> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, self.0).into_response()
    }
}

/// Something is gone.
pub(super) struct Gone;

impl IntoResponse for Gone {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// A word of a list, as the index has it.
pub(super) fn word<T: std::str::FromStr<Err = String>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|why| invalid(format!("{name}: {why}")))
}

/// Words of a list.
pub(super) fn words<T: std::str::FromStr<Err = String>>(
    name: &str,
    texts: &[String],
) -> Result<Vec<T>, Problem> {
    texts.iter().map(|text| word(name, text)).collect()
}

/// A value that cannot be.
pub(super) fn invalid(detail: String) -> Problem {
    Problem::new("index.invalid", StatusCode::UNPROCESSABLE_ENTITY, detail)
}
