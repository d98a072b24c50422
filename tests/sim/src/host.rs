//! A computer with a device on it: the shell around the device machine and a simulated data plane.
//!
//! Datagrams are sorted by their first bytes: what is WireGuard's goes to the [`Plane`], everything else to the
//! machine. As in the real program the machine decides and the rest obeys. What survives a power cut is the keys,
//! the join strings and what the machine asked to be saved.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lanyard_proto::device::{
    Command, CoordinatorCache, CoordinatorState, Device, DeviceCache, DeviceConfig, Event, TunnelMtu,
};
use lanyard_proto::overlay::{ForwardingTable, Path};
use lanyard_proto::rejected::Rejected;
use lanyard_proto::rng::Rng;
use lanyard_proto::time::{Instant, WallClock};
use lanyard_proto::transmit::{Datagram, SocketId};
use lanyard_wire::checkpoint::JoinOutcome;
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::{DeviceName, InviteCode, NetworkName};

use crate::echo::Echo;
use crate::net::HostId;
use crate::plane::{MAIN_PORT, Plane};
use crate::script::HostPlan;
use crate::tunnel::Tunnels;

/// What a device that relays passes on for others; nothing here measures it.
const CARRIED_BPS: u64 = 100_000_000;

/// Datagrams that one call to the machine may produce: the stated bound of its outbox.
pub const OUTBOX: usize = 256;

/// A computer, switched on or off.
#[derive(Debug)]
pub struct Host {
    /// Its number.
    pub id: HostId,
    /// Its device's name in the protocol.
    pub device: DeviceId,
    /// What the device saved.
    pub disk: DeviceCache,
    /// Whom its owner refuses: settings, which the program reads at its start.
    pub refused: BTreeSet<DeviceId>,
    /// How wrong its calendar is, in seconds.
    pub clock_error_s: i64,
    /// Asleep until then: nothing is received and no timer runs.
    pub asleep_until: Option<Instant>,
    /// Why datagrams were ignored, over all starts.
    pub rejected: BTreeMap<Rejected, u64>,
    /// Datagrams that reached the machine, and those it took.
    pub counted: Counted,
    seat: u16,
    relays: bool,
    identity: [u8; 32],
    wireguard: [u8; 32],
    rng: Rng,
    boots: u64,
    running: Option<Running>,
}

/// Datagrams by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Arrived while the device was running.
    pub arrived: u64,
    /// For the tunnel.
    pub tunnel: u64,
    /// Taken by the machine.
    pub taken: u64,
    /// Ignored by the machine for a reason.
    pub ignored: u64,
}

/// What exists while the program runs.
#[derive(Debug)]
struct Running {
    machine: Device,
    plane: Plane,
    coordinators: BTreeMap<PublicKey, CoordinatorState>,
}

/// What a computer did during one call.
#[derive(Debug, Default)]
pub struct Effects {
    /// Datagrams: own port, destination, bytes.
    pub datagrams: Vec<(u16, SocketAddr, Vec<u8>)>,
    /// Packets that came out of the tunnel, with the peer they came from and the path.
    pub packets: Vec<(DeviceId, Path, Vec<u8>)>,
    /// What else is worth knowing.
    pub facts: Vec<Fact>,
}

/// Something the oracle or the scenario wants to know of a computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A join was answered.
    Joined(JoinOutcome),
    /// A leave was answered.
    Left(NetworkId),
    /// Somebody else ended the membership.
    Removed(NetworkId),
    /// A path changed.
    Path {
        /// To whom.
        peer: DeviceId,
        /// To what.
        to: Path,
        /// For what reason.
        why: &'static str,
    },
    /// The machine's table changed: the number of peers in it.
    Table(usize),
    /// An inner packet had a source that is not its peer's here.
    Spoofed(DeviceId, Option<IpAddr>),
    /// The machine wanted more datagrams sent at once than its queue may hold.
    Flood(usize),
    /// The machine wanted more sockets at once than [`crate::plane::SPARES_MAX`].
    Sockets,
    /// The table names a socket that is not open.
    Closed(SocketId),
}

/// A coordinator as a join string names it.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its key.
    pub key: PublicKey,
    /// Its addresses.
    pub addrs: Vec<SocketAddr>,
}

impl Host {
    /// A computer that was never switched on.
    ///
    /// `seat` tells devices on one computer apart: each has ports of its own.
    #[must_use]
    pub fn new(id: HostId, seat: usize, plan: &HostPlan, mut rng: Rng) -> Self {
        let (identity, wireguard) = (rng.bytes(), rng.bytes());
        let device = DeviceId::of(&SecretKey::from_bytes(identity).public());
        Self {
            id,
            device,
            disk: DeviceCache::default(),
            refused: BTreeSet::new(),
            clock_error_s: plan.clock_error_s,
            asleep_until: None,
            rejected: BTreeMap::new(),
            counted: Counted::default(),
            seat: u16::try_from(seat).unwrap_or(0),
            relays: plan.relays,
            identity,
            wireguard,
            rng,
            boots: 0,
            running: None,
        }
    }

    /// Starts the program: it finds what was saved, and the coordinators of its join strings.
    pub fn start(&mut self, doors: &[Door], addrs: Vec<IpAddr>, now: Instant) -> Effects {
        self.boots += 1;
        let wireguard = SecretKey::from_bytes(self.wireguard);
        let unix_ms =
            (1_800_000_000_000 + now.as_micros() / 1_000).saturating_add_signed(self.clock_error_s * 1_000);
        let config = DeviceConfig {
            identity: SecretKey::from_bytes(self.identity),
            wireguard: wireguard.public(),
            boot: self.boots,
            seed: self.rng.bytes(),
            wall: WallClock { at: now, unix_ms },
            name: DeviceName::sanitize(&format!("device-{}", self.id.0)),
            os: "simulator".to_owned(),
            version: "0".to_owned(),
            tunnel_mtu: TunnelMtu::ETHERNET,
            peer_relay: self.relays.then_some(CARRIED_BPS),
            early_packets: true,
        };
        self.running = Some(Running {
            machine: Device::new(config, now),
            plane: Plane::new(Tunnels::new(wireguard, self.rng.fork(b"tunnels")), self.seat),
            coordinators: BTreeMap::new(),
        });
        let mut effects = Effects::default();
        for peer in self.refused.clone() {
            self.command(Command::Refuse { peer, refused: true }, now, &mut effects);
        }
        for door in doors {
            let cache = self.disk.coordinators.iter().find(|cache| cache.key == door.key).cloned();
            self.add_coordinator(door, cache, now);
        }
        self.tell_addresses(addrs, now);
        self.settle(now, &mut effects);
        effects
    }

    /// Whether the program runs and the computer is awake.
    #[must_use]
    pub const fn is_awake(&self) -> bool {
        self.running.is_some() && self.asleep_until.is_none()
    }

    /// Ends the program: with a good-bye, or as by a power cut.
    pub fn stop(&mut self, says_goodbye: bool, now: Instant) -> Effects {
        let mut effects = Effects::default();
        if says_goodbye {
            self.command(Command::Shutdown, now, &mut effects);
        }
        self.running = None;
        effects
    }

    /// Joins a network.
    pub fn join(
        &mut self,
        key: PublicKey,
        network: NetworkName,
        invite: Option<InviteCode>,
        now: Instant,
    ) -> Effects {
        self.commanded(Command::Join { tag: 1, key, network, invite, password: None, name: None }, now)
    }

    /// Gives the machine a wish.
    pub fn commanded(&mut self, command: Command, now: Instant) -> Effects {
        let mut effects = Effects::default();
        self.command(command, now, &mut effects);
        effects
    }

    /// The owner refuses a peer, or no longer does.
    pub fn refuse(&mut self, peer: DeviceId, refused: bool, now: Instant) -> Effects {
        if refused {
            self.refused.insert(peer);
        } else {
            self.refused.remove(&peer);
        }
        self.commanded(Command::Refuse { peer, refused }, now)
    }

    /// The operating system has other addresses now.
    pub fn network_changed(&mut self, addrs: Vec<IpAddr>, now: Instant) -> Effects {
        let mut effects = Effects::default();
        self.tell_addresses(addrs, now);
        self.command(Command::NetworkChanged, now, &mut effects);
        effects
    }

    /// Whether the program has a socket at this port.
    #[must_use]
    pub fn listens_at(&self, port: u16) -> bool {
        self.running.as_ref().is_some_and(|running| running.plane.socket_at(port).is_some())
    }

    /// A datagram arrives at one of the computer's ports; `false` if nobody listens there.
    pub fn on_datagram(
        &mut self,
        port: u16,
        remote: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> (bool, Effects) {
        let mut effects = Effects::default();
        let Some(running) = self.running.as_mut().filter(|_| self.asleep_until.is_none()) else {
            return (false, effects);
        };
        let Some(local) = running.plane.socket_at(port) else { return (false, effects) };
        self.counted.arrived += 1;
        match classify(bytes) {
            Class::WireGuard => {
                self.counted.tunnel += 1;
                running.plane.open(Path::Direct { local, remote }, bytes, now, &mut effects);
            }
            Class::Relay => {
                self.counted.tunnel += 1;
                let inner = RelayHeader::parse(bytes);
                if let Some(way) = running.plane.transit(remote, bytes) {
                    let port = running.plane.port_of(way.local);
                    effects.datagrams.extend(port.map(|port| (port, way.remote, bytes.to_vec())));
                } else if inner.is_ok_and(|(_, inner)| classify(inner) == Class::Lanyard) {
                    let _ignored = running.machine.handle_datagram(Datagram { local, remote, bytes }, now);
                } else if let Ok((header, inner)) = inner {
                    let path = Path::Relayed { relay: remote, channel: header.channel };
                    running.plane.open(path, inner, now, &mut effects);
                }
            }
            Class::Stun | Class::Lanyard | Class::Noise => {
                match running.machine.handle_datagram(Datagram { local, remote, bytes }, now) {
                    Ok(()) => self.counted.taken += 1,
                    Err(rejected) => {
                        self.counted.ignored += 1;
                        *self.rejected.entry(rejected).or_default() += 1;
                    }
                }
            }
        }
        self.settle(now, &mut effects);
        (true, effects)
    }

    /// Sends an IP packet into the virtual LAN; `false` if no peer has its destination.
    pub fn send(&mut self, packet: &[u8], now: Instant) -> (bool, Effects) {
        let mut effects = Effects::default();
        let routed = match self.running.as_mut().filter(|_| self.asleep_until.is_none()) {
            Some(running) => running.plane.send(packet, now, &mut effects),
            None => false,
        };
        self.settle(now, &mut effects);
        (routed, effects)
    }

    /// The same with an echo, in no more bytes than the path of now carries: a data plane cuts what is longer.
    pub fn send_echo(&mut self, mut echo: Echo, now: Instant) -> (bool, Effects) {
        let entry = self.table().and_then(|table| table.route(echo.target.into()));
        echo.size = entry.map_or(echo.size, |entry| echo.size.min(entry.mtu.into()));
        self.send(&echo.encode(), now)
    }

    /// Lets timers run whose time has come.
    pub fn on_timeout(&mut self, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let Some(running) = self.running.as_mut().filter(|_| self.asleep_until.is_none()) else {
            return effects;
        };
        // What is due may be a doubt that something seen meanwhile settles.
        let seen = running.plane.look();
        if !seen.is_empty() {
            running.machine.observe(&seen, now);
        }
        running.machine.handle_timeout(now);
        running.plane.on_timeout(now, &mut effects);
        self.settle(now, &mut effects);
        effects
    }

    /// When [`Host::on_timeout`] is wanted next, and why.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<(Instant, &'static str)> {
        if let Some(until) = self.asleep_until {
            return Some((until, "wake up"));
        }
        let running = self.running.as_ref()?;
        let machine = running.machine.poll_timeout().map(|wakeup| (wakeup.at, wakeup.why));
        machine.into_iter().chain(running.plane.next_wakeup()).min()
    }

    /// Whether every coordinator it knows answers.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.is_awake()
            && self.running.as_ref().is_some_and(|running| {
                !running.coordinators.is_empty()
                    && running
                        .coordinators
                        .values()
                        .all(|state| matches!(state, CoordinatorState::Online { .. }))
            })
    }

    /// The table its data plane obeys.
    #[must_use]
    pub fn table(&self) -> Option<&ForwardingTable> {
        self.running.as_ref().map(|running| running.plane.table())
    }

    /// The machine, to look into.
    #[must_use]
    pub fn machine(&self) -> Option<&Device> {
        self.running.as_ref().map(|running| &running.machine)
    }

    /// Where its datagrams to a peer go.
    #[must_use]
    pub fn path_to(&self, peer: &DeviceId) -> Path {
        self.table().and_then(|table| table.peer(peer)).map_or(Path::None, |entry| entry.path)
    }

    fn add_coordinator(&mut self, door: &Door, cache: Option<CoordinatorCache>, now: Instant) {
        if let Some(running) = &mut self.running {
            running.coordinators.insert(door.key, CoordinatorState::Connecting);
            let command = Command::AddCoordinator { key: door.key, addrs: door.addrs.clone(), cache };
            running.machine.handle_command(command, now);
        }
    }

    fn tell_addresses(&mut self, addrs: Vec<IpAddr>, now: Instant) {
        if let Some(running) = &mut self.running {
            let addrs = addrs.into_iter().map(|ip| SocketAddr::new(ip, MAIN_PORT + self.seat)).collect();
            running.machine.handle_command(Command::LocalAddresses { addrs, prefixes: Vec::new() }, now);
        }
    }

    fn command(&mut self, command: Command, now: Instant, effects: &mut Effects) {
        if let Some(running) = &mut self.running {
            running.machine.handle_command(command, now);
        }
        self.settle(now, effects);
    }

    /// Obeys the machine until it has nothing more to say.
    fn settle(&mut self, now: Instant, effects: &mut Effects) {
        let Some(running) = &mut self.running else { return };
        let seen = running.plane.report(now);
        if !seen.is_empty() {
            running.machine.observe(&seen, now);
        }
        for (peer, packet) in running.plane.take_cold() {
            running.machine.handle_command(Command::Waits { peer, packet }, now);
        }
        let mut sent = 0;
        while let Some(transmit) = running.machine.poll_transmit() {
            sent += 1;
            match running.plane.port_of(transmit.local) {
                Some(port) => effects.datagrams.push((port, transmit.remote, transmit.bytes)),
                None => effects.facts.push(Fact::Sockets),
            }
        }
        if sent > OUTBOX {
            effects.facts.push(Fact::Flood(sent));
        }
        while let Some(event) = running.machine.poll_event() {
            match event {
                Event::Forwarding(table) => {
                    effects.facts.push(Fact::Table(table.peers.len()));
                    running.plane.adopt(table, now, effects);
                }
                Event::Early { peer, packet } => running.plane.deliver_early(peer, packet, now, effects),
                Event::Joined { outcome, .. } => effects.facts.push(Fact::Joined(outcome)),
                Event::Left { network, .. } => effects.facts.push(Fact::Left(network)),
                Event::RemovedFrom { network, .. } => effects.facts.push(Fact::Removed(network)),
                Event::Coordinator { key, state } => {
                    running.coordinators.insert(key, state);
                }
                Event::Path { peer, to, why, .. } => effects.facts.push(Fact::Path { peer, to, why }),
                Event::Persist(cache) => self.disk = *cache,
                Event::CloseSocket(socket) => {
                    running.plane.close(socket);
                }
                // The world has no TCP; where UDP is blocked, nobody is online.
                Event::Dial { .. } | Event::Listen => {}
                Event::KeepSocket(_)
                | Event::Member { .. }
                | Event::Clash { .. }
                | Event::Netcheck { .. } => {}
            }
        }
    }
}
