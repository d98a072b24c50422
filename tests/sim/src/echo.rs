//! The packets that flows send: an IPv4 packet that asks, and the one that answers it.

use std::net::{IpAddr, Ipv4Addr};

/// Protocol number for experiments (RFC 3692).
const PROTOCOL: u8 = 253;

/// Bytes of header before the flow's own.
const HEADER: usize = 20;

/// Shortest packet: header, flow, kind, sequence number.
const SHORTEST: usize = HEADER + 8;

/// One packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Inner source.
    pub source: Ipv4Addr,
    /// Inner destination.
    pub target: Ipv4Addr,
    /// Which flow.
    pub flow: u16,
    /// An answer, or a question.
    pub is_answer: bool,
    /// Which packet of the flow.
    pub sequence: u32,
    /// Bytes of the whole packet.
    pub size: usize,
}

impl Echo {
    /// The packet as bytes; its length is at least the shortest possible.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let size = self.size.max(SHORTEST);
        let mut bytes = vec![0x45, 0];
        bytes.extend(u16::try_from(size).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, PROTOCOL, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.target.octets());
        bytes.extend(self.flow.to_be_bytes());
        bytes.extend([u8::from(self.is_answer), 0]);
        bytes.extend(self.sequence.to_be_bytes());
        bytes.resize(size, 0xA5);
        bytes
    }

    /// Reads a packet that [`Echo::encode`] wrote.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; SHORTEST] = bytes.first_chunk()?;
        if header[0] != 0x45 || header[9] != PROTOCOL {
            return None;
        }
        Some(Self {
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
            target: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
            flow: u16::from_be_bytes([header[20], header[21]]),
            is_answer: header[22] == 1,
            sequence: u32::from_be_bytes([header[24], header[25], header[26], header[27]]),
            size: bytes.len(),
        })
    }

    /// The answer to this question.
    #[must_use]
    pub const fn answer(self) -> Self {
        Self { source: self.target, target: self.source, is_answer: true, ..self }
    }

    /// A question between two overlay addresses, both of IPv4.
    #[must_use]
    pub const fn question(
        source: IpAddr,
        target: IpAddr,
        flow: u16,
        sequence: u32,
        size: usize,
    ) -> Option<Self> {
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                Some(Self { source, target, flow, is_answer: false, sequence, size })
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_and_its_answer_goes_the_other_way() {
        let (a, b) = ("10.77.0.2".parse().unwrap(), "10.77.0.3".parse().unwrap());
        let question = Echo::question(a, b, 3, 70_000, 84).unwrap();
        let bytes = question.encode();
        assert_eq!(bytes.len(), 84);
        assert_eq!(Echo::parse(&bytes), Some(question));
        let header = lanyard_proto::overlay::packet::parse(&bytes).unwrap();
        assert_eq!((header.source, header.destination, header.length), (a, b, 84));
        let answer = question.answer();
        assert_eq!(IpAddr::V4(answer.source), b);
        assert!(answer.is_answer);
    }
}
