//! An endpoint, devices by hand, and a network without delay that counts bytes.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::checkpoint::{
    FromCheckpoint, MemberState, Register, Registered, ServiceAddr, Services, ToCheckpoint,
};
use lanyard_wire::envelope::{DATA, RESUMED, RETRY, WELCOME};
use lanyard_wire::handshake::{FromHandshake, ToHandshake};
use lanyard_wire::ids::{DeviceNumber, NetworkId, PushId, RequestId, Revision};
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::nat::NatCard;
use lanyard_wire::relay::{FromRelay, ToRelay};
use lanyard_wire::token::{Purpose, Token};

use super::client::{Client, Said};
use crate::rejected::Rejected;
use crate::service::register::Bounds;
use crate::service::{
    CheckpointConfig, Endpoint, EndpointCommand, EndpointConfig, EndpointEvent, FleetKey, MemberRecord,
    NetworkRecord, RelayConfig,
};
use crate::time::{Instant, WallClock};
use crate::transmit::{Datagram, SocketId, Transmit};

pub(super) const NOW_S: u64 = 1_700_000_000;

/// What a pair may send through the relay.
pub(super) const RELAY: RelayConfig = RelayConfig::per_pair(800_000, 10_000);

/// An endpoint and devices by hand.
pub(super) struct World {
    pub(super) endpoint: Endpoint,
    pub(super) now: Instant,
    pub(super) clients: Vec<Client>,
    /// What each device was told and did not look at yet.
    pub(super) said: Vec<Vec<Said>>,
    pub(super) events: Vec<EndpointEvent>,
    /// Everything that left since it was looked at last.
    pub(super) sent: Vec<Transmit>,
    /// Bytes that came from an address, and that went there.
    pub(super) traffic: BTreeMap<SocketAddr, (usize, usize)>,
    pub(super) revision: u64,
}

impl World {
    /// All services and no device.
    pub(super) fn new() -> Self {
        Self::bounded(Bounds::USUAL)
    }

    /// The same with other bounds of its tables.
    pub(super) fn bounded(bounds: Bounds) -> Self {
        Self::of(config(), bounds, &known())
    }

    /// HANDSHAKE and RELAY alone.
    pub(super) fn apart() -> Self {
        Self::of(EndpointConfig { checkpoint: None, ..config() }, Bounds::USUAL, &known())
    }

    /// No RELAY.
    pub(super) fn without_relay() -> Self {
        Self::of(EndpointConfig { relay: None, ..config() }, Bounds::USUAL, &known())
    }

    fn of(config: EndpointConfig, bounds: Bounds, known: &[EndpointCommand]) -> Self {
        let mut world = Self {
            endpoint: Endpoint::with_bounds(config, bounds, Instant::ZERO),
            now: Instant::ZERO,
            clients: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            traffic: BTreeMap::new(),
            revision: 1,
        };
        for command in known {
            world.command(command.clone());
        }
        world
    }

    /// All services of a coordinator that has just started and knows of nobody yet.
    pub(super) fn starting() -> Self {
        Self::of(config(), Bounds::USUAL, &[])
    }

    /// The same with this many members, which have sessions and are told nothing any more.
    pub(super) fn with_members(count: usize) -> Self {
        let mut world = Self::new();
        for at in 0..count {
            world.add();
            world.put(at, MemberState::Active);
        }
        for at in 0..count {
            world.greet(at);
            world.ask(at, register()).unwrap();
        }
        world.settle_down();
        world
    }

    /// A device that is member of nothing and has no session.
    pub(super) fn add(&mut self) -> usize {
        let at = self.clients.len();
        self.clients.push(Client::new(u8::try_from(at).unwrap() + 10, addr(at)));
        self.said.push(Vec::new());
        at
    }

    /// A HELLO with the cookie that the device was told for it.
    pub(super) fn hello(&mut self, at: usize) -> Vec<u8> {
        let key = service().public();
        let hello = self.clients[at].hello(&key, [0; 16]);
        assert_eq!(self.send(at, &hello), Err(Rejected::NeedsCookie));
        let retry = self.take_sent(RETRY);
        self.clients[at].hello(&key, Client::cookie(&hello, &retry, &key))
    }

    /// The same, as if the device had asked from somewhere else: the cookie is for where it is.
    pub(super) fn hello_from(&mut self, at: usize, place: SocketAddr) -> Vec<u8> {
        let key = service().public();
        let hello = self.clients[at].hello(&key, [0; 16]);
        assert_eq!(self.send_from(place, &hello), Err(Rejected::NeedsCookie));
        self.take_sent(RETRY);
        self.hello(at)
    }

    /// Lets a device prove itself and open a session.
    pub(super) fn greet(&mut self, at: usize) {
        let hello = self.hello(at);
        self.send(at, &hello).unwrap();
        let welcome = self.take_sent(WELCOME);
        self.clients[at].open(&welcome);
        self.say(at, &DeviceBody::KeepAlive).unwrap();
    }

    /// Lets a device come back with its ticket.
    pub(super) fn resume(&mut self, at: usize) {
        let resume = self.clients[at].resume();
        self.send(at, &resume).unwrap();
        let resumed = self.take_sent(RESUMED);
        self.clients[at].open(&resumed);
        self.say(at, &DeviceBody::KeepAlive).unwrap();
    }

    pub(super) fn say(&mut self, at: usize, body: &DeviceBody) -> Result<(), Rejected> {
        let datagram = self.clients[at].data(body, false);
        self.send(at, &datagram)
    }

    pub(super) fn ask(&mut self, at: usize, message: ToCheckpoint) -> Result<(), Rejected> {
        self.say(at, &DeviceBody::Checkpoint(message))
    }

    pub(super) fn offer(&mut self, at: usize, message: ToHandshake) -> Result<(), Rejected> {
        self.say(at, &DeviceBody::Handshake(message))
    }

    pub(super) fn relay(&mut self, at: usize, message: ToRelay) -> Result<(), Rejected> {
        self.say(at, &DeviceBody::Relay(message))
    }

    /// Sends bytes from where a device is.
    pub(super) fn send(&mut self, at: usize, bytes: &[u8]) -> Result<(), Rejected> {
        self.send_from(self.clients[at].addr, bytes)
    }

    /// Sends bytes from any address.
    pub(super) fn send_from(&mut self, remote: SocketAddr, bytes: &[u8]) -> Result<(), Rejected> {
        self.traffic.entry(remote).or_default().0 += bytes.len();
        let datagram = Datagram { local: SocketId::MAIN, remote, bytes };
        let result = self.endpoint.handle_datagram(datagram, self.now);
        self.deliver();
        result
    }

    pub(super) fn command(&mut self, command: EndpointCommand) {
        self.endpoint.handle_command(command, self.now);
        self.deliver();
    }

    /// Makes a device a member of this state.
    pub(super) fn put(&mut self, at: usize, state: MemberState) {
        let number = u8::try_from(at).unwrap() + 10;
        self.put_key(number, self.clients[at].identity.public(), state);
    }

    pub(super) fn put_key(&mut self, number: u8, identity: PublicKey, state: MemberState) {
        self.revision += 1;
        let member = MemberRecord {
            identity,
            number: DeviceNumber::new(u32::from(number)).unwrap(),
            wireguard: PublicKey::from_bytes([number; 32]),
            name: DeviceName::parse("a-device-with-a-name-of-some-length").unwrap(),
            ip4: [10, 7, 0, number].into(),
            ip6: [0xFD00, 7, 0, 0, 0, 0, 0, u16::from(number)].into(),
            state,
        };
        self.command(EndpointCommand::Member { network: network(), revision: self.revision(), member });
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.revision += 1;
        let device = self.clients[at].id;
        self.command(EndpointCommand::MemberGone { network: network(), revision: self.revision(), device });
    }

    pub(super) fn revision(&self) -> Revision {
        Revision::new(self.revision)
    }

    /// Lets time pass; what comes due meanwhile is done in its moment.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(wakeup) = self.endpoint.poll_timeout().filter(|wakeup| wakeup.at <= until) {
            self.now = self.now.max(wakeup.at);
            self.endpoint.handle_timeout(self.now);
            self.deliver();
        }
        self.now = until;
    }

    /// Has every push acknowledged until nothing more is pushed, and forgets what was said.
    pub(super) fn settle_down(&mut self) {
        for _ in 0..20 {
            self.pass(Duration::from_millis(210));
            for at in 0..self.clients.len() {
                self.acknowledge(at);
            }
        }
        self.sent.clear();
        self.events.clear();
    }

    /// Acknowledges the pushes a device got, and gives everything it was told.
    pub(super) fn acknowledge(&mut self, at: usize) -> Vec<ServiceBody> {
        let heard = self.heard(at);
        for push in heard.iter().filter_map(push_of) {
            self.ask(at, ToCheckpoint::Ack { push }).unwrap();
        }
        heard
    }

    /// What a device was told since this was asked last.
    pub(super) fn heard(&mut self, at: usize) -> Vec<ServiceBody> {
        core::mem::take(&mut self.said[at]).into_iter().map(|said| said.body).collect()
    }

    /// The messages of CHECKPOINT among what a device was told.
    pub(super) fn told(&mut self, at: usize) -> Vec<FromCheckpoint> {
        let heard = self.heard(at).into_iter();
        heard
            .filter_map(|body| if let ServiceBody::Checkpoint(body) = body { Some(body) } else { None })
            .collect()
    }

    /// The answer to a device's Register.
    pub(super) fn registered(&mut self, at: usize) -> Registered {
        let told = self.told(at);
        let registered = told.iter().find_map(|message| {
            if let FromCheckpoint::Registered(registered) = message { Some(registered.clone()) } else { None }
        });
        registered.unwrap_or_else(|| panic!("not registered: {told:?}"))
    }

    /// The messages of HANDSHAKE among what a device was told.
    pub(super) fn signals(&mut self, at: usize) -> Vec<FromHandshake> {
        let heard = self.heard(at).into_iter();
        heard
            .filter_map(|body| if let ServiceBody::Handshake(body) = body { Some(body) } else { None })
            .collect()
    }

    /// The messages of RELAY among what a device was told.
    pub(super) fn relayed(&mut self, at: usize) -> Vec<FromRelay> {
        let heard = self.heard(at).into_iter();
        heard.filter_map(|body| if let ServiceBody::Relay(body) = body { Some(body) } else { None }).collect()
    }

    /// The one datagram of this kind that left.
    pub(super) fn take_sent(&mut self, kind: u8) -> Vec<u8> {
        let place = self.sent.iter().position(|transmit| transmit.bytes[0] == kind);
        let place = place.unwrap_or_else(|| panic!("no {kind:#x} among {:?}", self.sent));
        self.sent.remove(place).bytes
    }

    fn deliver(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            self.events.push(event);
        }
        let mut proofs = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.traffic.entry(transmit.remote).or_default().1 += transmit.bytes.len();
            let at = self.clients.iter().position(|client| client.addr == transmit.remote);
            if let Some(at) = at.filter(|_| transmit.bytes[0] == DATA)
                && let Some(said) = self.clients[at].read(&transmit.bytes)
            {
                if said.wants_answer && self.clients[at].proves {
                    proofs.push((at, said.counter));
                }
                self.said[at].push(said);
            }
            self.sent.push(transmit);
        }
        for (at, counter) in proofs {
            let proof = self.clients[at].proof(counter);
            self.send(at, &proof).unwrap();
        }
    }
}

/// The id of a push.
pub(super) fn push_of(body: &ServiceBody) -> Option<PushId> {
    let ServiceBody::Checkpoint(message) = body else { return None };
    match message {
        FromCheckpoint::Invited(invited) => Some(invited.push),
        FromCheckpoint::RosterChanged(changed) => Some(changed.push),
        FromCheckpoint::Presence(presence) => Some(presence.push),
        FromCheckpoint::Registered(_)
        | FromCheckpoint::JoinAnswer { .. }
        | FromCheckpoint::Left { .. }
        | FromCheckpoint::Roster(_)
        | FromCheckpoint::BeginAnswer(_)
        | FromCheckpoint::NotMember { .. }
        | FromCheckpoint::Accepted { .. } => None,
    }
}

/// A checkpoint's word about two devices, as it would be made `life_s` seconds before it ends.
pub(super) fn token(purpose: Purpose, world: &World, pair: [usize; 2], value: u64, life_s: u64) -> Token {
    let expires_s = u32::try_from(NOW_S + life_s).unwrap();
    let [x, y] = pair.map(|at| world.clients[at].id);
    Token::grant(&token_key(), purpose, x, y, value, expires_s)
}

/// What INDEX tells at first: a network without members, and that this is all.
fn known() -> [EndpointCommand; 2] {
    [EndpointCommand::Network(network_record(1)), EndpointCommand::RosterComplete]
}

fn config() -> EndpointConfig {
    let here = || vec![ServiceAddr { key: service().public(), addrs: Vec::new() }];
    let services = Services { handshake: here(), relay: here(), stun: Vec::new() };
    EndpointConfig {
        identity: service(),
        fleet: fleet(),
        seed: [1; 32],
        wall: WallClock { at: Instant::ZERO, unix_ms: NOW_S * 1_000 },
        checkpoint: Some(CheckpointConfig { services }),
        handshake: true,
        relay: Some(RELAY),
    }
}

pub(super) fn token_key() -> SymmetricKey {
    fleet().token_key()
}

fn fleet() -> FleetKey {
    FleetKey::from_bytes([8; 32])
}

pub(super) fn service() -> SecretKey {
    SecretKey::from_bytes([99; 32])
}

pub(super) fn network() -> NetworkId {
    NetworkId::from_bytes([7; 16])
}

pub(super) fn network_record(revision: u64) -> NetworkRecord {
    NetworkRecord {
        id: network(),
        name: NetworkName::parse("home").unwrap(),
        prefix4: ([10, 7, 0, 0].into(), 24),
        prefix6: [0xFD00, 7, 0, 0, 0, 0, 0, 0].into(),
        peer_relay: true,
        revision: Revision::new(revision),
    }
}

/// I am here.
pub(super) fn register() -> ToCheckpoint {
    let card = NatCard { udp: true, ..NatCard::default() };
    ToCheckpoint::Register(Register {
        request: request(3),
        card,
        candidates: Vec::new(),
        relays: false,
        prekey: None,
    })
}

pub(super) fn request(number: u32) -> RequestId {
    RequestId::new(number)
}

/// Where a device is at first.
pub(super) fn addr(at: usize) -> SocketAddr {
    ([192, 0, 2, u8::try_from(at).unwrap() + 1], 40_000).into()
}

/// An address at which nobody has shown anything yet.
pub(super) fn elsewhere() -> SocketAddr {
    ([203, 0, 113, 77], 5_555).into()
}
