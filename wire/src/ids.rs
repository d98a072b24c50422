//! Numbers and byte strings that name things, each a type of its own.
//!
//! Devices and networks print as 26 characters of Crockford's base 32, a device's public number as nine digits in
//! three groups, everything else in hexadecimal or as a plain number.

use core::fmt;
use core::str::FromStr;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::crockford;
use crate::keys::{PublicKey, hash};

/// Characters of a 128-bit id in base 32.
const ID_CHARS: u32 = 26;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not 26 characters of Crockford's base 32.
    #[error("an id has 26 characters, digits and letters without i, l, o and u")]
    Id,
    /// Not nine digits.
    #[error("a device number has nine digits, as in 291-044-871")]
    Number,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes as sent.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads the text form, in either case.
            ///
            /// # Errors
            ///
            /// When the text is not 26 characters of base 32.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                crockford::decode(text, 26).map(|value| Self(value.to_be_bytes())).ok_or(InvalidId::Id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&crockford::encode(u128::from_be_bytes(self.0), ID_CHARS))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl Wire for $name {
            fn encode(&self, writer: &mut Writer) {
                writer.array(&self.0);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.array().map(Self)
            }
        }
    };
}

byte_id! {
    /// A device, derived from its identity key: who holds the key is the device.
    DeviceId
}

byte_id! {
    /// A network, drawn at random when it was made.
    NetworkId
}

impl DeviceId {
    /// The first 16 bytes of BLAKE2s over `lanyard device id` and the identity key.
    #[must_use]
    pub fn of(identity: &PublicKey) -> Self {
        let digest = hash(&[b"lanyard device id", identity.as_bytes()]);
        let (head, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self(*head)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ident), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($number);

        impl $name {
            /// Takes the number as it is.
            #[must_use]
            pub const fn new(value: $number) -> Self {
                Self(value)
            }

            /// The number as sent.
            #[must_use]
            pub const fn value(self) -> $number {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(", $format, ")"), self.0)
            }
        }

        impl Wire for $name {
            fn encode(&self, writer: &mut Writer) {
                writer.$number(self.0);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.$number().map(Self)
            }
        }
    };
}

number_id! {
    /// One try of two devices to find a direct path, drawn at random by the checkpoint.
    AttemptId(u64), "{:016x}"
}

number_id! {
    /// Version of a network's roster: grows by one with each change.
    Revision(u64), "{}"
}

number_id! {
    /// Finds a session in the table of its receiver; each end draws its own.
    SessionIndex(u32), "{:08x}"
}

number_id! {
    /// Pairs an answer with its request; repeated requests keep it.
    RequestId(u32), "{}"
}

number_id! {
    /// Names a push until it is acknowledged; repeated pushes keep it.
    PushId(u32), "{}"
}

impl Revision {
    /// The revision before the first change.
    pub const ZERO: Self = Self(0);

    /// The revision after one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A pair's channel at a relay: 40 bits, the same at both ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(u64);

impl Channel {
    /// The largest channel number.
    pub const MAX: Self = Self(0xFF_FFFF_FFFF);

    /// Takes a number of at most 40 bits.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The five bytes of a relay frame.
    #[must_use]
    pub const fn to_array(self) -> [u8; 5] {
        let [_, _, _, a, b, c, d, e] = self.0.to_be_bytes();
        [a, b, c, d, e]
    }

    /// Reads the five bytes of a relay frame.
    #[must_use]
    pub const fn from_array(bytes: [u8; 5]) -> Self {
        let [a, b, c, d, e] = bytes;
        Self(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
    }
}

impl Channel {
    /// What stands in a relay token for this channel and the network whose limits it counts against: the three
    /// bytes of the network's tag, then the five of the channel.
    #[must_use]
    pub const fn in_network(self, network: NetworkTag) -> u64 {
        ((network.0 as u64) << 40) | self.0
    }

    /// The channel in a relay token's value.
    #[must_use]
    pub const fn of_value(value: u64) -> Self {
        Self(value & Self::MAX.0)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({self})")
    }
}

impl Wire for Channel {
    fn encode(&self, writer: &mut Writer) {
        writer.array(&self.to_array());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array().map(Self::from_array)
    }
}

/// What a relay knows of a network: the first three bytes of its id.
///
/// Enough to count a network's traffic, too little to find the network by. Two networks of one coordinator with one
/// tag (a chance of one in 16 million) share their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkTag(u32);

impl NetworkTag {
    /// The tag of no network: what limits count together that do not count alone.
    pub const NONE: Self = Self(0);

    /// Takes a number of at most 24 bits.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value <= 0x00FF_FFFF { Some(Self(value)) } else { None }
    }

    /// The tag of a network.
    #[must_use]
    pub const fn of(network: &NetworkId) -> Self {
        let [a, b, c, ..] = *network.as_bytes();
        Self(u32::from_be_bytes([0, a, b, c]))
    }

    /// The tag in a relay token's value.
    #[must_use]
    pub const fn of_value(value: u64) -> Self {
        let [a, b, c, ..] = value.to_be_bytes();
        Self(u32::from_be_bytes([0, a, b, c]))
    }
}

/// The first 32 bits of a relay's public key: which of a coordinator's few relays is meant.
///
/// It says the same to two devices whose lists of relays are not of the same age, which a place in the list would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayTag(u32);

impl RelayTag {
    /// The tag of a relay.
    #[must_use]
    pub const fn of(relay: &PublicKey) -> Self {
        let [a, b, c, d, ..] = *relay.as_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// Takes any number.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl Wire for RelayTag {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.u32().map(Self)
    }
}

/// A device's public number, what people read out: `291-044-871`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber(u32);

impl DeviceNumber {
    /// The largest number of nine digits.
    pub const MAX: Self = Self(999_999_999);

    /// Takes a number of at most nine digits.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Reads nine digits; dashes and spaces between them are skipped.
    ///
    /// # Errors
    ///
    /// When there are other characters, or not nine digits.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let mut value = 0u32;
        let mut digits = 0usize;
        for character in text.chars().filter(|character| !matches!(character, '-' | ' ')) {
            let digit = character.to_digit(10).ok_or(InvalidId::Number)?;
            value =
                value.checked_mul(10).and_then(|tens| tens.checked_add(digit)).ok_or(InvalidId::Number)?;
            digits = digits.saturating_add(1);
        }
        if digits == 9 { Self::new(value).ok_or(InvalidId::Number) } else { Err(InvalidId::Number) }
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.0 / 1_000_000, self.0 % 1_000_000);
        write!(f, "{:03}-{:03}-{:03}", high, low / 1_000, low % 1_000)
    }
}

impl fmt::Debug for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceNumber({self})")
    }
}

impl FromStr for DeviceNumber {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl Wire for DeviceNumber {
    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let value = reader.u32()?;
        Self::new(value).ok_or_else(|| reader.malformed("device number"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn an_id_survives_its_text_form_in_both_cases() {
        let id = DeviceId::of(&PublicKey::from_bytes([7; 32]));
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(DeviceId::parse(&text), Ok(id));
        assert_eq!(DeviceId::parse(&text.to_ascii_uppercase()), Ok(id));
    }

    #[test]
    fn the_first_symbol_of_an_id_has_three_bits() {
        let largest = NetworkId::from_bytes([0xFF; 16]);
        assert_eq!(largest.to_string(), "7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert_eq!(NetworkId::parse("80000000000000000000000000"), Err(InvalidId::Id));
        assert_eq!(NetworkId::parse("u0000000000000000000000000"), Err(InvalidId::Id));
        assert_eq!(NetworkId::parse("0"), Err(InvalidId::Id));
    }

    #[test]
    fn a_device_number_is_read_as_people_write_it() {
        let number = DeviceNumber::new(291_044_871).unwrap();
        assert_eq!(number.to_string(), "291-044-871");
        for text in ["291-044-871", "291044871", "291 044 871"] {
            assert_eq!(DeviceNumber::parse(text), Ok(number));
        }
        assert_eq!(DeviceNumber::new(7).unwrap().to_string(), "000-000-007");
        for text in ["", "291", "291-044-8710", "4294967296", "29x-044-871"] {
            assert_eq!(DeviceNumber::parse(text), Err(InvalidId::Number), "{text}");
        }
        assert!(DeviceNumber::from_bytes(&1_000_000_000u32.to_be_bytes()).is_err());
    }

    #[test]
    fn a_channel_has_forty_bits() {
        assert_eq!(Channel::new(1 << 40), None);
        assert_eq!(Channel::MAX.to_array(), [0xFF; 5]);
        let channel = Channel::new(0x01_0203_0405).unwrap();
        assert_eq!(channel.to_array(), [1, 2, 3, 4, 5]);
        assert_eq!(channel.to_string(), "0102030405");
        assert_eq!(Channel::from_array([1, 2, 3, 4, 5]), channel);
    }

    #[test]
    fn the_device_id_depends_on_the_whole_key() {
        let mut other = [7; 32];
        other[31] = 8;
        assert_ne!(
            DeviceId::of(&PublicKey::from_bytes([7; 32])),
            DeviceId::of(&PublicKey::from_bytes(other))
        );
    }
}
