//! Crockford's base 32: digits and letters without I, L, O and U, which are read wrongly.

use alloc::string::String;

/// The symbols by value, lower case.
const SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The low `length` times five bits of a number, most significant symbol first, lower case.
pub(crate) fn encode(value: u128, length: u32) -> String {
    (0..length)
        .rev()
        .map(|place| {
            let shifted = value.checked_shr(place.saturating_mul(5)).unwrap_or(0);
            let symbol = usize::try_from(shifted & 31).ok().and_then(|index| SYMBOLS.get(index));
            char::from(*symbol.unwrap_or(&b'0'))
        })
        .collect()
}

/// The number `text` stands for: exactly `length` symbols of either case, I and L as 1, O as 0.
///
/// `None` when a symbol is unknown, the length is another one or the number does not fit 128 bits.
pub(crate) fn decode(text: &str, length: usize) -> Option<u128> {
    if text.len() != length {
        return None;
    }
    text.bytes().try_fold(0u128, |value, byte| {
        let symbol = match byte.to_ascii_lowercase() {
            b'i' | b'l' => b'1',
            b'o' => b'0',
            other => other,
        };
        let digit = SYMBOLS.iter().position(|known| *known == symbol)?;
        if value >> 123 != 0 {
            return None;
        }
        Some((value << 5) | u128::try_from(digit).ok()?)
    })
}
