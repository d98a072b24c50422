//! What each piece of the data plane costs for one packet or one train.
//!
//! Wall time, for people. Packets are 1,280 bytes long, the MTU of ours: 45 of them
//! are a train of 56 KB, about what the kernel hands over at once and one send takes.
#![expect(clippy::unwrap_used, reason = "a bench ends where its input is wrong")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lanyard_agent::dataplane::pieces::{
    Ends, Joiner, Routes, SEALED_OVERHEAD, TUN_HEADER, Train, checksum, split,
};
use lanyard_proto::overlay::packet;
use lanyard_proto::overlay::table::{ForwardingTable, OverlayAddress, Path, PeerEntry};
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;

/// Longest packet, as the TUN has it.
const MTU: usize = 1_280;
/// Packets of a train.
const PIECES: usize = 45;
/// Headers of IPv4 and of TCP with a time stamp, of IPv4 and UDP.
const KINDS: [(&str, bool, usize); 2] = [("TCP", true, 52), ("UDP", false, 28)];

/// From the kernel's super-packet to packets, and from packets to super-packets.
fn trains(c: &mut Criterion) {
    let mut group = c.benchmark_group("train");
    group.throughput(Throughput::Elements(PIECES as u64));
    for (name, is_tcp, headers) in KINDS {
        let read = super_packet(is_tcp, headers);
        let mut packets = Vec::new();
        split(&read, |piece| packets.push(piece.to_vec())).unwrap();
        assert_eq!(packets.len(), PIECES);
        group.bench_function(BenchmarkId::new("split", name), |b| {
            b.iter(|| split(black_box(&read), |piece| _ = black_box(piece)).unwrap());
        });
        let (plain, places) = lay_out(&packets);
        let mut joiner = Joiner::default();
        let mut writes = 0;
        joiner.join(&plain, &places, |_, _| writes += 1);
        assert_eq!(writes, 1, "a train of {name}");
        group.bench_function(BenchmarkId::new("join", name), |b| {
            b.iter(|| joiner.join(black_box(&plain), &places, |_, parts| _ = black_box(parts)));
        });
    }
    group.finish();
}

/// One packet: its header, its checksum.
fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet");
    let (mut four, mut six) = ([7; MTU], [7; MTU]);
    four[..4].copy_from_slice(&[0x45, 0, 5, 0]);
    six[..6].copy_from_slice(&[0x60, 0, 0, 0, 4, 216]);
    for (name, bytes) in [("IPv4", &four), ("IPv6", &six)] {
        group.bench_function(BenchmarkId::new("parse", name), |b| {
            b.iter(|| packet::parse(black_box(bytes)).unwrap());
        });
    }
    for length in [64, MTU] {
        group.bench_function(BenchmarkId::new("checksum", length), |b| {
            b.iter(|| checksum(black_box(&four[..length])));
        });
    }
    group.finish();
}

/// Through WireGuard, and to the place that is sent from.
fn tunnel(c: &mut Criterion) {
    let mut group = c.benchmark_group("tunnel");
    let mut ends = Ends::agreed().unwrap();
    let mut room = [0; MTU + SEALED_OVERHEAD];
    let mut opened = [0; MTU + SEALED_OVERHEAD];
    for length in [128, MTU] {
        let mut packet = [7; MTU];
        packet[..2].copy_from_slice(&[0x45, 0]);
        packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        let packet = &packet[..length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("seal", length), |b| {
            b.iter(|| ends.seal(black_box(packet), &mut room).unwrap());
        });
        group.bench_function(BenchmarkId::new("seal and open", length), |b| {
            b.iter(|| {
                let sealed = ends.seal(black_box(packet), &mut room).unwrap();
                ends.open(&room[..sealed], &mut opened).unwrap()
            });
        });
    }
    let datagram = [7; MTU + SEALED_OVERHEAD];
    let (packet, datagram) = (&datagram[..MTU], &datagram[..]);
    let mut train = Train::default();
    group.throughput(Throughput::Bytes((PIECES * MTU) as u64));
    group.bench_function("fill a train", |b| {
        b.iter(|| assert_eq!(train.fill([black_box(datagram); PIECES]), PIECES));
    });
    group.bench_function("seal a train", |b| {
        b.iter(|| assert_eq!(ends.seal_train([black_box(packet); PIECES], &mut train), Some(PIECES)));
    });
    group.finish();
}

/// Whose a destination is, as the number of peers grows.
fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for count in [10, 1_000, 10_000] {
        let table = ForwardingTable::new(1, vec![own()], (0..count).map(peer).collect(), &[]);
        let routes = Routes::new(&Arc::new(table)).unwrap();
        for (name, address) in [("IPv4", v4 as fn(u32) -> IpAddr), ("IPv6", v6)] {
            let mut number = 0;
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| {
                    // A prime stride: all of them, none after its neighbour.
                    number = (number + 7_919) % count;
                    routes.route(black_box(address(number))).unwrap()
                });
            });
        }
    }
    group.finish();
}

/// What a TUN with offload gives: a header, and one packet to be cut into 45.
fn super_packet(is_tcp: bool, headers: usize) -> Vec<u8> {
    let piece = MTU - headers;
    let total = headers + PIECES * piece;
    let mut packet = vec![7; total];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0, 0, 64, 0, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
    packet[2..4].copy_from_slice(&u16::try_from(total).unwrap().to_be_bytes());
    packet[9] = if is_tcp { 6 } else { 17 };
    if is_tcp {
        packet[32..34].copy_from_slice(&[0x80, 0x10]);
    }
    let numbers = [headers, piece, 20, if is_tcp { 16 } else { 6 }];
    let mut read = vec![1, if is_tcp { 1 } else { 5 }];
    read.extend(numbers.iter().flat_map(|number| u16::try_from(*number).unwrap().to_ne_bytes()));
    assert_eq!(read.len(), TUN_HEADER);
    read.extend(packet);
    read
}

/// The packets one behind the other, as after decryption.
fn lay_out(packets: &[Vec<u8>]) -> (Vec<u8>, Vec<Range<usize>>) {
    let mut plain = Vec::new();
    let mut places = Vec::new();
    for packet in packets {
        places.push(plain.len()..plain.len() + packet.len());
        plain.extend(packet);
    }
    (plain, places)
}

fn own() -> OverlayAddress {
    OverlayAddress {
        network: NetworkId::from_bytes([1; 16]),
        name: "home".parse().unwrap(),
        ip4: Some((Ipv4Addr::new(10, 9, 255, 254), 16)),
        ip6: ("fd09:0:0:0:ffff::".parse().unwrap(), 64),
    }
}

fn peer(number: u32) -> PeerEntry {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PeerEntry {
        device: DeviceId::from_bytes(*bytes.first_chunk().unwrap()),
        name: format!("peer-{number}").parse().unwrap(),
        wireguard: PublicKey::from_bytes(bytes),
        addresses: vec![v4(number), v6(number)],
        path: Path::None,
        mtu: 1_280,
        repeats: 0,
    }
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 9, 0, 1)) + number).into()
}

fn v6(number: u32) -> IpAddr {
    Ipv6Addr::from(u128::from(Ipv6Addr::new(0xFD09, 0, 0, 0, 0, 0, 0, 1)) + u128::from(number)).into()
}

criterion_group!(benches, trains, packets, tunnel, routes);
criterion_main!(benches);
