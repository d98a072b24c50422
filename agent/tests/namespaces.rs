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

mod cable;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use lanyard_agent::dataplane::Dropped;
use lanyard_agent::netmon::Monitor;
use lanyard_agent::tun::{OVERLAY_MTU, Tun, TunConfig, TunError};
use lanyard_proto::overlay::table::{OverlayAddress, Path};
use lanyard_wire::ids::{Channel, NetworkId};

use self::cable::{Cable, Namespace, Site, direct, ip4, ip6, own, runtime};

/// Nothing here takes longer unless it is broken.
const DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of one transfer.
const TRANSFER: usize = 96 << 20;

#[test]
fn two_devices_ping_and_transfer_over_a_direct_and_a_relayed_path() {
    let Some(cable) = Cable::lay("path") else { return };
    let (a, b) = (Site::open(&cable, 1), Site::open(&cable, 2));
    a.knows(&b, direct(b.outer()));
    b.knows(&a, direct(a.outer()));
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
    assert!(shown.contains(&format!("mtu {OVERLAY_MTU}")) && shown.contains("gso_max_segs 45"), "{shown}");

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
