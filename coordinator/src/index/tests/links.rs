//! What devices report of their data: the newest of each end, sums by the hour, of those that may.

use lanyard_wire::checkpoint::{LinkPath as Wire, LinkReport};

use super::super::links::{HOUR_MS, KEPT_MS, LinkPath};
use super::*;

#[tokio::test]
async fn reports_add_up_by_the_hour_and_the_newest_says_where_the_path_leads() {
    on_both(async |desk: Desk| {
        desk.join_all(3).await;
        let relayed = LinkReport { path: Wire::Relay, rtt_us: Some(40_000), ..report(2, 1_000) };
        assert_eq!(desk.index.record_links(&[(device(1), relayed)]).await.unwrap(), 1);
        desk.pass(20_000);
        let direct = LinkReport { rtt_us: Some(20_000), ..report(2, 500) };
        let reports = [(device(1), direct), (device(2), report(1, 7)), (device(1), report(3, 1))];
        assert_eq!(desk.index.record_links(&reports).await.unwrap(), 3);

        let links = desk.index.links(Some(device(2))).await.unwrap();
        assert_eq!(links.len(), 2, "each end's own");
        let link = links.iter().find(|link| link.device == device(1)).unwrap();
        assert_eq!((link.device_name.as_str(), link.peer_name.as_str()), ("device-1", "device-2"));
        assert_eq!((link.path, link.rtt_us), (LinkPath::Direct, Some(20_000)));
        assert_eq!((link.tx_bytes, link.rx_bytes, link.pings, link.lost), (1_500, 3_000, 64, 2));
        assert_eq!(link.at, 1_750_000_020_000);
        assert_eq!(desk.index.links(None).await.unwrap().len(), 3);

        desk.pass(HOUR_MS);
        let unknown = LinkReport { path: Wire::None, rtt_us: None, ..report(2, 9) };
        desk.index.record_links(&[(device(1), unknown)]).await.unwrap();
        let hours = desk.index.link_hours(device(1), device(2), 0).await.unwrap();
        assert_eq!(hours.len(), 2);
        assert!(
            hours.iter().all(|hour| hour.hour % HOUR_MS == 0) && hours[0].hour == hours[1].hour + HOUR_MS
        );
        assert_eq!(
            (hours[0].path, hours[0].rtt_us, hours[0].direct, hours[0].relayed),
            (LinkPath::None, None, 0, 0)
        );
        assert_eq!((hours[1].rtt_us, hours[1].direct, hours[1].relayed), (Some(30_000), 1, 1));
        assert_eq!(desk.index.link_hours(device(1), device(2), hours[0].hour).await.unwrap().len(), 1);
        let newest = desk.index.links(Some(device(1))).await.unwrap();
        let newest = newest.iter().find(|link| link.device == device(1) && link.peer == device(2)).unwrap();
        assert_eq!((newest.path, newest.tx_bytes), (LinkPath::None, 9), "of this hour alone");
    })
    .await;
}

#[tokio::test]
async fn a_report_about_a_device_that_shares_no_network_is_not_added() {
    on_both(async |desk: Desk| {
        desk.join_all(2).await;
        let reports = [(device(1), report(9, 1)), (device(1), report(1, 1)), (device(9), report(1, 1))];
        assert_eq!(desk.index.record_links(&reports).await.unwrap(), 0);
        desk.index.record_links(&[(device(1), report(2, 1))]).await.unwrap();
        desk.index.judge_member(&home(), "device-2", Verdict::Remove, &admin()).await.unwrap();
        assert_eq!(desk.index.links(None).await.unwrap(), [], "it is no link any more");
        assert_eq!(desk.index.record_links(&[(device(2), report(1, 1))]).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn absurd_reports_overflow_nothing_and_old_hours_go() {
    on_both(async |desk: Desk| {
        desk.join_all(2).await;
        let absurd = LinkReport { rtt_us: Some(u32::MAX), ..report(2, u64::MAX) };
        for _ in 0..100 {
            assert_eq!(desk.index.record_links(&[(device(1), absurd)]).await.unwrap(), 1);
        }
        let hour = desk.index.link_hours(device(1), device(2), 0).await.unwrap().remove(0);
        assert_eq!((hour.tx_bytes, hour.rtt_us), (100 << 43, Some(i64::from(u32::MAX))));
        desk.pass(KEPT_MS - HOUR_MS);
        desk.index.prune_links(KEPT_MS).await.unwrap();
        assert_eq!(desk.index.links(None).await.unwrap().len(), 1, "an hour that is kept");
        desk.pass(HOUR_MS);
        desk.index.prune_links(KEPT_MS).await.unwrap();
        assert_eq!(desk.index.links(None).await.unwrap(), []);

        // Whoever keeps nothing sees what goes on now.
        desk.index.record_links(&[(device(1), report(2, 1))]).await.unwrap();
        desk.pass(HOUR_MS);
        desk.index.record_links(&[(device(1), report(2, 1))]).await.unwrap();
        assert_eq!(desk.index.prune_links(0).await.unwrap(), 1);
        assert_eq!(desk.index.links(None).await.unwrap().len(), 1);
    })
    .await;
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
        rx_bytes: bytes.saturating_mul(2),
    }
}
