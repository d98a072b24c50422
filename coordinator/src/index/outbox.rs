//! Changes on their way from the database to whoever keeps a copy in memory.
//!
//! 1. A draft writes its change into `outbox` in the same transaction.
//! 2. The commit wakes the reader; a poll finds the commits of other processes (the command line).
//! 3. A reader that starts, or lost its place, takes a snapshot and goes on after the snapshot's cursor.
//!
//! A row holds the whole new state, not a pointer to it, so rows are applied in order and applying one twice changes
//! nothing (it carries its revision).

use std::net::Ipv6Addr;
use std::sync::Arc;

use ipnetwork::Ipv4Network;
use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, NetworkName};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::Index;
use super::db::{Target, sql};
use super::error::{IndexError, Result};
use super::links::LinkPath;
use super::memberships::{Member, MemberState};
use super::metadata::Kind;
use super::networks::Network;
use super::text;
use super::webhooks::queue::BEHIND_MAX_MS;

/// How long published rows stay, for a look at what happened.
const KEPT_MS: i64 = 24 * 3_600_000;

/// Most rows one poll reads.
const BATCH: i64 = 512;

/// Rows a follower may be behind.
pub(super) const BACKLOG: usize = 4_096;

/// A row of the outbox with its number.
pub type Published = (i64, Arc<Change>);

/// One change, complete enough to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// A network appeared or looks different.
    Network(NetworkChange),
    /// A network is gone, with all its members.
    NetworkGone {
        /// Which one.
        #[serde(with = "text")]
        id: NetworkId,
    },
    /// A member appeared or looks different.
    Member(MemberChange),
    /// A device is no member any more.
    MemberGone {
        /// Of which network.
        #[serde(with = "text")]
        network: NetworkId,
        /// The revision that removed it.
        #[serde(with = "text::revision")]
        revision: Revision,
        /// Which device.
        #[serde(with = "text")]
        device: DeviceId,
    },
    /// An invite was made, used or revoked: of interest to people who look at the list, not to devices.
    Invite {
        /// Of which network.
        #[serde(with = "text")]
        network: NetworkId,
        /// Row id of the invite.
        id: String,
    },
    /// A user was made or looks different.
    User {
        /// Row id of the user.
        id: String,
    },
    /// A user became something in a network, or is nothing there any more.
    Role {
        /// The network.
        #[serde(with = "text")]
        network: NetworkId,
        /// Row id of the user.
        user: String,
    },
    /// A device was enrolled or looks different.
    Device {
        /// Which one.
        #[serde(with = "text")]
        id: DeviceId,
    },
    /// A device went online or offline: nobody's decision, so it is in no audit trail.
    Presence {
        /// Which one.
        #[serde(with = "text")]
        device: DeviceId,
        /// What it became; nothing where its address alone is another, and in rows from before that was said.
        #[serde(default)]
        online: Option<bool>,
    },
    /// A pair of devices reported how they reach each other.
    Link {
        /// The end with the smaller id.
        #[serde(with = "text")]
        a: DeviceId,
        /// The other one.
        #[serde(with = "text")]
        b: DeviceId,
    },
    /// Somebody wants a pair of devices to try for a direct path now.
    TryAgain {
        /// The end with the smaller id.
        #[serde(with = "text")]
        a: DeviceId,
        /// The other one.
        #[serde(with = "text")]
        b: DeviceId,
    },
    /// What is said of a thing changed, and devices do not see it: its metadata, a member's tags or end.
    About {
        /// What kind of thing.
        entity: Kind,
        /// Its id, as the metadata has it.
        id: String,
    },
    /// Data goes another way between two devices, as one of them reports; said where a webhook wants to hear it.
    Path {
        /// The end that reported.
        #[serde(with = "text")]
        device: DeviceId,
        /// The other one.
        #[serde(with = "text")]
        peer: DeviceId,
        /// Which way it went.
        from: LinkPath,
        /// Which way it goes.
        to: LinkPath,
    },
    /// The audit trail has a new row.
    Event {
        /// Its id.
        id: String,
    },
    /// A setting of the coordinator changed.
    Setting {
        /// Its key.
        key: String,
    },
}

/// A network as CHECKPOINT needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkChange {
    /// Its id.
    #[serde(with = "text")]
    pub id: NetworkId,
    /// Its name.
    #[serde(with = "text")]
    pub name: NetworkName,
    /// Its IPv4 prefix.
    #[serde(with = "text")]
    pub prefix4: Ipv4Network,
    /// Its IPv6 /64.
    pub prefix6: Ipv6Addr,
    /// Whether members may pass on frames for each other; rows from before that could be said say nothing.
    #[serde(default = "yes")]
    pub peer_relay: bool,
    /// Its revision after the change.
    #[serde(with = "text::revision")]
    pub revision: Revision,
}

/// A member as CHECKPOINT needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Of which network.
    #[serde(with = "text")]
    pub network: NetworkId,
    /// The network's revision at this change.
    #[serde(with = "text::revision")]
    pub revision: Revision,
    /// Identity key; the device's id follows from it.
    #[serde(with = "text")]
    pub identity: PublicKey,
    /// The digits people read out.
    #[serde(with = "text")]
    pub number: DeviceNumber,
    /// Its tunnel key.
    #[serde(with = "text")]
    pub wireguard: PublicKey,
    /// Its name in this network.
    #[serde(with = "text")]
    pub name: DeviceName,
    /// Overlay address.
    pub ip4: std::net::Ipv4Addr,
    /// Overlay address.
    pub ip6: Ipv6Addr,
    /// Pending, active or suspended.
    pub state: MemberState,
}

impl Change {
    /// The column `topic`: what a reader may select by.
    pub(super) const fn topic(&self) -> &'static str {
        match self {
            Self::Network(_) | Self::NetworkGone { .. } | Self::Member(_) | Self::MemberGone { .. } => {
                "roster"
            }
            Self::Invite { .. } => "invite",
            Self::User { .. } => "user",
            Self::Role { .. } => "role",
            Self::Device { .. } | Self::Presence { .. } => "device",
            Self::Link { .. } | Self::Path { .. } | Self::TryAgain { .. } => "link",
            Self::About { .. } => "about",
            Self::Event { .. } => "event",
            Self::Setting { .. } => "setting",
        }
    }
}

impl From<&Network> for Change {
    fn from(network: &Network) -> Self {
        Self::Network(NetworkChange {
            id: network.id,
            name: network.slug.clone(),
            prefix4: network.prefix4,
            prefix6: network.prefix6,
            peer_relay: network.peer_relay,
            revision: network.revision,
        })
    }
}

const fn yes() -> bool {
    true
}

/// Puts a change into the outbox.
pub(super) async fn publish(target: Target<'_>, change: &Change, now: i64) -> Result<()> {
    let payload = serde_json::to_string(change)
        .map_err(|error| IndexError::Unreadable { column: "outbox.payload", why: error.to_string() })?;
    sql!("INSERT INTO outbox (topic, payload, created_at) VALUES ($1, $2, $3)")
        .bind(change.topic())
        .bind(payload)
        .bind(now)
        .execute(target)
        .await?;
    Ok(())
}

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Networks, then members by revision: applied in order they end in the state of the database.
    pub changes: Vec<Change>,
    /// Number of the newest outbox row that the snapshot includes.
    pub cursor: i64,
}

impl Index {
    /// Every network and every member at one moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let mut transaction = self.db.begin_read().await?;
        let cursor: i64 = sql!("SELECT COALESCE(MAX(id), 0) FROM outbox").fetch_one(&mut transaction).await?;
        let networks: Vec<Network> = sql!(Network::SELECT_ALL).fetch_all(&mut transaction).await?;
        let members: Vec<Member> = sql!(Member::SELECT_LIVE).fetch_all(&mut transaction).await?;
        let mut changes: Vec<Change> = networks.iter().map(Change::from).collect();
        for member in &members {
            changes.extend(member.change());
        }
        Ok(Snapshot { changes, cursor })
    }

    /// Rows after `cursor`, oldest first, each with its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changes_after(&self, cursor: i64) -> Result<Vec<(i64, Change)>> {
        let rows: Vec<(i64, String)> =
            sql!("SELECT id, payload FROM outbox WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(cursor)
                .bind(BATCH)
                .fetch_all(&self.db)
                .await?;
        rows.iter()
            .map(|(id, payload)| {
                let change = serde_json::from_str(payload).map_err(|error| IndexError::Unreadable {
                    column: "outbox.payload",
                    why: error.to_string(),
                })?;
                Ok((*id, change))
            })
            .collect()
    }

    /// Numbers of the oldest and the newest row there is; 0 and 0 when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outbox_span(&self) -> Result<(i64, i64)> {
        sql!("SELECT COALESCE(MIN(id), 0), COALESCE(MAX(id), 0) FROM outbox").fetch_one(&self.db).await
    }

    /// Rows from now on, each as soon as the one who reads the outbox in this process found it.
    ///
    /// A follower that is more than [`BACKLOG`] rows behind hears that it lost its place.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Published> {
        self.published.subscribe()
    }

    /// Tells the followers of a row; the one reader of the outbox in this process does.
    pub fn tell(&self, row: Published) {
        // Nobody listening is no failure.
        let _ = self.published.send(row);
    }

    /// Returns when this process committed a change; commits of other processes are found by polling.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Removes published rows that are older than a day, but for those that webhooks were not told of yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_outbox(&self) -> Result<u64> {
        let (now, mut transaction) = (self.clock.now_ms(), self.db.begin_write().await?);
        let removed = sql!(
            "DELETE FROM outbox WHERE created_at < $1 AND (created_at < $2 OR id <= COALESCE( \
             (SELECT CAST(value AS BIGINT) FROM settings WHERE key = 'webhook_cursor'), id))"
        )
        .bind(now - KEPT_MS)
        .bind(now - BEHIND_MAX_MS)
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(removed)
    }
}
