//! One try after the other to send a delivery, and what became of each.
//!
//! 1. The oldest delivery of each webhook that is due is sent; it stays `pending` until it is known what became of it, so one
//!    that was under way when the server stopped is sent again, under the same id.
//! 2. Failed, it waits longer each time, and others go before it meanwhile. After [`TRIES_MAX`] it is given up.
//! 3. A webhook that nothing arrived at for [`FAILING_MS`] is switched off, and one whose receiver says that it is gone.

use super::deliveries::DeliveryState;
use super::events::HookEvent;
use super::{Target, Webhook};
use crate::index::Index;
use crate::index::audit::Actor;
use crate::index::authority::Need;
use crate::index::db::{FromRow, Row, Transaction, sql};
use crate::index::error::{IndexError, Result};
use crate::index::text;
use crate::reach::Reach;

/// Tries of one delivery. The waits between ten of them add up to 22 hours: a receiver may be down for a night.
pub const TRIES_MAX: i64 = 10;

/// The first wait, in milliseconds: a receiver that restarts is back by then. Each further one is four times as long.
const FIRST_WAIT_MS: i64 = 10_000;

/// The longest wait, in milliseconds: 6 hours, so that one that comes back in the night has its messages in the morning.
const WAIT_MAX_MS: i64 = 6 * 3_600_000;

/// For how long nothing may arrive before a webhook is switched off, in milliseconds: 5 days, longer than a weekend with
/// holidays.
pub const FAILING_MS: i64 = 5 * 24 * 3_600_000;

/// Longest text about a failure that is kept, in characters.
const ERROR_MAX: usize = 200;

/// A delivery that is to be sent now.
#[derive(Debug)]
pub struct Due {
    /// Row id.
    pub id: String,
    /// Row id of its webhook.
    pub webhook: String,
    /// What is sent.
    pub payload: String,
    /// How far it may go.
    pub reach: Reach,
    event: HookEvent,
    tries: i64,
    target: String,
}

impl FromRow for Due {
    fn from_row(row: &Row) -> Result<Self> {
        let anywhere: bool = row.get("anywhere")?;
        Ok(Self {
            id: row.get("id")?,
            webhook: row.get("webhook_id")?,
            payload: row.get("payload")?,
            reach: if anywhere { Reach::Anywhere } else { Reach::Public },
            event: text::column(row, "event")?,
            tries: row.get("tries")?,
            target: row.get("target")?,
        })
    }
}

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, if one came.
    pub status: Option<u16>,
    /// Why none came.
    pub error: Option<String>,
}

impl Answer {
    /// Whether the message arrived.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the receiver says that it wants no more: 410, by Standard Webhooks.
    fn is_unwanted(&self) -> bool {
        self.status == Some(410)
    }

    /// Why it did not arrive, in words.
    fn why(&self) -> Option<String> {
        let why = match (self.status, &self.error) {
            _ if self.is_good() => return None,
            (Some(status @ 300..400), _) => format!("status {status}: nobody is followed elsewhere"),
            (Some(status), _) => format!("status {status}"),
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".to_owned(),
        };
        Some(why.chars().filter(|c| !c.is_control()).take(ERROR_MAX).collect())
    }
}

impl Index {
    /// The oldest delivery that is due of each webhook, those that wait longest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_deliveries(&self, limit: usize) -> Result<Vec<Due>> {
        sql!(
            "SELECT d.*, w.target, w.anywhere FROM webhooks w JOIN webhook_deliveries d ON d.webhook_id = w.id \
             WHERE w.disabled_at IS NULL AND d.id = (SELECT MIN(x.id) FROM webhook_deliveries x \
                 WHERE x.webhook_id = w.id AND x.state = 'pending' AND x.next_at <= $1) \
             ORDER BY d.next_at, d.id LIMIT $2"
        )
        .bind(self.clock.now_ms())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.db)
        .await
    }

    /// When each webhook has something to send next, in epoch milliseconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting_deliveries(&self) -> Result<Vec<(String, i64)>> {
        sql!(
            "SELECT w.id, MIN(d.next_at) FROM webhooks w JOIN webhook_deliveries d ON d.webhook_id = w.id \
             WHERE w.disabled_at IS NULL AND d.state = 'pending' GROUP BY w.id"
        )
        .fetch_all(&self.db)
        .await
    }

    /// Where a delivery goes, and what it is signed with.
    ///
    /// # Errors
    /// [`IndexError::Unreadable`] when it was sealed under another `fleet.key`.
    pub fn target_of(&self, due: &Due) -> Result<Target> {
        self.unseal_target(&due.webhook, &due.target)
    }

    /// Writes what became of a try; returns what the delivery is now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_answer(&self, due: &Due, answer: &Answer) -> Result<DeliveryState> {
        let now = self.clock.now_ms();
        let tries = due.tries + 1;
        // Whoever tries whether messages arrive wants to know it now.
        let is_last = tries >= TRIES_MAX || due.event == HookEvent::Test || answer.is_unwanted();
        let (state, next_at) = match (answer.is_good(), is_last) {
            (true, _) => (DeliveryState::Delivered, now),
            (false, true) => (DeliveryState::Failed, now),
            (false, false) => (DeliveryState::Pending, now + wait_ms(tries, getrandom::u32()?)),
        };
        let mut transaction = self.db.begin_write().await?;
        sql!(
            "UPDATE webhook_deliveries SET state = $2, tries = $3, next_at = $4, last_status = $5, last_error = $6, \
             done_at = $7 WHERE id = $1 AND state = 'pending'"
        )
        .bind(due.id.clone())
        .bind(state.as_str())
        .bind(tries)
        .bind(next_at)
        .bind(answer.status.map(i64::from))
        .bind(answer.why())
        .bind((state != DeliveryState::Pending).then_some(now))
        .execute(&mut transaction)
        .await?;
        let since = if answer.is_good() {
            None
        } else if due.event == HookEvent::Test {
            // A test says nothing of how long it has been so.
            failing_since(&mut transaction, &due.webhook).await?
        } else {
            failing_since(&mut transaction, &due.webhook).await?.or(Some(now))
        };
        sql!("UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS DISTINCT FROM $2")
            .bind(due.webhook.clone())
            .bind(since)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        let is_dead = state == DeliveryState::Failed
            && due.event != HookEvent::Test
            && since.is_some_and(|since| now - since >= FAILING_MS);
        if is_dead || answer.is_unwanted() {
            self.switch_off(&due.webhook).await?;
        }
        Ok(state)
    }

    /// Switches a webhook off that nothing arrives at.
    async fn switch_off(&self, id: &str) -> Result<()> {
        let actor = Actor::system();
        let mut draft = self.draft(&actor).await?;
        let (before, _) = match draft.webhook(id).await {
            Ok(found) => found,
            // It was taken away meanwhile.
            Err(IndexError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        draft.must(&Need::Server)?;
        if before.disabled_at.is_some() {
            return Ok(());
        }
        let after = Webhook { disabled_at: Some(draft.now()), ..before.clone() };
        draft.write_webhook("webhook.disable", &before, &after, None).await?;
        draft.commit().await?;
        tracing::warn!(webhook = id, "nothing arrives at a webhook: it was switched off");
        Ok(())
    }
}

async fn failing_since(transaction: &mut Transaction, webhook: &str) -> Result<Option<i64>> {
    sql!("SELECT failing_since FROM webhooks WHERE id = $1 AND failing_since IS NOT NULL")
        .bind(webhook)
        .fetch_optional(transaction)
        .await
}

/// How long a delivery waits after so many tries: four times as long each time, and up to a fourth more by chance, so that
/// those that failed together do not come back together.
fn wait_ms(tries: i64, chance: u32) -> i64 {
    let doublings = u32::try_from((tries - 1).clamp(0, 10)).unwrap_or(0) * 2;
    let wait = FIRST_WAIT_MS.saturating_mul(1 << doublings).min(WAIT_MAX_MS);
    wait + i64::from(chance) % (wait / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_six_hours_and_add_up_to_a_day() {
        let waits: Vec<i64> = (1..TRIES_MAX).map(|tries| wait_ms(tries, 0) / 1_000).collect();
        assert_eq!(waits, [10, 40, 160, 640, 2_560, 10_240, 21_600, 21_600, 21_600]);
        let (least, most): (i64, i64) =
            (waits.iter().sum(), (1..TRIES_MAX).map(|tries| wait_ms(tries, u32::MAX) / 1_000).sum());
        assert!(least / 3_600 == 21 && most / 3_600 <= 27, "{least} {most}");
        assert!((1..100).all(|tries| wait_ms(tries, u32::MAX) < WAIT_MAX_MS * 5 / 4));
    }

    #[test]
    fn an_answer_says_why_it_is_none() {
        let answer = |status, error: &str| {
            Answer { status, error: Some(error.to_owned()).filter(|error| !error.is_empty()) }.why()
        };
        assert_eq!(answer(Some(204), ""), None);
        assert_eq!(answer(Some(500), "").unwrap(), "status 500");
        assert!(answer(Some(302), "").unwrap().contains("followed"));
        assert_eq!(answer(None, &"a\n".repeat(300)).unwrap(), "a".repeat(ERROR_MAX));
        assert_eq!(answer(None, "").unwrap(), "no answer");
    }
}
