//! Who changed what: one row for each change, with the state before and after.
//!
//! Rows are written by `Draft` inside the transaction of the change they describe, so there
//! is no change without its row and no row without its change.

use std::net::IpAddr;

use lanyard_wire::ids::DeviceId;
use serde::Serialize;
use sqlx::Row;

use super::Index;
use super::error::Result;
use super::text::text_enum;

text_enum! {
    /// What kind of somebody acted.
    ActorKind {
        /// A person with an account.
        User = "user",
        /// Whoever may read the data directory, at the command line.
        Operator = "operator",
        /// An enrolled or enrolling device.
        Device = "device",
        /// The program itself.
        System = "system",
    }
}

text_enum! {
    /// The door a change came through.
    Via {
        /// The admin panel.
        Panel = "panel",
        /// `lanyard-server` on the server itself.
        Cli = "cli",
        /// The HTTP interface.
        Api = "api",
        /// A device's agent, over the control protocol.
        Agent = "agent",
        /// Nobody's wish: expiry, start-up.
        System = "system",
    }
}

/// Who makes a change.
#[derive(Debug, Clone)]
pub struct Actor {
    kind: ActorKind,
    id: String,
    via: Via,
    ip: Option<IpAddr>,
}

impl Actor {
    /// The person at the server's command line, by the name the operating system has for them.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self { kind: ActorKind::Operator, id: name.to_owned(), via: Via::Cli, ip: None }
    }

    /// A device, over the control protocol.
    #[must_use]
    pub fn device(id: DeviceId, ip: Option<IpAddr>) -> Self {
        Self { kind: ActorKind::Device, id: id.to_string(), via: Via::Agent, ip }
    }

    /// Somebody who holds the one-time admin link.
    #[must_use]
    pub fn link_holder(ip: Option<IpAddr>) -> Self {
        Self { kind: ActorKind::Operator, id: "admin link".to_owned(), via: Via::Panel, ip }
    }

    /// The program itself.
    #[must_use]
    pub fn system() -> Self {
        Self { kind: ActorKind::System, id: "lanyard-server".to_owned(), via: Via::System, ip: None }
    }

    pub(super) const fn kind(&self) -> ActorKind {
        self.kind
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn via(&self) -> Via {
        self.via
    }

    pub(super) fn ip(&self) -> Option<String> {
        self.ip.map(|ip| ip.to_string())
    }
}

/// One row of the audit trail.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEvent {
    /// Epoch milliseconds.
    pub at: i64,
    /// Kind of actor.
    pub actor_kind: String,
    /// Name or id of the actor.
    pub actor_id: String,
    /// The door.
    pub via: String,
    /// What was done: `member.approve`.
    pub code: String,
    /// Kind of thing changed.
    pub entity_type: String,
    /// Its id.
    pub entity_id: String,
    /// JSON before, if it existed.
    pub before: Option<String>,
    /// JSON after, if it exists still.
    pub after: Option<String>,
}

impl Index {
    /// The newest events, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_events(&self, limit: u32) -> Result<Vec<AuditEvent>> {
        // rowid: events of one millisecond keep the order in which they were written.
        let rows = sqlx::query("SELECT * FROM audit_events ORDER BY rowid DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.backend.reader)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEvent {
                    at: row.try_get("at")?,
                    actor_kind: row.try_get("actor_kind")?,
                    actor_id: row.try_get("actor_id")?,
                    via: row.try_get("via")?,
                    code: row.try_get("code")?,
                    entity_type: row.try_get("entity_type")?,
                    entity_id: row.try_get("entity_id")?,
                    before: row.try_get("before")?,
                    after: row.try_get("after")?,
                })
            })
            .collect()
    }
}
