//! Cuts a super-packet of the kernel into the packets that go through the tunnel.
//!
//! The TUN hands over a TCP or UDP flow in trains of up to 64 KB behind one set of headers. Each piece gets
//! its own copy of them with lengths, IPv4 identification, TCP sequence number and flags, and both checksums
//! put right: the peer may be any WireGuard and sees packets as they would have been on a wire.
//! `coalesce` is the inverse.

use super::checksum::Sum;
use super::virtio::{Train, VirtioHeader};

/// The longest packet that is carried.
///
/// The TUN's MTU is smaller; this leaves room for someone who raised it by hand, up to Ethernet's.
pub(super) const PACKET_MAX: usize = 1_500;

pub(super) const PROTOCOL_TCP: u8 = 6;
pub(super) const PROTOCOL_UDP: u8 = 17;
pub(super) const IPV6_HEADER: usize = 40;
pub(super) const UDP_HEADER: usize = 8;
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const UDP_CHECKSUM: usize = 6;

const TCP_FLAGS: usize = 13;
const FLAG_FIN: u8 = 0x01;
const FLAG_PSH: u8 = 0x08;
const FLAG_URG: u8 = 0x20;
const FLAG_CWR: u8 = 0x80;

/// One read from the TUN, taken out piece by piece.
#[derive(Debug)]
pub(super) struct Split<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    taken: usize,
    pieces: u16,
    header: VirtioHeader,
}

impl<'a> Split<'a> {
    /// Looks at a packet and its header; `None` if they contradict each other or a piece would exceed
    /// [`PACKET_MAX`].
    pub(super) fn new(mut header: VirtioHeader, packet: &'a [u8]) -> Option<Self> {
        let transport = usize::from(header.checksum_start);
        let headers_len = match header.train {
            Train::None => {
                let field = transport + usize::from(header.checksum_offset);
                if packet.len() > PACKET_MAX || (header.needs_checksum && field + 2 > packet.len()) {
                    return None;
                }
                let (headers, payload) = packet.split_at(0);
                return Some(Self { headers, payload, taken: 0, pieces: 0, header });
            }
            // Not the header's own length: on the forwarding path the kernel may put the whole linear part there.
            Train::Tcp4 | Train::Tcp6 => {
                let words = packet.get(transport + 12)? >> 4;
                if words < 5 {
                    return None;
                }
                transport + usize::from(words) * 4
            }
            Train::Udp => transport + UDP_HEADER,
        };
        let version = packet.first()? >> 4;
        let fits = match header.train {
            Train::Tcp4 => version == 4,
            Train::Tcp6 => version == 6,
            Train::None | Train::Udp => version == 4 || version == 6,
        };
        let ip_len = if version == 4 { usize::from(packet.first()? & 0x0F) * 4 } else { IPV6_HEADER };
        let exact = if version == 4 { transport == ip_len && ip_len >= 20 } else { transport >= ip_len };
        let piece_len = usize::from(header.piece_len);
        if !fits || !exact || piece_len == 0 || headers_len + piece_len > PACKET_MAX {
            return None;
        }
        header.checksum_offset =
            u16::try_from(if header.train == Train::Udp { UDP_CHECKSUM } else { TCP_CHECKSUM }).ok()?;
        let (headers, payload) = packet.split_at_checked(headers_len)?;
        Some(Self { headers, payload, taken: 0, pieces: 0, header })
    }

    /// Makes every piece of what was not begun yet `mtu` bytes at most; `false` if that is for fragments to do, or for the sender.
    ///
    /// TCP is a stream, so its segments can be cut anew: the connection notices nothing, and is as fast as the path as soon as
    /// that carries more. Messages of "too big" would hold it back for ten minutes.
    pub(super) fn fit(&mut self, mtu: usize) -> bool {
        if self.next_len() <= mtu {
            return true;
        }
        match self.header.train {
            Train::None => self.to_train().is_some_and(|mut train| {
                let fits = train.fit(mtu);
                *self = train;
                fits
            }),
            Train::Udp => false,
            Train::Tcp4 | Train::Tcp6 => {
                let room = mtu.checked_sub(self.headers.len()).and_then(|room| u16::try_from(room).ok());
                self.header.piece_len = room.filter(|room| *room > 0).unwrap_or(self.header.piece_len);
                self.next_len() <= mtu
            }
        }
    }

    /// A single TCP segment as a train of one piece.
    ///
    /// Only one whose checksum is still to be made: cutting another would make a wrong one right.
    fn to_train(&self) -> Option<Self> {
        let packet = self.payload;
        let start = usize::from(self.header.checksum_start);
        let is_tcp = self.header.needs_checksum && usize::from(self.header.checksum_offset) == TCP_CHECKSUM;
        let is_whole4 =
            packet.get(6..8)?.first_chunk().map(|flags| u16::from_be_bytes(*flags) & 0x3FFF) == Some(0);
        let train = match packet.first()? >> 4 {
            4 if is_whole4 && packet.get(9) == Some(&PROTOCOL_TCP) => Train::Tcp4,
            6 if packet.get(6) == Some(&PROTOCOL_TCP) && start == IPV6_HEADER => Train::Tcp6,
            _ => return None,
        };
        let headers = start + usize::from(packet.get(start + 12)? >> 4) * 4;
        let is_urgent = packet.get(start + TCP_FLAGS)? & FLAG_URG != 0;
        let piece_len = u16::try_from(packet.len().checked_sub(headers)?).ok()?;
        let header = VirtioHeader { train, piece_len, ..self.header };
        if is_tcp && !is_urgent { Self::new(header, packet) } else { None }
    }

    /// Whether pieces are left.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces > 0 && self.taken == self.payload.len()
    }

    /// Length of the next piece.
    pub(super) fn next_len(&self) -> usize {
        self.headers.len() + self.next_payload()
    }

    /// Writes the next piece into `scratch` and gives it back; `None` after the last one.
    pub(super) fn next<'s>(&mut self, scratch: &'s mut [u8; PACKET_MAX]) -> Option<&'s [u8]> {
        if self.is_empty() {
            return None;
        }
        let payload_len = self.next_payload();
        let payload = self.payload.get(self.taken..self.taken + payload_len)?;
        let piece = scratch.get_mut(..self.headers.len() + payload_len)?;
        let (to_headers, to_payload) = piece.split_at_mut(self.headers.len());
        to_headers.copy_from_slice(self.headers);
        to_payload.copy_from_slice(payload);
        let is_first = self.pieces == 0;
        let offset = self.taken;
        self.taken += payload_len;
        let is_last = self.taken == self.payload.len();
        match self.header.train {
            Train::None if !self.header.needs_checksum => {}
            Train::None => finish_checksum(piece, self.header)?,
            Train::Tcp4 | Train::Tcp6 | Train::Udp => {
                set_network_header(piece, self.pieces)?;
                self.set_transport_header(piece, offset, is_first, is_last)?;
            }
        }
        self.pieces += 1;
        Some(piece)
    }

    fn next_payload(&self) -> usize {
        let rest = self.payload.len() - self.taken;
        if self.header.train == Train::None { rest } else { rest.min(usize::from(self.header.piece_len)) }
    }

    fn set_transport_header(
        &self,
        piece: &mut [u8],
        offset: usize,
        is_first: bool,
        is_last: bool,
    ) -> Option<()> {
        let start = usize::from(self.header.checksum_start);
        let field = usize::from(self.header.checksum_offset);
        let (network, transport) = piece.split_at_mut_checked(start)?;
        let length = transport.len();
        let protocol = if self.header.train == Train::Udp {
            transport.get_mut(4..6)?.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
            PROTOCOL_UDP
        } else {
            let sequence = transport.get_mut(4..8)?.first_chunk_mut::<4>()?;
            let offset = u32::try_from(offset).ok()?;
            *sequence = u32::from_be_bytes(*sequence).wrapping_add(offset).to_be_bytes();
            let flags = transport.get_mut(TCP_FLAGS)?;
            if !is_first {
                *flags &= !FLAG_CWR;
            }
            if !is_last {
                *flags &= !(FLAG_FIN | FLAG_PSH);
            }
            PROTOCOL_TCP
        };
        transport.get_mut(field..field + 2)?.fill(0);
        let mut sum = Sum::pseudo_header(addresses(network)?, protocol, length);
        sum.add(transport);
        let mut checksum = sum.finish();
        if protocol == PROTOCOL_UDP && checksum == [0, 0] {
            checksum = [0xFF, 0xFF];
        }
        transport.get_mut(field..field + 2)?.copy_from_slice(&checksum);
        Some(())
    }
}

/// Both addresses of an IP header, as they stand in it.
pub(super) fn addresses(network: &[u8]) -> Option<&[u8]> {
    match network.first()? >> 4 {
        4 => network.get(12..20),
        _ => network.get(8..40),
    }
}

/// Puts length, identification and checksum of the IP header right for a piece that is the `number`th of its
/// train.
fn set_network_header(piece: &mut [u8], number: u16) -> Option<()> {
    let length = piece.len();
    if piece.first()? >> 4 == 6 {
        let payload = u16::try_from(length.checked_sub(IPV6_HEADER)?).ok()?;
        piece.get_mut(4..6)?.copy_from_slice(&payload.to_be_bytes());
        return Some(());
    }
    let header_len = usize::from(piece.first()? & 0x0F) * 4;
    piece.get_mut(2..4)?.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    let identification = piece.get_mut(4..6)?.first_chunk_mut::<2>()?;
    *identification = u16::from_be_bytes(*identification).wrapping_add(number).to_be_bytes();
    set_ipv4_checksum(piece.get_mut(..header_len)?)
}

/// Computes the checksum of an IPv4 header.
pub(super) fn set_ipv4_checksum(header: &mut [u8]) -> Option<()> {
    header.get_mut(10..12)?.fill(0);
    let mut sum = Sum::default();
    sum.add(header);
    header.get_mut(10..12)?.copy_from_slice(&sum.finish());
    Some(())
}

/// Completes the checksum of a single packet: the field holds the pseudo-header's sum so far.
fn finish_checksum(packet: &mut [u8], header: VirtioHeader) -> Option<()> {
    let start = usize::from(header.checksum_start);
    let field = start + usize::from(header.checksum_offset);
    let mut sum = Sum::default();
    sum.add(packet.get(start..)?);
    let mut checksum = sum.finish();
    // In UDP zero means "no checksum" (RFC 768); in TCP and ICMP 0xFFFF and zero are the same number.
    if checksum == [0, 0] {
        checksum = [0xFF, 0xFF];
    }
    packet.get_mut(field..field + 2)?.copy_from_slice(&checksum);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_needs_nothing_passes_unchanged() {
        let packet = [0x45, 0, 0, 21, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 7];
        let mut split = Split::new(VirtioHeader::PLAIN, &packet).unwrap();
        let mut scratch = [0; PACKET_MAX];
        assert_eq!(split.next_len(), packet.len());
        assert_eq!(split.next(&mut scratch), Some(&packet[..]));
        assert_eq!(split.next(&mut scratch), None);
    }

    #[test]
    fn headers_that_contradict_the_packet_are_refused() {
        let tcp =
            VirtioHeader { train: Train::Tcp4, piece_len: 1_000, checksum_start: 20, ..VirtioHeader::PLAIN };
        let mut packet = [0_u8; 3_000];
        packet[0] = 0x45;
        packet[32] = 0x50;
        assert!(Split::new(tcp, &packet).is_some());
        assert!(Split::new(VirtioHeader { piece_len: 0, ..tcp }, &packet).is_none(), "pieces of nothing");
        assert!(Split::new(VirtioHeader { piece_len: 1_461, ..tcp }, &packet).is_none(), "too long");
        assert!(Split::new(VirtioHeader { train: Train::Tcp6, ..tcp }, &packet).is_none(), "wrong version");
        assert!(Split::new(VirtioHeader { checksum_start: 24, ..tcp }, &packet).is_none(), "wrong header");
        assert!(Split::new(VirtioHeader { checksum_start: 60_000, ..tcp }, &packet).is_none(), "outside");
        assert!(Split::new(VirtioHeader::PLAIN, &packet).is_none(), "a single packet of 3,000 bytes");
        packet[32] = 0x40;
        assert!(Split::new(tcp, &packet).is_none(), "a TCP header of 16 bytes");
    }

    #[test]
    fn only_the_last_piece_ends_the_stream_and_only_the_first_reduces_its_window() {
        let mut packet = [0_u8; 20 + 20 + 250];
        packet[0] = 0x45;
        packet[32] = 0x50;
        packet[20 + TCP_FLAGS] = FLAG_CWR | FLAG_PSH | FLAG_FIN | 0x10;
        let header =
            VirtioHeader { train: Train::Tcp4, piece_len: 100, checksum_start: 20, ..VirtioHeader::PLAIN };
        let mut split = Split::new(header, &packet).unwrap();
        let mut scratch = [0; PACKET_MAX];
        let mut flags = Vec::new();
        let mut sequence = Vec::new();
        while let Some(piece) = split.next(&mut scratch) {
            flags.push(piece[20 + TCP_FLAGS]);
            sequence.push(u32::from_be_bytes(piece[24..28].try_into().unwrap()));
        }
        assert_eq!(flags, [FLAG_CWR | 0x10, 0x10, FLAG_PSH | FLAG_FIN | 0x10]);
        assert_eq!(sequence, [0, 100, 200]);
    }
}
