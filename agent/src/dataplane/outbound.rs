//! An IP packet leaves: from the TUN to the network.
//!
//! 1. [`Outbound::turn`] reads up to a few super-packets from the shard's queue.
//! 2. `overlay::packet` reads the header; what is odd is dropped and counted.
//! 3. The table says whose the destination is. Nobody's: an answer "unreachable" to the TUN, not too often.
//! 4. No path, or no session: the newest packets wait with the peer, the keeper is told, and the machine, which may send them
//!    early.
//! 5. [`Split`] cuts the super-packet into pieces that the path carries; under one lock of the peer each is encrypted to its final
//!    place. What must not be cut so becomes [`Fragments`], or is answered "too big".
//! 6. Relayed: the relay header goes into the room left in front, nothing moves.
//! 7. The buffer is sent when the next piece does not fit its train, and at the end of the turn.
//! 8. What was sent is noted with the peer; the machine hears of it with the next observation.

use std::io::{self, IoSlice};
use std::sync::Arc;

use lanyard_proto::overlay::packet::{self, Header};
use lanyard_proto::overlay::table::Path;
use lanyard_proto::transmit::Way;
use lanyard_wire::ids::Channel;
use lanyard_wire::limits::{EARLY_PACKET_MAX, RELAY_HEADER};
use tracing::error;

use super::Shared;
use super::buffer::{GsoBuffer, set_relay_header};
use super::counters::Dropped;
use super::early::Waiting;
use super::fragment::{self, Fragments};
use super::inbound::write;
use super::keeper::Work;
use super::peers::{Found, Peers};
use super::split::{PACKET_MAX, Split};
use super::tunnel::OVERHEAD;
use super::unreachable::{self, Unreachable, Why};
use super::virtio::{HEADER_LEN, VirtioHeader};
use crate::sockets::{ShardSockets, Udp};
use crate::tun::{Offload, TunQueue};

/// Reads of one turn, so that the other direction gets its turn too: as many small packets as a train takes.
const READS_MAX: usize = 64;
/// Bytes of one turn, for the same reason.
const TURN_MAX: usize = 32 << 10;

/// One shard's way out.
pub(super) struct Outbound {
    shared: Arc<Shared>,
    read: Box<[u8]>,
    piece: Box<[u8; PACKET_MAX]>,
    buffer: GsoBuffer,
    unreachable: Unreachable,
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There was something to do, and may be more.
    Busy,
    /// There was nothing.
    Idle,
    /// There will never be anything again.
    Ended,
}

impl Outbound {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            read: vec![0; HEADER_LEN + 65_536].into_boxed_slice(),
            piece: Box::new([0; PACKET_MAX]),
            buffer: GsoBuffer::new(),
            unreachable: Unreachable::default(),
        }
    }

    /// Steps 1 to 8 for what the queue has, up to a bound.
    pub(super) fn turn(&mut self, queue: &TunQueue, sockets: &ShardSockets, peers: &Peers) -> Turn {
        let mut outcome = Turn::Idle;
        let mut bytes = 0;
        // Taken out for the turn, so that reading from it and working on the rest do not exclude each other.
        let mut read = std::mem::take(&mut self.read);
        for _ in 0..READS_MAX {
            match queue.read(&mut read) {
                Ok(0) => {
                    outcome = Turn::Ended;
                    break;
                }
                Ok(length) => {
                    outcome = Turn::Busy;
                    bytes += length;
                    let whole = read.get(..length).unwrap_or_default();
                    if self.forward(queue, sockets, peers, whole).is_none() {
                        self.shared.counts.drop_one(Dropped::OddPacket);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    error!(%error, "the interface is gone");
                    outcome = Turn::Ended;
                    break;
                }
            }
            if bytes >= TURN_MAX {
                break;
            }
        }
        self.read = read;
        self.buffer.flush(sockets, &self.shared.counts);
        outcome
    }

    /// Steps 2 to 4 for one read; `None` if it is odd.
    fn forward(
        &mut self,
        queue: &TunQueue,
        sockets: &ShardSockets,
        peers: &Peers,
        whole: &[u8],
    ) -> Option<()> {
        let (virtio, packet) = match queue.offload() {
            Offload::None => (VirtioHeader::PLAIN, whole),
            Offload::Tcp | Offload::TcpAndUdp => {
                let (virtio, packet) = whole.split_first_chunk::<HEADER_LEN>()?;
                (VirtioHeader::decode(virtio)?, packet)
            }
        };
        let header = packet::parse(packet).ok()?;
        let mut split = Split::new(virtio, packet)?;
        match peers.route(header.destination) {
            Some(found) if split.fit(found.entry.mtu.into()) => self.dispatch(sockets, found, &mut split),
            Some(found) if fragment::is_allowed(packet) => self.cut(sockets, found, &mut split),
            Some(found) => {
                self.shared.counts.drop_one(Dropped::TooBig);
                self.answer(queue, packet, &header, Why::TooBig(found.entry.mtu));
            }
            None => self.refuse(queue, packet, &header),
        }
        Some(())
    }

    /// Step 5 for what is longer than the path carries and may be cut.
    fn cut(&mut self, sockets: &ShardSockets, found: Found<'_>, split: &mut Split<'_>) {
        let (mut whole, mut room) = ([0; PACKET_MAX], [0; PACKET_MAX]);
        while let Some(packet) = split.next(&mut whole) {
            let Some(mut fragments) = Fragments::new(packet, found.entry.mtu.into()) else { return };
            while let Some(fragment) = fragments.next(&mut room) {
                if let Some(mut split) = Split::new(VirtioHeader::PLAIN, fragment) {
                    self.dispatch(sockets, found, &mut split);
                }
            }
        }
    }

    /// Step 3 for a destination that nobody has.
    fn refuse(&mut self, queue: &TunQueue, packet: &[u8], header: &Header) {
        if header.destination.is_multicast() || !self.shared.sockets.is_overlay(header.destination) {
            self.shared.counts.drop_one(Dropped::NotRouted);
            return;
        }
        self.shared.counts.drop_one(Dropped::NoPeer);
        self.answer(queue, packet, header, Why::NoPeer);
    }

    /// Tells the sender why its packet went no further.
    fn answer(&mut self, queue: &TunQueue, packet: &[u8], header: &Header, why: Why) {
        let mut room = unreachable::room();
        let now = self.shared.clock.now();
        if let Some(answer) = self.unreachable.answer(packet, header, why, &mut room, now) {
            // The TUN may refuse it; then the program waits, as it would without us.
            let _ = write(queue, VirtioHeader::PLAIN, &[IoSlice::new(answer)]);
        }
    }

    /// Step 4: to the network if there is a way, else to those that wait.
    fn dispatch(&mut self, sockets: &ShardSockets, found: Found<'_>, split: &mut Split<'_>) {
        let went = match found.path {
            Path::Direct { local, remote } => self.send(sockets, found, Way { local, remote }, None, split),
            Path::Relayed { relay, channel } => {
                self.send(sockets, found, Way::main(relay), Some(channel), split)
            }
            Path::None => false,
        };
        if !went {
            self.keep_waiting(found, split);
        }
        self.shared.activity.mark(found.peer);
    }

    /// Steps 5 to 8. False, with pieces left, if there is no session.
    fn send(
        &mut self,
        sockets: &ShardSockets,
        found: Found<'_>,
        way: Way,
        channel: Option<Channel>,
        split: &mut Split<'_>,
    ) -> bool {
        let head = if channel.is_some() { RELAY_HEADER } else { 0 };
        let segments_max = sockets.with(way, Udp::segments_max).unwrap_or(1);
        while !split.is_empty() {
            {
                let mut state = found.peer.lock();
                let (mut count, mut bytes, mut last) = (0, 0, 0);
                let Some(mut session) = state.session() else { return false };
                while !split.is_empty() {
                    let length = head + split.next_len() + OVERHEAD;
                    let Some(room) = self.buffer.room(way, length, segments_max) else { break };
                    let Some(piece) = split.next(&mut self.piece) else { break };
                    let Some(place) = room.get_mut(head..) else { break };
                    let Some(sealed) = session.seal(piece, place) else { break };
                    if let Some(channel) = channel {
                        set_relay_header(room, channel, sealed);
                    }
                    self.buffer.commit(way, head + sealed);
                    count += 1;
                    bytes += sealed as u64;
                    last = sealed;
                }
                state.sent(found.path, count, bytes, || self.shared.clock.now());
                if last > 0 {
                    state.keep(self.buffer.last(last));
                }
            }
            // Without the lock: a peer's other shard need not wait for our system call.
            if !split.is_empty() {
                self.buffer.flush(sockets, &self.shared.counts);
            }
        }
        true
    }

    fn keep_waiting(&mut self, found: Found<'_>, split: &mut Split<'_>) {
        let now = self.shared.clock.now();
        let mut pushed_out = 0;
        {
            let mut state = found.peer.lock();
            let is_cold = state.session().is_none();
            while let Some(piece) = split.next(&mut self.piece) {
                pushed_out += u64::from(state.wait(piece, now));
                if is_cold && piece.len() <= EARLY_PACKET_MAX {
                    let waiting = Waiting { peer: found.peer.device, packet: piece.to_vec() };
                    // Full: it waits for the session alone.
                    let _ = self.shared.waits.try_send(waiting);
                }
            }
        }
        if pushed_out > 0 {
            self.shared.drop_of(found.peer, Dropped::WaitedTooLong, pushed_out);
        }
        found.peer.revive(&self.shared.living);
        // Full: the keeper comes by within a quarter of a second anyway.
        let _ = self.shared.work.try_send(Work::Waiting(Arc::clone(found.peer)));
    }
}
