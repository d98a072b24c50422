//! A device of its own on the loopback interface: the machine of `proto` and one UDP socket.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lanyard_proto::device::{Command, Device, DeviceConfig, Event, TunnelMtu};
use lanyard_proto::overlay::ForwardingTable;
use lanyard_proto::time::WallClock;
use lanyard_proto::transmit::{Datagram, SocketId};
use lanyard_wire::checkpoint::JoinOutcome;
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::join::JoinString;
use lanyard_wire::keys::SecretKey;
use lanyard_wire::names::DeviceName;

/// How long anything may take that a test waits for.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long the socket is waited for before the machine gets its turn.
const TURN: Duration = Duration::from_millis(2);

pub(crate) struct Member {
    pub(crate) device: Device,
    pub(crate) socket: UdpSocket,
    pub(crate) events: Vec<Event>,
    pub(crate) table: Arc<ForwardingTable>,
    /// Relay frames that arrived.
    pub(crate) frames: Vec<Vec<u8>>,
    begun: Instant,
}

impl Member {
    /// A device at an address of its own, 127.0.1.`number`.
    pub(crate) fn new(number: u8, name: &str) -> Self {
        let begun = Instant::now();
        let unix_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let config = DeviceConfig {
            identity: SecretKey::from_bytes([number; 32]),
            wireguard: SecretKey::from_bytes([number + 100; 32]).public(),
            boot: 1,
            seed: [number; 32],
            wall: WallClock { at: moment(begun), unix_ms: u64::try_from(unix_ms).unwrap() },
            name: DeviceName::parse(name).unwrap(),
            os: "linux".into(),
            version: "0.1.0".into(),
            tunnel_mtu: TunnelMtu::LEAST,
            peer_relay: None,
            early_packets: true,
        };
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, number), 0)).unwrap();
        socket.set_read_timeout(Some(TURN)).unwrap();
        Self {
            device: Device::new(config, moment(begun)),
            socket,
            events: Vec::new(),
            table: Arc::default(),
            frames: Vec::new(),
            begun,
        }
    }

    /// Wants to join the network of this string at a coordinator that is at this address.
    pub(crate) fn join(&mut self, join: &JoinString, control: SocketAddr) {
        self.command(Command::AddCoordinator { key: join.key, addrs: vec![control], cache: None });
        let (network, invite) = (join.network.clone(), join.invite);
        self.command(Command::Join { tag: 1, key: join.key, network, invite, password: None, name: None });
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.device.handle_command(command, moment(self.begun));
        self.drain();
    }

    pub(crate) fn has_joined(&self) -> bool {
        let joined =
            |event: &Event| matches!(event, Event::Joined { outcome: JoinOutcome::Joined { .. }, .. });
        self.events.iter().any(joined)
    }

    /// Takes one datagram, if one comes soon, and does what is due.
    fn turn(&mut self) {
        let mut buffer = [0; 2_048];
        if let Ok((length, remote)) = self.socket.recv_from(&mut buffer) {
            let bytes = &buffer[..length];
            if classify(bytes) == Class::Relay {
                self.frames.push(bytes.to_vec());
            } else {
                let datagram = Datagram { local: SocketId::MAIN, remote, bytes };
                let _ignored = self.device.handle_datagram(datagram, moment(self.begun));
            }
        }
        self.device.handle_timeout(moment(self.begun));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.device.poll_transmit() {
            // Spare sockets serve netcheck alone, which has nothing to find here.
            if transmit.local == SocketId::MAIN {
                let _lost = self.socket.send_to(&transmit.bytes, transmit.remote);
            }
        }
        while let Some(event) = self.device.poll_event() {
            if let Event::Forwarding(table) = &event {
                self.table = Arc::clone(table);
            }
            self.events.push(event);
        }
    }
}

/// Lets devices live until something is so.
pub(crate) fn until(members: &mut [Member], what: &str, mut done: impl FnMut(&mut [Member]) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done(members) {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        for member in members.iter_mut() {
            member.turn();
        }
    }
}

fn moment(begun: Instant) -> lanyard_proto::time::Instant {
    let since = u64::try_from(begun.elapsed().as_micros()).unwrap();
    lanyard_proto::time::Instant::from_micros(1_000_000 + since)
}
