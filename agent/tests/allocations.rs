//! Packets pass through the data plane without an allocation on the threads that move them.
//!
//! An allocator that counts, and two data planes in this process: a socket pair stands for each TUN, and the
//! network is the loopback interface. Only the shards are watched; the keeper and the engine may allocate, and so
//! may a shard until a tunnel stands and its buffers have grown.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test, of which clippy knows the test functions only and not their helpers"
)]
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use lanyard_agent::dataplane::{DataPlane, Waiting};
use lanyard_agent::sockets::{Inbound, Sockets};
use lanyard_agent::tun::{Offload, TunQueue};
use lanyard_proto::overlay::table::{ForwardingTable, OverlayAddress, Path, PeerEntry};
use lanyard_proto::transmit::SocketId;
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::SecretKey;
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;

/// Packets each way that are counted.
const PACKETS: u16 = 2_000;
/// Packets that are on their way together.
const BURST: u16 = 20;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
/// The threads that are watched, by the kernel's number.
static WATCHED: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];
static COUNT: AtomicU64 = AtomicU64::new(0);
static IS_TOLD: AtomicBool = AtomicBool::new(false);
/// Where the first one was.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static OWN: Cell<i32> = const { Cell::new(0) };
}

/// The system's allocator, and a look at who asks.
struct Counting;

// SAFETY: the system's allocator does it all, and is given what was asked for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

fn note() {
    let _ = OWN.try_with(|own| {
        if own.get() == 0 {
            // SAFETY: it takes nothing and cannot fail.
            own.set(unsafe { libc::gettid() });
        }
        if WATCHED.iter().any(|watched| watched.load(Ordering::Relaxed) == own.get()) {
            COUNT.fetch_add(1, Ordering::Relaxed);
            if !IS_TOLD.swap(true, Ordering::Relaxed) {
                // What this allocates itself is not to be counted.
                let number = own.replace(i32::MIN);
                *FIRST.lock() = Some(Backtrace::force_capture().to_string());
                own.set(number);
            }
        }
    });
}

#[test]
fn packets_pass_in_steady_state_without_an_allocation_on_the_shards() {
    let (a, b) = (Device::start(1), Device::start(2));
    a.knows(&b);
    b.knows(&a);
    let exchange = |packets: u16| {
        for burst in 0..packets / BURST {
            for (from, to) in [(&a, &b), (&b, &a)] {
                for number in 0..BURST {
                    from.send(to, burst * BURST + number);
                }
                for _ in 0..BURST {
                    to.receive();
                }
            }
            // As the engine does after traffic, and for people who look.
            for device in [&a, &b] {
                device.plane.observe();
                assert_eq!(device.plane.peer_counters().len(), 1);
            }
        }
    };
    a.send(&b, 0);
    b.receive();
    exchange(PACKETS / 4);

    let shards = shards();
    assert_eq!(shards.len(), WATCHED.len(), "the shards' threads");
    for (watched, number) in WATCHED.iter().zip(shards) {
        watched.store(number, Ordering::Relaxed);
    }
    exchange(PACKETS);
    for watched in &WATCHED {
        watched.store(-1, Ordering::Relaxed);
    }
    let count = COUNT.load(Ordering::Relaxed);
    println!("{count} allocations for {PACKETS} packets each way");
    assert_eq!(count, 0, "the first of them: {}", FIRST.lock().take().unwrap_or_default());
    let counted = a.plane.peer_counters()[0].total();
    let all = u64::from(PACKETS + PACKETS / 4);
    assert!(counted.tx_packets > all && counted.rx_packets > all, "{counted:?}");
}

/// The numbers of the threads that are shards.
fn shards() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap());
    let shards = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim() == "lanyard-shard-0"
    });
    shards.map(|task| task.file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// A data plane with the far end of its TUN.
struct Device {
    number: u8,
    plane: DataPlane,
    sockets: Sockets,
    tun: Socket,
    _up: (mpsc::Receiver<Inbound>, mpsc::Receiver<Waiting>),
}

impl Device {
    fn start(number: u8) -> Self {
        let (tun, queue) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        queue.set_nonblocking(true).unwrap();
        tun.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let queue = TunQueue::from_fd(OwnedFd::from(queue), Offload::None);
        let sockets = Sockets::bind(0, 1).unwrap();
        let (sender, control) = mpsc::channel(64);
        let (waiting, waits) = mpsc::channel(64);
        let plane = DataPlane::start(vec![queue], sockets.clone(), &secret(number), sender, waiting).unwrap();
        Self { number, plane, sockets, tun, _up: (control, waits) }
    }

    fn knows(&self, peer: &Self) {
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, peer.sockets.port()));
        let own = OverlayAddress {
            network: NetworkId::from_bytes([1; 16]),
            name: "home".parse().unwrap(),
            ip4: Some((ip(self.number), 24)),
            ip6: ("fd00::1".parse().unwrap(), 64),
        };
        let entry = PeerEntry {
            device: DeviceId::from_bytes([peer.number; 16]),
            name: "peer".parse().unwrap(),
            wireguard: secret(peer.number).public(),
            addresses: vec![ip(peer.number).into()],
            path: Path::Direct { local: SocketId::MAIN, remote },
            mtu: 1_280,
            repeats: 0,
        };
        self.plane.set_table(&Arc::new(ForwardingTable::new(1, vec![own], vec![entry], &[])));
    }

    fn send(&self, to: &Self, number: u16) {
        let mut packet = [7; 1_000];
        packet[..12].copy_from_slice(&[0x45, 0, 0x03, 0xE8, 0, 0, 0, 0, 64, 253, 0, 0]);
        packet[12..16].copy_from_slice(&ip(self.number).octets());
        packet[16..20].copy_from_slice(&ip(to.number).octets());
        packet[20..22].copy_from_slice(&number.to_be_bytes());
        (&self.tun).write_all(&packet).unwrap();
    }

    fn receive(&self) {
        let mut packet = [0; 2_000];
        assert_eq!((&self.tun).read(&mut packet).unwrap(), 1_000, "{:?}", self.plane.counters());
    }
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

fn ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}
