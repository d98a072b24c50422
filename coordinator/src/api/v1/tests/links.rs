//! What a reader of links is told: one pair, its hours, and the stream of reports.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;

use super::live::{Ear, Heard, is_put, publish};
use super::*;
use crate::index::devices::Presence;
use crate::index::memberships::Verdict;

#[tokio::test]
async fn a_pair_is_found_by_either_order_of_its_ends_with_its_newest_report() {
    let world = World::open().await;
    world.link(1, 2).await;
    let guest = world.session("guest").await;
    let [one, other] = [1, 2].map(|seed| device(seed).to_string());
    let bare = world.ask(&guest, "GET", &format!("/links/{one}/{other}"), "").await.body;
    assert_eq!((&bare["code"], &bare["report"]), (&json!("probes_lost"), &Value::Null));

    world.index.record_links(&[(device(2), report(1, 4_000))]).await.unwrap();
    let link = world.ask(&guest, "GET", &format!("/links/{one}/{other}"), "").await.body;
    assert_eq!(link, world.ask(&guest, "GET", &format!("/links/{other}/{one}"), "").await.body);
    let told = &link["report"];
    assert_eq!((&told["device_id"], &told["path"]), (&json!(other), &json!("direct")));
    assert_eq!((&told["rtt_ms"], &told["loss_permille"]), (&json!(12.5), &json!(62)));
    // Of the first report it is not known over how long it is: 20 s, as that is the most.
    assert_eq!(
        (&told["tx_bps"], &told["rx_bps"]),
        (&json!(3_200), &json!(1_600)),
        "as the first end sees it"
    );
    for path in [format!("/devices/{one}/links"), "/networks/den/links".to_owned()] {
        assert_eq!(world.ask(&guest, "GET", &path, "").await.body["items"], json!([link]), "{path}");
    }
    for wrong in
        [format!("/links/{one}/{one}"), format!("/links/{one}/nobody"), format!("/links/{other}/x/history")]
    {
        assert_problem(
            &world.ask(&guest, "GET", &wrong, "").await,
            StatusCode::NOT_FOUND,
            "index.not_found",
            &wrong,
        );
    }
}

#[tokio::test]
async fn hours_of_a_pair_are_as_its_first_end_saw_them() {
    let world = World::open().await;
    let guest = world.session("guest").await;
    let [one, other] = [1, 2].map(|seed| device(seed).to_string());
    let relayed = LinkReport { path: LinkPath::Relay, ..report(2, 100) };
    world.index.record_links(&[(device(1), report(2, 1_000)), (device(1), relayed)]).await.unwrap();
    let history = world.ask(&guest, "GET", &format!("/links/{one}/{other}/history?hours=24"), "").await.body;
    let hours = history["items"].as_array().unwrap();
    assert_eq!((hours.len(), &history["next"]), (1, &Value::Null));
    let of = |hour: &Value, names: [&str; 4]| names.map(|name| hour[name].as_i64().unwrap());
    let names = ["tx_bytes", "rx_bytes", "direct_bytes", "relayed_bytes"];
    assert_eq!(of(&hours[0], names), [1_100, 2_200, 3_000, 300]);
    assert_eq!((&hours[0]["rtt_ms"], &hours[0]["loss_permille"]), (&json!(12.5), &json!(62)));
    let back = world.ask(&guest, "GET", &format!("/links/{other}/{one}/history"), "").await.body;
    assert_eq!(of(&back["items"][0], names), [2_200, 1_100, 3_000, 300]);
    for wrong in ["hours=0", "hours=721", "hours=x", "days=1"] {
        let path = format!("/links/{one}/{other}/history?{wrong}");
        let answer = world.ask(&guest, "GET", &path, "").await;
        assert_problem(&answer, StatusCode::BAD_REQUEST, "api.query", wrong);
    }
}

#[tokio::test]
async fn a_report_is_told_to_who_sees_the_pair_and_a_pair_that_ends_is_gone_until_it_is_there_again() {
    let world = World::open().await;
    publish(&world).await;
    let mut guest = Ear::of(&world, &world.session("guest").await, "").await;
    let mut member = Ear::of(&world, &world.session("member").await, "").await;
    let mut foreigner = Ear::of(&world, &world.session("foreigner").await, "").await;
    let (a, b) = (device(1).min(device(2)), device(1).max(device(2)));
    let id = format!("{a}/{b}");
    world.index.record_links(&[(device(1), report(2, 1_000))]).await.unwrap();
    for ear in [&mut guest, &mut member] {
        let heard = ear.until(|event| is_put(event, "link", &id)).await;
        let put = heard.last().unwrap();
        assert_eq!(put.id, None, "it is no row of the outbox");
        assert_eq!(put.data["item"]["report"]["path"], "direct");
    }

    world.index.judge_member(&slug("den"), "device-2", Verdict::Suspend, &admin()).await.unwrap();
    let gone = json!({ "op": "gone", "id": id });
    for ear in [&mut guest, &mut member] {
        ear.until(|event| event.kind == "link" && event.data == gone).await;
    }
    world.index.judge_member(&slug("den"), "device-2", Verdict::Approve, &admin()).await.unwrap();
    guest.until(|event| is_put(event, "link", &id)).await;
    world.index.remove_device(device(1), &admin()).await.unwrap();
    guest.until(|event| event.kind == "link" && event.data == gone).await;

    let third = device(3).to_string();
    let offline = Presence { device: device(3), online: false, ip: None };
    world.index.record_presence(&[offline]).await.unwrap();
    let heard = foreigner.until(|event| is_put(event, "device", &third)).await;
    assert!(heard.iter().all(|event| event.kind != "link"), "{heard:#?}");
}

#[tokio::test]
async fn who_comes_back_hears_what_was_reported_since_and_a_network_that_goes_takes_its_pairs_along() {
    let world = World::open().await;
    let owner = world.session("owner").await;
    world.link(1, 2).await;
    let revision = world.ask(&owner, "GET", "/snapshot", "").await.body["revision"].as_i64().unwrap();
    world.index.record_links(&[(device(1), report(2, 1_000))]).await.unwrap();
    let mut ear = Ear::of(&world, &owner, &format!("?after={revision}")).await;
    ear.until(|event| event.kind == "link" && event.data["item"]["report"]["path"] == "direct").await;

    publish(&world).await;
    let mut root = Ear::of(&world, &world.session("root").await, "").await;
    world.index.remove_network(&slug("den"), &admin()).await.unwrap();
    let heard = root.until(|event| event.kind == "reset").await;
    assert!(heard.iter().any(|event| event.kind == "network" && event.data["op"] == "gone"), "{heard:#?}");
}

/// 1,000 pairs report ten times each, as fast as they can be written.
#[tokio::test]
async fn ten_thousand_reports_are_told_a_pair_at_a_time_and_so_many_a_second() {
    const A_SECOND: usize = 256;
    let world = World::open().await;
    for seed in 10..56 {
        world.join("den", seed).await;
    }
    let mut ear = Ear::of(&world, &world.session("guest").await, "").await;
    let pairs = (10..56).flat_map(|one| (one + 1..56).map(move |other| (one, other)));
    let pairs: Vec<(u8, u8)> = pairs.take(1_000).collect();
    let began = Instant::now();
    let index = Arc::clone(&world.index);
    let writing = tokio::spawn(async move {
        for round in 1..=10 {
            let reports: Vec<(DeviceId, LinkReport)> = pairs
                .iter()
                .map(|(one, other)| {
                    (device(*one), LinkReport { rtt_us: Some(round * 1_000), ..report(*other, 1) })
                })
                .collect();
            // As CHECKPOINT sends them.
            for some in reports.chunks(256) {
                index.record_links(some).await.unwrap();
            }
        }
    });
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut told = 0;
    while last.len() < 1_000 {
        let Some(Heard { kind, data, .. }) = ear.next().await else { panic!("it ended after {told}") };
        assert_eq!(kind, "link");
        told += 1;
        if data["item"]["report"]["rtt_ms"] == 10.0 {
            *last.entry(data["item"]["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    writing.await.unwrap();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(told <= A_SECOND * (seconds + 2), "{told} in {seconds} s");
    // A pair may be looked up just after its report was written, and just before that was noted.
    assert!(told < 10_000 && last.values().all(|times| *times <= 2), "{told}");
}

/// What a device says of another one: so many bytes sent, and twice as many received.
pub(super) fn report(about: u8, bytes: u64) -> LinkReport {
    LinkReport {
        peer: device(about),
        path: LinkPath::Direct,
        rtt_us: Some(12_500),
        pings: 16,
        lost: 1,
        tx_bytes: bytes,
        rx_bytes: bytes * 2,
    }
}
