//! A datagram arrives: from the network to the TUN.
//!
//! 1. [`Inbound::turn`] receives a batch; a message of it may be a train of datagrams from one sender. What doors
//!    brought comes in by [`Inbound::turn_doors`] and takes the same steps.
//! 2. `wire::classify`: STUN and lanyard's own go to the engine; what is nothing of ours is counted and never
//!    answered.
//! 3. A relay frame must be of a channel we know; it is stripped, and the path is (relay, channel). Frames of a pair for which
//!    we are a peer relay leave as they came ([`super::transit`]).
//! 4. WireGuard: handshakes go to the keeper. Data finds its peer by the index in it, and is decrypted under
//!    one lock per peer and train. Only then is the path noted: **a path moves on authentic bytes only.**
//! 5. The inner source must be the peer's, the inner destination ours.
//! 6. [`Coalescer`] joins the packets of the whole batch, and they are written to the TUN.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;

use lanyard_proto::overlay::packet;
use lanyard_proto::overlay::table::Path;
use lanyard_proto::time::Instant;
use lanyard_proto::transmit::{SocketId, Way};
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::door::is_door;
use lanyard_wire::envelope::RelayHeader;
use parking_lot::MutexGuard;
use quinn_udp::RecvMeta;
use tokio::sync::mpsc::error::TrySendError;
use tracing::debug;

use super::Shared;
use super::coalesce::{Coalescer, Joins, Refused};
use super::counters::Dropped;
use super::keeper::Work;
use super::peers::{Found, Peer, PeerState, Peers};
use super::transit::{self, Fate};
use super::tunnel::{self, HANDSHAKE_MAX, Message, Opened, Refusal};
use super::virtio::VirtioHeader;
use crate::sockets::{self, ShardSockets, Udp};
use crate::tun::{Offload, TunQueue};

/// Messages of one batch at most.
const BATCH: usize = 32;
/// Bytes of one batch, if its messages are as long as those before.
///
/// What a shard opens in less than a millisecond: for so long waits what is behind it in the socket, and what answers it by the
/// TUN, which the kernel gives to the shard that wrote what is answered.
const BATCH_BYTES: usize = 256 << 10;
/// Datagrams out of doors in one turn.
const DOORS_BATCH: usize = 64;
/// A train is at most as long as an IP packet; a shorter buffer would cut it off silently. Longer by one datagram of full
/// size, so that the beginnings of all buffers do not compete for the same lines of the cache.
const MESSAGE_MAX: usize = 65_536 + 1_472;
/// Decrypted bytes after which the TUN is written to before the batch ends, so that they are still in the
/// cache.
const PLAIN_FLUSH: usize = 48 << 10;
/// Parts of one write to the TUN: a header, changed packet headers, and 64 payloads.
const PARTS_MAX: usize = 66;

/// One shard's way in.
pub(super) struct Inbound {
    messages: Box<[u8]>,
    /// Messages of the next batch.
    take: usize,
    plain: Plain,
}

/// What was decrypted, and how it is to be written.
struct Plain {
    shared: Arc<Shared>,
    bytes: Box<[u8]>,
    used: usize,
    coalescer: Coalescer,
    /// When the batch was received.
    now: Instant,
}

/// The peer whose train is being decrypted, locked.
struct Held<'p> {
    index: u32,
    found: Found<'p>,
    state: MutexGuard<'p, PeerState>,
}

impl Inbound {
    pub(super) fn new(shared: Arc<Shared>, offload: Offload) -> Self {
        let joins = match offload {
            Offload::None => Joins::Nothing,
            Offload::Tcp => Joins::Tcp,
            Offload::TcpAndUdp => Joins::TcpAndUdp,
        };
        let plain = Plain {
            shared,
            bytes: vec![0; PLAIN_FLUSH + MESSAGE_MAX + HANDSHAKE_MAX].into_boxed_slice(),
            used: 0,
            coalescer: Coalescer::new(joins),
            now: Instant::ZERO,
        };
        Self { messages: vec![0; BATCH * MESSAGE_MAX].into_boxed_slice(), take: BATCH, plain }
    }

    /// Steps 1 to 6 for one batch of a socket; whether there was one.
    pub(super) fn turn(
        &mut self,
        queue: &TunQueue,
        sockets: &ShardSockets,
        (local, udp): (SocketId, &Udp),
        peers: &Peers,
    ) -> bool {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut places = self.messages.chunks_exact_mut(MESSAGE_MAX);
        let mut buffers: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
        let buffers = buffers.get_mut(..self.take).unwrap_or_default();
        let count = match udp.receive(buffers, &mut meta) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // ICMP errors of earlier sends and the like: the next receive tells more.
            Err(error) => {
                debug!(%error, "nothing received");
                return false;
            }
        };
        self.plain.now = self.plain.shared.clock.now();
        let bytes: usize = meta.iter().take(count).map(|meta| meta.len).sum();
        self.take = batch_after(count, bytes);
        for (meta, message) in meta.iter().zip(self.messages.chunks_exact(MESSAGE_MAX)).take(count) {
            let message = message.get(..meta.len).unwrap_or_default();
            if is_door(meta.addr) {
                // Forged: a door is no place that UDP comes from.
                self.plain.drop_one(Dropped::Noise);
                continue;
            }
            self.plain.take_in(sockets, Way { local, remote: meta.addr }, message, meta.stride, peers);
            if self.plain.used >= PLAIN_FLUSH {
                self.plain.flush(queue);
            }
        }
        self.plain.flush(queue);
        true
    }

    /// Steps 2 to 6 for what doors brought; whether there was anything.
    pub(super) fn turn_doors(&mut self, queue: &TunQueue, sockets: &ShardSockets, peers: &Peers) -> bool {
        let arrived = sockets.doors.take(DOORS_BATCH);
        if !arrived.is_empty() {
            self.plain.now = self.plain.shared.clock.now();
        }
        for (remote, datagram) in &arrived {
            self.plain.take_in(sockets, Way::main(*remote), datagram, datagram.len(), peers);
            if self.plain.used >= PLAIN_FLUSH {
                self.plain.flush(queue);
            }
        }
        if !arrived.is_empty() {
            self.plain.flush(queue);
        }
        !arrived.is_empty()
    }
}

/// How many messages to take after a batch of so many, with so many bytes.
fn batch_after(count: usize, bytes: usize) -> usize {
    let mean = bytes.checked_div(count).unwrap_or_default().max(1);
    (BATCH_BYTES / mean).clamp(BATCH_BYTES / MESSAGE_MAX, BATCH)
}

impl Plain {
    /// Steps 2 and 3 for every datagram of a message.
    fn take_in(&mut self, sockets: &ShardSockets, way: Way, message: &[u8], stride: usize, peers: &Peers) {
        let Way { local, remote } = way;
        match peers.meters.judge(&peers.table, remote, message, stride, || self.now) {
            Fate::Own => {}
            Fate::Pass(to) => return transit::pass(sockets, to, message, stride, &self.shared.counts),
            Fate::Drop(why) => {
                return self.shared.counts.drop_many(why, message.len().div_ceil(stride.max(1)) as u64);
            }
        }
        let mut held = None;
        for datagram in message.chunks(stride.max(1)) {
            match classify(datagram) {
                Class::WireGuard => {
                    let path = Path::Direct { local, remote };
                    self.take_wireguard(path, datagram, peers, &mut held);
                }
                Class::Relay => match RelayHeader::parse(datagram) {
                    Ok((header, inner)) => {
                        let path = Path::Relayed { relay: remote, channel: header.channel };
                        if classify(inner) == Class::Lanyard && peers.is_known(path) {
                            self.hand_over(way, datagram);
                        } else {
                            self.take_wireguard(path, inner, peers, &mut held);
                        }
                    }
                    Err(_) => self.drop_one(Dropped::Malformed),
                },
                Class::Stun | Class::Lanyard => self.hand_over(way, datagram),
                Class::Noise => self.drop_one(Dropped::Noise),
            }
        }
        self.release(held);
    }

    /// Step 2 for the engine's datagrams.
    fn hand_over(&self, Way { local, remote }: Way, datagram: &[u8]) {
        let inbound = sockets::Inbound { local, remote, bytes: datagram.to_vec() };
        match self.shared.control.try_send(inbound) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => self.drop_one(Dropped::ControlFull),
        }
    }

    /// Step 4: a handshake message to the keeper, data to its peer's tunnel.
    fn take_wireguard<'p>(
        &mut self,
        path: Path,
        datagram: &[u8],
        peers: &'p Peers,
        held: &mut Option<Held<'p>>,
    ) {
        if !peers.is_known(path) {
            return self.drop_one(Dropped::UnknownChannel);
        }
        let index = match tunnel::parse(datagram) {
            Ok(Message::Data { index }) => index,
            Ok(Message::Initiation | Message::Answer { .. }) => {
                let work = Work::Handshake { from: path, bytes: datagram.to_vec() };
                if self.shared.work.try_send(work).is_err() {
                    self.drop_one(Dropped::HandshakeLimit);
                }
                return;
            }
            Err(why) => return self.drop_one(why.into()),
        };
        if held.as_ref().is_none_or(|held| held.index != index) {
            self.release(held.take());
            *held = peers.by_index(index).map(|found| Held { index, found, state: found.peer.lock() });
        }
        let Some(held) = held else {
            return self.lose(path, peers);
        };
        let peer = held.found.peer;
        if !peers.may_use(path, held.found.entry) {
            return self.drop_of(peer, Dropped::UnknownChannel);
        }
        let Some(room) = self.bytes.get_mut(self.used..) else { return };
        let source = match path {
            Path::Direct { remote, .. } => remote.ip(),
            Path::Relayed { relay, .. } => relay.ip(),
            Path::None => return,
        };
        let opened = match held.state.tunnel.as_mut() {
            Some(tunnel) => tunnel.open(source, datagram, room),
            None => Err(Refusal::NoSession),
        };
        match opened {
            Ok(Opened::Packet(length)) => {
                held.state.heard(path, datagram.len() as u64, self.now);
                let packet = self.bytes.get(self.used..self.used + length).unwrap_or_default();
                if held.state.came_early.is_second(packet, || self.now) {
                    return self.drop_of(peer, Dropped::CameEarly);
                }
                self.accept(length, &held.found, peers);
            }
            Ok(Opened::KeepAlive) => held.state.heard(path, datagram.len() as u64, self.now),
            Ok(Opened::Reply(_) | Opened::Cookie) => {}
            Err(Refusal::NoSession) => self.lose(path, peers),
            Err(why) => self.drop_of(peer, why.into()),
        }
    }

    /// Step 5: the packet at the end of `bytes` is the peer's, but is it also its own?
    fn accept(&mut self, length: usize, found: &Found<'_>, peers: &Peers) {
        let place = self.used..self.used + length;
        let packet = self.bytes.get(place.clone()).unwrap_or_default();
        let Ok(header) = packet::parse(packet) else {
            return self.drop_of(found.peer, Dropped::Malformed);
        };
        match peers.judge(found.entry, &header, length) {
            Ok(()) => {
                self.coalescer.push(&self.bytes, place);
                self.used += length;
            }
            Err(why) => self.drop_of(found.peer, why),
        }
    }

    /// Data for a session that is gone: after a restart the peer would go on for 15 s before it notices. If
    /// it came from where the table has a peer, or by the pair's channel, which a relay has seen to, that one is asked for a new
    /// session, at the keeper's pace.
    fn lose(&self, path: Path, peers: &Peers) {
        let found = peers.on_path(path).filter(|found| found.path == path || path.is_relayed());
        let Some(found) = found else { return self.drop_one(Dropped::NoSession) };
        self.drop_of(found.peer, Dropped::NoSession);
        let _ = self.shared.work.try_send(Work::Lost(Arc::clone(found.peer), path));
    }

    /// The train of one peer ends: unlock, and see to what follows from it.
    fn release(&self, held: Option<Held<'_>>) {
        let Some(Held { found, mut state, .. }) = held else { return };
        let can_send = state.has_waiting() && state.session().is_some();
        drop(state);
        self.shared.activity.mark(found.peer);
        if can_send {
            // The initiator's first packet is what makes our side of the session usable.
            let _ = self.shared.work.try_send(Work::Waiting(Arc::clone(found.peer)));
        }
    }

    /// Step 6.
    fn flush(&mut self, queue: &TunQueue) {
        if !self.coalescer.is_empty() {
            let shared = &self.shared;
            self.coalescer.flush(&self.bytes, |header, parts| {
                write(queue, header, parts).or_else(|error| {
                    if header != VirtioHeader::PLAIN && error.kind() == io::ErrorKind::InvalidInput {
                        // Kernels of 2024 and some vendors' announce trains and refuse them.
                        debug!("the interface refuses trains; writing packets singly from now on");
                        return Err(Refused);
                    }
                    debug!(%error, "packet not written to the interface");
                    let packets = if header == VirtioHeader::PLAIN { 1 } else { parts.len() - 1 };
                    shared.counts.drop_many(Dropped::TunRefused, packets as u64);
                    Ok(())
                })
            });
        }
        self.used = 0;
    }

    fn drop_one(&self, why: Dropped) {
        self.shared.counts.drop_one(why);
    }

    fn drop_of(&self, peer: &Peer, why: Dropped) {
        self.shared.drop_of(peer, why, 1);
    }
}

/// Writes one packet or train to the TUN with the header that it wants there.
pub(super) fn write(queue: &TunQueue, header: VirtioHeader, parts: &[IoSlice<'_>]) -> io::Result<()> {
    if queue.offload() == Offload::None {
        return queue.write(parts).map(drop);
    }
    let header = header.encode();
    let mut all = [IoSlice::new(&[]); PARTS_MAX];
    let mut count = 0;
    for (slot, part) in all.iter_mut().zip(std::iter::once(&IoSlice::new(&header)).chain(parts)) {
        *slot = *part;
        count += 1;
    }
    queue.write(all.get(..count).unwrap_or_default()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_many_small_messages_or_a_few_trains() {
        assert_eq!(batch_after(1, 32), BATCH);
        assert_eq!(batch_after(16, 16 * 1_452), BATCH);
        assert_eq!(batch_after(4, 4 * 63_888), 4);
        assert_eq!(batch_after(2, 16_000 + 48_000), 8);
        assert_eq!(batch_after(0, 0), BATCH, "nothing came");
    }
}
