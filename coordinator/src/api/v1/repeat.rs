//! Before a request reaches its handler: how it came, how long it is, and whether it was sent before.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::{Caller, Door};
use super::problem::{Problem, Untouched};
use crate::api::Web;
use crate::api::pages::visitor::Way;
use crate::index::Index;
use crate::index::repeats::{Claim, RepeatKey};

/// What a client's key for one request is called.
const KEY: &str = "idempotency-key";

/// Longest key, in bytes.
const KEY_MAX: usize = 255;

/// Most bytes of a body: everything that is sent here is a handful of fields.
const BODY_MAX: usize = 64 << 10;

/// Longest answer that is kept for whoever asks again, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// How long a body may take to arrive: who sends slowly must not hold a place that others need.
const ARRIVES: core::time::Duration = core::time::Duration::from_secs(10);

/// Refuses secrets where everybody could read them; reads the body; carries out once what is sent twice.
pub(super) async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let mut response = match admit(&web, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn admit(web: &Web, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if !Way::of(&parts, &web.proxies).is_safe() {
        let detail = "the interface answers by HTTPS only, or from a private address: use https://";
        return Err(Problem::new("api.insecure", StatusCode::FORBIDDEN, detail));
    }
    let body = match tokio::time::timeout(ARRIVES, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let detail = format!("a body has at most {BODY_MAX} bytes");
            return Err(Problem::new("api.too_long", StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", ARRIVES.as_secs());
            return Err(Problem::new("api.too_slow", StatusCode::REQUEST_TIMEOUT, detail));
        }
    };
    let request = Request::from_parts(parts, Body::from(body.clone()));
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return Ok(next.run(request).await);
    }
    once(web, request, &body, next).await
}

/// Carries out a request with a key, or gives the answer it had.
async fn once(web: &Web, request: Request, body: &Bytes, next: Next) -> Result<Response, Problem> {
    let (mut parts, rest) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, web).await?;
    let key = parts.headers.get(KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Problem::query(format!("Idempotency-Key has 1 to {KEY_MAX} bytes")));
    }
    // A token that may less must not be told what another was answered.
    let door = match &caller.door {
        Door::Session(_) => "session",
        Door::Token(token) => &token.id,
    };
    let key = [door.as_bytes(), b"/", key].concat();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let version = parts.headers.get(header::IF_MATCH).map(HeaderValue::as_bytes).unwrap_or_default();
    let key = caller.index().repeat_key(&caller.user.id, &key, &[path.as_bytes(), version, body]);
    match caller.index().claim(&key).await? {
        Claim::New => {}
        Claim::Done(status, answer) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            return Ok(replay(status, &answer));
        }
        Claim::Other => {
            let detail = "this Idempotency-Key was sent with another request: use a new key for each";
            return Err(Problem::new("api.key_reused", StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        Claim::Begun => {
            let detail = "the request with this Idempotency-Key is under way, or the server was stopped during it: look \
                          whether it was done, and send it with a new key if not";
            return Err(Problem::new("api.key_begun", StatusCode::CONFLICT, detail).after(1));
        }
    }
    // On a task of its own: who hangs up meanwhile finds the answer when they ask again.
    let index = caller.shared_index();
    let request = Request::from_parts(parts, rest);
    let carried_out = tokio::spawn(async move {
        let response = next.run(request).await;
        keep(&index, &key, response).await
    });
    carried_out.await.map_err(|_| {
        Problem::new(
            "api.failed",
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request failed; the server's log says more",
        )
    })
}

/// An answer as it was kept: the version it named, if any, and below it the body.
fn replay(status: StatusCode, answer: &[u8]) -> Response {
    let end = answer.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    let (tag, body) = answer.split_at(end);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (status, headers, body.get(1..).unwrap_or_default().to_vec()).into_response();
    if let Ok(tag) = HeaderValue::from_bytes(tag)
        && !tag.is_empty()
    {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Keeps an answer for whoever asks again; a refusal changed nothing, and the key is free again. What became of a request
/// that failed is not known, so its key stays taken.
async fn keep(index: &Index, key: &RepeatKey, response: Response) -> Response {
    let is_untouched = response.extensions().get::<Untouched>().is_some();
    if response.status().is_server_error() && !is_untouched {
        return response;
    }
    if !response.status().is_success() {
        if let Err(error) = index.give_back(key).await {
            tracing::warn!(%error, code = error.code(), "the key of a refused request stays taken");
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let tag = parts.headers.get(header::ETAG).map(HeaderValue::as_bytes).unwrap_or_default();
    if let Err(error) = index.settle(key, parts.status.as_u16(), &[tag, b"\n", &body].concat()).await {
        tracing::warn!(%error, code = error.code(), "the answer to a request could not be kept");
    }
    Response::from_parts(parts, Body::from(body))
}
