//! The data plane against WireGuard as others have it: `wireguard-go`, at the other end of a cable.
//!
//! A start is fresh when both ends are: a new process there, a new data plane here, and a new key there. Every
//! packet has a second to arrive, where WireGuard itself repeats a lost handshake after five. Needs root;
//! skipped with a printed line otherwise. With `LANYARD_REKEY_SECONDS=130` steady traffic goes through a pair of
//! tunnels for as long, past the 120 seconds after which WireGuard makes new keys.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, of which clippy knows the test functions only and not their helpers"
)]

mod cable;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use lanyard_wire::keys::SecretKey;
use parking_lot::Mutex;

use self::cable::{Cable, Namespace, Site, direct, entry, ip4, secret};

/// Fresh starts of each kind.
const STARTS: u32 = 20;
/// For a packet from one program to the other, the handshake included.
const PROMPT: Duration = Duration::from_secs(1);
/// For a process to be there.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two packets of steady traffic.
const STEP: Duration = Duration::from_millis(20);
const OURS: u8 = 1;
const THEIRS: u8 = 2;
/// One test at a time. A process being started has copies of all that is open here until it is the other program:
/// to another test, an interface or a port that it has closed would still be taken.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_start_that_wireguard_begins_passes_packets_both_ways() {
    starts("theirs", STARTS, None, |here, there| there.reaches(here).max(here.reaches(there)));
}

#[test]
fn a_start_that_we_begin_passes_packets_both_ways() {
    starts("ours", STARTS, None, |here, there| here.reaches(there).max(there.reaches(here)));
}

#[test]
fn a_start_that_both_begin_passes_packets_both_ways_whoever_is_answered_first() {
    for first in [First::TheirAnswer, First::OurAnswer] {
        starts(&format!("both-{first:?}"), STARTS / 2, Some(first), reach_each_other);
    }
}

/// With `LANYARD_CROSSING_STARTS` for how many. wireguard-go handles handshakes side by side, and once in thousands
/// of such starts it makes of two one that nobody has.
#[test]
fn a_start_that_both_begin_passes_packets_both_ways_with_the_answers_side_by_side() {
    match number("LANYARD_CROSSING_STARTS") {
        Some(count) => starts("both", count, Some(First::Neither), reach_each_other),
        None => println!("skipped: it takes LANYARD_CROSSING_STARTS=1000 to see what it is about"),
    }
}

#[test]
fn a_tunnel_comes_back_after_either_end_lost_its_keys() {
    let _turn = TURN.lock();
    let Some(cable) = Cable::lay("wg-back") else { return };
    let (here, there) = pair(&cable);
    let (our_end, their_end) = (Program::at(&cable.a, OURS), Program::at(&cable.b, THEIRS));
    // We begin: of two initiations of theirs in 17 ms the second counts as a replay, so coarse is the time they name.
    our_end.reaches(&their_end);
    their_end.reaches(&our_end);

    // Theirs forgets the session, and asks for a new one while ours is in use.
    there.forgets_and_knows(here.outer());
    their_end.reaches(&our_end);
    our_end.reaches(&their_end);

    // A process of theirs that never had it: the same key, and the port as before.
    let key = there.key.clone();
    drop((there, their_end));
    let there = WireGuard::start(&cable.b, key);
    there.knows(here.outer());
    let their_end = Program::at(&cable.b, THEIRS);
    their_end.reaches(&our_end);
    our_end.reaches(&their_end);

    // Ours is new, and theirs goes on with keys that we do not have: what they say makes us ask.
    let port = here.outer().port();
    drop((here, our_end));
    let here = Site::open_at(&cable, OURS, port);
    let our_end = Program::at(&cable.a, OURS);
    here.set(vec![entry(THEIRS, there.key.public(), direct(there.outer()))]);
    let begun = Instant::now();
    while !their_end.tries(&our_end, STEP) {
        assert!(begun.elapsed() < PROMPT, "nothing passes after a restart here: {:?}", here.plane.counters());
    }
    println!("after a restart of ours: {:?}", begun.elapsed());
    our_end.reaches(&their_end);
}

#[test]
fn new_keys_are_agreed_on_while_packets_pass() {
    let Some(seconds) = number("LANYARD_REKEY_SECONDS") else {
        println!("skipped: LANYARD_REKEY_SECONDS=130 is how long this takes");
        return;
    };
    let _turn = TURN.lock();
    thread::scope(|scope| {
        for (name, ours_first) in [("ours", true), ("theirs", false)] {
            scope.spawn(move || steady(name, ours_first, Duration::from_secs(seconds.into())));
        }
    });
}

/// A number in the environment.
fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

/// Sends both ways without a break, in a tunnel that one end began, and says what the longest break was.
fn steady(name: &str, ours_first: bool, time: Duration) {
    let Some(cable) = Cable::lay(&format!("wg-re-{name}")) else { return };
    let (here, there) = pair(&cable);
    let (our_end, their_end) = (Program::at(&cable.a, OURS), Program::at(&cable.b, THEIRS));
    let (first, second) = if ours_first { (&our_end, &their_end) } else { (&their_end, &our_end) };
    first.reaches(second);
    second.reaches(first);
    let handshake = there.last_handshake();
    let begun = Instant::now();
    thread::scope(|scope| {
        for (from, to) in [(first, second), (second, first)] {
            scope.spawn(move || {
                let (mut last, mut longest, mut sent, mut lost) = (Instant::now(), Duration::ZERO, 0, 0);
                while begun.elapsed() < time {
                    sent += 1;
                    if from.tries(to, STEP * 2) {
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    } else {
                        lost += 1;
                    }
                    assert!(last.elapsed() < PROMPT, "nothing passes {:?} after the start", begun.elapsed());
                    thread::sleep(STEP);
                }
                println!(
                    "{name} first, to {}: {sent} sent, {lost} late, longest break {longest:?}",
                    to.number
                );
            });
        }
    });
    assert!(here.plane.is_running());
    if time > Duration::from_secs(125) {
        assert!(there.last_handshake() > handshake, "the keys are as old as the tunnel");
        let age = here.plane.peer_counters().first().and_then(|peer| peer.session_age).unwrap();
        assert!(age < Duration::from_secs(30), "our keys are {age:?} old");
    }
}

/// Starts both ends many times, and says how long the slowest packet took.
fn starts(by: &str, count: u32, crossing: Option<First>, exchange: impl Fn(&Program, &Program) -> Duration) {
    let _turn = TURN.lock();
    let Some(cable) = Cable::lay(&format!("wg-{by}")) else { return };
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        let (here, there) = pair(&cable);
        let _junction = crossing.map(|first| Junction::between(&cable.b, &here, &there, first));
        let (our_end, their_end) = (Program::at(&cable.a, OURS), Program::at(&cable.b, THEIRS));
        slowest = slowest.max(exchange(&our_end, &their_end));
    }
    println!("{count} starts begun by {by}: the slowest packet took {slowest:?}");
}

/// Both send at the same moment, and then each once more.
fn reach_each_other(here: &Program, there: &Program) -> Duration {
    let gate = Barrier::new(2);
    let took = thread::scope(|scope| {
        let ends = [(here, there), (there, here)].map(|(from, to)| {
            let gate = &gate;
            scope.spawn(move || {
                gate.wait();
                from.reaches(to)
            })
        });
        let [one, two] = ends.map(|end| end.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        one.max(two)
    });
    took.max(here.reaches(there)).max(there.reaches(here))
}

/// Both ends, fresh, and known to each other.
fn pair(cable: &Cable) -> (Site, WireGuard) {
    let here = Site::open(cable, OURS);
    let mut key = [0; 32];
    getrandom::fill(&mut key).unwrap();
    let there = WireGuard::start(&cable.b, SecretKey::from_bytes(key));
    here.set(vec![entry(THEIRS, there.key.public(), direct(there.outer()))]);
    there.knows(here.outer());
    (here, there)
}

/// Whose answer arrives first where two initiations cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// Theirs, to our initiation; ours comes too late.
    TheirAnswer,
    /// Ours, to their initiation; our initiation comes when its session is in use.
    OurAnswer,
    /// Everything goes on at once.
    Neither,
}

/// What the datagrams of two ends pass through, where an initiation waits for the other end's: each has sent its own
/// before it gets another.
struct Junction {
    socket: UdpSocket,
    stop: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

impl Junction {
    fn between(namespace: &Namespace, here: &Site, there: &WireGuard, first: First) -> Self {
        let bind = || namespace.inside(|| UdpSocket::bind((there.outer().ip(), 0)).unwrap());
        let (socket, stop) = (bind(), bind());
        let at = socket.local_addr().unwrap();
        here.set(vec![entry(THEIRS, there.key.public(), direct(at))]);
        there.knows(at);
        let (ours, theirs, end) = (here.outer(), there.outer(), stop.local_addr().unwrap());
        let inner = socket.try_clone().unwrap();
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            let mut held: Vec<(bool, Vec<u8>)> = Vec::new();
            let mut datagram = [0; 2_048];
            while let Ok((length, from)) = inner.recv_from(&mut datagram) {
                if from == end {
                    return;
                }
                held.push((from == ours, datagram[..length].to_vec()));
                seen.note(from == ours, datagram[0]);
                held.retain(|(is_ours, datagram)| {
                    let goes = seen.lets(first, *is_ours, datagram[0]);
                    if goes {
                        inner.send_to(datagram, if *is_ours { theirs } else { ours }).unwrap();
                    }
                    !goes
                });
            }
        });
        Self { socket, stop, thread: Some(thread) }
    }
}

/// Messages that came to a junction, by their type.
#[derive(Default)]
struct Seen {
    ours: [bool; 5],
    theirs: [bool; 5],
}

impl Seen {
    fn note(&mut self, is_ours: bool, kind: u8) {
        let end = if is_ours { &mut self.ours } else { &mut self.theirs };
        end[usize::from(kind)] = true;
    }

    fn lets(&self, first: First, is_ours: bool, kind: u8) -> bool {
        match (is_ours, kind) {
            (false, 1) => self.ours[1],
            (true, 1) => self.theirs[if first == First::OurAnswer { 4 } else { 1 }],
            (true, 2) => first != First::TheirAnswer || self.theirs[2],
            _ => true,
        }
    }
}

impl Drop for Junction {
    fn drop(&mut self) {
        let _ = self.stop.send_to(b"stop", self.socket.local_addr().unwrap());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A process of `wireguard-go` with its interface. Ends when dropped.
struct WireGuard {
    process: Child,
    socket: PathBuf,
    key: SecretKey,
}

impl WireGuard {
    const PORT: u16 = 51_820;

    fn start(namespace: &Namespace, key: SecretKey) -> Self {
        // The sockets by which they are told things are in one directory, whatever the namespace.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("wg{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let process = Command::new("ip")
            .args(["netns", "exec", namespace.name(), "wireguard-go", "-f", &name])
            .env("LOG_LEVEL", "error")
            // It warns that the kernel can do the same.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let socket = PathBuf::from(format!("/run/wireguard/{name}.sock"));
        let this = Self { process, socket, key };
        let private = HEXLOWER.encode(&*this.key.to_bytes());
        this.tell(&format!("set=1\nprivate_key={private}\nlisten_port={}\n\n", Self::PORT));
        let address = format!("{}/24", ip4(THEIRS));
        namespace.run("ip", &["addr", "add", &address, "dev", &name]);
        namespace.run("ip", &["link", "set", &name, "up"]);
        this
    }

    fn knows(&self, endpoint: SocketAddr) {
        let key = HEXLOWER.encode(secret(OURS).public().as_bytes());
        self.tell(&format!("set=1\npublic_key={key}\nendpoint={endpoint}\nallowed_ip={}/32\n\n", ip4(OURS)));
    }

    fn forgets_and_knows(&self, endpoint: SocketAddr) {
        let key = HEXLOWER.encode(secret(OURS).public().as_bytes());
        self.tell(&format!("set=1\npublic_key={key}\nremove=true\n\n"));
        self.knows(endpoint);
    }

    /// When it last agreed on keys, in seconds of the epoch.
    fn last_handshake(&self) -> u64 {
        let said = self.tell("get=1\n\n");
        let value = said.lines().find_map(|line| line.strip_prefix("last_handshake_time_sec="));
        value.unwrap().parse().unwrap()
    }

    fn outer(&self) -> SocketAddr {
        (Ipv4Addr::new(10, 88, 0, THEIRS), Self::PORT).into()
    }

    /// Says something by the cross-platform userspace protocol of WireGuard, and gives back the answer.
    fn tell(&self, what: &str) -> String {
        let begun = Instant::now();
        let mut stream = loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(begun.elapsed() < DEADLINE, "wireguard-go is not there: {error}"),
            }
            thread::sleep(Duration::from_millis(1));
        };
        stream.write_all(what.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("errno=0"), "{what}: {answer}");
        answer
    }
}

impl Drop for WireGuard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A program that uses the tunnel at one of its ends.
struct Program {
    number: u8,
    socket: UdpSocket,
}

impl Program {
    const PORT: u16 = 7_000;

    fn at(namespace: &Namespace, number: u8) -> Self {
        let socket = namespace.inside(|| UdpSocket::bind((ip4(number), Self::PORT)).unwrap());
        Self { number, socket }
    }

    /// Sends a packet, which arrives soon, and says how long it took.
    fn reaches(&self, to: &Self) -> Duration {
        let sent = self.send(to);
        let took = to.receive().saturating_duration_since(sent);
        assert!(took < PROMPT, "from {} to {} it took {took:?}", self.number, to.number);
        took
    }

    fn send(&self, to: &Self) -> Instant {
        let now = Instant::now();
        self.socket.send_to(&[self.number; 100], (ip4(to.number), Self::PORT)).unwrap();
        now
    }

    fn receive(&self) -> Instant {
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut packet = [0; 200];
        match self.socket.recv(&mut packet) {
            Ok(length) => assert_eq!(length, 100),
            Err(error) => panic!("no packet in {DEADLINE:?} at {}: {error}", self.number),
        }
        Instant::now()
    }

    /// Sends a packet; whether any arrives in this time.
    fn tries(&self, to: &Self, patience: Duration) -> bool {
        self.send(to);
        to.socket.set_read_timeout(Some(patience)).unwrap();
        match to.socket.recv(&mut [0; 200]) {
            Ok(_) => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(error) => panic!("{error}"),
        }
    }
}
