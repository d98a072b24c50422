//! Who changed what: one row for each change, with the state before and after.
//!
//! Rows are written by `Draft` inside the transaction of the change they describe, so there
//! is no change without its row and no row without its change.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lanyard_wire::ids::DeviceId;
use serde::Serialize;

use super::Index;
use super::authority::{Grants, Power};
use super::db::{FromRow, Row, sql};
use super::error::Result;
use super::text::text_enum;
use super::users::User;
use super::version::Version;

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
    power: Power,
    expected: Option<Version>,
}

impl Actor {
    /// The person at the server's command line, by the name the operating system has for them.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self {
            kind: ActorKind::Operator,
            id: name.to_owned(),
            via: Via::Cli,
            ip: None,
            power: Power::All,
            expected: None,
        }
    }

    /// A device, over the control protocol.
    #[must_use]
    pub fn device(id: DeviceId, ip: Option<IpAddr>) -> Self {
        Self {
            kind: ActorKind::Device,
            id: id.to_string(),
            via: Via::Agent,
            ip,
            power: Power::Device(id),
            expected: None,
        }
    }

    /// Somebody who holds a link, by what kind of link it is.
    #[must_use]
    pub fn link_holder(link: &str, ip: Option<IpAddr>) -> Self {
        Self {
            kind: ActorKind::Operator,
            id: link.to_owned(),
            via: Via::Panel,
            ip,
            power: Power::Link,
            expected: None,
        }
    }

    /// The program itself.
    #[must_use]
    pub fn system() -> Self {
        let id = "lanyard-server".to_owned();
        Self { kind: ActorKind::System, id, via: Via::System, ip: None, power: Power::All, expected: None }
    }

    /// A user with all they may do, through a door.
    #[must_use]
    pub fn user(grants: Grants, via: Via, ip: Option<IpAddr>) -> Self {
        Self {
            kind: ActorKind::User,
            id: grants.user.clone(),
            via,
            ip,
            power: Power::User(grants),
            expected: None,
        }
    }

    /// A user who is being let in: they may do what concerns themselves.
    #[must_use]
    pub fn arriving(user: &User, ip: Option<IpAddr>) -> Self {
        let grants = Grants {
            user: user.id.clone(),
            is_server_admin: false,
            roles: BTreeMap::new(),
            only: None,
            may_write: true,
            by_token: false,
        };
        Self::user(grants, Via::Panel, ip)
    }

    /// The same, for a change of a thing that must still be as they saw it.
    #[must_use]
    pub fn expecting(self, version: Option<Version>) -> Self {
        Self { expected: version, ..self }
    }

    /// How the thing they change must be.
    pub(super) const fn expected(&self) -> Option<&Version> {
        self.expected.as_ref()
    }

    /// What they may do.
    pub(super) const fn power(&self) -> &Power {
        &self.power
    }

    /// The row of a user who acts; nobody's for the others.
    pub(super) fn user_id(&self) -> Option<&str> {
        (self.kind == ActorKind::User).then_some(&self.id)
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
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct AuditEvent {
    /// Row id; they rise.
    pub id: String,
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

impl FromRow for AuditEvent {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            at: row.get("at")?,
            actor_kind: row.get("actor_kind")?,
            actor_id: row.get("actor_id")?,
            via: row.get("via")?,
            code: row.get("code")?,
            entity_type: row.get("entity_type")?,
            entity_id: row.get("entity_id")?,
            before: row.get("before")?,
            after: row.get("after")?,
        })
    }
}

impl Index {
    /// The newest events, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_events(&self, limit: u32) -> Result<Vec<AuditEvent>> {
        sql!("SELECT * FROM audit_events ORDER BY id DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.db)
            .await
    }
}
