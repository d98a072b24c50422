//! Real interfaces: two data planes in two network namespaces, joined by a virtual cable.
//!
//! Needs root; skipped with a printed line otherwise. Traffic stays inside the namespaces made here, which go
//! when the test ends, also when it fails.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test, of which clippy knows the test functions only and not their helpers"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lanyard_agent::dataplane::{DataPlane, Dropped};
use lanyard_agent::netmon::Monitor;
use lanyard_agent::sockets::Sockets;
use lanyard_agent::tun::{OVERLAY_MTU, Tun, TunAddresses, TunConfig, TunError};
use lanyard_proto::overlay::table::{ForwardingTable, OverlayAddress, Path, PeerEntry};
use lanyard_proto::transmit::SocketId;
use lanyard_wire::ids::{Channel, DeviceId, NetworkId};
use lanyard_wire::keys::SecretKey;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Nothing here takes longer unless it is broken.
const DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of one transfer.
const TRANSFER: usize = 96 << 20;

#[test]
fn two_devices_ping_and_transfer_over_a_direct_and_a_relayed_path() {
    let Some(cable) = Cable::lay("path") else { return };
    let (a, b) = (Site::open(&cable, 1), Site::open(&cable, 2));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    ping(&cable, "10.9.0.2");
    ping(&cable, "fd09::2");
    transfer(&cable, "direct, as the cable is", &[ip4(2).into(), ip6(2).into()]);

    // Most network cards neither take a train of UDP datagrams whole nor hand one over.
    for end in [&cable.a, &cable.b] {
        end.run("ethtool", &["-K", "cable", "tx-udp-segmentation", "off", "gro", "on"]);
    }
    transfer(&cable, "direct, as a network card", &[ip4(2).into()]);

    let relay = relay(&cable.b, [&a, &b]);
    a.knows(&b, relay);
    b.knows(&a, relay);
    ping(&cable, "10.9.0.2");
    transfer(&cable, "relayed", &[ip4(2).into()]);
    for site in [&a, &b] {
        let heard = site.plane.observe();
        assert!(heard.iter().any(|seen| seen.rx.iter().any(|(path, ..)| *path == relay)), "{heard:?}");
        assert!(site.plane.is_running());
        let counters = site.plane.counters();
        for unexpected in
            [Dropped::OddPacket, Dropped::Unauthenticated, Dropped::TunRefused, Dropped::TooLong]
        {
            assert_eq!(counters.of(unexpected), 0, "{counters:?}");
        }
    }
}

#[test]
fn an_address_that_nobody_has_is_refused_at_once_and_a_foreign_one_not_touched() {
    let Some(cable) = Cable::lay("none") else { return };
    let a = Site::open(&cable, 1);
    a.set(Vec::new());
    let begun = Instant::now();
    for nobody in ["10.9.0.77", "fd09::77"] {
        let said = cable.a.output("ping", &["-c", "1", "-W", "10", nobody]);
        assert!(said.contains("nreachable"), "{said}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "a wait for a time-out, not an answer");
    assert_eq!(a.plane.counters().of(Dropped::NoPeer), 2);
}

#[test]
fn addresses_follow_the_table_and_bring_their_routes() {
    let Some(cable) = Cable::lay("addr") else { return };
    let mut a = Site::open(&cable, 1);
    let routes = |family: &str| cable.a.output("ip", &[family, "route", "show", "dev", "lanyard0"]);
    assert!(routes("-4").contains("10.9.0.0/24"));
    assert!(routes("-6").contains("fd09::/64"));
    let shown = cable.a.output("ip", &["-d", "link", "show", "lanyard0"]);
    assert!(shown.contains(&format!("mtu {OVERLAY_MTU}")) && shown.contains("gso_max_segs 49"), "{shown}");

    let other = OverlayAddress {
        network: NetworkId::from_bytes([2; 16]),
        name: "office".parse().unwrap(),
        ip4: Some((Ipv4Addr::new(10, 77, 3, 9), 16)),
        ip6: ("fd77::9".parse().unwrap(), 64),
    };
    a.apply(&[own(1), other.clone()]);
    assert!(routes("-4").contains("10.9.0.0/24") && routes("-4").contains("10.77.0.0/16"));
    a.apply(&[other]);
    assert!(!routes("-4").contains("10.9.0.0/24") && !routes("-6").contains("fd09::/64"));
    assert!(routes("-4").contains("10.77.0.0/16") && routes("-6").contains("fd77::/64"));
    a.apply(&[]);
    assert_eq!(cable.a.output("ip", &["addr", "show", "dev", "lanyard0"]).matches("inet").count(), 0);

    // What someone else took away does not stand in the way.
    a.apply(&[own(1)]);
    cable.a.run("ip", &["addr", "del", "10.9.0.1/24", "dev", "lanyard0"]);
    a.apply(&[]);
    drop(a);
    let links = cable.a.output("ip", &["-br", "link"]);
    assert!(!links.contains("lanyard0"), "the interface outlived its owner: {links}");
}

#[test]
fn an_interface_of_another_program_is_not_taken_over() {
    let Some(cable) = Cable::lay("busy") else { return };
    let _first = Site::open(&cable, 1);
    let config = |name: &str| TunConfig { name: name.to_owned(), queues: 2 };
    for (name, kind) in [("lanyard0", "another agent's"), ("cable", "a cable")] {
        let refused = cable.a.inside(|| runtime().block_on(Tun::create(&config(name))).map(|_| ()));
        let error = refused.unwrap_err();
        assert!(matches!(error, TunError::Busy { .. }), "{kind}: {error}");
        assert!(error.to_string().contains("--tun"), "{error}");
    }
    for bad in ["", "seventeen-letters", "a/b", "a b"] {
        let refused = cable.a.inside(|| runtime().block_on(Tun::create(&config(bad))).map(|_| ()));
        assert!(matches!(refused, Err(TunError::BadName { .. })), "{bad:?}");
    }
}

#[test]
fn a_change_of_the_network_is_told_once_and_without_the_overlay() {
    let Some(cable) = Cable::lay("mon") else { return };
    let a = Site::open(&cable, 1);
    let index = a.addresses.index();
    cable.a.inside(|| {
        runtime().block_on(async {
            let mut monitor = Monitor::start(Some(index)).await.unwrap();
            let network = monitor.network();
            assert_eq!(network.addresses, [IpAddr::from([10, 88, 0, 1])], "neither loopback nor overlay");
            assert_eq!(network.prefixes, [(Ipv4Addr::new(10, 88, 0, 0), 24)]);

            // Three announcements in a row, one of them about the overlay itself.
            let ip = |args: &[&str]| cable.a.run("ip", args);
            ip(&["addr", "add", "10.99.0.1/24", "dev", "lanyard0"]);
            ip(&["addr", "add", "10.66.0.1/24", "dev", "cable"]);
            ip(&["addr", "add", "10.66.1.1/24", "dev", "cable"]);
            let network = changed(&mut monitor).await;
            assert_eq!(
                network.addresses,
                [[10, 66, 0, 1], [10, 66, 1, 1], [10, 88, 0, 1]].map(IpAddr::from),
                "both in one"
            );

            ip(&["addr", "del", "10.66.0.1/24", "dev", "cable"]);
            ip(&["addr", "del", "10.66.1.1/24", "dev", "cable"]);
            assert_eq!(changed(&mut monitor).await.addresses, [IpAddr::from([10, 88, 0, 1])]);

            // A cable that was out for a moment: the same addresses, yet routers may have forgotten us.
            ip(&["link", "set", "cable", "down"]);
            ip(&["link", "set", "cable", "up"]);
            assert_eq!(changed(&mut monitor).await.addresses, [IpAddr::from([10, 88, 0, 1])]);

            ip(&["route", "add", "default", "via", "10.88.0.2"]);
            changed(&mut monitor).await;
        });
    });
}

async fn changed(monitor: &mut Monitor) -> lanyard_agent::netmon::LocalNetwork {
    tokio::time::timeout(DEADLINE, monitor.changed()).await.expect("no change was told").unwrap()
}

/// Two namespaces with a virtual cable between them.
struct Cable {
    a: Namespace,
    b: Namespace,
}

struct Namespace(String);

impl Cable {
    /// `None`, with a line that says so, where namespaces cannot be made.
    fn lay(name: &str) -> Option<Self> {
        if std::fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid()) != 0 {
            println!("skipped: network namespaces need root");
            return None;
        }
        let names = ["a", "b"].map(|end| format!("dp-{name}-{end}-{}", std::process::id()));
        let [a, b] = names.map(|name| {
            run("ip", &["netns", "add", &name]);
            Namespace(name)
        });
        run(
            "ip",
            &["link", "add", "cable", "netns", &a.0, "type", "veth", "peer", "name", "cable", "netns", &b.0],
        );
        for (end, address) in [(&a, "10.88.0.1/24"), (&b, "10.88.0.2/24")] {
            end.run("ip", &["link", "set", "lo", "up"]);
            end.run("sysctl", &["-q", "-w", "net.ipv6.conf.cable.addr_gen_mode=1"]);
            end.run("ip", &["addr", "add", address, "dev", "cable"]);
            end.run("ip", &["link", "set", "cable", "up"]);
        }
        Some(Self { a, b })
    }
}

impl Namespace {
    /// Does something on a thread of its own inside the namespace.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        run("ip", &[&["netns", "exec", &self.0, program], arguments].concat());
    }

    fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output =
            Command::new("ip").args(["netns", "exec", &self.0, program]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A device in one of the namespaces.
struct Site {
    number: u8,
    plane: DataPlane,
    sockets: Sockets,
    addresses: TunAddresses,
    runtime: Runtime,
    _up: (mpsc::Receiver<lanyard_agent::sockets::Inbound>, mpsc::Receiver<lanyard_agent::dataplane::Waiting>),
}

impl Site {
    fn open(cable: &Cable, number: u8) -> Self {
        let namespace = if number == 1 { &cable.a } else { &cable.b };
        namespace.inside(|| {
            let runtime = runtime();
            let config = TunConfig { name: "lanyard0".to_owned(), queues: 2 };
            let tun = runtime.block_on(Tun::create(&config)).unwrap();
            let sockets = Sockets::bind(0, 2).unwrap();
            let (sender, control) = mpsc::channel(64);
            let (waiting, waits) = mpsc::channel(64);
            let plane =
                DataPlane::start(tun.queues, sockets.clone(), &secret(number), sender, waiting).unwrap();
            let addresses = tun.addresses;
            let mut site = Self { number, plane, sockets, addresses, runtime, _up: (control, waits) };
            site.apply(&[own(number)]);
            site
        })
    }

    fn apply(&mut self, addresses: &[OverlayAddress]) {
        self.runtime.block_on(self.addresses.apply(addresses)).unwrap();
    }

    fn knows(&self, peer: &Self, path: Path) {
        self.set(vec![PeerEntry {
            device: DeviceId::from_bytes([peer.number; 16]),
            name: "peer".parse().unwrap(),
            wireguard: secret(peer.number).public(),
            addresses: vec![ip4(peer.number).into(), ip6(peer.number).into()],
            path,
            repeats: 0,
        }]);
    }

    fn set(&self, peers: Vec<PeerEntry>) {
        self.plane.set_table(&Arc::new(ForwardingTable::new(1, vec![own(self.number)], peers, &[])));
    }

    fn outer(&self) -> SocketAddr {
        (Ipv4Addr::new(10, 88, 0, self.number), self.sockets.port()).into()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn own(number: u8) -> OverlayAddress {
    OverlayAddress {
        network: NetworkId::from_bytes([1; 16]),
        name: "home".parse().unwrap(),
        ip4: Some((ip4(number), 24)),
        ip6: (ip6(number), 64),
    }
}

fn direct(to: &Site) -> Path {
    Path::Direct { local: SocketId::MAIN, remote: to.outer() }
}

/// Forwards frames unchanged between two devices, as RELAY does, until the process ends.
fn relay(namespace: &Namespace, ends: [&Site; 2]) -> Path {
    let socket = namespace.inside(|| UdpSocket::bind((Ipv4Addr::new(10, 88, 0, 2), 0)).unwrap());
    let relay = socket.local_addr().unwrap();
    let ends = ends.map(Site::outer);
    thread::spawn(move || {
        let mut frame = [0; 2_048];
        while let Ok((length, from)) = socket.recv_from(&mut frame) {
            let to = if from == ends[0] { ends[1] } else { ends[0] };
            // A full queue drops, as a relay's does.
            let _ = socket.send_to(&frame[..length], to);
        }
    });
    Path::Relayed { relay, channel: Channel::new(7).unwrap() }
}

fn ping(cable: &Cable, address: &str) {
    let said = cable.a.output("ping", &["-c", "3", "-i", "0.2", "-W", "5", "-s", "1200", address]);
    assert!(said.contains(" 0% packet loss"), "{said}");
    println!("{}", said.lines().last().unwrap_or_default());
}

/// Sends bytes by TCP from A to B, checks that they arrive as they were, and prints how fast.
fn transfer(cable: &Cable, how: &str, addresses: &[IpAddr]) {
    for address in addresses {
        let listener = cable.b.inside(|| TcpListener::bind((*address, 0)).unwrap());
        let target = listener.local_addr().unwrap();
        let begun = Instant::now();
        let receiver = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut buffer = vec![0; 256 << 10];
            let mut expected = Pattern::new();
            loop {
                match stream.read(&mut buffer).expect("the transfer stalled") {
                    0 => return expected.position,
                    length => assert!(expected.matches(&buffer[..length]), "bytes changed on the way"),
                }
            }
        });
        cable.a.inside(|| {
            let mut stream = TcpStream::connect_timeout(&target, DEADLINE).unwrap();
            stream.set_write_timeout(Some(DEADLINE)).unwrap();
            let mut pattern = Pattern::new();
            while pattern.position < TRANSFER {
                let rest = TRANSFER - pattern.position;
                stream.write_all(pattern.next(rest)).unwrap();
            }
        });
        assert_eq!(receiver.join().unwrap(), TRANSFER);
        let gigabits = TRANSFER as f64 * 8.0 / begun.elapsed().as_secs_f64() / 1e9;
        println!("{how}, to {address}: {gigabits:.2} Gbit/s");
    }
}

/// Bytes that repeat after a prime number of them, so that no piece can stand for another.
struct Pattern {
    /// Two periods, so that a whole one can be read from any place in the first.
    bytes: Vec<u8>,
    position: usize,
}

impl Pattern {
    const PERIOD: usize = 65_521;

    fn new() -> Self {
        let period = (0..Self::PERIOD).map(|place| ((place * place) >> 5).to_le_bytes()[0]);
        Self { bytes: period.clone().chain(period).collect(), position: 0 }
    }

    /// The next bytes, as many as asked for and as there are in one piece.
    fn next(&mut self, wanted: usize) -> &[u8] {
        let start = self.position % Self::PERIOD;
        let length = wanted.min(Self::PERIOD);
        self.position += length;
        &self.bytes[start..start + length]
    }

    fn matches(&mut self, received: &[u8]) -> bool {
        received.chunks(Self::PERIOD).all(|piece| self.next(piece.len()) == piece)
    }
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

fn ip4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

fn ip6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xFD09, 0, 0, 0, 0, 0, 0, u16::from(number))
}
