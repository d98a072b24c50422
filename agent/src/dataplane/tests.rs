//! Two data planes against each other in this process, without root: a socket pair is each TUN, loopback the network.

mod counters;
mod early;
mod repeats;
mod restart;
mod sizes;
#[cfg(target_os = "linux")]
mod trains;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lanyard_proto::overlay::table::{OverlayAddress, Path, PeerEntry};
use lanyard_proto::transmit::SocketId;
use lanyard_wire::ids::{Channel, DeviceId, NetworkId};
use lanyard_wire::limits::RELAY_HEADER;
use socket2::Socket;

use super::virtio::{HEADER_LEN, Train, VirtioHeader};
use super::*;
use crate::tun::Offload;

/// Nothing here takes longer unless it is broken.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn two_devices_shake_hands_and_packets_pass_both_ways() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    let there = datagram(1, 2, b"there", 0);
    a.tun.send(&there).unwrap();
    assert_eq!(b.receive("the first packet"), there);
    let back = datagram(2, 1, b"back", 0);
    b.tun.send(&back).unwrap();
    assert_eq!(a.receive("the answer"), back);
    assert!(a.plane.is_running() && b.plane.is_running());
    assert_nothing_dropped(&a);
    assert_nothing_dropped(&b);
}

#[test]
fn packets_wait_for_a_path_and_leave_when_it_appears() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, Path::None);
    b.knows(&a, Path::None);
    for number in 0..10 {
        a.tun.send(&datagram(1, 2, b"waiting", number)).unwrap();
    }
    let seen = a.observe_until("packets that wait", |seen| seen.waiting);
    assert_eq!(seen.peer, b.id());
    a.wait_until("two packets pushed out", |plane| plane.counters().of(Dropped::WaitedTooLong) == 2);
    a.knows(&b, direct(&b));
    for number in 2..10 {
        assert_eq!(b.receive("a packet that waited"), datagram(1, 2, b"waiting", number), "the newest eight");
    }
    // B has no path of its own yet, but knows where A was authentic.
    let heard = b.observe_until("A heard on its address", |seen| !seen.rx.is_empty());
    assert_eq!(heard.rx[0].0, direct(&a));
}

#[test]
fn the_same_session_moves_between_relay_and_direct_path() {
    let relay = Relay::start();
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    relay.serve(&a, &b);
    a.knows(&b, relay.path());
    b.knows(&a, relay.path());
    let exchange = |number: u16| {
        let (there, back) = (datagram(1, 2, b"there", number), datagram(2, 1, b"back", number));
        a.tun.send(&there).unwrap();
        assert_eq!(b.receive("a packet"), there);
        b.tun.send(&back).unwrap();
        assert_eq!(a.receive("a packet back"), back);
    };
    exchange(1);
    let settled = Instant::now();
    let heard = b.observe_until("A heard by the relay", |seen| !seen.rx.is_empty());
    assert!(heard.rx.iter().all(|(path, ..)| *path == relay.path()));

    a.moves(&b, direct(&b), &relay);
    exchange(2);
    let heard = b.observe_until("A heard directly", |seen| seen.rx.iter().any(|(path, ..)| path.is_direct()));
    assert!(heard.rx.iter().any(|(path, ..)| *path == direct(&a)));
    b.moves(&a, direct(&a), &relay);
    exchange(3);

    a.moves(&b, relay.path(), &relay);
    exchange(4);
    let age = |plane: &DataPlane| plane.peer_counters()[0].session_age;
    // The keeper tells four times a second.
    [&a, &b].iter().for_each(|device| device.wait_until("a session", |plane| age(plane).is_some()));
    let since = settled.elapsed();
    let ages = [&a, &b].map(|device| age(&device.plane).unwrap());
    assert!(ages.iter().all(|age| *age >= since), "a new session for another path: {ages:?}");
}

#[test]
fn a_removed_peer_is_neither_heard_nor_sent_to() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    a.tun.send(&datagram(1, 2, b"before", 0)).unwrap();
    b.receive("a packet before the removal");
    b.forgets_all();
    a.tun.send(&datagram(1, 2, b"after", 1)).unwrap();
    b.wait_until("A's packet dropped", |plane| plane.counters().of(Dropped::NoSession) == 1);
    b.tun.send(&datagram(2, 1, b"out", 2)).unwrap();
    b.wait_until("own packet refused", |plane| plane.counters().of(Dropped::NoPeer) == 1);
    assert!(b.plane.peer_counters().is_empty());
    // An initiation of someone who is no peer is not answered.
    a.forgets_all();
    a.knows(&b, direct(&b));
    a.tun.send(&datagram(1, 2, b"again", 3)).unwrap();
    b.wait_until("A's handshake refused", |plane| plane.counters().of(Dropped::UnknownPeer) >= 1);
    assert_eq!(a.plane.peer_counters()[0].total().rx_packets, 0);
}

#[test]
fn a_peer_cannot_speak_for_others_nor_through_us_to_others() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows_more(&b, direct(&b), &[Ipv4Addr::new(192, 0, 2, 1)]);
    b.knows(&a, direct(&a));
    a.tun.send(&datagram(3, 2, b"not mine", 0)).unwrap();
    b.wait_until("a foreign source dropped", |plane| plane.counters().of(Dropped::ForeignSource) == 1);
    assert_eq!(b.plane.peer_counters()[0].dropped.of(Dropped::ForeignSource), 1, "and it was A's");
    let mut elsewhere = datagram(1, 2, b"not yours", 1);
    elsewhere[16..20].copy_from_slice(&[192, 0, 2, 1]);
    a.tun.send(&elsewhere).unwrap();
    b.wait_until("a foreign destination dropped", |plane| {
        plane.counters().of(Dropped::ForeignDestination) == 1
    });
    let good = datagram(1, 2, b"mine", 2);
    a.tun.send(&good).unwrap();
    assert_eq!(b.receive("the honest packet"), good);
}

#[test]
fn an_address_that_nobody_has_is_unreachable_at_once() {
    let a = Device::start(1, Offload::None);
    a.forgets_all();
    a.tun.send(&datagram(1, 77, b"anyone?", 0)).unwrap();
    let answer = a.receive("the answer from nobody");
    assert_eq!(answer[12..16], [10, 9, 0, 77]);
    assert_eq!((answer[9], answer[20], answer[21]), (1, 3, 1), "ICMP: host unreachable");
}

#[test]
fn control_messages_reach_the_engine_and_noise_reaches_nobody() {
    let mut a = Device::start(1, Offload::None);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, a.sockets.port()));
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[0; 12]].concat();
    let hint = [&[0xC9][..], &[0; 15]].concat();
    for bytes in [&stun[..], b"nonsense", &hint, &[0xC0; 20], &[4; 7]] {
        socket.send_to(bytes, target).unwrap();
    }
    let remote = socket.local_addr().unwrap();
    for bytes in [stun, hint] {
        let expected = Inbound { local: SocketId::MAIN, remote, bytes };
        let received = std::iter::repeat_with(|| a.control.try_recv()).find_map(Result::ok);
        assert_eq!(received, Some(expected));
    }
    a.wait_until("noise counted", |plane| {
        let counters = plane.counters();
        counters.of(Dropped::Noise) == 2
            && counters.of(Dropped::UnknownChannel) + counters.of(Dropped::Malformed) == 1
    });
    assert!(a.control.try_recv().is_err());
}

#[test]
fn hostile_datagrams_neither_stop_the_data_plane_nor_get_an_answer() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    a.tun.send(&datagram(1, 2, b"before", 0)).unwrap();
    b.receive("a packet before");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, b.sockets.port()));
    let mut sent = 0;
    for kind in 0..=255_u8 {
        for length in [0, 1, 7, 8, 16, 31, 32, 64, 92, 148, 149, 1_400] {
            let mut bytes = vec![0xFF; length];
            for (at, byte) in [kind, 0, 0, 0].into_iter().enumerate().take(length) {
                bytes[at] = byte;
            }
            // A full socket would drop the rest of the test, so now and then let B catch up.
            socket.send_to(&bytes, target).unwrap();
            sent += 1;
            if sent % 200 == 0 {
                a.tun.send(&datagram(1, 2, b"between", sent)).unwrap();
                assert_eq!(b.receive("a packet between"), datagram(1, 2, b"between", sent));
            }
        }
    }
    assert!(b.plane.is_running());
    let mut answer = [0; 2_048];
    assert!(socket.recv(&mut answer).is_err(), "no answer to any of {sent} datagrams");
}

#[test]
fn a_channel_carries_its_own_pair_only() {
    let relay = Relay::start();
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    relay.serve(&a, &b);
    a.knows(&b, relay.path());
    // To B the channel is the one it shares with device 3; A is known to it directly.
    let Path::Relayed { relay: address, channel } = relay.path() else { unreachable!() };
    let third = Device::start(3, Offload::None);
    b.set(
        vec![entry(&a, direct(&a), &[]), entry(&third, direct(&third), &[])],
        &[(address, channel, third.id())],
    );
    a.tun.send(&datagram(1, 2, b"by the wrong channel", 0)).unwrap();
    b.wait_until("A's handshake refused", |plane| plane.counters().of(Dropped::UnknownChannel) >= 1);
    assert!(b.plane.peer_counters().iter().all(|peer| peer.total().tx_packets == 0), "and not answered");
}

// A socket of Windows does not tell that its far end is gone.
#[cfg(unix)]
#[test]
fn the_end_of_the_interface_is_told() {
    let a = Device::start(1, Offload::None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    drop(a.tun);
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, a.plane.activity().notified()).await.expect("nothing was told");
    });
    let begun = Instant::now();
    while a.plane.is_running() {
        assert!(begun.elapsed() < DEADLINE, "it runs without an interface");
        thread::yield_now();
    }
}

#[test]
fn stopping_takes_a_moment_only() {
    let a = Device::start(1, Offload::None);
    a.forgets_all();
    let begun = Instant::now();
    a.plane.stop();
    assert!(begun.elapsed() < Duration::from_secs(2));
}

/// A data plane with the far ends of its TUN and of its channel.
struct Device {
    number: u8,
    plane: DataPlane,
    sockets: Sockets,
    tun: Socket,
    control: mpsc::Receiver<Inbound>,
    waits: mpsc::Receiver<Waiting>,
}

impl Device {
    fn start(number: u8, offload: Offload) -> Self {
        Self::start_at(number, offload, 0)
    }

    fn start_at(number: u8, offload: Offload, port: u16) -> Self {
        let (tun, queue) = cable(offload);
        let sockets = Sockets::bind(port, 1).unwrap();
        let (sender, control) = mpsc::channel(1_024);
        let (waiting, waits) = mpsc::channel(64);
        let plane = DataPlane::start(vec![queue], sockets.clone(), &secret(number), sender, waiting).unwrap();
        Self { number, plane, sockets, tun, control, waits }
    }

    fn id(&self) -> DeviceId {
        DeviceId::from_bytes([self.number; 16])
    }

    fn knows(&self, peer: &Self, path: Path) {
        self.knows_more(peer, path, &[]);
    }

    fn knows_more(&self, peer: &Self, path: Path, more: &[Ipv4Addr]) {
        self.set(vec![entry(peer, path, more)], &[]);
    }

    /// Another path, while the relay's channel may still be heard.
    fn moves(&self, peer: &Self, path: Path, relay: &Relay) {
        let Path::Relayed { relay, channel } = relay.path() else { unreachable!() };
        self.set(vec![entry(peer, path, &[])], &[(relay, channel, peer.id())]);
    }

    fn forgets_all(&self) {
        self.set(Vec::new(), &[]);
    }

    fn set(&self, peers: Vec<PeerEntry>, channels: &[(SocketAddr, Channel, DeviceId)]) {
        let own = OverlayAddress {
            network: NetworkId::from_bytes([1; 16]),
            name: "home".parse().unwrap(),
            ip4: Some((ip(self.number), 24)),
            ip6: ("fd00::1".parse().unwrap(), 64),
        };
        self.plane.set_table(&Arc::new(ForwardingTable::new(1, vec![own], peers, channels)));
    }

    fn send_with(&self, header: VirtioHeader, packet: &[u8]) {
        let whole = [&header.encode()[..], packet].concat();
        assert_eq!((&self.tun).write(&whole).unwrap(), whole.len());
    }

    fn receive(&self, what: &str) -> Vec<u8> {
        self.try_receive(DEADLINE).unwrap_or_else(|| {
            panic!("{what} is missing at {}: {:?}", self.number, self.plane.counters());
        })
    }

    fn try_receive(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut packet = vec![0; 70_000];
        self.tun.set_read_timeout(Some(patience)).unwrap();
        let length = (&self.tun).read(&mut packet).ok()?;
        packet.truncate(length);
        Some(packet)
    }

    fn observe_until(&self, what: &str, is_it: impl Fn(&Observation) -> bool) -> Observation {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.plane.observe().into_iter().find(|seen| is_it(seen)) {
                return found;
            }
            assert!(begun.elapsed() < DEADLINE, "{what} not observed");
            thread::yield_now();
        }
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&DataPlane) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.plane) {
            assert!(begun.elapsed() < DEADLINE, "{what}: {:?}", self.plane.counters());
            thread::yield_now();
        }
    }
}

/// The far end of a TUN, and its queue.
#[cfg(unix)]
fn cable(offload: Offload) -> (Socket, TunQueue) {
    let (tun, queue) = Socket::pair(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).unwrap();
    queue.set_nonblocking(true).unwrap();
    for end in [&tun, &queue] {
        end.set_send_buffer_size(4 << 20).unwrap();
    }
    (tun, TunQueue::from_fd(std::os::fd::OwnedFd::from(queue), offload))
}

/// The far end of a TUN, and its queue; Windows has pairs of sockets on the loopback interface alone.
#[cfg(windows)]
fn cable(offload: Offload) -> (Socket, TunQueue) {
    let [tun, queue] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    tun.connect(queue.local_addr().unwrap()).unwrap();
    queue.connect(tun.local_addr().unwrap()).unwrap();
    queue.set_nonblocking(true).unwrap();
    (tun.into(), TunQueue::from_socket(queue, offload).unwrap())
}

/// Forwards relay frames between two devices, unchanged, as RELAY does.
struct Relay {
    socket: UdpSocket,
    stop: UdpSocket,
}

impl Relay {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { socket, stop: UdpSocket::bind("127.0.0.1:0").unwrap() }
    }

    fn serve(&self, a: &Device, b: &Device) {
        let ends = [a, b].map(|end| SocketAddr::from((Ipv4Addr::LOCALHOST, end.sockets.port())));
        let stop = self.stop.local_addr().unwrap();
        let socket = self.socket.try_clone().unwrap();
        thread::spawn(move || {
            let mut frame = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut frame) {
                if from == stop {
                    return;
                }
                assert_eq!(frame[..6], [0xC0, 0, 0, 0, 0, 99], "channel of the pair");
                assert_eq!(usize::from(frame[6]) << 8 | usize::from(frame[7]), length - RELAY_HEADER);
                let to = if from == ends[0] { ends[1] } else { ends[0] };
                socket.send_to(&frame[..length], to).unwrap();
            }
        });
    }

    fn path(&self) -> Path {
        Path::Relayed { relay: self.socket.local_addr().unwrap(), channel: Channel::new(99).unwrap() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.stop.send_to(b"stop", self.socket.local_addr().unwrap());
    }
}

fn direct(to: &Device) -> Path {
    Path::Direct { local: SocketId::MAIN, remote: SocketAddr::from((Ipv4Addr::LOCALHOST, to.sockets.port())) }
}

fn entry(peer: &Device, path: Path, more: &[Ipv4Addr]) -> PeerEntry {
    let own = std::iter::once(ip(peer.number));
    PeerEntry {
        device: peer.id(),
        name: format!("device-{}", peer.number).parse().unwrap(),
        wireguard: secret(peer.number).public(),
        addresses: own.chain(more.iter().copied()).map(IpAddr::V4).collect(),
        path,
        mtu: 1_280,
        repeats: 0,
    }
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

fn ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

fn assert_nothing_dropped(device: &Device) {
    let counters = device.plane.counters();
    assert!(counters.dropped.iter().all(|(_, count)| *count == 0), "{counters:?}");
}

/// An IPv4 packet with an unused protocol, so that nothing about it is to be checked.
fn datagram(from: u8, to: u8, payload: &[u8], number: u16) -> Vec<u8> {
    let total = u16::try_from(22 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 253, 0, 0];
    packet.extend(ip(from).octets());
    packet.extend(ip(to).octets());
    packet.extend(number.to_be_bytes());
    packet.extend(payload);
    packet
}

/// A super-packet of TCP as the kernel hands it over.
fn tcp_train(payload: usize) -> (VirtioHeader, Vec<u8>) {
    let total = u16::try_from(40 + payload).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 7, 0x40, 0, 64, 6, 0, 0];
    packet.extend(ip(1).octets());
    packet.extend(ip(2).octets());
    packet.extend([0x30, 0x39, 0x01, 0xBB, 0, 0, 0, 9, 0, 0, 0, 5, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    packet.extend((0..payload).map(|at| u8::try_from(at % 251).unwrap()));
    let header = VirtioHeader {
        needs_checksum: true,
        train: Train::Tcp4,
        header_len: 40,
        piece_len: 1_200,
        checksum_start: 20,
        checksum_offset: 16,
    };
    (header, packet)
}
