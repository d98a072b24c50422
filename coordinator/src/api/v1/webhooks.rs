//! `/webhooks`: addresses that hear what happens, and what was sent to them.

use std::collections::BTreeSet;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::page::{Items, Nothing, PageQuery, Wanted};
use super::problem::Problem;
use super::sent::{Gone, IfMatch, Made, Named, Sent, Tagged, word};
use crate::index::lists::{Filter, Page};
use crate::index::webhooks::deliveries::Delivery;
use crate::index::webhooks::{HookEvent, NewWebhook, SigningSecret, Webhook, WebhookWishes};

/// A webhook; its secret is shown once, when it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookView {
    id: String,
    /// Name of its network; null for one that hears of the whole server.
    #[schema(required)]
    network: Option<String>,
    /// Where messages go; empty where it was sealed under another `fleet.key`.
    url: String,
    /// What it hears of.
    #[schema(example = json!(["device.online", "member.approval_needed"]))]
    events: Vec<&'static str>,
    description: String,
    /// Whether it may lead to private addresses, and do without TLS: an administrator of the server named its address.
    anywhere: bool,
    created_by: String,
    created_at: i64,
    /// When its secret was drawn.
    secret_at: i64,
    /// Since when nothing arrives.
    failing_since: Option<i64>,
    /// When it was switched off, by somebody, or by itself since nothing arrived.
    disabled_at: Option<i64>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            network: webhook.network.map(|network| network.to_string()),
            url: webhook.url,
            events: webhook.events.into_iter().map(HookEvent::as_str).collect(),
            description: webhook.description,
            anywhere: webhook.anywhere,
            created_by: webhook.created_by,
            created_at: webhook.created_at,
            secret_at: webhook.secret_at,
            failing_since: webhook.failing_since,
            disabled_at: webhook.disabled_at,
        }
    }
}

/// A webhook that was made or changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What messages are signed with, `whsec_...`: shown this once, where it is new.
    #[schema(required)]
    secret: Option<String>,
}

/// A message for a webhook, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryView {
    /// `webhook-id`: the same in each try.
    id: String,
    /// What happened.
    event: &'static str,
    /// What is sent: `type`, `timestamp` and `data`.
    #[schema(value_type = Object)]
    payload: serde_json::Value,
    /// `pending`, `delivered` or `failed`.
    state: &'static str,
    /// How often it was tried.
    tries: i64,
    /// When it is tried next; null unless it is pending.
    #[schema(required)]
    next_at: Option<i64>,
    /// The HTTP status of the last try, if one came.
    last_status: Option<i64>,
    /// Why the last try failed.
    last_error: Option<String>,
    created_at: i64,
    /// When it arrived or was given up.
    done_at: Option<i64>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event: delivery.event.as_str(),
            payload: serde_json::from_str(&delivery.payload).unwrap_or_default(),
            state: delivery.state.as_str(),
            tries: delivery.tries,
            next_at: delivery.done_at.is_none().then_some(delivery.next_at),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            created_at: delivery.created_at,
            done_at: delivery.done_at,
        }
    }
}

/// A webhook to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhookBody {
    /// Name or id of its network; without, it hears of the whole server, which is for its administrators.
    network: Option<String>,
    /// Where messages go: https:// and a public address, unless an administrator of the server asks.
    #[schema(max_length = 2048, example = "https://example.org/hooks/lanyard")]
    url: String,
    /// What it hears of.
    #[schema(min_items = 1, example = json!(["device.online", "member.approval_needed"]))]
    events: Vec<String>,
    /// What people read of it.
    #[serde(default)]
    #[schema(max_length = 200)]
    description: String,
}

/// What is to change about a webhook; what is not named stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookBody {
    /// Where messages go.
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// What it hears of.
    #[schema(min_items = 1)]
    events: Option<Vec<String>>,
    /// What people read of it.
    #[schema(max_length = 200)]
    description: Option<String>,
    /// Whether it is off. On again, it hears of what happens from then on.
    disabled: Option<bool>,
    /// Another secret, at once; the answer shows it this once.
    #[serde(default)]
    new_secret: bool,
}

/// Which webhooks.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those of this network, by its name or id.
    #[serde(default)]
    #[param(required = false)]
    network: String,
}

fn events(words: &[String]) -> Result<BTreeSet<HookEvent>, Problem> {
    words.iter().map(|text| word("events", text)).collect()
}

/// The webhook of that id, if the caller administers what it hears of; nobody else knows of it.
async fn found(caller: &Caller, id: &str) -> Result<Webhook, Problem> {
    let found = caller.index().webhooks_page(&caller.grants, &Filter::id(id), &Page::first(1)).await?;
    found.rows.into_iter().next().ok_or_else(|| Problem::not_found("webhook"))
}

fn changed(caller: &Caller, webhook: Webhook, secret: Option<&SigningSecret>) -> Tagged<ChangedWebhookView> {
    let version = caller.index().version(&webhook);
    let secret = secret.map(SigningSecret::reveal);
    Tagged(version, ChangedWebhookView { webhook: webhook.into(), secret })
}

/// Webhooks, the newest first: of networks that one administers, and for administrators of the server its own
#[utoipa::path(get, path = "/webhooks", params(PageQuery, Which), responses((status = 200, body = Items<WebhookView>)))]
pub(super) async fn list(caller: Caller, wanted: Wanted<Which>) -> Result<Json<Items<WebhookView>>, Problem> {
    let network = match wanted.filter.network.as_str() {
        "" => None,
        name => Some(caller.administered(name).await?.id),
    };
    let filter = Filter { network, ..Filter::default() };
    let found = caller.index().webhooks_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, WebhookView::from)))
}

/// Make a webhook; its secret is shown this once
#[utoipa::path(post, path = "/webhooks", request_body = NewWebhookBody,
    responses((status = 201, body = ChangedWebhookView)))]
pub(super) async fn add(
    caller: Caller,
    Sent(body): Sent<NewWebhookBody>,
) -> Result<Made<Tagged<ChangedWebhookView>>, Problem> {
    let network = match &body.network {
        Some(name) => Some(caller.network(name).await?.slug),
        None => None,
    };
    let new =
        NewWebhook { network, url: body.url, events: events(&body.events)?, description: body.description };
    let (webhook, secret) = caller.index().add_webhook(&new, &caller.actor()).await?;
    Ok(Made(changed(&caller, webhook, Some(&secret))))
}

/// A webhook
#[utoipa::path(get, path = "/webhooks/{id}", params(("id" = String, Path)),
    responses((status = 200, body = WebhookView)))]
pub(super) async fn show(caller: Caller, Named(id): Named<String>) -> Result<Tagged<WebhookView>, Problem> {
    let webhook = found(&caller, &id).await?;
    Ok(Tagged(caller.index().version(&webhook), webhook.into()))
}

/// Change a webhook: also switch it off and on, and give it another secret
#[utoipa::path(patch, path = "/webhooks/{id}",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = WebhookBody, responses((status = 200, body = ChangedWebhookView)))]
pub(super) async fn set(
    caller: Caller,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
    Sent(body): Sent<WebhookBody>,
) -> Result<Tagged<ChangedWebhookView>, Problem> {
    let webhook = found(&caller, &id).await?;
    let wishes = WebhookWishes {
        url: body.url,
        events: body.events.as_deref().map(events).transpose()?,
        description: body.description,
        is_disabled: body.disabled,
        new_secret: body.new_secret,
    };
    let actor = caller.actor_if(version);
    let (webhook, secret) = caller.index().set_webhook(&webhook.id, &wishes, &actor).await?;
    Ok(changed(&caller, webhook, secret.as_ref()))
}

/// Take a webhook away, with what was sent to it
#[utoipa::path(delete, path = "/webhooks/{id}",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
pub(super) async fn remove(
    caller: Caller,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
) -> Result<Gone, Problem> {
    let webhook = found(&caller, &id).await?;
    caller.index().remove_webhook(&webhook.id, &caller.actor_if(version)).await?;
    Ok(Gone)
}

/// Have a `webhook.test` sent, once; its delivery says what became of it
#[utoipa::path(post, path = "/webhooks/{id}/test", params(("id" = String, Path)),
    responses((status = 201, body = DeliveryView)))]
pub(super) async fn test(
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Made<Json<DeliveryView>>, Problem> {
    let webhook = found(&caller, &id).await?;
    let delivery = caller.index().test_webhook(&webhook.id, &caller.actor()).await?;
    Ok(Made(Json(delivery.into())))
}

/// What was sent to a webhook in the last 7 days, and what became of it, the newest first
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", params(("id" = String, Path), PageQuery),
    responses((status = 200, body = Items<DeliveryView>)))]
pub(super) async fn deliveries(
    caller: Caller,
    Named(id): Named<String>,
    wanted: Wanted<Nothing>,
) -> Result<Json<Items<DeliveryView>>, Problem> {
    let Nothing {} = wanted.filter;
    let webhook = found(&caller, &id).await?;
    let found = caller.index().deliveries_page(&webhook, &wanted.page).await?;
    Ok(Json(Items::of(found, DeliveryView::from)))
}

/// Have a message sent once more, whatever became of it
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/retry",
    params(("id" = String, Path), ("delivery" = String, Path)),
    responses((status = 200, body = DeliveryView)))]
pub(super) async fn retry(
    caller: Caller,
    Named((id, delivery)): Named<(String, String)>,
) -> Result<Json<DeliveryView>, Problem> {
    let webhook = found(&caller, &id).await?;
    let delivery = caller.index().retry_delivery(&webhook.id, &delivery, &caller.actor()).await?;
    Ok(Json(delivery.into()))
}
