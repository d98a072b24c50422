//! How pairs of devices reach each other, as they reported: the latest for each pair.
//!
//! A device is believed about itself and a peer with which it takes part in a network, and about nobody else; CHECKPOINT
//! checks that in memory, this once more in the transaction that writes. Nobody's decision: no audit, no revision.

use lanyard_wire::checkpoint::PairVerdict;
use lanyard_wire::handshake::Method;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::names::DeviceName;
use serde::Serialize;

use super::Index;
use super::db::{FromRow, Row, sql};
use super::error::Result;
use super::outbox::{self, Change};
use super::text;

/// For how long a verdict is kept, in milliseconds: 30 days, and as long as there are hours of its pair.
pub const KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// How often a verdict that says the same is written again, in milliseconds: an hour.
const REPEATED_MS: i64 = 3_600_000;

/// How a pair was when one of its ends last reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The end that reported: "here" in the code.
    #[serde(with = "text")]
    pub reporter: DeviceId,
    /// Its name.
    #[serde(with = "text")]
    pub reporter_name: DeviceName,
    /// The other end: "there" in the code.
    #[serde(with = "text")]
    pub peer: DeviceId,
    /// Its name.
    #[serde(with = "text")]
    pub peer_name: DeviceName,
    /// The words of `lanyard why --json`.
    pub code: String,
    /// The plan of the attempt, if there was one.
    pub plan: Option<String>,
    /// How long the attempt took, in milliseconds.
    pub took_ms: i64,
    /// When it was reported, in epoch milliseconds.
    pub at: i64,
}

/// A plan in one word, as `lanyard why --json` has it.
const fn word(method: Method) -> &'static str {
    match method {
        Method::Plain => "plain",
        Method::Relay => "relay",
        Method::Fresh => "fresh",
        Method::Open { .. } => "open",
        Method::Guess { .. } => "guess",
        Method::Predict { .. } => "predict",
        Method::Connect => "connect",
        Method::Accept => "accept",
    }
}

impl FromRow for Pair {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            reporter: text::column(row, "reporter")?,
            reporter_name: text::column(row, "reporter_name")?,
            peer: text::column(row, "peer")?,
            peer_name: text::column(row, "peer_name")?,
            code: row.get("code")?,
            plan: row.get("plan")?,
            took_ms: row.get("took_ms")?,
            at: row.get("at")?,
        })
    }
}

impl Index {
    /// Writes what devices reported, all in one transaction; says of how many pairs something was written.
    ///
    /// Pairs that share no network are skipped, and what was said within the hour before. What is older than [`KEPT_MS`] goes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_verdicts(&self, reports: &[(DeviceId, PairVerdict)]) -> Result<u64> {
        let now = self.clock.now_ms();
        let mut written = 0;
        let mut transaction = self.db.begin_write().await?;
        for (reporter, verdict) in reports {
            let (a, b) = (reporter.min(&verdict.peer), reporter.max(&verdict.peer));
            let changed = sql!(
                "INSERT INTO pair_verdicts (a, b, reporter, code, plan, took_ms, at) \
                 SELECT $1, $2, $3, $4, $5, $6, $7 WHERE $1 <> $2 AND EXISTS ( \
                     SELECT 1 FROM memberships one JOIN memberships other ON one.network_id = other.network_id \
                     WHERE one.device_id = $1 AND other.device_id = $2 \
                     AND one.state = 'active' AND other.state = 'active') \
                 ON CONFLICT (a, b) DO UPDATE SET reporter = excluded.reporter, code = excluded.code, \
                     plan = excluded.plan, took_ms = excluded.took_ms, at = excluded.at \
                 WHERE pair_verdicts.at <= excluded.at - $8 OR (pair_verdicts.reporter, pair_verdicts.code, \
                     pair_verdicts.took_ms) <> (excluded.reporter, excluded.code, excluded.took_ms) \
                     OR pair_verdicts.plan IS DISTINCT FROM excluded.plan",
            )
            .bind(a.to_string())
            .bind(b.to_string())
            .bind(reporter.to_string())
            .bind(verdict.code.word())
            .bind(verdict.method.map(word))
            .bind(i64::from(verdict.took_ms))
            .bind(now)
            .bind(REPEATED_MS)
            .execute(&mut transaction)
            .await?;
            if changed > 0 {
                outbox::publish((&mut transaction).into(), &Change::Link { a: *a, b: *b }, now).await?;
            }
            written += changed;
        }
        let gone: Vec<(String, String)> = sql!(
            "DELETE FROM pair_verdicts WHERE at < $1 AND NOT EXISTS ( \
                 SELECT 1 FROM link_hours h WHERE h.device = pair_verdicts.a AND h.peer = pair_verdicts.b) \
             AND NOT EXISTS ( \
                 SELECT 1 FROM link_hours h WHERE h.device = pair_verdicts.b AND h.peer = pair_verdicts.a) \
             RETURNING a, b",
        )
        .bind(now.saturating_sub(KEPT_MS))
        .fetch_all(&mut transaction)
        .await?;
        for (a, b) in gone {
            let change = Change::Link { a: text::parsed("a", &a)?, b: text::parsed("b", &b)? };
            outbox::publish((&mut transaction).into(), &change, now).await?;
        }
        transaction.commit().await?;
        self.changed.notify_one();
        Ok(written)
    }

    /// The pairs that were reported, of one device or of all, the newest first; only those that still share a network.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verdicts(&self, of: Option<DeviceId>) -> Result<Vec<Pair>> {
        sql!(
            "SELECT v.reporter, one.name AS reporter_name, other.id AS peer, other.name AS peer_name, v.code, v.plan, \
                 v.took_ms, v.at FROM pair_verdicts v \
             JOIN devices one ON one.id = v.reporter \
             JOIN devices other ON other.id = CASE v.reporter WHEN v.a THEN v.b ELSE v.a END \
             WHERE ($1 IS NULL OR v.a = $1 OR v.b = $1) AND EXISTS ( \
                 SELECT 1 FROM memberships x JOIN memberships y ON x.network_id = y.network_id \
                 WHERE x.device_id = v.a AND y.device_id = v.b AND x.state = 'active' AND y.state = 'active') \
             ORDER BY v.at DESC, v.a, v.b",
        )
        .bind(of.map(|device| device.to_string()))
        .fetch_all(&self.db)
        .await
    }
}
