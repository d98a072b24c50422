//! The peers of the newest forwarding table, with what the data plane keeps for each.
//!
//! [`Peers`] is a snapshot like the table it is made from: a shard takes it once per turn and never waits for
//! a new one. A [`Peer`] lives through many snapshots, for as long as device and key stay; its state has one
//! lock, taken once per batch, never across a system call.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use lanyard_proto::overlay::packet::Header;
use lanyard_proto::overlay::table::{ForwardingTable, Observation, Path, PeerEntry};
use lanyard_proto::time::Instant;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::PublicKey;
use parking_lot::{Mutex, MutexGuard};
use tracing::{debug, warn};

use super::counters::Dropped;
use super::early::CameEarly;
use super::living::Living;
use super::split::PACKET_MAX;
use super::traffic::{Book, PeerCounters, Traffic};
use super::transit::Meters;
use super::tunnel::{OVERHEAD, Session, Tunnel};
use crate::sockets::Sockets;

/// Packets that wait for a path or a session, per peer; the oldest goes when another comes.
const WAITING_MAX: usize = 8;
/// Nobody waits longer for an answer than this; it is also what WireGuard gives a handshake
/// (REKEY_ATTEMPT_TIME).
const WAITING_TIME: Duration = Duration::from_secs(90);
/// Paths by which one peer was heard between two observations. It has one, or two while it moves.
const HEARD_MAX: usize = 8;

/// A forwarding table made ready for packets.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pub(super) table: Arc<ForwardingTable>,
    /// In the order of the table's peers.
    all: Vec<Arc<Peer>>,
    paths: Vec<Path>,
    by_index: HashMap<u32, usize>,
    by_key: HashMap<PublicKey, usize>,
    by_remote: HashMap<SocketAddr, usize>,
    pub(super) meters: Meters,
}

/// A peer as one snapshot has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) entry: &'a PeerEntry,
    pub(super) peer: &'a Arc<Peer>,
    pub(super) path: Path,
}

impl Peers {
    /// The snapshot after this one, and the peers that are gone with it.
    pub(super) fn next(&self, table: &Arc<ForwardingTable>, sockets: &Sockets) -> (Self, Vec<Arc<Peer>>) {
        let mut known: HashMap<(DeviceId, PublicKey), &Arc<Peer>> =
            self.all.iter().map(|peer| ((peer.device, peer.wireguard), peer)).collect();
        let meters = self.meters.next(table);
        let mut next = Self { table: Arc::clone(table), meters, ..Self::default() };
        for (position, entry) in table.peers.iter().enumerate() {
            let peer = known
                .remove(&(entry.device, entry.wireguard))
                .map_or_else(|| Arc::new(Peer::new(entry, self.free_index(&next.by_index))), Arc::clone);
            let path = usable(entry, sockets);
            next.by_index.insert(peer.index, position);
            next.by_key.insert(peer.wireguard, position);
            if let Path::Direct { remote, .. } = path {
                next.by_remote.insert(remote, position);
            }
            next.paths.push(path);
            next.all.push(peer);
        }
        let gone = known.into_values().map(Arc::clone).collect();
        (next, gone)
    }

    /// The peer that owns an overlay address.
    pub(super) fn route(&self, destination: IpAddr) -> Option<Found<'_>> {
        self.at(self.table.route_to(destination)?)
    }

    /// The peer whose messages carry this index.
    pub(super) fn by_index(&self, index: u32) -> Option<Found<'_>> {
        self.at(*self.by_index.get(&index)?)
    }

    /// The peer with this WireGuard key.
    pub(super) fn by_key(&self, key: &PublicKey) -> Option<Found<'_>> {
        self.at(*self.by_key.get(key)?)
    }

    /// Whether anyone may be heard by this path: anywhere directly, but only on channels of ours by relay.
    pub(super) fn is_known(&self, path: Path) -> bool {
        match path {
            Path::Direct { .. } => true,
            Path::Relayed { relay, channel } => self.table.by_channel(relay, channel).is_some(),
            Path::None => false,
        }
    }

    /// Whether this peer may be heard by this path: a channel belongs to one pair.
    pub(super) fn may_use(&self, path: Path, entry: &PeerEntry) -> bool {
        match path {
            Path::Direct { .. } => true,
            Path::Relayed { relay, channel } => {
                self.table.by_channel(relay, channel).is_some_and(|owner| owner.device == entry.device)
            }
            Path::None => false,
        }
    }

    /// Whether a packet of this peer may go to this computer: it is from one of the peer's addresses, and to one of ours.
    pub(super) fn judge(&self, entry: &PeerEntry, header: &Header, length: usize) -> Result<(), Dropped> {
        if !entry.addresses.contains(&header.source) {
            debug!(peer = %entry.name, source = %header.source, "packet with a foreign source");
            Err(Dropped::ForeignSource)
        } else if !self.table.is_local(header.destination) || length > PACKET_MAX {
            Err(Dropped::ForeignDestination)
        } else {
            Ok(())
        }
    }

    /// The peer this path leads to.
    pub(super) fn on_path(&self, path: Path) -> Option<Found<'_>> {
        match path {
            Path::Direct { remote, .. } => self.at(*self.by_remote.get(&remote)?),
            Path::Relayed { relay, channel } => self.of(&self.table.by_channel(relay, channel)?.device),
            Path::None => None,
        }
    }

    /// The peer with this device.
    pub(super) fn of(&self, device: &DeviceId) -> Option<Found<'_>> {
        self.at(self.table.peers.binary_search_by_key(device, |peer| peer.device).ok()?)
    }

    /// All peers.
    pub(super) fn iter(&self) -> impl Iterator<Item = Found<'_>> {
        (0..self.all.len()).filter_map(|position| self.at(position))
    }

    fn at(&self, position: usize) -> Option<Found<'_>> {
        Some(Found {
            entry: self.table.peers.get(position)?,
            peer: self.all.get(position)?,
            path: *self.paths.get(position)?,
        })
    }

    /// A number for a new peer's sessions that none has. Random, because it is all that a stranger would
    /// have to guess to make us try a decryption; 24 bits are what boringtun leaves to us.
    fn free_index(&self, taken: &HashMap<u32, usize>) -> u32 {
        loop {
            let index = getrandom::u32().unwrap_or_default() >> 8;
            if !taken.contains_key(&index) && !self.by_index.contains_key(&index) {
                return index;
            }
        }
    }
}

/// The path of an entry, unless it leads through the tunnel itself.
fn usable(entry: &PeerEntry, sockets: &Sockets) -> Path {
    let outer = match entry.path {
        Path::Direct { remote, .. } => Some(remote),
        Path::Relayed { relay, .. } => Some(relay),
        Path::None => None,
    };
    match outer {
        Some(outer) if sockets.is_overlay(outer.ip()) => {
            warn!(peer = %entry.name, "its path leads through the virtual LAN itself and is not used");
            Path::None
        }
        _ => entry.path,
    }
}

/// What is kept for one peer.
pub(super) struct Peer {
    pub(super) device: DeviceId,
    pub(super) wireguard: PublicKey,
    pub(super) index: u32,
    /// Has a tunnel, or wants one: its timers are to be driven, and it stands in [`Living`].
    pub(super) alive: AtomicBool,
    marked: AtomicBool,
    /// Looks at its timers that are left out.
    rests: AtomicU8,
    repeats: AtomicU32,
    pub(super) traffic: Arc<Traffic>,
    state: Mutex<PeerState>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("device", &self.device)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Peer {
    fn new(entry: &PeerEntry, index: u32) -> Self {
        let state = PeerState::default();
        Self {
            device: entry.device,
            wireguard: entry.wireguard,
            index,
            alive: AtomicBool::new(false),
            marked: AtomicBool::new(false),
            rests: AtomicU8::new(0),
            repeats: AtomicU32::new(entry.repeats),
            traffic: Arc::clone(state.book.traffic()),
            state: Mutex::new(state),
        }
    }

    /// The state; to be held for a batch and never across a system call.
    pub(super) fn lock(&self) -> MutexGuard<'_, PeerState> {
        self.state.lock()
    }

    /// Has its timers driven from now on.
    pub(super) fn revive(self: &Arc<Self>, living: &Living) {
        if !self.alive.load(Ordering::Acquire) && !self.alive.swap(true, Ordering::AcqRel) {
            living.add(Arc::clone(self));
        }
    }

    /// Whether the table asks for the last datagram again; says so once.
    pub(super) fn is_to_repeat(&self, entry: &PeerEntry) -> bool {
        self.repeats.swap(entry.repeats, Ordering::AcqRel) != entry.repeats
    }

    /// Notes that something is to be observed; whether it was not so already.
    pub(super) fn set_mark(&self) -> bool {
        !self.marked.load(Ordering::Acquire) && !self.marked.swap(true, Ordering::AcqRel)
    }

    /// Whether the keeper leaves its timers alone this time; for its thread only.
    pub(super) fn is_resting(&self) -> bool {
        let left = self.rests.load(Ordering::Relaxed);
        self.rests.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    /// Leaves its timers alone the next times.
    pub(super) fn rest(&self, times: u8) {
        self.rests.store(times, Ordering::Relaxed);
    }

    /// Takes the peer out of the data plane: whoever still holds an older snapshot finds nothing to use.
    pub(super) fn retire(&self) {
        let mut state = self.lock();
        state.retired = true;
        state.tunnel = None;
        state.last = Vec::new();
        state.waiting.clear();
    }

    /// What happened since the last call, if anything.
    pub(super) fn observe(&self, path: Path) -> Option<Observation> {
        if !self.marked.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut state = self.lock();
        let recent = &mut state.recent;
        Some(Observation {
            peer: self.device,
            tx_packets: std::mem::take(&mut recent.tx_packets),
            tx_bytes: std::mem::take(&mut recent.tx_bytes),
            // Copied, so that the shard has room for the next ones.
            rx: recent.rx.drain(..).collect(),
            heard_at: recent.heard_at,
            unanswered_since: recent.unanswered_since,
            waiting: path == Path::None && !state.waiting.is_empty(),
        })
    }

    /// What was counted; takes no lock.
    pub(super) fn counters(&self) -> PeerCounters {
        self.traffic.read(self.device)
    }
}

/// What is kept for one peer under its lock.
#[derive(Default)]
pub(super) struct PeerState {
    /// Made at the first need, dropped when its keys are gone.
    pub(super) tunnel: Option<Tunnel>,
    /// The newest packets that could not go, oldest first.
    waiting: VecDeque<Vec<u8>>,
    /// When the newest of them came.
    waiting_since: Instant,
    /// The datagram sent last, as it was encrypted.
    last: Vec<u8>,
    pub(super) initiations: Initiations,
    pub(super) came_early: CameEarly,
    retired: bool,
    /// Since the keeper last looked.
    used: bool,
    recent: Recent,
    book: Book,
}

#[derive(Debug, Default)]
struct Recent {
    tx_packets: u32,
    tx_bytes: u64,
    rx: Vec<(Path, u32, u64)>,
    /// These two outlast the reports.
    heard_at: Option<Instant>,
    unanswered_since: Option<Instant>,
}

impl PeerState {
    /// What packets are sealed with, if they can go through the tunnel now.
    pub(super) fn session(&mut self) -> Option<Session<'_>> {
        self.tunnel.as_mut()?.session()
    }

    /// Whether the peer is gone from the newest table.
    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Keeps a packet until it can go; gives back whether an older one had to go for it.
    pub(super) fn wait(&mut self, packet: &[u8], now: Instant) -> bool {
        if self.retired {
            return true;
        }
        let pushed_out = if self.waiting.len() >= WAITING_MAX { self.waiting.pop_front() } else { None };
        self.waiting.push_back(packet.to_vec());
        self.waiting_since = now;
        pushed_out.is_some()
    }

    /// Whether packets wait. Those that waited too long are forgotten here.
    pub(super) fn is_waiting(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.waiting_since) > WAITING_TIME {
            self.waiting.clear();
        }
        !self.waiting.is_empty()
    }

    /// Whether packets wait, old or not.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The packet that has waited longest.
    pub(super) fn next_waiting(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }

    /// Notes datagrams sent; the clock is asked for the first ones after something was heard.
    pub(super) fn sent(&mut self, path: Path, packets: u32, bytes: u64, now: impl FnOnce() -> Instant) {
        self.book.sent(path, packets, bytes);
        self.used = true;
        self.recent.unanswered_since.get_or_insert_with(now);
        self.recent.tx_packets = self.recent.tx_packets.saturating_add(packets);
        self.recent.tx_bytes += bytes;
    }

    /// Counts a datagram that is no traffic: nobody wants anything of the peer, or expects an answer.
    pub(super) fn repeated(&mut self, path: Path, bytes: u64) {
        self.book.sent(path, 1, bytes);
    }

    /// Whether anything was sent or heard since the last call.
    pub(super) fn take_used(&mut self) -> bool {
        std::mem::take(&mut self.used)
    }

    /// Lets those who read know how old the session is.
    pub(super) fn tell_session(&self, now: Instant) {
        let age = self.tunnel.as_ref().and_then(Tunnel::session_age);
        self.book.traffic().set_session(age, now);
    }

    /// Keeps the datagram that was sent last, in case its path is dead. Allocates for the first of a tunnel alone.
    pub(super) fn keep(&mut self, datagram: &[u8]) {
        self.last.clear();
        self.last.reserve_exact(PACKET_MAX + OVERHEAD);
        self.last.extend_from_slice(datagram);
    }

    /// The datagram that was sent last; empty if there was none.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// The tunnel's keys are gone, and its memory with them; says whether there was one.
    pub(super) fn expire(&mut self) -> bool {
        self.last = Vec::new();
        self.tunnel.take().is_some()
    }

    /// Notes an authentic datagram and the path it came by.
    pub(super) fn heard(&mut self, path: Path, bytes: u64, now: Instant) {
        self.book.heard(path, bytes);
        self.used = true;
        self.recent.heard_at = Some(now);
        self.recent.unanswered_since = None;
        if let Some((_, packets, total)) = self.recent.rx.iter_mut().find(|(seen, ..)| *seen == path) {
            *packets = packets.saturating_add(1);
            *total += bytes;
        } else if self.recent.rx.len() < HEARD_MAX {
            self.recent.rx.push((path, 1, bytes));
        }
    }
}

/// When to ask again for a session that packets wait for.
///
/// boringtun repeats an initiation after 5 s, which is long for a first one lost while the relay was
/// still binding the channel; so ours come sooner at first, and without end as long as packets wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Initiations {
    tries: u32,
    next: Option<Instant>,
    path: Path,
}

impl Initiations {
    /// Between the first and the second initiation; doubles from there.
    const FIRST: Duration = Duration::from_millis(250);
    /// WireGuard's own REKEY_TIMEOUT.
    const LAST: Duration = Duration::from_secs(5);

    /// Whether one may be sent by this path now. Another path than last time starts over.
    pub(super) fn is_due(&self, path: Path, now: Instant) -> bool {
        path != Path::None && (path != self.path || self.next.is_none_or(|next| now >= next))
    }

    /// One was sent.
    pub(super) fn sent(&mut self, path: Path, now: Instant) {
        if path != self.path {
            *self = Self { path, ..Self::default() };
        }
        let wait = Self::FIRST.saturating_mul(1 << self.tries.min(8)).min(Self::LAST);
        self.tries += 1;
        self.next = Some(now + wait);
    }

    /// There is a session.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
