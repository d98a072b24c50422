//! A host behind a model of a NAT, and STUN servers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use lanyard_wire::nat::{Filtering, Mapping, NatCard};
use lanyard_wire::stun;

use super::super::{Netcheck, NetcheckEvent};
use crate::rng::Rng;
use crate::time::Instant;
use crate::transmit::{Datagram, SocketId, Transmit};

pub(super) use Filtering::{
    AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif,
};
pub(super) use Mapping::{
    AddressAndPortDependent as Apdm, AddressDependent as Adm, EndpointIndependent as Eim, None as NoMapping,
};

pub(super) const RTT: Duration = Duration::from_millis(40);
pub(super) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 10));
pub(super) const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
pub(super) const HOME6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 10));
pub(super) const MAIN_PORT: u16 = 40_000;
pub(super) const FULL_SIZE: usize = 1_312;

#[derive(Clone, Copy, Debug)]
pub(super) enum Ports {
    Preserve,
    Random,
    Sequential,
    Block(u16, u16),
}

/// A router in front of one host, by RFC 4787.
pub(super) struct Nat {
    pub(super) mapping: Mapping,
    pub(super) filtering: Filtering,
    pub(super) ports: Ports,
    pub(super) rng: Rng,
    pub(super) next: u16,
    pub(super) mappings: BTreeMap<(SocketAddr, Option<IpAddr>, Option<u16>), SocketAddr>,
    /// Whom an outside address wrote to, and when last.
    pub(super) contacted: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    pub(super) lifetime: Duration,
    pub(super) hairpin: bool,
}

impl Nat {
    pub(super) fn new(mapping: Mapping, filtering: Filtering, ports: Ports) -> Self {
        let rng = Rng::from_seed([3; 32]);
        Self {
            mapping,
            filtering,
            ports,
            rng,
            next: 20_000,
            mappings: BTreeMap::new(),
            contacted: BTreeMap::new(),
            lifetime: Duration::MAX,
            hairpin: false,
        }
    }

    pub(super) fn outbound(&mut self, inside: SocketAddr, remote: SocketAddr, now: Instant) -> SocketAddr {
        let lifetime = self.lifetime;
        self.contacted.retain(|_, used_at| now.saturating_since(*used_at) < lifetime);
        let contacted = &self.contacted;
        self.mappings.retain(|_, outside| contacted.keys().any(|(from, _)| from == outside));
        let outside = if self.mapping == NoMapping || inside.is_ipv6() {
            inside
        } else {
            let (ip, port) = match self.mapping {
                Adm => (Some(remote.ip()), None),
                Apdm => (Some(remote.ip()), Some(remote.port())),
                NoMapping | Eim => (None, None),
            };
            let known = self.mappings.get(&(inside, ip, port)).copied();
            known.unwrap_or_else(|| {
                let outside = SocketAddr::new(PUBLIC, self.port(inside));
                self.mappings.insert((inside, ip, port), outside);
                outside
            })
        };
        self.contacted.insert((outside, remote), now);
        outside
    }

    pub(super) fn port(&mut self, inside: SocketAddr) -> u16 {
        let taken = |nat: &Self, port| nat.mappings.values().any(|outside| outside.port() == port);
        loop {
            let random = u16::try_from(self.rng.below(60_000)).unwrap();
            let port = match self.ports {
                Ports::Preserve if !taken(self, inside.port()) => inside.port(),
                Ports::Preserve | Ports::Random => 1_024 + random,
                Ports::Sequential => {
                    self.next += 1;
                    self.next
                }
                Ports::Block(low, size) => low + random % size,
            };
            if !taken(self, port) {
                return port;
            }
        }
    }

    pub(super) fn inbound(&self, outside: SocketAddr, remote: SocketAddr, now: Instant) -> bool {
        let is_alive = |used_at: Instant| now.saturating_since(used_at) < self.lifetime;
        self.contacted.iter().any(|((from, to), used_at)| {
            *from == outside
                && is_alive(*used_at)
                && match self.filtering {
                    Eif => true,
                    Adf => to.ip() == remote.ip(),
                    Apdf => *to == remote,
                }
        })
    }
}

/// A host behind a NAT, and four STUN sockets.
pub(super) struct World {
    pub(super) netcheck: Netcheck,
    pub(super) nat: Nat,
    pub(super) servers: Vec<SocketAddr>,
    pub(super) now: Instant,
    /// Answers on their way: when, to which socket of ours, from where to which outside address (`None`: turned around), what.
    pub(super) air: Vec<(Instant, SocketId, SocketAddr, Option<SocketAddr>, Vec<u8>)>,
    pub(super) loss: Option<(Rng, u64)>,
    pub(super) blocked: bool,
    /// What goes by this family is lost: by IPv6?
    pub(super) dead_family: Option<bool>,
    pub(super) plain_servers: bool,
    pub(super) dead: Option<IpAddr>,
    pub(super) sent: usize,
    /// Datagrams of one socket, counted apart.
    pub(super) count_of: Option<SocketId>,
    pub(super) counted: usize,
    /// Longer datagrams do not get out.
    pub(super) mtu: usize,
    pub(super) used: BTreeSet<SocketId>,
    pub(super) closed: BTreeSet<SocketId>,
    /// What was told before the end of a run, and when.
    pub(super) early: Option<(Instant, NatCard)>,
}

impl World {
    pub(super) fn new(nat: Nat) -> Self {
        let mut netcheck = Netcheck::new(FULL_SIZE, Rng::from_seed([1; 32]));
        netcheck.set_servers(&servers4());
        netcheck.set_local(&[SocketAddr::new(HOME, MAIN_PORT), SocketAddr::new(HOME6, MAIN_PORT)]);
        Self {
            netcheck,
            nat,
            servers: servers4(),
            now: Instant::ZERO,
            air: vec![],
            loss: None,
            blocked: false,
            dead_family: None,
            plain_servers: false,
            dead: None,
            sent: 0,
            count_of: None,
            counted: 0,
            mtu: 1_500,
            used: BTreeSet::new(),
            closed: BTreeSet::new(),
            early: None,
        }
    }

    pub(super) fn keep_servers(&mut self, count: usize) {
        self.servers.truncate(count);
        self.netcheck.set_servers(&self.servers);
    }

    /// Lets time pass until a run ends.
    pub(super) fn run(&mut self) -> NatCard {
        loop {
            match self.next_event() {
                NetcheckEvent::Checked(card) => return card,
                NetcheckEvent::Sampled { .. } => panic!("nobody asked about a fresh socket"),
                NetcheckEvent::Card(_) | NetcheckEvent::CloseSocket(_) => {}
            }
        }
    }

    /// Lets time pass until a fresh socket was seen, or was not.
    pub(super) fn sampled(&mut self) -> Option<SocketAddr> {
        loop {
            if let NetcheckEvent::Sampled { mapped, .. } = self.next_event() {
                return mapped;
            }
        }
    }

    /// Lets time pass until there is an event.
    pub(super) fn next_event(&mut self) -> NetcheckEvent {
        loop {
            if let Some(event) = self.netcheck.poll_event() {
                match event {
                    NetcheckEvent::CloseSocket(socket) => assert!(self.closed.insert(socket)),
                    NetcheckEvent::Card(card) => self.early = Some((self.now, card)),
                    NetcheckEvent::Checked(_) | NetcheckEvent::Sampled { .. } => {}
                }
                return event;
            }
            while let Some(transmit) = self.netcheck.poll_transmit() {
                self.send(&transmit);
            }
            let wakeup = self.netcheck.poll_timeout().expect("a run or a refresh to come").at;
            self.air.sort_by_key(|(at, ..)| *at);
            if self.air.first().is_some_and(|(at, ..)| *at <= wakeup) {
                let (at, local, remote, outside, bytes) = self.air.remove(0);
                self.now = self.now.max(at);
                if outside.is_none_or(|outside| self.nat.inbound(outside, remote, self.now)) {
                    let datagram = Datagram { local, remote, bytes: &bytes };
                    let _ = self.netcheck.handle_datagram(datagram, self.now);
                }
            } else {
                self.now = self.now.max(wakeup);
                self.netcheck.handle_timeout(self.now);
            }
        }
    }

    pub(super) fn send(&mut self, transmit: &Transmit) {
        self.sent += 1;
        self.counted += usize::from(self.count_of == Some(transmit.local));
        if transmit.local != SocketId::MAIN {
            self.used.insert(transmit.local);
        }
        let home = if transmit.remote.is_ipv4() { HOME } else { HOME6 };
        let inside = SocketAddr::new(home, MAIN_PORT + transmit.local.0);
        let outside = self.nat.outbound(inside, transmit.remote, self.now);
        let lost = self.loss.as_mut().is_some_and(|(rng, percent)| rng.below(100) < *percent);
        let is_dead =
            self.dead == Some(transmit.remote.ip()) || self.dead_family == Some(transmit.remote.is_ipv6());
        if self.blocked || lost || is_dead {
            return;
        }
        if transmit.remote.ip() == PUBLIC {
            let inside = self.nat.mappings.iter().find(|(_, mapped)| **mapped == transmit.remote);
            if let (true, Some(((inside, ..), _))) = (self.nat.hairpin, inside) {
                let local = SocketId(inside.port() - MAIN_PORT);
                self.air.push((self.now + RTT / 40, local, outside, None, transmit.bytes.clone()));
            }
            return;
        }
        if transmit.bytes.len() > self.mtu {
            return;
        }
        let (remote, answer) = self.answer(transmit, outside);
        self.air.push((self.now + RTT, transmit.local, remote, Some(outside), answer));
    }

    /// RFC 5780, section 6.1; a grid like ours.
    pub(super) fn answer(&self, transmit: &Transmit, mapped: SocketAddr) -> (SocketAddr, Vec<u8>) {
        let request = stun::Request::parse(&transmit.bytes).unwrap();
        let asked = transmit.remote;
        let family = self.servers.iter().filter(|server| server.is_ipv4() == asked.is_ipv4());
        let other_ip = family.map(SocketAddr::ip).find(|ip| *ip != asked.ip()).unwrap_or(asked.ip());
        let other = SocketAddr::new(other_ip, if asked.port() == 3_478 { 3_479 } else { 3_478 });
        let mut source = asked;
        if request.change.ip && !self.plain_servers {
            source.set_ip(other.ip());
        }
        if request.change.port && !self.plain_servers {
            source.set_port(other.port());
        }
        // A server of one address names no other one.
        let other = (!self.plain_servers && other.ip() != asked.ip()).then_some(other);
        (source, stun::Response { txid: request.txid, mapped, origin: Some(source), other }.encode())
    }
}

pub(super) fn servers4() -> Vec<SocketAddr> {
    let at = |last, port| SocketAddr::from(([203, 0, 113, last], port));
    vec![at(1, 3_478), at(1, 3_479), at(2, 3_478), at(2, 3_479)]
}

pub(super) fn servers6() -> Vec<SocketAddr> {
    let at = |last, port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], port));
    vec![at(1, 3_478), at(1, 3_479), at(2, 3_478), at(2, 3_479)]
}
