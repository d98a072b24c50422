//! Joins decrypted packets of one flow into super-packets, so that the kernel is called once for many.
//!
//! Works over a whole receive batch: packets are only noted here, as places in the buffer they were decrypted
//! into, and written with one `writev` per super-packet when the batch ends. A packet joins only the newest
//! entry of its flow, and only where the kernel would cut the result into exactly the same packets again:
//! same headers, next sequence number, nothing after a shorter or pushed piece. Its checksum is verified
//! first, since the kernel trusts what comes in a train: a peer's broken packet must not be laundered.
//! `split` is the inverse.

use std::io::IoSlice;
use std::ops::Range;

use super::checksum::Sum;
use super::split::{
    IPV6_HEADER, PROTOCOL_TCP, PROTOCOL_UDP, TCP_CHECKSUM, UDP_CHECKSUM, UDP_HEADER, addresses,
    set_ipv4_checksum,
};
use super::virtio::{Train, VirtioHeader};

/// Most packets in one super-packet.
///
/// The kernel takes 64 datagrams of UDP in a train; 64 KB hold 53 TCP segments of our MTU.
const PIECES_MAX: usize = 64;
/// How far back the newest entry of a flow is looked for; beyond it a packet simply starts a new entry, so
/// that a batch of thousands of flows costs no more than a batch of one.
const LOOK_BACK: usize = 64;
/// The longest headers that are joined: IPv6 and TCP with all options.
const HEADERS_MAX: usize = IPV6_HEADER + 60;
/// An IP packet's length is a 16-bit number.
const TOTAL_MAX: usize = 65_535;

const FLAG_PSH: u8 = 0x08;
const FLAG_ACK: u8 = 0x10;

/// The packets of one batch, joined as far as possible, in the order in which they are to be written.
#[derive(Debug)]
pub(super) struct Coalescer {
    entries: Vec<Entry>,
    used: usize,
    joins: Joins,
}

/// What the TUN takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joins {
    /// Packets singly.
    Nothing,
    /// TCP trains.
    Tcp,
    /// TCP and UDP trains.
    TcpAndUdp,
}

#[derive(Debug)]
struct Entry {
    /// Where the packets are, in order.
    packets: Vec<Range<usize>>,
    flow: Option<Flow>,
    /// Payload bytes of the first packet.
    piece_len: usize,
    /// Payload bytes of all.
    payload_len: usize,
    /// Nothing may follow.
    closed: bool,
}

/// What two packets must share to be of the same flow, and where things are in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    train: Train,
    network_len: usize,
    headers_len: usize,
    /// Both addresses and both ports; IPv4 is padded with zeros.
    key: [u8; 36],
}

impl Coalescer {
    /// An empty one for a TUN that takes these trains.
    pub(super) fn new(joins: Joins) -> Self {
        Self { entries: Vec::new(), used: 0, joins }
    }

    /// From now on packets go singly: this kernel announced trains and refuses them.
    pub(super) fn stop_joining(&mut self) {
        self.joins = Joins::Nothing;
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Notes the packet at `place` of `plain`, joined to an earlier one where that is possible.
    pub(super) fn push(&mut self, plain: &[u8], place: Range<usize>) {
        let packet = plain.get(place.clone()).unwrap_or_default();
        let flow = match self.joins {
            Joins::Nothing => None,
            Joins::Tcp | Joins::TcpAndUdp => Flow::of(packet),
        };
        let payload_len = flow.map_or(0, |flow| packet.len() - flow.headers_len);
        let joinable = flow.filter(|flow| {
            (flow.train != Train::Udp || self.joins == Joins::TcpAndUdp) && is_plain_piece(packet, flow)
        });
        if let Some(flow) = joinable {
            let oldest = self.used.saturating_sub(LOOK_BACK);
            let recent = self.entries.get_mut(oldest..self.used).unwrap_or_default();
            let newest = recent.iter_mut().rev().find(|entry| entry.is_of(&flow));
            if let Some(entry) = newest
                && entry.accepts(plain, packet, &flow)
            {
                entry.packets.push(place);
                entry.payload_len += payload_len;
                entry.closed = payload_len < entry.piece_len || is_pushed(packet, &flow);
                return;
            }
        }
        if self.used == self.entries.len() {
            // Grows to the most packets a batch ever had, then never again.
            self.entries.push(Entry::default());
        }
        if let Some(entry) = self.entries.get_mut(self.used) {
            entry.packets.clear();
            entry.packets.push(place);
            entry.flow = flow;
            entry.piece_len = payload_len;
            entry.payload_len = payload_len;
            entry.closed = joinable.is_none_or(|flow| is_pushed(packet, &flow));
            self.used += 1;
        }
    }

    /// Hands every super-packet to `write`, in order, and is empty afterwards.
    ///
    /// `write` is given the TUN's header, what follows it, and how many packets that is; when it answers
    /// [`Refused`], the packets are offered again singly and no more are joined.
    pub(super) fn flush<W>(&mut self, plain: &[u8], mut write: W)
    where
        W: FnMut(VirtioHeader, &[IoSlice<'_>]) -> Result<(), Refused>,
    {
        let mut refused = false;
        for entry in self.entries.get(..self.used).unwrap_or_default() {
            let joined = entry.packets.len() > 1 && !refused;
            if !joined || entry.write(plain, &mut write) == Some(Err(Refused)) {
                refused |= joined;
                for place in &entry.packets {
                    let packet = plain.get(place.clone()).unwrap_or_default();
                    // A single packet is never a train, so there is nothing to refuse about it.
                    let _ = write(VirtioHeader::PLAIN, &[IoSlice::new(packet)]);
                }
            }
        }
        self.used = 0;
        if refused {
            self.stop_joining();
        }
    }
}

/// The kernel does not take this train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Default for Entry {
    fn default() -> Self {
        Self {
            packets: Vec::with_capacity(PIECES_MAX),
            flow: None,
            piece_len: 0,
            payload_len: 0,
            closed: true,
        }
    }
}

impl Entry {
    fn is_of(&self, flow: &Flow) -> bool {
        self.flow.is_some_and(|own| own.key == flow.key && own.train == flow.train)
    }

    /// Whether `packet` continues this entry so that cutting gives the same packets again.
    fn accepts(&self, plain: &[u8], packet: &[u8], flow: &Flow) -> bool {
        let payload_len = packet.len() - flow.headers_len;
        let first = self.packets.first().and_then(|place| plain.get(place.clone())).unwrap_or_default();
        !self.closed
            && self.flow == Some(*flow)
            && self.packets.len() < PIECES_MAX
            && payload_len <= self.piece_len
            && flow.headers_len + self.payload_len + payload_len <= TOTAL_MAX
            && continues(first, packet, flow, self.packets.len(), self.payload_len).unwrap_or(false)
            && has_valid_checksum(packet, flow).unwrap_or(false)
    }

    /// Writes several packets as one. `None` if the headers cannot be made, which `Flow::of` excludes.
    fn write<W>(&self, plain: &[u8], write: &mut W) -> Option<Result<(), Refused>>
    where
        W: FnMut(VirtioHeader, &[IoSlice<'_>]) -> Result<(), Refused>,
    {
        let flow = self.flow?;
        let first = plain.get(self.packets.first()?.clone())?;
        // The headers are changed in a copy: if the kernel refuses the train, the packets go out as they came.
        let mut headers = [0_u8; HEADERS_MAX];
        let headers = headers.get_mut(..flow.headers_len)?;
        headers.copy_from_slice(first.get(..flow.headers_len)?);
        // A push belongs to the last piece, and the kernel's cutting puts it there.
        let last = plain.get(self.packets.last()?.clone())?;
        let field = set_joined_headers(headers, &flow, self.payload_len, is_pushed(last, &flow))?;
        let header = VirtioHeader {
            needs_checksum: true,
            train: flow.train,
            header_len: u16::try_from(flow.headers_len).ok()?,
            piece_len: u16::try_from(self.piece_len).ok()?,
            checksum_start: u16::try_from(flow.network_len).ok()?,
            checksum_offset: u16::try_from(field).ok()?,
        };
        let mut parts = [IoSlice::new(&[]); PIECES_MAX + 1];
        *parts.first_mut()? = IoSlice::new(headers);
        for (part, place) in parts.iter_mut().skip(1).zip(&self.packets) {
            *part = IoSlice::new(plain.get(place.start + flow.headers_len..place.end)?);
        }
        Some(write(header, parts.get(..=self.packets.len())?))
    }
}

impl Flow {
    /// The flow of a TCP or UDP packet without IP options, extension headers or fragmentation.
    fn of(packet: &[u8]) -> Option<Self> {
        let mut key = [0_u8; 36];
        let version = packet.first()? >> 4;
        let (network_len, protocol, total) = if version == 4 {
            let unfragmented = *packet.get(6)? & 0x3F == 0 && *packet.get(7)? == 0;
            if *packet.first()? != 0x45 || !unfragmented {
                return None;
            }
            (20, *packet.get(9)?, usize::from(u16_at(packet, 2)?))
        } else {
            (IPV6_HEADER, *packet.get(6)?, usize::from(u16_at(packet, 4)?) + IPV6_HEADER)
        };
        let transport = packet.get(network_len..)?;
        let (transport_len, train) = match (protocol, version) {
            (PROTOCOL_TCP, 4) => (usize::from(transport.get(12)? >> 4) * 4, Train::Tcp4),
            (PROTOCOL_TCP, 6) => (usize::from(transport.get(12)? >> 4) * 4, Train::Tcp6),
            (PROTOCOL_UDP, 4 | 6) => (UDP_HEADER, Train::Udp),
            _ => return None,
        };
        let least = if protocol == PROTOCOL_TCP { 20 } else { UDP_HEADER };
        let headers_len = network_len + transport_len;
        if transport_len < least || headers_len > packet.len() || total != packet.len() {
            return None;
        }
        if protocol == PROTOCOL_UDP && usize::from(u16_at(transport, 4)?) != transport.len() {
            return None;
        }
        let both = addresses(packet)?;
        key.get_mut(..both.len())?.copy_from_slice(both);
        key.get_mut(32..36)?.copy_from_slice(transport.get(..4)?);
        Some(Self { train, network_len, headers_len, key })
    }
}

/// Whether a packet may be part of a train at all: it carries payload, and of TCP only a plain segment.
fn is_plain_piece(packet: &[u8], flow: &Flow) -> bool {
    let has_payload = packet.len() > flow.headers_len;
    match flow.train {
        Train::Udp => {
            has_payload && packet.get(flow.network_len + UDP_CHECKSUM..flow.headers_len) != Some(&[0, 0])
        }
        Train::Tcp4 | Train::Tcp6 => {
            let flags = packet.get(flow.network_len + 13).copied().unwrap_or_default();
            has_payload && flags & !FLAG_PSH == FLAG_ACK
        }
        Train::None => false,
    }
}

/// Whether the sender marked the end of what it had to say: the receiver is to be woken here.
fn is_pushed(packet: &[u8], flow: &Flow) -> bool {
    flow.train != Train::Udp && packet.get(flow.network_len + 13).is_some_and(|flags| flags & FLAG_PSH != 0)
}

/// Whether `packet`, as number `count` after `first` and behind `behind` bytes of payload, has the headers
/// that cutting would give it.
fn continues(first: &[u8], packet: &[u8], flow: &Flow, count: usize, behind: usize) -> Option<bool> {
    let same = |range: Range<usize>| first.get(range.clone()) == packet.get(range);
    let network = if flow.network_len == IPV6_HEADER {
        // Class, flow label, next header, hop limit.
        same(0..4) && same(6..8)
    } else {
        let dont_fragment = *packet.get(6)? & 0x40 != 0;
        let expected = u16_at(first, 4)?.wrapping_add(u16::try_from(count).ok()?);
        // With DF set the identification means nothing (RFC 6864, section 4.1), and some systems send zero.
        same(1..2) && same(6..9) && (dont_fragment || u16_at(packet, 4)? == expected)
    };
    let start = flow.network_len;
    let transport = match flow.train {
        Train::Udp => true,
        Train::Tcp4 | Train::Tcp6 => {
            let expected = u32_at(first, start + 4)?.wrapping_add(u32::try_from(behind).ok()?);
            // Acknowledgement, data offset, window, urgent pointer, options.
            u32_at(packet, start + 4)? == expected
                && same(start + 8..start + 13)
                && same(start + 14..start + 16)
                && same(start + 18..flow.headers_len)
        }
        Train::None => false,
    };
    Some(network && transport && has_valid_checksum_once(first, flow, count)?)
}

/// The first packet is verified when the second one wants to join it, and not again.
fn has_valid_checksum_once(first: &[u8], flow: &Flow, count: usize) -> Option<bool> {
    if count == 1 { has_valid_checksum(first, flow) } else { Some(true) }
}

fn has_valid_checksum(packet: &[u8], flow: &Flow) -> Option<bool> {
    let (network, transport) = packet.split_at_checked(flow.network_len)?;
    if flow.network_len != IPV6_HEADER {
        let mut sum = Sum::default();
        sum.add(network);
        if !sum.is_valid() {
            return Some(false);
        }
    }
    let protocol = if flow.train == Train::Udp { PROTOCOL_UDP } else { PROTOCOL_TCP };
    let mut sum = Sum::pseudo_header(addresses(network)?, protocol, transport.len());
    sum.add(transport);
    Some(sum.is_valid())
}

/// Turns the headers of the first packet into those of the train; gives the place of the checksum field.
fn set_joined_headers(headers: &mut [u8], flow: &Flow, payload_len: usize, pushed: bool) -> Option<usize> {
    let total = headers.len() + payload_len;
    let transport_len = total - flow.network_len;
    let (network, transport) = headers.split_at_mut_checked(flow.network_len)?;
    if flow.network_len == IPV6_HEADER {
        network.get_mut(4..6)?.copy_from_slice(&u16::try_from(transport_len).ok()?.to_be_bytes());
    } else {
        network.get_mut(2..4)?.copy_from_slice(&u16::try_from(total).ok()?.to_be_bytes());
        set_ipv4_checksum(network)?;
    }
    let (protocol, field) = if flow.train == Train::Udp {
        transport.get_mut(4..6)?.copy_from_slice(&u16::try_from(transport_len).ok()?.to_be_bytes());
        (PROTOCOL_UDP, UDP_CHECKSUM)
    } else {
        if pushed {
            *transport.get_mut(13)? |= FLAG_PSH;
        }
        (PROTOCOL_TCP, TCP_CHECKSUM)
    };
    let sum = Sum::pseudo_header(addresses(network)?, protocol, transport_len);
    transport.get_mut(field..field + 2)?.copy_from_slice(&sum.partial());
    Some(field)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|quad| u32::from_be_bytes(*quad))
}

#[cfg(test)]
mod tests;
