//! The data plane: packets between the TUN and the network, through WireGuard.
//!
//! It obeys: the machine's [`ForwardingTable`] says who the peers are and by which path each is reached, and
//! the data plane tells back, coalesced, what it saw ([`Observation`]). It decides nothing about paths. Its
//! threads are plain ones: a shard per queue (`shard`), which moves packets both ways (`outbound`, `inbound`),
//! and one keeper, which has the handshakes and timers. No packet is allocated, queued or handed to another
//! thread on its way; what cannot go at once is dropped and counted, except the newest few packets per peer
//! that wait for a path or a session.

mod activity;
mod buffer;
mod checksum;
mod coalesce;
mod counters;
mod early;
mod fragment;
mod inbound;
mod keeper;
mod living;
mod outbound;
mod peers;
pub mod pieces;
mod shard;
mod sources;
mod split;
mod traffic;
mod transit;
mod tunnel;
mod unreachable;
mod virtio;
mod wait;

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use lanyard_proto::overlay::packet;
use lanyard_proto::overlay::table::{ForwardingTable, Observation};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::SecretKey;
use tokio::sync::{Notify, mpsc};
use tracing::{error, info};

use self::activity::Activity;
use self::counters::Counts;
use self::keeper::{Keeper, Work};
use self::living::Living;
use self::peers::{Peer, Peers};
use self::shard::Shard;
use self::tunnel::WireGuard;
use self::virtio::VirtioHeader;
use self::wait::Waker;
use crate::clock::Clock;
use crate::sockets::{Inbound, Sockets};
use crate::tun::TunQueue;

pub use self::counters::{Counters, Dropped};
pub use self::early::Waiting;
pub use self::traffic::{Class, Lead, Medium, PATHS_MAX, PathCounters, PeerCounters, Totals};

/// Handshakes and requests that wait for the keeper; what comes on top is dropped and counted.
///
/// At a quarter of a millisecond each that is a tenth of a second: a burst of peers after a restart fits, a
/// flood does not build up.
const WORK_MAX: usize = 512;
/// Most shards until more of them have been measured: on the 2 cores there were, one per core had the lowest
/// latency under load, and no arrangement was faster. Other systems have one queue, and do not spread a port over sockets.
const SHARDS_MAX: usize = if cfg!(target_os = "linux") { 2 } else { 1 };

/// Whether data packets are encrypted: always, but in the program that the bench makes to see how much that costs.
pub const IS_ENCRYPTED: bool = cfg!(not(lanyard_plain));

/// How many shards this computer gets: one per core, two at most, and one but on Linux.
#[must_use]
pub fn shard_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX)
}

/// What all threads of the data plane share.
pub(crate) struct Shared {
    peers: ArcSwap<Peers>,
    sockets: Sockets,
    own: WireGuard,
    counts: Counts,
    activity: Activity,
    living: Living,
    control: mpsc::Sender<Inbound>,
    waits: mpsc::Sender<Waiting>,
    work: SyncSender<Work>,
    stop: AtomicBool,
    clock: Clock,
}

impl Shared {
    /// Counts packets of a peer that go no further, with all others and with the peer's.
    fn drop_of(&self, peer: &Peer, why: Dropped, count: u64) {
        peer.traffic.dropped().add(why, count);
        self.counts.drop_many(why, count);
    }
}

/// The running data plane. Ends when dropped.
pub struct DataPlane {
    shared: Arc<Shared>,
    /// The first shard's, for packets that come from the machine.
    queue: Option<Arc<TunQueue>>,
    wakers: Vec<Arc<Waker>>,
    threads: Vec<JoinHandle<()>>,
}

impl DataPlane {
    /// Starts the threads: a shard for each queue, as far as there are sockets for it, and the keeper.
    ///
    /// Datagrams for the machine (lanyard's own and STUN) go to `control`; while that is full the newest are
    /// dropped and counted. Packets that wait for a session go to `waits` as well. There are no peers until the first
    /// [`DataPlane::set_table`].
    ///
    /// # Errors
    ///
    /// When the system gives no threads.
    pub fn start(
        queues: Vec<TunQueue>,
        sockets: Sockets,
        wireguard: &SecretKey,
        control: mpsc::Sender<Inbound>,
        waits: mpsc::Sender<Waiting>,
    ) -> io::Result<Self> {
        let (work, to_do) = sync_channel(WORK_MAX);
        let shared = Arc::new(Shared {
            peers: ArcSwap::default(),
            own: WireGuard::new(wireguard),
            counts: Counts::new(),
            activity: Activity::default(),
            living: Living::default(),
            control,
            waits,
            work,
            stop: AtomicBool::new(false),
            clock: Clock,
            sockets,
        });
        // From here on an error drops `plane`, which ends the threads already started.
        let mut plane =
            Self { shared: Arc::clone(&shared), queue: None, wakers: Vec::new(), threads: Vec::new() };
        let keeper = Keeper::new(Arc::clone(&shared));
        plane.spawn("keeper", move || keeper.run(&to_do))?;
        let shards = queues.len().min(shared.sockets.shards());
        for (number, queue) in queues.into_iter().enumerate().take(shards) {
            let (waker, sleeper) = Waker::new()?;
            let (waker, queue) = (Arc::new(waker), Arc::new(queue));
            if number == 0 {
                plane.queue = Some(Arc::clone(&queue));
                let waker = Arc::clone(&waker);
                shared.sockets.doors().on_arrival(move || waker.wake());
            }
            plane.wakers.push(waker);
            let shard = Shard::new(number, &shared, queue, sleeper);
            plane.spawn(&format!("shard-{number}"), move || shard.run())?;
        }
        info!(shards, port = shared.sockets.port(), "data plane started");
        Ok(plane)
    }

    /// Makes a new table valid for every packet from now on. Peers that are not in it any more lose their
    /// tunnels before this returns.
    pub fn set_table(&self, table: &Arc<ForwardingTable>) {
        let prefixes = table.addresses.iter().flat_map(|own| {
            let ip4 = own.ip4.map(|(ip, length)| (IpAddr::V4(ip), length));
            ip4.into_iter().chain([(IpAddr::V6(own.ip6.0), own.ip6.1)])
        });
        self.shared.sockets.set_overlay(prefixes.collect());
        let (next, gone) = self.shared.peers.load().next(table, &self.shared.sockets);
        self.shared.peers.store(Arc::new(next));
        for peer in gone {
            peer.retire();
        }
        // Full: the keeper finds out within a quarter of a second.
        let _ = self.shared.work.try_send(Work::Table);
    }

    /// What was seen since the last call, one entry for each peer of which there is something to say.
    pub fn observe(&self) -> Vec<Observation> {
        let mut seen = Vec::new();
        self.shared.activity.take(|peer| {
            let peers = self.shared.peers.load();
            let found = peers.of(&peer.device).filter(|found| Arc::ptr_eq(found.peer, &peer));
            seen.extend(found.and_then(|found| peer.observe(found.path)));
        });
        seen
    }

    /// Hands a packet to this computer that a peer sent before there was a session. It is looked at like one out of a tunnel.
    pub fn deliver_early(&self, device: &DeviceId, packet: &[u8]) {
        let peers = self.shared.peers.load();
        let (Some(found), Some(queue)) = (peers.of(device), &self.queue) else { return };
        let verdict = match packet::parse(packet) {
            Ok(header) => peers.judge(found.entry, &header, packet.len()),
            Err(_) => Err(Dropped::Malformed),
        };
        if let Err(why) = verdict {
            return self.shared.drop_of(found.peer, why, 1);
        }
        {
            // Before it is written: what comes by the session is looked up on other threads, and so is the way of the answer.
            let mut state = found.peer.lock();
            state.came_early.keep(packet.to_vec(), self.shared.clock.now());
            if let Some(tunnel) = &mut state.tunnel {
                tunnel.doubt();
            }
        }
        if inbound::write(queue, VirtioHeader::PLAIN, &[IoSlice::new(packet)]).is_err() {
            self.shared.drop_of(found.peer, Dropped::TunRefused, 1);
        }
    }

    /// Notified when there is something to observe again after [`DataPlane::observe`]: traffic, packets that
    /// wait for a path, a peer heard on a new one. Waiting 200 ms between two calls keeps it cheap.
    #[must_use]
    pub fn activity(&self) -> &Notify {
        self.shared.activity.notify()
    }

    /// What has been dropped, by reason.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counts.read()
    }

    /// Traffic with each peer of the newest table, path by path. Reading stops no packet: it takes no lock.
    #[must_use]
    pub fn peer_counters(&self) -> Vec<PeerCounters> {
        self.shared.peers.load().iter().map(|found| found.peer.counters()).collect()
    }

    /// Whether all threads are at work. They end only with the interface, or by a fault of ours;
    /// [`DataPlane::activity`] is notified then.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Ends the threads and waits for them; the interface goes with its queues.
    pub fn stop(self) {
        drop(self);
    }

    fn spawn<F>(&mut self, name: &str, work: F) -> io::Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        self.threads.push(thread::Builder::new().name(format!("lanyard-{name}")).spawn(work)?);
        Ok(())
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // A full queue is worked off and then found empty, so this waits for a moment at most.
        let _ = self.shared.work.send(Work::Stop);
        for waker in &self.wakers {
            waker.wake();
        }
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().map(str::to_owned);
            if thread.join().is_err() {
                error!(thread = name, "a thread of the data plane failed; please report what it said");
            }
        }
    }
}

#[cfg(test)]
mod tests;
