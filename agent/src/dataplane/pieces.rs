//! The pieces that a packet passes, one by one, for benches and fuzz targets.
//!
//! The program itself calls nothing of this, so none of it gets into the program: the pieces are private to the data
//! plane, and here is what can be measured of each and asked of it by strangers.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use lanyard_proto::overlay::packet;
use lanyard_proto::overlay::table::ForwardingTable;
use lanyard_proto::time::Instant;
use lanyard_proto::transmit::Way;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::SecretKey;

use super::buffer::GsoBuffer;
use super::checksum::Sum;
use super::coalesce::{Coalescer, Joins};
use super::peers::Peers;
use super::split::{PACKET_MAX, Split};
use super::tunnel::{HANDSHAKE_MAX, OVERHEAD, Opened, Tunnel, WireGuard};
use super::unreachable::{self, Unreachable, Why};
use super::virtio::VirtioHeader;
use crate::sockets::{SocketError, Sockets};

/// Bytes of the header in front of what a TUN with offload gives and takes.
pub const TUN_HEADER: usize = super::virtio::HEADER_LEN;
/// What a datagram is longer than the packet in it.
pub const SEALED_OVERHEAD: usize = OVERHEAD;
/// Datagrams of one train at the most, as kernels have it.
const SEGMENTS_MAX: usize = 64;
/// Where all trains go; nothing is sent.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// The Internet checksum of some bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.finish()
}

/// Cuts what a TUN with offload gave; `None`, and nothing shown, if it is shorter than its header or contradicts it.
///
/// # Panics
///
/// When a piece is not made, which outbound would ask for again and again.
pub fn split(read: &[u8], mut each: impl FnMut(&[u8])) -> Option<()> {
    let (header, packet) = read.split_first_chunk()?;
    let mut split = Split::new(VirtioHeader::decode(header)?, packet)?;
    let mut room = [0; PACKET_MAX];
    while !split.is_empty() {
        let length = split.next_len();
        let piece = split.next(&mut room).unwrap_or_default();
        assert_eq!(piece.len(), length, "a piece as long as was said");
        each(piece);
    }
    Some(())
}

/// The header of a TUN with offload, read and written again; `None` if it announces what was never asked for.
#[must_use]
pub fn reencode(header: &[u8; TUN_HEADER]) -> Option<[u8; TUN_HEADER]> {
    VirtioHeader::decode(header).map(VirtioHeader::encode)
}

/// Joins the packets of one batch after the other.
#[derive(Debug)]
pub struct Joiner(Coalescer);

impl Default for Joiner {
    fn default() -> Self {
        Self(Coalescer::new(Joins::TcpAndUdp))
    }
}

impl Joiner {
    /// Joins the packets at these places as far as possible; shows each write to the TUN, header and parts.
    pub fn join(
        &mut self,
        plain: &[u8],
        places: &[Range<usize>],
        mut write: impl FnMut(&[u8; TUN_HEADER], &[IoSlice<'_>]),
    ) {
        for place in places {
            self.0.push(plain, place.clone());
        }
        self.0.flush(plain, |header, parts| {
            write(&header.encode(), parts);
            Ok(())
        });
    }
}

/// Tells senders that nobody has an address, or that their packet is too long.
#[derive(Debug, Default)]
pub struct Refuser(Unreachable);

impl Refuser {
    /// What the sender of this packet is told, if anything: that it is longer than an `mtu`, or that its destination is nobody's.
    pub fn answer(&mut self, refused: &[u8], mtu: Option<u16>, now: Instant) -> Option<Vec<u8>> {
        let header = packet::parse(refused).ok()?;
        let mut room = unreachable::room();
        let why = mtu.map_or(Why::NoPeer, Why::TooBig);
        self.0.answer(refused, &header, why, &mut room, now).map(<[u8]>::to_vec)
    }
}

/// Who owns which overlay address, as the shards look it up.
#[derive(Debug)]
pub struct Routes(Peers);

impl Routes {
    /// Makes a table ready for packets.
    ///
    /// # Errors
    ///
    /// When the system gives no sockets, which say what is underlay.
    pub fn new(table: &Arc<ForwardingTable>) -> Result<Self, SocketError> {
        Ok(Self(Peers::default().next(table, &Sockets::bind(0, 1)?).0))
    }

    /// The device that packets to this address go to.
    #[must_use]
    pub fn route(&self, destination: IpAddr) -> Option<DeviceId> {
        self.0.route(destination).map(|found| found.peer.device)
    }
}

/// Where a train of datagrams is put together.
#[derive(Debug)]
pub struct Train(GsoBuffer);

impl Default for Train {
    fn default() -> Self {
        Self(GsoBuffer::new())
    }
}

impl Train {
    /// Copies datagrams into it as far as they fit one send, and forgets them; says how many those were.
    pub fn fill<'d>(&mut self, datagrams: impl IntoIterator<Item = &'d [u8]>) -> usize {
        self.put(datagrams, 0, |datagram, room| {
            room.copy_from_slice(datagram);
            Some(datagram.len())
        })
    }

    fn put<'d>(
        &mut self,
        all: impl IntoIterator<Item = &'d [u8]>,
        overhead: usize,
        mut write: impl FnMut(&[u8], &mut [u8]) -> Option<usize>,
    ) -> usize {
        let way = Way::main(NOWHERE);
        let mut count = 0;
        for bytes in all {
            let Some(room) = self.0.room(way, bytes.len() + overhead, SEGMENTS_MAX) else { break };
            let Some(length) = write(bytes, room) else { break };
            self.0.commit(way, length);
            count += 1;
        }
        self.0.clear();
        count
    }
}

/// Both ends of a tunnel that stands.
pub struct Ends {
    near: Tunnel,
    far: Tunnel,
}

impl Ends {
    /// Two tunnels that have agreed on a session; `None` if they could not.
    #[must_use]
    pub fn agreed() -> Option<Self> {
        let [near_key, far_key] = [1, 2].map(|byte| SecretKey::from_bytes([byte; 32]));
        let mut near = Tunnel::new(&WireGuard::new(&near_key), &far_key.public(), 1);
        let mut far = Tunnel::new(&WireGuard::new(&far_key), &near_key.public(), 2);
        let mut initiation = [0; HANDSHAKE_MAX];
        near.initiate(&mut initiation)?;
        let response = reply(&mut far, &initiation)?;
        let proof = reply(&mut near, &response)?;
        far.open(NOWHERE.ip(), &proof, &mut [0; HANDSHAKE_MAX]).ok()?;
        Some(Self { near, far })
    }

    /// Seals a packet at the near end; how long it is then.
    pub fn seal(&mut self, packet: &[u8], room: &mut [u8]) -> Option<usize> {
        self.near.session()?.seal(packet, room)
    }

    /// Seals packets at the near end to their places in a train, as outbound does; says how many.
    pub fn seal_train<'p>(
        &mut self,
        packets: impl IntoIterator<Item = &'p [u8]>,
        train: &mut Train,
    ) -> Option<usize> {
        let mut session = self.near.session()?;
        Some(train.put(packets, OVERHEAD, |packet, room| session.seal(packet, room)))
    }

    /// Opens at the far end what the near one sealed; the length of the packet.
    pub fn open(&mut self, datagram: &[u8], room: &mut [u8]) -> Option<usize> {
        match self.far.open(NOWHERE.ip(), datagram, room) {
            Ok(Opened::Packet(length)) => Some(length),
            Ok(Opened::KeepAlive | Opened::Reply(_) | Opened::Cookie) | Err(_) => None,
        }
    }
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

fn reply(tunnel: &mut Tunnel, datagram: &[u8]) -> Option<Vec<u8>> {
    let mut room = [0; HANDSHAKE_MAX];
    match tunnel.open(NOWHERE.ip(), datagram, &mut room) {
        Ok(Opened::Reply(length)) => room.get(..length).map(<[u8]>::to_vec),
        Ok(Opened::Packet(_) | Opened::KeepAlive | Opened::Cookie) | Err(_) => None,
    }
}
