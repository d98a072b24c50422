//! `/events` and `/health`: what happened, and how the services here are.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::page::{Items, PageQuery, Wanted};
use super::problem::Problem;
use super::views::EventView;
use super::words::StateWord;
use crate::api::Web;
use crate::config::Service;
use crate::health::State as ServiceState;
use crate::index::lists::Filter;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those about this network, by its name or id.
    #[serde(default)]
    #[param(required = false)]
    network: String,
    /// Only those about one kind of thing (`member`), or about one thing (`member:01J...`).
    #[serde(default)]
    #[param(required = false)]
    entity: String,
}

/// How a service is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServiceView {
    /// `starting`, `ok`, `degraded` or `failed`.
    #[schema(value_type = StateWord)]
    state: &'static str,
    /// What is away, or went wrong.
    #[schema(required)]
    why: Option<String>,
}

/// How this process is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthView {
    /// Its services, by name.
    services: BTreeMap<&'static str, ServiceView>,
    /// Version of the server.
    version: &'static str,
}

/// The audit trail, the newest first: of networks that one administers, and about oneself
#[utoipa::path(get, path = "/events", params(PageQuery, Which), responses((status = 200, body = Items<EventView>)))]
pub(super) async fn list(caller: Caller, wanted: Wanted<Which>) -> Result<Json<Items<EventView>>, Problem> {
    let Which { network, entity } = wanted.filter;
    let network = match network.as_str() {
        "" => None,
        name => Some(caller.network(name).await?.id),
    };
    let entity = (!entity.is_empty()).then(|| match entity.split_once(':') {
        Some((kind, id)) => (kind.to_owned(), Some(id.to_owned())),
        None => (entity.clone(), None),
    });
    let filter = Filter { network, entity, ..Filter::default() };
    let found = caller.index().events_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, EventView::from)))
}

/// How the services of this process are
#[utoipa::path(get, path = "/health", responses((status = 200, body = HealthView)))]
pub(super) async fn health(State(web): State<Web>, caller: Caller) -> Result<Json<HealthView>, Problem> {
    if !caller.is_server_admin() {
        return Err(Problem::forbidden("an administrator of this server"));
    }
    let view = |state: ServiceState| match state {
        ServiceState::Starting => ServiceView { state: "starting", why: None },
        ServiceState::Ok => ServiceView { state: "ok", why: None },
        ServiceState::Degraded { why } => ServiceView { state: "degraded", why: Some(why) },
        ServiceState::Failed { why } => ServiceView { state: "failed", why: Some(why) },
    };
    let services = web.health.report().into_iter();
    let services = services.map(|(service, state)| (Service::as_str(service), view(state))).collect();
    Ok(Json(HealthView { services, version: env!("CARGO_PKG_VERSION") }))
}
