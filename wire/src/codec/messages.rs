//! Layouts as lists of fields: the order in the source is the order on the wire.

/// Writes `Wire` for a struct: its fields in order, each by its type or `as` a codec of `codec::lists`.
macro_rules! wire_fields {
    ($name:ident { $($field:ident $(as $codec:expr)?),* $(,)? }) => {
        impl $crate::codec::Wire for $name {
            fn encode(&self, writer: &mut $crate::codec::Writer) {
                $($crate::codec::messages::field!(encode writer (&self.$field) $(, $codec)?);)*
            }

            fn decode(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::Malformed> {
                Ok(Self { $($field: $crate::codec::messages::field!(decode reader $(, $codec)?),)* })
            }
        }
    };
}

/// Writes or reads one field of `wire_fields`.
macro_rules! field {
    (encode $writer:ident ($value:expr)) => {
        $crate::codec::Wire::encode($value, $writer)
    };
    (encode $writer:ident ($value:expr), $codec:expr) => {
        $crate::codec::lists::Codec::encode(&$codec, $value, $writer)
    };
    (decode $reader:ident) => {
        $crate::codec::Wire::decode($reader)?
    };
    (decode $reader:ident, $codec:expr) => {
        $crate::codec::lists::Codec::decode(&$codec, $reader)?
    };
}

/// Writes `Wire` for an enum: a code byte, then what the variant holds, and `KINDS` with every code and name.
macro_rules! wire_variants {
    ($name:ident $what:literal {
        $($code:literal => $variant:ident $(($inner:ident))? $({ $($field:ident),* })?,)*
    }) => {
        impl $name {
            /// Code byte and name of every variant, in order of the codes.
            pub const KINDS: &'static [(u8, &'static str)] = &[$(($code, stringify!($variant))),*];

            /// The code byte this value is written with.
            #[must_use]
            pub const fn kind(&self) -> u8 {
                match self {
                    $(Self::$variant $(($crate::codec::messages::skip!($inner)))? $({ $($field: _),* })? => $code,)*
                }
            }
        }

        impl $crate::codec::Wire for $name {
            fn encode(&self, writer: &mut $crate::codec::Writer) {
                writer.u8(self.kind());
                match self {
                    $(Self::$variant $(($inner))? $({ $($field),* })? => {
                        $($crate::codec::Wire::encode($inner, writer);)?
                        $($($crate::codec::Wire::encode($field, writer);)*)?
                    })*
                }
            }

            fn decode(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::Malformed> {
                Ok(match reader.u8()? {
                    $($code => Self::$variant
                        $(({ let $inner = $crate::codec::Wire::decode(reader)?; $inner }))?
                        $({ $($field: $crate::codec::Wire::decode(reader)?),* })?,)*
                    _ => return Err(reader.malformed($what)),
                })
            }
        }
    };
}

/// A pattern that ignores a tuple variant's value.
macro_rules! skip {
    ($name:ident) => {
        _
    };
}

pub(crate) use {field, skip, wire_fields, wire_variants};
