//! The program under a million forged first messages: no memory, no amplification, and devices still get in.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod member;
mod server;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lanyard_wire::envelope::{self, GateKeys, Hello, RelayHeader, Unknown};
use lanyard_wire::ids::{Channel, SessionIndex};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::stun::{Change, Request};

use self::member::{Member, until};
use self::server::Directory;

/// First messages of the flood.
const FLOOD: u64 = 1_000_000;

/// Sources it comes from, each with an address and a port of its own.
const SOURCES: u8 = 200;

/// First messages under way at one time from one thread: fewer than a socket's buffer holds, so that the program
/// is what limits the flood and real devices lose no more than the flood does.
const WINDOW: usize = 64;

/// Time for a million, on a machine that does other things as well.
const DEADLINE: Duration = Duration::from_secs(120);

/// The session index of the HELLO that tells that everything before it was answered or never will be.
const LAST: SessionIndex = SessionIndex::new(0xFFFF);

/// What the process may grow meanwhile.
const GROWTH_MAX: usize = 8 << 20;

#[test]
fn a_million_forged_hellos_cost_no_memory_and_keep_nobody_out() {
    let directory = Directory::made();
    let server = directory.serve("checkpoint,handshake,stun,relay,index", &[]);
    let control = server.place("udp control");
    let forged = forged_hellos(&directory.join.key);
    let flood = Flood::default();
    flood.run(control, &forged, 0, 20_000);
    server.until_metric("lanyard_udp_rejected_total{machine=\"control\",why=\"needs_cookie\"}", |count| {
        count > 10_000
    });
    let before = resident(server.child.id());

    let mut members = [Member::new(1, "laptop")];
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (flood, forged) = (&flood, &forged);
            scope.spawn(move || flood.run(control, forged, thread, FLOOD / 2));
        }
        until(&mut members, "the flood begins", |_| flood.sent.load(Ordering::Relaxed) > 50_000);
        members[0].join(&directory.join, control);
        until(&mut members, "a device joins under the flood", |members| members[0].has_joined());
        assert!(!flood.is_over.load(Ordering::Relaxed), "it joined while the flood went on");
        until(&mut members, "the flood ends", |_| flood.sent.load(Ordering::Relaxed) >= FLOOD);
    });

    let (came, went) = (flood.sent_bytes.load(Ordering::Relaxed), flood.heard_bytes.load(Ordering::Relaxed));
    assert!(went * 3 <= came && went > 0, "{came} bytes came, {went} went");
    let grown = resident(server.child.id()).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes more than before the flood");
    assert_eq!(
        server.until_metric("lanyard_checkpoint_sessions", |count| count > 0),
        1,
        "the device's alone"
    );
    eprintln!("{FLOOD} forged hellos: {came} bytes came, {went} went, the process grew by {grown}");
}

#[test]
fn no_stranger_gets_more_bytes_than_it_sent() {
    let directory = Directory::made();
    let server = directory.serve("checkpoint,handshake,stun,relay,index", &[]);
    let control = server.place("udp control");
    let last = Hello::new(LAST, [1; 120], [0; 16], &GateKeys::of(&directory.join.key)).encode();
    let is_last = |answer: &[u8]| answer[0] == envelope::RETRY && answer[4..8] == LAST.value().to_be_bytes();
    // Relay frames have a queue of their own, so what ends the wait for their answer is a frame, too.
    let fence = Channel::new(9).unwrap();
    let last_frame = [&RelayHeader { channel: fence, length: 16 }.encode()[..], &[4; 16]].concat();
    let fence = Unknown::Channel(fence).encode();
    let mut answered = Vec::new();
    for question in of_every_kind(&directory.join.key) {
        let heard = if question[0] == envelope::RELAY {
            exchange(control, &question, &last_frame, |answer| *answer == fence[..])
        } else {
            exchange(control, &question, &last, is_last)
        };
        let head = &question[..question.len().min(24)];
        assert!(heard <= question.len(), "{} bytes out, {heard} back: {head:02x?}", question.len());
        if heard > 0 {
            answered.push(question[0]);
        }
    }
    answered.sort_unstable();
    answered.dedup();
    let expected = [envelope::RELAY, envelope::HELLO, envelope::DATA, envelope::RESUME];
    assert_eq!(answered, expected, "these have an answer at all");

    let padded = |txid| Request::new(txid, Change { ip: false, port: false }).encode();
    let bare = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    for stun in server.places("udp stun") {
        let is_last = |answer: &[u8]| answer[8..20] == [9; 12];
        let heard = exchange(stun, &padded([7; 12]), &padded([9; 12]), is_last);
        assert!(heard > 0 && heard <= padded([7; 12]).len(), "{heard}");
        assert_eq!(exchange(stun, &bare, &padded([9; 12]), is_last), 0, "a bare request has no answer");
    }
}

/// What a flood did.
#[derive(Default)]
struct Flood {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    heard_bytes: AtomicU64,
    is_over: AtomicBool,
}

impl Flood {
    /// Sends this many, a window from each source in turn, and takes what comes back.
    fn run(&self, target: SocketAddr, forged: &[Vec<u8>], thread: u8, count: u64) {
        let end = Instant::now() + DEADLINE;
        let sources: Vec<UdpSocket> = (1..=SOURCES).map(|number| source([127, 7, thread, number])).collect();
        let (mut sent, mut buffer) = (0, [0; 2_048]);
        for source in sources.iter().cycle() {
            if sent >= count {
                break;
            }
            assert!(Instant::now() < end, "{sent} of {count} sent in {DEADLINE:?}");
            for hello in forged.iter().take(WINDOW) {
                source.send_to(hello, target).unwrap();
                self.sent_bytes.fetch_add(hello.len() as u64, Ordering::Relaxed);
            }
            sent += WINDOW as u64;
            self.sent.fetch_add(WINDOW as u64, Ordering::Relaxed);
            for _ in 0..WINDOW {
                let Ok(length) = source.recv(&mut buffer) else { break };
                self.heard_bytes.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
        if self.sent.load(Ordering::Relaxed) >= FLOOD {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }
}

/// Sends a question from a new address, and then one that surely has an answer: bytes heard before that one.
fn exchange(target: SocketAddr, question: &[u8], last: &[u8], is_last: impl Fn(&[u8]) -> bool) -> usize {
    let source = source([127, 8, 0, 1]);
    source.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for bytes in [question, last] {
        source.send_to(bytes, target).unwrap();
    }
    let (mut heard, mut buffer) = (0, [0; 2_048]);
    loop {
        let length = source.recv(&mut buffer).unwrap();
        if is_last(&buffer[..length]) {
            return heard;
        }
        heard += length;
    }
}

fn source(ip: [u8; 4]) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::from(ip), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

/// Memory that a process occupies, in bytes.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// HELLOs whose first check they pass, from nobody.
fn forged_hellos(key: &PublicKey) -> Vec<Vec<u8>> {
    let gate = GateKeys::of(key);
    let hello =
        |number: u8| Hello::new(SessionIndex::new(number.into()), [number; 120], [0; 16], &gate).encode();
    (0..=u8::MAX).map(hello).collect()
}

/// A datagram of each kind, as strangers can make them.
fn of_every_kind(key: &PublicKey) -> Vec<Vec<u8>> {
    let gate = GateKeys::of(key);
    let relay = RelayHeader { channel: Channel::new(7).unwrap(), length: 1_400 };
    let of_kind = |kind: u8, length: usize| [&[kind, 0, 0, 0][..], &vec![1; length - 4]].concat();
    let mut data = of_kind(envelope::DATA, 1_200);
    data[1] = 1;
    let datagrams = vec![
        Hello::new(SessionIndex::new(7), [7; 120], [9; 16], &gate).encode(),
        of_kind(envelope::HELLO, 160),
        of_kind(envelope::RETRY, 48),
        of_kind(envelope::WELCOME, 240),
        data,
        of_kind(envelope::DATA, 32),
        of_kind(envelope::RESUME, 168),
        of_kind(envelope::RESUMED, 71),
        of_kind(envelope::PING, 1_232),
        of_kind(envelope::PONG, 64),
        of_kind(envelope::CARRY, 64),
        of_kind(envelope::EARLY, 128),
        Unknown::Channel(Channel::new(7).unwrap()).encode(),
        [&relay.encode()[..], &[4; 1_400]].concat(),
        RelayHeader { length: 4, ..relay }.encode().iter().copied().chain([4; 4]).collect(),
        vec![4, 0, 0, 0],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for (kind, name) in envelope::KINDS {
        assert!(datagrams.iter().any(|bytes| bytes[0] == *kind), "no {name}");
    }
    datagrams
}
