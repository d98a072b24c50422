//! The coordinator's machines: endpoints and STUN on servers, INDEX behind them, and what a crash takes away.
//!
//! One [`Coordinator`] is one or two servers that share keys and an [`Index`]. A server that crashes loses
//! sessions, bindings and attempts; keys and members are there again when it comes back. Each answer to a
//! datagram is held against the promise that nobody unproven gets more than they sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lanyard_proto::rejected::Rejected;
use lanyard_proto::rng::Rng;

use lanyard_proto::service::{
    CheckpointConfig, Endpoint, EndpointCommand, EndpointConfig, EndpointEvent, FleetKey, RelayConfig, Stun,
    StunConfig,
};
use lanyard_proto::time::{Instant, WallClock};
use lanyard_proto::transmit::{Datagram, SocketId};
use lanyard_wire::checkpoint::{JoinOutcome, LinkReport, PairVerdict, ServiceAddr, Services};
use lanyard_wire::envelope;
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::limits::{CONTROL_PORT, STUN_ALTERNATE_PORT, STUN_PORT};

use crate::host::{Counted, Door};
use crate::index::Index;
use crate::net::ServerId;

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// Presence, members and STUN.
    Front,
    /// Handshakes and relaying.
    Back,
}

/// A coordinator: its permanent data and its servers.
#[derive(Debug)]
pub struct Coordinator {
    /// Its permanent data.
    pub index: Index,
    /// Its servers; the first one is the checkpoint.
    pub servers: Vec<Server>,
    /// What was told of each pair last, the lower device first, and by whom.
    pub verdicts: BTreeMap<(DeviceId, DeviceId), (DeviceId, PairVerdict)>,
    /// What each device reported last of its data with another, and the bytes of all its reports, sent and received.
    pub carried: BTreeMap<(DeviceId, DeviceId), (LinkReport, (u64, u64))>,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    /// Its number in the core.
    pub id: ServerId,
    /// Its addresses: two of IPv4, so that STUN has a pair, and one of IPv6.
    pub ips: [IpAddr; 3],
    /// Datagrams to its control port, by what became of them.
    pub counted: Counted,
    /// Why datagrams were ignored.
    pub rejected: BTreeMap<Rejected, u64>,
    role: Role,
    secret: [u8; 32],
    fleet: [u8; 32],
    services: Services,
    endpoint: Option<Endpoint>,
    stun: Option<Stun>,
    rng: Rng,
}

/// What a server did during one call.
#[derive(Debug, Default)]
pub struct Answers {
    /// Datagrams: own address, destination, bytes.
    pub datagrams: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// Broken promises.
    pub broken: Vec<String>,
    /// Nobody listens at that address.
    pub is_deaf: bool,
}

impl Coordinator {
    /// A coordinator on servers that were put into the core before.
    #[must_use]
    pub fn new(ids: &[ServerId], rng: &mut Rng) -> Self {
        let fleet = rng.bytes();
        let secrets: Vec<[u8; 32]> = ids.iter().map(|_| rng.bytes()).collect();
        let is_apart = ids.len() > 1;
        let there = |(id, secret): (&ServerId, &[u8; 32])| ServiceAddr {
            key: SecretKey::from_bytes(*secret).public(),
            addrs: if is_apart { control_addrs(*id).to_vec() } else { Vec::new() },
        };
        let relay: Vec<ServiceAddr> =
            ids.iter().zip(&secrets).skip(usize::from(is_apart)).map(there).collect();
        let handshake = relay.iter().take(1).cloned().collect();
        let front = ids.first().copied().unwrap_or(ServerId(0));
        let services = Services { handshake, relay, stun: stun_addrs(front) };
        let servers = ids.iter().zip(secrets).map(|(id, secret)| Server {
            id: *id,
            ips: server_ips(*id),
            counted: Counted::default(),
            rejected: BTreeMap::new(),
            role: match (ids.len(), *id == front) {
                (1, _) => Role::All,
                (_, true) => Role::Front,
                (_, false) => Role::Back,
            },
            secret,
            fleet,
            services: services.clone(),
            endpoint: None,
            stun: None,
            rng: rng.fork(b"server"),
        });
        Self {
            index: Index::default(),
            servers: servers.collect(),
            verdicts: BTreeMap::new(),
            carried: BTreeMap::new(),
        }
    }

    /// What a join string says: key and address of the checkpoint.
    #[must_use]
    pub fn door(&self) -> Option<Door> {
        self.servers
            .first()
            .map(|server| Door { key: server.public(), addrs: control_addrs(server.id).to_vec() })
    }

    /// Starts a server with empty memory.
    pub fn start(&mut self, server: usize, now: Instant) {
        let Some(server) = self.servers.get_mut(server) else { return };
        server.start(now);
        for command in self.index.everything() {
            server.command(&command, now);
        }
    }

    /// A server is told to end.
    pub fn end(&mut self, server: usize, now: Instant) -> Vec<(usize, Answers)> {
        let Some(entry) = self.servers.get_mut(server) else { return Vec::new() };
        entry.command(&EndpointCommand::Drain, now);
        vec![(server, entry.drain(now))]
    }

    /// A server is gone from one moment to the next.
    pub fn crash(&mut self, server: usize) {
        if let Some(server) = self.servers.get_mut(server) {
            server.endpoint = None;
            server.stun = None;
        }
    }

    /// A datagram arrives at an address of a server.
    pub fn on_datagram(
        &mut self,
        server: usize,
        at: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Vec<(usize, Answers)> {
        let Some(entry) = self.servers.get_mut(server) else { return Vec::new() };
        let answers = entry.on_datagram(at, remote, bytes, now);
        let mut all = vec![(server, answers)];
        all.extend(self.attend(server, now));
        all
    }

    /// Lets timers of a server run.
    pub fn on_timeout(&mut self, server: usize, now: Instant) -> Vec<(usize, Answers)> {
        let Some(entry) = self.servers.get_mut(server) else { return Vec::new() };
        let answers = entry.on_timeout(now);
        let mut all = vec![(server, answers)];
        all.extend(self.attend(server, now));
        all
    }

    /// An administrator ends a membership.
    pub fn remove(&mut self, network: NetworkId, device: DeviceId, now: Instant) -> Vec<(usize, Answers)> {
        let commands = self.index.remove(network, device, now);
        self.feed(&commands, now)
    }

    /// INDEX answers what a machine asked of it.
    fn attend(&mut self, server: usize, now: Instant) -> Vec<(usize, Answers)> {
        let mut all = Vec::new();
        while let Some(event) = self.servers.get_mut(server).and_then(Server::poll_event) {
            let (answer, changes) = match event {
                EndpointEvent::JoinAsked { ask, identity, request, .. } => {
                    let (outcome, changes) = self.index.join(identity, &request);
                    (EndpointCommand::JoinDecided { ask, outcome }, changes)
                }
                EndpointEvent::LeaveAsked { ask, device, network } => {
                    let changes = self.index.remove(network, device, now);
                    (EndpointCommand::LeaveDone { ask }, changes)
                }
                EndpointEvent::PairVerdict { device, verdict } => {
                    let pair = (device.min(verdict.peer), device.max(verdict.peer));
                    self.verdicts.insert(pair, (device, verdict));
                    continue;
                }
                EndpointEvent::Links { device, links } => {
                    for link in links {
                        let (tx, rx) =
                            self.carried.get(&(device, link.peer)).map_or((0, 0), |(_, sums)| *sums);
                        let sums = (tx + link.tx_bytes, rx + link.rx_bytes);
                        self.carried.insert((device, link.peer), (link, sums));
                    }
                    continue;
                }
                EndpointEvent::Presence { .. } | EndpointEvent::Verdict { .. } => continue,
            };
            all.extend(self.feed(&changes, now));
            if let Some(entry) = self.servers.get_mut(server) {
                entry.command(&answer, now);
                all.push((server, entry.drain(now)));
            }
        }
        all
    }

    fn feed(&mut self, commands: &[EndpointCommand], now: Instant) -> Vec<(usize, Answers)> {
        let mut all = Vec::new();
        for (number, server) in self.servers.iter_mut().enumerate() {
            for command in commands {
                server.command(command, now);
            }
            all.push((number, server.drain(now)));
        }
        all
    }
}

impl Server {
    /// Its public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        SecretKey::from_bytes(self.secret).public()
    }

    /// The machine, while it runs.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// When its timers want to run next, and why.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<(Instant, &'static str)> {
        self.endpoint.as_ref().and_then(Endpoint::poll_timeout).map(|wakeup| (wakeup.at, wakeup.why))
    }

    fn start(&mut self, now: Instant) {
        let checkpoint = CheckpointConfig { services: self.services.clone() };
        let relay = RelayConfig::per_pair(100_000_000, 1_000_000);
        let config = EndpointConfig {
            identity: SecretKey::from_bytes(self.secret),
            fleet: FleetKey::from_bytes(self.fleet),
            seed: self.rng.bytes(),
            wall: WallClock { at: now, unix_ms: 1_800_000_000_000 + now.as_micros() / 1_000 },
            checkpoint: (self.role != Role::Back).then_some(checkpoint),
            handshake: self.role != Role::Front,
            relay: (self.role != Role::Front).then_some(relay),
        };
        self.endpoint = Some(Endpoint::new(config, now));
        let grid = [0, 1]
            .map(|ip| [STUN_PORT, STUN_ALTERNATE_PORT].map(|port| Some(SocketAddr::new(self.ips[ip], port))));
        self.stun = (self.role != Role::Back).then(|| Stun::new(StunConfig { addrs: grid, strict: true }));
    }

    fn command(&mut self, command: &EndpointCommand, now: Instant) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.handle_command(command.clone(), now);
        }
    }

    fn poll_event(&mut self) -> Option<EndpointEvent> {
        self.endpoint.as_mut()?.poll_event()
    }

    fn on_timeout(&mut self, now: Instant) -> Answers {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.handle_timeout(now);
        }
        self.drain(now)
    }

    fn on_datagram(&mut self, at: SocketAddr, remote: SocketAddr, bytes: &[u8], now: Instant) -> Answers {
        if at.port() != CONTROL_PORT {
            return self.on_stun(at, remote, bytes);
        }
        let Some(endpoint) = self.endpoint.as_mut() else {
            return Answers { is_deaf: true, ..Answers::default() };
        };
        self.counted.arrived += 1;
        match endpoint.handle_datagram(Datagram { local: SocketId::MAIN, remote, bytes }, now) {
            Ok(()) => self.counted.taken += 1,
            Err(rejected) => {
                self.counted.ignored += 1;
                *self.rejected.entry(rejected).or_default() += 1;
            }
        }
        let mut answers = self.drain(now);
        check_answers(remote, bytes, &mut answers);
        answers
    }

    fn on_stun(&self, at: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> Answers {
        let place = (0..2).find(|ip| self.ips[*ip] == at.ip());
        let port = match at.port() {
            STUN_PORT => Some(0),
            STUN_ALTERNATE_PORT => Some(1),
            _ => None,
        };
        let (Some(stun), Some(ip), Some(port)) = (&self.stun, place, port) else {
            return Answers { is_deaf: true, ..Answers::default() };
        };
        let socket = SocketId(u16::try_from(2 * ip).unwrap_or(0) + port);
        let mut answers = Answers::default();
        if let Some(transmit) = stun.answer(socket, remote, bytes) {
            let (ip, port) = (usize::from(transmit.local.0 / 2), transmit.local.0 % 2);
            let from =
                SocketAddr::new(self.ips[ip.min(1)], if port == 0 { STUN_PORT } else { STUN_ALTERNATE_PORT });
            answers.datagrams.push((from, transmit.remote, transmit.bytes));
        }
        check_answers(remote, bytes, &mut answers);
        answers
    }

    fn drain(&mut self, _now: Instant) -> Answers {
        let mut answers = Answers::default();
        let Some(endpoint) = self.endpoint.as_mut() else { return answers };
        while let Some(transmit) = endpoint.poll_transmit() {
            let ip = if transmit.remote.is_ipv4() { self.ips[0] } else { self.ips[2] };
            answers.datagrams.push((SocketAddr::new(ip, CONTROL_PORT), transmit.remote, transmit.bytes));
        }
        answers
    }
}

/// Nothing that is sent because of an unproven datagram may be longer than it.
///
/// Authenticated data proves its sender; so does a cookie, which WELCOME answers. A relay frame is passed on as
/// it is, to an end that is proven.
fn check_answers(remote: SocketAddr, question: &[u8], answers: &mut Answers) {
    let Some(kind) = question.first() else { return };
    if *kind == envelope::DATA {
        return;
    }
    let sent: usize = answers.datagrams.iter().map(|(.., bytes)| bytes.len()).sum();
    let has_cookie =
        *kind == envelope::HELLO && question.get(128..144).is_some_and(|cookie| cookie != [0; 16]);
    let welcomes = answers.datagrams.iter().all(|(_, to, bytes)| {
        *to == remote && bytes.first() == Some(&envelope::WELCOME) && bytes.len() <= 300
    });
    if sent > question.len() && !(has_cookie && welcomes) {
        let kinds: Vec<String> = answers
            .datagrams
            .iter()
            .map(|(_, to, bytes)| format!("{} to {to}", crate::trace::describe(bytes)))
            .collect();
        let question = crate::trace::describe(question);
        answers.broken.push(format!("{question} from {remote} was answered with {}", kinds.join(", ")));
    }
}

/// Where a server's control socket is.
#[must_use]
pub fn control_addrs(server: ServerId) -> [SocketAddr; 2] {
    let ips = server_ips(server);
    [SocketAddr::new(ips[0], CONTROL_PORT), SocketAddr::new(ips[2], CONTROL_PORT)]
}

/// A server's addresses.
#[must_use]
pub fn server_ips(server: ServerId) -> [IpAddr; 3] {
    let base = u8::try_from(server.0 * 16 + 1).unwrap_or(1);
    let low = u16::try_from(server.0).unwrap_or(0) + 1;
    [
        Ipv4Addr::new(203, 0, 113, base).into(),
        Ipv4Addr::new(203, 0, 113, base.wrapping_add(1)).into(),
        Ipv6Addr::new(0x2001, 0xDB8, 0, low, 0, 0, 0, 1).into(),
    ]
}

fn stun_addrs(server: ServerId) -> Vec<SocketAddr> {
    let ips = server_ips(server);
    [0, 1]
        .into_iter()
        .flat_map(|ip| [STUN_PORT, STUN_ALTERNATE_PORT].map(|port| SocketAddr::new(ips[ip], port)))
        .collect()
}

/// How long a server that comes back is given before anything is demanded of it.
pub const SERVER_START: Duration = Duration::from_secs(2);

/// The outcome of a join that went well.
#[must_use]
pub const fn is_joined(outcome: &JoinOutcome) -> bool {
    matches!(outcome, JoinOutcome::Joined { .. })
}
