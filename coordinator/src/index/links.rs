//! How data goes between devices, as both ends report while it flows: the newest of each, and sums for each hour.
//!
//! A device is believed about itself and a peer with which it takes part in a network, and about nobody else, as about
//! [verdicts](super::verdicts). Nobody's decision: no audit, no revision.

use std::collections::BTreeSet;

use lanyard_wire::checkpoint::{LinkReport, PairCode};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::names::DeviceName;
use serde::Serialize;

use super::Index;
use super::db::{FromRow, Row, Statement, Transaction, sql};
use super::error::Result;
use super::outbox::{self, Change};
use super::text::{self, text_enum};
use super::webhooks::{HookEvent, is_awaited};

/// For how long hours are kept at the most, in milliseconds: 30 days.
pub const KEPT_MS: i64 = 30 * 24 * HOUR_MS;

/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600 * 1_000;

/// What is said of a pair that is not direct before any verdict of it came; a word of `lanyard why --json`.
const TRYING: &str = "trying";

/// Over how long the bytes of one report came together, in milliseconds: a device that has something to tell does so within 20 s,
/// and CHECKPOINT gathers what it hears for a second.
const SPAN_MAX_MS: i64 = 20_000;
const SPAN_MIN_MS: i64 = 1_000;

/// Most bytes of one report that are believed: 8 TiB, more than a path carries in an hour. Sums of an hour stay in their columns,
/// whatever a device says.
const BYTES_MAX: u64 = 1 << 43;

text_enum! {
    /// A kind of path, as the wire has it.
    LinkPath {
        /// No path.
        None = "none",
        /// UDP to the peer's own address.
        Direct = "direct",
        /// The same to a private address.
        Lan = "lan",
        /// A TCP connection with the peer.
        Tcp = "tcp",
        /// Through a member that passes on frames.
        Member = "member",
        /// Through a relay.
        Relay = "relay",
    }
}

/// How data goes from one device to another, by its newest report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkNow {
    /// The end that reported.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// Its name.
    #[serde(with = "text")]
    pub device_name: DeviceName,
    /// The other end.
    #[serde(with = "text")]
    pub peer: DeviceId,
    /// Its name.
    #[serde(with = "text")]
    pub peer_name: DeviceName,
    /// Where datagrams to the peer went.
    pub path: LinkPath,
    /// Round trip of that path in microseconds, once measured.
    pub rtt_us: Option<i64>,
    /// Pings that were answered or lost, summed over this hour's reports: what share was lost is told by it.
    pub pings: i64,
    /// Of these, the lost ones.
    pub lost: i64,
    /// Bytes sent in this hour.
    pub tx_bytes: i64,
    /// Bytes received in this hour.
    pub rx_bytes: i64,
    /// When it reported, in epoch milliseconds.
    pub at: i64,
}

/// An hour of a link, by what one end reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkHour {
    /// When it began, in epoch milliseconds.
    pub hour: i64,
    /// The last path in it.
    pub path: LinkPath,
    /// Mean round trip in microseconds, where one was measured.
    pub rtt_us: Option<i64>,
    /// Pings that were answered or lost, summed over its reports.
    pub pings: i64,
    /// Of these, the lost ones.
    pub lost: i64,
    /// Bytes sent.
    pub tx_bytes: i64,
    /// Bytes received.
    pub rx_bytes: i64,
    /// Reports with a direct path.
    pub direct: i64,
    /// Reports with a path through a member or a relay.
    pub relayed: i64,
}

/// The newest report of a pair, whichever end it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The end that reported.
    pub by: DeviceId,
    /// Where its datagrams to the other end went.
    pub path: LinkPath,
    /// Round trip of that path in microseconds, once measured.
    pub rtt_us: Option<i64>,
    /// Pings that were answered or lost, summed over the reports of that hour.
    pub pings: i64,
    /// Of these, the lost ones.
    pub lost: i64,
    /// Bytes that it sent since its report before.
    pub tx_bytes: i64,
    /// Bytes that it received since.
    pub rx_bytes: i64,
    /// In how many milliseconds, where that is known.
    pub span_ms: Option<i64>,
    /// When it reported, in epoch milliseconds.
    pub at: i64,
}

impl FromRow for LinkNow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            device: text::column(row, "device")?,
            device_name: text::column(row, "device_name")?,
            peer: text::column(row, "peer")?,
            peer_name: text::column(row, "peer_name")?,
            path: text::column(row, "path")?,
            rtt_us: row.get("rtt_us")?,
            pings: row.get("pings")?,
            lost: row.get("lost")?,
            tx_bytes: row.get("tx_bytes")?,
            rx_bytes: row.get("rx_bytes")?,
            at: row.get("at")?,
        })
    }
}

impl FromRow for LinkHour {
    fn from_row(row: &Row) -> Result<Self> {
        let (rtts, sum): (i64, i64) = (row.get("rtts")?, row.get("rtt_sum_us")?);
        Ok(Self {
            hour: row.get("hour")?,
            path: text::column(row, "path")?,
            rtt_us: sum.checked_div(rtts),
            pings: row.get("pings")?,
            lost: row.get("lost")?,
            tx_bytes: row.get("tx_bytes")?,
            rx_bytes: row.get("rx_bytes")?,
            direct: row.get("direct")?,
            relayed: row.get("relayed")?,
        })
    }
}

/// The statement that adds a report to its hour.
fn insert(device: &DeviceId, link: &LinkReport, now: i64) -> Statement {
    let bytes = |count: u64| i64::try_from(count.min(BYTES_MAX)).unwrap_or(i64::MAX);
    let (tx_bytes, rx_bytes) = (bytes(link.tx_bytes), bytes(link.rx_bytes));
    let (direct, relayed) = match link.path.word() {
        "none" => (0, 0),
        _ if link.path.is_direct() => (1, 0),
        _ => (0, 1),
    };
    sql!(
        "INSERT INTO link_hours (device, peer, hour, path, rtt_us, at, pings, lost, tx_bytes, rx_bytes, direct, relayed, \
             rtts, rtt_sum_us, relayed_bytes, newest_tx, newest_rx, newest_ms) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $9, $10, \
             CASE WHEN earlier.at IS NULL OR $6 - earlier.at > $16 THEN $16 WHEN $6 - earlier.at < $17 THEN $17 \
                 ELSE $6 - earlier.at END \
         FROM (SELECT MAX(h.at) AS at FROM link_hours h WHERE h.device = $1 AND h.peer = $2 AND h.hour >= $18) earlier \
         WHERE $1 <> $2 AND EXISTS ( \
             SELECT 1 FROM memberships one JOIN memberships other ON one.network_id = other.network_id \
             WHERE one.device_id = $1 AND other.device_id = $2 AND one.state = 'active' AND other.state = 'active') \
         ON CONFLICT (device, peer, hour) DO UPDATE SET path = excluded.path, rtt_us = excluded.rtt_us, at = excluded.at, \
             pings = link_hours.pings + excluded.pings, lost = link_hours.lost + excluded.lost, \
             tx_bytes = link_hours.tx_bytes + excluded.tx_bytes, rx_bytes = link_hours.rx_bytes + excluded.rx_bytes, \
             direct = link_hours.direct + excluded.direct, relayed = link_hours.relayed + excluded.relayed, \
             rtts = link_hours.rtts + excluded.rtts, rtt_sum_us = link_hours.rtt_sum_us + excluded.rtt_sum_us, \
             relayed_bytes = link_hours.relayed_bytes + excluded.relayed_bytes, \
             newest_tx = excluded.newest_tx, newest_rx = excluded.newest_rx, newest_ms = excluded.newest_ms",
    )
    .bind(device.to_string())
    .bind(link.peer.to_string())
    .bind(now.div_euclid(HOUR_MS) * HOUR_MS)
    .bind(link.path.word())
    .bind(link.rtt_us.map(i64::from))
    .bind(now)
    .bind(i64::from(link.pings))
    .bind(i64::from(link.lost))
    .bind(tx_bytes)
    .bind(rx_bytes)
    .bind(direct)
    .bind(relayed)
    .bind(i64::from(link.rtt_us.is_some()))
    .bind(link.rtt_us.map_or(0, i64::from))
    .bind(if relayed > 0 { tx_bytes.saturating_add(rx_bytes) } else { 0 })
    .bind(SPAN_MAX_MS)
    .bind(SPAN_MIN_MS)
    // Whatever was before that is longer ago than any span.
    .bind(now.div_euclid(HOUR_MS).saturating_sub(1) * HOUR_MS)
}

impl Index {
    /// Adds what devices reported to their hours, all in one transaction; says of how many links something was written.
    ///
    /// Pairs that share no network are skipped. A pair of which no verdict is known gets the one that follows: no try for a direct
    /// path ended yet, or it did not need one. That data goes another way than by the report before is put into the outbox,
    /// where a webhook waits for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_links(&self, reports: &[(DeviceId, LinkReport)]) -> Result<u64> {
        let now = self.clock.now_ms();
        let (mut written, mut count, mut is_told) = (BTreeSet::new(), 0, false);
        let mut transaction = self.db.begin_write().await?;
        let is_awaited = is_awaited(&mut transaction, HookEvent::LinkPathChanged).await?;
        for (device, link) in reports {
            let before =
                if is_awaited { newest_path(&mut transaction, *device, link.peer).await? } else { None };
            if insert(device, link, now).execute(&mut transaction).await? == 0 {
                continue;
            }
            count += 1;
            if let (Some(from), Ok(to)) = (before, link.path.word().parse::<LinkPath>())
                && from != to
            {
                let change = Change::Path { device: *device, peer: link.peer, from, to };
                outbox::publish((&mut transaction).into(), &change, now).await?;
                is_told = true;
            }
            let (a, b) = (*device.min(&link.peer), *device.max(&link.peer));
            if written.insert((a, b)) {
                let code = if link.path.is_direct() { PairCode::Direct.word() } else { TRYING };
                sql!(
                    "INSERT INTO pair_verdicts (a, b, reporter, code, plan, took_ms, at) \
                     VALUES ($1, $2, $3, $4, NULL, 0, $5) ON CONFLICT (a, b) DO NOTHING",
                )
                .bind(a.to_string())
                .bind(b.to_string())
                .bind(device.to_string())
                .bind(code)
                .bind(now)
                .execute(&mut transaction)
                .await?;
            }
        }
        transaction.commit().await?;
        if is_told {
            self.changed.notify_one();
        }
        self.flow.note(written, now);
        Ok(count)
    }

    /// Forgets hours that are older than that many milliseconds, but for the running one; says how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_links(&self, kept_ms: i64) -> Result<u64> {
        let now = self.clock.now_ms();
        let before = now.saturating_sub(kept_ms).min(now.div_euclid(HOUR_MS) * HOUR_MS);
        let mut transaction = self.db.begin_write().await?;
        let removed =
            sql!("DELETE FROM link_hours WHERE hour < $1").bind(before).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(removed)
    }

    /// The newest report of every end, of one device with its peers or of all, the newest first; only pairs that still share a
    /// network.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links(&self, of: Option<DeviceId>) -> Result<Vec<LinkNow>> {
        sql!(
            "SELECT l.device, one.name AS device_name, l.peer, other.name AS peer_name, l.path, l.rtt_us, l.pings, l.lost, \
                 l.tx_bytes, l.rx_bytes, l.at FROM link_hours l \
             JOIN devices one ON one.id = l.device JOIN devices other ON other.id = l.peer \
             WHERE ($1 IS NULL OR l.device = $1 OR l.peer = $1) \
             AND NOT EXISTS (SELECT 1 FROM link_hours later \
                 WHERE later.device = l.device AND later.peer = l.peer AND later.hour > l.hour) \
             AND EXISTS ( \
                 SELECT 1 FROM memberships x JOIN memberships y ON x.network_id = y.network_id \
                 WHERE x.device_id = l.device AND y.device_id = l.peer AND x.state = 'active' AND y.state = 'active') \
             ORDER BY l.at DESC, l.device, l.peer",
        )
        .bind(of.map(|device| device.to_string()))
        .fetch_all(&self.db)
        .await
    }

    /// The hours of a link by what `device` reported, the newest first, from `since` (epoch milliseconds) on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn link_hours(&self, device: DeviceId, peer: DeviceId, since: i64) -> Result<Vec<LinkHour>> {
        sql!(
            "SELECT hour, path, pings, lost, tx_bytes, rx_bytes, direct, relayed, rtts, rtt_sum_us FROM link_hours \
             WHERE device = $1 AND peer = $2 AND hour >= $3 ORDER BY hour DESC",
        )
        .bind(device.to_string())
        .bind(peer.to_string())
        .bind(since.div_euclid(HOUR_MS) * HOUR_MS)
        .fetch_all(&self.db)
        .await
    }
}

/// Where the path led by the newest report of a device about a peer.
async fn newest_path(
    transaction: &mut Transaction,
    device: DeviceId,
    peer: DeviceId,
) -> Result<Option<LinkPath>> {
    let path: Option<String> =
        sql!("SELECT path FROM link_hours WHERE device = $1 AND peer = $2 ORDER BY hour DESC LIMIT 1")
            .bind(device.to_string())
            .bind(peer.to_string())
            .fetch_optional(transaction)
            .await?;
    Ok(path.and_then(|path| path.parse().ok()))
}
