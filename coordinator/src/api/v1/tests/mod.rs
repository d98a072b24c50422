//! The interface, from a request to its answer, on a database of its own.

mod document;
mod links;
mod live;
mod matrix;
mod requests;
mod tokens;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use lanyard_wire::checkpoint::{LinkPath, LinkReport, PairCode, PairVerdict};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::names::{DeviceName, NetworkName};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::api::{Site, Web};
use crate::config::Config;
use crate::entrance::Entrance;
use crate::health::Health;
use crate::index::authority::Role;
use crate::index::devices::Introduction;
use crate::index::invites::NewInvite;
use crate::index::join::JoinRequest;
use crate::index::networks::NewNetwork;
use crate::index::tokens::{BEGIN, NewToken, Scope};
use crate::index::users::{NewUser, User, UserWishes};
use crate::index::webhooks::{HookEvent, NewWebhook};
use crate::index::{Actor, Clock, Index, Location, Schema};

/// How a caller of the tests shows who they are, as a line of the head; empty for nobody.
#[derive(Clone)]
struct Pass(String);

/// A server with two networks, "den" and "work", and somebody of each kind.
struct World {
    index: Arc<Index>,
    router: Router,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: u16,
    head: axum::http::HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.head.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

fn admin() -> Actor {
    Actor::operator("milena")
}

fn slug(name: &str) -> NetworkName {
    NetworkName::parse(name).unwrap()
}

fn device(seed: u8) -> DeviceId {
    DeviceId::of(&PublicKey::from_bytes([seed; 32]))
}

impl World {
    /// "den" has device-1, which belongs to "member", and device-2; "work" has device-3.
    async fn open() -> Self {
        Self::open_on("").await
    }

    /// The same, in a database by its URL.
    async fn open_on(database: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Location::parse(database, dir.path()).unwrap();
        let fleet = SymmetricKey::from_bytes([7; 32]);
        let index = Arc::new(Index::open(&database, Schema::Create, &fleet, Clock::system()).await.unwrap());
        index.set_public_key(&PublicKey::from_bytes([9; 32]), &admin()).await.unwrap();
        let mut config = Config::default();
        config.public.host = "vpn.example.org".to_owned();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let site = Site {
            name: config.public.host.clone(),
            url: config.web_url(),
            proxies: Vec::new(),
            providers: Vec::new(),
        };
        let web = Web::new(Health::of(&[]), metrics, Some(Arc::clone(&index)), None, site);
        let router = web.reached_at(Entrance::of(&config)).router();
        let world = Self { index, router, _dir: dir };
        for name in ["root", "foreigner", "guest", "member", "head", "owner", "stranger"] {
            world.index.add_user(&NewUser::person(name.parse().unwrap()), &admin()).await.unwrap();
        }
        let all = UserWishes { is_server_admin: Some(true), ..UserWishes::default() };
        world.index.set_user("root", &all, &admin()).await.unwrap();
        for (network, devices) in [("den", &[1, 2][..]), ("work", &[3])] {
            world.index.add_network(&NewNetwork::by_invite(slug(network), vec![]), &admin()).await.unwrap();
            world.cast(network).await;
            for seed in devices {
                world.join(network, *seed).await;
            }
        }
        world.own(1, "member").await;
        world
    }

    /// Gives everybody their role in a network: those of "den", or the owner of "work".
    async fn cast(&self, network: &str) {
        let home =
            [("owner", Role::Owner), ("head", Role::Admin), ("member", Role::Member), ("guest", Role::Guest)];
        let roles = if network.starts_with("work") { &[("foreigner", Role::Owner)][..] } else { &home };
        for (user, role) in roles {
            self.index.set_role(&slug(network), user, Some(*role), None, &admin()).await.unwrap();
        }
    }

    async fn join(&self, network: &str, seed: u8) {
        let new = NewInvite::for_devices(slug(network), 1, 3_600_000);
        let (_, code) = self.index.add_invite(&new, &admin()).await.unwrap();
        let introduction = Introduction {
            identity: PublicKey::from_bytes([seed; 32]),
            wireguard: PublicKey::from_bytes([seed; 32]),
            name: DeviceName::parse(&format!("device-{seed}")).unwrap(),
            os: "linux".to_owned(),
            agent_version: "0.1.0".to_owned(),
            local_prefixes: Vec::new(),
        };
        let request = JoinRequest {
            network: slug(network),
            invite: Some(code),
            password: None,
            device: introduction,
            ip: None,
        };
        self.index.join(&request).await.unwrap();
    }

    async fn own(&self, seed: u8, user: &str) {
        let user = Some(Some(self.user(user).await.id));
        let wishes = crate::index::edits::DeviceWishes { user_id: user, ..Default::default() };
        self.index.set_device(device(seed), &wishes, &admin()).await.unwrap();
    }

    /// Two devices reach each other, says the first.
    async fn link(&self, seed: u8, peer: u8) {
        let verdict =
            PairVerdict { peer: device(peer), code: PairCode::ProbesLost, method: None, took_ms: 1_600 };
        self.index.record_verdicts(&[(device(seed), verdict)]).await.unwrap();
    }

    async fn user(&self, name: &str) -> User {
        self.index.user(name).await.unwrap()
    }

    /// Signed in with a browser.
    async fn session(&self, name: &str) -> Pass {
        let user = self.user(name).await;
        let (_, secret) = self.index.open_session(&user, None, "Firefox", None).await.unwrap();
        Pass(format!("cookie: lanyard={}", secret.reveal()))
    }

    async fn token(&self, name: &str, scope: Scope, network: Option<&str>) -> Pass {
        let new = NewToken { name: "test".to_owned(), scope, network: network.map(slug), lifetime_ms: None };
        let (_, secret) = self.index.add_token(&self.user(name).await, &new, &admin()).await.unwrap();
        Pass(format!("authorization: Bearer {BEGIN}{}", secret.reveal()))
    }

    /// Id of the membership of a device.
    async fn member(&self, network: &str, seed: u8) -> String {
        let members = self.index.members_of(&slug(network), true).await.unwrap();
        members.into_iter().find(|member| member.device == device(seed)).unwrap().id
    }

    /// Ids of the one webhook of a network, and of something that is sent to it.
    async fn webhook(&self, network: &str) -> (String, String) {
        for webhook in self.index.webhooks(Some(&slug(network))).await.unwrap() {
            self.index.remove_webhook(&webhook.id, &admin()).await.unwrap();
        }
        let new = NewWebhook {
            network: Some(slug(network)),
            url: "https://example.org/".to_owned(),
            events: HookEvent::ALL.into(),
            description: String::new(),
        };
        let (webhook, _) = self.index.add_webhook(&new, &admin()).await.unwrap();
        let delivery = self.index.test_webhook(&webhook.id, &admin()).await.unwrap();
        (webhook.id, delivery.id)
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Asks with these lines in the head besides; an empty body is none.
    async fn ask_with(
        &self,
        pass: &Pass,
        method: &str,
        path: &str,
        head: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let response = self.send(request(pass, method, path, head, body)).await;
        let (parts, body) = response.into_parts();
        let is_json =
            parts.headers.get("content-type").is_some_and(|kind| kind.to_str().unwrap().contains("json"));
        let body = if is_json { to_bytes(body, 1 << 24).await.unwrap() } else { Default::default() };
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answer { status: parts.status.as_u16(), head: parts.headers, body }
    }

    async fn ask(&self, pass: &Pass, method: &str, path: &str, body: &str) -> Answer {
        self.ask_with(pass, method, path, &[], body).await
    }
}

fn request(pass: &Pass, method: &str, path: &str, head: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    request = request.header("host", "vpn.example.org");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in pass.0.split_once(": ").into_iter().chain(head.iter().copied()) {
        request = request.header(name, value);
    }
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
    request
}

/// Every refusal is a problem that says the same as the status.
fn assert_problem(answer: &Answer, status: StatusCode, code: &str, what: &str) {
    assert_eq!((answer.status, answer.code()), (status.as_u16(), code), "{what}: {}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
    assert_eq!(answer.body["status"], status.as_u16(), "{what}");
}
