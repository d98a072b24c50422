//! A server that is killed in the middle of its work: what it acknowledged is there with its audit row, and nothing is by
//! half.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lanyard_coordinator::index::audit::AuditEvent;
use lanyard_coordinator::index::tokens::{BEGIN, NewToken, Scope};
use lanyard_coordinator::index::users::NewUser;
use lanyard_coordinator::index::{Actor, Clock, Index, Location, Schema};
use lanyard_coordinator::keys;
use lanyard_wire::names::NetworkName;
use serde_json::{Value, json};

use self::server::Directory;

/// Changes that are acknowledged before each kill, one kill after the other: 10,000 in all.
const KILLS: [usize; 5] = [10, 990, 2_000, 3_000, 4_000];

/// The network that `init` makes.
const NETWORK: &str = "home";

/// Clients that write at a time.
const CLIENTS: usize = 4;

/// One change that was acknowledged: what was done, to which thing.
type Acknowledged = (String, String);

/// A client of the interface, on one connection.
struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Client {
    fn open(address: SocketAddr, token: &str) -> Option<Self> {
        Some(Self { stream: BufReader::new(TcpStream::connect(address).ok()?), token: token.to_owned() })
    }

    /// Sends a change; `None` when the server is gone before it was acknowledged.
    fn change(&mut self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let body = body.to_string();
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: lanyard\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).ok()?;
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        assert!(head.starts_with("HTTP/1.1 20"), "{method} {path}: {head}{}", String::from_utf8_lossy(&body));
        Some(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    /// A user, renamed and given a role; an invite, and its end; each told as soon as it is acknowledged.
    fn write(&mut self, number: usize, done: &mut impl FnMut(&str, &str)) -> Option<()> {
        let user = self.change("POST", "/users", &json!({ "name": format!("user-{number}") }))?;
        let user = id_of(&user);
        done("user.add", &user);
        self.change(
            "PATCH",
            &format!("/users/{user}"),
            &json!({ "display_name": format!("Number {number}") }),
        )?;
        done("user.set", &user);
        self.change("PUT", &format!("/networks/{NETWORK}/roles/{user}"), &json!({ "role": "member" }))?;
        done("role.set", &user);
        let invite =
            self.change("POST", &format!("/networks/{NETWORK}/invites"), &json!({ "max_uses": 3 }))?;
        let invite = id_of(&invite);
        done("invite.add", &invite);
        self.change("DELETE", &format!("/networks/{NETWORK}/invites/{invite}"), &json!({}))?;
        done("invite.revoke", &invite);
        Some(())
    }
}

/// The id of what was made.
fn id_of(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

async fn open(directory: &Directory, database: &str) -> Index {
    let location = Location::parse(database, &directory.path()).unwrap();
    let fleet = keys::read_fleet(&directory.path()).unwrap();
    Index::open(&location, Schema::Require, &fleet, Clock::system()).await.unwrap()
}

/// Lets clients write until so many changes are acknowledged, and kills the server there.
fn until_killed(
    directory: &Directory,
    database: &str,
    token: &str,
    first: usize,
    many: usize,
) -> Vec<Acknowledged> {
    let settings = [("DATA_DATABASE", database.to_owned())];
    let mut server = directory.serve("index", if database.is_empty() { &[] } else { &settings });
    let address = server.place("tcp web");
    let numbers = AtomicUsize::new(first);
    let acknowledged = Mutex::new(Vec::new());
    let killed = Mutex::new(Some(&mut server.child));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::open(address, token).unwrap();
                let mut done = |code: &str, id: &str| {
                    let mut acknowledged = acknowledged.lock().unwrap();
                    acknowledged.push((code.to_owned(), id.to_owned()));
                    // SIGKILL: the others are anywhere in theirs.
                    if acknowledged.len() >= many
                        && let Some(child) = killed.lock().unwrap().take()
                    {
                        child.kill().unwrap();
                    }
                };
                while client.write(numbers.fetch_add(1, Ordering::Relaxed), &mut done).is_some() {}
            });
        }
    });
    server.child.wait().unwrap();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= many, "{} of {many}", acknowledged.len());
    acknowledged
}

async fn survives(directory: &Directory, database: &str) {
    let index = open(directory, database).await;
    let actor = Actor::operator("milena");
    let home = NetworkName::parse(NETWORK).unwrap();
    let root = NewUser { is_server_admin: true, ..NewUser::person("root".parse().unwrap()) };
    let root = index.add_user(&root, &actor).await.unwrap();
    let new = NewToken { name: "test".to_owned(), scope: Scope::Write, network: None, lifetime_ms: None };
    let (_, secret) = index.add_token(&root, &new, &actor).await.unwrap();
    let token = format!("{BEGIN}{}", secret.reveal());
    let before = Counted::of(&index, &home).await;
    index.close().await;
    let mut expected = BTreeSet::new();
    for (round, many) in KILLS.into_iter().enumerate() {
        expected.extend(until_killed(directory, database, &token, round * 1_000_000, many));
        let index = open(directory, database).await;
        assert_eq!(index.integrity_findings().await.unwrap(), Vec::<String>::new());
        Counted::of(&index, &home).await.check(&before, &expected);
        index.close().await;
    }
    assert!(expected.len() >= 10_000, "{}", expected.len());
}

/// What there is of each kind, by id, and what the audit trail says.
struct Counted {
    users: BTreeSet<String>,
    renamed: BTreeSet<String>,
    roles: BTreeSet<String>,
    invites: BTreeSet<String>,
    revoked: BTreeSet<String>,
    events: Vec<AuditEvent>,
}

impl Counted {
    async fn of(index: &Index, home: &NetworkName) -> Self {
        let users = index.users().await.unwrap();
        let invites = index.invites(Some(home)).await.unwrap();
        let renamed = users.iter().filter(|user| !user.display_name.is_empty());
        let revoked = invites.iter().filter(|invite| invite.revoked_at.is_some());
        Self {
            renamed: renamed.map(|user| user.id.clone()).collect(),
            users: users.iter().map(|user| user.id.clone()).collect(),
            roles: index.roles_in(home).await.unwrap().into_iter().map(|role| role.user_id).collect(),
            revoked: revoked.map(|invite| invite.id.clone()).collect(),
            invites: invites.iter().map(|invite| invite.id.clone()).collect(),
            events: index.audit_events(u32::MAX).await.unwrap(),
        }
    }

    /// What was acknowledged is there; each row has the event that made it, and each event the row that it made.
    fn check(&self, before: &Self, expected: &BTreeSet<Acknowledged>) {
        let mut told: BTreeMap<Acknowledged, u32> = BTreeMap::new();
        for event in &self.events[..self.events.len() - before.events.len()] {
            let id = event.entity_id.rsplit('/').next().unwrap().to_owned();
            *told.entry((event.code.clone(), id)).or_default() += 1;
        }
        let lost: Vec<&Acknowledged> = expected.iter().filter(|change| !told.contains_key(*change)).collect();
        assert_eq!(lost, Vec::<&Acknowledged>::new(), "acknowledged, and without audit row");
        assert!(told.values().all(|count| *count == 1), "a change was written down twice");
        for (code, now, then) in [
            ("user.add", &self.users, &before.users),
            ("user.set", &self.renamed, &before.renamed),
            ("role.set", &self.roles, &before.roles),
            ("invite.add", &self.invites, &before.invites),
            ("invite.revoke", &self.revoked, &before.revoked),
        ] {
            let made: BTreeSet<&String> = now.difference(then).collect();
            let events = told.keys().filter(|(told, _)| told == code);
            assert_eq!(made, events.map(|(_, id)| id).collect(), "{code}");
        }
    }
}

fn on(directory: &Directory, database: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(survives(directory, database));
}

#[test]
fn what_was_acknowledged_survives_a_kill_on_sqlite() {
    on(&Directory::made(), "");
}

#[test]
fn what_was_acknowledged_survives_a_kill_on_postgres() {
    let directory = Directory::made();
    let database = lanyard_postgres::server().database().unwrap();
    let mut copy = directory.command();
    let from = format!("sqlite:{}", Path::new(&directory.path()).join("lanyard.db").display());
    assert!(copy.args(["db", "copy", &from, &database]).status().unwrap().success());
    on(&directory, &database);
}
