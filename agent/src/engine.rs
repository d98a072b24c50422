//! The agent's loop: it moves datagrams, timers, commands and events between the device machine and the
//! leaves (sockets, interface, data plane, network monitor, state, local socket), and decides nothing.
//!
//! One turn: something happens, the machine is told, and everything it then wants is done before the next
//! happening is looked at. Nothing here waits for a disk, a name server or a client; those have tasks of their
//! own. What comes and goes with `lanyard up` and `down` is in `networking`.

mod calls;
mod counted;
mod echo;
mod find;
mod joining;
mod netcheck;
mod networking;
mod report;
mod resolve;
mod stop;
mod waiting;
mod ways;

use std::time::Duration;

use lanyard_proto::device::{Command, CoordinatorState, Event, MemberChange};
use lanyard_wire::names::DeviceName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::exit::{Code, Problem};
use crate::ipc::schema::Answer;
use crate::ipc::server::{Call, Server};
use crate::metrics::http;
use crate::state::{Damaged, Keys, State, Store, Writer};
use joining::is_active;
use networking::{Happening, Networking};
use resolve::Resolver;
use stop::Stop;
use waiting::{Wait, Waiting, What};

/// Requests that wait for the engine; it answers each within a turn.
const CALLS_MAX: usize = 64;

/// How often a coordinator that does not answer is looked up again by its name.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// How often a watcher sees new counters when nothing else happens.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs the agent until it is told to end by a signal.
///
/// `ready` is called once, when requests are accepted.
///
/// # Errors
///
/// Whatever keeps the agent from running: the state directory, the socket, the UDP port, the interface.
pub async fn run(config: Config, damaged: Damaged, ready: impl FnOnce()) -> Result<(), Problem> {
    let (store, keys, mut state) = Store::open(&config.state, damaged)?;
    // On the disk before the first datagram: services tell an old session from a new one by it.
    state.boot = state.boot.saturating_add(1);
    store.save(&state)?;
    let server = Server::bind(&config.socket)?;
    let mut stop = Stop::new()?;
    let mut engine = Engine::new(config, keys, state, store);
    if engine.state.down {
        info!("networking is down since \"lanyard down\"; \"lanyard up\" switches it on");
    } else {
        engine.start().await?;
    }

    let (sender, calls) = mpsc::channel(CALLS_MAX);
    if let Some(addr) = engine.config.metrics {
        tokio::spawn(http::serve(addr, sender.clone()));
    }
    let server = tokio::spawn(server.run(sender));
    ready();
    info!(version = crate::VERSION, socket = %engine.config.socket.display(), "agent started");
    let outcome = engine.serve(calls, &mut stop).await;

    engine.stop().await;
    engine.writer.finish().await;
    // Its end of the channel is closed, so it ends and removes the socket.
    drop(server.await);
    info!("agent ended");
    outcome
}

/// Everything the agent is made of.
struct Engine {
    config: Config,
    keys: Keys,
    state: State,
    writer: Writer,
    resolver: Resolver,
    /// `None` while `lanyard down` holds.
    networking: Option<Networking>,
    /// How often it was switched on since the process started.
    starts: u64,
    waiting: Waiting,
    watchers: Vec<mpsc::Sender<Answer>>,
    /// Something a watcher wants to see happened in this turn.
    changed: bool,
    look_up_at: Instant,
    watch_at: Instant,
}

impl Engine {
    fn new(config: Config, keys: Keys, state: State, store: Store) -> Self {
        let now = Instant::now();
        Self {
            config,
            keys,
            state,
            writer: Writer::start(store),
            resolver: Resolver::new(),
            networking: None,
            starts: 0,
            waiting: Waiting::default(),
            watchers: Vec::new(),
            changed: false,
            look_up_at: now + LOOK_UP_EVERY,
            watch_at: now + WATCH_EVERY,
        }
    }

    async fn serve(&mut self, mut calls: mpsc::Receiver<Call>, stop: &mut Stop) -> Result<(), Problem> {
        loop {
            let chore = self.chore_at();
            tokio::select! {
                () = stop.asked() => return Ok(()),
                call = calls.recv() => match call {
                    Some(call) => self.call(call).await,
                    None => return Err(Problem::new(Code::AgentNoAnswer, "the local socket is gone")),
                },
                Some(resolved) = self.resolver.next() => self.resolved(resolved),
                () = sleep_until(chore) => self.do_chores(),
                happening = next(&mut self.networking) => self.happened(happening?),
            }
            self.settle().await;
            if self.networking.as_ref().is_some_and(|networking| !networking.is_running()) {
                let text = "the virtual interface went away; start the agent again";
                return Err(Problem::new(Code::TunFailed, text));
            }
        }
    }

    /// Switches networking on with everything that is remembered.
    async fn start(&mut self) -> Result<(), Problem> {
        self.starts += 1;
        // The number on disk counts processes; within one, down and up begin new sessions too.
        let boot = self.state.boot.saturating_mul(0x1_0000).saturating_add(self.starts);
        let name = self.name();
        let mut networking = Networking::start(&self.config, &self.keys, self.state.port, boot, name).await?;
        for host in &self.state.hosts {
            let cache = self.state.cache.coordinators.iter().find(|cache| cache.key == host.key).cloned();
            let mut addrs: Vec<_> = resolve::literal(host).into_iter().collect();
            addrs.extend(cache.iter().flat_map(|cache| cache.addrs.iter().copied()));
            addrs.dedup();
            let addrs = networking.with_door(host, addrs);
            networking.command(Command::AddCoordinator { key: host.key, addrs, cache });
        }
        for peer in &self.state.refused {
            networking.command(Command::Refuse { peer: *peer, refused: true });
        }
        self.state.port = networking.port();
        self.networking = Some(networking);
        self.look_up(|_| true);
        self.save();
        self.settle().await;
        Ok(())
    }

    /// Switches networking off: good-bye to the coordinators, then everything goes.
    async fn stop(&mut self) {
        if let Some(networking) = &mut self.networking {
            networking.command(Command::Shutdown);
        }
        self.settle().await;
        if let Some(networking) = self.networking.take() {
            networking.stop().await;
        }
        for wait in self.waiting.take_all() {
            drop(wait.answers.try_send(Answer::Error(calls::is_down())));
        }
        self.changed = true;
        self.show_watchers();
    }

    fn happened(&mut self, happening: Happening) {
        let is_change = matches!(happening, Happening::Changed(_));
        self.changed |= matches!(happening, Happening::Mapped(_));
        if let Some(networking) = &mut self.networking {
            networking.handle(happening);
        }
        if is_change {
            self.look_up(|_| true);
        }
    }

    /// Does everything the machine wants, until it wants nothing more.
    async fn settle(&mut self) {
        while let Some(networking) = &mut self.networking {
            networking.send();
            let Some(event) = networking.event() else { break };
            self.apply(event).await;
        }
        self.answer_members();
        if self.changed {
            self.show_watchers();
        }
    }

    async fn apply(&mut self, event: Event) {
        let Some(networking) = &mut self.networking else { return };
        match event {
            Event::Forwarding(table) => networking.forward(table).await,
            Event::Early { peer, packet } => return networking.deliver_early(&peer, &packet),
            Event::KeepSocket(socket) => networking.keep(socket),
            Event::CloseSocket(socket) => networking.close(socket),
            Event::Dial { peer, addrs } => networking.streams().dial(peer, addrs),
            Event::Listen => networking.streams().listen(),
            Event::Persist(cache) => {
                self.state.cache = cache.into();
                self.save();
                return;
            }
            Event::Joined { tag, outcome } => self.decided(tag, outcome),
            Event::Left { tag, network } => {
                info!(%network, "left a network");
                if let Some(Wait { what: What::Leave { network }, answers, .. }) = self.waiting.take(tag) {
                    drop(answers.try_send(Answer::Left { network }));
                }
                self.forget_all_unused();
            }
            Event::Netcheck { tag, card } => self.measured(tag, &card),
            Event::Coordinator { key, state } => {
                let host = report::host_of(&key, &self.state.hosts);
                match state {
                    CoordinatorState::Connecting => debug!(host, "connecting"),
                    CoordinatorState::Online { .. } => info!(host, "coordinator online"),
                    CoordinatorState::Offline { .. } => {
                        warn!(host, "coordinator does not answer; tunnels go on without it");
                        self.look_up(|host| host.key == key);
                    }
                }
            }
            // The machine has said why in the log.
            Event::Path { .. } => {}
            Event::Member { name, change, .. } => match change {
                MemberChange::Joined => info!(%name, "member joined"),
                MemberChange::Left => info!(%name, "member left"),
                MemberChange::Online => info!(%name, "member online"),
                MemberChange::Offline => info!(%name, "member offline"),
            },
            Event::RemovedFrom { name, .. } => {
                warn!(%name, "this device is no longer a member of the network");
                self.forget_all_unused();
            }
            Event::Clash { name, with, .. } => {
                warn!(%name, with, "IPv4 of the network stays off: its addresses clash; IPv6 works");
            }
        }
        self.changed = true;
    }

    /// When there is something to do that nobody asks for.
    fn chore_at(&self) -> Instant {
        let watch_at = (!self.watchers.is_empty()).then_some(self.watch_at);
        let all = [Some(self.look_up_at), watch_at, self.waiting.deadline()];
        all.into_iter().flatten().min().unwrap_or(self.look_up_at)
    }

    fn do_chores(&mut self) {
        let now = Instant::now();
        self.answer_overdue();
        if now >= self.look_up_at {
            self.look_up_at = now + LOOK_UP_EVERY;
            let status = self.machine().map(|status| status.coordinators).unwrap_or_default();
            self.look_up(|host| {
                let online = |state| matches!(state, CoordinatorState::Online { .. });
                !status.iter().any(|coordinator| coordinator.key == host.key && online(coordinator.state))
            });
        }
        if now >= self.watch_at {
            self.show_watchers();
        }
    }

    /// Asks name servers again for the coordinators that have a name and of which `concerns` holds.
    fn look_up(&self, concerns: impl Fn(&crate::state::Host) -> bool) {
        if self.networking.is_none() {
            return;
        }
        for host in self.state.hosts.iter().filter(|host| resolve::literal(host).is_none() && concerns(host))
        {
            self.resolver.ask(host, None);
        }
    }

    fn show_watchers(&mut self) {
        self.changed = false;
        self.watch_at = Instant::now() + WATCH_EVERY;
        self.watchers.retain(|watcher| !watcher.is_closed());
        if self.watchers.is_empty() {
            return;
        }
        let status = self.status();
        for watcher in &self.watchers {
            // A client that does not keep up sees the next one.
            drop(watcher.try_send(Answer::Status(status.clone())));
        }
    }

    fn forget_all_unused(&mut self) {
        let keys: Vec<_> = self.state.hosts.iter().map(|host| host.key).collect();
        for key in keys {
            self.forget_unused(key);
        }
    }

    fn save(&self) {
        self.writer.save(self.state.clone());
    }

    /// The name this device joins networks under.
    fn name(&self) -> DeviceName {
        let configured = self.config.name.parse().ok();
        configured
            .or_else(|| self.state.name.clone())
            .unwrap_or_else(|| DeviceName::sanitize(host_name().trim()))
    }
}

/// What this computer calls itself; empty if it does not say.
#[cfg(unix)]
fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// What this computer calls itself; empty if it does not say.
#[cfg(windows)]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Waits for what happens to networking; forever while it is down.
async fn next(networking: &mut Option<Networking>) -> Result<Happening, Problem> {
    match networking {
        Some(networking) => networking.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
