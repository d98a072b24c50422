//! Deliveries as people see them: what was sent, what became of it, once more.

use serde::Serialize;
use serde_json::json;

use super::Webhook;
use super::events::{HookEvent, message};
use super::queue::{cut, insert};
use crate::index::Index;
use crate::index::audit::Actor;
use crate::index::db::{FromRow, Row, sql};
use crate::index::draft::Draft;
use crate::index::error::{IndexError, Result};
use crate::index::text::{self, text_enum};

/// For how long a delivery is kept, in milliseconds: 7 days, in which people look into what went wrong.
pub const KEPT_MS: i64 = 7 * 24 * 3_600_000;

text_enum! {
    /// What became of a delivery.
    DeliveryState {
        /// It is tried, or will be.
        Pending = "pending",
        /// It arrived.
        Delivered = "delivered",
        /// It was given up.
        Failed = "failed",
    }
}

/// A delivery as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Row id: the same in each try, as `webhook-id`.
    pub id: String,
    /// What happened.
    pub event: HookEvent,
    /// What is sent.
    pub payload: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub tries: i64,
    /// Epoch milliseconds, when it is tried next, while it is pending.
    pub next_at: i64,
    /// The HTTP status of the last try, if one came.
    pub last_status: Option<i64>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds, when it arrived or was given up.
    pub done_at: Option<i64>,
}

impl FromRow for Delivery {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            event: text::column(row, "event")?,
            payload: row.get("payload")?,
            state: text::column(row, "state")?,
            tries: row.get("tries")?,
            next_at: row.get("next_at")?,
            last_status: row.get("last_status")?,
            last_error: row.get("last_error")?,
            created_at: row.get("created_at")?,
            done_at: row.get("done_at")?,
        })
    }
}

impl Index {
    /// Has a message sent that says nothing but that messages arrive. It is tried once.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an administrator of its network asks;
    /// [`IndexError::State`] when it is off.
    pub async fn test_webhook(&self, id: &str, actor: &Actor) -> Result<Delivery> {
        let mut draft = self.draft(actor).await?;
        let webhook = draft.open_webhook(id).await?;
        let data = json!({ "webhook_id": webhook.id, "description": webhook.description });
        let (now, delivery) = (draft.now(), draft.new_id()?);
        let payload = message(HookEvent::Test, now, &data)?;
        insert(draft.connection(), &delivery, (&webhook.id, HookEvent::Test), payload, now).await?;
        cut(draft.connection(), &webhook.id).await?;
        draft.record_webhook("webhook.test", Some(&webhook), Some(&webhook)).await?;
        let delivery = draft.delivery(&webhook, &delivery).await?;
        draft.commit().await?;
        Ok(delivery)
    }

    /// Has a message sent once more, whatever became of it, with all its tries.
    ///
    /// # Errors
    /// As for [`Self::test_webhook`].
    pub async fn retry_delivery(&self, webhook: &str, id: &str, actor: &Actor) -> Result<Delivery> {
        let mut draft = self.draft(actor).await?;
        let webhook = draft.open_webhook(webhook).await?;
        let delivery = draft.delivery(&webhook, id).await?;
        let now = draft.now();
        sql!(
            "UPDATE webhook_deliveries SET state = 'pending', tries = 0, next_at = $2, done_at = NULL WHERE id = $1"
        )
        .bind(delivery.id.clone())
        .bind(now)
        .execute(draft.connection())
        .await?;
        draft.record_webhook("webhook.retry", Some(&webhook), Some(&webhook)).await?;
        let delivery = draft.delivery(&webhook, id).await?;
        draft.commit().await?;
        Ok(delivery)
    }

    /// Forgets deliveries that are older than [`KEPT_MS`]; says how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_deliveries(&self) -> Result<u64> {
        let mut transaction = self.db.begin_write().await?;
        let removed = sql!("DELETE FROM webhook_deliveries WHERE created_at < $1")
            .bind(self.clock.now_ms() - KEPT_MS)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(removed)
    }
}

impl Draft<'_> {
    /// The webhook of that id for somebody who has something sent to it.
    async fn open_webhook(&mut self, id: &str) -> Result<Webhook> {
        let (webhook, _) = self.webhook(id).await?;
        self.must(&webhook.need())?;
        if webhook.disabled_at.is_some() {
            return Err(IndexError::State("this webhook is off: switch it on first".to_owned()));
        }
        Ok(webhook)
    }

    async fn delivery(&mut self, webhook: &Webhook, id: &str) -> Result<Delivery> {
        let delivery: Option<Delivery> =
            sql!("SELECT * FROM webhook_deliveries WHERE id = $1 AND webhook_id = $2")
                .bind(id)
                .bind(webhook.id.clone())
                .fetch_optional(self.connection())
                .await?;
        delivery.ok_or_else(|| IndexError::NotFound {
            what: "delivery",
            name: id.to_owned(),
            hint: ": \"lanyard-server webhook log\" shows what there is",
        })
    }

    /// What a webhook that is off was to send is not sent.
    pub(super) async fn give_up(&mut self, webhook: &str) -> Result<()> {
        let now = self.now();
        sql!(
            "UPDATE webhook_deliveries SET state = 'failed', done_at = $2, last_error = 'the webhook was switched off' \
             WHERE webhook_id = $1 AND state = 'pending'"
        )
        .bind(webhook)
        .bind(now)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}
