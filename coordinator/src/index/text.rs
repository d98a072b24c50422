//! Values that are text in the database, in JSON and on the bus.
//!
//! Keys, ids, names and prefixes print and parse by themselves (`Display`, `FromStr`); this module lets serde and
//! SQL rows use exactly that form, so that there is one spelling of each value everywhere.

use core::fmt::Display;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer};

use super::db::Row;
use super::error::{IndexError, Result};

/// Writes a value as its text; for `#[serde(with = "...")]`.
///
/// # Errors
/// Whatever the serializer reports.
pub fn serialize<T: Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> core::result::Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads a value from its text; for `#[serde(with = "...")]`.
///
/// # Errors
/// When the text is not such a value.
pub fn deserialize<'de, T, D>(deserializer: D) -> core::result::Result<T, D::Error>
where
    T: FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Revisions in JSON: plain numbers.
pub(crate) mod revision {
    use lanyard_wire::ids::Revision;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the number.
    pub(crate) fn serialize<S: Serializer>(value: &Revision, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.value())
    }

    /// Reads the number.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Revision, D::Error> {
        u64::deserialize(deserializer).map(Revision::new)
    }
}

/// Reads one text column as the value it stands for.
pub(super) fn column<T>(row: &Row, name: &'static str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    let text: String = row.get(name)?;
    parsed(name, &text)
}

/// Reads one text column that may be NULL.
pub(super) fn optional_column<T>(row: &Row, name: &'static str) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    let text: Option<String> = row.get(name)?;
    text.map(|text| parsed(name, &text)).transpose()
}

/// Reads a text that came out of the column of that name.
pub(super) fn parsed<T>(name: &'static str, text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| IndexError::Unreadable { column: name, why: error.to_string() })
}

/// Declares an enum whose variants are the words a CHECK constraint allows.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// The word in the database and in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl core::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> core::result::Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(format!("\"{other}\" is none of: {}", [$($text),+].join(", "))),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
                $crate::index::text::deserialize(deserializer)
            }
        }
    };
}
pub(crate) use text_enum;
