//! Pairs of devices as people see them: the newest report of either end, hours of both, and pairs that are none any more.

use lanyard_wire::checkpoint::{LinkPath as Wire, LinkReport, PairCode, PairVerdict};

use super::super::authority::Grants;
use super::super::edits::DeviceWishes;
use super::super::links::{HOUR_MS, LinkPath, Report};
use super::super::lists::pairs::{Link, PairHour};
use super::super::lists::{Filter, Listed, Page};
use super::super::verdicts;
use super::*;

#[tokio::test]
async fn the_newest_report_of_either_end_is_the_pair_s_and_tells_over_how_long() {
    on_both(async |desk: Desk| {
        desk.join_all(3).await;
        assert_eq!(pairs(&desk).await, []);
        let relayed = LinkReport { path: Wire::Relay, rtt_us: None, ..report(2, 1_000) };
        desk.index.record_links(&[(device(1), relayed)]).await.unwrap();
        let first = pairs(&desk).await.remove(0);
        assert_eq!((first.pair.code.as_str(), first.pair.reporter), ("trying", device(1)), "no verdict came");
        let newest = first.report.unwrap();
        assert_eq!((newest.by, newest.path, newest.rtt_us), (device(1), LinkPath::Relay, None));
        assert_eq!((newest.tx_bytes, newest.rx_bytes, newest.span_ms), (1_000, 2_000, Some(20_000)));

        // Milliseconds after the report before, what is sent, and the span that is believed: across the end of an hour, too.
        for (after, span) in
            [(5_000, 20_000), (5_000, 5_000), (10, 1_000), (3_180_000, 20_000), (15_000, 15_000)]
        {
            desk.pass(after);
            desk.index.record_links(&[(device(2), report(1, 7))]).await.unwrap();
            let newest = newest_report(&desk).await;
            assert_eq!((newest.by, newest.path, newest.tx_bytes), (device(2), LinkPath::Direct, 7));
            assert_eq!(newest.span_ms, Some(span), "after {after} ms");
        }
        desk.index.record_links(&[(device(1), report(3, 1)), (device(2), report(3, 1))]).await.unwrap();
        assert_eq!(pairs(&desk).await.len(), 3);
        let verdict = PairVerdict { peer: device(2), code: PairCode::ProbesLost, method: None, took_ms: 9 };
        desk.index.record_verdicts(&[(device(1), verdict)]).await.unwrap();
        assert_eq!(pairs(&desk).await.iter().filter(|link| link.pair.code == "probes_lost").count(), 1);

        let some = [ends(1, 2), ends(2, 3), ends(1, 9)];
        let root = Grants { is_server_admin: true, ..nobody() };
        assert_eq!(desk.index.links_among(&root, &some).await.unwrap().len(), 2);
        assert_eq!(desk.index.links_among(&root, &[]).await.unwrap(), []);
        assert_eq!(desk.index.links_among(&nobody(), &some).await.unwrap(), [], "what they may not see");
    })
    .await;
}

#[tokio::test]
async fn an_hour_of_a_pair_is_what_both_ends_say() {
    on_both(async |desk: Desk| {
        desk.join_all(2).await;
        let root = Grants { is_server_admin: true, ..nobody() };
        // The first sent 100 and 50, of which 90 and 50 arrived; the second answered with twice of what it says.
        let relayed = LinkReport { path: Wire::Member, ..report(2, 50) };
        desk.index.record_links(&[(device(1), report(2, 100)), (device(1), relayed)]).await.unwrap();
        let other = LinkReport { rtt_us: Some(3_000), tx_bytes: 310, rx_bytes: 140, ..report(1, 0) };
        desk.index.record_links(&[(device(2), other)]).await.unwrap();
        for _ in 0..2 {
            desk.pass(HOUR_MS);
            desk.index.record_links(&[(device(1), report(2, 1))]).await.unwrap();
        }
        let all = history(&desk, &root, 0, &Page::first(9)).await.unwrap();
        assert_eq!((all.rows.len(), all.next), (3, None));
        let PairHour { there_bytes, back_bytes, relayed_bytes, rtt_us, pings, lost, .. } = all.rows[2];
        assert_eq!((there_bytes, back_bytes, relayed_bytes), (150, 310, 150));
        assert_eq!((rtt_us, pings, lost), (Some(1_666), 96, 3));

        // A page goes on after an hour, whatever came meanwhile.
        let first = history(&desk, &root, 0, &Page::first(2)).await.unwrap();
        let after = first.next.unwrap();
        desk.pass(HOUR_MS);
        desk.index.record_links(&[(device(1), report(2, 1))]).await.unwrap();
        let rest = history(&desk, &root, 0, &Page { after, limit: 2 }).await.unwrap();
        assert_eq!(([&first.rows[..], &rest.rows].concat(), rest.next), (all.rows, None));
        let since = desk.index.now_ms() - HOUR_MS;
        assert_eq!(history(&desk, &root, since, &Page::first(9)).await.unwrap().rows.len(), 1);

        let error = history(&desk, &nobody(), 0, &Page::first(9)).await.unwrap_err();
        assert_eq!(error.code(), "index.not_found", "as for the pair");
        let itself = desk.index.link_history(&root, (device(1), device(1)), 0, &Page::first(9)).await;
        assert_eq!(itself.unwrap_err().code(), "index.not_found");
    })
    .await;
}

#[tokio::test]
async fn a_pair_is_lost_to_those_who_saw_it() {
    on_both(async |desk: Desk| {
        desk.join_all(3).await;
        let network = desk.index.network(&home()).await.unwrap().id;
        let root = Grants { is_server_admin: true, ..nobody() };
        let owner = desk.index.add_user(&NewUser::person("owner".parse().unwrap()), &admin()).await.unwrap();
        let wishes = DeviceWishes { user_id: Some(Some(owner.id.clone())), ..DeviceWishes::default() };
        desk.index.set_device(device(1), &wishes, &admin()).await.unwrap();
        let owner = desk.index.grants(&owner).await.unwrap();
        let reports = [(device(1), report(2, 1)), (device(3), report(2, 1))];
        desk.index.record_links(&reports).await.unwrap();
        assert_eq!(desk.index.links_lost(&root, device(2), network).await.unwrap(), [], "they are there");
        assert!(!desk.index.is_link_lost(&root, ends(1, 2)).await.unwrap());

        desk.index.judge_member(&home(), "device-2", Verdict::Suspend, &admin()).await.unwrap();
        let mut both = [ends(1, 2), ends(2, 3)];
        both.sort();
        assert_eq!(desk.index.links_lost(&root, device(2), network).await.unwrap(), both);
        assert_eq!(desk.index.links_lost(&owner, device(2), network).await.unwrap(), [ends(1, 2)]);
        assert_eq!(desk.index.links_lost(&nobody(), device(2), network).await.unwrap(), []);
        for (grants, lost) in [(&root, true), (&owner, true), (&nobody(), false)] {
            assert_eq!(desk.index.is_link_lost(grants, ends(1, 2)).await.unwrap(), lost);
        }
        assert!(!desk.index.is_link_lost(&owner, ends(2, 3)).await.unwrap(), "of others");
    })
    .await;
}

#[tokio::test]
async fn a_verdict_that_goes_is_told_and_one_of_a_pair_that_still_reports_stays() {
    on_both(async |desk: Desk| {
        desk.join_all(3).await;
        let verdict =
            |about| PairVerdict { peer: device(about), code: PairCode::Direct, method: None, took_ms: 9 };
        desk.index.record_verdicts(&[(device(1), verdict(2)), (device(1), verdict(3))]).await.unwrap();
        desk.pass(verdicts::KEPT_MS + 1);
        desk.index.record_links(&[(device(3), report(1, 1))]).await.unwrap();
        let cursor = desk.index.snapshot().await.unwrap().cursor;
        desk.index.record_verdicts(&[]).await.unwrap();
        let told: Vec<Change> =
            desk.index.changes_after(cursor).await.unwrap().into_iter().map(|(_, change)| change).collect();
        let (a, b) = ends(1, 2);
        assert_eq!(told, [Change::Link { a, b }]);
        assert_eq!(pairs(&desk).await.len(), 1);
        let root = Grants { is_server_admin: true, ..nobody() };
        assert!(desk.index.is_link_lost(&root, (a, b)).await.unwrap());
    })
    .await;
}

async fn pairs(desk: &Desk) -> Vec<Link> {
    let root = Grants { is_server_admin: true, ..nobody() };
    let all = desk.index.links_page(&root, &Filter::default(), &Page::first(99)).await.unwrap().rows;
    assert_eq!(desk.index.seen(&root).await.unwrap().links, all);
    all
}

async fn newest_report(desk: &Desk) -> Report {
    pairs(desk).await.remove(0).report.unwrap()
}

async fn history(desk: &Desk, grants: &Grants, since: i64, page: &Page) -> Result<Listed<PairHour>> {
    desk.index.link_history(grants, (device(1), device(2)), since, page).await
}

/// Somebody without a role, and without a device.
fn nobody() -> Grants {
    Grants {
        user: String::new(),
        is_server_admin: false,
        roles: std::collections::BTreeMap::new(),
        only: None,
        may_write: true,
        by_token: false,
    }
}

fn ends(one: u32, other: u32) -> (DeviceId, DeviceId) {
    let (one, other) = (device(one), device(other));
    (one.min(other), one.max(other))
}

fn device(seed: u32) -> DeviceId {
    DeviceId::of(&identity(seed))
}

fn report(about: u32, bytes: u64) -> LinkReport {
    LinkReport {
        peer: device(about),
        path: Wire::Direct,
        rtt_us: Some(1_000),
        pings: 32,
        lost: 1,
        tx_bytes: bytes,
        rx_bytes: bytes * 2,
    }
}
