//! Members that nobody ever speaks to: each is a device machine with a socket that joins, says good-bye, and is gone.
//!
//! To everybody else such a member is like one whose computer is switched off. A thousand real agents would come to the same
//! by the same messages, in a hundred times the time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use lanyard_netns::inside::inside;
use lanyard_netns::interrupts;
use lanyard_proto::device::{Command, Device, DeviceConfig, Event, TunnelMtu};
use lanyard_proto::time::WallClock;
use lanyard_proto::transmit::{Datagram, SocketId};
use lanyard_wire::checkpoint::JoinOutcome;
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::join::JoinString;
use lanyard_wire::keys::SecretKey;
use lanyard_wire::limits::CONTROL_PORT;
use lanyard_wire::names::DeviceName;

/// How many join at the same time.
const AT_ONCE: usize = 32;
/// How long all of them may take, each.
const PATIENCE_EACH: Duration = Duration::from_secs(1);
/// Between two looks at sockets and timers.
const TURN: Duration = Duration::from_millis(1);

/// One that is about to join.
struct Member {
    device: Device,
    socket: UdpSocket,
    begun: Instant,
    has_joined: bool,
}

/// Lets the members of these numbers join, out of this namespace, at the coordinator that is there.
pub(super) fn join(
    namespace: &str,
    coordinator: Ipv4Addr,
    join_string: &str,
    numbers: std::ops::Range<u16>,
) -> Result<()> {
    let join: JoinString = join_string.parse().context("read the join string")?;
    let control = SocketAddr::from((coordinator, join.port.unwrap_or(CONTROL_PORT)));
    let end = Instant::now() + PATIENCE_EACH * u32::from(numbers.end - numbers.start) + PATIENCE_EACH * 10;
    let mut coming = numbers.peekable();
    let mut joining: Vec<Member> = Vec::new();
    while coming.peek().is_some() || !joining.is_empty() {
        ensure!(!interrupts::came(), "interrupted");
        ensure!(Instant::now() < end, "{} members do not get in", joining.len() + coming.count());
        for number in coming.by_ref().take(AT_ONCE - joining.len()) {
            joining.push(Member::start(namespace, number, &join, control)?);
        }
        for member in &mut joining {
            member.turn()?;
        }
        for member in joining.extract_if(.., |member| member.has_joined) {
            member.leave();
        }
        thread::sleep(TURN);
    }
    Ok(())
}

impl Member {
    fn start(namespace: &str, number: u16, join: &JoinString, control: SocketAddr) -> Result<Self> {
        // Each has an address of its own, as the coordinator lets only so many in from one at a time.
        let [high, low] = number.to_be_bytes();
        let own = Ipv4Addr::new(127, 1, high, low);
        let socket = inside(namespace, || Ok(UdpSocket::bind((own, 0))?))?;
        socket.set_nonblocking(true)?;
        let secret = |purpose: u8| {
            let mut bytes = [purpose; 32];
            // Not at an end: X25519 takes bits of the first and the last byte for its own.
            bytes[8..10].copy_from_slice(&number.to_be_bytes());
            bytes
        };
        let begun = Instant::now();
        let unix_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let config = DeviceConfig {
            identity: SecretKey::from_bytes(secret(1)),
            wireguard: SecretKey::from_bytes(secret(2)).public(),
            boot: 1,
            seed: secret(3),
            wall: WallClock { at: moment(begun), unix_ms },
            name: DeviceName::parse(&format!("quiet-{number}"))?,
            os: "linux".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            tunnel_mtu: TunnelMtu::LEAST,
            peer_relay: None,
            early_packets: true,
        };
        let device = Device::new(config, moment(begun));
        let mut member = Self { device, socket, begun, has_joined: false };
        member.tell(Command::AddCoordinator { key: join.key, addrs: vec![control], cache: None });
        let (network, invite) = (join.network.clone(), join.invite);
        member.tell(Command::Join { tag: 1, key: join.key, network, invite, password: None, name: None });
        member.turn()?;
        Ok(member)
    }

    fn tell(&mut self, command: Command) {
        self.device.handle_command(command, moment(self.begun));
    }

    /// Takes what has come, does what is due, and sends what follows.
    fn turn(&mut self) -> Result<()> {
        let mut buffer = [0; 2_048];
        while let Ok((length, remote)) = self.socket.recv_from(&mut buffer) {
            let bytes = &buffer[..length];
            if classify(bytes) != Class::Relay {
                let datagram = Datagram { local: SocketId::MAIN, remote, bytes };
                // What it ignores is counted nowhere here.
                let _ = self.device.handle_datagram(datagram, moment(self.begun));
            }
        }
        self.device.handle_timeout(moment(self.begun));
        self.send();
        while let Some(event) = self.device.poll_event() {
            if let Event::Joined { outcome, .. } = event {
                let JoinOutcome::Joined { .. } = outcome else { bail!("not let in: {outcome:?}") };
                self.has_joined = true;
            }
        }
        Ok(())
    }

    /// Says good-bye, so that it counts as away at once.
    fn leave(mut self) {
        self.tell(Command::Shutdown);
        self.send();
    }

    fn send(&mut self) {
        while let Some(transmit) = self.device.poll_transmit() {
            // Spare sockets serve netcheck alone, which has nothing to find here. What is lost is sent again.
            if transmit.local == SocketId::MAIN {
                let _ = self.socket.send_to(&transmit.bytes, transmit.remote);
            }
        }
    }
}

fn moment(begun: Instant) -> lanyard_proto::time::Instant {
    let since = u64::try_from(begun.elapsed().as_micros()).unwrap_or_default();
    lanyard_proto::time::Instant::from_micros(1_000_000 + since)
}
