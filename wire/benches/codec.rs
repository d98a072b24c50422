//! What one datagram costs: sorting, opening, sealing, tickets, and the largest messages.
//!
//! Wall time, for people. On two busy AMD EPYC vCPUs: keep-alive sealed or opened in 0.3 us, 1,168 bytes in 1.1 us, a
//! wrong HELLO refused in 1 us, a ticket opened and its session derived in 3 us.
#![expect(clippy::unwrap_used, reason = "a bench ends where its input is wrong")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lanyard_wire::body::ServiceBody;
use lanyard_wire::checkpoint::{
    Availability, Change, FromCheckpoint, Member, MemberState, NetworkCard, RelayGrant, Roster,
};
use lanyard_wire::classify::classify;
use lanyard_wire::envelope::{DataHeader, GateKeys, Hello, RelayHeader, Resume, ResumeBody, ResumedKeys};
use lanyard_wire::ids::{
    AttemptId, Channel, DeviceId, DeviceNumber, NetworkId, RequestId, Revision, SessionIndex,
};
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::probe::{PairKey, Probe};
use lanyard_wire::seal::{DeviceWindow, ServiceWindow, TicketBody, TicketKey};
use lanyard_wire::stun;
use lanyard_wire::token::{Purpose, Token};

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([7; 32])
}

/// What a service does for each keep-alive, and for the longest body.
fn data(c: &mut Criterion) {
    let mut group = c.benchmark_group("data");
    let header = DataHeader { answer: false, receiver: SessionIndex::new(1), counter: 5 };
    for length in [0, 64, 1_168] {
        let body = vec![1; length];
        let datagram = header.seal(&key(), &body);
        group.throughput(Throughput::Bytes(datagram.len() as u64));
        group.bench_function(format!("seal {length}"), |b| b.iter(|| header.seal(&key(), black_box(&body))));
        let mut buffer = datagram.clone();
        group.bench_function(format!("open {length}"), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&datagram);
                let header = DataHeader::parse(&buffer).unwrap();
                header.open(&key(), black_box(&mut buffer)).unwrap().len()
            });
        });
    }
    group.finish();
}

/// What a stranger can make a service compute.
fn gate(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    let gate = GateKeys::of(&PublicKey::from_bytes([1; 32]));
    let hello = Hello::new(SessionIndex::new(1), [2; 120], [3; 16], &gate).encode();
    group.bench_function("classify", |b| b.iter(|| classify(black_box(&hello))));
    group.bench_function("mac1", |b| b.iter(|| Hello::parse(black_box(&hello)).unwrap().is_for(&gate)));

    let secret = SymmetricKey::from_bytes([4; 32]);
    let tickets = TicketKey::new(1, &key());
    let body = TicketBody {
        identity: PublicKey::from_bytes([5; 32]),
        secret: secret.clone(),
        epoch: 0,
        expires_s: u64::MAX,
    };
    let ticket = tickets.seal(&body, [6; 12]);
    let resume =
        Resume::new(SessionIndex::new(1), [7; 16], ticket, &secret, &ResumeBody { boot: 1, timestamp_ms: 2 });
    let bytes = resume.encode();
    group.bench_function("resume", |b| {
        b.iter(|| {
            let resume = Resume::parse(black_box(&bytes)).unwrap();
            let body = tickets.open(&resume.ticket).unwrap();
            assert!(resume.open(&body.secret).is_some());
            ResumedKeys::derive(&body.secret, &resume.nonce, &[8; 16])
        });
    });
    let token = Token::grant(&key(), Purpose::Relay, device(1), device(2), 3, u32::MAX);
    group.bench_function("token", |b| b.iter(|| black_box(&token).verify(&key(), 1)));
    group.finish();
}

/// The dear messages: a full page of a roster, a probe of full size, a relay header, STUN.
fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages");
    let roster = ServiceBody::Checkpoint(FromCheckpoint::Roster(roster()));
    let bytes = roster.to_bytes();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode roster page", |b| b.iter(|| black_box(&roster).to_bytes()));
    group.bench_function("decode roster page", |b| b.iter(|| ServiceBody::parse(black_box(&bytes)).unwrap()));

    let (a, peer) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let pair = PairKey::new(&a, &peer.public(), AttemptId::new(1)).unwrap();
    let there = PairKey::new(&peer, &a.public(), AttemptId::new(1)).unwrap();
    let ping = Probe::ping(AttemptId::new(1), 2, false);
    let datagram = ping.seal(&pair, 1_340);
    group.throughput(Throughput::Bytes(1_340));
    group.bench_function("seal probe", |b| b.iter(|| black_box(&ping).seal(&pair, 1_340)));
    group.bench_function("open probe", |b| b.iter(|| Probe::open(black_box(&datagram), &there).unwrap()));

    let header = RelayHeader { channel: Channel::MAX, length: 1_312 };
    let frame = [&header.encode()[..], &[0; 1_312]].concat();
    group.throughput(Throughput::Elements(1));
    group.bench_function("relay header", |b| b.iter(|| RelayHeader::parse(black_box(&frame)).unwrap().0));
    let request = stun::Request::new([1; 12], stun::Change::default()).encode();
    group.bench_function("STUN request", |b| b.iter(|| stun::Request::parse(black_box(&request)).unwrap()));
    group.finish();
}

/// Counters in order, as nearly all of them come.
fn windows(c: &mut Criterion) {
    let mut group = c.benchmark_group("window");
    group.bench_function("64", |b| {
        let (mut window, mut counter) = (ServiceWindow::new(), 0);
        b.iter(|| {
            counter += 1;
            window.accept(black_box(counter))
        });
    });
    group.bench_function("1024", |b| {
        let (mut window, mut counter) = (DeviceWindow::new(), 0);
        b.iter(|| {
            counter += 1;
            window.accept(black_box(counter))
        });
    });
    group.finish();
}

fn device(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 16])
}

fn roster() -> Roster {
    let member = |index: u8| {
        let token = Token::grant(&key(), Purpose::Relay, device(0), device(index), u64::from(index), 1);
        Change::Present(Member {
            identity: PublicKey::from_bytes([index; 32]),
            number: DeviceNumber::new(u32::from(index)).unwrap(),
            wireguard: PublicKey::from_bytes([index; 32]),
            name: DeviceName::parse("office-7").unwrap(),
            ip4: [10, 77, 0, index].into(),
            ip6: [0xFD; 16].into(),
            availability: Availability::Online { prekey: None },
            relay: RelayGrant::of(&token).unwrap(),
        })
    };
    Roster {
        request: RequestId::new(1),
        network: NetworkCard {
            id: NetworkId::from_bytes([9; 16]),
            name: NetworkName::parse("home").unwrap(),
            prefix4: ([10, 77, 0, 0].into(), 24),
            prefix6: [0xFD; 16].into(),
            ip4: [10, 77, 0, 2].into(),
            ip6: [0xFD; 16].into(),
            state: MemberState::Active,
            peer_relay: true,
        },
        from: Revision::ZERO,
        to: Revision::new(9),
        full: true,
        next: None,
        changes: (1..=8).map(member).collect(),
    }
}

criterion_group!(benches, data, gate, messages, windows);
criterion_main!(benches);
