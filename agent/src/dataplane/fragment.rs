//! Cuts an IPv4 packet that is too long for its path and may be cut (RFC 791, section 3.2).
//!
//! Programs that set no "don't fragment" leave the cutting to routers, and between the interface and the path we are one. The
//! other end's kernel puts the fragments together, as it would behind any router.

use super::split::{PACKET_MAX, set_ipv4_checksum};

/// Length of the headers that are cut here: those with options are rare, and not all options go into every fragment.
const HEADER: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1FFF;
/// Offsets count in units of so many bytes.
const UNIT: usize = 8;

/// Whether a packet is one that routers may cut.
pub(super) fn is_allowed(packet: &[u8]) -> bool {
    packet.len() > HEADER && packet.first() == Some(&0x45) && flags_of(packet) & DONT_FRAGMENT == 0
}

/// A packet, taken out fragment by fragment.
#[derive(Debug)]
pub(super) struct Fragments<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    taken: usize,
    most: usize,
}

impl<'a> Fragments<'a> {
    /// Fragments of at most `mtu` bytes; `None` if the packet must not be cut or such fragments would carry nothing.
    pub(super) fn new(packet: &'a [u8], mtu: usize) -> Option<Self> {
        let most = mtu.checked_sub(HEADER)? / UNIT * UNIT;
        if most == 0 || !is_allowed(packet) {
            return None;
        }
        let (header, payload) = packet.split_at_checked(HEADER)?;
        Some(Self { header, payload, taken: 0, most })
    }

    /// Writes the next fragment into `scratch` and gives it back; `None` after the last one.
    pub(super) fn next<'s>(&mut self, scratch: &'s mut [u8; PACKET_MAX]) -> Option<&'s [u8]> {
        let rest = self.payload.get(self.taken..).filter(|rest| !rest.is_empty())?;
        let part = rest.get(..rest.len().min(self.most))?;
        let fragment = scratch.get_mut(..HEADER + part.len())?;
        let (header, payload) = fragment.split_at_mut(HEADER);
        header.copy_from_slice(self.header);
        payload.copy_from_slice(part);
        let was = flags_of(self.header);
        // The packet may be a fragment itself.
        let more = if part.len() < rest.len() { MORE_FRAGMENTS } else { was & MORE_FRAGMENTS };
        let offset = (was & OFFSET) + u16::try_from(self.taken / UNIT).ok()?;
        header.get_mut(2..4)?.copy_from_slice(&u16::try_from(HEADER + part.len()).ok()?.to_be_bytes());
        header.get_mut(6..8)?.copy_from_slice(&(offset | more).to_be_bytes());
        set_ipv4_checksum(header)?;
        self.taken += part.len();
        Some(fragment)
    }
}

fn flags_of(packet: &[u8]) -> u16 {
    packet.get(6..8).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataplane::checksum::Sum;

    #[test]
    fn a_packet_of_1400_bytes_becomes_two_that_fit() {
        let packet = packet(1_380, 0);
        let fragments = cut(&packet, 1_280);
        assert_eq!(fragments.iter().map(Vec::len).collect::<Vec<_>>(), [1_276, 144]);
        assert_eq!(flags_of(&fragments[0]), MORE_FRAGMENTS);
        assert_eq!(flags_of(&fragments[1]), 157, "1,256 bytes in units of eight");
    }

    #[test]
    fn what_must_stay_whole_is_not_cut() {
        assert!(Fragments::new(&packet(1_380, DONT_FRAGMENT), 1_280).is_none());
        let mut options = packet(1_380, 0);
        options[0] = 0x46;
        assert!(Fragments::new(&options, 1_280).is_none());
        let mut ip6 = packet(1_380, 0);
        ip6[0] = 0x60;
        assert!(Fragments::new(&ip6, 1_280).is_none());
        assert!(Fragments::new(&packet(100, 0), 27).is_none(), "no room for eight bytes");
        assert!(Fragments::new(&[], 1_280).is_none());
    }

    proptest! {
        #[test]
        fn fragments_put_together_are_the_packet(
            length in 1_usize..1_480, mtu in 28_usize..1_500, offset in 0_u16..1_000, is_last: bool
        ) {
            let was = offset | if is_last { 0 } else { MORE_FRAGMENTS };
            let packet = packet(length, was);
            let fragments = cut(&packet, mtu);
            let mut payload = Vec::new();
            for (at, fragment) in fragments.iter().enumerate() {
                let mut sum = Sum::default();
                sum.add(&fragment[..HEADER]);
                prop_assert!(fragment.len() <= mtu && sum.is_valid());
                prop_assert_eq!(usize::from(flags_of(fragment) & OFFSET) * UNIT, usize::from(offset) * UNIT + payload.len());
                let has_more = flags_of(fragment) & MORE_FRAGMENTS != 0;
                prop_assert_eq!(has_more, at + 1 < fragments.len() || !is_last);
                payload.extend_from_slice(&fragment[HEADER..]);
            }
            prop_assert_eq!(&payload, &packet[HEADER..]);
        }
    }

    fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let mut fragments = Fragments::new(packet, mtu).unwrap();
        let mut scratch = [0; PACKET_MAX];
        std::iter::from_fn(|| fragments.next(&mut scratch).map(<[u8]>::to_vec)).collect()
    }

    fn packet(length: usize, flags: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 7, 7, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        packet.extend((0..length).map(|at| u8::try_from(at % 251).unwrap()));
        packet
    }
}
