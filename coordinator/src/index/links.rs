//! How data goes between devices, as both ends report while it flows: the newest of each, and sums for each hour.
//!
//! A device is believed about itself and a peer with which it takes part in a network, and about nobody else, as about
//! [verdicts](super::verdicts). Nobody's decision: no audit, no revision.

use lanyard_wire::checkpoint::LinkReport;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::names::DeviceName;
use serde::Serialize;

use super::Index;
use super::db::{FromRow, Row, sql};
use super::error::Result;
use super::text::{self, text_enum};

/// For how long hours are kept, in milliseconds: 30 days.
pub const KEPT_MS: i64 = 30 * 24 * HOUR_MS;

/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600 * 1_000;

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

impl Index {
    /// Adds what devices reported to their hours, all in one transaction; says of how many links something was written.
    ///
    /// Pairs that share no network are skipped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_links(&self, reports: &[(DeviceId, LinkReport)]) -> Result<u64> {
        let now = self.clock.now_ms();
        let mut written = 0;
        let mut transaction = self.db.begin_write().await?;
        for (device, link) in reports {
            let bytes = |count: u64| i64::try_from(count.min(BYTES_MAX)).unwrap_or(i64::MAX);
            let (direct, relayed) = match link.path.word() {
                "none" => (0, 0),
                _ if link.path.is_direct() => (1, 0),
                _ => (0, 1),
            };
            written += sql!(
                "INSERT INTO link_hours (device, peer, hour, path, rtt_us, at, pings, lost, tx_bytes, rx_bytes, \
                     direct, relayed, rtts, rtt_sum_us) \
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 WHERE $1 <> $2 AND EXISTS ( \
                     SELECT 1 FROM memberships one JOIN memberships other ON one.network_id = other.network_id \
                     WHERE one.device_id = $1 AND other.device_id = $2 \
                     AND one.state = 'active' AND other.state = 'active') \
                 ON CONFLICT (device, peer, hour) DO UPDATE SET path = excluded.path, rtt_us = excluded.rtt_us, \
                     at = excluded.at, pings = link_hours.pings + excluded.pings, \
                     lost = link_hours.lost + excluded.lost, tx_bytes = link_hours.tx_bytes + excluded.tx_bytes, \
                     rx_bytes = link_hours.rx_bytes + excluded.rx_bytes, \
                     direct = link_hours.direct + excluded.direct, relayed = link_hours.relayed + excluded.relayed, \
                     rtts = link_hours.rtts + excluded.rtts, \
                     rtt_sum_us = link_hours.rtt_sum_us + excluded.rtt_sum_us",
            )
            .bind(device.to_string())
            .bind(link.peer.to_string())
            .bind(now.div_euclid(HOUR_MS) * HOUR_MS)
            .bind(link.path.word())
            .bind(link.rtt_us.map(i64::from))
            .bind(now)
            .bind(i64::from(link.pings))
            .bind(i64::from(link.lost))
            .bind(bytes(link.tx_bytes))
            .bind(bytes(link.rx_bytes))
            .bind(direct)
            .bind(relayed)
            .bind(i64::from(link.rtt_us.is_some()))
            .bind(link.rtt_us.map_or(0, i64::from))
            .execute(&mut transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(written)
    }

    /// Forgets hours that are older than [`KEPT_MS`]; says how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_links(&self) -> Result<u64> {
        let before = self.clock.now_ms().saturating_sub(KEPT_MS);
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
