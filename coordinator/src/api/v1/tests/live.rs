//! What a listener hears, and what not.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;

use super::*;
use crate::index::devices::Presence;
use crate::index::memberships::Verdict;

/// How long anything may take before a test says what was missing.
const DEADLINE: Duration = Duration::from_secs(20);

/// What came over a stream, event by event.
pub(super) struct Ear {
    stream: axum::body::BodyDataStream,
    text: String,
}

#[derive(Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) kind: String,
    pub(super) id: Option<i64>,
    pub(super) data: Value,
}

impl Ear {
    pub(super) async fn of(world: &World, pass: &Pass, query: &str) -> Self {
        let response = world.send(request(pass, "GET", &format!("/live{query}"), &[], "")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        // Signs of life come all the time and are no event.
        tokio::time::timeout(DEADLINE, self.event()).await.expect("no event came")
    }

    async fn event(&mut self) -> Option<Heard> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let of = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.map(str::to_owned)
                };
                let heard = of("data").map(|data| Heard {
                    kind: of("event").unwrap(),
                    id: of("id").map(|id| id.parse().unwrap()),
                    data: serde_json::from_str(&data).unwrap(),
                });
                self.text = rest.to_owned();
                if heard.is_some() {
                    return heard;
                }
            }
            let chunk = self.stream.next().await;
            self.text.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }

    /// Events up to the first of which that is true.
    pub(super) async fn until(&mut self, wanted: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("it ended after {heard:#?}"));
            let is_last = wanted(&event);
            heard.push(event);
            if is_last {
                return heard;
            }
        }
    }
}

/// What the running server does beside: reads the outbox and tells its rows.
///
/// It hears of everything from now on, however long its task takes to begin.
pub(super) async fn publish(world: &World) {
    let index = Arc::clone(&world.index);
    let mut cursor = index.snapshot().await.unwrap().cursor;
    tokio::spawn(async move {
        loop {
            for (id, change) in index.changes_after(cursor).await.unwrap() {
                cursor = id;
                index.tell((id, Arc::new(change)));
            }
            index.changed().await;
        }
    });
}

pub(super) fn is_put(heard: &Heard, kind: &str, id: &str) -> bool {
    heard.kind == kind && heard.data["op"] == "put" && heard.data["item"]["id"] == id
}

#[tokio::test]
async fn each_hears_what_they_may_see_and_nothing_of_the_rest() {
    let world = World::open().await;
    publish(&world).await;
    let mut guest = Ear::of(&world, &world.session("guest").await, "").await;
    let mut foreigner = Ear::of(&world, &world.session("foreigner").await, "").await;
    let mut root = Ear::of(&world, &world.token("root", Scope::Read, None).await, "").await;
    // Their signing in is an event that the administrator hears of.
    for seed in [1, 3] {
        let gone = Presence { device: device(seed), online: false, ip: None };
        world.index.record_presence(&[gone]).await.unwrap();
    }
    let (first, third) = (device(1).to_string(), device(3).to_string());
    let heard = guest.until(|event| event.kind == "member").await;
    assert!(is_put(&heard[0], "device", &first), "{heard:#?}");
    assert_eq!(heard[1].data["item"]["online"], false);
    assert!(heard[0].id.is_none() && heard[1].id.is_some(), "the number comes with the last of a row");
    let heard = foreigner.next().await.unwrap();
    assert!(is_put(&heard, "device", &third), "of the den they hear nothing: {heard:#?}");
    let heard = root.until(|event| is_put(event, "device", &third)).await;
    assert!(heard.iter().any(|event| is_put(event, "device", &first)), "{heard:#?}");

    world.index.judge_member(&slug("den"), "device-2", Verdict::Remove, &admin()).await.unwrap();
    let second = device(2).to_string();
    let heard = guest.until(|event| event.kind == "network").await;
    let member = world.member("den", 2).await;
    let gone = |kind: &str, id: &str| {
        heard.iter().any(|event| event.kind == kind && event.data == json!({ "op": "gone", "id": id }))
    };
    assert!(gone("member", &member) && gone("device", &second), "{heard:#?}");
    assert_eq!(heard.last().unwrap().data["item"]["members"], 1);
    let heard = root.until(|event| event.data == json!({ "op": "gone", "id": member })).await;
    assert!(heard.iter().any(|event| event.data["item"]["code"] == "member.remove"), "{heard:#?}");
}

#[tokio::test]
async fn who_loses_a_role_hears_that_the_network_is_gone_and_no_more_of_it() {
    let world = World::open().await;
    publish(&world).await;
    let mut guest = Ear::of(&world, &world.session("guest").await, "").await;
    let home = world.index.network(&slug("den")).await.unwrap().id.to_string();
    world.index.set_role(&slug("den"), "guest", None, None, &admin()).await.unwrap();
    let gone = Presence { device: device(1), online: false, ip: None };
    world.index.record_presence(&[gone]).await.unwrap();
    let user = world.user("guest").await.id;
    let own = UserWishes { display_name: Some("Nobody".to_owned()), ..UserWishes::default() };
    world.index.set_user("guest", &own, &admin()).await.unwrap();
    let heard = guest
        .until(|event| is_put(event, "user", &user) && event.data["item"]["display_name"] == "Nobody")
        .await;
    assert_eq!(heard[0].data, json!({ "op": "gone", "id": home }), "{heard:#?}");
    assert_eq!((heard[0].kind.as_str(), heard[1].kind.as_str()), ("network", "reset"), "{heard:#?}");
    assert!(!heard.iter().any(|event| event.kind == "device" || event.kind == "member"), "{heard:#?}");

    world.index.set_role(&slug("den"), "guest", Some(Role::Guest), None, &admin()).await.unwrap();
    guest.until(|event| event.kind == "reset").await;
}

#[tokio::test]
async fn who_comes_back_goes_on_where_they_were_and_who_was_away_too_long_begins_anew() {
    let world = World::open().await;
    let owner = world.session("owner").await;
    let snapshot = world.ask(&owner, "GET", "/snapshot", "").await.body;
    let revision = snapshot["revision"].as_i64().unwrap();
    world.index.judge_member(&slug("den"), "device-1", Verdict::Suspend, &admin()).await.unwrap();
    world.index.judge_member(&slug("den"), "device-2", Verdict::Remove, &admin()).await.unwrap();
    let mut ear = Ear::of(&world, &owner, &format!("?after={revision}")).await;
    let first = ear.until(|event| event.kind == "member" && event.data["item"]["state"] == "suspended").await;
    assert!(first.iter().all(|event| event.id.is_none_or(|id| id > revision)), "{first:#?}");
    let heard = ear.until(|event| event.kind == "member" && event.data["op"] == "gone").await;
    let place = first.iter().chain(&heard).filter_map(|event| event.id).next_back().unwrap();
    drop(ear);

    // By the header that browsers send.
    publish(&world).await;
    let request = request(&owner, "GET", "/live?after=0", &[("last-event-id", &place.to_string())], "");
    let stream = world.send(request).await.into_body().into_data_stream();
    let mut ear = Ear { stream, text: String::new() };
    let rest = ear.until(|event| event.kind == "network").await;
    assert!(!rest.iter().any(|event| event.data["item"]["state"] == "suspended"), "{rest:#?}");

    // Who lost a role while they were away begins anew.
    let now = world.index.snapshot().await.unwrap().cursor;
    world.index.set_role(&slug("den"), "guest", None, None, &admin()).await.unwrap();
    let mut ear = Ear::of(&world, &world.session("guest").await, &format!("?after={now}")).await;
    ear.until(|event| event.kind == "reset").await;

    for lost in [-1, place + 1_000] {
        let mut ear = Ear::of(&world, &owner, &format!("?after={lost}")).await;
        let heard = ear.next().await.unwrap();
        assert_eq!((heard.kind.as_str(), &heard.data), ("reset", &json!({})), "{lost}");
        assert!(heard.id.unwrap() >= place);
    }
}

#[tokio::test]
async fn who_is_signed_out_hears_no_more() {
    let world = World::open().await;
    publish(&world).await;
    let user = world.user("owner").await;
    let mut ear = Ear::of(&world, &world.session("owner").await, "").await;
    world.index.end_sessions(&user, None, &admin()).await.unwrap();
    assert_eq!(ear.next().await, None);
}

#[tokio::test]
async fn who_reads_slowly_hears_no_more_after_they_are_signed_out() {
    let world = World::open().await;
    let revision = world.index.snapshot().await.unwrap().cursor;
    for _ in 0..200 {
        let new = NewInvite::for_devices(slug("den"), 1, 3_600_000);
        world.index.add_invite(&new, &admin()).await.unwrap();
    }
    let user = world.user("owner").await;
    let mut ear = Ear::of(&world, &world.session("owner").await, &format!("?after={revision}")).await;
    // Long enough for the queue to be full, which holds 256 of 400 events, and not so long that the listener is dropped.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.index.end_sessions(&user, None, &admin()).await.unwrap();
    let mut heard = 0;
    while ear.next().await.is_some() {
        heard += 1;
    }
    assert!((1..=256).contains(&heard), "{heard}");
}

#[tokio::test]
async fn who_gets_a_device_or_loses_one_begins_anew() {
    let world = World::open().await;
    publish(&world).await;
    let mut stranger = Ear::of(&world, &world.session("stranger").await, "").await;
    let is_reset = |event: &Heard| event.kind == "reset";
    world.own(3, "stranger").await;
    let heard = stranger.until(is_reset).await;
    assert!(is_put(&heard[0], "device", &device(3).to_string()), "{heard:#?}");
    // Its membership is seen, though they have no role there.
    let member = world.member("work", 3).await;
    let gone = Presence { device: device(3), online: false, ip: None };
    world.index.record_presence(&[gone]).await.unwrap();
    stranger.until(|event| is_put(event, "member", &member)).await;
    world.own(3, "foreigner").await;
    let heard = stranger.until(is_reset).await;
    let id = device(3).to_string();
    assert!(heard.iter().any(|event| event.data == json!({ "op": "gone", "id": id })), "{heard:#?}");

    // The network of one's own device is taken away by others.
    world.own(3, "stranger").await;
    stranger.until(is_reset).await;
    world.index.remove_network(&slug("work"), &admin()).await.unwrap();
    stranger.until(is_reset).await;
    world.index.remove_device(device(3), &admin()).await.unwrap();
    stranger.until(is_reset).await;

    // While they were away, too.
    let now = world.index.snapshot().await.unwrap().cursor;
    world.own(1, "stranger").await;
    let mut ear = Ear::of(&world, &world.session("stranger").await, &format!("?after={now}")).await;
    ear.until(is_reset).await;
}

#[tokio::test]
async fn a_token_does_not_hear_who_signs_in() {
    let world = World::open().await;
    publish(&world).await;
    let mut token = Ear::of(&world, &world.token("root", Scope::Read, None).await, "").await;
    let mut session = Ear::of(&world, &world.session("root").await, "").await;
    world.session("guest").await;
    let guest = world.user("guest").await.id;
    let wishes = UserWishes { display_name: Some("A guest".to_owned()), ..UserWishes::default() };
    world.index.set_user("guest", &wishes, &admin()).await.unwrap();
    let is_last = |event: &Heard| is_put(event, "user", &guest);
    for (ear, hears) in [(&mut token, false), (&mut session, true)] {
        let heard = ear.until(is_last).await;
        let is_told = heard.iter().any(|event| event.data["item"]["entity_type"] == "session");
        assert_eq!(is_told, hears, "{heard:#?}");
    }
}
