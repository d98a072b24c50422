//! OpenID Connect: people sign in where their team signs in (OIDC Core 1.0; OAuth 2.0 with code and PKCE, RFC 7636).
//!
//! Nothing is asked of a provider before somebody wants to sign in there, and whatever is asked has a bound in time and size:
//! one that is down stops nobody but those who want to go through it. Tokens are judged in [`token`]; what comes out is an
//! [`Account`], whose identity is issuer and subject.

mod token;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

pub use self::token::Account;
use self::token::{Expected, Keys};
use crate::config::Oidc;
use crate::http::{Bounds, Http, Longer, Reply};
use crate::problem::Problem;

/// How long what a provider says of itself is believed.
const KNOWN: Duration = Duration::from_secs(3_600);

/// How long a provider may take, and how much it may say: a set of keys has a few thousand bytes.
const BOUNDS: Bounds =
    Bounds { patience: Duration::from_secs(10), answer_max: 256 << 10, longer: Longer::Refused };

/// Why somebody cannot sign in at a provider.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection, or no answer in time.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// An answer that is none.
    #[error("{0} answers nonsense: {1}")]
    Answer(String, String),
    /// A token that proves nothing to us.
    #[error("the token of {0} is not good: {1}")]
    Token(String, String),
}

/// A provider of the settings.
pub struct Provider {
    settings: Oidc,
    secret: Zeroizing<String>,
    http: Arc<Http>,
    known: Mutex<Option<Arc<Known>>>,
}

/// What a provider says of itself.
#[derive(Debug)]
struct Known {
    since: Instant,
    document: Document,
    keys: Keys,
}

/// The parts of a discovery document that count here (OIDC Discovery 1.0, 3).
#[derive(Debug, Clone, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// What is kept of a request until the browser comes back.
#[derive(Clone)]
pub struct Request {
    /// What the token must repeat.
    pub nonce: String,
    /// What shows that the code is used by who asked for it (PKCE).
    pub verifier: String,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("id", &self.settings.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request(..)")
    }
}

impl Provider {
    /// Takes the providers of the settings; none of them is asked anything.
    ///
    /// # Errors
    /// [`Problem`] `oidc.secret` when the file with a client's secret cannot be read.
    pub fn all(settings: &[Oidc], dir: &Path) -> Result<Vec<Self>, Problem> {
        let http = Arc::new(Http::new(BOUNDS));
        let provider = |settings: &Oidc| {
            let secret = match settings.client_secret_file.as_str() {
                "" => String::new(),
                file => {
                    let path = dir.join(file);
                    std::fs::read_to_string(&path).map_err(|error| {
                        let text = format!(
                            "the client secret of the OIDC provider \"{}\" cannot be read from {} ({error}): correct \
                             client_secret_file",
                            settings.id,
                            path.display()
                        );
                        Problem::new("oidc.secret", text)
                    })?
                }
            };
            let secret = Zeroizing::new(secret.trim().to_owned());
            Ok(Self { settings: settings.clone(), secret, http: Arc::clone(&http), known: Mutex::default() })
        };
        settings.iter().map(provider).collect()
    }

    /// Its settings.
    #[must_use]
    pub const fn settings(&self) -> &Oidc {
        &self.settings
    }

    /// Where the browser goes to sign in.
    ///
    /// # Errors
    /// [`Failure`] when the provider does not say where that is.
    pub async fn way_in(&self, redirect: &str, state: &str, request: &Request) -> Result<String, Failure> {
        let known = self.known().await?;
        let mut url = self.endpoint(&known.document.authorization_endpoint)?;
        let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, request.verifier.as_bytes()).as_ref());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", state)
            .append_pair("nonce", &request.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Whose account that is: exchanges the code that the browser brought, and judges the token.
    ///
    /// # Errors
    /// [`Failure`]; nobody is anybody then.
    pub async fn account(&self, redirect: &str, code: &str, request: &Request) -> Result<Account, Failure> {
        let known = self.known().await?;
        let tokens: Tokens = self.exchange(&known.document, redirect, code, request).await?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client: &self.settings.client_id,
            nonce: &request.nonce,
            groups: &self.settings.groups_claim,
        };
        let not_good = |why: String| Failure::Token(self.settings.id.clone(), why);
        let mut known = known;
        if !known.keys.fit(&tokens.id_token) {
            known = self.with_newer_keys(&known).await?;
        }
        known.keys.account(&tokens.id_token, &expected).map_err(not_good)
    }

    async fn exchange(
        &self,
        document: &Document,
        redirect: &str,
        code: &str,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let (form, authorization) = self.form(document, redirect, code, request);
        let url = self.endpoint(&document.token_endpoint)?;
        let reply =
            self.http.post_form(&url, form, authorization).await.map_err(|why| self.unreachable(why))?;
        if reply.status != 200 {
            // RFC 6749, 5.2: the error is a short word; nothing else of the answer is repeated.
            let word = serde_json::from_slice::<serde_json::Value>(&reply.body).ok();
            let word =
                word.and_then(|body| Some(body.get("error")?.as_str()?.to_owned())).unwrap_or_default();
            let word: String = word.chars().filter(|c| c.is_ascii_graphic()).take(60).collect();
            return Err(self.nonsense(format!("status {} for the code, \"{word}\"", reply.status)));
        }
        self.read(&reply)
    }

    /// What is sent for a token, and the header that shows who sends it.
    fn form(
        &self,
        document: &Document,
        redirect: &str,
        code: &str,
        request: &Request,
    ) -> (String, Option<String>) {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect)
            .append_pair("code_verifier", &request.verifier);
        let methods = &document.token_endpoint_auth_methods_supported;
        // RFC 8414: a server that does not say takes the secret in the header.
        let is_basic = methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic");
        let mut header = None;
        if self.secret.is_empty() {
            form.append_pair("client_id", &self.settings.client_id);
        } else if is_basic {
            let escaped =
                |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", escaped(&self.settings.client_id), escaped(&self.secret));
            header = Some(format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes())));
        } else {
            form.append_pair("client_id", &self.settings.client_id)
                .append_pair("client_secret", &self.secret);
        }
        (form.finish(), header)
    }

    /// What the provider says of itself, asked at most once an hour.
    async fn known(&self) -> Result<Arc<Known>, Failure> {
        // Who comes while it is asked waits for the answer, no longer than its bound.
        let mut held = self.known.lock().await;
        if let Some(known) = held.as_ref().filter(|known| known.since.elapsed() < KNOWN) {
            return Ok(Arc::clone(known));
        }
        let address =
            format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        let reply = self.get(&address).await?;
        let document: Document = self.read(&reply)?;
        if document.issuer != self.settings.issuer {
            return Err(self.nonsense(format!("it says that it is \"{}\"", short(&document.issuer))));
        }
        let keys =
            Keys::parse(&self.get(&document.jwks_uri).await?.body).map_err(|why| self.nonsense(why))?;
        let known = Arc::new(Known { since: Instant::now(), document, keys });
        *held = Some(Arc::clone(&known));
        Ok(known)
    }

    /// The same with the keys of now: a provider changes them, and announces nothing.
    async fn with_newer_keys(&self, old: &Known) -> Result<Arc<Known>, Failure> {
        let reply = self.get(&old.document.jwks_uri).await?;
        let keys = Keys::parse(&reply.body).map_err(|why| self.nonsense(why))?;
        let known = Arc::new(Known { since: old.since, document: old.document.clone(), keys });
        *self.known.lock().await = Some(Arc::clone(&known));
        Ok(known)
    }

    async fn get(&self, address: &str) -> Result<Reply, Failure> {
        let url = self.endpoint(address)?;
        let reply = self.http.get(&url).await.map_err(|why| self.unreachable(why))?;
        if reply.status == 200 {
            Ok(reply)
        } else {
            Err(self.nonsense(format!("status {} at {url}", reply.status)))
        }
    }

    /// An address that a provider named: by TLS, unless it is on this machine.
    fn endpoint(&self, address: &str) -> Result<Url, Failure> {
        let url = Url::parse(address).ok().filter(is_safe);
        url.ok_or_else(|| self.nonsense(format!("\"{}\" is no https:// address", short(address))))
    }

    fn read<T: for<'t> Deserialize<'t>>(&self, reply: &Reply) -> Result<T, Failure> {
        serde_json::from_slice(&reply.body).map_err(|error| self.nonsense(error.to_string()))
    }

    fn unreachable(&self, why: String) -> Failure {
        Failure::Unreachable(self.settings.id.clone(), why)
    }

    fn nonsense(&self, why: String) -> Failure {
        Failure::Answer(self.settings.id.clone(), why)
    }
}

/// Whether nobody on the way can read or change what goes to that address.
#[must_use]
pub fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && is_here))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_a_provider_is_on_this_machine() {
        for (address, is_good) in [
            ("https://id.example.org/realms/lan", true),
            ("http://127.0.0.1:9000", true),
            ("http://localhost:9000", true),
            ("http://[::1]:9000", true),
            ("http://id.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("file:///etc/passwd", false),
            ("https:", false),
        ] {
            assert_eq!(Url::parse(address).is_ok_and(|url| is_safe(&url)), is_good, "{address}");
        }
    }
}
