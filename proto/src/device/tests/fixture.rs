//! Two devices on one network, with a coordinator that is written on disk and never answers.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use lanyard_wire::checkpoint::{Availability, Member, MemberState, NetworkCard, RelayGrant};
use lanyard_wire::ids::{AttemptId, Channel, DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::{DeviceName, NetworkName};

use super::super::*;
use super::newest_table;
use crate::overlay::{ForwardingTable, Path};
use crate::time::WallClock;

/// The date at the start of every world.
pub(super) const UNIX_S: u64 = 1_700_000_000;

/// One way between the devices.
const DELAY: Duration = Duration::from_millis(15);

/// Two devices and what is under way between them.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) devices: [Device; 2],
    pub(super) sent: [usize; 2],
    pub(super) transcript: Vec<(Instant, usize, Vec<u8>)>,
    flying: Vec<(Instant, usize, Vec<u8>)>,
    rejected: Vec<(usize, Rejected)>,
    events: [Vec<Event>; 2],
}

impl World {
    /// Both devices remember the same networks, in which they are numbers 1 and 2.
    pub(super) fn new(networks: &[NetworkCache]) -> Self {
        let caches = [0, 1]
            .map(|at| cache(1, &networks.iter().map(|network| seen_by(network, at)).collect::<Vec<_>>()));
        Self::from_saved(caches.map(|cache| DeviceCache { coordinators: vec![cache] }))
    }

    /// Both devices start from what was saved.
    pub(super) fn from_saved(saved: [DeviceCache; 2]) -> Self {
        let mut world = Self {
            now: Instant::from_secs(10),
            devices: [fresh(1, 1), fresh(2, 2)],
            sent: [0; 2],
            transcript: Vec::new(),
            flying: Vec::new(),
            rejected: Vec::new(),
            events: [Vec::new(), Vec::new()],
        };
        for (at, saved) in saved.into_iter().enumerate() {
            for cache in saved.coordinators {
                let command = Command::AddCoordinator {
                    key: cache.key,
                    addrs: cache.addrs.clone(),
                    cache: Some(cache),
                };
                world.command(at, command);
            }
        }
        world
    }

    pub(super) fn add_coordinator(&mut self, at: usize, id: u8, networks: &[NetworkCache]) {
        let cache = cache(id, networks);
        let command =
            Command::AddCoordinator { key: cache.key, addrs: cache.addrs.clone(), cache: Some(cache) };
        self.command(at, command);
    }

    pub(super) fn command(&mut self, at: usize, command: Command) {
        self.devices[at].handle_command(command, self.now);
        self.drain();
    }

    pub(super) fn connect(&mut self, at: usize) {
        let peer = device_id(if at == 0 { 2 } else { 1 });
        self.command(at, Command::Connect { peer });
    }

    pub(super) fn run_for(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            let timers = self.devices.iter().filter_map(Device::poll_timeout).map(|wakeup| wakeup.at);
            let next = timers.chain(self.flying.iter().map(|(at, ..)| *at)).min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            let now = self.now;
            let (due, later) = core::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
            self.flying = later;
            for (_, to, bytes) in due {
                let datagram = Datagram {
                    local: crate::transmit::SocketId::MAIN,
                    remote: address(1 - to),
                    bytes: &bytes,
                };
                if let Err(why) = self.devices[to].handle_datagram(datagram, now) {
                    self.rejected.push((to, why));
                }
            }
            for device in &mut self.devices {
                device.handle_timeout(now);
                let wakeup = device.poll_timeout();
                assert!(wakeup.is_none_or(|wakeup| wakeup.at > now), "spins: {wakeup:?}");
            }
            self.drain();
        }
        self.now = until;
    }

    pub(super) fn events(&mut self, at: usize) -> Vec<Event> {
        core::mem::take(&mut self.events[at])
    }

    pub(super) fn table(&self, at: usize) -> Arc<ForwardingTable> {
        newest_table(&self.events[at]).unwrap_or_else(|| Arc::clone(self.devices[at].forwarding.table()))
    }

    pub(super) fn path(&self, at: usize) -> Path {
        self.devices[at].forwarding.table().peers[0].path
    }

    pub(super) fn saved(&self, at: usize) -> DeviceCache {
        let saved = self.events[at].iter().rev().find_map(|event| {
            let Event::Persist(cache) = event else { return None };
            Some((**cache).clone())
        });
        saved.expect("something was saved")
    }

    pub(super) fn rejected(&self, at: usize, why: Rejected) -> usize {
        self.rejected.iter().filter(|rejected| **rejected == (at, why)).count()
    }

    fn drain(&mut self) {
        for at in 0..2 {
            while let Some(transmit) = self.devices[at].poll_transmit() {
                // The coordinator never answers and does not count.
                if transmit.remote == address(1 - at) {
                    self.sent[at] += 1;
                    self.transcript.push((self.now, at, transmit.bytes.clone()));
                    self.flying.push((self.now + DELAY, 1 - at, transmit.bytes));
                }
            }
            while let Some(event) = self.devices[at].poll_event() {
                self.events[at].push(event);
            }
        }
    }
}

/// A device that just started.
pub(super) fn fresh(id: u8, seed: u8) -> Device {
    let config = DeviceConfig {
        identity: secret(id),
        wireguard: PublicKey::from_bytes([id + 100; 32]),
        boot: 1,
        seed: [seed; 32],
        wall: WallClock { at: Instant::from_secs(10), unix_ms: UNIX_S * 1_000 },
        name: DeviceName::parse("laptop").unwrap(),
        os: String::from("linux"),
        version: String::from("0.1.0"),
        tunnel_mtu: TunnelMtu::LEAST,
        peer_relay: None,
        early_packets: true,
    };
    Device::new(config, Instant::from_secs(10))
}

/// A network whose members are numbers 1 and 2.
pub(super) fn network(id: u8, name: &str, prefix: &str) -> NetworkCache {
    let prefix4: Ipv4Addr = prefix.parse().unwrap();
    let card = NetworkCard {
        id: NetworkId::from_bytes([id; 16]),
        name: NetworkName::parse(name).unwrap(),
        prefix4: (prefix4, 24),
        prefix6: ip6(id, 0),
        ip4: ip4(prefix4, 1),
        ip6: ip6(id, 1),
        state: MemberState::Active,
        peer_relay: true,
    };
    NetworkCache { card, revision: Revision::new(1), enabled: true, members: vec![member(2, id, prefix)] }
}

/// A member as it stands on disk.
pub(super) fn member(number: u8, network: u8, prefix: &str) -> MemberCache {
    let prefix4: Ipv4Addr = prefix.parse().unwrap();
    MemberCache {
        member: Member {
            identity: secret(number).public(),
            number: DeviceNumber::new(u32::from(number)).unwrap(),
            wireguard: PublicKey::from_bytes([number + 100; 32]),
            name: DeviceName::parse("nas").unwrap(),
            ip4: ip4(prefix4, number),
            ip6: ip6(network, number),
            availability: Availability::Online { prekey: None },
            relay: RelayGrant { channel: Channel::new(7).unwrap(), expires_s: u32::MAX, mac: [0; 16] },
        },
        endpoints: if number > 2 { vec![] } else { vec![address(usize::from(number) - 1)] },
        attempt: Some(AttemptId::new(5)),
        last_active_unix_s: UNIX_S - 60,
    }
}

pub(super) fn coordinator(id: u8) -> PublicKey {
    secret(200 + id).public()
}

pub(super) fn device_id(number: u8) -> DeviceId {
    DeviceId::of(&secret(number).public())
}

pub(super) fn address(at: usize) -> SocketAddr {
    ([192, 0, 2, if at == 0 { 1 } else { 2 }], 7_000).into()
}

/// The network with the other device's eyes.
fn seen_by(network: &NetworkCache, at: usize) -> NetworkCache {
    let mut network = network.clone();
    if at == 1 {
        let id = network.card.id.as_bytes()[0];
        let prefix = network.card.prefix4.0;
        network.card.ip4 = ip4(prefix, 2);
        network.card.ip6 = ip6(id, 2);
        network.members = vec![member(1, id, &alloc::format!("{prefix}"))];
    }
    network
}

pub(super) fn cache(id: u8, networks: &[NetworkCache]) -> CoordinatorCache {
    CoordinatorCache {
        key: coordinator(id),
        addrs: vec![([198, 51, 100, id], 7_443).into()],
        number: None,
        services: None,
        ticket: None,
        networks: networks.to_vec(),
    }
}

fn ip4(prefix: Ipv4Addr, number: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(prefix.to_bits() | u32::from(number))
}

fn ip6(network: u8, number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xFD00, u16::from(network), 0, 0, 0, 0, 0, u16::from(number))
}

fn secret(id: u8) -> SecretKey {
    SecretKey::from_bytes([id; 32])
}
