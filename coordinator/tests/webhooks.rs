//! Webhooks from what happens to a receiver on the loopback interface: in order, signed, again until it arrived, over restarts,
//! on either database; and through the real program.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod server;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use lanyard_coordinator::index::devices::{Introduction, Presence};
use lanyard_coordinator::index::invites::NewInvite;
use lanyard_coordinator::index::join::JoinRequest;
use lanyard_coordinator::index::lists::Page;
use lanyard_coordinator::index::networks::NewNetwork;
use lanyard_coordinator::index::webhooks::deliveries::{Delivery, DeliveryState};
use lanyard_coordinator::index::webhooks::{HookEvent, NewWebhook, SigningSecret, Webhook};
use lanyard_coordinator::index::{Actor, Clock, Index, Location, Schema};
use lanyard_coordinator::webhooks::Courier;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::names::{DeviceName, NetworkName};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use self::server::Directory;

/// How long anything of this may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a receiver may be silent here.
const PATIENCE: Duration = Duration::from_millis(300);

/// How a receiver answers.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Status(u16),
    /// It hangs on and says nothing.
    Silence,
}

/// Something that a receiver was sent.
#[derive(Debug, Clone)]
struct Message {
    path: String,
    id: String,
    at: i64,
    signature: String,
    body: String,
}

impl Message {
    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    got: mpsc::UnboundedSender<Message>,
    /// Who may answer; closed it lets everybody.
    gate: Semaphore,
}

/// A program that receives messages: it answers as it was told, and 204 after that.
struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    got: mpsc::UnboundedReceiver<Message>,
}

impl Receiver {
    async fn start() -> Self {
        let receiver = Self::held().await;
        receiver.shared.gate.close();
        receiver
    }

    /// One that answers nobody until its gate is closed.
    async fn held() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, got) = mpsc::unbounded_channel();
        let shared = Shared { replies: Mutex::default(), got: sender, gate: Semaphore::new(0) };
        let shared = Arc::new(shared);
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared, got }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn will(&self, replies: &[Reply]) {
        self.shared.replies.lock().unwrap().extend(replies);
    }

    async fn next(&mut self) -> Message {
        timeout(DEADLINE, self.got.recv()).await.expect("no message came").unwrap()
    }

    /// What came until now.
    fn all(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.got.try_recv().ok()).collect()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, head: HeaderMap, uri: Uri, body: Bytes) -> Response {
    let line = |name: &str| head[name].to_str().unwrap().to_owned();
    assert_eq!(line("content-type"), "application/json");
    let message = Message {
        path: uri.to_string(),
        id: line("webhook-id"),
        at: line("webhook-timestamp").parse().unwrap(),
        signature: line("webhook-signature"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    shared.got.send(message).unwrap();
    // Nobody is given a permit: what is waited for is that the gate is closed.
    assert!(shared.gate.acquire().await.is_err());
    let reply = shared.replies.lock().unwrap().pop_front();
    match reply {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(Reply::Status(status)) => {
            // A redirect would lead back here.
            (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")]).into_response()
        }
        Some(Reply::Silence) => std::future::pending().await,
    }
}

/// A server with the network "home" and the device 1 in it.
struct Office {
    index: Arc<Index>,
    time: Arc<AtomicI64>,
    database: Location,
    _dir: tempfile::TempDir,
}

async fn on_both(test: impl AsyncFn(Office)) {
    for database in ["", &lanyard_postgres::server().database().unwrap()] {
        println!("on {}", if database.is_empty() { "SQLite" } else { "Postgres" });
        test(Office::open(database).await).await;
    }
}

fn admin() -> Actor {
    Actor::operator("milena")
}

fn home() -> NetworkName {
    NetworkName::parse("home").unwrap()
}

impl Office {
    async fn open(database: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicI64::new(1_750_000_000_000));
        let database = Location::parse(database, dir.path()).unwrap();
        let index = index(&database, Schema::Create, &time).await;
        index.add_network(&NewNetwork::by_invite(home(), Vec::new()), &admin()).await.unwrap();
        let new = NewInvite::for_devices(home(), 1, 60_000);
        let (_, code) = index.add_invite(&new, &admin()).await.unwrap();
        let key = PublicKey::from_bytes([1; 32]);
        let device = Introduction {
            identity: key,
            wireguard: key,
            name: DeviceName::parse("nas").unwrap(),
            os: "linux".to_owned(),
            agent_version: "0.1.0".to_owned(),
            local_prefixes: Vec::new(),
        };
        index
            .join(&JoinRequest { network: home(), invite: Some(code), password: None, device, ip: None })
            .await
            .unwrap();
        Self { index: Arc::new(index), time, database, _dir: dir }
    }

    async fn hook(&self, url: String) -> (Webhook, SigningSecret) {
        let new = NewWebhook {
            network: Some(home()),
            url,
            events: HookEvent::ALL.into(),
            description: String::new(),
        };
        self.index.add_webhook(&new, &admin()).await.unwrap()
    }

    /// A courier that has taken up its work.
    async fn courier(&self) -> Courier {
        let mut courier = Courier::new(Arc::clone(&self.index), PATIENCE);
        courier.finish().await.unwrap();
        courier
    }

    async fn presence(&self, online: bool) {
        let device = DeviceId::of(&PublicKey::from_bytes([1; 32]));
        self.index.record_presence(&[Presence { device, online, ip: None }]).await.unwrap();
    }

    async fn sent(&self, webhook: &Webhook) -> Vec<Delivery> {
        let mut sent = self.index.deliveries_page(webhook, &Page::first(100)).await.unwrap().rows;
        sent.reverse();
        sent
    }

    fn pass(&self, milliseconds: i64) {
        self.time.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

async fn index(database: &Location, schema: Schema, time: &Arc<AtomicI64>) -> Index {
    let fleet = SymmetricKey::from_bytes([7; 32]);
    Index::open(database, schema, &fleet, Clock::fixed(Arc::clone(time))).await.unwrap()
}

#[tokio::test]
async fn what_happens_arrives_in_order_and_signed() {
    on_both(async |office: Office| {
        let mut receiver = Receiver::start().await;
        let (webhook, secret) = office.hook(receiver.url("/hooks?team=a")).await;
        let mut courier = office.courier().await;
        for turn in 0..20 {
            office.presence(turn % 2 == 1).await;
        }
        office.index.test_webhook(&webhook.id, &admin()).await.unwrap();
        courier.finish().await.unwrap();

        let got = receiver.all();
        let kinds: Vec<String> = got.iter().map(Message::kind).collect();
        let wanted = ["device.offline", "device.online"].repeat(10);
        assert_eq!(kinds[1..], wanted, "what was asked for goes first, for it was written first");
        assert_eq!(kinds[0], "webhook.test");
        for message in &got {
            assert_eq!(message.path, "/hooks?team=a");
            assert_eq!(message.signature, secret.sign(&message.id, message.at, &message.body));
            assert_eq!(
                (message.at, &message.json()["timestamp"]),
                (1_750_000_000, &"2025-06-15T15:06:40.000Z".into())
            );
        }
        assert_eq!(got[1].json()["data"]["device"]["name"], "nas", "{}", got[1].body);
        let sent = office.sent(&webhook).await;
        assert!(sent.iter().all(|one| one.state == DeliveryState::Delivered && one.tries == 1));
        let ids: Vec<&String> = sent.iter().map(|one| &one.id).collect();
        assert_eq!(ids, got.iter().map(|message| &message.id).collect::<Vec<_>>());
        assert!(sent.iter().all(|one| one.last_status == Some(204) && one.last_error.is_none()));
    })
    .await;
}

#[tokio::test]
async fn what_does_not_arrive_is_sent_again_under_the_same_id_with_the_time_of_then() {
    on_both(async |office: Office| {
        let mut receiver = Receiver::start().await;
        let (webhook, secret) = office.hook(receiver.url("/")).await;
        let mut courier = office.courier().await;
        receiver.will(&[Reply::Status(500), Reply::Silence, Reply::Status(307)]);
        office.presence(false).await;
        let whys = [Some("status 500"), Some("no answer within 300ms"), Some("status 307"), None];
        for (tries, why) in (1..).zip(whys) {
            courier.finish().await.unwrap();
            let sent = office.sent(&webhook).await.remove(0);
            assert_eq!(sent.tries, tries);
            assert_eq!(sent.state == DeliveryState::Delivered, why.is_none());
            let told = sent.last_error.unwrap_or_default();
            assert!(told.starts_with(why.unwrap_or_default()), "{told}");
            courier.finish().await.unwrap();
            assert_eq!(office.sent(&webhook).await[0].tries, tries, "not before it is due");
            office.pass(sent.next_at - office.index.now_ms());
        }
        let got = receiver.all();
        assert_eq!(got.len(), 4, "nobody is followed elsewhere");
        for (before, after) in got.iter().zip(&got[1..]) {
            assert!(after.at > before.at, "{} {}", before.at, after.at);
            assert_eq!((&after.id, &after.body), (&before.id, &before.body));
            assert_ne!(after.signature, before.signature);
            assert_eq!(after.signature, secret.sign(&after.id, after.at, &after.body));
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_between_any_two_steps_loses_nothing() {
    on_both(async |office: Office| {
        let mut receiver = Receiver::start().await;
        let (webhook, _) = office.hook(receiver.url("/")).await;
        drop(office.courier().await);

        // While nobody reads.
        office.presence(false).await;
        // Read, and nothing sent.
        let cursor = office.index.webhook_cursor().await.unwrap();
        assert_eq!(office.index.make_deliveries(cursor).await.unwrap().made, 1);
        office.presence(true).await;

        // Sent, and stopped before the answer came. The database is opened anew, too.
        receiver.will(&[Reply::Silence]);
        let mut cut_off = Courier::new(Arc::clone(&office.index), DEADLINE);
        cut_off.turn().await.unwrap();
        let first = receiver.next().await;
        drop(cut_off);
        let again = Arc::new(index(&office.database, Schema::Require, &office.time).await);
        Courier::new(Arc::clone(&again), PATIENCE).finish().await.unwrap();
        let got = receiver.all();
        assert_eq!(got.len(), 2, "{got:?}");
        assert_eq!((&got[0].id, got[0].kind().as_str()), (&first.id, "device.offline"));
        assert_eq!(got[1].kind(), "device.online");
        Courier::new(again, PATIENCE).finish().await.unwrap();
        assert!(receiver.all().is_empty(), "nothing is sent twice that arrived");
        assert_eq!(office.sent(&webhook).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn who_is_slow_holds_up_nobody_else() {
    on_both(async |office: Office| {
        let (mut slow, mut quick) = (Receiver::start().await, Receiver::start().await);
        slow.will(&[Reply::Silence]);
        office.hook(slow.url("/")).await;
        office.courier().await;
        let mut courier = Courier::new(Arc::clone(&office.index), DEADLINE);
        office.presence(false).await;
        courier.turn().await.unwrap();
        assert_eq!(slow.next().await.kind(), "device.offline");
        office.hook(quick.url("/")).await;
        office.presence(true).await;
        courier.turn().await.unwrap();
        assert_eq!(quick.next().await.kind(), "device.online");
        assert!(slow.all().is_empty(), "of one webhook one at a time");
    })
    .await;
}

#[tokio::test]
async fn eight_are_sent_at_a_time() {
    on_both(async |office: Office| {
        let mut receiver = Receiver::held().await;
        for place in 0..12 {
            office.hook(receiver.url(&format!("/{place}"))).await;
        }
        office.courier().await;
        let mut courier = Courier::new(Arc::clone(&office.index), DEADLINE);
        office.presence(false).await;
        courier.turn().await.unwrap();
        for _ in 0..8 {
            receiver.next().await;
        }
        assert_eq!(courier.turn().await.unwrap(), None, "the next place that gets free wakes it");
        assert!(receiver.all().is_empty());
        receiver.shared.gate.close();
        courier.finish().await.unwrap();
        assert_eq!(receiver.all().len(), 4);
    })
    .await;
}

#[test]
fn the_program_sends_what_the_command_line_asks_for() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut receiver = runtime.block_on(Receiver::start());
    let directory = Directory::made();
    let run = |args: &[&str]| -> Value {
        let output = directory.command().args(args).arg("--json").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let server = directory.serve("index", &[]);
    let made = run(&["webhook", "add", &receiver.url("/cli"), "--events", "member.joined,device.online"]);
    let id = made["webhook"]["webhook"]["id"].as_str().unwrap().to_owned();
    let secret = SigningSecret::parse(made["webhook"]["secret"].as_str().unwrap()).unwrap();
    let listed = run(&["webhook", "list"]);
    assert_eq!(listed["webhooks"][0]["id"], id.as_str());
    assert!(!listed.to_string().contains("whsec_"), "shown once: {listed}");

    run(&["webhook", "test", &id]);
    let message = runtime.block_on(receiver.next());
    assert_eq!((message.kind().as_str(), message.path.as_str()), ("webhook.test", "/cli"));
    assert_eq!(message.signature, secret.sign(&message.id, message.at, &message.body));
    let delivered = "lanyard_index_webhook_tries_total{outcome=\"delivered\"}";
    server.until_metric(delivered, |count| count == 1);
    let log = run(&["webhook", "log", &id]);
    assert_eq!(log["deliveries"][0]["state"], "delivered", "{log}");

    let other = run(&["webhook", "set", &id, "--new-secret", "--description", "chat"]);
    let other = SigningSecret::parse(other["webhook"]["secret"].as_str().unwrap()).unwrap();
    run(&["webhook", "test", &id]);
    let message = runtime.block_on(receiver.next());
    assert_eq!(message.signature, other.sign(&message.id, message.at, &message.body));
    run(&["webhook", "remove", &id]);
    assert_eq!(run(&["webhook", "list"])["webhooks"], serde_json::json!([]));
    let refused = directory.command().args(["webhook", "log", &id]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
}
