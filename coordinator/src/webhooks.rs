//! The courier: sends to webhooks what happens, in order, and again until it arrived.
//!
//! 1. It wakes when the outbox has a row, when a delivery is due again, and when a try ended.
//! 2. INDEX makes deliveries of the rows after its cursor (`index::webhooks::queue`).
//! 3. Of each webhook that has none under way the oldest due delivery is sent: signed now, to an address that is looked up now.
//! 4. What came back is written down (`index::webhooks::tries`). Who answers slowly or not at all holds up nobody but itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::http::{Bounds, Http, Longer};
use crate::index::outbox::Published;
use crate::index::webhooks::deliveries::DeliveryState;
use crate::index::webhooks::tries::{Answer, Due};
use crate::index::{Index, Result};

/// How long a receiver may take to answer: it is to take the message down, and work on it afterwards.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer that are read: its status is all that counts, and what it says is kept nowhere.
const ANSWER_MAX: usize = 1 << 10;

/// Most deliveries under way at a time. Each takes a connection for [`PATIENCE`] at most.
const UNDER_WAY_MAX: usize = 8;

/// After how long the database is asked again when it failed.
const AGAIN: Duration = Duration::from_secs(5);

/// How often old deliveries are removed, and how far the outbox was read is written down even if nobody heard of it.
const TIDY: Duration = Duration::from_secs(900);

/// Sends to webhooks.
#[derive(Debug)]
pub struct Courier {
    index: Arc<Index>,
    http: Arc<Http>,
    /// The last outbox row that was read; `None` before it is known.
    cursor: Option<i64>,
    /// Up to which row that is written down.
    kept: i64,
    under_way: JoinSet<String>,
    /// Webhooks that have a delivery under way.
    busy: BTreeSet<String>,
}

impl Courier {
    /// Takes up where the last one stopped; `patience` is how long a receiver may take.
    #[must_use]
    pub fn new(index: Arc<Index>, patience: Duration) -> Self {
        let bounds = Bounds { patience, answer_max: ANSWER_MAX, longer: Longer::Cut };
        Self {
            index,
            http: Arc::new(Http::new(bounds)),
            cursor: None,
            kept: 0,
            under_way: JoinSet::new(),
            busy: BTreeSet::new(),
        }
    }

    /// Sends until `stop` turns true. What is under way then is sent again by the next one.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let rows = self.index.follow();
        tokio::select! {
            () = self.work(rows) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn work(&mut self, mut rows: broadcast::Receiver<Published>) {
        let mut tidy = interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = match self.turn().await {
                Ok(wake) => wake,
                Err(error) => {
                    tracing::warn!(%error, code = error.code(), "webhooks have to wait for the database");
                    Some(AGAIN)
                }
            };
            let wake = wake.map(|wait| Instant::now() + wait);
            tokio::select! {
                row = rows.recv() => {
                    if matches!(row, Err(RecvError::Closed)) {
                        return;
                    }
                    // All that is there is read at once.
                    while !matches!(rows.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
                }
                Some(ended) = self.under_way.join_next() => self.land(ended),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = tidy.tick() => self.tidy().await,
            }
        }
    }

    /// Reads the outbox and starts what is due; says after how long something else will be.
    ///
    /// # Errors
    /// When the database fails; what was begun goes on.
    pub async fn turn(&mut self) -> Result<Option<Duration>> {
        self.read().await?;
        let room = UNDER_WAY_MAX.saturating_sub(self.under_way.len());
        if room == 0 {
            return Ok(None);
        }
        // Those of busy webhooks come along, and are passed over.
        let due = self.index.due_deliveries(room + self.busy.len()).await?;
        let due: Vec<Due> = due.into_iter().filter(|due| !self.busy.contains(&due.webhook)).collect();
        for due in due.into_iter().take(room) {
            self.busy.insert(due.webhook.clone());
            let (index, http) = (Arc::clone(&self.index), Arc::clone(&self.http));
            self.under_way.spawn(async move {
                let answer = carry(&index, &http, &due).await;
                note(&index, &due, &answer).await;
                due.webhook
            });
        }
        let waiting = self.index.waiting_deliveries().await?;
        let free = waiting.into_iter().filter(|(webhook, _)| !self.busy.contains(webhook));
        let next = free.map(|(_, at)| at).min();
        // With every place taken, the next one that gets free wakes us.
        let has_room = self.under_way.len() < UNDER_WAY_MAX;
        Ok(next.filter(|_| has_room).map(|at| {
            Duration::from_millis(u64::try_from(at.saturating_sub(self.index.now_ms())).unwrap_or(0))
        }))
    }

    /// Works until nothing is due and nothing under way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(&mut self) -> Result<()> {
        loop {
            self.turn().await?;
            let Some(ended) = self.under_way.join_next().await else { return Ok(()) };
            self.land(ended);
        }
    }

    async fn read(&mut self) -> Result<()> {
        let mut cursor = match self.cursor {
            Some(cursor) => cursor,
            None => {
                self.kept = self.index.webhook_cursor().await?;
                self.kept
            }
        };
        loop {
            let read = self.index.make_deliveries(cursor).await?;
            cursor = read.cursor;
            self.cursor = Some(cursor);
            if read.made > 0 {
                self.kept = cursor;
            }
            if !read.has_more {
                return Ok(());
            }
        }
    }

    fn land(&mut self, ended: core::result::Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(webhook) => {
                self.busy.remove(&webhook);
            }
            Err(error) => {
                tracing::error!(%error, "a delivery failed in a way nobody foresaw");
                // Whose it was is not known: nobody is waited for any more, and at worst something is sent twice.
                self.busy.clear();
            }
        }
    }

    async fn tidy(&mut self) {
        let pruned = self.index.prune_deliveries().await.map(drop);
        let kept = match self.cursor.filter(|cursor| *cursor > self.kept) {
            Some(cursor) => self.index.keep_webhook_cursor(cursor).await.map(|()| self.kept = cursor),
            None => Ok(()),
        };
        for done in [pruned, kept] {
            if let Err(error) = done {
                tracing::warn!(%error, code = error.code(), "webhooks could not be tidied up");
            }
        }
    }
}

/// Sends a delivery once.
async fn carry(index: &Index, http: &Http, due: &Due) -> Answer {
    let target = match index.target_of(due) {
        Ok(target) => target,
        Err(error) => return Answer { status: None, error: Some(error.to_string()) },
    };
    // The second is that of this try, so that a receiver can refuse what is old; the id is the same in each.
    let timestamp = index.now_ms().div_euclid(1_000);
    let head = vec![
        ("webhook-id", due.id.clone()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", target.secret.sign(&due.id, timestamp, &due.payload)),
    ];
    match http.post_json(&target.url, due.reach, head, due.payload.clone()).await {
        Ok(reply) => Answer { status: Some(reply.status), error: None },
        Err(error) => Answer { status: None, error: Some(error) },
    }
}

/// Writes down what became of it, however long the database takes: without that it would be sent again at once.
async fn note(index: &Index, due: &Due, answer: &Answer) {
    loop {
        match index.note_answer(due, answer).await {
            Ok(state) => {
                let outcome = match state {
                    DeliveryState::Pending => "tried",
                    DeliveryState::Delivered => "delivered",
                    DeliveryState::Failed => "failed",
                };
                metrics::counter!("lanyard_index_webhook_tries_total", "outcome" => outcome).increment(1);
                tracing::debug!(webhook = %due.webhook, delivery = %due.id, outcome, "sent to a webhook");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "what became of a delivery could not be written");
                sleep_until(Instant::now() + AGAIN).await;
            }
        }
    }
}
