//! A link, its service, and the air between them.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use lanyard_wire::body::ServiceBody;
use lanyard_wire::keys::{SecretKey, SymmetricKey};
use lanyard_wire::names::DeviceName;
use lanyard_wire::seal::Ticket;

use super::super::{Link, LinkEvent};
use super::service::Service;
use crate::device::coordinator::Shared;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, WallClock};
use crate::transmit::{Datagram, SocketId};

pub(super) const UNIX_MS: u64 = 1_700_000_000_000;
pub(super) const SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 7_443);
pub(super) const DEVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), 40_000);
pub(super) const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 17)), 9);

/// The door of the same service; the program gives it this address.
pub(super) const DOOR: SocketAddr = lanyard_wire::door::addr(0, 1);

pub(super) struct World {
    pub(super) link: Link,
    /// Whether datagrams outside the door arrive.
    pub(super) has_udp: bool,
    pub(super) service: Service,
    pub(super) now: Instant,
    pub(super) rtt: Duration,
    pub(super) device_addr: SocketAddr,
    /// What the link sent, and when.
    pub(super) sent: Vec<(Instant, Vec<u8>)>,
    /// Messages that came out of the link.
    pub(super) messages: Vec<ServiceBody>,
    air: Vec<Flight>,
    faults: Option<Faults>,
    boot: u64,
}

struct Flight {
    at: Instant,
    to_service: bool,
    /// The service's address, whichever way it goes.
    service: SocketAddr,
    /// The device's address when it left.
    device: SocketAddr,
    bytes: Vec<u8>,
}

struct Faults {
    rng: Rng,
    loss: u64,
    duplication: u64,
    jitter: Duration,
}

impl World {
    pub(super) fn new() -> Self {
        let service = Service::new(SecretKey::from_bytes([5; 32]));
        let mut world = Self {
            link: link(1, vec![SERVICE], None, Instant::ZERO),
            has_udp: true,
            service,
            now: Instant::ZERO,
            rtt: Duration::from_millis(40),
            device_addr: DEVICE,
            sent: Vec::new(),
            messages: Vec::new(),
            air: Vec::new(),
            faults: None,
            boot: 1,
        };
        world.drain();
        world
    }

    /// A world where the session stands and is confirmed.
    pub(super) fn opened() -> Self {
        Self::open(Self::new())
    }

    /// A world whose service has a door besides, or nothing else, before anything was sent.
    pub(super) fn with_door(addrs: Vec<SocketAddr>, has_udp: bool) -> Self {
        let mut world = Self::new();
        world.air.clear();
        world.sent.clear();
        world.has_udp = has_udp;
        world.link = world.link_to(addrs, None);
        world.drain();
        world
    }

    /// Runs until the session stands and is confirmed.
    pub(super) fn open(mut world: Self) -> Self {
        world.run_until(|world| world.service.confirmed() == 1);
        world.pass(world.rtt);
        world.sent.clear();
        world
    }

    /// The device starts again with what it had on disk.
    pub(super) fn restart_device(&mut self) {
        self.boot += 1;
        let ticket = self.link.ticket().cloned();
        self.link = self.link_to(vec![SERVICE], ticket);
        self.sent.clear();
        self.drain();
    }

    pub(super) fn link_to(&self, addrs: Vec<SocketAddr>, ticket: Option<(Ticket, SymmetricKey)>) -> Link {
        link(self.boot, addrs, ticket, self.now)
    }

    pub(super) fn faults(&mut self, seed: u8, loss: u64, duplication: u64, jitter: Duration) {
        self.faults = Some(Faults { rng: Rng::from_seed([seed; 32]), loss, duplication, jitter });
    }

    pub(super) fn calm(&mut self) {
        self.faults = None;
    }

    /// The first bytes of what was sent.
    pub(super) fn kinds(&self) -> Vec<u8> {
        self.sent.iter().map(|(_, bytes)| bytes[0]).collect()
    }

    /// Lets the link hear something now.
    pub(super) fn hear(&mut self, remote: SocketAddr, bytes: &[u8]) -> Result<(), Rejected> {
        let datagram = Datagram { local: SocketId::MAIN, remote, bytes };
        let message = self.link.handle_datagram(datagram, self.now);
        self.drain();
        self.messages.extend(message?);
        Ok(())
    }

    /// Until the link has opened a session.
    pub(super) fn run_until_open(&mut self) {
        while self.link.poll_event().is_some() {}
        self.run_until(|world| {
            core::iter::from_fn(|| world.link.poll_event()).any(|event| event == LinkEvent::Opened)
        });
    }

    pub(super) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let limit = self.now + Duration::from_secs(3_600);
        self.drain();
        while !done(self) {
            assert!(self.now < limit && self.step(limit), "it did not happen within an hour");
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain();
        while self.step(until) {}
        self.now = until;
    }

    /// The next thing that happens up to `until`.
    fn step(&mut self, until: Instant) -> bool {
        self.air.sort_by_key(|flight| flight.at);
        let arrival = self.air.first().map(|flight| flight.at);
        let wakeup = self.link.poll_timeout().map(|wakeup| wakeup.at.max(self.now));
        let Some(next) = arrival.into_iter().chain(wakeup).min().filter(|at| *at <= until) else {
            return false;
        };
        self.now = next;
        if arrival == Some(next) {
            let flight = self.air.remove(0);
            self.arrive(&flight);
        } else {
            self.link.handle_timeout(next);
        }
        self.drain();
        true
    }

    fn arrive(&mut self, flight: &Flight) {
        if flight.to_service {
            let now_ms = self.now.as_micros() / 1_000;
            for bytes in self.service.handle(flight.device, &flight.bytes, now_ms) {
                self.fly(false, flight.service, flight.device, &bytes);
            }
        } else if flight.device == self.device_addr || flight.device == DOOR {
            let datagram = Datagram { local: SocketId::MAIN, remote: flight.service, bytes: &flight.bytes };
            if let Ok(message) = self.link.handle_datagram(datagram, self.now) {
                self.messages.extend(message);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.link.poll_transmit() {
            self.sent.push((self.now, transmit.bytes.clone()));
            if transmit.remote == DOOR {
                self.fly(true, DOOR, DOOR, &transmit.bytes);
            }
            if !self.has_udp {
                continue;
            }
            // Two doors of one fleet; behind any other address is nobody.
            if transmit.remote == SERVICE || transmit.remote == ELSEWHERE {
                self.fly(true, transmit.remote, self.device_addr, &transmit.bytes);
            }
        }
    }

    fn fly(&mut self, to_service: bool, service: SocketAddr, device: SocketAddr, bytes: &[u8]) {
        let mut copies = 1;
        let mut late = [Duration::ZERO; 2];
        if let Some(Faults { rng, loss, duplication, jitter }) = &mut self.faults {
            let draw = rng.below(100);
            copies = if draw < *loss {
                0
            } else if draw < *loss + *duplication {
                2
            } else {
                1
            };
            late = [rng.between(Duration::ZERO, *jitter), rng.between(Duration::ZERO, *jitter)];
        }
        for late in late.iter().take(copies) {
            let at = self.now + self.rtt / 2 + *late;
            self.air.push(Flight { at, to_service, service, device, bytes: bytes.to_vec() });
        }
    }
}

fn link(boot: u64, addrs: Vec<SocketAddr>, ticket: Option<(Ticket, SymmetricKey)>, now: Instant) -> Link {
    let shared = Arc::new(Shared {
        identity: SecretKey::from_bytes([6; 32]),
        wall: WallClock { at: Instant::ZERO, unix_ms: UNIX_MS },
        boot,
        name: DeviceName::parse("nas").unwrap(),
        os: "linux".into(),
        version: "0.1.0".into(),
    });
    let key = SecretKey::from_bytes([5; 32]).public();
    let seed = [u8::try_from(boot).unwrap(); 32];
    Link::new(key, addrs, ticket, shared, Rng::from_seed(seed), now)
}
