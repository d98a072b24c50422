//! What has to be sent to webhooks: from the outbox into rows of deliveries.
//!
//! The courier (`crate::webhooks`) reads the outbox from its cursor on. What a webhook hears of becomes a delivery, in the
//! transaction that moves the cursor: nothing is lost or written twice, whenever the server stops. Where nothing was heard the
//! cursor is written from time to time only, and the same rows are read again after a stop, for the same nothing.

use std::collections::BTreeSet;

use lanyard_wire::ids::NetworkId;

use super::deliveries::KEPT_MS;
use super::events::{Happening, HookEvent, Told};
use super::events_from;
use crate::index::Index;
use crate::index::db::{FromRow, Row, Target, Transaction, sql};
use crate::index::error::Result;
use crate::index::text;

/// Most deliveries of one webhook that are kept; the oldest goes, whatever became of it. Some megabytes a webhook at most.
pub const KEPT_MAX: i64 = 1_000;

/// For how long outbox rows wait for the courier, in milliseconds: as long as deliveries themselves are kept.
pub(in crate::index) const BEHIND_MAX_MS: i64 = KEPT_MS;

/// Most rows of the outbox that are read at once.
const BATCH: i64 = 512;

/// The setting that says up to which outbox row deliveries were made.
const CURSOR: &str = "webhook_cursor";

/// A webhook that hears.
struct Listener {
    id: String,
    network: Option<NetworkId>,
    events: BTreeSet<HookEvent>,
    since: i64,
}

impl FromRow for Listener {
    fn from_row(row: &Row) -> Result<Self> {
        let events: String = row.get("events")?;
        Ok(Self {
            id: row.get("id")?,
            network: text::optional_column(row, "network_id")?,
            events: events_from(&events)?,
            since: row.get("since_row")?,
        })
    }
}

impl Listener {
    /// The message for it, if it hears of that.
    fn message(&self, happening: &Happening) -> Option<Result<String>> {
        let is_heard = happening.row > self.since && self.events.contains(&happening.event);
        if is_heard { happening.message(self.network) } else { None }
    }
}

/// How far the courier read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The last row that was read.
    pub cursor: i64,
    /// Whether there may be more.
    pub has_more: bool,
    /// Deliveries that were made of it.
    pub made: u64,
}

impl Index {
    /// Up to which outbox row deliveries were made; on the first start from the newest on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook_cursor(&self) -> Result<i64> {
        let kept: Option<String> =
            sql!("SELECT value FROM settings WHERE key = $1").bind(CURSOR).fetch_optional(&self.db).await?;
        if let Some(cursor) = kept.and_then(|text| text.parse().ok()) {
            return Ok(cursor);
        }
        let mut transaction = self.db.begin_write().await?;
        let newest: i64 = sql!("SELECT COALESCE(MAX(id), 0) FROM outbox").fetch_one(&mut transaction).await?;
        write_cursor(&mut transaction, newest).await?;
        transaction.commit().await?;
        Ok(newest)
    }

    /// Writes how far the outbox was read, where no delivery was made that did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_webhook_cursor(&self, cursor: i64) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        write_cursor(&mut transaction, cursor).await?;
        transaction.commit().await
    }

    /// Reads the outbox after `cursor` and makes deliveries of what webhooks hear of.
    ///
    /// # Errors
    /// When the database fails; nothing was read then.
    pub async fn make_deliveries(&self, cursor: i64) -> Result<Read> {
        // Of one moment: without webhooks nothing is read, and a webhook made afterwards hears of later rows.
        let (listening, newest): (i64, i64) = sql!(
            "SELECT (SELECT COUNT(*) FROM webhooks WHERE disabled_at IS NULL), \
             (SELECT COALESCE(MAX(id), 0) FROM outbox)"
        )
        .fetch_one(&self.db)
        .await?;
        if listening == 0 {
            return Ok(Read { cursor: newest.max(cursor), has_more: false, made: 0 });
        }
        let rows: Vec<Told> =
            sql!("SELECT id, payload, created_at FROM outbox WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(cursor)
                .bind(BATCH)
                .fetch_all(&self.db)
                .await?;
        let Some(last) = rows.last().map(|row| row.id) else {
            return Ok(Read { cursor, has_more: false, made: 0 });
        };
        let mut happenings = Vec::new();
        for row in &rows {
            happenings.extend(self.happening(row).await?);
        }
        let made = if happenings.is_empty() { 0 } else { self.write_deliveries(&happenings, last).await? };
        Ok(Read { cursor: last, has_more: i64::try_from(rows.len()) == Ok(BATCH), made })
    }

    /// Writes what webhooks hear of, and with it that everything up to `last` was read.
    async fn write_deliveries(&self, happenings: &[Happening], last: i64) -> Result<u64> {
        let mut transaction = self.db.begin_write().await?;
        let listeners: Vec<Listener> = sql!(
            "SELECT id, network_id, events, since_row FROM webhooks WHERE disabled_at IS NULL ORDER BY id"
        )
        .fetch_all(&mut transaction)
        .await?;
        let (now, mut made) = (self.clock.now_ms(), 0);
        for listener in &listeners {
            let before = made;
            for happening in happenings {
                let Some(payload) = listener.message(happening) else { continue };
                let id = self.ids.new_text(now)?;
                insert(Target::from(&mut transaction), &id, (&listener.id, happening.event), payload?, now)
                    .await?;
                made += 1;
            }
            if made > before {
                cut(Target::from(&mut transaction), &listener.id).await?;
            }
        }
        if made > 0 {
            write_cursor(&mut transaction, last).await?;
            transaction.commit().await?;
        }
        Ok(made)
    }
}

/// Writes a delivery that is due at once.
pub(super) async fn insert(
    target: Target<'_>,
    id: &str,
    (webhook, event): (&str, HookEvent),
    payload: String,
    now: i64,
) -> Result<()> {
    sql!(
        "INSERT INTO webhook_deliveries (id, webhook_id, event, payload, state, tries, next_at, created_at) \
         VALUES ($1, $2, $3, $4, 'pending', 0, $5, $5)"
    )
    .bind(id)
    .bind(webhook)
    .bind(event.as_str())
    .bind(payload)
    .bind(now)
    .execute(target)
    .await?;
    Ok(())
}

/// Leaves a webhook its newest deliveries.
pub(super) async fn cut(target: Target<'_>, webhook: &str) -> Result<()> {
    sql!(
        "DELETE FROM webhook_deliveries WHERE webhook_id = $1 AND id <= (SELECT x.id FROM webhook_deliveries x \
         WHERE x.webhook_id = $1 ORDER BY x.id DESC LIMIT 1 OFFSET $2)"
    )
    .bind(webhook)
    .bind(KEPT_MAX)
    .execute(target)
    .await?;
    Ok(())
}

async fn write_cursor(transaction: &mut Transaction, cursor: i64) -> Result<()> {
    sql!(
        "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    )
    .bind(CURSOR)
    .bind(cursor.to_string())
    .execute(transaction)
    .await?;
    Ok(())
}
