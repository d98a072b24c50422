//! Tells a local program at once that nobody has the address it talks to, or that its packet is longer than the path carries.
//!
//! Without it a mistyped address of the virtual LAN costs a minute of waiting, and a large packet vanishes. The message says that it comes
//! from the address that was not reached: one of our own would be dropped by the kernel as forged, and the
//! missing host is what a router would name as well.

use std::time::Duration;

use lanyard_proto::overlay::packet::Header;
use lanyard_proto::time::Instant;

use super::checksum::Sum;
use super::split::{IPV6_HEADER, set_ipv4_checksum};

/// Time between two messages on average, and how many can be saved up: enough for people, and a program
/// that scans the network gets most of its answers by time-out as on any LAN.
const EARN: Duration = Duration::from_millis(50);
const BURST: u32 = 10;
/// How much of the packet is sent back: its header and the ports (RFC 792), and over IPv6 as much as makes
/// sense (RFC 4443, section 3.1).
const QUOTED_MAX: usize = 128;
const LENGTH_MAX: usize = IPV6_HEADER + 8 + QUOTED_MAX;

/// Writes the messages, not too many of them.
#[derive(Debug, Default)]
pub(super) struct Unreachable {
    /// For each kind of message: a program that scans the network must not silence the other kind.
    full_at: [Instant; 2],
}

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nobody has its destination.
    NoPeer,
    /// It must not be cut, and the path carries packets of so many bytes.
    TooBig(u16),
}

impl Why {
    /// Type and code of the message, and the four bytes behind its checksum (RFC 792; RFC 1191, section 4).
    fn v4(self) -> ([u8; 2], u32) {
        match self {
            Self::NoPeer => ([3, 1], 0),
            Self::TooBig(mtu) => ([3, 4], mtu.into()),
        }
    }

    /// The same for ICMPv6 (RFC 4443, sections 3.1 and 3.2).
    fn v6(self) -> ([u8; 2], u32) {
        match self {
            Self::NoPeer => ([1, 3], 0),
            Self::TooBig(mtu) => ([2, 0], mtu.into()),
        }
    }
}

impl Unreachable {
    /// The message to write to the TUN in answer to this packet; `None` if there was just one, or if the
    /// packet is one that must not be answered (RFC 1122, section 3.2.2; RFC 4443, section 2.4 (e)).
    pub(super) fn answer<'m>(
        &mut self,
        packet: &[u8],
        header: &Header,
        why: Why,
        room: &'m mut [u8; LENGTH_MAX],
        now: Instant,
    ) -> Option<&'m [u8]> {
        if header.destination.is_multicast() || header.source.is_unspecified() || header.source.is_multicast()
        {
            return None;
        }
        let is_v4 = packet.first()? >> 4 == 4;
        if is_error(packet, header, is_v4) {
            return None;
        }
        let full_at = self.full_at.get_mut(usize::from(why == Why::NoPeer))?;
        let missing = full_at.saturating_since(now);
        if missing > EARN * (BURST - 1) {
            return None;
        }
        *full_at = now + missing + EARN;
        if is_v4 { answer_v4(packet, why.v4(), room) } else { answer_v6(packet, why.v6(), room) }
    }
}

/// A buffer for one message.
pub(super) const fn room() -> [u8; LENGTH_MAX] {
    [0; LENGTH_MAX]
}

/// Whether the packet is an error message itself, or a later fragment of something unknown.
fn is_error(packet: &[u8], header: &Header, is_v4: bool) -> bool {
    if is_v4 {
        let offset = packet.get(6..8).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]) & 0x1FFF);
        let start = usize::from(packet.first().copied().unwrap_or_default() & 0x0F) * 4;
        let kind = packet.get(start).copied().unwrap_or_default();
        // Everything but echo requests, to be safe: answers to pings need no errors either.
        return offset != 0 || (header.protocol == 1 && kind != 8);
    }
    header.protocol == 58 && packet.get(IPV6_HEADER).is_none_or(|kind| *kind < 128)
}

fn answer_v4<'m>(packet: &[u8], what: ([u8; 2], u32), room: &'m mut [u8; LENGTH_MAX]) -> Option<&'m [u8]> {
    let quoted = packet.get(..packet.len().min(QUOTED_MAX))?;
    let total = 20 + 8 + quoted.len();
    let message = room.get_mut(..total)?;
    let (network, icmp) = message.split_at_mut_checked(20)?;
    network.fill(0);
    *network.get_mut(0)? = 0x45;
    network.get_mut(2..4)?.copy_from_slice(&u16::try_from(total).ok()?.to_be_bytes());
    network.get_mut(8..10)?.copy_from_slice(&[64, 1]);
    network.get_mut(12..16)?.copy_from_slice(packet.get(16..20)?);
    network.get_mut(16..20)?.copy_from_slice(packet.get(12..16)?);
    set_ipv4_checksum(network)?;
    set_head(icmp, what)?;
    icmp.get_mut(8..)?.copy_from_slice(quoted);
    let mut sum = Sum::default();
    sum.add(icmp);
    icmp.get_mut(2..4)?.copy_from_slice(&sum.finish());
    Some(message)
}

fn answer_v6<'m>(packet: &[u8], what: ([u8; 2], u32), room: &'m mut [u8; LENGTH_MAX]) -> Option<&'m [u8]> {
    let quoted = packet.get(..packet.len().min(QUOTED_MAX))?;
    let length = 8 + quoted.len();
    let message = room.get_mut(..IPV6_HEADER + length)?;
    let (network, icmp) = message.split_at_mut_checked(IPV6_HEADER)?;
    network.fill(0);
    *network.get_mut(0)? = 0x60;
    network.get_mut(4..6)?.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    network.get_mut(6..8)?.copy_from_slice(&[58, 64]);
    network.get_mut(8..24)?.copy_from_slice(packet.get(24..40)?);
    network.get_mut(24..40)?.copy_from_slice(packet.get(8..24)?);
    set_head(icmp, what)?;
    icmp.get_mut(8..)?.copy_from_slice(quoted);
    let mut sum = Sum::pseudo_header(network.get(8..40)?, 58, length);
    sum.add(icmp);
    icmp.get_mut(2..4)?.copy_from_slice(&sum.finish());
    Some(message)
}

/// Type, code, no checksum yet, and what follows it.
fn set_head(icmp: &mut [u8], ([kind, code], rest): ([u8; 2], u32)) -> Option<()> {
    icmp.get_mut(..4)?.copy_from_slice(&[kind, code, 0, 0]);
    icmp.get_mut(4..8)?.copy_from_slice(&rest.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use lanyard_proto::overlay::packet::parse;

    use super::*;

    #[test]
    fn an_ipv4_packet_to_nobody_is_answered_in_the_name_of_nobody() {
        let packet = ping4();
        let mut room = room();
        let header = parse(&packet).unwrap();
        let answer = Unreachable::default()
            .answer(&packet, &header, Why::NoPeer, &mut room, Instant::from_secs(9))
            .unwrap()
            .to_vec();
        let answered = parse(&answer).unwrap();
        assert_eq!((answered.source, answered.destination), (header.destination, header.source));
        assert_eq!(answered.length, answer.len());
        assert_eq!(answer[20..22], [3, 1]);
        assert_eq!(answer[28..], packet);
        for part in [&answer[..20], &answer[20..]] {
            let mut sum = Sum::default();
            sum.add(part);
            assert!(sum.is_valid());
        }
    }

    #[test]
    fn an_ipv6_packet_to_nobody_is_answered_too() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        packet.extend([0xFD; 16]);
        packet.extend([0xFE; 16]);
        packet.extend([1; 8]);
        let header = parse(&packet).unwrap();
        let mut room = room();
        let answer = Unreachable::default()
            .answer(&packet, &header, Why::NoPeer, &mut room, Instant::from_secs(9))
            .unwrap()
            .to_vec();
        assert_eq!(answer[40..42], [1, 3]);
        assert_eq!(answer[48..], packet);
        let mut sum = Sum::pseudo_header(&answer[8..40], 58, answer.len() - 40);
        sum.add(&answer[40..]);
        assert!(sum.is_valid());
    }

    #[test]
    fn too_big_names_the_size_that_fits_and_is_told_beside_a_scan() {
        let mut unreachable = Unreachable::default();
        let now = Instant::from_secs(9);
        let (packet, mut ip6) = (ping4(), vec![0x60, 0, 0, 0, 0, 8, 17, 64]);
        ip6.extend([0xFD; 40]);
        while unreachable.answer(&packet, &parse(&packet).unwrap(), Why::NoPeer, &mut room(), now).is_some() {
        }
        let mut answer = |packet: &[u8]| {
            let header = parse(packet).unwrap();
            unreachable.answer(packet, &header, Why::TooBig(1_280), &mut room(), now).unwrap().to_vec()
        };
        assert_eq!(answer(&packet)[20..28], [&[3, 4][..], &answer(&packet)[22..24], &[0, 0, 5, 0]].concat());
        let ip6 = answer(&ip6);
        assert_eq!((&ip6[40..42], &ip6[44..48]), (&[2, 0][..], &[0, 0, 5, 0][..]));
    }

    #[test]
    fn errors_fragments_and_multicast_are_not_answered() {
        let mut unreachable = Unreachable::default();
        let mut answered = |packet: &[u8]| {
            let mut room = room();
            let now = Instant::from_secs(9);
            unreachable.answer(packet, &parse(packet).unwrap(), Why::NoPeer, &mut room, now).is_some()
        };
        let mut error = ping4();
        error[20] = 3;
        assert!(!answered(&error));
        let mut fragment = ping4();
        fragment[7] = 9;
        assert!(!answered(&fragment));
        let mut multicast = ping4();
        multicast[16] = 224;
        assert!(!answered(&multicast));
        assert!(answered(&ping4()));
    }

    #[test]
    fn a_scan_gets_no_flood_of_answers() {
        let packet = ping4();
        let header = parse(&packet).unwrap();
        let mut unreachable = Unreachable::default();
        let answers = (0..1_000)
            .filter(|millis| {
                let now = Instant::from_secs(9) + Duration::from_millis(*millis);
                unreachable.answer(&packet, &header, Why::NoPeer, &mut room(), now).is_some()
            })
            .count();
        assert_eq!(answers, 29);
    }

    fn ping4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 0, 1, 10, 9, 0, 99];
        packet.extend([8, 0, 0, 0, 0, 1, 0, 1]);
        packet
    }
}
