//! Two devices, one coordinator, and a network that delays and forwards.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lanyard_proto::device::{Command, CoordinatorState, Device, DeviceCache, DeviceConfig, Event, TunnelMtu};
use lanyard_proto::overlay::{ForwardingTable, Observation, Path};
use lanyard_proto::service::{
    CheckpointConfig, Endpoint, EndpointCommand, EndpointConfig, EndpointEvent, FleetKey, MemberRecord,
    NetworkRecord, RelayConfig, Stun, StunConfig,
};
use lanyard_proto::time::{Instant, WallClock};
use lanyard_proto::transmit::{Datagram, SocketId, Transmit, Way};
use lanyard_wire::checkpoint::{JoinOutcome, MemberState, ServiceAddr, Services};
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::{DeviceName, NetworkName};

/// One way between any two addresses.
const DELAY: Duration = Duration::from_millis(20);

pub(super) const CONTROL: &str = "198.51.100.1:7443";
const STUN: [[&str; 2]; 2] =
    [["198.51.100.1:3478", "198.51.100.1:3479"], ["198.51.100.2:3478", "198.51.100.2:3479"]];
const UNIX_MS: u64 = 1_700_000_000_000;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) devices: Vec<End>,
    pub(super) endpoint: Endpoint,
    pub(super) stun: Stun,
    pub(super) members: Vec<MemberRecord>,
    pub(super) revision: u64,
    /// When, from, to, bytes; what tunnel data is carries the sender's path.
    pub(super) flying: Vec<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    pub(super) forbid_direct: bool,
    /// Nothing passes between the ports that both devices use for everything.
    pub(super) forbid_usual: bool,
    /// A port that device 0's router maps to it, open although everything else direct is forbidden.
    pub(super) mapped: Option<SocketAddr>,
    pub(super) is_coordinator_up: bool,
    pub(super) boots: u64,
    pub(super) sent_to: BTreeMap<(usize, SocketAddr), usize>,
}

pub(super) struct End {
    pub(super) device: Device,
    pub(super) id: DeviceId,
    pub(super) address: SocketAddr,
    pub(super) table: Arc<ForwardingTable>,
    pub(super) events: Vec<Event>,
    pub(super) moves: Vec<(Instant, Path)>,
    pub(super) saved: DeviceCache,
    pub(super) sent: u32,
    pub(super) lost: u32,
    pub(super) heard: u32,
    pub(super) first_heard: Option<Instant>,
    /// Spare sockets that are open, and those of them that may carry tunnels.
    pub(super) open: BTreeSet<SocketId>,
    pub(super) kept: BTreeSet<SocketId>,
}

impl World {
    pub(super) fn new() -> Self {
        let now = Instant::from_secs(1);
        let mut world = Self {
            now,
            devices: (0..2).map(|at| End::new(at, 1, now)).collect(),
            endpoint: endpoint(1, now),
            stun: Stun::new(StunConfig {
                addrs: STUN.map(|row| row.map(|addr| Some(addr.parse().unwrap()))),
                strict: true,
            }),
            members: Vec::new(),
            revision: 1,
            flying: Vec::new(),
            forbid_direct: false,
            forbid_usual: false,
            mapped: None,
            is_coordinator_up: true,
            boots: 1,
            sent_to: BTreeMap::new(),
        };
        world.endpoint.handle_command(EndpointCommand::Network(world.network()), now);
        world.endpoint.handle_command(EndpointCommand::RosterComplete, now);
        world
    }

    pub(super) fn join_both(&mut self) {
        for at in 0..2 {
            let addrs = vec![CONTROL.parse().unwrap()];
            self.command(at, Command::AddCoordinator { key: coordinator().public(), addrs, cache: None });
            let addrs = vec![self.devices[at].address];
            self.command(at, Command::LocalAddresses { addrs, prefixes: Vec::new() });
            let network = NetworkName::parse("home").unwrap();
            let join = Command::Join {
                tag: 1,
                key: coordinator().public(),
                network,
                invite: None,
                password: None,
                name: None,
            };
            self.command(at, join);
        }
        self.run_for(Duration::from_secs(3));
        for at in 0..2 {
            let events = &self.devices[at].events;
            let joined =
                |event: &Event| matches!(event, Event::Joined { outcome: JoinOutcome::Joined { .. }, .. });
            assert!(events.iter().any(joined), "device {at} did not join: {events:?}");
            assert_eq!(self.devices[at].table.peers.len(), 1, "device {at} does not know the other");
            assert!(self.is_online(at));
        }
    }

    pub(super) fn command(&mut self, at: usize, command: Command) {
        self.devices[at].device.handle_command(command, self.now);
        self.drain();
    }

    pub(super) fn connect(&mut self, at: usize) {
        let peer = self.devices[1 - at].id;
        self.command(at, Command::Connect { peer });
    }

    pub(super) fn path(&self, at: usize) -> Path {
        self.devices[at].table.peers.first().map_or(Path::None, |peer| peer.path)
    }

    pub(super) fn is_online(&self, at: usize) -> bool {
        let status = self.devices[at].device.status(self.now);
        matches!(status.coordinators[0].state, CoordinatorState::Online { .. })
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.revision += 1;
        let device = self.devices[at].id;
        self.members.retain(|member| DeviceId::of(&member.identity) != device);
        let network = self.network().id;
        let revision = Revision::new(self.revision);
        self.endpoint.handle_command(EndpointCommand::MemberGone { network, revision, device }, self.now);
        self.drain();
    }

    pub(super) fn restart_coordinator(&mut self) {
        self.restart_coordinator_without_roster();
        self.load_roster();
    }

    pub(super) fn restart_coordinator_without_roster(&mut self) {
        self.boots += 1;
        self.is_coordinator_up = true;
        self.endpoint = endpoint(u8::try_from(self.boots).unwrap(), self.now);
    }

    pub(super) fn load_roster(&mut self) {
        let network = self.network();
        let id = network.id;
        self.endpoint.handle_command(EndpointCommand::Network(network), self.now);
        for member in self.members.clone() {
            let revision = Revision::new(self.revision);
            let command = EndpointCommand::Member { network: id, revision, member };
            self.endpoint.handle_command(command, self.now);
        }
        self.endpoint.handle_command(EndpointCommand::RosterComplete, self.now);
        self.drain();
    }

    pub(super) fn restart_device(&mut self, at: usize) {
        let saved = std::mem::take(&mut self.devices[at].saved);
        assert_eq!(saved.coordinators.len(), 1, "something was saved");
        self.devices[at] = End::new(at, 2, self.now);
        for cache in saved.coordinators {
            let addrs = cache.addrs.clone();
            self.command(at, Command::AddCoordinator { key: cache.key, addrs, cache: Some(cache) });
        }
        let addrs = vec![self.devices[at].address];
        self.command(at, Command::LocalAddresses { addrs, prefixes: Vec::new() });
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let devices = self.devices.iter().filter_map(|end| end.device.poll_timeout());
            let endpoint = self.endpoint.poll_timeout().filter(|_| self.is_coordinator_up);
            let timers = devices.chain(endpoint).map(|wakeup| wakeup.at);
            let next = timers.chain(self.flying.iter().map(|(at, ..)| *at)).min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    /// Both ends send a tunnel datagram every 50 ms, over whatever their table says.
    pub(super) fn talk_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            for at in 0..2 {
                self.say(at);
            }
            self.drain();
            self.run_for(ms(50));
        }
        self.run_for(ms(100));
        for at in 0..2 {
            let heard = self.devices[1 - at].heard;
            self.devices[at].lost = self.devices[at].sent - heard;
        }
    }

    pub(super) fn say(&mut self, at: usize) {
        let peer = self.devices[1 - at].id;
        let path = self.path(at);
        let mut bytes = vec![0; 96];
        bytes[0] = 4;
        let (target, bytes) = match path {
            Path::Direct { local, remote } => (Some(Way { local, remote }), bytes),
            Path::Relayed { relay, channel } => {
                let header = RelayHeader { channel, length: 96 };
                let mut frame = header.encode().to_vec();
                frame.extend_from_slice(&bytes);
                (Some(Way::main(relay)), frame)
            }
            Path::None => (None, bytes),
        };
        let sent = Observation {
            peer,
            tx_packets: u32::from(target.is_some()),
            tx_bytes: 96,
            waiting: target.is_none(),
            ..Observation::of(peer)
        };
        self.devices[at].device.observe(&[sent], self.now);
        if let Some(Way { local, remote }) = target {
            self.devices[at].sent += 1;
            self.send(at, Transmit { local, remote, bytes });
        }
    }

    pub(super) fn step(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
        self.flying = later;
        for (_, from, to, bytes) in due {
            self.deliver(from, to, &bytes);
        }
        for end in &mut self.devices {
            end.device.handle_timeout(now);
            let wakeup = end.device.poll_timeout();
            assert!(wakeup.is_none_or(|wakeup| wakeup.at > now), "a device spins: {wakeup:?}");
        }
        if self.is_coordinator_up {
            self.endpoint.handle_timeout(now);
        }
        self.drain();
    }

    pub(super) fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let datagram = Datagram { local: SocketId::MAIN, remote: from, bytes };
        if to == CONTROL.parse().unwrap() {
            if self.is_coordinator_up {
                let _ignored = self.endpoint.handle_datagram(datagram, now);
            }
            return;
        }
        for (ip, row) in STUN.iter().enumerate() {
            for (port, addr) in row.iter().enumerate() {
                if to == addr.parse().unwrap() && self.is_coordinator_up {
                    let at = SocketId(u16::try_from(2 * ip + port).unwrap());
                    if let Some(answer) = self.stun.answer(at, from, bytes) {
                        let at = usize::from(answer.local.0);
                        let source = STUN[at / 2][at % 2].parse().unwrap();
                        self.flying.push((now + DELAY, source, answer.remote, answer.bytes));
                    }
                    return;
                }
            }
        }
        let Some(at) = self.devices.iter().position(|end| end.address.ip() == to.ip()) else { return };
        let path = match classify(bytes) {
            Class::WireGuard => Path::Direct { local: self.socket(at, to), remote: from },
            Class::Relay => {
                let (header, inner) = RelayHeader::parse(bytes).unwrap();
                if classify(inner) == Class::Lanyard {
                    let _ignored = self.devices[at].device.handle_datagram(datagram, now);
                    return;
                }
                assert!(self.devices[at].table.by_channel(from, header.channel).is_some());
                Path::Relayed { relay: from, channel: header.channel }
            }
            Class::Stun | Class::Lanyard | Class::Noise => {
                let datagram = Datagram { local: self.socket(at, to), ..datagram };
                let _ignored = self.devices[at].device.handle_datagram(datagram, now);
                return;
            }
        };
        let end = &mut self.devices[at];
        if let Path::Direct { local, .. } = path {
            assert!(local == SocketId::MAIN || end.kept.contains(&local), "nobody reads tunnels there");
        }
        end.heard += 1;
        end.first_heard.get_or_insert(now);
        let peer = self.devices[1 - at].id;
        let heard = Observation { rx: vec![(path, 1, 96)], ..Observation::of(peer) };
        self.devices[at].device.observe(&[heard], now);
    }

    /// The socket of a device that has this address; a spare one is another port of the same machine.
    fn socket(&self, at: usize, to: SocketAddr) -> SocketId {
        let is_main = to == self.devices[at].address || Some(to) == self.mapped;
        SocketId(if is_main { 0 } else { to.port() - 20_000 })
    }

    pub(super) fn send(&mut self, at: usize, transmit: Transmit) {
        let mut from = self.devices[at].address;
        if transmit.local != SocketId::MAIN {
            self.devices[at].open.insert(transmit.local);
        }
        *self.sent_to.entry((at, transmit.remote)).or_default() += 1;
        let peer = self.devices[1 - at].address;
        if self.forbid_usual && transmit.local == SocketId::MAIN && transmit.remote == peer {
            return;
        }
        let is_direct = transmit.remote.ip() == peer.ip() && Some(transmit.remote) != self.mapped;
        if is_direct && self.forbid_direct {
            // What came in by the mapped port goes back by it.
            let back = self.mapped.filter(|port| at == 0 && self.sent_to.contains_key(&(1, *port)));
            let Some(back) = back else { return };
            from = back;
        }
        let from = match transmit.local {
            SocketId(0) => from,
            SocketId(spare) => (from.ip(), 20_000 + spare).into(),
        };
        self.flying.push((self.now + DELAY, from, transmit.remote, transmit.bytes));
    }

    pub(super) fn drain(&mut self) {
        for at in 0..2 {
            while let Some(transmit) = self.devices[at].device.poll_transmit() {
                self.send(at, transmit);
            }
            while let Some(event) = self.devices[at].device.poll_event() {
                let now = self.now;
                let end = &mut self.devices[at];
                if let Event::Forwarding(table) = &event {
                    end.table = Arc::clone(table);
                } else if let Event::Path { to, .. } = &event {
                    end.moves.push((now, *to));
                } else if let Event::Persist(cache) = &event {
                    end.saved = (**cache).clone();
                } else if let Event::KeepSocket(socket) = &event {
                    assert!(end.open.contains(socket) && end.kept.insert(*socket));
                } else if let Event::CloseSocket(socket) = &event {
                    end.open.remove(socket);
                    end.kept.remove(socket);
                }
                end.events.push(event);
            }
        }
        if !self.is_coordinator_up {
            return;
        }
        while let Some(event) = self.endpoint.poll_event() {
            if let EndpointEvent::JoinAsked { ask, identity, request, .. } = event {
                self.revision += 1;
                let number = u8::try_from(self.members.len()).unwrap() + 1;
                let member = MemberRecord {
                    identity,
                    number: DeviceNumber::new(u32::from(number)).unwrap(),
                    wireguard: request.wireguard,
                    name: request.name,
                    ip4: [10, 7, 0, number].into(),
                    ip6: [0xFD00, 7, 0, 0, 0, 0, 0, u16::from(number)].into(),
                    state: MemberState::Active,
                };
                self.members.push(member.clone());
                let network = self.network().id;
                let revision = Revision::new(self.revision);
                let put = EndpointCommand::Member { network, revision, member };
                self.endpoint.handle_command(put, self.now);
                let outcome = JoinOutcome::Joined { network };
                self.endpoint.handle_command(EndpointCommand::JoinDecided { ask, outcome }, self.now);
            }
        }
        while let Some(Transmit { remote, bytes, .. }) = self.endpoint.poll_transmit() {
            self.flying.push((self.now + DELAY, CONTROL.parse().unwrap(), remote, bytes));
        }
    }

    pub(super) fn network(&self) -> NetworkRecord {
        NetworkRecord {
            id: NetworkId::from_bytes([7; 16]),
            name: NetworkName::parse("home").unwrap(),
            prefix4: ([10, 7, 0, 0].into(), 24),
            prefix6: [0xFD00, 7, 0, 0, 0, 0, 0, 0].into(),
            peer_relay: true,
            revision: Revision::new(self.revision),
        }
    }
}

impl End {
    pub(super) fn new(at: usize, boot: u8, now: Instant) -> Self {
        let id = u8::try_from(at).unwrap() + 1;
        let identity = SecretKey::from_bytes([id; 32]);
        let config = DeviceConfig {
            wireguard: PublicKey::from_bytes([id + 100; 32]),
            boot: u64::from(boot),
            seed: [id * 16 + boot; 32],
            wall: wall(now),
            name: DeviceName::parse(["laptop", "nas"][at]).unwrap(),
            os: "linux".into(),
            version: "0.1.0".into(),
            tunnel_mtu: TunnelMtu::ETHERNET,
            peer_relay: None,
            early_packets: true,
            identity,
        };
        Self {
            id: DeviceId::of(&config.identity.public()),
            device: Device::new(config, now),
            address: ([192, 0, 2, id], 7_000).into(),
            table: Arc::default(),
            events: Vec::new(),
            moves: Vec::new(),
            saved: DeviceCache::default(),
            sent: 0,
            lost: 0,
            heard: 0,
            first_heard: None,
            open: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }
}

pub(super) fn endpoint(boot: u8, now: Instant) -> Endpoint {
    let me = || vec![ServiceAddr { key: coordinator().public(), addrs: Vec::new() }];
    let stun = STUN.iter().flatten().map(|addr| addr.parse().unwrap()).collect();
    let config = EndpointConfig {
        identity: coordinator(),
        fleet: FleetKey::from_bytes([8; 32]),
        seed: [boot; 32],
        wall: wall(now),
        checkpoint: Some(CheckpointConfig { services: Services { handshake: me(), relay: me(), stun } }),
        handshake: true,
        relay: Some(RelayConfig::per_pair(100_000_000, 1_000_000)),
    };
    Endpoint::new(config, now)
}

pub(super) fn coordinator() -> SecretKey {
    SecretKey::from_bytes([99; 32])
}

pub(super) fn wall(now: Instant) -> WallClock {
    WallClock { at: now, unix_ms: UNIX_MS + now.as_micros() / 1_000 }
}

pub(super) fn table_of(event: &Event) -> Option<Arc<ForwardingTable>> {
    let Event::Forwarding(table) = event else { return None };
    Some(Arc::clone(table))
}

pub(super) fn direct(to: usize) -> Path {
    Path::Direct { local: SocketId::MAIN, remote: ([192, 0, 2, u8::try_from(to).unwrap() + 1], 7_000).into() }
}

pub(super) fn kind(path: Path) -> &'static str {
    match path {
        Path::Direct { .. } => "direct",
        Path::Relayed { .. } => "relayed",
        Path::None => "none",
    }
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
