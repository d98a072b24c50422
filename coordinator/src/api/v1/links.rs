//! `/links`: how two devices reach each other, what goes between them, and what went before.

use axum::Json;
use lanyard_wire::ids::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::page::{Items, PageQuery, Wanted};
use super::problem::Problem;
use super::sent::Named;
use super::words::PathWord;
use crate::index::IndexError;
use crate::index::links::{HOUR_MS, KEPT_MS, Report};
use crate::index::lists::pairs::{Link, PairHour};
use crate::index::lists::{Filter, Page};
use crate::index::verdicts::Pair;

/// How two devices reach each other, as one of them reported last, and what goes between them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LinkView {
    /// Ids of the two devices, the smaller first, with a slash between them.
    id: String,
    /// Id of the device that reported: "here" in the code.
    device_id: String,
    /// Its name.
    device: String,
    /// Id of the other: "there" in the code.
    peer_id: String,
    /// Its name.
    peer: String,
    /// `direct`, or why not: the words of `lanyard why --json`.
    code: String,
    /// The plan of the attempt, if there was one.
    plan: Option<String>,
    /// How long the attempt took, in milliseconds.
    took_ms: i64,
    at: i64,
    /// What either of them told last of the data between them; null until one did.
    report: Option<ReportView>,
}

/// How data goes between two devices. They report while it flows, every 20 s at the most, and when the path changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReportView {
    /// Id of the device that tells.
    device_id: String,
    /// `none`, `direct`, `lan` (a private address), `tcp`, `member` (through another) or `relay`: where its datagrams went.
    #[schema(value_type = PathWord)]
    path: &'static str,
    /// Round trip of that path in milliseconds, once measured.
    rtt_ms: Option<f64>,
    /// Of 1,000 pings so many were lost, by those of this hour; null if there were none.
    loss_permille: Option<i64>,
    /// Bits per second from the link's `device_id` to its `peer_id`, on the average since the report before.
    tx_bps: Option<i64>,
    /// The same in the other direction.
    rx_bps: Option<i64>,
    /// When it told.
    seen_at: i64,
}

/// An hour of a pair, by what both devices reported.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LinkHourView {
    /// When it began.
    hour: i64,
    /// Bytes from the first device of the path to the second.
    tx_bytes: i64,
    /// The same in the other direction.
    rx_bytes: i64,
    /// Of both, what went from device to device, by whatever protocol.
    direct_bytes: i64,
    /// Of both, what went through a member or a relay.
    relayed_bytes: i64,
    /// Mean round trip in milliseconds, where it was measured.
    rtt_ms: Option<f64>,
    /// Of 1,000 pings so many were lost; null if there were none.
    loss_permille: Option<i64>,
}

impl From<Link> for LinkView {
    fn from(link: Link) -> Self {
        let (a, b) = link.ends();
        let Link { pair, report } = link;
        let Pair { reporter, peer, .. } = pair;
        Self {
            id: format!("{a}/{b}"),
            device_id: reporter.to_string(),
            device: pair.reporter_name.to_string(),
            peer_id: peer.to_string(),
            peer: pair.peer_name.to_string(),
            code: pair.code,
            plan: pair.plan,
            took_ms: pair.took_ms,
            at: pair.at,
            report: report.map(|report| ReportView::of(&report, reporter)),
        }
    }
}

impl ReportView {
    /// A report, with its directions as seen from that end.
    fn of(report: &Report, here: DeviceId) -> Self {
        let rate = |bytes: i64| report.span_ms.and_then(|span| bytes.saturating_mul(8_000).checked_div(span));
        let (sent, received) = (rate(report.tx_bytes), rate(report.rx_bytes));
        let (tx_bps, rx_bps) = if report.by == here { (sent, received) } else { (received, sent) };
        Self {
            device_id: report.by.to_string(),
            path: report.path.as_str(),
            rtt_ms: report.rtt_us.map(milliseconds),
            loss_permille: permille(report.lost, report.pings),
            tx_bps,
            rx_bps,
            seen_at: report.at,
        }
    }
}

impl From<PairHour> for LinkHourView {
    fn from(hour: PairHour) -> Self {
        let all = hour.there_bytes.saturating_add(hour.back_bytes);
        let relayed_bytes = hour.relayed_bytes.min(all);
        Self {
            hour: hour.hour,
            tx_bytes: hour.there_bytes,
            rx_bytes: hour.back_bytes,
            direct_bytes: all - relayed_bytes,
            relayed_bytes,
            rtt_ms: hour.rtt_us.map(milliseconds),
            loss_permille: permille(hour.lost, hour.pings),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "round trips are minutes at the most")]
const fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1_000.0
}

fn permille(part: i64, whole: i64) -> Option<i64> {
    part.saturating_mul(1_000).checked_div(whole)
}

/// How far back.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// So many hours, 1 to 720; all of them if nothing is said.
    #[serde(default)]
    #[param(required = false, value_type = u32, minimum = 1, maximum = 720)]
    hours: String,
}

/// Two devices, in the order in which they were named.
fn ends(one: &str, other: &str) -> Result<(DeviceId, DeviceId), Problem> {
    let end = |id: &str| DeviceId::parse(id).map_err(|_| Problem::not_found("link"));
    Ok((end(one)?, end(other)?))
}

/// How two devices reach each other, whichever is named first
#[utoipa::path(get, path = "/links/{a}/{b}", params(("a" = String, Path), ("b" = String, Path)),
    responses((status = 200, body = LinkView)))]
pub(super) async fn show(
    caller: Caller,
    Named((a, b)): Named<(String, String)>,
) -> Result<Json<LinkView>, Problem> {
    let (a, b) = ends(&a, &b)?;
    let filter = Filter { device: Some(a), peer: Some(b), ..Filter::default() };
    let found = caller.index().links_page(&caller.grants, &filter, &Page::first(1)).await?;
    let link = found.rows.into_iter().next().ok_or_else(|| Problem::not_found("link"))?;
    Ok(Json(link.into()))
}

/// What went between two devices, hour by hour, the newest first; hours without a report are left out
#[utoipa::path(get, path = "/links/{a}/{b}/history",
    params(("a" = String, Path), ("b" = String, Path), PageQuery, Since),
    responses((status = 200, body = Items<LinkHourView>)))]
pub(super) async fn history(
    caller: Caller,
    Named((a, b)): Named<(String, String)>,
    wanted: Wanted<Since>,
) -> Result<Json<Items<LinkHourView>>, Problem> {
    let ends = ends(&a, &b)?;
    let most = KEPT_MS / HOUR_MS;
    let hours = match wanted.filter.hours.as_str() {
        "" => most,
        text => {
            let hours = text.parse().ok().filter(|hours| (1..=most).contains(hours));
            hours.ok_or_else(|| Problem::query(format!("hours is from 1 to {most}")))?
        }
    };
    let since = caller.index().now_ms().saturating_sub(hours * HOUR_MS);
    let found = caller.index().link_history(&caller.grants, ends, since, &wanted.page).await;
    if matches!(found, Err(IndexError::NotFound { .. })) {
        return Err(Problem::not_found("link"));
    }
    Ok(Json(Items::of(found?, LinkHourView::from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::links::LinkPath;

    #[test]
    fn what_one_end_sent_the_other_received() {
        let [here, there] = [1, 2].map(|byte| DeviceId::from_bytes([byte; 16]));
        let report = Report {
            by: there,
            path: LinkPath::Relay,
            rtt_us: Some(12_345),
            pings: 32,
            lost: 1,
            tx_bytes: 1_000,
            rx_bytes: 250,
            span_ms: Some(2_000),
            at: 7,
        };
        let view = ReportView::of(&report, here);
        assert_eq!((view.tx_bps, view.rx_bps), (Some(1_000), Some(4_000)));
        assert_eq!((view.rtt_ms, view.loss_permille), (Some(12.345), Some(31)));
        let view = ReportView::of(&report, there);
        assert_eq!((view.tx_bps, view.rx_bps), (Some(4_000), Some(1_000)));
        let unknown = Report { span_ms: None, pings: 0, lost: 0, ..report };
        let view = ReportView::of(&unknown, here);
        assert_eq!((view.tx_bps, view.loss_permille), (None, None));
    }

    #[test]
    fn what_was_relayed_is_no_more_than_there_was() {
        let hour = PairHour {
            hour: 0,
            there_bytes: 10,
            back_bytes: 5,
            relayed_bytes: 20,
            rtt_us: None,
            pings: 0,
            lost: 0,
        };
        let view = LinkHourView::from(hour);
        assert_eq!((view.direct_bytes, view.relayed_bytes), (0, 15));
    }
}
