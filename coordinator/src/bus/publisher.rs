//! INDEX's end of the bus: answers questions and publishes the outbox.
//!
//! One task follows the outbox and tells everybody; one task for each client answers it. A subscriber first listens,
//! then takes a snapshot, then forwards what the snapshot does not contain, so nothing falls between the two. One
//! that cannot keep up gets a new snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use lanyard_wire::checkpoint::{Join, JoinOutcome, JoinRefusal};
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::passwords::{Compared, Passwords};
use super::{Carried, Client, FromIndex, Interest, Reported, ToIndex, Transition};
use crate::health::Health;
use crate::index::devices::{Introduction, Presence};
use crate::index::join::JoinRequest;
use crate::index::outbox::{Change, Published};
use crate::index::{Actor, Index};

/// How often the outbox is looked at for changes of other processes (the command line).
const POLL: Duration = Duration::from_millis(200);

/// How often old outbox rows are removed.
const PRUNE: Duration = Duration::from_secs(3_600);

/// How often members whose time is over are put out: an index tells at once that there are none.
const EXPIRE: Duration = Duration::from_secs(1);

/// After a checkpoint (re)connects its devices have this long to come back before they are written as offline.
///
/// Longer than three keep-alive periods of 25 s, so that a restart writes nothing for devices that stayed.
const SETTLING: Duration = Duration::from_secs(120);

/// Most transitions written in one transaction.
const OFFLINE_BATCH: usize = 512;

/// Serves clients until their channel closes; hours of links are kept for that many milliseconds.
///
/// # Errors
/// When the outbox cannot be read at the start; later failures are reported in `health` and tried again.
pub async fn run(
    index: Arc<Index>,
    mut clients: mpsc::Receiver<Client>,
    health: Health,
    links_kept_ms: i64,
) -> anyhow::Result<()> {
    let mut cursor = index.snapshot().await?.cursor;
    let mut serving = JoinSet::new();
    let passwords = Arc::new(Passwords::default());
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut prune = interval(PRUNE);
    let mut expire = interval(EXPIRE);
    expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            client = clients.recv() => {
                let Some(client) = client else { break };
                serving.spawn(serve(client, Arc::clone(&index), Arc::clone(&passwords)));
            }
            () = index.changed() => cursor = publish(&index, cursor, &health).await,
            _ = poll.tick() => cursor = publish(&index, cursor, &health).await,
            _ = expire.tick() => {
                if let Err(error) = index.expire_members().await {
                    tracing::warn!(%error, code = error.code(), "members whose time is over could not be put out");
                }
            }
            _ = prune.tick() => {
                let links = index.prune_links(links_kept_ms).await;
                for pruned in [index.prune_outbox().await, index.prune_sessions().await, links] {
                    if let Err(error) = pruned {
                        tracing::warn!(%error, code = error.code(), "what is past could not be removed");
                    }
                }
            }
            Some(_) = serving.join_next() => {}
        }
    }
    serving.shutdown().await;
    Ok(())
}

/// Tells subscribers every row after `cursor`; returns the new cursor.
async fn publish(index: &Index, mut cursor: i64, health: &Health) -> i64 {
    loop {
        match index.changes_after(cursor).await {
            Ok(rows) => {
                health.index_answers();
                if rows.is_empty() {
                    return cursor;
                }
                for (id, change) in rows {
                    cursor = id;
                    index.tell((id, Arc::new(change)));
                }
            }
            Err(error) => {
                if health.index_fails(&error.to_string()) {
                    tracing::error!(%error, code = error.code(), "the database cannot be read");
                }
                return cursor;
            }
        }
    }
}

/// What a subscriber is owed.
struct Subscription {
    interest: Interest,
    rows: broadcast::Receiver<Published>,
    cursor: i64,
}

/// Devices heard of since a checkpoint connected.
struct Settling {
    at: Instant,
    online: BTreeSet<DeviceId>,
}

async fn serve(mut client: Client, index: Arc<Index>, passwords: Arc<Passwords>) {
    let mut subscription: Option<Subscription> = None;
    let mut settling: Option<Settling> = None;
    loop {
        tokio::select! {
            message = client.rx.recv() => {
                let Some(message) = message else { return };
                match message {
                    ToIndex::Subscribe { interest } => {
                        subscription = subscribe(&index, &client, interest).await;
                        if interest == Interest::Roster {
                            settling = Some(Settling { at: Instant::now() + SETTLING, online: BTreeSet::new() });
                        }
                    }
                    ToIndex::Presence { transitions } => note(&index, &transitions, settling.as_mut()).await,
                    ToIndex::Verdicts { reports } => keep(&index, &reports).await,
                    ToIndex::Links { reports } => add_up(&index, &reports).await,
                    ToIndex::Join { ask, identity, ip, join } => {
                        let outcome = decide(&index, &passwords, identity, ip, &join).await;
                        catch_up(&index, &mut subscription, &client).await;
                        let _ = client.tx.send(FromIndex::JoinDecided { ask, outcome }).await;
                    }
                    ToIndex::Leave { ask, device, network } => {
                        if leave(&index, device, network).await {
                            catch_up(&index, &mut subscription, &client).await;
                            let _ = client.tx.send(FromIndex::LeaveDone { ask }).await;
                        }
                    }
                }
            }
            row = next_row(&mut subscription) => match row {
                Ok((id, change)) => forward(&mut subscription, &client, id, &change).await,
                Err(RecvError::Lagged(_)) => {
                    let interest = subscription.map_or(Interest::Roster, |subscription| subscription.interest);
                    subscription = subscribe(&index, &client, interest).await;
                }
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(settling.as_ref().map_or_else(far, |settling| settling.at)), if settling.is_some() => {
                if let Some(settling) = settling.take() {
                    settle(&index, &settling.online).await;
                }
            }
        }
    }
}

fn far() -> Instant {
    Instant::now() + SETTLING
}

async fn next_row(subscription: &mut Option<Subscription>) -> Result<Published, RecvError> {
    match subscription {
        Some(subscription) => subscription.rows.recv().await,
        None => std::future::pending().await,
    }
}

/// Sends everything; `None` when the client is gone or the database does not answer (it subscribes again).
async fn subscribe(index: &Index, client: &Client, interest: Interest) -> Option<Subscription> {
    let rows = index.follow();
    let snapshot = loop {
        match index.snapshot().await {
            Ok(snapshot) => break snapshot,
            Err(_) if client.tx.is_closed() => return None,
            Err(error) => {
                tracing::error!(%error, code = error.code(), "the roster cannot be read; trying again");
                sleep_until(Instant::now() + POLL).await;
            }
        }
    };
    if interest == Interest::Roster {
        client.tx.send(FromIndex::SnapshotBegins).await.ok()?;
        for change in snapshot.changes {
            client.tx.send(FromIndex::Changed { change }).await.ok()?;
        }
        client.tx.send(FromIndex::SnapshotEnds).await.ok()?;
    }
    Some(Subscription { interest, rows, cursor: snapshot.cursor })
}

async fn forward(subscription: &mut Option<Subscription>, client: &Client, id: i64, change: &Change) {
    let Some(subscription) = subscription.as_mut().filter(|subscription| id > subscription.cursor) else {
        return;
    };
    subscription.cursor = id;
    let is_wanted = match change {
        Change::NetworkGone { .. } | Change::MemberGone { .. } => true,
        Change::Network(_) | Change::Member(_) | Change::TryAgain { .. } => {
            subscription.interest == Interest::Roster
        }
        Change::Invite { .. }
        | Change::User { .. }
        | Change::Role { .. }
        | Change::Device { .. }
        | Change::Presence { .. }
        | Change::Link { .. }
        | Change::About { .. }
        | Change::Path { .. }
        | Change::Event { .. }
        | Change::Setting { .. } => false,
    };
    if is_wanted {
        let _ = client.tx.send(FromIndex::Changed { change: change.clone() }).await;
    }
}

/// Forwards what was committed up to now.
///
/// Before an answer: a device that hears it is in and asks for its roster must find itself there.
async fn catch_up(index: &Index, subscription: &mut Option<Subscription>, client: &Client) {
    while let Some(cursor) = subscription.as_ref().map(|subscription| subscription.cursor) {
        match index.changes_after(cursor).await {
            Ok(rows) if rows.is_empty() => return,
            Ok(rows) => {
                for (id, change) in rows {
                    forward(subscription, client, id, &change).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "the outbox cannot be read");
                return;
            }
        }
    }
}

/// Takes a device out by its own wish; `false` when the database failed, and the device has to ask again.
async fn leave(index: &Index, device: DeviceId, network: NetworkId) -> bool {
    match index.leave(network, device, &Actor::device(device, None)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%device, %error, code = error.code(), "a device could not leave");
            false
        }
    }
}

async fn decide(
    index: &Index,
    passwords: &Passwords,
    identity: PublicKey,
    ip: std::net::IpAddr,
    join: &Join,
) -> JoinOutcome {
    let refused = |why| JoinOutcome::Refused(why);
    let password = match &join.password {
        Some(password) => match passwords.compare(index, &join.network, password, ip).await {
            Ok(Compared::Right(stored)) => Some(stored),
            Ok(Compared::Wrong) => None,
            Ok(Compared::Later) => return refused(JoinRefusal::Unavailable),
            Err(error) => {
                tracing::error!(%error, code = error.code(), "a password could not be compared");
                return refused(JoinRefusal::Unavailable);
            }
        },
        None => None,
    };
    let prefixes = join.prefixes.iter().filter_map(|(ip, length)| Ipv4Network::new(*ip, *length).ok());
    let request = JoinRequest {
        network: join.network.clone(),
        invite: join.invite,
        password,
        device: Introduction {
            identity,
            wireguard: join.wireguard,
            name: join.name.clone(),
            os: printable(&join.os),
            agent_version: printable(&join.version),
            local_prefixes: prefixes.collect(),
        },
        ip: Some(ip),
    };
    let device = DeviceId::of(&identity);
    match index.join(&request).await {
        Ok(outcome) => {
            match outcome {
                JoinOutcome::Joined { .. } => {
                    tracing::info!(%device, network = %join.network, "a device is in");
                }
                JoinOutcome::Pending { .. } => {
                    tracing::info!(%device, network = %join.network, "a device waits for approval");
                }
                JoinOutcome::Refused(why) => {
                    tracing::debug!(%device, network = %join.network, ?why, "a device was turned down");
                }
            }
            outcome
        }
        Err(error) => {
            tracing::error!(%device, %error, code = error.code(), "a wish to join could not be decided");
            JoinOutcome::Refused(JoinRefusal::Unavailable)
        }
    }
}

/// What strangers send is printed in terminals: no control characters, no other alphabets' tricks.
fn printable(text: &str) -> String {
    text.chars().filter(|character| matches!(character, ' '..='~')).collect()
}

async fn note(index: &Index, transitions: &[Transition], settling: Option<&mut Settling>) {
    if let Some(settling) = settling {
        for transition in transitions {
            if transition.online {
                settling.online.insert(transition.device);
            } else {
                settling.online.remove(&transition.device);
            }
        }
    }
    let list: Vec<Presence> = transitions
        .iter()
        .map(|transition| Presence {
            device: transition.device,
            online: transition.online,
            ip: transition.ip,
        })
        .collect();
    write(index, &list).await;
}

async fn keep(index: &Index, reports: &[Reported]) {
    let list: Vec<_> = reports.iter().map(|report| (report.device, report.verdict)).collect();
    if let Err(error) = index.record_verdicts(&list).await {
        tracing::warn!(%error, code = error.code(), "verdicts of pairs could not be written");
    }
}

async fn add_up(index: &Index, reports: &[Carried]) {
    let list: Vec<_> = reports.iter().map(|report| (report.device, report.link)).collect();
    if let Err(error) = index.record_links(&list).await {
        tracing::warn!(%error, code = error.code(), "reports of links could not be written");
    }
}

/// Writes devices as offline that did not come back with their checkpoint.
async fn settle(index: &Index, online: &BTreeSet<DeviceId>) {
    let written = match index.online_devices().await {
        Ok(devices) => devices,
        Err(error) => {
            tracing::warn!(%error, code = error.code(), "presence could not be settled");
            return;
        }
    };
    let gone: Vec<Presence> = written
        .into_iter()
        .filter(|device| !online.contains(device))
        .map(|device| Presence { device, online: false, ip: None })
        .collect();
    for batch in gone.chunks(OFFLINE_BATCH) {
        write(index, batch).await;
    }
}

async fn write(index: &Index, transitions: &[Presence]) {
    if let Err(error) = index.record_presence(transitions).await {
        tracing::warn!(%error, code = error.code(), "presence could not be written");
    }
}
