//! HTTP: health, metrics, the pages for people, the interface for programs, and the door.
//!
//! Numbers are for the operator: `/metrics` answers to loopback and private addresses only. `/healthz` tells
//! strangers no more than which services are well.

pub mod certificate;
mod door;
mod pages;
pub mod tls;
mod v1;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ipnetwork::IpNetwork;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::v1::places::Places;

use crate::accounts::Accounts;
use crate::config::Service;
use crate::door::Doors;
use crate::entrance::Entrance;
use crate::health::{Health, State as ServiceState};
use crate::index::Index;
use crate::oidc::Provider;
use crate::problem::Problem;

/// How long requests under way may take after the order to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What handlers share.
#[derive(Clone)]
pub struct Web {
    health: Health,
    metrics: PrometheusHandle,
    index: Option<Arc<Index>>,
    doors: Option<Doors>,
    accounts: Option<Arc<Accounts>>,
    entrance: Option<Arc<Entrance>>,
    listeners: Places,
    snapshots: Places,
    /// Turns true when answers that never end have to.
    stopping: watch::Receiver<bool>,
    /// What people call this server.
    name: Arc<str>,
    /// Who is believed about where a request came from.
    proxies: Arc<[IpNetwork]>,
}

/// What this server is to browsers.
#[derive(Debug, Default)]
pub struct Site {
    /// What people call it: its public name or address.
    pub name: String,
    /// What browsers call it, without a path; `None` when it serves no pages.
    pub url: Option<String>,
    /// Who is believed about where a request came from.
    pub proxies: Vec<IpNetwork>,
    /// Where people sign in, beside here.
    pub providers: Vec<Provider>,
}

/// Marks a request that came by TLS.
#[derive(Debug, Clone, Copy)]
struct Secure;

impl Web {
    /// Takes what there is to show; without an index there are no accounts, without control services no door.
    #[must_use]
    pub fn new(
        health: Health,
        metrics: PrometheusHandle,
        index: Option<Arc<Index>>,
        doors: Option<Doors>,
        site: Site,
    ) -> Self {
        let accounts =
            |index| Arc::new(Accounts::new(index, site.url.as_deref(), &site.name, site.providers));
        let accounts = index.clone().map(accounts);
        Self {
            health,
            metrics,
            index,
            doors,
            accounts,
            entrance: None,
            listeners: v1::live::places(),
            snapshots: v1::snapshot::places(),
            stopping: watch::channel(false).1,
            name: site.name.into(),
            proxies: site.proxies.into(),
        }
    }

    /// The same, which knows where this server is reached.
    #[must_use]
    pub fn reached_at(self, entrance: Entrance) -> Self {
        Self { entrance: Some(Arc::new(entrance)), ..self }
    }

    /// The same, whose answers that never end do so when `stop` turns true.
    #[must_use]
    pub fn until(self, stop: watch::Receiver<bool>) -> Self {
        Self { stopping: stop, ..self }
    }

    /// Every route.
    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(healthz))
            .route("/metrics", get(metrics))
            .route(lanyard_wire::door::PATH, get(door::open))
            .merge(pages::router(&self))
            .merge(v1::router(&self))
            .with_state(self)
    }
}

/// Binds the web address.
///
/// # Errors
/// [`Problem`] `web.unavailable` when it cannot be bound.
pub async fn bind(address: &str) -> Result<TcpListener, Problem> {
    TcpListener::bind(address).await.map_err(|error| {
        let text =
            format!("web.listen: tcp {address} cannot be opened ({error}): free it or set another address");
        Problem::new("web.unavailable", text)
    })
}

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, web: Web, mut stop: watch::Receiver<bool>) {
    let service = web.router().into_make_service_with_connect_info::<SocketAddr>();
    let mut stopping = stop.clone();
    let graceful = async move { drop(stopping.wait_for(|stop| *stop).await) };
    let serving = axum::serve(listener, service).with_graceful_shutdown(graceful).into_future();
    let deadline = async {
        drop(stop.wait_for(|stop| *stop).await);
        tokio::time::sleep_until(tokio::time::Instant::now() + STOP_GRACE).await;
    };
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::error!(%error, "the web server ended");
        },
        () = deadline => {}
    }
}

async fn healthz(State(web): State<Web>) -> Response {
    let report = web.health.report();
    let word = |state: &ServiceState| match state {
        ServiceState::Starting => "starting",
        ServiceState::Ok => "ok",
        ServiceState::Degraded { .. } => "degraded",
        ServiceState::Failed { .. } => "failed",
    };
    let services: BTreeMap<&str, &str> =
        report.iter().map(|(name, state)| (Service::as_str(*name), word(state))).collect();
    let is_bad = |state: &ServiceState| matches!(state, ServiceState::Starting | ServiceState::Failed { .. });
    let (code, status) = if report.values().any(is_bad) {
        (StatusCode::SERVICE_UNAVAILABLE, "failed")
    } else if report.values().any(|state| *state != ServiceState::Ok) {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ok")
    };
    let body = json!({ "v": 1, "program": "lanyard-server", "status": status, "services": services });
    (
        code,
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")],
        body.to_string(),
    )
        .into_response()
}

async fn metrics(State(web): State<Web>, ConnectInfo(remote): ConnectInfo<SocketAddr>) -> Response {
    if !is_near(remote.ip()) {
        return (StatusCode::FORBIDDEN, "metrics are for loopback and private addresses\n").into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], web.metrics.render()).into_response()
}

/// Loopback, private or link-local.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_near(ip.into()),
            None => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_for_near_addresses_only() {
        for near in ["127.0.0.1", "10.1.2.3", "192.168.1.1", "::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["203.0.113.9", "100.64.0.1", "2001:db8::1", "::ffff:203.0.113.9"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
