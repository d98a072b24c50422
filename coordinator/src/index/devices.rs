//! Devices: enrolled machines, one row each, however many networks they are in.

use std::net::IpAddr;

use ipnetwork::Ipv4Network;
use lanyard_wire::ids::{DeviceId, DeviceNumber};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::DeviceName;
use serde::Serialize;

use super::Index;
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::outbox::{self, Change};
use super::text;

/// Tries at a free public number; with nine digits even a million devices make one draw in 900 collide.
const NUMBER_DRAWS: u32 = 32;

/// An enrolled machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Derived from its identity key.
    #[serde(with = "text")]
    pub id: DeviceId,
    /// The nine digits people read out.
    #[serde(with = "text")]
    pub number: DeviceNumber,
    /// The name it gave last.
    #[serde(with = "text")]
    pub name: DeviceName,
    /// Row id of the user it belongs to, if it does.
    pub user_id: Option<String>,
    /// Its operating system.
    pub os: String,
    /// Version of its agent.
    pub agent_version: String,
    /// Identity key.
    #[serde(with = "text")]
    pub identity: PublicKey,
    /// Tunnel key.
    #[serde(with = "text")]
    pub wireguard: PublicKey,
    /// Prefixes it routes locally, as texts.
    pub local_prefixes: Vec<String>,
    /// Epoch milliseconds, when it was suspended everywhere.
    pub suspended_at: Option<i64>,
    /// Whether CHECKPOINT last reported it online.
    pub online: bool,
    /// Epoch milliseconds of the last transition.
    pub last_seen_at: Option<i64>,
    /// Its public address at that time.
    pub last_ip: Option<String>,
    /// Epoch milliseconds, when it was taken off the server.
    pub removed_at: Option<i64>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// What a device says about itself when it joins.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Identity key, proven by the session.
    pub identity: PublicKey,
    /// Tunnel key.
    pub wireguard: PublicKey,
    /// The name it wants.
    pub name: DeviceName,
    /// Its operating system.
    pub os: String,
    /// Version of its agent.
    pub agent_version: String,
    /// Prefixes it routes locally.
    pub local_prefixes: Vec<Ipv4Network>,
}

/// A device went online or offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Which device.
    pub device: DeviceId,
    /// Its state now.
    pub online: bool,
    /// Its public address, when it is known.
    pub ip: Option<IpAddr>,
}

/// A device number from its column.
pub(super) fn number_from(value: i64) -> Result<DeviceNumber> {
    u32::try_from(value).ok().and_then(DeviceNumber::new).ok_or_else(|| IndexError::Unreadable {
        column: "number",
        why: format!("{value} has not nine digits"),
    })
}

impl FromRow for Device {
    fn from_row(row: &Row) -> Result<Self> {
        let prefixes: String = row.get("local_prefixes")?;
        Ok(Self {
            id: text::column(row, "id")?,
            number: number_from(row.get("number")?)?,
            name: text::column(row, "name")?,
            user_id: row.get("user_id")?,
            os: row.get("os")?,
            agent_version: row.get("agent_version")?,
            identity: text::column(row, "identity_key")?,
            wireguard: text::column(row, "wg_key")?,
            local_prefixes: serde_json::from_str(&prefixes).map_err(|error| IndexError::Unreadable {
                column: "local_prefixes",
                why: error.to_string(),
            })?,
            suspended_at: row.get("suspended_at")?,
            online: row.get("online")?,
            last_seen_at: row.get("last_seen_at")?,
            last_ip: row.get("last_ip")?,
            removed_at: row.get("removed_at")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Index {
    /// Every device, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        sql!("SELECT * FROM devices WHERE removed_at IS NULL ORDER BY name, number").fetch_all(&self.db).await
    }

    /// The device of that id, else of that number, else of that name.
    ///
    /// # Errors
    /// [`IndexError::NotFound`], or [`IndexError::Ambiguous`] for a name that several devices have.
    pub async fn device(&self, name: &str) -> Result<Device> {
        let mut found: Vec<Device> =
            sql!("SELECT * FROM devices WHERE removed_at IS NULL AND (number = $1 OR id = $2 OR name = $2)")
                .bind(DeviceNumber::parse(name).ok().map(|number| i64::from(number.value())))
                .bind(name.to_ascii_lowercase())
                .fetch_all(&self.db)
                .await?;
        // A device may choose a name that reads like the id or the number of another: the other is meant.
        let (id, number) = (name.to_ascii_lowercase(), DeviceNumber::parse(name).ok());
        let meant = found.iter().position(|device| device.id.to_string() == id);
        let meant = meant.or_else(|| found.iter().position(|device| Some(device.number) == number));
        if let Some(meant) = meant {
            return Ok(found.swap_remove(meant));
        }
        if found.len() > 1 {
            return Err(IndexError::Ambiguous { what: "device", name: name.to_owned() });
        }
        found.pop().ok_or_else(|| IndexError::NotFound {
            what: "device",
            name: name.to_owned(),
            hint: ": \"lanyard-server device list\" shows what there is",
        })
    }

    /// Writes transitions between online and offline, all in one transaction.
    ///
    /// A device that is online already is not written again, so a restart of the coordinator that brings back all
    /// its devices writes nothing. Unknown devices are skipped. Presence is nobody's decision: no audit, no revision.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_presence(&self, transitions: &[Presence]) -> Result<()> {
        let mut transaction = self.db.begin_write().await?;
        for presence in transitions {
            let was: Option<bool> = sql!("SELECT online FROM devices WHERE id = $1")
                .bind(presence.device.to_string())
                .fetch_optional(&mut transaction)
                .await?;
            let ip = presence.ip.map(|ip| ip.to_string());
            let written = sql!(
                "UPDATE devices SET online = $2, last_seen_at = $3, last_ip = COALESCE($4, last_ip) WHERE id = $1 \
                 AND (online <> $2 OR ($2 AND $4 IS NOT NULL AND last_ip IS DISTINCT FROM $4))",
            )
            .bind(presence.device.to_string())
            .bind(presence.online)
            .bind(self.clock.now_ms())
            .bind(ip)
            .execute(&mut transaction)
            .await?;
            if written > 0 {
                let online = (was != Some(presence.online)).then_some(presence.online);
                let change = Change::Presence { device: presence.device, online };
                outbox::publish((&mut transaction).into(), &change, self.clock.now_ms()).await?;
            }
        }
        transaction.commit().await?;
        self.changed.notify_one();
        Ok(())
    }

    /// The devices written as online.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn online_devices(&self) -> Result<Vec<DeviceId>> {
        let texts: Vec<String> = sql!("SELECT id FROM devices WHERE online").fetch_all(&self.db).await?;
        texts
            .iter()
            .map(|id| {
                id.parse().map_err(|_| IndexError::Unreadable { column: "devices.id", why: id.clone() })
            })
            .collect()
    }
}

impl Draft<'_> {
    /// The device with that id.
    pub(super) async fn device(&mut self, id: DeviceId) -> Result<Option<Device>> {
        sql!("SELECT * FROM devices WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await
    }

    /// Enrols a device or brings its row up to date; tells whether peers must hear of it (its tunnel key changed).
    ///
    /// # Errors
    /// [`IndexError::Taken`] when another device has that tunnel key.
    pub(super) async fn enrol(&mut self, known: Option<&Device>, intro: &Introduction) -> Result<bool> {
        let prefixes: Vec<String> = intro.local_prefixes.iter().map(ToString::to_string).collect();
        let Some(before) = known else {
            self.insert_device(intro, &prefixes).await?;
            return Ok(false);
        };
        let mut after = before.clone();
        after.wireguard = intro.wireguard;
        after.name = intro.name.clone();
        after.os.clone_from(&intro.os);
        after.agent_version.clone_from(&intro.agent_version);
        after.local_prefixes = prefixes;
        // Who was taken off and is let in again is back.
        after.removed_at = None;
        if after == *before {
            return Ok(false);
        }
        let now = self.now();
        sql!(
            "UPDATE devices SET wg_key = $2, name = $3, os = $4, agent_version = $5, local_prefixes = $6, \
             removed_at = NULL, updated_at = $7 WHERE id = $1",
        )
        .bind(after.id.to_string())
        .bind(after.wireguard.to_string())
        .bind(after.name.to_string())
        .bind(after.os.clone())
        .bind(after.agent_version.clone())
        .bind(prefixes_to(&after.local_prefixes)?)
        .bind(now)
        .execute(self.connection())
        .await
        .map_err(tunnel_key_taken)?;
        self.record_device("device.update", Some(before), &after).await?;
        Ok(before.wireguard != after.wireguard)
    }

    async fn insert_device(&mut self, intro: &Introduction, prefixes: &[String]) -> Result<()> {
        let device = Device {
            id: DeviceId::of(&intro.identity),
            number: self.free_number().await?,
            name: intro.name.clone(),
            user_id: None,
            os: intro.os.clone(),
            agent_version: intro.agent_version.clone(),
            identity: intro.identity,
            wireguard: intro.wireguard,
            local_prefixes: prefixes.to_vec(),
            suspended_at: None,
            online: true,
            last_seen_at: Some(self.now()),
            last_ip: None,
            removed_at: None,
            created_at: self.now(),
        };
        sql!(
            "INSERT INTO devices (id, number, name, os, agent_version, identity_key, wg_key, local_prefixes, online, \
             last_seen_at, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, TRUE, $9, $9, $9)",
        )
        .bind(device.id.to_string())
        .bind(i64::from(device.number.value()))
        .bind(device.name.to_string())
        .bind(device.os.clone())
        .bind(device.agent_version.clone())
        .bind(device.identity.to_string())
        .bind(device.wireguard.to_string())
        .bind(prefixes_to(&device.local_prefixes)?)
        .bind(device.created_at)
        .execute(self.connection())
        .await
        .map_err(tunnel_key_taken)?;
        self.record_device("device.enrol", None, &device).await
    }

    /// Draws a public number nobody has.
    async fn free_number(&mut self) -> Result<DeviceNumber> {
        for _ in 0..NUMBER_DRAWS {
            let drawn = 100_000_000 + getrandom::u32()? % 900_000_000;
            let taken: Option<i64> = sql!("SELECT number FROM devices WHERE number = $1")
                .bind(i64::from(drawn))
                .fetch_optional(self.connection())
                .await?;
            if let (None, Some(number)) = (taken, DeviceNumber::new(drawn)) {
                return Ok(number);
            }
        }
        Err(IndexError::Full("the space of device numbers".to_owned()))
    }

    /// Writes the audit row of a device, and tells who looks at it.
    pub(super) async fn record_device(
        &mut self,
        code: &'static str,
        before: Option<&Device>,
        after: &Device,
    ) -> Result<()> {
        let id = after.id.to_string();
        self.record(Entry { code, entity: "device", id: &id, network: None, before, after: Some(after) })
            .await?;
        self.publish(&Change::Device { id: after.id }).await
    }
}

fn prefixes_to(prefixes: &[String]) -> Result<String> {
    serde_json::to_string(prefixes)
        .map_err(|error| IndexError::Unreadable { column: "local_prefixes", why: error.to_string() })
}

/// Two devices with one tunnel key would be one to WireGuard.
fn tunnel_key_taken(error: IndexError) -> IndexError {
    if error.is_unique_violation() {
        return IndexError::Taken { what: "device with the tunnel key of", name: "this device".to_owned() };
    }
    error
}
