//! What devices report of their pairs: the latest stays, of those that may.

use lanyard_wire::checkpoint::{PairCode, PairVerdict};
use lanyard_wire::handshake::Method;

use super::super::verdicts::{KEPT_MS, Pair};
use super::*;

#[tokio::test]
async fn the_latest_report_of_either_end_is_the_pair_s() {
    on_both(async |desk: Desk| {
        desk.join_all(3).await;
        let first = report(2, PairCode::ProbesLost, Some(Method::Guess { ports: 1_200 }));
        assert_eq!(desk.index.record_verdicts(&[(device(1), first)]).await.unwrap(), 1);
        desk.pass(5_000);
        let second = report(1, PairCode::Direct, None);
        assert_eq!(desk.index.record_verdicts(&[(device(2), second)]).await.unwrap(), 1);
        desk.index.record_verdicts(&[(device(1), report(3, PairCode::UdpBlockedThere, None))]).await.unwrap();

        let all = desk.index.verdicts(None).await.unwrap();
        assert_eq!(all.len(), 2);
        let pair = find(&all, 2);
        assert_eq!((pair.reporter_name.as_str(), pair.peer_name.as_str()), ("device-2", "device-1"));
        assert_eq!((pair.code.as_str(), pair.plan.as_deref(), pair.took_ms), ("direct", None, 1_600));
        assert_eq!(pair.at, 1_750_000_005_000);
        assert_eq!(desk.index.verdicts(Some(device(3))).await.unwrap().len(), 1);
        assert_eq!(&desk.index.verdicts(Some(device(2))).await.unwrap()[0], pair);
    })
    .await;
}

#[tokio::test]
async fn a_report_about_a_device_that_shares_no_network_is_not_written() {
    on_both(async |desk: Desk| {
        desk.join_all(2).await;
        let stranger = report(9, PairCode::Direct, None);
        let itself = report(1, PairCode::Direct, None);
        let of_stranger = report(1, PairCode::Direct, None);
        let reports = [(device(1), stranger), (device(1), itself), (device(9), of_stranger)];
        assert_eq!(desk.index.record_verdicts(&reports).await.unwrap(), 0);
        assert_eq!(desk.index.verdicts(None).await.unwrap(), []);

        desk.index.record_verdicts(&[(device(1), report(2, PairCode::Direct, None))]).await.unwrap();
        desk.index.judge_member(&home(), "device-2", Verdict::Remove, &admin()).await.unwrap();
        assert_eq!(desk.index.verdicts(None).await.unwrap(), [], "it is no pair any more");
        let late = [(device(2), report(1, PairCode::NoRelay, None))];
        assert_eq!(desk.index.record_verdicts(&late).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_said_again_is_written_once_an_hour_and_told_as_often() {
    on_both(async |desk: Desk| {
        desk.join_all(2).await;
        let direct = || [(device(1), report(2, PairCode::Direct, None))];
        let cursor = desk.index.snapshot().await.unwrap().cursor;
        for (milliseconds, written) in [(0, 1), (60_000, 0), (HOUR_MS, 1), (HOUR_MS - 1, 0), (1, 1)] {
            desk.pass(milliseconds);
            assert_eq!(desk.index.record_verdicts(&direct()).await.unwrap(), written, "{milliseconds}");
        }
        for other in [report(2, PairCode::NoRelay, None), report(2, PairCode::NoRelay, Some(Method::Relay))] {
            assert_eq!(desk.index.record_verdicts(&[(device(1), other)]).await.unwrap(), 1);
        }
        let told = desk.index.changes_after(cursor).await.unwrap();
        let links = told.iter().filter(|(_, change)| matches!(change, Change::Link { .. }));
        assert_eq!(links.count(), 5, "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn old_reports_go() {
    on_both(async |desk: Desk| {
        desk.join_all(3).await;
        desk.index.record_verdicts(&[(device(1), report(2, PairCode::Direct, None))]).await.unwrap();
        desk.pass(KEPT_MS + 1);
        desk.index.record_verdicts(&[(device(1), report(3, PairCode::Direct, None))]).await.unwrap();
        let left = desk.index.verdicts(None).await.unwrap();
        assert_eq!((left.len(), find(&left, 1).peer), (1, device(3)));
    })
    .await;
}

fn device(seed: u32) -> DeviceId {
    DeviceId::of(&identity(seed))
}

fn report(about: u32, code: PairCode, method: Option<Method>) -> PairVerdict {
    PairVerdict { peer: device(about), code, method, took_ms: 1_600 }
}

fn find(pairs: &[Pair], reporter: u32) -> &Pair {
    pairs.iter().find(|pair| pair.reporter == device(reporter)).unwrap()
}
