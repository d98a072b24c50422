//! Webhooks: addresses of a team's own programs that hear what happens in a network, or on the whole server.
//!
//! Administrators of a network make its webhooks, those of the server also ones that hear everything. What an outbox row
//! means to whom is found out in `events`; it waits in [`queue`], is sent by `crate::webhooks`, again and again if need be
//! ([`tries`]), and people see what became of it ([`deliveries`]).

pub mod deliveries;
mod events;
pub mod queue;
mod target;
pub mod tries;

use std::collections::BTreeSet;

use lanyard_wire::ids::NetworkId;
use lanyard_wire::names::NetworkName;
use serde::Serialize;
use url::Url;

pub use self::events::HookEvent;
use self::target::parse_url;
pub use self::target::{SECRET_BEGIN, SigningSecret, Target};
use super::Index;
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::{FromRow, Row, Transaction, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::networks::{Network, unknown};
use super::text;
use crate::reach::Reach;

/// Most webhooks of one network, and of the server: each event is written once for each that hears it.
const WEBHOOKS_MAX: i64 = 20;

/// Longest description, in characters: a line of a list.
const DESCRIPTION_MAX: usize = 200;

/// A webhook; its secret is nowhere in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Webhook {
    /// Row id.
    pub id: String,
    /// Its network; `None` for one that hears of the whole server.
    #[serde(serialize_with = "optional_text")]
    pub network_id: Option<NetworkId>,
    /// Name of its network.
    #[serde(serialize_with = "optional_text")]
    pub network: Option<NetworkName>,
    /// Where messages go. It may have a password in its path: for administrators of its network only. Empty where it cannot be
    /// read any more, since it was sealed under another `fleet.key`.
    pub url: String,
    /// What it hears of.
    pub events: BTreeSet<HookEvent>,
    /// What its owner says of it.
    pub description: String,
    /// Whether it may lead to private addresses, and do without TLS.
    pub anywhere: bool,
    /// Who made it.
    pub created_by: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds, when its secret was drawn.
    pub secret_at: i64,
    /// Epoch milliseconds, when the first try failed since one succeeded.
    pub failing_since: Option<i64>,
    /// Epoch milliseconds, when it was switched off.
    pub disabled_at: Option<i64>,
}

fn optional_text<T: ToString, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> core::result::Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

/// What a new webhook shall be.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Its network; `None` for one that hears of the whole server.
    pub network: Option<NetworkName>,
    /// Where messages go.
    pub url: String,
    /// What it hears of.
    pub events: BTreeSet<HookEvent>,
    /// What its owner says of it.
    pub description: String,
}

/// What is to be changed about a webhook; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct WebhookWishes {
    /// Where messages go.
    pub url: Option<String>,
    /// What it hears of.
    pub events: Option<BTreeSet<HookEvent>>,
    /// What its owner says of it.
    pub description: Option<String>,
    /// Whether it is off.
    pub is_disabled: Option<bool>,
    /// Whether it gets another secret.
    pub new_secret: bool,
}

/// A webhook as its row has it: its target is sealed.
#[derive(Debug)]
pub(super) struct Stored {
    webhook: Webhook,
    target: String,
}

/// What the audit trail says of a webhook: of its address no more than its origin.
#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    network: Option<String>,
    origin: String,
    events: &'a BTreeSet<HookEvent>,
    description: &'a str,
    anywhere: bool,
    secret_at: i64,
    disabled_at: Option<i64>,
}

macro_rules! select_webhook {
    ($($rest:tt)+) => {
        concat!(
            "SELECT w.*, n.slug FROM webhooks w LEFT JOIN networks n ON n.id = w.network_id WHERE ",
            $($rest)+
        )
    };
}
pub(super) use select_webhook;

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self> {
        let events: String = row.get("events")?;
        let webhook = Webhook {
            id: row.get("id")?,
            network_id: text::optional_column(row, "network_id")?,
            network: text::optional_column(row, "slug")?,
            url: String::new(),
            events: events_from(&events)?,
            description: row.get("description")?,
            anywhere: row.get("anywhere")?,
            created_by: row.get("created_by")?,
            created_at: row.get("created_at")?,
            secret_at: row.get("secret_at")?,
            failing_since: row.get("failing_since")?,
            disabled_at: row.get("disabled_at")?,
        };
        Ok(Self { webhook, target: row.get("target")? })
    }
}

fn events_from(text: &str) -> Result<BTreeSet<HookEvent>> {
    let events = text.split_whitespace().map(str::parse);
    events
        .collect::<core::result::Result<_, _>>()
        .map_err(|why| IndexError::Unreadable { column: "webhooks.events", why })
}

fn events_to(events: &BTreeSet<HookEvent>) -> String {
    events.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(" ")
}

impl Webhook {
    /// What changing it needs.
    fn need(&self) -> Need {
        need(self.network_id)
    }
}

/// What it needs to have to do with webhooks of a network, or of the server.
fn need(network: Option<NetworkId>) -> Need {
    network.map_or(Need::Server, |network| Need::Network(network, Role::Admin))
}

impl Index {
    /// Makes a webhook and returns it with its secret, which is shown this once.
    ///
    /// # Errors
    /// [`IndexError::Forbidden`] unless an administrator of the network asks, of the server where it hears everything;
    /// [`IndexError::Invalid`] for an address where it may not lead; [`IndexError::State`] when there are enough.
    pub async fn add_webhook(&self, new: &NewWebhook, actor: &Actor) -> Result<(Webhook, SigningSecret)> {
        let mut draft = self.draft(actor).await?;
        let network = match &new.network {
            Some(slug) => Some(draft.network(slug).await?.ok_or_else(|| unknown(slug))?),
            None => None,
        };
        let network_id = network.as_ref().map(|network| network.id);
        draft.must(&need(network_id))?;
        let reach = draft.reach();
        let url = parse_url(&new.url, reach)?;
        let there = draft.count_webhooks(network_id).await?;
        if there >= WEBHOOKS_MAX {
            return Err(IndexError::State(format!(
                "{there} webhooks are enough: remove some that are not used"
            )));
        }
        let target = Target { url, secret: SigningSecret::draw()? };
        let webhook = Webhook {
            id: draft.new_id()?,
            network_id,
            network: network.map(|network| network.slug),
            url: target.url.to_string(),
            events: checked_events(new.events.clone())?,
            description: checked_description(&new.description)?,
            anywhere: reach == Reach::Anywhere,
            created_by: actor.id().to_owned(),
            created_at: draft.now(),
            secret_at: draft.now(),
            failing_since: None,
            disabled_at: None,
        };
        sql!(
            "INSERT INTO webhooks (id, network_id, target, anywhere, events, description, since_row, secret_at, \
             created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, (SELECT COALESCE(MAX(id), 0) FROM outbox), $7, $8, $9)"
        )
        .bind(webhook.id.clone())
        .bind(webhook.network_id.map(|network| network.to_string()))
        .bind(self.seal_target(&webhook.id, &target)?)
        .bind(webhook.anywhere)
        .bind(events_to(&webhook.events))
        .bind(webhook.description.clone())
        .bind(webhook.secret_at)
        .bind(webhook.created_by.clone())
        .bind(webhook.created_at)
        .execute(draft.connection())
        .await?;
        draft.record_webhook("webhook.add", None, Some(&webhook)).await?;
        draft.commit().await?;
        Ok((webhook, target.secret))
    }

    /// Webhooks, the newest first; of one network or of all.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is no such network.
    pub async fn webhooks(&self, network: Option<&NetworkName>) -> Result<Vec<Webhook>> {
        if let Some(slug) = network {
            self.network(slug).await?;
        }
        let stored: Vec<Stored> = sql!(select_webhook!("($1 IS NULL OR n.slug = $1) ORDER BY w.id DESC"))
            .bind(network.map(ToString::to_string))
            .fetch_all(&self.db)
            .await?;
        Ok(stored.into_iter().map(|stored| self.opened(stored).0).collect())
    }

    /// Changes a webhook; returns its secret if it got another.
    ///
    /// Switched on again it hears of what happens from then on.
    ///
    /// # Errors
    /// As for [`Self::add_webhook`]; [`IndexError::NotFound`].
    pub async fn set_webhook(
        &self,
        id: &str,
        wishes: &WebhookWishes,
        actor: &Actor,
    ) -> Result<(Webhook, Option<SigningSecret>)> {
        let mut draft = self.draft(actor).await?;
        let (before, target) = draft.webhook(id).await?;
        draft.must(&before.need())?;
        draft.must_be_as_seen("webhook", &before)?;
        let (mut after, reach) = (before.clone(), draft.reach());
        let url = wishes.url.as_ref().filter(|url| **url != before.url);
        let url = url.map(|url| parse_url(url, reach)).transpose()?;
        let secret = wishes.new_secret.then(SigningSecret::draw).transpose()?;
        if let Some(url) = &url {
            after.url = url.to_string();
            after.anywhere = reach == Reach::Anywhere;
        }
        if let Some(events) = &wishes.events {
            after.events = checked_events(events.clone())?;
        }
        if let Some(description) = &wishes.description {
            after.description = checked_description(description)?;
        }
        if secret.is_some() {
            after.secret_at = draft.now();
        }
        match wishes.is_disabled {
            Some(true) => after.disabled_at = before.disabled_at.or(Some(draft.now())),
            Some(false) if before.disabled_at.is_some() => {
                (after.disabled_at, after.failing_since) = (None, None);
            }
            Some(false) | None => {}
        }
        if after == before && secret.is_none() {
            return Ok((before, None));
        }
        let code = match (before.disabled_at, after.disabled_at) {
            (None, Some(_)) => "webhook.disable",
            (Some(_), None) => "webhook.enable",
            (None, None) | (Some(_), Some(_)) => "webhook.set",
        };
        let target = changed_target(target, url, secret.clone())?;
        draft.write_webhook(code, &before, &after, target.as_ref()).await?;
        draft.commit().await?;
        Ok((after, secret))
    }

    /// Takes a webhook away, with what it was sent and was to be sent.
    ///
    /// # Errors
    /// [`IndexError::NotFound`]; [`IndexError::Forbidden`] unless an administrator of its network asks.
    pub async fn remove_webhook(&self, id: &str, actor: &Actor) -> Result<Webhook> {
        let mut draft = self.draft(actor).await?;
        let (webhook, _) = draft.webhook(id).await?;
        draft.must(&webhook.need())?;
        draft.must_be_as_seen("webhook", &webhook)?;
        draft.erase_webhook(&webhook).await?;
        draft.commit().await?;
        Ok(webhook)
    }

    /// A webhook as it is shown, and its target, if that can be read.
    pub(super) fn opened(&self, stored: Stored) -> (Webhook, Option<Target>) {
        let target = self.unseal_target(&stored.webhook.id, &stored.target).ok();
        let url = target.as_ref().map(|target| target.url.to_string()).unwrap_or_default();
        (Webhook { url, ..stored.webhook }, target)
    }
}

impl Draft<'_> {
    /// How far an address may lead that is named in this change.
    fn reach(&self) -> Reach {
        if self.may(&Need::Server) { Reach::Anywhere } else { Reach::Public }
    }

    /// The webhook of that id, with its target.
    async fn webhook(&mut self, id: &str) -> Result<(Webhook, Option<Target>)> {
        let stored: Option<Stored> =
            sql!(select_webhook!("w.id = $1")).bind(id).fetch_optional(self.connection()).await?;
        let Some(stored) = stored else {
            let hint = ": \"lanyard-server webhook list\" shows what there is";
            return Err(IndexError::NotFound { what: "webhook", name: id.to_owned(), hint });
        };
        Ok(self.index().opened(stored))
    }

    async fn count_webhooks(&mut self, network: Option<NetworkId>) -> Result<i64> {
        sql!("SELECT COUNT(*) FROM webhooks WHERE network_id IS NOT DISTINCT FROM $1")
            .bind(network.map(|network| network.to_string()))
            .fetch_one(self.connection())
            .await
    }

    /// Writes a webhook that is changed, with its target if that is another. One that is off has nothing to send; on again it hears from now on.
    async fn write_webhook(
        &mut self,
        code: &'static str,
        before: &Webhook,
        after: &Webhook,
        target: Option<&Target>,
    ) -> Result<()> {
        let sealed = target.map(|target| self.index().seal_target(&after.id, target)).transpose()?;
        sql!(
            "UPDATE webhooks SET target = COALESCE($2, target), anywhere = $3, events = $4, description = $5, secret_at = $6, \
             failing_since = $7, disabled_at = $8, since_row = CASE WHEN disabled_at IS NOT NULL AND $9 \
                 THEN (SELECT COALESCE(MAX(id), 0) FROM outbox) ELSE since_row END WHERE id = $1"
        )
        .bind(after.id.clone())
        .bind(sealed)
        .bind(after.anywhere)
        .bind(events_to(&after.events))
        .bind(after.description.clone())
        .bind(after.secret_at)
        .bind(after.failing_since)
        .bind(after.disabled_at)
        .bind(after.disabled_at.is_none())
        .execute(self.connection())
        .await?;
        if before.disabled_at.is_none() && after.disabled_at.is_some() {
            self.give_up(&after.id).await?;
        }
        self.record_webhook(code, Some(before), Some(after)).await
    }

    /// Takes the webhooks of a network away, which goes itself.
    pub(super) async fn erase_webhooks_of(&mut self, network: &Network) -> Result<()> {
        let stored: Vec<Stored> = sql!(select_webhook!("w.network_id = $1 ORDER BY w.id"))
            .bind(network.id.to_string())
            .fetch_all(self.connection())
            .await?;
        for stored in stored {
            let (webhook, _) = self.index().opened(stored);
            self.erase_webhook(&webhook).await?;
        }
        Ok(())
    }

    // Nobody needs its row any more: what happened with it is in the audit trail, and its target is a secret.
    async fn erase_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        sql!("DELETE FROM webhook_deliveries WHERE webhook_id = $1")
            .bind(webhook.id.clone())
            .execute(self.connection())
            .await?;
        sql!("DELETE FROM webhooks WHERE id = $1")
            .bind(webhook.id.clone())
            .execute(self.connection())
            .await?;
        self.record_webhook("webhook.remove", Some(webhook), None).await
    }

    /// Writes the audit row of a webhook.
    async fn record_webhook(
        &mut self,
        code: &'static str,
        before: Option<&Webhook>,
        after: Option<&Webhook>,
    ) -> Result<()> {
        let Some(webhook) = after.or(before) else { return Ok(()) };
        let (id, network) = (webhook.id.clone(), webhook.network_id);
        let (before, after) = (before.map(Record::of), after.map(Record::of));
        let (before, after) = (before.as_ref(), after.as_ref());
        self.record(Entry { code, entity: "webhook", id: &id, network, before, after }).await
    }
}

impl<'a> Record<'a> {
    fn of(webhook: &'a Webhook) -> Self {
        let url = Url::parse(&webhook.url);
        Self {
            id: &webhook.id,
            network: webhook.network.as_ref().map(ToString::to_string),
            origin: url.map(|url| url.origin().ascii_serialization()).unwrap_or_default(),
            events: &webhook.events,
            description: &webhook.description,
            anywhere: webhook.anywhere,
            secret_at: webhook.secret_at,
            disabled_at: webhook.disabled_at,
        }
    }
}

/// Whether a webhook that is on waits for that event.
pub(super) async fn is_awaited(transaction: &mut Transaction, event: HookEvent) -> Result<bool> {
    let waiting: i64 = sql!(
        "SELECT COUNT(*) FROM webhooks WHERE disabled_at IS NULL AND ' ' || events || ' ' LIKE '% ' || $1 || ' %'"
    )
    .bind(event.as_str())
    .fetch_one(transaction)
    .await?;
    Ok(waiting > 0)
}

/// What a target becomes, if it changes at all.
fn changed_target(
    before: Option<Target>,
    url: Option<Url>,
    secret: Option<SigningSecret>,
) -> Result<Option<Target>> {
    match (before, url, secret) {
        (_, None, None) => Ok(None),
        (Some(Target { url: old, secret: known }), url, secret) => {
            Ok(Some(Target { url: url.unwrap_or(old), secret: secret.unwrap_or(known) }))
        }
        (None, Some(url), Some(secret)) => Ok(Some(Target { url, secret })),
        (None, ..) => Err(IndexError::State(
            "its address and its secret were sealed under another fleet.key: give it both anew".to_owned(),
        )),
    }
}

fn checked_events(events: BTreeSet<HookEvent>) -> Result<BTreeSet<HookEvent>> {
    if events.is_empty() || events.contains(&HookEvent::Test) {
        let why = format!("one or more of: {}", HookEvent::ALL.map(HookEvent::as_str).join(", "));
        return Err(IndexError::Invalid { what: "events", why });
    }
    Ok(events)
}

fn checked_description(text: &str) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > DESCRIPTION_MAX || text.chars().any(char::is_control) {
        let why = format!("it has at most {DESCRIPTION_MAX} characters, on one line");
        return Err(IndexError::Invalid { what: "description", why });
    }
    Ok(text.to_owned())
}
