//! Everything that is there while networking is up, and goes with `lanyard down`: the device machine with its
//! sockets, interface, data plane and network monitor.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use lanyard_proto::device::{Command, Device, DeviceConfig, Event, Status, TunnelMtu};
use lanyard_proto::overlay::ForwardingTable;
use lanyard_proto::transmit::{Datagram, SocketId, Transmit};
use lanyard_wire::door::is_door;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, mac16};
use lanyard_wire::names::DeviceName;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, trace, warn};

use super::ways::Ways;
use crate::clock::Clock;
use crate::config::Config;
use crate::dataplane::{Counters, DataPlane, PeerCounters, Waiting, shard_count};
use crate::door::Doorkeeper;
use crate::exit::{Code, Problem};
use crate::netmon::{LocalNetwork, Monitor, Router};
use crate::portmap::{self, PortMapper};
use crate::sockets::{Inbound, Sockets, SpareSockets};
use crate::state::{Host, Keys};
use crate::stream::{Opened, Streams};
use crate::tun::{Tun, TunAddresses, TunConfig};

/// Datagrams for the machine that wait while it works; on top of that the newest are dropped and counted.
const INBOUND_MAX: usize = 1_024;

/// What is seen by the data plane within this time reaches the machine at once: observations say when they were made, and
/// before a doubt that is due the engine looks once more, so nothing is found later for it.
const OBSERVE_EVERY: Duration = Duration::from_millis(200);

/// Packets that wait for their sessions and for the machine to hear of it; of more it does not hear.
const WAITS_MAX: usize = 64;

/// The longest sleep: the runtime's timers stand still while the computer sleeps, the machine's clock does not.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// The running network stack of the agent.
pub(super) struct Networking {
    clock: Clock,
    device: Device,
    plane: DataPlane,
    sockets: Sockets,
    spare: SpareSockets,
    addresses: TunAddresses,
    monitor: Monitor,
    /// `None` where the administrator does not want it.
    mapper: Option<PortMapper>,
    inbound: mpsc::Receiver<Inbound>,
    doors: Doorkeeper,
    reopened: mpsc::Receiver<PublicKey>,
    streams: Streams,
    opened: mpsc::Receiver<Opened>,
    waits: mpsc::Receiver<Waiting>,
    /// When the data plane is asked next; `None` while it is quiet.
    observe_at: Option<Instant>,
    table: watch::Sender<Arc<ForwardingTable>>,
}

/// What woke the engine.
#[derive(Debug)]
pub(super) enum Happening {
    /// A datagram for the machine.
    Datagram(Inbound),
    /// Traffic after a quiet time.
    Activity,
    /// Time to ask the data plane what it saw.
    Observe,
    /// The machine wanted to be woken.
    Timeout,
    /// The computer's own network changed.
    Changed(LocalNetwork),
    /// The router maps a port, another one, or none any more.
    Mapped(portmap::State),
    /// The door of this coordinator was lost, and is open again.
    Reopened(PublicKey),
    /// A TCP connection with a peer.
    Opened(Opened),
    /// A packet waits for a session.
    Waits(Waiting),
}

impl Networking {
    /// Opens the UDP port, makes the interface and starts the data plane and the machine.
    ///
    /// `last_port` is taken again if it is free and the configuration names none; `boot` is larger than in
    /// any earlier start.
    pub(super) async fn start(
        config: &Config,
        keys: &Keys,
        last_port: u16,
        boot: u64,
        name: DeviceName,
    ) -> Result<Self, Problem> {
        let shards = shard_count();
        // Without a wish of the administrator the last port is only a preference.
        let sockets = match Sockets::bind(if config.port == 0 { last_port } else { config.port }, shards) {
            Err(error) if config.port == 0 && last_port != 0 => {
                warn!(port = last_port, %error, "the last UDP port is gone, taking another");
                Sockets::bind(0, shards)
            }
            bound => bound,
        };
        let sockets = sockets.map_err(|error| Problem::quoted(&error.to_string(), Code::SocketsFailed))?;
        let tun = Tun::create(&TunConfig { name: config.tun.clone(), queues: shards })
            .await
            .map_err(|error| Problem::quoted(&error.to_string(), Code::TunFailed))?;
        let failed = |what: &str, error: std::io::Error| {
            Problem::new(Code::AgentStart, format!("cannot {what}: {error}"))
        };
        let monitor = Monitor::start(Some(tun.addresses.index()))
            .await
            .map_err(|error| failed("listen to the kernel's network changes", error))?;
        let (control, inbound) = mpsc::channel(INBOUND_MAX);
        let (waiting, waits) = mpsc::channel(WAITS_MAX);
        let plane = DataPlane::start(tun.queues, sockets.clone(), &keys.wireguard, control.clone(), waiting)
            .map_err(|error| failed("start the data plane", error))?;

        let port = NonZeroU16::new(sockets.port());
        let secret = mac16(&keys.identity.to_bytes(), &[b"lanyard port mapping"]);
        let mapper = port.filter(|_| config.port_mapping).map(|port| PortMapper::start(port, secret));
        let variable = |name: &str| std::env::var(name).ok();
        let (doors, reopened) = Doorkeeper::new(sockets.clone(), config.proxy.as_str(), variable)
            .map_err(|error| failed("prepare TLS", std::io::Error::other(error)))?;

        let table = watch::Sender::default();
        let (streams, opened) = Streams::new(sockets.clone(), table.subscribe());

        let clock = Clock;
        let device = DeviceConfig {
            identity: keys.identity.clone(),
            wireguard: keys.wireguard.public(),
            boot,
            seed: seed()?,
            wall: clock.wall(),
            name,
            os: std::env::consts::OS.to_owned(),
            version: crate::VERSION.to_owned(),
            tunnel_mtu: TunnelMtu::ETHERNET,
            peer_relay: config.relay.then_some(u64::from(config.relay_rate) * 1_000_000),
            early_packets: config.early_packets,
        };
        let mut networking = Self {
            device: Device::new(device, clock.now()),
            clock,
            plane,
            sockets,
            spare: SpareSockets::new(control),
            addresses: tun.addresses,
            monitor,
            mapper,
            inbound,
            doors,
            reopened,
            streams,
            opened,
            waits,
            observe_at: None,
            table,
        };
        networking.announce(networking.monitor.network());
        Ok(networking)
    }

    /// Waits for the next thing to do. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Happening, Problem> {
        let timeout = self.timeout();
        let observe_at = self.observe_at;
        tokio::select! {
            () = sleep_until(timeout) => Ok(Happening::Timeout),
            () = sleep_until(observe_at.unwrap_or(timeout)), if observe_at.is_some() => Ok(Happening::Observe),
            () = self.plane.activity().notified(), if observe_at.is_none() => Ok(Happening::Activity),
            network = self.monitor.changed() => network.map(Happening::Changed).map_err(|error| {
                Problem::new(Code::AgentStart, format!("the kernel stopped telling network changes: {error}"))
            }),
            state = changed(&mut self.mapper) => Ok(Happening::Mapped(state)),
            Some(datagram) = self.inbound.recv() => Ok(Happening::Datagram(datagram)),
            Some(key) = self.reopened.recv() => Ok(Happening::Reopened(key)),
            Some(opened) = self.opened.recv() => Ok(Happening::Opened(opened)),
            Some(waiting) = self.waits.recv() => Ok(Happening::Waits(waiting)),
        }
    }

    /// Lets the machine know. Afterwards [`Networking::send`] and [`Networking::event`] until none is left.
    pub(super) fn handle(&mut self, happening: Happening) {
        let now = self.clock.now();
        match happening {
            Happening::Datagram(Inbound { local, remote, bytes }) => {
                let datagram = Datagram { local, remote, bytes: &bytes };
                if let Err(rejected) = self.device.handle_datagram(datagram, now) {
                    trace!(%remote, why = rejected.as_str(), "datagram rejected");
                }
            }
            Happening::Activity | Happening::Observe => self.observe(),
            Happening::Reopened(key) => self.device.handle_command(Command::Reconnected { key }, now),
            Happening::Opened(opened) => {
                if let Some((peer, stream)) = self.streams.adopt(opened) {
                    self.device.handle_command(Command::Dialed { peer, stream }, now);
                }
            }
            Happening::Waits(Waiting { peer, packet }) => {
                self.device.handle_command(Command::Waits { peer, packet }, now);
            }
            Happening::Timeout => {
                // What is due may be a doubt that something seen meanwhile settles.
                self.observe();
                self.device.handle_timeout(now);
            }
            Happening::Changed(network) => {
                debug!(addresses = ?network.addresses, "the network changed");
                self.announce(network);
                self.sockets.renew_offload();
                self.device.handle_command(Command::NetworkChanged, now);
            }
            Happening::Mapped(state) => {
                let addr = match state {
                    portmap::State::Mapped(lease) => Some(lease.external.into()),
                    portmap::State::Unneeded | portmap::State::Asking | portmap::State::Refused => None,
                };
                debug!(?state, "what the router maps changed");
                self.device.handle_command(Command::Mapped { addr }, now);
            }
        }
    }

    /// The addresses of a coordinator with the one that stands for its door.
    pub(super) fn with_door(&mut self, host: &Host, mut addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
        addrs.retain(|addr| !is_door(*addr));
        addrs.push(self.doors.addr(host.key, &host.name, host.door));
        addrs
    }

    /// Forgets the door of a coordinator.
    pub(super) fn close_door(&mut self, key: &PublicKey) {
        self.doors.close(key);
    }

    /// The doors, for those who only look.
    pub(super) const fn doors(&self) -> &Doorkeeper {
        &self.doors
    }

    /// The TCP connections with peers.
    pub(super) const fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Where paths lead that go by TCP.
    pub(super) fn ways(&self) -> Ways {
        let port = |key: &_| self.doors.state(key).map(|(_, port)| port);
        Ways::new(&self.status(), self.streams.remotes(), port)
    }

    /// Passes on a wish.
    pub(super) fn command(&mut self, command: Command) {
        self.device.handle_command(command, self.clock.now());
    }

    /// Sends everything the machine wants sent.
    pub(super) fn send(&mut self) {
        while let Some(transmit) = self.device.poll_transmit() {
            if let Err(error) = self.send_one(&transmit) {
                // No route, or no room: the machine repeats what matters.
                trace!(remote = %transmit.remote, %error, "datagram not sent");
            }
        }
    }

    /// The machine's next fact.
    pub(super) fn event(&mut self) -> Option<Event> {
        self.device.poll_event()
    }

    /// Makes a table valid for packets and its addresses those of the interface.
    pub(super) async fn forward(&mut self, table: Arc<ForwardingTable>) {
        self.plane.set_table(&table);
        if let Err(error) = self.addresses.apply(&table.addresses).await {
            warn!(%error, "the interface does not have all its addresses");
        }
        self.table.send_replace(table);
    }

    /// Hands this computer a packet that came before its session.
    pub(super) fn deliver_early(&self, peer: &DeviceId, packet: &[u8]) {
        self.plane.deliver_early(peer, packet);
    }

    /// The machine at this moment.
    pub(super) fn status(&self) -> Status {
        self.device.status(self.clock.now())
    }

    /// What the data plane counted: drops, and each peer's traffic.
    pub(super) fn counters(&self) -> (Counters, Vec<PeerCounters>) {
        (self.plane.counters(), self.plane.peer_counters())
    }

    /// How this device stands with its router, and whether what that maps is offered to peers.
    pub(super) fn mapping(&self) -> (Option<portmap::State>, bool) {
        (self.mapper.as_ref().map(PortMapper::state), self.device.mapped().is_some())
    }

    /// The machine's clock.
    pub(super) fn now(&self) -> lanyard_proto::time::Instant {
        self.clock.now()
    }

    /// The UDP port in use.
    pub(super) fn port(&self) -> u16 {
        self.sockets.port()
    }

    /// The newest table, for those who only look.
    pub(super) fn table(&self) -> watch::Receiver<Arc<ForwardingTable>> {
        self.table.subscribe()
    }

    /// Lets the data plane read and send by a spare socket.
    pub(super) fn keep(&mut self, socket: SocketId) {
        let kept = self.spare.give(socket).and_then(|given| self.sockets.kept().add(socket, given));
        if let Err(error) = kept {
            // What comes by it is lost then, and the machine leaves the path.
            warn!(%socket, %error, "a spare socket cannot carry tunnels");
        }
    }

    /// Closes a spare socket.
    pub(super) fn close(&mut self, socket: SocketId) {
        self.spare.close(socket);
        self.sockets.kept().remove(socket);
    }

    /// Whether packets still flow; they stop when somebody removes the interface.
    pub(super) fn is_running(&self) -> bool {
        self.plane.is_running()
    }

    /// Gives the mapped port back and ends the data plane; the interface and the port go with it.
    pub(super) async fn stop(self) {
        self.doors.drain().await;
        if let Some(mapper) = self.mapper {
            mapper.stop().await;
        }
        self.plane.stop();
    }

    fn send_one(&mut self, transmit: &Transmit) -> std::io::Result<()> {
        if transmit.local == SocketId::MAIN { self.sockets.send(transmit) } else { self.spare.send(transmit) }
    }

    /// Tells the machine which addresses this computer has.
    fn announce(&mut self, network: LocalNetwork) {
        if let Some(mapper) = &self.mapper {
            let router = network.router;
            mapper.attach(router.map(|Router { gateway, local }| portmap::Router { gateway, local }));
        }
        let port = self.sockets.port();
        self.doors.network_changed(network.addresses.clone());
        let addrs = network.addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        self.command(Command::LocalAddresses { addrs, prefixes: network.prefixes });
    }

    fn observe(&mut self) {
        let seen = self.plane.observe();
        // Nothing seen: the data plane notifies when that changes.
        self.observe_at = (!seen.is_empty()).then(|| Instant::now() + OBSERVE_EVERY);
        if !seen.is_empty() {
            self.device.observe(&seen, self.clock.now());
        }
    }

    fn timeout(&self) -> Instant {
        let wait = self
            .device
            .poll_timeout()
            .map_or(SLEEP_MAX, |wakeup| wakeup.at.saturating_since(self.clock.now()));
        Instant::now() + wait.min(SLEEP_MAX)
    }
}

/// Waits for the next change of what the router maps; for ever where it is not asked.
async fn changed(mapper: &mut Option<PortMapper>) -> portmap::State {
    match mapper {
        Some(mapper) => mapper.changed().await,
        None => std::future::pending().await,
    }
}

/// Randomness for the machine, which has none of its own.
fn seed() -> Result<[u8; 32], Problem> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Problem::new(Code::AgentStart, format!("the operating system gives no random bytes: {error}"))
    })?;
    Ok(seed)
}
