//! One change: rows, revision, audit and outbox in one transaction.
//!
//! A draft takes the write lock at once (`Db::begin_write`), so what it reads cannot change under it. It is
//! committed with [`Draft::commit`], which refuses a draft that asked for no permission or has no audit row; dropped, it leaves no trace.
//! What devices see of a network (its prefixes, its members) counts in the network's revision and is published as a
//! roster change; invites and settings are audited and published without a new revision, since a device that met a
//! new revision would have to ask for a difference that does not concern it.

use lanyard_wire::ids::{NetworkId, Revision};
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::{Need, Power};
use super::db::{Target, Transaction, sql};
use super::error::{IndexError, Result};
use super::outbox::{self, Change};
use super::version::Versioned;

/// An open change.
pub(super) struct Draft<'a> {
    transaction: Transaction,
    index: &'a Index,
    actor: &'a Actor,
    /// What the actor may do, as it is under the write lock.
    power: Power,
    now: i64,
    is_allowed: bool,
    is_recorded: bool,
    is_compared: bool,
}

/// What an audit row says about one change.
pub(super) struct Entry<'a, T: Serialize> {
    /// What was done: `member.approve`.
    pub(super) code: &'static str,
    /// Kind of thing: `member`.
    pub(super) entity: &'static str,
    /// Its id.
    pub(super) id: &'a str,
    /// The network concerned, if one is.
    pub(super) network: Option<NetworkId>,
    /// State before; `None` for something new.
    pub(super) before: Option<&'a T>,
    /// State after; `None` for something gone.
    pub(super) after: Option<&'a T>,
}

impl Index {
    /// Takes the write lock and opens a change.
    pub(super) async fn draft<'a>(&'a self, actor: &'a Actor) -> Result<Draft<'a>> {
        let mut transaction = self.db.begin_write().await?;
        let power = self.power_now(&mut transaction, actor).await?;
        Ok(Draft {
            transaction,
            index: self,
            actor,
            power,
            now: self.clock.now_ms(),
            is_allowed: false,
            is_recorded: false,
            is_compared: actor.expected().is_none(),
        })
    }
}

impl Draft<'_> {
    /// The connection, for statements of this change.
    pub(super) fn connection(&mut self) -> Target<'_> {
        Target::from(&mut self.transaction)
    }

    /// The instant of this change, epoch milliseconds.
    pub(super) const fn now(&self) -> i64 {
        self.now
    }

    /// Who makes this change.
    pub(super) const fn actor(&self) -> &Actor {
        self.actor
    }

    /// Asks whether whoever makes this change may do so; a draft that never asked is not committed.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`].
    pub(super) fn must(&mut self, need: &Need) -> Result<()> {
        self.power.must(need)?;
        self.is_allowed = true;
        Ok(())
    }

    /// Whether whoever makes this change may do that as well: it decides what becomes of the change, not whether it is made.
    pub(super) fn may(&self, need: &Need) -> bool {
        self.power.meets(need)
    }

    /// Compares a thing with how whoever makes this change saw it, if they said how.
    ///
    /// # Errors
    /// [`IndexError::Changed`].
    pub(super) fn must_be_as_seen(&mut self, what: &'static str, thing: &impl Versioned) -> Result<()> {
        if let Some(expected) = self.actor.expected() {
            if *expected != self.index.version(thing) {
                return Err(IndexError::Changed(what));
            }
            self.is_compared = true;
        }
        Ok(())
    }

    /// The index this draft will change.
    pub(super) const fn index(&self) -> &Index {
        self.index
    }

    /// An id for a new row.
    pub(super) fn new_id(&self) -> Result<String> {
        self.index.ids.new_text(self.now)
    }

    /// Raises the revision of a network and returns the new one.
    pub(super) async fn bump(&mut self, network: NetworkId) -> Result<Revision> {
        let now = self.now;
        let revision: i64 = sql!(
            "UPDATE networks SET revision = revision + 1, updated_at = $2 WHERE id = $1 RETURNING revision",
        )
        .bind(network.to_string())
        .bind(now)
        .fetch_one(self.connection())
        .await?;
        revision_from(revision)
    }

    /// Writes the audit row.
    pub(super) async fn record<T: Serialize>(&mut self, entry: Entry<'_, T>) -> Result<()> {
        let (now, actor, id) = (self.now, self.actor, self.new_id()?);
        let to_json = |state: Option<&T>| state.map(serde_json::to_string).transpose();
        let unreadable =
            |error: serde_json::Error| IndexError::Unreadable { column: "audit", why: error.to_string() };
        let event = Change::Event { id: id.clone() };
        sql!(
            "INSERT INTO audit_events (id, at, actor_kind, actor_id, via, code, entity_type, entity_id, network_id, \
             before, after, ip) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(id)
        .bind(now)
        .bind(actor.kind().as_str())
        .bind(actor.id().to_owned())
        .bind(actor.via().as_str())
        .bind(entry.code)
        .bind(entry.entity)
        .bind(entry.id.to_owned())
        .bind(entry.network.map(|network| network.to_string()))
        .bind(to_json(entry.before).map_err(unreadable)?)
        .bind(to_json(entry.after).map_err(unreadable)?)
        .bind(actor.ip())
        .execute(self.connection())
        .await?;
        self.is_recorded = true;
        self.publish(&event).await
    }

    /// Puts a change into the outbox; readers see it in this order after the commit.
    pub(super) async fn publish(&mut self, change: &Change) -> Result<()> {
        let now = self.now;
        outbox::publish(self.connection(), change, now).await
    }

    /// Makes the change permanent and wakes whoever waits for the outbox.
    pub(super) async fn commit(self) -> Result<()> {
        for (is_done, what) in [
            (self.is_allowed, "permission"),
            (self.is_recorded, "audit row"),
            (self.is_compared, "comparison with what was seen"),
        ] {
            if !is_done {
                return Err(IndexError::State(format!(
                    "a change without {what} is not committed; report this"
                )));
            }
        }
        self.transaction.commit().await?;
        self.index.changed.notify_one();
        Ok(())
    }

    /// Like [`Self::commit`], for a draft that may have found nothing to change.
    pub(super) async fn commit_if_recorded(self) -> Result<()> {
        if self.is_recorded { self.commit().await } else { Ok(()) }
    }
}

/// A revision from its column.
pub(super) fn revision_from(value: i64) -> Result<Revision> {
    u64::try_from(value)
        .map(Revision::new)
        .map_err(|_| IndexError::Unreadable { column: "revision", why: format!("{value} is negative") })
}

/// A revision for its column.
pub(super) fn revision_to(revision: Revision) -> i64 {
    i64::try_from(revision.value()).unwrap_or(i64::MAX)
}
