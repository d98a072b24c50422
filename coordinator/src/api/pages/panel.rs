//! The panel: the application of `web/`, built by npm and served from inside the program.
//!
//! What was in `web/dist` when this was compiled is embedded, with the compressed copies that the build puts beside each file;
//! where nothing was there, a page says so. Names below `assets/panel/` carry a hash of what is in them, so browsers keep them
//! for good; every address of the panel is the same page, for who is signed in.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::visitor::Entered;
use super::{Message, show};
use crate::api::Web;

/// The build, if there was one.
#[derive(RustEmbed)]
#[folder = "../web/dist/"]
#[allow_missing = true]
struct Built;

/// First steps of the panel's addresses, beside `/`: those of `web/src/route.ts`.
const PLACES: [&str; 7] = ["devices", "networks", "people", "map", "rules", "activity", "settings"];

/// What the panel may load and where it may be shown: nothing but its own, nowhere but here.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Of names that carry a hash.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// Of names that stay when their content changes: asked for again each time, by ETag.
const ASK_AGAIN: &str = "no-cache";

/// Bytes of a file's hash in its ETag: enough that no two builds are taken for one.
const TAG_BYTES: usize = 12;

/// Compressed copies, the smaller first: word in headers, ending of the name.
const PACKED: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Every address of the panel but `/`, and what it loads.
pub(super) fn router() -> Router<Web> {
    let mut router =
        Router::new().route("/favicon.svg", get(icon)).route("/assets/panel/{*name}", get(asset));
    for place in PLACES {
        router =
            router.route(&format!("/{place}"), get(enter)).route(&format!("/{place}/{{*rest}}"), get(enter));
    }
    router
}

async fn enter(_: Entered, headers: HeaderMap) -> Response {
    page(&headers)
}

async fn icon(headers: HeaderMap) -> Response {
    file::<Built>("favicon.svg", ASK_AGAIN, &headers).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let name = format!("assets/panel/{name}");
    file::<Built>(&name, FOR_GOOD, &headers).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

/// The page that loads the panel.
pub(super) fn page(headers: &HeaderMap) -> Response {
    let mut response = file::<Built>("index.html", ASK_AGAIN, headers).unwrap_or_else(not_built);
    let guards: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, ASK_AGAIN),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in guards {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

fn not_built() -> Response {
    let text = "The panel was not built in when this program was compiled. The command line does all that it does; to have it, \
                build web/ first (\"npm ci && npm run build\" there), then the program.";
    let link = Some(("/account", "Your account"));
    show(
        StatusCode::OK,
        &Message { title: "No panel here", text, command: Some("lanyard-server --help"), link },
    )
}

/// A file of the build, in the smallest form that the browser takes; `None` where there is no such file.
fn file<E: RustEmbed>(name: &str, keep: &'static str, headers: &HeaderMap) -> Option<Response> {
    let plain = E::get(name)?;
    let kind = content_type(name);
    let packed = PACKED.iter().filter(|(word, _)| takes(headers, word));
    let packed =
        packed.filter_map(|(word, ending)| Some((*word, E::get(&format!("{name}{ending}"))?))).next();
    let (encoding, EmbeddedFile { data, metadata }) = match packed {
        Some((word, file)) => (Some(word), file),
        None => (None, plain),
    };
    let hash = metadata.sha256_hash();
    let tag = format!("\"{}\"", HEXLOWER.encode(hash.get(..TAG_BYTES).unwrap_or_default()));
    let always =
        [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, keep), (header::VARY, "accept-encoding")];
    if says(headers, &header::IF_NONE_MATCH, &tag) {
        return Some((StatusCode::NOT_MODIFIED, always).into_response());
    }
    let about = [(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    let mut response = (always, about, data.into_owned()).into_response();
    if let Some(word) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static(word));
    }
    Some(response)
}

/// Whether a list in a header has a word, or its weak form.
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|part| part.trim().trim_start_matches("W/") == word)
}

/// Whether a browser takes an encoding: named, and not with a weight of nothing.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|part| {
        let (word, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight: Option<f32> = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        word.trim().eq_ignore_ascii_case(encoding) && weight != Some(0.0)
    })
}

/// Of the kinds of files that a build has.
fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A build of a few bytes: what is said to be compressed is not, so that it can be told.
    #[derive(RustEmbed)]
    #[folder = "tests/panel/"]
    struct Example;

    fn asked(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn get(name: &str, pairs: &[(HeaderName, &str)]) -> Option<Response> {
        file::<Example>(name, FOR_GOOD, &asked(pairs))
    }

    fn header_of(response: &Response, name: &HeaderName) -> String {
        response.headers().get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_browser_gets_the_smallest_form_that_it_takes() {
        for (accepts, encoding) in [
            ("gzip, deflate, br, zstd", "br"),
            ("gzip", "gzip"),
            ("br;q=0, gzip;q=0.5", "gzip"),
            ("identity", ""),
            ("brotli", ""),
        ] {
            let response = get("script.js", &[(header::ACCEPT_ENCODING, accepts)]).unwrap();
            assert_eq!(header_of(&response, &header::CONTENT_ENCODING), encoding, "{accepts}");
            assert_eq!(header_of(&response, &header::CONTENT_TYPE), "text/javascript; charset=utf-8");
            assert_eq!(header_of(&response, &header::VARY), "accept-encoding");
        }
        let only_plain = get("page.html", &[(header::ACCEPT_ENCODING, "br, gzip")]).unwrap();
        assert_eq!(header_of(&only_plain, &header::CONTENT_ENCODING), "");
    }

    #[test]
    fn what_a_browser_has_already_is_not_sent_again() {
        let first = get("script.js", &[]).unwrap();
        let tag = header_of(&first, &header::ETAG);
        assert_eq!((first.status(), tag.len()), (StatusCode::OK, 2 + 2 * TAG_BYTES));
        for known in [tag.clone(), format!("\"other\", W/{tag}")] {
            let again = get("script.js", &[(header::IF_NONE_MATCH, known.as_str())]).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(header_of(&again, &header::CACHE_CONTROL), FOR_GOOD);
        }
        let packed = [(header::IF_NONE_MATCH, tag.as_str()), (header::ACCEPT_ENCODING, "br")];
        assert_eq!(get("script.js", &packed).unwrap().status(), StatusCode::OK, "another form, another tag");
    }

    #[test]
    fn nothing_outside_the_build_is_served() {
        for name in ["", "nothing.js", "../panel/page.html", "/page.html", "script"] {
            assert!(get(name, &[]).is_none(), "{name}");
        }
    }

    #[test]
    fn the_page_may_load_nothing_from_elsewhere_whether_it_was_built_in_or_not() {
        let response = page(&HeaderMap::new());
        assert_eq!(header_of(&response, &header::CONTENT_SECURITY_POLICY), POLICY);
        assert_eq!(header_of(&response, &header::X_FRAME_OPTIONS), "DENY");
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!POLICY.contains("unsafe"));
    }
}
