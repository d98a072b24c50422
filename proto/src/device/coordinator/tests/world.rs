//! Coordinator sides of a few devices, the real service machines, an INDEX of ten lines, and the air.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use lanyard_wire::checkpoint::{JoinOutcome, MemberState, ServiceAddr, Services};
use lanyard_wire::envelope::RELAY;
use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::nat::NatCard;

use super::super::{Coordinator, CoordinatorEvent, Shared, Wish};
use crate::device::cache::CoordinatorCache;
use crate::device::event::CoordinatorState;
use crate::device::presence::Standing;
use crate::rng::Rng;
use crate::service::{
    CheckpointConfig, Endpoint, EndpointCommand, EndpointConfig, EndpointEvent, FleetKey, MemberRecord,
    NetworkRecord, RelayConfig,
};
use crate::time::{Instant, WallClock};
use crate::transmit::{Datagram, SocketId};

pub(super) const CHECKPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 7_443);
pub(super) const APART: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)), 7_443);
pub(super) const SECOND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 3)), 7_443);
const UNIX_MS: u64 = 1_700_000_000_000;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) rtt: Duration,
    /// What the round trip of a device, by its address, with a service is longer than that.
    pub(super) further: BTreeMap<(SocketAddr, SocketAddr), Duration>,
    pub(super) devices: Vec<Device>,
    /// Services by address; what is not here is silent.
    pub(super) endpoints: BTreeMap<SocketAddr, Endpoint>,
    pub(super) index: Index,
    /// Kinds of datagrams that devices sent.
    pub(super) sent: Vec<u8>,
    services: Services,
    air: Vec<Flight>,
    faults: Option<(Rng, u64, Duration)>,
    starts: u8,
}

pub(super) struct Device {
    pub(super) coordinator: Coordinator,
    pub(super) addr: SocketAddr,
    pub(super) events: Vec<CoordinatorEvent>,
    /// Relay frames that arrived.
    pub(super) frames: usize,
    boot: u64,
}

/// Permanent data.
pub(super) struct Index {
    pub(super) network: NetworkRecord,
    pub(super) members: BTreeMap<DeviceId, MemberRecord>,
    /// Joins are approved at once, or wait.
    pub(super) approves: bool,
}

struct Flight {
    at: Instant,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl World {
    /// Devices without memberships and one coordinator with all services in one process.
    pub(super) fn new(devices: usize) -> Self {
        let here = ServiceAddr { key: secret(100).public(), addrs: Vec::new() };
        let services = Services { handshake: vec![here.clone()], relay: vec![here], stun: vec![CHECKPOINT] };
        Self::with_services(devices, services)
    }

    /// The same with HANDSHAKE and RELAY in another process.
    pub(super) fn apart(devices: usize) -> Self {
        let there = ServiceAddr { key: secret(101).public(), addrs: vec![APART] };
        let services = Services { handshake: vec![there.clone()], relay: vec![there], stun: Vec::new() };
        let mut world = Self::with_services(devices, services);
        world.start(APART);
        world
    }

    /// Two relays, each in a process of its own, and HANDSHAKE in the first.
    pub(super) fn two_relays(devices: usize) -> Self {
        let there = |number, addr| ServiceAddr { key: secret(number).public(), addrs: vec![addr] };
        let relay = vec![there(101, APART), there(102, SECOND)];
        let handshake = vec![there(101, APART)];
        let mut world = Self::with_services(devices, Services { handshake, relay, stun: Vec::new() });
        world.start(APART);
        world.start(SECOND);
        world
    }

    /// Devices that are all members, and know it.
    pub(super) fn joined(devices: usize) -> Self {
        Self::new(devices).join_all()
    }

    fn with_services(devices: usize, services: Services) -> Self {
        let network = NetworkRecord {
            id: network(),
            name: NetworkName::parse("home").unwrap(),
            prefix4: (Ipv4Addr::new(10, 7, 0, 0), 16),
            prefix6: "fd00:7::".parse().unwrap(),
            peer_relay: true,
            revision: Revision::new(1),
        };
        let mut world = Self {
            now: Instant::ZERO,
            rtt: Duration::from_millis(40),
            further: BTreeMap::new(),
            devices: Vec::new(),
            endpoints: BTreeMap::new(),
            index: Index { network, members: BTreeMap::new(), approves: true },
            sent: Vec::new(),
            services,
            air: Vec::new(),
            faults: None,
            starts: 0,
        };
        world.start(CHECKPOINT);
        for at in 0..devices {
            let coordinator = world.coordinator(at, 1, None);
            world.devices.push(Device { coordinator, addr: addr(at), events: vec![], frames: 0, boot: 1 });
        }
        world
    }

    pub(super) fn join_all(mut self) -> Self {
        for at in 0..self.devices.len() {
            self.join(at);
            self.until("joined", |world| {
                world.devices[at].events.iter().any(|event| matches!(event, CoordinatorEvent::Joined { .. }))
            });
        }
        self.pass(Duration::from_secs(6));
        self.forget();
        self
    }

    pub(super) fn join(&mut self, at: usize) {
        let name = Some(DeviceName::parse(&format!("device-{at}")).unwrap());
        let network = NetworkName::parse("home").unwrap();
        let wish = Wish { network, invite: None, password: None, name };
        let (wireguard, now) = (secret(50).public(), self.now);
        self.devices[at].coordinator.join(7, wish, wireguard, &[], now);
        self.drain();
    }

    /// Forgets what was seen so far.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        for device in &mut self.devices {
            device.events.clear();
        }
    }

    /// Starts a service, or kills it and starts it again.
    pub(super) fn start(&mut self, at: SocketAddr) {
        self.starts += 1;
        let (identity, checkpoint) = if at == CHECKPOINT {
            (secret(100), Some(CheckpointConfig { services: self.services.clone() }))
        } else {
            (secret(if at == SECOND { 102 } else { 101 }), None)
        };
        let key = identity.public();
        let is_among = |list: &[ServiceAddr]| list.iter().any(|service| service.key == key);
        let (handshake, relay) = (is_among(&self.services.handshake), is_among(&self.services.relay));
        let config = EndpointConfig {
            identity,
            fleet: FleetKey::from_bytes([9; 32]),
            seed: [self.starts; 32],
            wall: WallClock { at: Instant::ZERO, unix_ms: UNIX_MS },
            checkpoint,
            handshake,
            relay: relay.then_some(RelayConfig::per_pair(100_000_000, 10_000_000)),
        };
        let mut endpoint = Endpoint::new(config, self.now);
        for command in self.index.everything() {
            endpoint.handle_command(command, self.now);
        }
        self.endpoints.insert(at, endpoint);
        self.drain();
    }

    /// Restarts a device with what it had on disk.
    pub(super) fn restart_device(&mut self, at: usize) {
        let boot = self.devices[at].boot + 1;
        let cache = self.devices[at].coordinator.cache();
        self.devices[at].coordinator = self.coordinator(at, boot, Some(cache));
        self.devices[at].boot = boot;
        self.drain();
    }

    pub(super) fn command(&mut self, command: &EndpointCommand) {
        for endpoint in self.endpoints.values_mut() {
            endpoint.handle_command(command.clone(), self.now);
        }
        self.drain();
    }

    /// Adds a member that is no device of this world, or removes it.
    pub(super) fn put_stranger(&mut self, number: u8, is_member: bool) {
        let command = if is_member {
            self.index.put(secret(number).public(), MemberState::Active, &format!("stranger-{number}"))
        } else {
            self.index.remove(DeviceId::of(&secret(number).public()))
        };
        self.command(&command);
    }

    pub(super) fn with<R>(&mut self, at: usize, act: impl FnOnce(&mut Coordinator, Instant) -> R) -> R {
        let now = self.now;
        let result = act(&mut self.devices[at].coordinator, now);
        self.drain();
        result
    }

    pub(super) fn id(&self, at: usize) -> DeviceId {
        DeviceId::of(&identity(at).public())
    }

    pub(super) fn members(&self, at: usize) -> usize {
        self.devices[at].coordinator.directory().network(network()).map_or(0, |known| known.members.len())
    }

    pub(super) fn is_online(&self, at: usize, peer: usize) -> bool {
        let known = self.devices[at].coordinator.directory();
        known.member(&self.id(peer)).is_some_and(|(_, member)| member.availability.is_online())
    }

    pub(super) fn stands(&self, at: usize) -> bool {
        matches!(self.devices[at].coordinator.state(), CoordinatorState::Online { .. })
    }

    /// Percent of datagrams lost, as many doubled, and how much later than others some arrive.
    pub(super) fn faults(&mut self, seed: u8, percent: u64, jitter: Duration) {
        self.faults = Some((Rng::from_seed([seed; 32]), percent, jitter));
    }

    pub(super) fn calm(&mut self) {
        self.faults = None;
    }

    /// Sends a relay frame of a device.
    pub(super) fn send_frame(&mut self, at: usize, relay: SocketAddr, frame: &[u8]) {
        let from = self.devices[at].addr;
        self.fly(from, relay, frame);
    }

    pub(super) fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let limit = self.now + Duration::from_secs(600);
        self.drain();
        while !done(self) {
            assert!(self.step(limit), "not within 10 minutes: {what}");
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain();
        while self.step(until) {}
        self.now = until;
    }

    fn step(&mut self, until: Instant) -> bool {
        let arrival = self.air.iter().map(|flight| flight.at).min();
        let devices = self.devices.iter().filter_map(|device| device.coordinator.poll_timeout());
        let endpoints = self.endpoints.values().filter_map(Endpoint::poll_timeout);
        let wakeup = devices.chain(endpoints).map(|wakeup| wakeup.at).min().map(|at| at.max(self.now));
        let Some(next) = arrival.into_iter().chain(wakeup).min().filter(|at| *at <= until) else {
            return false;
        };
        self.now = next;
        if let Some(place) = self.air.iter().position(|flight| flight.at <= next) {
            let flight = self.air.remove(place);
            self.arrive(&flight);
        } else {
            for device in &mut self.devices {
                device.coordinator.handle_timeout(next);
            }
            for endpoint in self.endpoints.values_mut() {
                endpoint.handle_timeout(next);
            }
        }
        self.drain();
        true
    }

    fn arrive(&mut self, flight: &Flight) {
        let datagram = Datagram { local: SocketId::MAIN, remote: flight.from, bytes: &flight.bytes };
        if let Some(endpoint) = self.endpoints.get_mut(&flight.to) {
            let _ = endpoint.handle_datagram(datagram, self.now);
        } else if let Some(device) = self.devices.iter_mut().find(|device| device.addr == flight.to) {
            if flight.bytes.first() == Some(&RELAY) {
                device.frames += 1;
            } else if device.coordinator.owns(&datagram) {
                let _ = device.coordinator.handle_datagram(datagram, self.now);
            }
        }
    }

    fn drain(&mut self) {
        let mut sent = Vec::new();
        for device in &mut self.devices {
            device.events.extend(core::iter::from_fn(|| device.coordinator.poll_event()));
            while let Some(transmit) = device.coordinator.poll_transmit() {
                self.sent.push(transmit.bytes[0]);
                sent.push((device.addr, transmit));
            }
        }
        let mut asked = Vec::new();
        for (addr, endpoint) in &mut self.endpoints {
            asked.extend(core::iter::from_fn(|| endpoint.poll_event()));
            while let Some(transmit) = endpoint.poll_transmit() {
                sent.push((*addr, transmit));
            }
        }
        for (from, transmit) in sent {
            self.fly(from, transmit.remote, &transmit.bytes);
        }
        for event in asked {
            self.decide(event);
        }
    }

    fn decide(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::JoinAsked { ask, identity, request, .. } => {
                let (state, outcome) = if self.index.approves {
                    (MemberState::Active, JoinOutcome::Joined { network: network() })
                } else {
                    (MemberState::Pending, JoinOutcome::Pending { network: network() })
                };
                let command = self.index.put(identity, state, request.name.as_str());
                self.command(&command);
                self.command(&EndpointCommand::JoinDecided { ask, outcome });
            }
            EndpointEvent::LeaveAsked { ask, device, .. } => {
                let command = self.index.remove(device);
                self.command(&command);
                self.command(&EndpointCommand::LeaveDone { ask });
            }
            EndpointEvent::Presence { .. }
            | EndpointEvent::Verdict { .. }
            | EndpointEvent::PairVerdict { .. }
            | EndpointEvent::Links { .. } => {}
        }
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let mut late = vec![Duration::ZERO];
        if let Some((rng, percent, jitter)) = &mut self.faults {
            let draw = rng.below(100);
            let copies = if draw < *percent { 0 } else { 1 + usize::from(draw < *percent * 2) };
            late = (0..copies).map(|_| rng.between(Duration::ZERO, *jitter)).collect();
        }
        let further = self.further.get(&(from, to)).or_else(|| self.further.get(&(to, from)));
        let way = (self.rtt + further.copied().unwrap_or_default()) / 2;
        for late in late {
            self.air.push(Flight { at: self.now + way + late, from, to, bytes: bytes.to_vec() });
        }
        self.air.sort_by_key(|flight| flight.at);
    }

    fn coordinator(&self, at: usize, boot: u64, cache: Option<CoordinatorCache>) -> Coordinator {
        let shared = Arc::new(Shared {
            identity: identity(at),
            wall: WallClock { at: Instant::ZERO, unix_ms: UNIX_MS },
            boot,
            name: DeviceName::parse("nameless").unwrap(),
            os: "linux".into(),
            version: "0.1.0".into(),
        });
        let mut rng = Rng::from_seed([u8::try_from(at).unwrap(); 32]);
        let rng = rng.fork(&boot.to_be_bytes());
        let mut coordinator =
            Coordinator::new(secret(100).public(), vec![CHECKPOINT], &shared, cache, rng, self.now);
        let card = NatCard { udp: true, ..NatCard::default() };
        coordinator.register(Standing { card, ..Standing::default() }, self.now);
        coordinator
    }
}

impl Index {
    pub(super) fn put(&mut self, identity: PublicKey, state: MemberState, name: &str) -> EndpointCommand {
        self.network.revision = self.network.revision.next();
        let device = DeviceId::of(&identity);
        let place = self.members.len() + 1;
        let number =
            self.members.get(&device).map_or(u32::try_from(place).unwrap(), |known| known.number.value());
        let [_, _, high, low] = number.to_be_bytes();
        let member = MemberRecord {
            identity,
            number: DeviceNumber::new(number).unwrap(),
            wireguard: identity,
            name: DeviceName::parse(name).unwrap(),
            ip4: Ipv4Addr::new(10, 7, high, low),
            ip6: format!("fd00:7::{number:x}").parse().unwrap(),
            state,
        };
        self.members.insert(device, member.clone());
        EndpointCommand::Member { network: self.network.id, revision: self.network.revision, member }
    }

    pub(super) fn remove(&mut self, device: DeviceId) -> EndpointCommand {
        self.network.revision = self.network.revision.next();
        self.members.remove(&device);
        EndpointCommand::MemberGone { network: self.network.id, revision: self.network.revision, device }
    }

    fn everything(&self) -> Vec<EndpointCommand> {
        let (network, revision) = (self.network.id, self.network.revision);
        let members = self.members.values().cloned();
        let members = members.map(|member| EndpointCommand::Member { network, revision, member });
        let network = core::iter::once(EndpointCommand::Network(self.network.clone()));
        network.chain(members).chain([EndpointCommand::RosterComplete]).collect()
    }
}

pub(super) fn network() -> NetworkId {
    NetworkId::from_bytes([7; 16])
}

pub(super) fn identity(at: usize) -> SecretKey {
    secret(u8::try_from(at).unwrap() + 1)
}

pub(super) fn addr(at: usize) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, u8::try_from(at).unwrap() + 1], 40_000))
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}
