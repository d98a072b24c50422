//! Which services run here, in what order they start, and how they stop.
//!
//! 1. INDEX opens (and, if need be, upgrades) the database; its end of the bus begins to publish.
//! 2. The bus: a channel when INDEX is here, a sealed stream when it is elsewhere.
//! 3. Sockets: every port is bound before anything runs, so a port that is taken stops the start with a clear error.
//! 4. The machines run, each in its shell; the web server comes last.
//!
//! Stopping goes the other way, once relayed pairs had time to go elsewhere (`farewell`): shells send what waits, the
//! feed tells the last presence, the database closes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lanyard_proto::service::{CheckpointConfig, Endpoint, EndpointConfig, FleetKey, RelayConfig};
use lanyard_proto::transmit::SocketId;
use lanyard_wire::checkpoint::{ServiceAddr, Services as ServiceList};
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::api::certificate::Tls;
use crate::api::{self, Site, Web};
use crate::bus::remote::Door;
use crate::bus::{Client, Interest, Link, local, publisher, remote};
use crate::checkpoint::Control;
use crate::checkpoint::feed::Feed;
use crate::clock::Clock;
use crate::config::{Config, Elsewhere, Relay, Service};
use crate::door::Doors;
use crate::entrance::Entrance;
use crate::farewell::Farewell;
use crate::health::{Health, State};
use crate::index::{self, Index, Schema};
use crate::keys;
use crate::oidc::Provider;
use crate::problem::Problem;
use crate::stun::{self, Bound};
use crate::udp::Shell;
use crate::udp::sockets::{Routing, Sockets};
use crate::webhooks::{self, Courier};

/// Commands and events that wait between a machine and the program.
const QUEUE: usize = 4_096;

/// How long stopping may take before what is left is cut off.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What `relay.rate_bps = 0` stands for: faster than any line, small enough to calculate with.
const NO_LIMIT_BPS: u64 = 1_000_000_000_000;

/// Services at work.
#[derive(Debug)]
pub struct Running {
    /// Where they listen, for the log.
    pub listening: Vec<String>,
    tasks: JoinSet<&'static str>,
    stop: watch::Sender<bool>,
    index: Option<Arc<Index>>,
    farewell: Option<Farewell>,
}

/// Starts the services of the settings.
///
/// # Errors
/// A [`Problem`] or an index error that says what to do; nothing runs then.
pub async fn start(config: &Config, metrics: PrometheusHandle) -> anyhow::Result<Running> {
    let (stop, stopped) = watch::channel(false);
    let mut start = Start {
        config,
        public: public_addresses(config).await?,
        health: Health::of(&config.services.run),
        clock: Clock::start(),
        fleet: keys::read_fleet(&config.data.dir)?,
        running: Running { listening: Vec::new(), tasks: JoinSet::new(), stop, index: None, farewell: None },
        stopped,
    };
    let identity = start.identity()?;
    let control = start.bind_control()?;
    let stun = start.bind_stun()?;
    let web = start.bind_web().await?;
    let front = start.bind_front()?;
    let link = start.connect().await?;
    let doors = match control {
        Some(sockets) => {
            let known = start.service_list(identity.public(), stun.as_ref());
            Some(start.run_control(identity, known, sockets, link)?)
        }
        None => None,
    };
    if let Some(bound) = stun {
        start.run_stun(bound);
    }
    let site = Site {
        name: config.public.host.clone(),
        url: config.web_url(),
        proxies: config.proxies()?,
        providers: Provider::all(&config.oidc, &config.data.dir)?,
    };
    let site = Web::new(start.health.clone(), metrics, start.running.index.clone(), doors, site)
        .reached_at(Entrance::of(config))
        .until(start.stopped.clone());
    if let Some(listener) = web {
        start.run_web(listener, site.clone());
    }
    if let Some((listeners, tls)) = front {
        start.run_front(listeners, tls, site);
    }
    Ok(start.running)
}

impl Running {
    /// Returns when a task ended that never should, with its name.
    pub async fn failed(&mut self) -> &'static str {
        match self.tasks.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(error)) => {
                tracing::error!(%error, "a task failed");
                "a task"
            }
            None => std::future::pending().await,
        }
    }

    /// Before stopping: leaves relayed pairs the time to go elsewhere, 8 s at the most. Returns at once without any.
    pub async fn drain(&mut self) {
        if let Some(farewell) = &mut self.farewell {
            farewell.say().await;
        }
    }

    /// Stops everything in order.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let finish = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, finish).await.is_err() {
            tracing::warn!("some tasks did not stop in time and are cut off");
            self.tasks.shutdown().await;
        }
        if let Some(index) = self.index {
            index.close().await;
        }
    }
}

/// The start, step by step.
struct Start<'a> {
    config: &'a Config,
    public: Vec<IpAddr>,
    health: Health,
    clock: Clock,
    fleet: SymmetricKey,
    running: Running,
    stopped: watch::Receiver<bool>,
}

impl Start<'_> {
    /// The key devices know this process by.
    fn identity(&self) -> anyhow::Result<SecretKey> {
        if self.config.runs(Service::Checkpoint) {
            keys::read_identity(&self.config.data.dir)
        } else {
            Ok(keys::outpost_identity(&self.fleet, &self.config.services.name))
        }
    }

    fn bind_control(&mut self) -> anyhow::Result<Option<Sockets>> {
        if !self.config.runs_control() {
            return Ok(None);
        }
        let wanted: Vec<_> = (0u16..).map(SocketId).zip(self.config.control.listen.iter().copied()).collect();
        let sockets = Sockets::bind(&wanted, Routing::ByRemote, "control.listen")?;
        let sockets = if self.config.runs(Service::Relay) { sockets.with_frames_apart() } else { sockets };
        self.note("udp", &sockets.addresses(), "control");
        Ok(Some(sockets))
    }

    fn bind_stun(&mut self) -> anyhow::Result<Option<Bound>> {
        if !self.config.runs(Service::Stun) {
            return Ok(None);
        }
        let bound = stun::bind(&self.config.stun, &self.public)?;
        self.note("udp", &bound.sockets.addresses(), "stun");
        Ok(Some(bound))
    }

    async fn bind_web(&mut self) -> anyhow::Result<Option<TcpListener>> {
        if self.config.web.listen.is_empty() {
            return Ok(None);
        }
        let listener = api::bind(&self.config.web.listen).await?;
        self.note("tcp", &[listener.local_addr().context("ask for the web address")?], "web");
        Ok(Some(listener))
    }

    /// TLS and the door. Without it UDP still serves nearly every device, so an address that is taken is no reason to
    /// stop.
    fn bind_front(&mut self) -> anyhow::Result<Option<(Vec<TcpListener>, Tls)>> {
        if self.config.web.tls.is_empty() {
            return Ok(None);
        }
        let tls = api::certificate::server_config(self.config)?;
        let mut listeners = Vec::new();
        for address in &self.config.web.tls {
            match api::tls::bind(*address) {
                Ok(Some(listener)) => {
                    self.note("tcp", &[listener.local_addr().context("ask for the address of TLS")?], "tls");
                    listeners.push(listener);
                }
                Ok(None) => tracing::info!(%address, "this machine has no IPv6; going on without"),
                Err(problem) => tracing::error!("{problem}"),
            }
        }
        Ok(Some((listeners, tls)))
    }

    /// Steps 1 and 2: INDEX if it runs here, and a link to wherever it runs.
    async fn connect(&mut self) -> anyhow::Result<Option<Link>> {
        let wants_link = self.config.runs_control();
        if self.config.runs(Service::Index) {
            let database = self.config.database()?;
            let clock = index::Clock::system();
            let index = Index::open(&database, Schema::Upgrade, &self.fleet, clock).await?;
            let index = Arc::new(index.with_networks_by(self.config.web.networks_by));
            let clients = self.publish(&index).await?;
            self.run_webhooks(&index);
            self.running.index = Some(index);
            return Ok(if wants_link { local::connect(&clients).await } else { None });
        }
        let address = &self.config.bus.connect;
        Ok((wants_link && !address.is_empty()).then(|| remote::connect(address.clone(), &self.fleet)))
    }

    async fn publish(&mut self, index: &Arc<Index>) -> anyhow::Result<mpsc::Sender<Client>> {
        let (clients, waiting) = mpsc::channel(QUEUE);
        if !self.config.bus.listen.is_empty() {
            let door = Door::bind(&self.config.bus.listen, &self.fleet).await?;
            self.note("tcp", &[door.address()?], "bus");
            let opened = door.open(clients.clone());
            let stopped = stopped(self.stopped.clone());
            self.running.tasks.spawn(async move {
                tokio::select! { () = opened => {}, () = stopped => {} }
                "the bus"
            });
        }
        let links_kept_ms = i64::from(self.config.data.link_days) * 24 * index::links::HOUR_MS;
        let publishing = publisher::run(Arc::clone(index), waiting, self.health.clone(), links_kept_ms);
        let stopped = stopped(self.stopped.clone());
        // The web needs INDEX even when no service is its client.
        let held = clients.clone();
        self.running.tasks.spawn(async move {
            tokio::select! {
                ended = publishing => if let Err(error) = ended {
                    tracing::error!(%error, "the index ended");
                },
                () = stopped => {}
            }
            drop(held);
            "the index"
        });
        Ok(clients)
    }

    fn run_webhooks(&mut self, index: &Arc<Index>) {
        let sending = Courier::new(Arc::clone(index), webhooks::PATIENCE).run(self.stopped.clone());
        let stopped = stopped(self.stopped.clone());
        self.running.tasks.spawn(async move {
            sending.await;
            // Without a reader of the outbox, which fails loudly itself, there is nothing to send.
            stopped.await;
            "the webhooks"
        });
    }

    /// What devices are told about where which service is.
    fn service_list(&self, key: PublicKey, stun: Option<&Bound>) -> ServiceList {
        let here = |service| self.config.runs(service).then(|| ServiceAddr { key, addrs: Vec::new() });
        let elsewhere = |list: &[Elsewhere]| -> Vec<ServiceAddr> {
            list.iter()
                .map(|other| ServiceAddr {
                    key: keys::outpost_identity(&self.fleet, &other.name).public(),
                    addrs: other.addresses.clone(),
                })
                .collect()
        };
        let all = |service, list: &[Elsewhere]| here(service).into_iter().chain(elsewhere(list)).collect();
        let bound = stun.map(|bound| bound.public.clone()).unwrap_or_default();
        ServiceList {
            handshake: all(Service::Handshake, &self.config.handshake.elsewhere),
            relay: all(Service::Relay, &self.config.relay.elsewhere),
            stun: bound.into_iter().chain(self.config.stun.elsewhere.iter().copied()).collect(),
        }
    }

    fn run_control(
        &mut self,
        identity: SecretKey,
        services: ServiceList,
        sockets: Sockets,
        link: Option<Link>,
    ) -> anyhow::Result<Doors> {
        let relay = self.config.runs(Service::Relay).then(|| relay_config(&self.config.relay));
        let has_checkpoint = self.config.runs(Service::Checkpoint);
        let endpoint = Endpoint::new(
            EndpointConfig {
                identity,
                fleet: FleetKey::from_bytes(*self.fleet.as_bytes()),
                seed: seed()?,
                wall: self.clock.wall(),
                checkpoint: has_checkpoint.then_some(CheckpointConfig { services }),
                handshake: self.config.runs(Service::Handshake),
                relay,
            },
            self.clock.now(),
        );
        let (commands_tx, commands) = mpsc::channel(QUEUE);
        let (events_tx, events) = mpsc::channel(QUEUE);
        let (doors, arrived) = Doors::new();
        let (control, channels) = Control::new(endpoint);
        self.running.farewell = Some(Farewell::new(commands_tx.clone(), channels));
        let shell = Shell::new(control, sockets, self.clock).with_doors(doors.clone(), arrived);
        let running = shell.run(commands, events_tx, self.stopped.clone());
        self.running.tasks.spawn(async move {
            running.await;
            "the control sockets"
        });
        let interest = if has_checkpoint { Interest::Roster } else { Interest::Departures };
        let feed =
            Feed::new(link, interest, commands_tx, self.health.clone()).run(events, self.stopped.clone());
        self.running.tasks.spawn(async move {
            feed.await;
            "the roster feed"
        });
        for service in [Service::Handshake, Service::Relay] {
            self.health.set(service, State::Ok);
        }
        Ok(doors)
    }

    fn run_stun(&mut self, bound: Bound) {
        let (_, commands) = mpsc::channel(1);
        let (events, _) = mpsc::channel(1);
        let running =
            Shell::new(bound.machine, bound.sockets, self.clock).run(commands, events, self.stopped.clone());
        self.running.tasks.spawn(async move {
            running.await;
            "stun"
        });
        self.health.set(Service::Stun, State::Ok);
    }

    fn run_front(&mut self, listeners: Vec<TcpListener>, tls: Tls, web: Web) {
        let serving = api::tls::serve(listeners, tls, web, self.stopped.clone());
        let stopped = stopped(self.stopped.clone());
        self.running.tasks.spawn(async move {
            serving.await;
            // Without listeners there is nothing to serve, and nothing has failed that was not said.
            stopped.await;
            "the door"
        });
    }

    fn run_web(&mut self, listener: TcpListener, web: Web) {
        let serving = api::serve(listener, web, self.stopped.clone());
        self.running.tasks.spawn(async move {
            serving.await;
            "the web server"
        });
    }

    fn note(&mut self, kind: &str, addresses: &[SocketAddr], what: &str) {
        for address in addresses {
            self.running.listening.push(format!("{kind} {address} {what}"));
        }
    }
}

/// The relay's settings as its machine wants them.
fn relay_config(relay: &Relay) -> RelayConfig {
    let rate_bps = if relay.rate_bps == 0 { NO_LIMIT_BPS } else { relay.rate_bps };
    RelayConfig {
        rate_bps,
        // At least 10 ms, and a train.
        burst: relay.burst_bytes.max(rate_bps / 8 / 100).max(65_536),
        network_bps: relay.network_bps,
        total_bps: relay.total_bps,
        network_quota: relay.network_quota_bytes,
        quota_bps: relay.quota_bps,
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Problem::new("system.randomness", format!("the operating system gives no random numbers: {error}"))
    })?;
    Ok(seed)
}

/// The addresses of this server as devices see them: as set, or what the public name leads to.
async fn public_addresses(config: &Config) -> anyhow::Result<Vec<IpAddr>> {
    let host = config.public.host.trim_start_matches('[').trim_end_matches(']');
    if !config.public.addresses.is_empty() || host.is_empty() {
        return Ok(config.public.addresses.clone());
    }
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| {
        let text = format!(
            "public.host \"{host}\" leads nowhere ({error}): check its DNS record, or set public.addresses to the \
             server's addresses"
        );
        Problem::new("serve.unknown_host", text)
    })?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}
