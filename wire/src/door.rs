//! Doors: datagrams in a TLS stream, where UDP does not get out.
//!
//! A door is a TLS connection, by default to TCP 443, whose HTTP is upgraded to a WebSocket (RFC 6455); each
//! binary message is one datagram, byte for byte what UDP would have carried. Machines know nothing of
//! streams: a program gives each connection an address out of the discard-only prefix, `100::/64`
//! (RFC 6666), which no router forwards and no socket has, and moves datagrams between that address and the
//! connection. Such an address means something inside one process only. It is never a candidate, and what
//! claims to come from it by UDP is forged.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::limits::WEB_PORT;

/// Where the door is asked for in the HTTP request.
pub const PATH: &str = "/door";

/// The WebSocket's subprotocol: one datagram per binary message.
pub const PROTOCOL: &str = "lanyard.1";

/// Longest message in a door: a relay frame around a full-size WireGuard datagram of a 1,500 byte link, and as
/// much again in reserve. A longer one ends the connection.
pub const MESSAGE_MAX: usize = 3_072;

/// The upper half of every door's address: `100::/64` (RFC 6666, section 3).
const PREFIX: u64 = 0x0100_0000_0000_0000;

/// The address of a connection by its number.
///
/// `origin` says who is at the other end, as far as limits per source are concerned: all connections of one
/// origin count as one source.
#[must_use]
pub const fn addr(origin: u32, number: u32) -> SocketAddr {
    let bits = ((PREFIX as u128) << 64) | ((origin as u128) << 32) | number as u128;
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from_bits(bits), WEB_PORT, 0, 0))
}

/// The origin of a device's TCP connections with peers; its coordinators' doors have origin 0.
pub const PEERS: u32 = 1;

/// Whether an address stands for a device's TCP connection with a peer.
#[must_use]
pub const fn is_peers(addr: SocketAddr) -> bool {
    matches!(origin(addr.ip()), Some(PEERS))
}

/// Whether an address stands for a door.
#[must_use]
pub const fn is_door(addr: SocketAddr) -> bool {
    origin(addr.ip()).is_some()
}

/// Whose door it is; `None` for the address of anything else.
#[must_use]
pub const fn origin(ip: IpAddr) -> Option<u32> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => match ip.segments() {
            [0x0100, 0, 0, 0, high, low, _, _] => Some(((high as u32) << 16) | low as u32),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn a_door_is_known_by_its_address_and_so_is_its_origin() {
        for (origin_of, number) in [(0, 0), (0xCB00_7101, 7), (u32::MAX, u32::MAX)] {
            let door = addr(origin_of, number);
            assert!(is_door(door), "{door}");
            assert_eq!(origin(door.ip()), Some(origin_of));
        }
        assert_eq!(addr(0xCB00_7101, 0x0102).to_string(), "[100::cb00:7101:0:102]:443");
        assert_ne!(addr(1, 1), addr(1, 2));
    }

    #[test]
    fn a_connection_with_a_peer_is_a_door_and_a_coordinators_door_is_no_such_connection() {
        assert!(is_peers(addr(PEERS, 9)) && is_door(addr(PEERS, 9)));
        assert!(!is_peers(addr(0, 9)) && !is_peers("192.0.2.1:443".parse().unwrap()));
    }

    #[test]
    fn real_addresses_are_no_doors() {
        for text in [
            "192.0.2.1:443",
            "[2001:db8::1]:443",
            "[::]:443",
            "[::1]:443",
            "[100:0:0:1::1]:443",
            "[1::]:443",
            "[::ffff:1.0.0.0]:443",
            "[fe80::1]:443",
        ] {
            assert!(!is_door(text.parse().unwrap()), "{text}");
        }
    }
}
