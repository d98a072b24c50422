//! An OIDC provider for tests: its own key, codes that work once, and tokens that are wrong in whichever way is wanted.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each flaw is in one place of a token; the rest of it is as always"
)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// What lanyard-server is called there.
pub(crate) const CLIENT: &str = "lanyard";

/// What only the two of them know.
pub(crate) const SECRET: &str = "between us/two";

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Nonce,
    NoNonce,
    Audience,
    Expired,
    NoExpiry,
    NotYet,
    Issuer,
    Signature,
    AnotherKey,
    SharedSecret,
    Unsigned,
    Party,
    SeveralWithoutParty,
    NoSubject,
    Garbage,
}

/// A running provider.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    state: Arc<Mutex<State>>,
}

struct State {
    issuer: String,
    key: EcdsaKeyPair,
    kid: String,
    grants: HashMap<String, Grant>,
    /// How often anything was asked.
    asked: usize,
}

/// What a code stands for.
struct Grant {
    nonce: String,
    challenge: String,
    redirect: String,
    claims: Value,
    flaw: Flaw,
}

fn key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap()
}

impl Provider {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (key, kid) = (key(), "first".to_owned());
        let state = State { issuer: issuer.clone(), key, kid, grants: HashMap::new(), asked: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &shared);
            }
        });
        Self { issuer, state }
    }

    /// Signs with another key from now on.
    pub(crate) fn change_key(&self) {
        let mut state = self.state.lock().unwrap();
        state.key = key();
        state.kid = "second".to_owned();
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// Somebody signs in and agrees: the code for what a server asked.
    pub(crate) fn agree(&self, asked: &HashMap<String, String>, claims: Value, flaw: Flaw) -> String {
        for (name, value) in
            [("response_type", "code"), ("client_id", CLIENT), ("code_challenge_method", "S256")]
        {
            assert_eq!(asked[name], value, "{name}");
        }
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"), "{asked:?}");
        let mut state = self.state.lock().unwrap();
        let code = format!("code-{}", state.grants.len());
        let grant = Grant {
            nonce: asked["nonce"].clone(),
            challenge: asked["code_challenge"].clone(),
            redirect: asked["redirect_uri"].clone(),
            claims,
            flaw,
        };
        state.grants.insert(code.clone(), grant);
        code
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length, mut authorization) = (String::new(), 0, String::new());
    reader.read_line(&mut line).unwrap();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ").unwrap_or((header, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => value.clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, answer) =
        state.lock().unwrap().answer(path, &String::from_utf8(body).unwrap(), &authorization);
    let text = answer.to_string();
    let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    // Whoever asked may have gone away.
    let _ = stream.write_all((head + &text).as_bytes());
}

impl State {
    fn answer(&mut self, path: &str, body: &str, authorization: &str) -> (u16, Value) {
        self.asked += 1;
        let at = |path: &str| format!("{}{path}", self.issuer);
        match path {
            "/.well-known/openid-configuration" => {
                let document = json!({
                    "issuer": self.issuer, "authorization_endpoint": at("/authorize?tenant=a"),
                    "token_endpoint": at("/token"), "jwks_uri": at("/keys"),
                });
                (200, document)
            }
            "/keys" => {
                let public = self.key.public_key().as_ref();
                let encode = |bytes| BASE64URL_NOPAD.encode(bytes);
                // Beside keys that nobody here understands.
                let keys = json!({ "keys": [
                    { "kty": "EC", "crv": "secp256k1", "kid": "odd", "x": "AA", "y": "AA" },
                    { "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid,
                      "x": encode(&public[1..33]), "y": encode(&public[33..65]) },
                ] });
                (200, keys)
            }
            "/token" => self.token(body, authorization),
            _ => (404, json!({})),
        }
    }

    fn token(&mut self, body: &str, authorization: &str) -> (u16, Value) {
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let pair = BASE64.decode(authorization.trim_start_matches("Basic ").as_bytes()).unwrap();
        if pair != format!("{CLIENT}:between+us%2Ftwo").as_bytes() {
            return (401, json!({ "error": "invalid_client" }));
        }
        // Once: whoever brings a code again gets nothing.
        let Some(grant) = self.grants.remove(&form["code"]) else {
            return (400, json!({ "error": "invalid_grant" }));
        };
        let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()).as_ref());
        if challenge != grant.challenge || form["redirect_uri"] != grant.redirect {
            return (400, json!({ "error": "invalid_grant" }));
        }
        (200, json!({ "access_token": "unused", "token_type": "Bearer", "id_token": self.signed(&grant) }))
    }

    fn signed(&self, grant: &Grant) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": grant.nonce,
        });
        let set = claims.as_object_mut().unwrap();
        set.extend(grant.claims.as_object().unwrap().clone());
        match grant.flaw {
            Flaw::Nonce => drop(set.insert("nonce".to_owned(), json!("another"))),
            Flaw::NoNonce => drop(set.remove("nonce")),
            Flaw::Audience => drop(set.insert("aud".to_owned(), json!("another"))),
            Flaw::Expired => drop(set.insert("exp".to_owned(), json!(now - 120))),
            Flaw::NoExpiry => drop(set.remove("exp")),
            Flaw::NotYet => drop(set.insert("nbf".to_owned(), json!(now + 300))),
            Flaw::Issuer => drop(set.insert("iss".to_owned(), json!("https://evil.example"))),
            Flaw::Party => drop(set.insert("azp".to_owned(), json!("another"))),
            Flaw::SeveralWithoutParty => drop(set.insert("aud".to_owned(), json!([CLIENT, "another"]))),
            Flaw::NoSubject => drop(set.remove("sub")),
            Flaw::None
            | Flaw::Signature
            | Flaw::AnotherKey
            | Flaw::SharedSecret
            | Flaw::Unsigned
            | Flaw::Garbage => {}
        }
        let algorithm = match grant.flaw {
            Flaw::SharedSecret => "HS256",
            Flaw::Unsigned => "none",
            _ => "ES256",
        };
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": self.kid });
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let sign = |key: &EcdsaKeyPair| {
            key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
        };
        let mut signature = match grant.flaw {
            Flaw::AnotherKey => sign(&key()),
            Flaw::SharedSecret => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.key.public_key().as_ref());
                ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            Flaw::Unsigned => Vec::new(),
            _ => sign(&self.key),
        };
        if grant.flaw == Flaw::Signature {
            signature[10] ^= 1;
        }
        match grant.flaw {
            Flaw::Garbage => "x".repeat(100_000),
            _ => format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)),
        }
    }
}
