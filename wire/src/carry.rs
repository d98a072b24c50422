//! CARRY: a member of a network that passes on frames between two others which cannot reach each other (a peer relay).
//!
//! Between either end of the pair and the carrier, by the direct path that the two have. Authenticated like a probe, with the
//! key of these two devices and an attempt of theirs; the frames themselves are RELAY's, under the pair's own channel.

use alloc::vec::Vec;

use crate::codec::messages::wire_variants;
use crate::codec::{Malformed, Reader, Wire as _, Writer};
use crate::envelope::{CARRY, VERSION};
use crate::ids::{AttemptId, Channel, DeviceId};
use crate::keys::{ct_eq, mac16};
use crate::limits::CARRY_LEN;
use crate::probe::PairKey;

/// Bytes before the MAC.
const HEAD: usize = 48;

/// Bytes between the channel and the MAC.
const RESERVED: usize = 7;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CarryWord {
    /// To the carrier: I want frames of this channel passed on between me and the peer. Repeated while that is so.
    Ask,
    /// To the other end: the peer asked me for this channel; ask me as well, or be silent.
    Call,
    /// Answer to Ask: both ends have asked and I reach both, so frames are passed on.
    Open,
    /// Answer to Ask: not yet; ask again.
    Wait,
    /// Answer to Ask: no.
    Refused,
}

wire_variants!(CarryWord "word of CARRY" {
    0x01 => Ask,
    0x02 => Call,
    0x03 => Open,
    0x04 => Wait,
    0x05 => Refused,
});

/// A CARRY without its MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Carry {
    /// What is said.
    pub word: CarryWord,
    /// An attempt that sender and receiver know; finds their key.
    pub attempt: AttemptId,
    /// Drawn at random for each Ask and Call; an answer returns that of its Ask.
    pub number: u64,
    /// The other end of the channel, as the one between carrier and device sees it who is no carrier.
    pub peer: DeviceId,
    /// The pair's channel.
    pub channel: Channel,
}

impl Carry {
    /// The answer to this Ask.
    #[must_use]
    pub const fn answer(&self, word: CarryWord) -> Self {
        Self { word, ..*self }
    }

    /// The datagram with its MAC, 64 bytes.
    #[must_use]
    pub fn seal(&self, key: &PairKey) -> Vec<u8> {
        let mut writer = Writer::with_capacity(CARRY_LEN);
        writer.u8(CARRY);
        writer.u8(VERSION);
        self.word.encode(&mut writer);
        writer.u8(0);
        writer.u64(self.attempt.value());
        writer.u64(self.number);
        self.peer.encode(&mut writer);
        self.channel.encode(&mut writer);
        writer.zeros(RESERVED);
        let mac = mac16(key.outbound(), &[writer.as_bytes()]);
        writer.array(&mac);
        writer.into_bytes()
    }

    /// Reads a whole datagram; the MAC is not checked, so nothing may follow from it but finding the pair key.
    ///
    /// # Errors
    ///
    /// When it is no CARRY of 64 bytes.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        if datagram.len() != CARRY_LEN {
            return Err(Malformed { what: "length of CARRY", at: datagram.len().min(CARRY_LEN) });
        }
        let mut reader = Reader::new(datagram);
        if reader.u8()? != CARRY {
            return Err(reader.malformed("datagram kind"));
        }
        if reader.u8()? != VERSION {
            return Err(reader.malformed("CARRY version"));
        }
        let word = CarryWord::decode(&mut reader)?;
        reader.zeros(1)?;
        let attempt = AttemptId::new(reader.u64()?);
        let number = reader.u64()?;
        let peer = DeviceId::decode(&mut reader)?;
        let channel = Channel::decode(&mut reader)?;
        reader.zeros(RESERVED)?;
        Ok(Self { word, attempt, number, peer, channel })
    }

    /// Reads a whole datagram and checks that the other device made it; `None` when not.
    #[must_use]
    pub fn open(datagram: &[u8], key: &PairKey) -> Option<Self> {
        let carry = Self::parse(datagram).ok()?;
        let (head, mac) = datagram.split_at_checked(HEAD)?;
        ct_eq(&mac16(key.inbound(), &[head]), mac).then_some(carry)
    }
}

const _: () = assert!(4 + 8 + 8 + 16 + 5 + RESERVED == HEAD && HEAD + 16 == CARRY_LEN, "layout of CARRY");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    const ATTEMPT: AttemptId = AttemptId::new(0x1122_3344_5566_7788);

    fn pair() -> (PairKey, PairKey) {
        let (a, b) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
        let key = |me: &SecretKey, peer: &SecretKey| PairKey::new(me, &peer.public(), ATTEMPT).unwrap();
        (key(&a, &b), key(&b, &a))
    }

    fn ask() -> Carry {
        Carry {
            word: CarryWord::Ask,
            attempt: ATTEMPT,
            number: 9,
            peer: DeviceId::from_bytes([3; 16]),
            channel: Channel::MAX,
        }
    }

    #[test]
    fn a_question_is_answered_under_its_number() {
        let (a, b) = pair();
        let heard = Carry::open(&ask().seal(&a), &b).unwrap();
        assert_eq!(heard, ask());
        let answer = Carry::open(&heard.answer(CarryWord::Open).seal(&b), &a).unwrap();
        assert_eq!((answer.word, answer.number, answer.channel), (CarryWord::Open, 9, Channel::MAX));
    }

    #[test]
    fn one_that_was_turned_back_or_changed_is_refused() {
        let (a, b) = pair();
        let datagram = ask().seal(&a);
        assert_eq!(Carry::open(&datagram, &a), None);
        for byte in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[byte] ^= 1;
            assert_eq!(Carry::open(&changed, &b), None, "byte {byte}");
        }
        assert_eq!(Carry::open(&datagram[..63], &b), None);
    }
}
