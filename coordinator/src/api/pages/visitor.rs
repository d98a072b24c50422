//! Who asks for a page: where from, how safely, and as whom.

use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use ipnetwork::IpNetwork;
use time::Duration;

use super::{Message, go, no_index, refuse, show};
use crate::accounts::{Accounts, Visitor};
use crate::api::{Secure, Web, is_near};
use crate::index::secrets::Secret;
use crate::index::sessions::{LIFETIME_MS, Session};
use crate::index::users::User;
use crate::index::{Actor, Index};

/// The cookie by TLS; a browser takes one of this name from this host alone, and only by TLS.
const COOKIE: &str = "__Host-lanyard";

/// The cookie without TLS, from private addresses.
const COOKIE_PLAIN: &str = "lanyard";

/// How long a slip lasts: what a browser carries from one page to the next while somebody signs in.
const SLIP: Duration = Duration::minutes(10);

/// Most bytes of a form.
const FORM_MAX: usize = 16 << 10;

/// How long a form may take to arrive: who sends slowly must not hold a place that devices need.
const ARRIVES: core::time::Duration = core::time::Duration::from_secs(10);

/// Refuses to ask for a password, or to take one, where everybody on the way could read it; reads the form.
pub(super) async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let way = Way::of(&parts, &web.proxies);
    if !way.is_safe() {
        let text = "Passwords are asked for by HTTPS only. Open this page with https:// in front, or from the server's own \
                    network.";
        return show(
            StatusCode::FORBIDDEN,
            &Message { title: "Not without encryption", text, ..Message::default() },
        );
    }
    match tokio::time::timeout(ARRIVES, to_bytes(body, FORM_MAX)).await {
        Ok(Ok(form)) => next.run(Request::from_parts(parts, Body::from(form))).await,
        Ok(Err(_)) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response(),
    }
}

/// The way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Way {
    /// Where from; `None` if a proxy does not say it so that it can be read.
    pub(in crate::api) ip: Option<IpAddr>,
    /// Whether nobody on the way could read along: TLS ends here, or at a proxy that is believed.
    is_secure: bool,
}

impl Way {
    /// What the connection shows, and what a proxy says that is believed.
    pub(in crate::api) fn of(parts: &Parts, proxies: &[IpNetwork]) -> Self {
        let is_tls = parts.extensions.get::<Secure>().is_some();
        let remote =
            parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|remote| remote.0.ip().to_canonical());
        let is_proxy = remote.is_some_and(|remote| proxies.iter().any(|proxy| proxy.contains(remote)));
        // A proxy adds what it knows at the end; what stands before anybody may have written.
        let last = |name: &str| {
            let line = parts.headers.get_all(name).iter().next_back()?.to_str().ok()?;
            line.rsplit(',').next().map(str::trim)
        };
        let (from, scheme) = (last("x-forwarded-for"), last("x-forwarded-proto"));
        if !is_proxy || (from.is_none() && scheme.is_none()) {
            return Self { ip: remote, is_secure: is_tls };
        }
        Self { ip: from.and_then(|from| from.parse().ok()), is_secure: scheme == Some("https") }
    }

    /// Whether secrets may go this way: not where everybody on it could read them.
    pub(in crate::api) fn is_safe(&self) -> bool {
        self.is_secure || self.ip.is_some_and(is_near)
    }

    /// The name of the session's cookie on this way.
    const fn cookie(&self) -> &'static str {
        if self.is_secure { COOKIE } else { COOKIE_PLAIN }
    }

    /// The secret of the session that a browser shows.
    pub(in crate::api) fn session_secret(&self, jar: &CookieJar) -> Option<Secret> {
        Secret::parse(jar.get(self.cookie())?.value())
    }
}

/// What a browser carries from one page to the next while somebody signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slip {
    /// That they showed their password and not yet a code.
    Pass,
    /// Which ceremony, with a passkey or a provider, is theirs.
    Ceremony,
}

/// Whoever asks, known or not.
pub(super) struct Caller {
    pub(super) visitor: Visitor,
    pub(super) jar: CookieJar,
    way: Way,
}

impl Caller {
    /// The secret that the browser shows.
    fn secret(&self) -> Option<Secret> {
        self.way.session_secret(&self.jar)
    }

    /// Who is signed in in that browser, if somebody is.
    pub(super) async fn current(&self, index: &Index) -> crate::index::Result<Option<User>> {
        let Some(secret) = self.secret() else { return Ok(None) };
        Ok(index.session(&secret).await?.map(|(_, user)| user))
    }

    /// Tells the browser to show that secret from now on, and to drop what it carried to get it.
    pub(super) fn remember(self, secret: &Secret) -> CookieJar {
        let cookie =
            self.with(self.way.cookie().to_owned(), secret.reveal(), Duration::milliseconds(LIFETIME_MS));
        let dropped = [Slip::Pass, Slip::Ceremony].map(|slip| (self.slip(slip), slip));
        let dropped = dropped.into_iter().filter(|(held, _)| held.is_some());
        let dropped: Vec<_> =
            dropped.map(|(_, slip)| self.with(self.name_of(slip), String::new(), Duration::ZERO)).collect();
        dropped.into_iter().fold(self.jar.add(cookie), CookieJar::add)
    }

    /// Tells the browser to show nothing any more.
    pub(super) fn forget(self) -> CookieJar {
        let cookie = self.with(self.way.cookie().to_owned(), String::new(), Duration::ZERO);
        self.jar.add(cookie)
    }

    /// Gives the browser something to carry to the next page.
    pub(super) fn hand(self, slip: Slip, value: String) -> CookieJar {
        let cookie = self.with(self.name_of(slip), value, SLIP);
        self.jar.add(cookie)
    }

    /// What the browser carries.
    pub(super) fn slip(&self, slip: Slip) -> Option<String> {
        self.jar.get(&self.name_of(slip)).map(|cookie| cookie.value().to_owned())
    }

    fn name_of(&self, slip: Slip) -> String {
        let what = match slip {
            Slip::Pass => "pass",
            Slip::Ceremony => "ceremony",
        };
        format!("{}-{what}", self.way.cookie())
    }

    fn with(&self, name: String, value: String, lifetime: Duration) -> Cookie<'static> {
        Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(self.way.is_secure)
            .same_site(SameSite::Lax)
            .max_age(lifetime)
            .build()
    }
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        let way = Way::of(parts, &web.proxies);
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let visitor = Visitor {
            ip: way.ip.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            user_agent: user_agent.unwrap_or_default().to_owned(),
        };
        Ok(Self { visitor, jar: CookieJar::from_headers(&parts.headers), way })
    }
}

/// Somebody who is signed in; everybody else is sent to sign in.
pub(super) struct Entered {
    pub(super) user: User,
    pub(super) session: Session,
    pub(super) caller: Caller,
}

impl Entered {
    /// With all they may do.
    pub(super) async fn actor(&self, index: &Index) -> crate::index::Result<Actor> {
        let grants = index.grants(&self.user).await?;
        Ok(Actor::user(grants, crate::index::audit::Via::Panel, Some(self.caller.visitor.ip)))
    }
}

impl FromRequestParts<Web> for Entered {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        let caller = Caller::from_request_parts(parts, web).await?;
        let Some(index) = &web.index else { return Err(no_index()) };
        let Some(secret) = caller.secret() else { return Err(go("/signin")) };
        match index.session(&secret).await {
            Ok(Some((session, user))) => Ok(Self { user, session, caller }),
            Ok(None) => Err(go("/signin")),
            Err(error) => Err(refuse(&error.into())),
        }
    }
}

/// What lets users in, where an index runs.
pub(super) struct Desk(pub(super) std::sync::Arc<Accounts>);

impl FromRequestParts<Web> for Desk {
    type Rejection = Response;

    async fn from_request_parts(_: &mut Parts, web: &Web) -> Result<Self, Response> {
        web.accounts.clone().map(Self).ok_or_else(no_index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a request came, by the address of its connection and what it says.
    fn way(remote: &str, headers: &[(&str, &str)]) -> Way {
        let mut request = Request::builder().uri("/signin");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::new(remote.parse().unwrap(), 1)));
        Way::of(&parts, &["127.0.0.0/8".parse().unwrap()])
    }

    fn from(ip: &str, is_secure: bool) -> Way {
        Way { ip: Some(ip.parse().unwrap()), is_secure }
    }

    #[test]
    fn a_proxy_that_is_believed_says_where_from_and_whether_by_tls() {
        let said = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
        assert_eq!(way("127.0.0.1", &said), from("203.0.113.9", true));
        assert_eq!(way("::ffff:127.0.0.1", &said[..1]), from("203.0.113.9", false));
        assert_eq!(way("10.0.0.7", &said), from("10.0.0.7", false), "nobody else is believed");
        assert_eq!(way("127.0.0.1", &[]), from("127.0.0.1", false));
    }

    #[test]
    fn what_a_client_wrote_before_the_proxy_did_counts_for_nothing() {
        let two_lines = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(way("127.0.0.1", &two_lines), from("203.0.113.9", false));
        assert_eq!(
            way("127.0.0.1", &[("x-forwarded-for", "10.0.0.1, 203.0.113.9")]),
            from("203.0.113.9", false)
        );
        let odd = way("127.0.0.1", &[("x-forwarded-for", "unknown")]);
        assert_eq!(odd, Way { ip: None, is_secure: false });
    }
}
