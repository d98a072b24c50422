//! A million first messages of nobody: an endpoint keeps nothing of them and spends no key exchange on them.
//!
//! In a process of its own, because it brings its own allocator to count with.
#![expect(unsafe_code, reason = "counting what is allocated takes an allocator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};

use lanyard_proto::noise::Initiator;
use lanyard_proto::rejected::Rejected;
use lanyard_proto::rng::Rng;
use lanyard_proto::service::{CheckpointConfig, Endpoint, EndpointConfig, FleetKey, RelayConfig};
use lanyard_proto::time::{Instant, WallClock};
use lanyard_proto::transmit::{Datagram, SocketId};
use lanyard_wire::envelope::{GateKeys, Hello, HelloPayload, Resume, ResumeBody};
use lanyard_wire::ids::SessionIndex;
use lanyard_wire::keys::{SecretKey, SymmetricKey, keyed_hash};
use lanyard_wire::limits::RETRY_LEN;
use lanyard_wire::seal::{Ticket, TicketBody, TicketKey};

/// First messages of the flood, each from an address of its own.
const FLOOD: u32 = 1_000_000;

/// What the allocator may still hold afterwards that it did not hold before: the counters by reason.
const SLACK: isize = 4_096;

/// When the flood begins.
const START: Instant = Instant::from_secs(1_000);

thread_local! {
    /// Bytes that this thread allocated and did not give back.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; only lengths are added up.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_million_forged_first_messages_leave_nothing_behind() {
    let mut endpoint = endpoint();
    let forged = forged();
    // Once each, so that counters and buffers have their size.
    for (message, _) in &forged {
        let _ignored = send(&mut endpoint, source(0), message, START);
    }
    let before = (LIVE.get(), endpoint.stats());
    let (mut came, mut went) = (0, 0);
    for number in 1..=FLOOD {
        let place = usize::try_from(number).unwrap() % forged.len();
        let (message, why) = &forged[place];
        let now = Instant::from_micros(START.as_micros() + u64::from(number) * 20);
        let (result, answer) = send(&mut endpoint, source(number), message, now);
        assert_eq!(result, Err(*why), "message {place}");
        assert!(answer <= message.len(), "message {place}: {answer} bytes");
        came += message.len();
        went += answer;
    }
    let grown = LIVE.get() - before.0;
    let after = endpoint.stats();
    assert!(grown.abs() <= SLACK, "{grown} bytes more than before");
    assert_eq!((after.sessions, after.devices, after.guests), (0, 0, 0));
    assert!(went >= RETRY_LEN * 100_000 && went < came / 3, "{came} bytes came, {went} went");
    let exchanged = after.rejected.get(&Rejected::Unauthenticated).copied().unwrap_or(0);
    let junk = forged.iter().filter(|(_, why)| *why == Rejected::Unauthenticated).count();
    assert_eq!(
        exchanged,
        u64::from(FLOOD) / forged.len() as u64 * junk as u64 + junk as u64,
        "tickets, no HELLO"
    );
}

#[test]
fn proven_sources_get_as_many_key_exchanges_as_there_is_time_for() {
    let mut endpoint = endpoint();
    let mut rng = Rng::from_seed([4; 32]);
    let gate = GateKeys::of(&service().public());
    let mut answered = 0;
    // Hosts that do receive at their addresses but do not know how to speak: the exchange fails each time.
    for number in 0..4_000 {
        let noise = rng.bytes();
        let hello = Hello::new(SessionIndex::new(7), noise, [0; 16], &gate);
        let cookie = cookie(&mut endpoint, source(number), &hello);
        let hello = Hello::new(SessionIndex::new(7), noise, cookie, &gate).encode();
        let (result, _) = send(&mut endpoint, source(number), &hello, START);
        answered += u32::from(result == Err(Rejected::Unauthenticated));
        assert!(matches!(result, Err(Rejected::Unauthenticated | Rejected::RateLimited)), "{result:?}");
    }
    assert_eq!(answered, 2_000, "half a core's worth, however many ask");
}

/// The cookie that an address is told.
fn cookie(endpoint: &mut Endpoint, remote: SocketAddr, hello: &Hello) -> [u8; 16] {
    let bytes = hello.encode();
    let datagram = Datagram { local: SocketId::MAIN, remote, bytes: &bytes };
    assert_eq!(endpoint.handle_datagram(datagram, START), Err(Rejected::NeedsCookie));
    let retry = endpoint.poll_transmit().unwrap();
    lanyard_wire::envelope::Retry::parse(&retry.bytes).unwrap().cookie
}

/// Hands a datagram to the endpoint; what came of it, and how many bytes it answered.
fn send(
    endpoint: &mut Endpoint,
    remote: SocketAddr,
    bytes: &[u8],
    now: Instant,
) -> (Result<(), Rejected>, usize) {
    let result = endpoint.handle_datagram(Datagram { local: SocketId::MAIN, remote, bytes }, now);
    let mut answer = 0;
    while let Some(transmit) = endpoint.poll_transmit() {
        assert_eq!(transmit.remote, remote, "an answer to somebody else");
        answer += transmit.bytes.len();
    }
    assert!(endpoint.poll_event().is_none());
    endpoint.handle_timeout(now);
    (result, answer)
}

/// First messages that nobody can be held to, and what an endpoint makes of each.
fn forged() -> Vec<(Vec<u8>, Rejected)> {
    let gate = GateKeys::of(&service().public());
    let other = GateKeys::of(&SecretKey::from_bytes([2; 32]).public());
    let index = SessionIndex::new(7);
    let payload = HelloPayload { timestamp_ms: 1, boot: 1, version_min: 1, version_max: 1 };
    let device = SecretKey::from_bytes([3; 32]);
    let mut rng = Rng::from_seed([3; 32]);
    let genuine = Initiator::new(&device, &service().public(), &payload, &mut rng).unwrap();
    let noise = *genuine.hello();
    let secret = SymmetricKey::from_bytes([5; 32]);
    let resume = |ticket| {
        let body = ResumeBody { boot: 1, timestamp_ms: 1 };
        Resume::new(index, [6; 16], ticket, &secret, &body).encode()
    };
    let epoch = u32::try_from((UNIX_MS / 1_000 + START.as_micros() / 1_000_000) / 3_600).unwrap();
    let junk = [&epoch.to_be_bytes()[..], &[9; 108]].concat();
    vec![
        (Hello::new(index, noise, [0; 16], &gate).encode(), Rejected::NeedsCookie),
        (Hello::new(index, rng.bytes(), [0; 16], &gate).encode(), Rejected::NeedsCookie),
        (Hello::new(index, noise, rng.bytes(), &gate).encode(), Rejected::NeedsCookie),
        (Hello::new(index, noise, [0; 16], &other).encode(), Rejected::WrongMac),
        (resume(Ticket::from_bytes(junk.try_into().unwrap())), Rejected::Unauthenticated),
        (resume(Ticket::from_bytes([0; 112])), Rejected::Expired),
        (resume(foreign_ticket(epoch, &secret)), Rejected::Unauthenticated),
    ]
}

/// A ticket as another fleet would seal it.
fn foreign_ticket(epoch: u32, secret: &SymmetricKey) -> Ticket {
    let identity = SecretKey::from_bytes([3; 32]).public();
    let body = TicketBody { identity, secret: secret.clone(), epoch: 0, expires_s: u64::MAX };
    let key = SymmetricKey::from_bytes(keyed_hash(&[7; 32], &[b"another fleet"]));
    TicketKey::new(epoch, &key).seal(&body, [8; 12])
}

fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        identity: service(),
        fleet: FleetKey::from_bytes([8; 32]),
        seed: [1; 32],
        wall: WallClock { at: Instant::ZERO, unix_ms: UNIX_MS },
        checkpoint: Some(CheckpointConfig::default()),
        handshake: true,
        relay: Some(RelayConfig::per_pair(1_000_000, 100_000)),
    };
    Endpoint::new(config, START)
}

const UNIX_MS: u64 = 1_700_000_000_000;

fn service() -> SecretKey {
    SecretKey::from_bytes([1; 32])
}

/// An address for each number.
fn source(number: u32) -> SocketAddr {
    let port = 1_024 + u16::try_from(number % 60_000).unwrap();
    (Ipv4Addr::from(0x0B00_0000 + number / 7), port).into()
}
