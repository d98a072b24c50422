//! Names of networks and devices, and invite codes: text that was checked once and is right from then on.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::codec::lists::{Codec as _, Text};
use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::crockford;
use crate::limits::{DEVICE_NAME_MAX, NETWORK_NAME_MAX};

/// Why a text is not a name; the text says what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} has 1 to {max} small letters, digits and dashes, and no dash at either end")]
pub struct InvalidName {
    /// Kind of name: `"network name"`.
    pub what: &'static str,
    /// Longest name of that kind.
    pub max: usize,
}

/// Why a text is not an invite code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an invite code has 8 digits and letters without i, l, o and u, as in K7Q2-MX4D")]
pub struct InvalidInviteCode;

fn is_slug(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes a name that follows the rules.
            ///
            /// # Errors
            ///
            /// When it does not; nothing is corrected.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                if is_slug(text, $max) {
                    Ok(Self(String::from(text)))
                } else {
                    Err(InvalidName { what: $what, max: $max })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Wire for $name {
            fn encode(&self, writer: &mut Writer) {
                Text($max, $what).encode(&self.0, writer);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                let text = Text($max, $what).decode(reader)?;
                Self::parse(&text).map_err(|_| reader.malformed($what))
            }
        }
    };
}

slug! {
    /// Name of a network at its coordinator: `home`.
    NetworkName, "network name", NETWORK_NAME_MAX
}

slug! {
    /// Name of a device in its networks: `nas`; a DNS label.
    DeviceName, "device name", DEVICE_NAME_MAX
}

impl DeviceName {
    /// Makes a name of a host name: its first label in small letters, other characters as dashes.
    ///
    /// `device` when nothing usable is left.
    #[must_use]
    pub fn sanitize(host: &str) -> Self {
        let label = host.split('.').next().unwrap_or_default();
        let mut name = String::new();
        for character in label.chars().map(|character| character.to_ascii_lowercase()) {
            if matches!(character, 'a'..='z' | '0'..='9') {
                name.push(character);
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
            if name.len() >= DEVICE_NAME_MAX {
                break;
            }
        }
        let name = name.trim_end_matches('-');
        Self(String::from(if name.is_empty() { "device" } else { name }))
    }
}

/// Lets its holder join a network: eight characters, `K7Q2-MX4D`.
///
/// A secret while it is valid: `Debug` does not show it, `Display` is for the join string.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InviteCode(u64);

impl InviteCode {
    /// Characters of a code, dash not counted.
    const CHARS: usize = 8;

    /// Makes a code of the low 40 bits of random bytes the caller drew.
    #[must_use]
    pub const fn from_bytes(random: [u8; 5]) -> Self {
        let [a, b, c, d, e] = random;
        Self(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
    }

    /// The 40 bits as bytes, as sent.
    #[must_use]
    pub const fn to_array(self) -> [u8; 5] {
        let [_, _, _, a, b, c, d, e] = self.0.to_be_bytes();
        [a, b, c, d, e]
    }

    /// Reads a code in either case, with or without dashes.
    ///
    /// # Errors
    ///
    /// When there are other characters, or not eight of them.
    pub fn parse(text: &str) -> Result<Self, InvalidInviteCode> {
        let symbols: String = text.chars().filter(|character| *character != '-').collect();
        crockford::decode(&symbols, Self::CHARS)
            .and_then(|value| u64::try_from(value).ok())
            .map(Self)
            .ok_or(InvalidInviteCode)
    }
}

impl fmt::Display for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = crockford::encode(u128::from(self.0), 8).to_ascii_uppercase();
        let (head, tail) = text.split_at_checked(4).unwrap_or((&text, ""));
        write!(f, "{head}-{tail}")
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(..)")
    }
}

impl FromStr for InviteCode {
    type Err = InvalidInviteCode;

    fn from_str(text: &str) -> Result<Self, InvalidInviteCode> {
        Self::parse(text)
    }
}

impl Wire for InviteCode {
    fn encode(&self, writer: &mut Writer) {
        writer.array(&self.to_array());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array().map(Self::from_bytes)
    }
}

/// What a network's administrators tell people so that they can join: 1 to 64 bytes of UTF-8, no control characters.
///
/// It is sent under the encryption of a session, and does not show in debug output.
#[derive(Clone, PartialEq, Eq, zeroize::ZeroizeOnDrop)]
pub struct JoinPassword(String);

/// The text is no password of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network's password has 1 to 64 bytes and no control characters")]
pub struct InvalidJoinPassword;

impl JoinPassword {
    /// Most bytes.
    pub const BYTES_MAX: usize = 64;

    /// Takes what somebody typed.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidJoinPassword> {
        let is_password = (1..=Self::BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
        if is_password { Ok(Self(String::from(text))) } else { Err(InvalidJoinPassword) }
    }

    /// The text, to be compared or to be handed on.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinPassword(..)")
    }
}

impl Wire for JoinPassword {
    fn encode(&self, writer: &mut Writer) {
        Text(Self::BYTES_MAX, "password").encode(&self.0, writer);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let text = Text(Self::BYTES_MAX, "password").decode(reader)?;
        Self::parse(&text).map_err(|InvalidJoinPassword| reader.malformed("password"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn names_outside_the_rules_are_refused_with_the_rules() {
        for text in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(33)] {
            let error = NetworkName::parse(text).unwrap_err();
            assert_eq!(error.max, 32, "{text}");
        }
        let error = DeviceName::parse("Nas").unwrap_err().to_string();
        assert_eq!(
            error,
            "a device name has 1 to 63 small letters, digits and dashes, and no dash at either end"
        );
        assert_eq!(NetworkName::parse("office-2").unwrap().as_str(), "office-2");
    }

    #[test]
    fn any_host_name_becomes_a_device_name() {
        for (host, name) in [
            ("NAS", "nas"),
            ("Anna's MacBook.local", "anna-s-macbook"),
            ("__build__01", "build-01"),
            ("", "device"),
            ("日本", "device"),
            (".hidden", "device"),
        ] {
            assert_eq!(DeviceName::sanitize(host).as_str(), name);
        }
        let long = DeviceName::sanitize(&"ab-".repeat(40));
        assert_eq!(DeviceName::parse(long.as_str()), Ok(long));
    }

    #[test]
    fn an_invite_code_is_read_as_people_type_it() {
        let code = InviteCode::parse("K7Q2-MX4D").unwrap();
        for text in ["k7q2mx4d", "K7Q2MX4D", "k7-q2-mx-4d"] {
            assert_eq!(InviteCode::parse(text), Ok(code));
        }
        assert_eq!(InviteCode::parse("O1IL-0000"), InviteCode::parse("0111-0000"));
        assert_eq!(code.to_string(), "K7Q2-MX4D");
        for text in ["", "K7Q2-MX4", "K7Q2-MX4DD", "K7Q2-MX4U"] {
            assert_eq!(InviteCode::parse(text), Err(InvalidInviteCode), "{text}");
        }
    }

    #[test]
    fn a_password_is_short_printable_and_hidden() {
        let password = JoinPassword::parse("drei Vögel").unwrap();
        assert_eq!(format!("{password:?}"), "JoinPassword(..)");
        assert_eq!(password.reveal(), "drei Vögel");
        assert_eq!(JoinPassword::from_bytes(&password.to_bytes()), Ok(password));
        for text in ["", "a\nb", &"x".repeat(65)] {
            assert!(JoinPassword::parse(text).is_err(), "{text:?}");
        }
        assert!(JoinPassword::from_bytes(b"\x00").is_err() && JoinPassword::from_bytes(b"\x01\x07").is_err());
    }

    #[test]
    fn an_invite_code_does_not_show_in_debug_output() {
        let code = InviteCode::parse("K7Q2-MX4D").unwrap();
        assert_eq!(format!("{code:?}"), "InviteCode(..)");
    }

    #[test]
    fn a_name_that_breaks_the_rules_does_not_decode() {
        assert!(NetworkName::from_bytes(b"\x04home").is_ok());
        assert!(NetworkName::from_bytes(b"\x04Home").is_err());
        assert!(NetworkName::from_bytes(b"\x00").is_err());
        assert!(DeviceName::from_bytes(b"\x02\xFF\xFE").is_err());
    }
}
