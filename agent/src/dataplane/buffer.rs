//! Where outbound datagrams are encrypted to: one contiguous buffer that leaves with one call.
//!
//! The kernel cuts it into datagrams of equal length (UDP GSO), of which only the last may be shorter. Each
//! place has head-room for a relay frame's header, so that a relayed datagram is not moved either. When
//! the next datagram does not fit the rule the buffer is flushed first; [`GsoBuffer::room`] says so.

use std::net::SocketAddr;

use lanyard_proto::overlay::table::Path;
use lanyard_proto::transmit::Way;
use lanyard_wire::door::is_door;
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::limits::RELAY_HEADER;

use super::counters::{Counts, Dropped};
use super::split::PACKET_MAX;
use super::tunnel::OVERHEAD;
use crate::sockets::{Refusal, ShardSockets, Udp, refusal};

/// The longest datagram that is built here.
pub(super) const DATAGRAM_MAX: usize = RELAY_HEADER + PACKET_MAX + OVERHEAD;
/// The kernel takes so many bytes in one send over IPv4, less the headers it adds.
const TRAIN_MAX: usize = 65_507;

/// How long a send waits for room in the socket before its datagrams are dropped.
///
/// Not reading the TUN meanwhile is the only back-pressure there is: its queue fills, drops, and TCP slows
/// down. A socket that is still full after that long has no network under it.
const ROOM_TIMEOUT_MS: u16 = 10;

/// Datagrams for one destination, waiting to leave together.
#[derive(Debug)]
pub(super) struct GsoBuffer {
    bytes: Box<[u8]>,
    used: usize,
    stride: usize,
    count: usize,
    closed: bool,
    way: Option<Way>,
}

impl GsoBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; TRAIN_MAX + DATAGRAM_MAX].into_boxed_slice(),
            used: 0,
            stride: 0,
            count: 0,
            closed: false,
            way: None,
        }
    }

    /// The place for a datagram of `length` bytes that goes this way; `None` when the buffer must be flushed first.
    pub(super) fn room(&mut self, way: Way, length: usize, segments_max: usize) -> Option<&mut [u8]> {
        let fits = self.count == 0
            || (self.way == Some(way)
                && !self.closed
                && length <= self.stride
                && self.count < segments_max
                && self.used + length <= TRAIN_MAX);
        if fits { self.bytes.get_mut(self.used..self.used + length) } else { None }
    }

    /// Keeps what was written to the place given last.
    pub(super) fn commit(&mut self, way: Way, length: usize) {
        if self.count == 0 {
            self.way = Some(way);
            self.stride = length;
        }
        self.closed = length < self.stride;
        self.used += length;
        self.count += 1;
    }

    /// The last `length` bytes that are kept: a datagram without its relay header.
    pub(super) fn last(&self, length: usize) -> &[u8] {
        self.used.checked_sub(length).and_then(|start| self.bytes.get(start..self.used)).unwrap_or_default()
    }

    /// Sends everything and is empty afterwards, whatever became of it.
    pub(super) fn flush(&mut self, sockets: &ShardSockets, counts: &Counts) {
        let datagrams = self.bytes.get(..self.used).unwrap_or_default();
        if let Some(way) = self.way
            && !datagrams.is_empty()
        {
            let count = self.count as u64;
            if is_door(way.remote) {
                let lost = sockets.doors.send(way.remote, datagrams, self.stride);
                counts.drop_many(Dropped::SendBufferFull, lost);
                return self.clear();
            }
            let sent = sockets.with(way, |udp| send(udp, way.remote, datagrams, self.stride, count, counts));
            if sent.is_none() {
                counts.drop_many(Dropped::SendFailed, count);
            }
        }
        self.clear();
    }

    /// Forgets everything.
    pub(super) const fn clear(&mut self) {
        self.used = 0;
        self.count = 0;
        self.closed = false;
        self.way = None;
    }
}

/// Puts the relay header in front, where there is one, and says what goes where.
///
/// The datagram of WireGuard stands in `room` behind [`RELAY_HEADER`] bytes and is `length` long.
pub(super) fn frame(path: Path, room: &mut [u8], length: usize) -> Option<(Way, &[u8])> {
    match path {
        Path::Direct { local, remote } => {
            Some((Way { local, remote }, room.get(RELAY_HEADER..RELAY_HEADER + length)?))
        }
        Path::Relayed { relay, channel } => {
            set_relay_header(room, channel, length)?;
            Some((Way::main(relay), room.get(..RELAY_HEADER + length)?))
        }
        Path::None => None,
    }
}

/// Writes a relay header in front of `length` bytes.
pub(super) fn set_relay_header(
    room: &mut [u8],
    channel: lanyard_wire::ids::Channel,
    length: usize,
) -> Option<()> {
    let header = RelayHeader { channel, length: u16::try_from(length).ok()? };
    *room.first_chunk_mut()? = header.encode();
    Some(())
}

/// Sends a train; what the kernel refuses as a train goes out singly.
pub(super) fn send(
    udp: &Udp,
    remote: SocketAddr,
    datagrams: &[u8],
    stride: usize,
    count: u64,
    counts: &Counts,
) {
    let segment = (count > 1).then_some(stride);
    match send_waiting(udp, remote, datagrams, segment) {
        Ok(()) => {}
        Err(error) if count > 1 && refusal(&error) == Refusal::Train => {
            // Some network cards have no segmentation and say so only now. The socket's state knows from
            // here on and is renewed once a minute.
            for datagram in datagrams.chunks(stride) {
                if let Err(error) = send_waiting(udp, remote, datagram, None) {
                    counts.drop_one(reason(&error));
                }
            }
        }
        Err(error) => counts.drop_many(reason(&error), count),
    }
}

fn send_waiting(udp: &Udp, remote: SocketAddr, bytes: &[u8], segment: Option<usize>) -> std::io::Result<()> {
    match udp.send(remote, bytes, segment) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            super::wait::until_writable(udp, ROOM_TIMEOUT_MS);
            udp.send(remote, bytes, segment)
        }
        outcome => outcome,
    }
}

fn reason(error: &std::io::Error) -> Dropped {
    tracing::debug!(%error, "datagram not sent");
    match refusal(error) {
        Refusal::NoRoom => Dropped::SendBufferFull,
        Refusal::TooLong => Dropped::TooLong,
        Refusal::Train | Refusal::Other => Dropped::SendFailed,
    }
}

#[cfg(test)]
mod tests {
    use lanyard_proto::transmit::SocketId;
    use lanyard_wire::ids::Channel;

    use super::*;
    use crate::sockets::Sockets;

    #[test]
    fn equal_datagrams_to_one_place_fill_a_train_and_a_shorter_one_ends_it() {
        let mut buffer = GsoBuffer::new();
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        for length in [100, 100, 60] {
            assert_eq!(buffer.room(remote.into(), length, 64).unwrap().len(), length);
            buffer.commit(remote.into(), length);
        }
        assert!(buffer.room(remote.into(), 60, 64).is_none(), "nothing after a shorter one");
        assert_eq!(buffer.used, 260);
    }

    #[test]
    fn a_longer_datagram_another_place_and_one_too_many_ask_for_a_flush() {
        let mut buffer = GsoBuffer::new();
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let other = SocketAddr::from(([127, 0, 0, 1], 10));
        buffer.room(remote.into(), 100, 64).unwrap();
        buffer.commit(remote.into(), 100);
        assert!(buffer.room(remote.into(), 101, 64).is_none());
        assert!(buffer.room(other.into(), 100, 64).is_none());
        assert!(buffer.room(remote.into(), 100, 1).is_none(), "no segmentation here");
        assert!(buffer.room(remote.into(), 100, 64).is_some());
    }

    #[test]
    fn a_train_never_exceeds_what_one_send_takes() {
        let mut buffer = GsoBuffer::new();
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        while buffer.room(remote.into(), 1_452, 64).is_some() {
            buffer.commit(remote.into(), 1_452);
        }
        assert_eq!(buffer.used / 1_452, 45, "the cap set on the TUN (tun/linux.rs) counts on it");
    }

    #[test]
    fn a_train_arrives_as_the_datagrams_it_was_made_of() {
        let counts = Counts::new();
        let sockets = Sockets::bind(0, 1).unwrap();
        let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let mut buffer = GsoBuffer::new();
        for (fill, length) in [(1_u8, 500), (2, 500), (3, 77)] {
            buffer.room(remote.into(), length, 64).unwrap().fill(fill);
            buffer.commit(remote.into(), length);
        }
        buffer.flush(sockets.shard(0).unwrap(), &counts);
        for (fill, length) in [(1_u8, 500), (2, 500), (3, 77)] {
            let mut received = [0; 2_048];
            let (got, _) = listener.recv_from(&mut received).unwrap();
            assert_eq!(&received[..got], vec![fill; length]);
        }
        assert_eq!(buffer.used, 0);
        assert!(counts.read().dropped.iter().all(|(_, count)| *count == 0));
    }

    #[test]
    fn a_relayed_datagram_gets_its_header_where_room_was_left() {
        let mut room = [7_u8; 64];
        let relay = SocketAddr::from(([192, 0, 2, 1], 7_443));
        let channel = Channel::new(0x01_0203_0405).unwrap();
        let (to, bytes) = frame(Path::Relayed { relay, channel }, &mut room, 40).unwrap();
        assert_eq!(to, Way::main(relay));
        assert_eq!(bytes[..RELAY_HEADER], [0xC0, 1, 2, 3, 4, 5, 0, 40]);
        assert_eq!(bytes.len(), RELAY_HEADER + 40);
        let (header, rest) = RelayHeader::parse(bytes).unwrap();
        assert_eq!((header.channel, rest.len()), (channel, 40));
        let (to, bytes) =
            frame(Path::Direct { local: SocketId::MAIN, remote: relay }, &mut room, 40).unwrap();
        assert_eq!((to, bytes.len()), (Way::main(relay), 40));
        assert_eq!(frame(Path::None, &mut room, 40), None);
    }
}
