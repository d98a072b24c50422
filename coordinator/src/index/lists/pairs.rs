//! Who sees which pairs of devices, how they reach each other now, and what went between them before.

use lanyard_wire::ids::{DeviceId, NetworkId};

use super::{Filter, Listed, Page, Reader};
use crate::index::Index;
use crate::index::authority::Grants;
use crate::index::db::{FromRow, Row, Target, sql};
use crate::index::error::{IndexError, Result};
use crate::index::flow::Ends;
use crate::index::links::Report;
use crate::index::text;
use crate::index::verdicts::Pair;

/// A pair of devices: the verdict on it, and what either end reported last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// How they reach each other, or why not.
    pub pair: Pair,
    /// What goes between them; `None` before the first report.
    pub report: Option<Report>,
}

impl Link {
    /// Its two devices, the smaller id first.
    #[must_use]
    pub fn ends(&self) -> Ends {
        let Pair { reporter, peer, .. } = self.pair;
        (reporter.min(peer), reporter.max(peer))
    }
}

/// An hour of a pair, by what both ends reported; "there" is from the first to the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairHour {
    /// When it began, in epoch milliseconds.
    pub hour: i64,
    /// Bytes there: what the first says it sent, or the second that it received, whichever is more.
    pub there_bytes: i64,
    /// Bytes back, likewise.
    pub back_bytes: i64,
    /// Of both, those that went through a member or a relay.
    pub relayed_bytes: i64,
    /// Mean round trip in microseconds, where one was measured.
    pub rtt_us: Option<i64>,
    /// Pings that were answered or lost.
    pub pings: i64,
    /// Of these, the lost ones.
    pub lost: i64,
}

impl FromRow for Link {
    fn from_row(row: &Row) -> Result<Self> {
        let pair = Pair::from_row(row)?;
        let (a, b) = (pair.reporter.min(pair.peer), pair.reporter.max(pair.peer));
        let first = report(row, a, FIRST)?;
        let second = report(row, b, SECOND)?;
        // Of two that reported in the same millisecond, the smaller id.
        let newest = match (first, second) {
            (Some(first), Some(second)) => Some(if second.at > first.at { second } else { first }),
            (first, second) => first.or(second),
        };
        Ok(Self { pair, report: newest })
    }
}

impl FromRow for PairHour {
    fn from_row(row: &Row) -> Result<Self> {
        let (rtts, sum): (i64, i64) = (row.get("rtts")?, row.get("rtt_sum_us")?);
        Ok(Self {
            hour: row.get("hour")?,
            there_bytes: row.get("there_bytes")?,
            back_bytes: row.get("back_bytes")?,
            relayed_bytes: row.get("relayed_bytes")?,
            rtt_us: sum.checked_div(rtts),
            pings: row.get("pings")?,
            lost: row.get("lost")?,
        })
    }
}

/// The columns of one end's newest hour: path, round trip, pings, lost, sent, received, span, moment.
type Columns = [&'static str; 8];

const FIRST: Columns = ["l_path", "l_rtt", "l_pings", "l_lost", "l_tx", "l_rx", "l_ms", "l_at"];
const SECOND: Columns = ["m_path", "m_rtt", "m_pings", "m_lost", "m_tx", "m_rx", "m_ms", "m_at"];

fn report(row: &Row, by: DeviceId, columns: Columns) -> Result<Option<Report>> {
    let [path, rtt, pings, lost, tx, rx, ms, at] = columns;
    let Some(at) = row.get::<Option<i64>>(at)? else { return Ok(None) };
    Ok(Some(Report {
        by,
        path: text::column(row, path)?,
        rtt_us: row.get(rtt)?,
        pings: row.get(pings)?,
        lost: row.get(lost)?,
        tx_bytes: row.get(tx)?,
        rx_bytes: row.get(rx)?,
        span_ms: Some(row.get::<i64>(ms)?).filter(|ms| *ms > 0),
        at,
    }))
}

// Each list is one text, whatever it is asked for; see `machines`. The newest hour of either end is looked up by its key.

macro_rules! select_link {
    ($first:literal) => {
        concat!(
            "SELECT v.reporter, one.name AS reporter_name, other.id AS peer, other.name AS peer_name, v.code, v.plan, \
             v.took_ms, v.at, \
             l.path AS l_path, l.rtt_us AS l_rtt, l.pings AS l_pings, l.lost AS l_lost, l.newest_tx AS l_tx, \
             l.newest_rx AS l_rx, l.newest_ms AS l_ms, l.at AS l_at, \
             m.path AS m_path, m.rtt_us AS m_rtt, m.pings AS m_pings, m.lost AS m_lost, m.newest_tx AS m_tx, \
             m.newest_rx AS m_rx, m.newest_ms AS m_ms, m.at AS m_at \
             FROM pair_verdicts v \
             JOIN devices one ON one.id = v.reporter \
             JOIN devices other ON other.id = CASE v.reporter WHEN v.a THEN v.b ELSE v.a END \
             LEFT JOIN link_hours l ON l.device = v.a AND l.peer = v.b AND l.hour = ( \
                 SELECT MAX(h.hour) FROM link_hours h WHERE h.device = v.a AND h.peer = v.b) \
             LEFT JOIN link_hours m ON m.device = v.b AND m.peer = v.a AND m.hour = ( \
                 SELECT MAX(h.hour) FROM link_hours h WHERE h.device = v.b AND h.peer = v.a) \
             WHERE ",
            $first,
            "(v.a, v.b) > ($1, $2) AND EXISTS ( \
                 SELECT 1 FROM memberships x JOIN memberships y ON x.network_id = y.network_id \
                 WHERE x.device_id = v.a AND y.device_id = v.b AND x.state = 'active' AND y.state = 'active' \
                 AND ($5 IS NULL OR x.network_id = $5) AND ($7 IS NULL OR x.network_id = $7) \
                 AND ($3 OR ($5 IS NULL AND (one.user_id = $4 OR other.user_id = $4)) OR EXISTS ( \
                     SELECT 1 FROM network_roles r WHERE r.network_id = x.network_id AND r.user_id = $4 \
                     AND (r.expires_at IS NULL OR r.expires_at > $6)))) \
             AND ($8 IS NULL OR v.a = $8 OR v.b = $8) AND ($9 IS NULL OR v.a = $9 OR v.b = $9) \
             ORDER BY v.a, v.b LIMIT $10"
        )
    };
}

/// Pairs of which a list of somebody's had one, and has it no more: they were beside each other in a network that is seen, and
/// are in none now.
macro_rules! select_lost {
    ($pairs:literal, $network:literal) => {
        concat!(
            "SELECT one.id, other.id FROM ",
            $pairs,
            " AND EXISTS ( \
                 SELECT 1 FROM memberships x JOIN memberships y ON x.network_id = y.network_id \
                 WHERE x.device_id = one.id AND y.device_id = other.id ",
            $network,
            "AND ($4 IS NULL OR x.network_id = $4) \
                 AND ($2 OR ($4 IS NULL AND (one.user_id = $3 OR other.user_id = $3)) OR EXISTS ( \
                     SELECT 1 FROM network_roles r WHERE r.network_id = x.network_id AND r.user_id = $3 \
                     AND (r.expires_at IS NULL OR r.expires_at > $5)))) \
             AND NOT EXISTS ( \
                 SELECT 1 FROM pair_verdicts v JOIN memberships x ON x.device_id = v.a \
                 JOIN memberships y ON y.device_id = v.b AND y.network_id = x.network_id \
                 WHERE v.a = one.id AND v.b = other.id AND x.state = 'active' AND y.state = 'active' \
                 AND ($4 IS NULL OR x.network_id = $4) \
                 AND ($2 OR ($4 IS NULL AND (one.user_id = $3 OR other.user_id = $3)) OR EXISTS ( \
                     SELECT 1 FROM network_roles r WHERE r.network_id = x.network_id AND r.user_id = $3 \
                     AND (r.expires_at IS NULL OR r.expires_at > $5)))) \
             ORDER BY one.id, other.id"
        )
    };
}

impl Index {
    /// Pairs of devices that share a network where one has a role, or of which one is one's own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links_page(&self, grants: &Grants, filter: &Filter, page: &Page) -> Result<Listed<Link>> {
        let rows = links(Target::from(&self.db), &self.reader(grants), filter, page).await?;
        Ok(page.cut(rows, |link| {
            let (a, b) = link.ends();
            (a.to_string(), b.to_string())
        }))
    }

    /// Those of some pairs that one sees.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links_among(&self, grants: &Grants, pairs: &[Ends]) -> Result<Vec<Link>> {
        // One text has the ids of all, each 26 characters: neither database takes a list.
        let ids: String = pairs.iter().map(|(a, b)| format!("{a}{b}")).collect();
        let count = i64::try_from(pairs.len()).unwrap_or(i64::MAX);
        let reader = self.reader(grants);
        sql!(select_link!(
            "(v.a, v.b) IN ( \
                 WITH RECURSIVE asked(n) AS ( \
                     SELECT 0 UNION ALL SELECT n + 1 FROM asked WHERE n + 1 < $12) \
                 SELECT substr($11, 52 * n + 1, 26), substr($11, 52 * n + 27, 26) FROM asked) AND "
        ))
        .bind("")
        .bind("")
        .bind(reader.is_server_admin)
        .bind(reader.user)
        .bind(reader.only)
        .bind(reader.now)
        .bind(None::<String>)
        .bind(None::<String>)
        .bind(None::<String>)
        .bind(count)
        .bind(ids)
        .bind(count)
        .fetch_all(&self.db)
        .await
    }

    /// Pairs with a device that one saw beside it in a network, and sees no more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links_lost(
        &self,
        grants: &Grants,
        device: DeviceId,
        network: NetworkId,
    ) -> Result<Vec<Ends>> {
        let reader = self.reader(grants);
        let rows: Vec<(String, String)> = sql!(select_lost!(
            "pair_verdicts p JOIN devices one ON one.id = p.a JOIN devices other ON other.id = p.b \
             WHERE (p.a = $1 OR p.b = $1)",
            "AND x.network_id = $6 "
        ))
        .bind(device.to_string())
        .bind(reader.is_server_admin)
        .bind(reader.user)
        .bind(reader.only)
        .bind(reader.now)
        .bind(network.to_string())
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(|(a, b)| Ok((text::parsed("a", a)?, text::parsed("b", b)?))).collect()
    }

    /// Whether one may have seen a pair, and sees it no more; the smaller id first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_link_lost(&self, grants: &Grants, (a, b): Ends) -> Result<bool> {
        let reader = self.reader(grants);
        let row: Option<(String, String)> =
            sql!(select_lost!("devices one JOIN devices other ON other.id = $6 WHERE one.id = $1", ""))
                .bind(a.to_string())
                .bind(reader.is_server_admin)
                .bind(reader.user)
                .bind(reader.only)
                .bind(reader.now)
                .bind(b.to_string())
                .fetch_optional(&self.db)
                .await?;
        Ok(row.is_some())
    }

    /// Hours of a pair that one sees, the newest first, from `since` (epoch milliseconds) on.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] for a pair that one does not see, or when the database fails.
    pub async fn link_history(
        &self,
        grants: &Grants,
        (a, b): (DeviceId, DeviceId),
        since: i64,
        page: &Page,
    ) -> Result<Listed<PairHour>> {
        let filter = Filter { device: Some(a), peer: Some(b), ..Filter::default() };
        if self.links_page(grants, &filter, &Page::first(1)).await?.rows.is_empty() {
            return Err(IndexError::NotFound { what: "link", name: format!("{a}/{b}"), hint: "" });
        }
        // What is no number is no place of this list: nothing comes after it.
        let after = match page.after.0.as_str() {
            "" => i64::MAX,
            hour => hour.parse().unwrap_or(i64::MIN),
        };
        let rows = sql!(
            "SELECT hour, MAX(CASE device WHEN $1 THEN tx_bytes ELSE rx_bytes END) AS there_bytes, \
                 MAX(CASE device WHEN $1 THEN rx_bytes ELSE tx_bytes END) AS back_bytes, \
                 MAX(relayed_bytes) AS relayed_bytes, \
                 CAST(SUM(rtts) AS BIGINT) AS rtts, CAST(SUM(rtt_sum_us) AS BIGINT) AS rtt_sum_us, \
                 CAST(SUM(pings) AS BIGINT) AS pings, CAST(SUM(lost) AS BIGINT) AS lost \
             FROM link_hours WHERE ((device = $1 AND peer = $2) OR (device = $2 AND peer = $1)) \
             AND hour >= $3 AND hour < $4 GROUP BY hour ORDER BY hour DESC LIMIT $5",
        )
        .bind(a.to_string())
        .bind(b.to_string())
        .bind(since)
        .bind(after)
        .bind(page.rows())
        .fetch_all(&self.db)
        .await?;
        Ok(page.cut(rows, |hour: &PairHour| (hour.hour.to_string(), String::new())))
    }
}

/// Rows of [`Index::links_page`].
pub(super) async fn links(
    target: Target<'_>,
    reader: &Reader,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Link>> {
    let statement = match (filter.device, filter.peer) {
        (Some(_), Some(_)) => sql!(select_link!("v.a IN ($8, $9) AND v.b IN ($8, $9) AND ")),
        (Some(_), None) => sql!(select_link!("(v.a = $8 OR v.b = $8) AND ")),
        (None, _) if filter.network.is_some() => sql!(select_link!(
            "v.a IN (SELECT m.device_id FROM memberships m WHERE m.network_id = $7 AND m.state = 'active') AND "
        )),
        (None, Some(_) | None) => sql!(select_link!("")),
    };
    statement
        .bind(page.after.0.clone())
        .bind(page.after.1.clone())
        .bind(reader.is_server_admin)
        .bind(reader.user.clone())
        .bind(reader.only.clone())
        .bind(reader.now)
        .bind(filter.network_text())
        .bind(filter.device.map(|device| device.to_string()))
        .bind(filter.peer.map(|device| device.to_string()))
        .bind(page.rows())
        .fetch_all(target)
        .await
}
