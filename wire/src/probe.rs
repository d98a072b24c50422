//! PING and PONG between two devices: is this path open, for datagrams of this size?
//!
//! Authenticated with a key only the two devices can compute, so neither a stranger nor the coordinator can make
//! a path look alive. Each direction has a key of its own: a probe turned back by someone in between is not taken
//! for the peer's.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::codec::{
    Malformed, PADDED_ADDR, Reader, Writer, decode_padded_addr, encode_padded_addr, unscoped,
};
use crate::envelope::{PING, PONG, VERSION};
use crate::ids::AttemptId;
use crate::keys::{PublicKey, SecretKey, SymmetricKey, ct_eq, mac16};
use crate::limits::{PROBE_LEN, PROBE_MAX};

/// Bytes before the MAC.
const HEAD: usize = 48;

/// Bytes between the observed address and the MAC.
const RESERVED: usize = 9;

/// Flag: the sender is about to use this path.
const NOMINATE: u8 = 0x01;

/// Which of the two a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// The question.
    Ping,
    /// The answer.
    Pong,
}

/// The keys of one pair of devices for one attempt, as one of them sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairKey {
    outbound: SymmetricKey,
    inbound: SymmetricKey,
}

impl PairKey {
    /// Derives the keys: from the two identities' shared secret, the attempt, and who sends.
    ///
    /// `None` when the peer's key is of low order.
    #[must_use]
    pub fn new(me: &SecretKey, peer: &PublicKey, attempt: AttemptId) -> Option<Self> {
        let shared = me.agree(peer)?;
        let attempt = attempt.value().to_be_bytes();
        let from = |sender: &PublicKey| shared.derive(b"lanyard probe", &[&attempt, sender.as_bytes()]);
        Some(Self { outbound: from(&me.public()), inbound: from(peer) })
    }

    /// What this end seals with.
    pub(crate) const fn outbound(&self) -> &[u8; 32] {
        self.outbound.as_bytes()
    }

    /// What the other end seals with.
    pub(crate) const fn inbound(&self) -> &[u8; 32] {
        self.inbound.as_bytes()
    }
}

/// A PING or PONG without MAC and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Question or answer.
    pub kind: ProbeKind,
    /// Whether the sender is about to use this path.
    pub nominate: bool,
    /// The attempt both ends know; finds the pair key.
    pub attempt: AttemptId,
    /// Drawn at random for each PING; the PONG returns it.
    pub txid: u64,
    /// In PONG, where the PING came from; `None` in PING.
    pub observed: Option<SocketAddr>,
}

impl Probe {
    /// A question.
    #[must_use]
    pub const fn ping(attempt: AttemptId, txid: u64, nominate: bool) -> Self {
        Self { kind: ProbeKind::Ping, nominate, attempt, txid, observed: None }
    }

    /// The answer to this question, which came from `remote`.
    #[must_use]
    pub fn pong(&self, remote: SocketAddr) -> Self {
        Self { kind: ProbeKind::Pong, observed: Some(unscoped(remote)), ..*self }
    }

    /// The datagram with its MAC, padded with zeros to `size` bytes (64 to 1,500).
    ///
    /// A PONG has the size of its PING.
    #[must_use]
    pub fn seal(&self, key: &PairKey, size: usize) -> Vec<u8> {
        let size = size.clamp(PROBE_LEN, PROBE_MAX);
        let mut writer = Writer::with_capacity(size);
        writer.u8(match self.kind {
            ProbeKind::Ping => PING,
            ProbeKind::Pong => PONG,
        });
        writer.u8(VERSION);
        writer.u8(if self.nominate { NOMINATE } else { 0 });
        writer.u8(0);
        writer.u64(self.attempt.value());
        writer.u64(self.txid);
        encode_padded_addr(self.observed, &mut writer);
        writer.zeros(RESERVED);
        let padding = alloc::vec![0; size.saturating_sub(PROBE_LEN)];
        let mac = mac16(key.outbound.as_bytes(), &[writer.as_bytes(), &padding]);
        writer.array(&mac);
        writer.bytes(&padding);
        writer.into_bytes()
    }

    /// Reads a whole datagram; the MAC is not checked, so nothing may follow from it but finding the pair key.
    ///
    /// # Errors
    ///
    /// When it is neither PING nor PONG of 64 to 1,500 bytes, or the padding is not zero.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        if datagram.len() > PROBE_MAX {
            return Err(Malformed { what: "length of probe", at: PROBE_MAX });
        }
        let mut reader = Reader::new(datagram);
        let kind = match reader.u8()? {
            PING => ProbeKind::Ping,
            PONG => ProbeKind::Pong,
            _ => return Err(reader.malformed("datagram kind")),
        };
        if reader.u8()? != VERSION {
            return Err(reader.malformed("probe version"));
        }
        let nominate = match reader.u8()? {
            0 => false,
            NOMINATE => true,
            _ => return Err(reader.malformed("flags")),
        };
        reader.zeros(1)?;
        let attempt = AttemptId::new(reader.u64()?);
        let txid = reader.u64()?;
        let at = reader.at();
        let observed = decode_padded_addr(&mut reader)?;
        if observed.is_some() != (kind == ProbeKind::Pong) {
            return Err(Malformed { what: "observed address", at });
        }
        reader.zeros(RESERVED)?;
        reader.bytes(16)?;
        reader.zeros(reader.remaining())?;
        Ok(Self { kind, nominate, attempt, txid, observed })
    }

    /// Reads a whole datagram and checks that the peer made it; `None` when not.
    #[must_use]
    pub fn open(datagram: &[u8], key: &PairKey) -> Option<Self> {
        let probe = Self::parse(datagram).ok()?;
        let (head, rest) = datagram.split_at_checked(HEAD)?;
        let (mac, padding) = rest.split_at_checked(16)?;
        ct_eq(&mac16(key.inbound.as_bytes(), &[head, padding]), mac).then_some(probe)
    }
}

const _: () = assert!(20 + PADDED_ADDR + RESERVED == HEAD && HEAD + 16 == PROBE_LEN, "layout of the probe");

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: AttemptId = AttemptId::new(0x1122_3344_5566_7788);

    fn pair() -> (PairKey, PairKey) {
        let (a, b) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
        let key = |me: &SecretKey, peer: &SecretKey| PairKey::new(me, &peer.public(), ATTEMPT).unwrap();
        (key(&a, &b), key(&b, &a))
    }

    #[test]
    fn a_ping_is_answered_with_the_address_it_came_from() {
        let (a, b) = pair();
        let ping = Probe::ping(ATTEMPT, 9, true);
        let datagram = ping.seal(&a, 1_400);
        assert_eq!(datagram.len(), 1_400);
        let heard = Probe::open(&datagram, &b).unwrap();
        assert_eq!(heard, ping);
        let pong = heard.pong("192.0.2.1:7443".parse().unwrap());
        let answer = pong.seal(&b, datagram.len());
        assert_eq!(answer.len(), datagram.len());
        assert_eq!(Probe::open(&answer, &a), Some(pong));
        assert_eq!(pong.txid, ping.txid);
    }

    #[test]
    fn a_probe_turned_back_is_not_the_peers() {
        let (a, b) = pair();
        let datagram = Probe::ping(ATTEMPT, 9, false).seal(&a, 64);
        assert!(Probe::open(&datagram, &b).is_some());
        assert_eq!(Probe::open(&datagram, &a), None);
    }

    #[test]
    fn a_probe_with_one_changed_bit_is_refused() {
        let (a, b) = pair();
        let ping = Probe::ping(ATTEMPT, 9, false);
        let datagram = ping.pong("[2001:db8::1]:1".parse().unwrap()).seal(&a, 80);
        for byte in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[byte] ^= 1;
            assert_eq!(Probe::open(&changed, &b), None, "byte {byte}");
        }
        assert_eq!(Probe::open(&datagram[..79], &b), None, "padding is authenticated");
    }

    #[test]
    fn another_attempt_or_a_third_device_has_other_keys() {
        let (a, _) = pair();
        let me = SecretKey::from_bytes([2; 32]);
        let datagram = Probe::ping(ATTEMPT, 9, false).seal(&a, 64);
        let peer = SecretKey::from_bytes([1; 32]).public();
        let stale = PairKey::new(&me, &peer, AttemptId::new(1)).unwrap();
        assert_eq!(Probe::open(&datagram, &stale), None);
        let third = PairKey::new(&SecretKey::from_bytes([3; 32]), &peer, ATTEMPT).unwrap();
        assert_eq!(Probe::open(&datagram, &third), None);
    }

    #[test]
    fn sizes_outside_the_limits_are_brought_inside() {
        let (a, _) = pair();
        assert_eq!(Probe::ping(ATTEMPT, 9, false).seal(&a, 0).len(), PROBE_LEN);
        assert_eq!(Probe::ping(ATTEMPT, 9, false).seal(&a, 9_000).len(), PROBE_MAX);
        assert!(Probe::parse(&[0xC7; PROBE_MAX + 1]).is_err());
    }
}
