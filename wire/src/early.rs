//! EARLY: a packet that does not wait for WireGuard's handshake.
//!
//! Sealed by itself to a key that the receiver draws each day and keeps in memory only (its *prekey*, which members
//! learn with its presence), so that the first packet of a pair takes half a round trip and not one and a half. It
//! travels in a relay frame of the pair's channel, which says who sent it. Noise one-way pattern `Kpsk0`: the sender is
//! authenticated, and the coordinator, which passes on prekeys, cannot put one of its own in between.

use alloc::vec::Vec;

use crate::codec::{Malformed, Reader, Writer};
use crate::envelope::{EARLY, VERSION};
use crate::keys::PublicKey;
use crate::limits::{EARLY_OVERHEAD, EARLY_PACKET_MAX, TAG};

/// Bytes in front of the Noise message.
const HEAD: usize = 8;

/// Bytes of the Noise message that are not the packet: ephemeral key, the packet's number, tag.
const NOISE_OVERHEAD: usize = 32 + 8 + TAG;

/// The first bytes of a prekey: which of the receiver's last two this is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrekeyTag([u8; 4]);

impl PrekeyTag {
    /// The tag of a prekey.
    #[must_use]
    pub fn of(prekey: &PublicKey) -> Self {
        Self(prekey.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

/// An EARLY whose Noise message is still sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early<'a> {
    /// The prekey that opens it.
    pub tag: PrekeyTag,
    /// The Noise message: ephemeral key, then the sealed number and packet.
    pub noise: &'a [u8],
}

impl<'a> Early<'a> {
    /// The datagram, to be put into a relay frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(HEAD.saturating_add(self.noise.len()));
        writer.u8(EARLY);
        writer.u8(VERSION);
        writer.zeros(2);
        writer.array(&self.tag.0);
        writer.bytes(self.noise);
        writer.into_bytes()
    }

    /// Reads a whole datagram; who made it shows when the Noise message opens.
    ///
    /// # Errors
    ///
    /// When it is no EARLY with a packet of 1 to [`EARLY_PACKET_MAX`] bytes.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let longest = EARLY_OVERHEAD.saturating_add(EARLY_PACKET_MAX);
        if datagram.len() <= EARLY_OVERHEAD || datagram.len() > longest {
            return Err(Malformed { what: "length of EARLY", at: datagram.len().min(longest) });
        }
        let mut reader = Reader::new(datagram);
        if reader.u8()? != EARLY {
            return Err(reader.malformed("datagram kind"));
        }
        if reader.u8()? != VERSION {
            return Err(reader.malformed("EARLY version"));
        }
        reader.zeros(2)?;
        let tag = PrekeyTag(reader.array()?);
        Ok(Self { tag, noise: reader.bytes(reader.remaining())? })
    }
}

const _: () = assert!(HEAD + NOISE_OVERHEAD == EARLY_OVERHEAD, "layout of EARLY");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{DATAGRAM_MAX, RELAY_HEADER};

    #[test]
    fn the_longest_one_fits_a_datagram_with_its_relay_header() {
        assert_eq!(RELAY_HEADER + EARLY_OVERHEAD + EARLY_PACKET_MAX, DATAGRAM_MAX);
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let noise = [7; NOISE_OVERHEAD + 1];
        let early = Early { tag: PrekeyTag([1, 2, 3, 4]), noise: &noise };
        assert_eq!(Early::parse(&early.encode()), Ok(early));
    }

    #[test]
    fn one_without_a_packet_or_with_too_long_a_one_is_refused() {
        let tag = PrekeyTag([0; 4]);
        for length in [0, NOISE_OVERHEAD, NOISE_OVERHEAD + EARLY_PACKET_MAX + 1] {
            let noise = alloc::vec![0; length];
            assert!(Early::parse(&Early { tag, noise: &noise }.encode()).is_err(), "{length}");
        }
        let mut datagram = Early { tag, noise: &[0; 100] }.encode();
        datagram[1] = 2;
        assert!(Early::parse(&datagram).is_err(), "another version");
    }
}
