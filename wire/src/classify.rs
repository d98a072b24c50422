//! What a datagram on a lanyard socket is: one socket carries WireGuard, STUN and our own messages.
//!
//! One socket means one mapping in the NAT, so the keep-alive of the control session keeps the tunnel's mapping
//! open too. The kinds cannot be confused: WireGuard begins with 1 to 4 and three zero bytes, STUN with two zero
//! bits and has its cookie at byte 4 (RFC 8489, section 5), ours begin with 0xC0 to 0xCB, which QUIC and DTLS do
//! not use on this socket.

use crate::limits::RELAY_HEADER;

/// STUN's magic cookie, bytes 4 to 8 of every STUN message (RFC 8489, section 5).
pub const STUN_COOKIE: u32 = 0x2112_A442;

/// Shortest WireGuard datagram: a keep-alive of 16 header and 16 tag bytes.
const WIREGUARD_MIN: usize = 32;

/// Length of a STUN header.
const STUN_HEADER: usize = 20;

/// Which parser a datagram goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// To the tunnels.
    WireGuard,
    /// To netcheck or the STUN service.
    Stun,
    /// A relay frame around a WireGuard datagram, a probe or an early packet.
    Relay,
    /// One of our own messages, HELLO to EARLY.
    Lanyard,
    /// Anything else: counted, never answered.
    Noise,
}

/// Sorts a datagram by its first bytes; looks at nothing behind them.
#[must_use]
pub fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [1..=4, 0, 0, 0, ..] if datagram.len() >= WIREGUARD_MIN => Class::WireGuard,
        [0x00..=0x3F, _, _, _, 0x21, 0x12, 0xA4, 0x42, ..] if datagram.len() >= STUN_HEADER => Class::Stun,
        [0xC0, ..] if datagram.len() >= RELAY_HEADER => Class::Relay,
        [0xC1..=0xCB, ..] => Class::Lanyard,
        _ => Class::Noise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wireguard_is_a_type_and_three_zero_bytes() {
        for kind in 1..=4 {
            let mut datagram = [0; 32];
            datagram[0] = kind;
            assert_eq!(classify(&datagram), Class::WireGuard);
            assert_eq!(classify(&datagram[..31]), Class::Noise, "shorter than a keep-alive");
            datagram[3] = 1;
            assert_eq!(classify(&datagram), Class::Noise);
        }
    }

    #[test]
    fn a_wireguard_index_equal_to_the_stun_cookie_is_still_wireguard() {
        let mut datagram = [0; 32];
        datagram[0] = 4;
        datagram[4..8].copy_from_slice(&STUN_COOKIE.to_be_bytes());
        assert_eq!(classify(&datagram), Class::WireGuard);
    }

    #[test]
    fn stun_is_known_by_its_cookie() {
        let mut datagram = [0; 20];
        datagram[..8].copy_from_slice(&[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42]);
        assert_eq!(classify(&datagram), Class::Stun);
        assert_eq!(classify(&datagram[..19]), Class::Noise);
        datagram[0] = 0x40;
        assert_eq!(classify(&datagram), Class::Noise);
    }

    #[test]
    fn every_kind_of_ours_is_ours_and_its_neighbours_are_not() {
        for first in 0..=u8::MAX {
            let expected = match first {
                0xC0 => Class::Relay,
                0xC1..=0xCB => Class::Lanyard,
                _ => Class::Noise,
            };
            assert_eq!(classify(&[first; 8]), expected);
        }
        assert_eq!(classify(&[0xC0; 7]), Class::Noise);
        assert_eq!(classify(&[]), Class::Noise);
    }
}
