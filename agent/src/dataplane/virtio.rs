//! The header that stands before every packet of a TUN with offload: `struct virtio_net_hdr`.
//!
//! It lets the kernel hand over up to 64 KB of one flow as a single packet to be cut up, and take the same.
//! Numbers are in the host's byte order (VIRTIO 1.2, section 5.1.6; Linux `include/uapi/linux/virtio_net.h`).

/// Bytes of the header; the kernel's version 1 without the mergeable-buffer count.
pub(super) const HEADER_LEN: usize = 10;

/// The checksum at `csum_start + csum_offset` holds the pseudo-header's sum only.
const NEEDS_CSUM: u8 = 0x01;
/// Marks a TCP train whose first packet carries CWR.
const GSO_ECN: u8 = 0x80;

/// What a packet is a train of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Train {
    /// Nothing: one packet.
    None,
    /// TCP segments over IPv4.
    Tcp4,
    /// TCP segments over IPv6.
    Tcp6,
    /// UDP datagrams over either.
    Udp,
}

/// The header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VirtioHeader {
    /// The transport checksum is to be completed.
    pub(super) needs_checksum: bool,
    /// What the packet is a train of.
    pub(super) train: Train,
    /// Length of the IP and transport headers; only a hint when it comes from the kernel.
    pub(super) header_len: u16,
    /// Payload bytes of each piece of a train.
    pub(super) piece_len: u16,
    /// Where the transport header starts.
    pub(super) checksum_start: u16,
    /// Where the checksum field is, from there.
    pub(super) checksum_offset: u16,
}

impl VirtioHeader {
    /// One whole packet that needs nothing done.
    pub(super) const PLAIN: Self = Self {
        needs_checksum: false,
        train: Train::None,
        header_len: 0,
        piece_len: 0,
        checksum_start: 0,
        checksum_offset: 0,
    };

    /// Reads the header; `None` if it announces a kind of train that was never asked for.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let [flags, kind, h0, h1, p0, p1, s0, s1, o0, o1] = *bytes;
        let train = match kind & !GSO_ECN {
            0 => Train::None,
            1 => Train::Tcp4,
            4 => Train::Tcp6,
            5 => Train::Udp,
            _ => return None,
        };
        Some(Self {
            needs_checksum: flags & NEEDS_CSUM != 0,
            train,
            header_len: u16::from_ne_bytes([h0, h1]),
            piece_len: u16::from_ne_bytes([p0, p1]),
            checksum_start: u16::from_ne_bytes([s0, s1]),
            checksum_offset: u16::from_ne_bytes([o0, o1]),
        })
    }

    /// Writes the header.
    pub(super) fn encode(self) -> [u8; HEADER_LEN] {
        let kind = match self.train {
            Train::None => 0,
            Train::Tcp4 => 1,
            Train::Tcp6 => 4,
            Train::Udp => 5,
        };
        let [h0, h1] = self.header_len.to_ne_bytes();
        let [p0, p1] = self.piece_len.to_ne_bytes();
        let [s0, s1] = self.checksum_start.to_ne_bytes();
        let [o0, o1] = self.checksum_offset.to_ne_bytes();
        [if self.needs_checksum { NEEDS_CSUM } else { 0 }, kind, h0, h1, p0, p1, s0, s1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_round_trip() {
        let header = VirtioHeader {
            needs_checksum: true,
            train: Train::Tcp6,
            header_len: 72,
            piece_len: 1_208,
            checksum_start: 40,
            checksum_offset: 16,
        };
        assert_eq!(VirtioHeader::decode(&header.encode()), Some(header));
        assert_eq!(VirtioHeader::decode(&[0; HEADER_LEN]), Some(VirtioHeader::PLAIN));
    }

    #[test]
    fn the_congestion_mark_does_not_hide_the_kind_of_train() {
        let mut bytes = VirtioHeader { train: Train::Tcp4, ..VirtioHeader::PLAIN }.encode();
        bytes[1] |= GSO_ECN;
        assert_eq!(VirtioHeader::decode(&bytes).unwrap().train, Train::Tcp4);
    }

    #[test]
    fn an_unknown_kind_of_train_is_refused() {
        assert_eq!(VirtioHeader::decode(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
