//! Every route by every kind of caller, on what is theirs and on what is not: who may, and how the others are refused.
//!
//! A route of the document that is not in the table fails the test.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document;
use super::links::report;
use super::*;
use crate::index::memberships::Verdict;

/// Everybody who calls: a user of each kind signed in, and two tokens.
///
/// "reader" is a token of den's owner that only reads, "limited" one of the server's administrator that may touch work alone.
const CALLERS: [&str; 9] =
    ["nobody", "foreigner", "guest", "member", "head", "owner", "root", "reader", "limited"];

/// Who knows of the network "den", and of "work".
const HOME: &[&str] = &["guest", "member", "head", "owner", "root", "reader"];
const WORK: &[&str] = &["foreigner", "root", "limited"];
/// Everybody who shows something.
const ANY: &[&str] = &["foreigner", "guest", "member", "head", "owner", "root", "reader", "limited"];
/// Everybody who is signed in with a browser.
const SIGNED_IN: &[&str] = &["foreigner", "guest", "member", "head", "owner", "root"];
const HEADS: &[&str] = &["head", "owner", "root"];
/// The same, and whose device it is.
const NEAR: &[&str] = &["member", "head", "owner", "root"];
/// Who sees what is shown to administrators of "den".
const LOOKING: &[&str] = &["head", "owner", "root", "reader"];
const OWNERS: &[&str] = &["owner", "root"];
const ROOT: &[&str] = &["root"];
const NONE: &[&str] = &[];

/// What a route is about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Thing {
    Nothing,
    Network,
    /// A network that may be taken away.
    Spare,
    /// A member in that state.
    Member(Verdict),
    /// A member that has left.
    Left,
    Invite,
    Group,
    /// A role of "stranger".
    Role,
    /// The caller, or "stranger".
    User,
    Device,
    /// A pair that has reported.
    Link,
    /// A session or token of the caller, or of "stranger".
    Session,
    Token,
    /// A webhook of the network, with a delivery.
    Webhook,
}

struct Case {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    thing: Thing,
    /// Who succeeds with what is in "den", or is their own.
    own: &'static [&'static str],
    /// Who succeeds with what is in "work", or another's.
    foreign: &'static [&'static str],
}

const fn case(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    thing: Thing,
    own: &'static [&'static str],
    foreign: &'static [&'static str],
) -> Case {
    Case { method, path, body, thing, own, foreign }
}

const HOOK: &str = r#"{"url":"https://example.org/","events":["device.online"]}"#;
const HOOK_OF_NETWORK: &str =
    r#"{"url":"https://example.org/","events":["device.online"],"network":"{network}"}"#;

const ACTIVE: Thing = Thing::Member(Verdict::Approve);
const SUSPENDED: Thing = Thing::Member(Verdict::Suspend);

/// Something to write about a thing.
const ENTRY: &str = r#"{"entries":{"site":{"value":"n-{n}"}}}"#;

const CASES: &[Case] = &[
    case("GET", "/me", "", Thing::Nothing, ANY, ANY),
    case("GET", "/me/sessions", "", Thing::Nothing, SIGNED_IN, SIGNED_IN),
    case("DELETE", "/me/sessions/{id}", "", Thing::Session, SIGNED_IN, NONE),
    case("GET", "/me/tokens", "", Thing::Nothing, SIGNED_IN, SIGNED_IN),
    case("POST", "/me/tokens", r#"{"name":"x","scope":"read"}"#, Thing::Nothing, SIGNED_IN, SIGNED_IN),
    case("DELETE", "/me/tokens/{id}", "", Thing::Token, SIGNED_IN, NONE),
    case("GET", "/users", "", Thing::Nothing, ANY, ANY),
    case("POST", "/users", r#"{"name":"user-{n}"}"#, Thing::Nothing, ROOT, ROOT),
    case("GET", "/users/{id}", "", Thing::User, ANY, ROOT),
    case("PATCH", "/users/{id}", r#"{"display_name":"Number {n}"}"#, Thing::User, SIGNED_IN, ROOT),
    case("POST", "/users/{id}/code", "", Thing::User, NONE, ROOT),
    case("GET", "/users/{id}/metadata", "", Thing::User, ANY, ROOT),
    case("PATCH", "/users/{id}/metadata", ENTRY, Thing::User, SIGNED_IN, ROOT),
    case("GET", "/networks", "", Thing::Nothing, ANY, ANY),
    case("POST", "/networks", r#"{"name":"net-{n}"}"#, Thing::Nothing, ROOT, ROOT),
    case("GET", "/networks/{network}", "", Thing::Network, HOME, WORK),
    case("PATCH", "/networks/{network}", r#"{"peer_relay":false}"#, Thing::Network, HEADS, WORK),
    case("DELETE", "/networks/{network}", "", Thing::Spare, OWNERS, &["foreigner", "root"]),
    case("GET", "/networks/{network}/metadata", "", Thing::Network, HOME, WORK),
    case("PATCH", "/networks/{network}/metadata", ENTRY, Thing::Network, HEADS, WORK),
    case("GET", "/networks/{network}/groups", "", Thing::Network, LOOKING, WORK),
    case("PUT", "/networks/{network}/groups/{name}", r#"{"users":[]}"#, Thing::Network, HEADS, WORK),
    case("DELETE", "/networks/{network}/groups/{name}", "", Thing::Group, HEADS, WORK),
    case("GET", "/networks/{network}/links", "", Thing::Network, HOME, WORK),
    case("GET", "/networks/{network}/members", "", Thing::Network, HOME, WORK),
    case("GET", "/networks/{network}/members/{id}", "", ACTIVE, HOME, WORK),
    case("PATCH", "/networks/{network}/members/{id}", r#"{"name":"nas-{n}"}"#, ACTIVE, NEAR, WORK),
    case("PATCH", "/networks/{network}/members/{id}", r#"{"tags":["t{n}"]}"#, ACTIVE, HEADS, WORK),
    case("DELETE", "/networks/{network}/members/{id}", "", ACTIVE, NEAR, WORK),
    case("GET", "/networks/{network}/members/{id}/metadata", "", ACTIVE, HOME, WORK),
    case("PATCH", "/networks/{network}/members/{id}/metadata", ENTRY, ACTIVE, NEAR, WORK),
    case("POST", "/networks/{network}/members/{id}/approve", "", Thing::Left, HEADS, WORK),
    case("POST", "/networks/{network}/members/{id}/deny", "", ACTIVE, HEADS, WORK),
    case("POST", "/networks/{network}/members/{id}/suspend", "", ACTIVE, HEADS, WORK),
    case("POST", "/networks/{network}/members/{id}/resume", "", SUSPENDED, HEADS, WORK),
    case("GET", "/networks/{network}/invites", "", Thing::Network, LOOKING, WORK),
    case("POST", "/networks/{network}/invites", "{}", Thing::Network, HEADS, WORK),
    case("DELETE", "/networks/{network}/invites/{id}", "", Thing::Invite, HEADS, WORK),
    case("GET", "/networks/{network}/roles", "", Thing::Network, HOME, WORK),
    case("PUT", "/networks/{network}/roles/{user_id}", r#"{"role":"member"}"#, Thing::Role, HEADS, WORK),
    case("DELETE", "/networks/{network}/roles/{user_id}", "", Thing::Role, HEADS, WORK),
    case("POST", "/networks/{network}/owner", r#"{"user_id":"stranger"}"#, Thing::Role, OWNERS, WORK),
    case("GET", "/devices", "", Thing::Nothing, ANY, ANY),
    case("GET", "/devices/{id}", "", Thing::Device, HOME, WORK),
    case("PATCH", "/devices/{id}", r#"{"name":"box-{n}"}"#, Thing::Device, &["member", "root"], ROOT),
    case("DELETE", "/devices/{id}", "", Thing::Device, &["member", "root"], ROOT),
    case("GET", "/devices/{id}/metadata", "", Thing::Device, HOME, WORK),
    case("PATCH", "/devices/{id}/metadata", ENTRY, Thing::Device, &["member", "root"], ROOT),
    case("GET", "/devices/{id}/links", "", Thing::Device, HOME, WORK),
    case("POST", "/links/{a}/{b}/retry", "", Thing::Link, NEAR, WORK),
    case("GET", "/webhooks", "", Thing::Nothing, ANY, ANY),
    case("POST", "/webhooks", HOOK, Thing::Nothing, ROOT, ROOT),
    case("POST", "/webhooks", HOOK_OF_NETWORK, Thing::Network, HEADS, WORK),
    case("GET", "/webhooks/{id}", "", Thing::Webhook, LOOKING, WORK),
    case("PATCH", "/webhooks/{id}", r#"{"new_secret":true}"#, Thing::Webhook, HEADS, WORK),
    case("DELETE", "/webhooks/{id}", "", Thing::Webhook, HEADS, WORK),
    case("POST", "/webhooks/{id}/test", "", Thing::Webhook, HEADS, WORK),
    case("GET", "/webhooks/{id}/deliveries", "", Thing::Webhook, LOOKING, WORK),
    case("POST", "/webhooks/{id}/deliveries/{delivery}/retry", "", Thing::Webhook, HEADS, WORK),
    case("GET", "/links/{a}/{b}", "", Thing::Link, HOME, WORK),
    case("GET", "/links/{a}/{b}/history", "", Thing::Link, HOME, WORK),
    case("GET", "/events", "", Thing::Nothing, ANY, ANY),
    case("GET", "/health", "", Thing::Nothing, ROOT, ROOT),
    case("GET", "/snapshot", "", Thing::Nothing, ANY, ANY),
    case("GET", "/live", "", Thing::Nothing, ANY, ANY),
];

/// A caller, by the name of their user.
fn user_of(caller: &str) -> &str {
    match caller {
        "reader" => "owner",
        "limited" => "root",
        other => other,
    }
}

/// A world with a pass for everybody, and a number for each thing that is made in it.
struct Town {
    world: World,
    passes: BTreeMap<&'static str, Pass>,
    /// Ids of "den" and of "work".
    networks: [String; 2],
    made: u32,
}

impl Town {
    async fn open(database: &str) -> Self {
        let world = World::open_on(database).await;
        let mut passes = BTreeMap::new();
        for caller in CALLERS {
            let pass = match caller {
                "nobody" => Pass(String::new()),
                "reader" => world.token("owner", Scope::Read, None).await,
                "limited" => world.token("root", Scope::Write, Some("work")).await,
                user => world.session(user).await,
            };
            passes.insert(caller, pass);
        }
        let den = world.index.network(&slug("den")).await.unwrap().id.to_string();
        let work = world.index.network(&slug("work")).await.unwrap().id.to_string();
        Self { world, passes, networks: [den, work], made: 0 }
    }

    /// What no answer to a caller may have in it: ids of the network they do not know of, and of its devices.
    fn hidden(&self, caller: &str) -> Vec<String> {
        let [den, work] = &self.networks;
        let [first, second, third, fourth] = [1, 2, 3, 4].map(|seed| device(seed).to_string());
        match caller {
            "root" => Vec::new(),
            "foreigner" | "limited" => vec![den.clone(), first, second],
            "nobody" => vec![den.clone(), work.clone(), first, second, third, fourth],
            _ => vec![work.clone(), third, fourth],
        }
    }

    /// Two devices that are active in a network, and reported of each other.
    async fn pair(&self, network: &str, both: [u8; 2]) -> [String; 2] {
        let (index, world) = (&self.world.index, &self.world);
        for seed in both {
            let id = device(seed).to_string();
            if index.device(&id).await.is_err() {
                world.join(network, seed).await;
            }
            index.judge_member(&slug(network), &id, Verdict::Approve, &admin()).await.unwrap();
        }
        let [one, other] = both;
        world.link(one, other).await;
        index.record_links(&[(device(other), report(one, 1_000))]).await.unwrap();
        both.map(|seed| device(seed).to_string())
    }

    /// Sees to it that there is what a case is about, and puts its names into path and body.
    async fn prepare(&mut self, case: &Case, caller: &str, is_own: bool) -> (String, String) {
        self.made += 1;
        let (index, world) = (&self.world.index, &self.world);
        let (network, seed) = if is_own { ("den", 1) } else { ("work", 3) };
        let whose = if is_own && caller != "nobody" { user_of(caller) } else { "stranger" };
        let mut network = network.to_owned();
        let (mut id, mut delivery) = (String::new(), String::new());
        let mut ends = [String::new(), String::new()];
        match case.thing {
            Thing::Nothing | Thing::Network => {}
            Thing::Spare => {
                network = format!("{network}-{}", self.made);
                index.add_network(&NewNetwork::by_invite(slug(&network), vec![]), &admin()).await.unwrap();
                world.cast(&network).await;
            }
            Thing::Member(verdict) => {
                for verdict in [Verdict::Approve, verdict] {
                    let seed = device(seed).to_string();
                    index.judge_member(&slug(&network), &seed, verdict, &admin()).await.unwrap();
                }
                id = world.member(&network, seed).await;
            }
            Thing::Left => {
                let seed = device(seed).to_string();
                for verdict in [Verdict::Approve, Verdict::Remove] {
                    index.judge_member(&slug(&network), &seed, verdict, &admin()).await.unwrap();
                }
                id = world.member(&network, if is_own { 1 } else { 3 }).await;
            }
            Thing::Invite => {
                let new = NewInvite::for_devices(slug(&network), 1, 3_600_000);
                id = index.add_invite(&new, &admin()).await.unwrap().0.id;
            }
            Thing::Group => {
                let group = format!("g{}", self.made).parse().unwrap();
                index.set_group(&slug(&network), &group, &[], &admin()).await.unwrap();
            }
            Thing::Role => {
                let owner = if is_own { "owner" } else { "foreigner" };
                index.pass_network_on(&slug(&network), owner, &admin()).await.unwrap();
                index.set_role(&slug(&network), "stranger", Some(Role::Guest), None, &admin()).await.unwrap();
            }
            Thing::User => id = world.user(whose).await.id,
            Thing::Device => {
                if index.device(&device(seed).to_string()).await.is_err() {
                    world.join(&network, seed).await;
                }
                if is_own {
                    world.own(seed, "member").await;
                }
                id = device(seed).to_string();
            }
            Thing::Link => {
                ends = self.pair(&network, if is_own { [1, 2] } else { [3, 4] }).await;
                world.own(1, "member").await;
            }
            Thing::Session => {
                let user = world.user(whose).await;
                id = index.open_session(&user, None, "", None).await.unwrap().0.id;
            }
            Thing::Token => {
                let user = world.user(whose).await;
                let new =
                    NewToken { name: "x".to_owned(), scope: Scope::Read, network: None, lifetime_ms: None };
                id = index.add_token(&user, &new, &admin()).await.unwrap().0.id;
            }
            Thing::Webhook => (id, delivery) = world.webhook(&network).await,
        }
        let stranger = world.user("stranger").await.id;
        let path = case.path.replace("{network}", &network).replace("{id}", &id);
        let path = path.replace("{a}", &ends[0]);
        let path = path.replace("{b}", &ends[1]);
        let path = path.replace("{user_id}", &stranger).replace("{delivery}", &delivery);
        let path = path.replace("{name}", &format!("g{}", self.made));
        (path, case.body.replace("{n}", &self.made.to_string()).replace("{network}", &network))
    }
}

/// How somebody is refused who may not: not let in, not with this token, not there for them, or not theirs.
fn refusals(case: &Case, caller: &str, is_own: bool) -> Vec<(u16, &'static str)> {
    let is_change = case.method != "GET";
    if caller == "nobody" {
        return vec![(401, "api.unauthenticated")];
    }
    if caller == "reader" && is_change {
        return vec![(403, "api.read_only")];
    }
    let by_token = [(403, "api.session_only")];
    let is_for_people = case.path.starts_with("/me/") || case.path == "/users/{id}/code";
    if is_for_people && (caller == "reader" || caller == "limited") {
        return by_token.to_vec();
    }
    let knows = match case.thing {
        Thing::Nothing => true,
        Thing::User => is_own,
        Thing::Session | Thing::Token | Thing::Webhook => false,
        Thing::Spare => (if is_own { HOME } else { &["foreigner", "root"] }).contains(&caller),
        Thing::Network
        | Thing::Member(_)
        | Thing::Left
        | Thing::Invite
        | Thing::Group
        | Thing::Role
        | Thing::Device
        | Thing::Link => (if is_own { HOME } else { WORK }).contains(&caller),
    };
    if knows { vec![(403, "index.forbidden")] } else { vec![(404, "index.not_found")] }
}

#[tokio::test]
async fn every_route_does_for_everybody_what_it_should_and_no_more_on_sqlite() {
    ask_everything("").await;
}

#[tokio::test]
async fn every_route_does_for_everybody_what_it_should_and_no_more_on_postgres() {
    ask_everything(&lanyard_postgres::server().database().unwrap()).await;
}

async fn ask_everything(database: &str) {
    let mut town = Town::open(database).await;
    let mut wrong = Vec::new();
    for case in CASES {
        for (is_own, may) in [(true, case.own), (false, case.foreign)] {
            for caller in CALLERS {
                let (path, body) = town.prepare(case, caller, is_own).await;
                let before = town.world.index.snapshot().await.unwrap().cursor;
                let pass = &town.passes[caller];
                let answer = if path == "/live" {
                    // Its body never ends.
                    let response = town.world.send(request(pass, case.method, &path, &[], "")).await;
                    let status = response.status().as_u16();
                    if status == 200 {
                        (status, String::new())
                    } else {
                        let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
                        let body: Value = serde_json::from_slice(&body).unwrap();
                        (status, body["code"].as_str().unwrap().to_owned())
                    }
                } else {
                    let answer = town.world.ask(pass, case.method, &path, &body).await;
                    let text = answer.body.to_string();
                    for hidden in town.hidden(caller) {
                        if text.contains(&hidden) {
                            wrong.push(format!("{caller}: {} {path} shows {hidden}", case.method));
                        }
                    }
                    (answer.status, answer.code().to_owned())
                };
                let whose = if is_own { "own" } else { "foreign" };
                let what = format!("{caller}: {} {path} ({whose})", case.method);
                if may.contains(&caller) {
                    if !(200..300).contains(&answer.0) {
                        wrong.push(format!("{what} is refused: {answer:?}"));
                    }
                    continue;
                }
                let wanted = refusals(case, caller, is_own);
                if !wanted.contains(&(answer.0, answer.1.as_str())) {
                    wrong.push(format!("{what} answers {answer:?}, not {wanted:?}"));
                }
                if town.world.index.snapshot().await.unwrap().cursor != before {
                    wrong.push(format!("{what} changed something"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of it:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_route_of_the_document_is_in_the_table() {
    let document: Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
    let mut declared = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            declared.insert(format!("{} {}", method.to_uppercase(), path.trim_start_matches("/api/v1")));
        }
    }
    let tested: BTreeSet<String> =
        CASES.iter().map(|case| format!("{} {}", case.method, case.path)).collect();
    assert_eq!(declared, tested);
}
