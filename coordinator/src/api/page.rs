//! The few pages of a coordinator, plain HTML that needs no script.
//!
//! Whatever comes from outside is escaped; these pages show nothing of it anyway.

use axum::http::StatusCode;
use axum::response::Response;

use super::html;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;\
color:#1c2430;background:#fff}h1{font-size:1.4rem}code,pre{font:14px ui-monospace,monospace;background:#f1f4f8;\
border-radius:4px}code{padding:1px 4px}pre{padding:12px;overflow:auto}button{font:inherit;padding:8px 20px;\
border:0;border-radius:6px;background:#1f5fbf;color:#fff;cursor:pointer}button:focus-visible{outline:3px solid #9cc1f5}\
@media(prefers-color-scheme:dark){body{color:#e5e9f0;background:#12161c}code,pre{background:#1e2530}}";

/// What an administrator can do until the panel is there.
const COMMANDS: &str = "lanyard-server invite add home        a string that lets one device join
lanyard-server member list home       who is in, who waits
lanyard-server member approve home D  let a waiting device in
lanyard-server member remove home D   put a member out
lanyard-server network add office     another network
lanyard-server device list            every device
lanyard-server doctor                 what does not work, and what to do";

/// Wraps a body and answers with it.
pub(super) fn respond(code: StatusCode, title: &str, body: &str) -> Response {
    html(
        code,
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{}</title><style>{STYLE}</style><main>{body}</main></html>",
            escape(title)
        ),
    )
}

/// `/`
pub(super) fn front() -> String {
    "<h1>A lanyard coordinator runs here</h1><p>Devices join with the string that <code>lanyard-server invite add \
     NETWORK</code> prints on this server. It is administered at its command line; <a href=\"/healthz\">/healthz</a> \
     tells how it is.</p>"
        .to_owned()
}

/// The one-time link, before its code is used: opening a link must not use it up, or a mail scanner would.
pub(super) fn confirm_form(code: &str) -> String {
    format!(
        "<h1>Confirm that this is your coordinator</h1><p>This link was printed by <code>lanyard-server</code> and \
         works once.</p><form method=\"post\" action=\"/setup/{}\"><button autofocus>Confirm</button></form>",
        escape(code)
    )
}

/// The one-time link, used.
pub(super) fn confirmed() -> String {
    format!(
        "<h1>Confirmed</h1><p>You reached the coordinator that printed this link, and the link is used up. The audit \
         trail notes it.</p><p>Administer it on the server, as the user who owns its data directory:</p>\
         <pre>{}</pre>",
        escape(COMMANDS)
    )
}

/// A link that does not work, and what to do.
pub(super) fn refused(why: &str) -> String {
    format!(
        "<h1>This link does not work</h1><p>{}</p><p>On the server, <code>lanyard-server setup-link</code> makes a new \
         one.</p>",
        escape(why)
    )
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_link_is_shown_as_text() {
        let page = confirm_form("\"><script>alert(1)</script>");
        assert!(!page.contains("<script>"), "{page}");
    }
}
