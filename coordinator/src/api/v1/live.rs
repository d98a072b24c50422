//! `/live`: what changes, as it happens, for who may see it then (server-sent events).
//!
//! Each listener has a task that follows the outbox. It looks up anew what a change is about, with what its user may see at
//! that moment, so nothing goes out that was taken from them meanwhile. The outbox keeps a day: a listener that comes back
//! goes on after the last row it heard of, or is told that its place is lost and takes a new snapshot. A listener that does
//! not read is dropped, and nobody waits for it.
//!
//! Reports of links are no rows of the outbox (`index::flow`): once a second each listener is told how the pairs are now that
//! reported since, each once, and so many of them at the most. The rest follows a second later, as it is then.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use lanyard_wire::ids::DeviceId;
use serde::Deserialize;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use utoipa::IntoParams;

use super::caller::{Caller, Pass};
use super::page::Asked;
use super::places::{Place, Places};
use super::problem::Problem;
use crate::api::Web;
use crate::index::authority::Grants;
use crate::index::flow::Ends;
use crate::index::lists::pairs::Link;
use crate::index::lists::{Filter, PAGE_MAX, Page};
use crate::index::outbox::{Change, Published};
use crate::index::{Index, IndexError};

mod delta;

use self::delta::{Delta, key};

/// Most listeners of this process.
const LISTENERS_MAX: usize = 512;

/// Most listeners of one user: the windows of a few browsers, and some programs.
const LISTENERS_OF_ONE: usize = 16;

/// Events that wait for a listener who reads slowly.
const QUEUE: usize = 256;

/// How long a listener may leave its queue full.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long what a listener may see is believed to be as it was looked up, while it is told of one change after another.
const FRESH: Duration = Duration::from_secs(1);

/// How often a listener that hears nothing is told so, and whether it may listen still is looked at.
const QUIET: Duration = Duration::from_secs(15);

/// Most rows that are told at once; of several about one thing the last is.
const BATCH: usize = 256;

/// Most rows of the past that are told; whoever missed more takes a new snapshot.
const PAST_MAX: usize = 4_096;

/// How often reports of links are told.
const PULSE: Duration = Duration::from_secs(1);

/// Most pairs of which reports are told at a time.
const REPORTS_MAX: usize = 256;

/// Pairs that are looked up by one statement, and most statements at a time: of those that reported, a listener may see few.
const REPORTS_ASKED: usize = 512;
const REPORTS_LOOKS: usize = 8;

/// Places for listeners.
pub(in crate::api) fn places() -> Places {
    Places::new(LISTENERS_MAX, LISTENERS_OF_ONE)
}

/// Where to go on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// `revision` of the snapshot, or the id of the last event; `Last-Event-ID` goes before it. From now on without.
    after: Option<i64>,
}

/// What changes, as it happens; see docs/api.md
#[utoipa::path(get, path = "/live", params(("Last-Event-ID" = Option<i64>, Header), After),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn follow(
    State(web): State<Web>,
    caller: Caller,
    headers: HeaderMap,
    Asked(After { after }): Asked<After>,
) -> Result<Response, Problem> {
    let after = match headers.get("last-event-id") {
        None => after,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            Some(id.ok_or_else(|| Problem::query("Last-Event-ID is the id of an event, a number"))?)
        }
    };
    let place = web.listeners.take(&caller.user.id).ok_or_else(|| {
        let detail = format!("there are {LISTENERS_OF_ONE} listeners of yours, or too many of all: end some");
        Problem::new("api.crowded", StatusCode::SERVICE_UNAVAILABLE, detail).after(30)
    })?;
    // Before the outbox is read: nothing falls between the two.
    let rows = caller.index().follow();
    let (oldest, newest) = caller.index().outbox_span().await?;
    let start = after.filter(|after| is_kept(*after, oldest, newest));
    let reports = match start {
        Some(start) => caller.index().reports_until(start).await?,
        None => caller.index().reports_so_far(),
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let follower = Follower {
        own: own_devices(caller.index(), &caller.grants).await?,
        is_shifted: false,
        looked: Instant::now(),
        index: caller.shared_index(),
        pass: caller.pass,
        grants: caller.grants,
        cursor: start.unwrap_or(newest),
        reports,
        sender,
        _place: place,
    };
    let telling = follower.run(rows, after.is_some() && start.is_none());
    let mut stopping = web.stopping.clone();
    tokio::spawn(async move {
        // Without a server that says so nobody stops.
        let stopped = async {
            if stopping.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! { () = telling => {}, () = stopped => {} }
    });
    let events = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Event>| {
        receiver.recv().await.map(|event| (Ok::<_, Infallible>(event), receiver))
    });
    // A proxy that gathers what comes would keep it until there is enough.
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(KeepAlive::new().interval(QUIET))).into_response())
}

/// Whether every row after that one is still there.
const fn is_kept(after: i64, oldest: i64, newest: i64) -> bool {
    after == newest || (oldest > 0 && after >= oldest - 1 && after < newest)
}

/// Devices of the user who listens: when one is not theirs any more, they have to hear it.
async fn own_devices(index: &Index, grants: &Grants) -> Result<BTreeSet<DeviceId>, IndexError> {
    let filter = Filter { user: Some(grants.user.clone()), ..Filter::default() };
    let (mut own, mut page) = (BTreeSet::new(), Page::first(PAGE_MAX));
    loop {
        let found = index.devices_page(grants, &filter, &page).await?;
        own.extend(found.rows.into_iter().map(|device| device.id));
        let Some(after) = found.next else { return Ok(own) };
        page.after = after;
    }
}

/// Why a listener hears no more.
enum End {
    /// It may not listen any more, or does not.
    Over,
    /// The database failed; it may come back and go on.
    Failed(IndexError),
}

impl From<IndexError> for End {
    fn from(error: IndexError) -> Self {
        Self::Failed(error)
    }
}

/// What one listener is told.
struct Follower {
    index: Arc<Index>,
    pass: Pass,
    /// What its user could see when that was last looked at.
    grants: Grants,
    own: BTreeSet<DeviceId>,
    /// Whether a change gave its user something to see, or took it, of which no row tells.
    is_shifted: bool,
    /// When that was last looked at.
    looked: Instant,
    /// The last row it was told of, or would have been.
    cursor: i64,
    /// The place of the last pair whose report it was told of, or would have been.
    reports: u64,
    sender: mpsc::Sender<Event>,
    _place: Place,
}

impl Follower {
    async fn run(mut self, rows: broadcast::Receiver<Published>, is_lost: bool) {
        match self.tell_all(rows, is_lost).await {
            Ok(()) | Err(End::Over) => {}
            Err(End::Failed(error)) => {
                tracing::warn!(%error, code = error.code(), "a listener could not be told what changed");
            }
        }
    }

    async fn tell_all(&mut self, mut rows: broadcast::Receiver<Published>, is_lost: bool) -> Result<(), End> {
        if is_lost {
            self.reset().await?;
        } else {
            self.tell_past().await?;
        }
        let mut quiet = interval(QUIET);
        quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sender = self.sender.clone();
        loop {
            tokio::select! {
                row = rows.recv() => {
                    let mut batch = match row {
                        Ok(row) => vec![row],
                        Err(RecvError::Lagged(_)) => return self.lose_place().await,
                        Err(RecvError::Closed) => return Ok(()),
                    };
                    while batch.len() < BATCH {
                        match rows.try_recv() {
                            Ok(row) => batch.push(row),
                            Err(TryRecvError::Lagged(_)) => return self.lose_place().await,
                            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                        }
                    }
                    self.tell(batch).await?;
                }
                _ = pulse.tick() => self.tell_reports().await?,
                _ = quiet.tick() => drop(self.look().await?),
                () = sender.closed() => return Ok(()),
            }
        }
    }

    /// Tells the rows since the listener was here last.
    async fn tell_past(&mut self) -> Result<(), End> {
        let (mut told, mut is_shifted) = (0, false);
        loop {
            let rows = self.index.changes_after(self.cursor).await?;
            if rows.is_empty() {
                // What was taken from its user meanwhile, the listener may have seen before.
                return if is_shifted { self.reset().await } else { Ok(()) };
            }
            is_shifted |= rows.iter().any(|(_, change)| self.shifts_sight(change));
            told += rows.len();
            if told > PAST_MAX {
                self.cursor = self.index.outbox_span().await?.1;
                return self.reset().await;
            }
            self.tell(rows.into_iter().map(|(id, change)| (id, Arc::new(change))).collect()).await?;
        }
    }

    /// Whether a change may be one of what the listener's user may see at all.
    fn shifts_sight(&self, change: &Change) -> bool {
        match change {
            Change::NetworkGone { .. } => true,
            Change::Role { user, .. } | Change::User { id: user } => *user == self.grants.user,
            // It may have come into their hands, or have been taken out of them; who sees every device sees it still.
            Change::Device { .. } => !self.grants.is_server_admin || self.grants.only.is_some(),
            Change::Network(_)
            | Change::Member(_)
            | Change::MemberGone { .. }
            | Change::Invite { .. }
            | Change::Presence { .. }
            | Change::Link { .. }
            | Change::TryAgain { .. }
            | Change::About { .. }
            | Change::Path { .. }
            | Change::Event { .. }
            | Change::Setting { .. } => false,
        }
    }

    /// Tells what a batch of rows means to the listener.
    async fn tell(&mut self, batch: Vec<Published>) -> Result<(), End> {
        let batch: Vec<Published> = batch.into_iter().filter(|(id, _)| *id > self.cursor).collect();
        let Some(last) = batch.last().map(|(id, _)| *id) else { return Ok(()) };
        self.look().await?;
        // What a thing is now is told once, where it changed last.
        let mut seen = BTreeSet::new();
        let mut news: Vec<&Published> =
            batch.iter().rev().filter(|(_, change)| seen.insert(key(change))).collect();
        news.reverse();
        for (id, change) in news {
            let deltas = self.deltas(change).await?;
            let count = deltas.len();
            for (place, delta) in deltas.into_iter().enumerate() {
                let event = Event::default().event(delta.kind).data(delta.data);
                // The number comes with the last of a row: who is cut off before hears the row again.
                let event = if place + 1 == count { event.id(id.to_string()) } else { event };
                if !self.offer(event).await? {
                    // What is left of this row was looked up with what was seen before; it takes a new snapshot anyway.
                    break;
                }
            }
        }
        self.cursor = last;
        if std::mem::take(&mut self.is_shifted) { self.reset().await } else { Ok(()) }
    }

    /// Tells of the pairs that reported since, as far as this time allows.
    async fn tell_reports(&mut self) -> Result<(), End> {
        let mut told = 0;
        for look in 0..REPORTS_LOOKS {
            let news = self.index.reported_after(self.reports, REPORTS_ASKED);
            if news.is_empty() {
                break;
            }
            if look == 0 {
                self.look().await?;
            }
            let pairs: Vec<Ends> = news.iter().map(|(_, ends)| *ends).collect();
            let seen = self.index.links_among(&self.grants, &pairs).await?;
            let mut seen: BTreeMap<Ends, Link> = seen.into_iter().map(|link| (link.ends(), link)).collect();
            for (place, ends) in news {
                if let Some(link) = seen.remove(&ends) {
                    if told == REPORTS_MAX {
                        return Ok(());
                    }
                    // Without a number: no row of the outbox is told by it.
                    let delta = Delta::link(link);
                    if !self.offer(Event::default().event(delta.kind).data(delta.data)).await? {
                        return Ok(());
                    }
                    told += 1;
                }
                self.reports = place;
            }
        }
        Ok(())
    }

    /// Tells an event, unless what the listener may see became another while it read slowly; it is told to begin anew then.
    async fn offer(&mut self, event: Event) -> Result<bool, End> {
        let has_room = self.sender.capacity() > 0;
        if !has_room {
            // Only this follower fills the queue: the place that gets free stays so.
            match timeout(PATIENCE, self.sender.reserve()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return Err(End::Over),
            }
        }
        if (!has_room || self.looked.elapsed() >= FRESH) && self.look().await? {
            return Ok(false);
        }
        self.send(event).await?;
        Ok(true)
    }

    /// Looks whether the listener may listen still, and whether it may see what it saw; says whether that is another now.
    async fn look(&mut self) -> Result<bool, End> {
        let Some((_, grants, _)) = self.pass.look(&self.index).await? else { return Err(End::Over) };
        self.looked = Instant::now();
        if grants == self.grants {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.grants, grants);
        for network in before.roles.keys() {
            if before.role(*network).is_some() && self.grants.role(*network).is_none() {
                let gone = Delta::gone("network", &network.to_string());
                self.send(Event::default().event(gone.kind).data(gone.data)).await?;
            }
        }
        self.own = own_devices(&self.index, &self.grants).await?;
        self.reset().await?;
        Ok(true)
    }

    /// Tells the listener to take a new snapshot.
    async fn reset(&self) -> Result<(), End> {
        self.send(Event::default().event("reset").id(self.cursor.to_string()).data("{}")).await
    }

    /// The listener is too far behind: it takes a new snapshot, and comes back from there.
    async fn lose_place(&self) -> Result<(), End> {
        self.reset().await?;
        Err(End::Over)
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        match timeout(PATIENCE, self.sender.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_while_every_row_after_it_is_there() {
        for (after, kept) in
            [(9, true), (10, true), (15, true), (20, true), (8, false), (21, false), (-1, false)]
        {
            assert_eq!(is_kept(after, 10, 20), kept, "{after}");
        }
        assert!(is_kept(0, 0, 0) && !is_kept(7, 0, 0), "an empty outbox has forgotten what there was");
    }
}
