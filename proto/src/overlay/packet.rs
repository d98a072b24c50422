//! The header of an IP packet as far as forwarding needs it.
//!
//! Total functions: any bytes give a [`Header`] or say what is odd about them. Options, extension headers
//! and payload are nobody's business here; the lengths are checked so that a caller may cut the packet at
//! [`Header::length`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Bytes of an IPv4 header without options (RFC 791).
const IPV4_HEADER: usize = 20;

/// Bytes of an IPv6 header (RFC 8200).
const IPV6_HEADER: usize = 40;

/// What forwarding reads from an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Inner source address.
    pub source: IpAddr,
    /// Inner destination address.
    pub destination: IpAddr,
    /// IPv4 protocol, or the first next-header value of IPv6.
    pub protocol: u8,
    /// Bytes of the whole packet by its own header; what follows them is padding.
    pub length: usize,
}

/// Why bytes are not an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Odd {
    /// No bytes at all.
    #[error("the packet is empty")]
    Empty,
    /// Neither version 4 nor version 6.
    #[error("the IP version is neither 4 nor 6")]
    Version,
    /// Shorter than its header, or than the length its header states.
    #[error("the packet is shorter than it says")]
    Truncated,
    /// A stated length that cannot hold the header itself.
    #[error("the stated lengths contradict each other")]
    Length,
}

/// Reads the header of an IPv4 or IPv6 packet.
///
/// # Errors
///
/// [`Odd`] says what makes it no IP packet.
pub fn parse(packet: &[u8]) -> Result<Header, Odd> {
    let first = packet.first().ok_or(Odd::Empty)?;
    match first >> 4 {
        4 => parse_ipv4(packet),
        6 => parse_ipv6(packet),
        _ => Err(Odd::Version),
    }
}

fn parse_ipv4(packet: &[u8]) -> Result<Header, Odd> {
    let header: &[u8; IPV4_HEADER] = packet.first_chunk().ok_or(Odd::Truncated)?;
    let header_length = usize::from(header[0] & 0x0F) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_length < IPV4_HEADER || length < header_length {
        return Err(Odd::Length);
    }
    if packet.len() < length {
        return Err(Odd::Truncated);
    }
    Ok(Header {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
        protocol: header[9],
        length,
    })
}

fn parse_ipv6(packet: &[u8]) -> Result<Header, Odd> {
    let header: &[u8; IPV6_HEADER] = packet.first_chunk().ok_or(Odd::Truncated)?;
    let length = IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if packet.len() < length {
        return Err(Odd::Truncated);
    }
    let mut source = [0; 16];
    let mut destination = [0; 16];
    source.copy_from_slice(&header[8..24]);
    destination.copy_from_slice(&header[24..40]);
    Ok(Header {
        source: Ipv6Addr::from(source).into(),
        destination: Ipv6Addr::from(destination).into(),
        protocol: header[6],
        length,
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn an_ipv4_packet_shows_its_addresses_and_length() {
        let mut packet = ipv4(28);
        packet.extend_from_slice(&[0; 4]); // WireGuard pads to sixteen bytes
        let header = parse(&packet).unwrap();
        assert_eq!(header.source, "10.1.2.3".parse::<IpAddr>().unwrap());
        assert_eq!(header.destination, "10.1.2.9".parse::<IpAddr>().unwrap());
        assert_eq!(header.protocol, 17);
        assert_eq!(header.length, 28);
    }

    #[test]
    fn an_ipv6_packet_shows_its_addresses_and_length() {
        let mut packet = vec![0; 48];
        packet[0] = 0x60;
        packet[5] = 8;
        packet[6] = 58;
        packet[8..24].copy_from_slice(&"fd00::1".parse::<Ipv6Addr>().unwrap().octets());
        packet[24..40].copy_from_slice(&"fd00::2".parse::<Ipv6Addr>().unwrap().octets());
        let header = parse(&packet).unwrap();
        assert_eq!(header.source, "fd00::1".parse::<IpAddr>().unwrap());
        assert_eq!(header.destination, "fd00::2".parse::<IpAddr>().unwrap());
        assert_eq!((header.protocol, header.length), (58, 48));
    }

    #[test]
    fn every_oddity_has_its_name() {
        assert_eq!(parse(&[]), Err(Odd::Empty));
        assert_eq!(parse(&[0x50; 40]), Err(Odd::Version));
        assert_eq!(parse(&ipv4(28)[..27]), Err(Odd::Truncated));
        assert_eq!(parse(&[0x45; 19]), Err(Odd::Truncated));
        assert_eq!(parse(&[0x60; 39]), Err(Odd::Truncated));
        let mut short_header = ipv4(28);
        short_header[0] = 0x44;
        assert_eq!(parse(&short_header), Err(Odd::Length));
        let mut short_total = ipv4(28);
        short_total[3] = 19;
        assert_eq!(parse(&short_total), Err(Odd::Length));
    }

    fn ipv4(length: u8) -> Vec<u8> {
        let mut packet = vec![0; usize::from(length)];
        packet[0] = 0x45;
        packet[3] = length;
        packet[9] = 17;
        packet[12..16].copy_from_slice(&[10, 1, 2, 3]);
        packet[16..20].copy_from_slice(&[10, 1, 2, 9]);
        packet
    }
}
