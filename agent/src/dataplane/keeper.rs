//! The thread that keeps sessions: handshakes, timers, and packets that waited.
//!
//! Shards never do a key exchange; they hand over what asks for one. A handshake message goes through these
//! gates, cheapest first: its source's share, the keyed hash over our public key (and a cookie under load),
//! and only then the scalar multiplication that tells who sent it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use lanyard_proto::overlay::table::Path;
use lanyard_proto::time::Instant;
use lanyard_wire::door::is_door;
use lanyard_wire::limits::RELAY_HEADER;
use tracing::{debug, trace};

use super::Shared;
use super::buffer::{DATAGRAM_MAX, frame};
use super::counters::Dropped;
use super::peers::{Found, Peer, PeerState};
use super::sources::Sources;
use super::tunnel::{self, HANDSHAKE_MAX, Message, Opened, Tick, Tunnel};

/// Between two looks at all timers: four times a second, see [`Tunnel::tick`].
const TICK: Duration = Duration::from_millis(250);
/// Looks left out at a peer with a session that was not used since the last one. Its timers are of ten seconds and more, and
/// its keep-alive, wanted ten seconds after data, has five to spare until the other end begins a new handshake.
const REST: u8 = 7;
/// Between two tries to use segmentation offload again.
const RENEW: Duration = Duration::from_secs(60);

/// What the shards and the engine hand over.
#[derive(Debug)]
pub(super) enum Work {
    /// A handshake message that came by this path.
    Handshake { from: Path, bytes: Vec<u8> },
    /// Packets of this peer wait, for a session or for being sent now that there is one.
    Waiting(Arc<Peer>),
    /// A peer sends data by this path for a session we do not have: one of us was restarted.
    Lost(Arc<Peer>, Path),
    /// There is a new forwarding table.
    Table,
    /// The data plane ends.
    Stop,
}

/// The keeper's own things.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    sources: Sources,
    /// One datagram under construction, with head-room for a relay header.
    letter: Box<[u8; DATAGRAM_MAX]>,
    next_second: Instant,
    next_renewal: Instant,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            sources: Sources::default(),
            letter: Box::new([0; DATAGRAM_MAX]),
            next_second: Instant::ZERO,
            next_renewal: Instant::ZERO,
        }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, work: &Receiver<Work>) {
        let mut next_tick = self.now() + TICK;
        loop {
            match work.recv_timeout(next_tick.saturating_since(self.now())) {
                Ok(Work::Handshake { from, bytes }) => self.handshake(from, &bytes),
                Ok(Work::Waiting(peer)) => self.serve(&peer, Reason::Packets, Path::None),
                Ok(Work::Lost(peer, from)) => self.serve(&peer, Reason::Lost, from),
                Ok(Work::Table) => self.obey(),
                Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.now() >= next_tick {
                self.tick();
                next_tick = self.now() + TICK;
            }
        }
    }

    fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// A message of a handshake: from the gates to the tunnel, and its answer back where it came from.
    fn handshake(&mut self, from: Path, bytes: &[u8]) {
        let shared = Arc::clone(&self.shared);
        let Some(source) = source_of(from) else { return };
        if !self.sources.allow(from, self.now()) {
            shared.counts.drop_one(Dropped::HandshakeLimit);
            return;
        }
        let peers = shared.peers.load();
        let found = match tunnel::parse(bytes) {
            Ok(Message::Initiation) => {
                let mut cookie = [0; HANDSHAKE_MAX];
                if let Err((why, reply)) = shared.own.admit(source, bytes, &mut cookie) {
                    shared.counts.drop_one(why.into());
                    self.reply(from, reply);
                    return;
                }
                shared.own.initiator(bytes).and_then(|key| peers.by_key(&key))
            }
            Ok(Message::Answer { index }) => peers.by_index(index),
            Ok(Message::Data { .. }) => None,
            Err(why) => return shared.counts.drop_one(why.into()),
        };
        let Some(found) = found else {
            return shared.counts.drop_one(Dropped::UnknownPeer);
        };
        if !peers.may_use(from, found.entry) {
            return shared.drop_of(found.peer, Dropped::UnknownChannel, 1);
        }
        let mut state = found.peer.lock();
        if state.is_retired() {
            return;
        }
        let Some(room) = self.letter.get_mut(RELAY_HEADER..) else { return };
        let tunnel = tunnel_of(&shared, &mut state, found);
        match tunnel.open(source, bytes, room) {
            Ok(Opened::Reply(length)) => {
                let has_session = tunnel.has_session();
                if bytes.first() == Some(&2) {
                    // A response is fresh, which an initiation need not be: it answers a number just drawn.
                    state.heard(from, bytes.len() as u64, self.now());
                    state.initiations.succeeded();
                    debug!(peer = %found.entry.name, "session established");
                }
                if bytes.first() == Some(&1) {
                    // The peer's handshake is as good as ours: ours begins only if nothing comes of that one.
                    state.initiations.sent(from, self.shared.clock.now());
                }
                state.sent(from, 1, length as u64, || self.now());
                drop(state);
                shared.activity.mark(found.peer);
                self.send(from, length);
                if has_session {
                    self.serve(found.peer, Reason::Packets, Path::None);
                }
            }
            // A cookie came: the next initiation carries its proof, and may go at once.
            Ok(Opened::Cookie) => {
                drop(state);
                self.serve(found.peer, Reason::Cookie, from);
            }
            Ok(Opened::Packet(_) | Opened::KeepAlive) => {}
            Err(why) => shared.drop_of(found.peer, why.into(), 1),
        }
    }

    /// Does for a peer what can be done now: send what waited, or ask for a session; by `from` if the table has no path.
    fn serve(&mut self, peer: &Arc<Peer>, reason: Reason, from: Path) {
        let shared = Arc::clone(&self.shared);
        let peers = shared.peers.load();
        let Some(found) = peers.of(&peer.device).filter(|found| Arc::ptr_eq(found.peer, peer)) else {
            return;
        };
        peer.rest(0);
        let path = if found.path == Path::None { from } else { found.path };
        if path == Path::None {
            // The observation says that packets wait; the machine looks for a path.
            return;
        }
        let now = self.now();
        loop {
            let mut state = peer.lock();
            let Some(room) = self.letter.get_mut(RELAY_HEADER..) else { return };
            if state.session().is_some() {
                // Also when the peer began it: the next time we ask is a first time again.
                state.initiations.succeeded();
                let Some(packet) = state.next_waiting() else { return };
                let sealed = state.session().and_then(|mut session| session.seal(&packet, room));
                let Some(length) = sealed else { return };
                state.sent(path, 1, length as u64, || now);
                drop(state);
                self.send(path, length);
                continue;
            }
            let wanted = reason != Reason::Packets || state.is_waiting(now);
            let due = reason == Reason::Cookie || state.initiations.is_due(path, now);
            if !wanted || !due || state.is_retired() {
                return;
            }
            let Some(length) = tunnel_of(&shared, &mut state, found).initiate(room) else { return };
            state.initiations.sent(path, now);
            state.sent(path, 1, length as u64, || now);
            drop(state);
            peer.revive(&shared.living);
            trace!(peer = %found.entry.name, ?reason, "handshake initiation");
            self.send(path, length);
            return;
        }
    }

    /// After a new table: whoever waited may have a path now, and what was lost on an old one goes again.
    fn obey(&mut self) {
        let shared = Arc::clone(&self.shared);
        let peers = shared.peers.load();
        for found in peers.iter() {
            if found.peer.is_to_repeat(found.entry) {
                self.repeat(found);
            }
            if found.peer.alive.load(Ordering::Acquire) && found.peer.lock().has_waiting() {
                self.serve(found.peer, Reason::Packets, Path::None);
            }
        }
    }

    /// Sends a peer's last datagram once more, and a keep-alive behind it.
    fn repeat(&mut self, found: Found<'_>) {
        if found.path == Path::None {
            return;
        }
        for is_keep_alive in [false, true] {
            let mut state = found.peer.lock();
            let Some(room) = self.letter.get_mut(RELAY_HEADER..) else { return };
            let length = if is_keep_alive {
                state.session().and_then(|mut session| session.seal(&[], room)).unwrap_or_default()
            } else {
                let last = state.last();
                let Some(place) = room.get_mut(..last.len()) else { return };
                place.copy_from_slice(last);
                last.len()
            };
            if length > 0 {
                state.repeated(found.path, length as u64);
                drop(state);
                self.send(found.path, length);
            }
        }
    }

    /// Lets time pass for every tunnel, and asks again for sessions that packets wait for.
    fn tick(&mut self) {
        let shared = Arc::clone(&self.shared);
        let now = self.now();
        if now >= self.next_second {
            shared.own.tick();
            self.next_second = now + Duration::from_secs(1);
        }
        if now >= self.next_renewal {
            shared.sockets.renew_offload();
            self.next_renewal = now + RENEW;
        }
        let mut living = shared.living.take();
        let peers = shared.peers.load();
        living.retain(|peer| {
            // First: to find a peer among thousands costs more than its timers.
            if peer.is_resting() {
                return true;
            }
            let Some(found) = peers.of(&peer.device).filter(|found| Arc::ptr_eq(found.peer, peer)) else {
                return false;
            };
            // The word of a new table may not have found room.
            if found.peer.is_to_repeat(found.entry) {
                self.repeat(found);
            }
            self.tick_peer(found, now)
        });
        shared.living.give_back(living);
    }

    /// Lets time pass for one peer; whether its timers are to be driven further.
    fn tick_peer(&mut self, found: Found<'_>, now: Instant) -> bool {
        let mut state = found.peer.lock();
        let is_waiting = state.is_waiting(now);
        if !state.take_used() && !is_waiting && state.session().is_some() {
            found.peer.rest(REST);
        }
        let Some(room) = self.letter.get_mut(RELAY_HEADER..) else { return true };
        let mut is_alive = true;
        let tick = state.tunnel.as_mut().map_or(Tick::Expired, |tunnel| tunnel.tick(room));
        state.tell_session(now);
        match tick {
            Tick::Send(length) if found.path != Path::None => {
                if room.first() == Some(&1) {
                    // WireGuard's own initiation: ours need not follow at once.
                    state.initiations.sent(found.path, now);
                }
                state.sent(found.path, 1, length as u64, || now);
                drop(state);
                self.shared.activity.mark(found.peer);
                self.send(found.path, length);
            }
            Tick::Send(_) | Tick::Quiet => drop(state),
            Tick::Expired => {
                // 11 KB per tunnel are given back; the next packet makes a new one.
                if state.expire() {
                    state.tell_session(now);
                    debug!(peer = %found.entry.name, "session expired");
                }
                if !is_waiting {
                    is_alive = false;
                    // Before the lock is given back: a packet that waits from then on revives it.
                    found.peer.alive.store(false, Ordering::Release);
                }
                drop(state);
            }
        }
        if is_waiting {
            self.serve(found.peer, Reason::Packets, Path::None);
        }
        is_alive
    }

    /// Sends bytes that are not in the letter yet.
    fn reply(&mut self, to: Path, bytes: &[u8]) {
        let place = self.letter.get_mut(RELAY_HEADER..RELAY_HEADER + bytes.len());
        if let Some(place) = place.filter(|place| !place.is_empty()) {
            place.copy_from_slice(bytes);
            self.send(to, bytes.len());
        }
    }

    /// Sends the letter, `length` bytes behind the head-room.
    fn send(&mut self, to: Path, length: usize) {
        let Some((way, bytes)) = frame(to, self.letter.as_mut_slice(), length) else { return };
        if is_door(way.remote) {
            let lost = self.shared.sockets.doors().send(way.remote, bytes, bytes.len());
            self.shared.counts.drop_many(Dropped::SendBufferFull, lost);
            return;
        }
        let shard = self.shared.sockets.shard(0);
        let sent = shard.and_then(|shard| shard.with(way, |udp| udp.send(way.remote, bytes, None)));
        if !matches!(sent, Some(Ok(()))) {
            debug!(remote = %way.remote, ?sent, "handshake message not sent");
            self.shared.counts.drop_one(Dropped::SendFailed);
        }
    }
}

/// Why a session is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Packets wait.
    Packets,
    /// The peer uses one that we do not have. Anyone can forge that, so the back-off holds for it as well:
    /// at most one initiation in five seconds, to where the table says.
    Lost,
    /// The peer asked for a proof of our address, which we have now.
    Cookie,
}

fn tunnel_of<'s>(shared: &Shared, state: &'s mut PeerState, found: Found<'_>) -> &'s mut Tunnel {
    found.peer.revive(&shared.living);
    state.tunnel.get_or_insert_with(|| Tunnel::new(&shared.own, &found.entry.wireguard, found.peer.index))
}

fn source_of(path: Path) -> Option<IpAddr> {
    match path {
        Path::Direct { remote, .. } => Some(remote.ip()),
        Path::Relayed { relay, .. } => Some(relay.ip()),
        Path::None => None,
    }
}
