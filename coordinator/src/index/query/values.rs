//! What people look for, in the form in which conditions take it.

use std::net::IpAddr;

use super::{Field, State, Subject, Term};

/// What a value is like: there is more than one way to look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A state.
    State(State),
    /// A whole value, with no star in it; a whole address.
    Whole,
    /// Too short for the index of parts of words.
    Short,
    /// Few have it in them.
    Rare,
    /// Nothing of this.
    Part,
}

impl Shape {
    pub(super) fn of(term: &Term, value: &str) -> Self {
        match &term.subject {
            Subject::Anything if term.is_rare => Self::Rare,
            Subject::Anything if !is_indexed(value) => Self::Short,
            Subject::Key(_) if !value.contains('*') => Self::Whole,
            Subject::Address | Subject::Field(Field::Ip) if value.parse::<IpAddr>().is_ok() => Self::Whole,
            Subject::Field(Field::Is) => value.parse().map_or(Self::Part, Self::State),
            Subject::Anything | Subject::Address | Subject::Key(_) | Subject::Field(_) => Self::Part,
        }
    }

    /// The state that it is; `None` for anything else.
    pub(super) const fn state(self) -> Option<State> {
        match self {
            Self::State(state) => Some(state),
            Self::Whole | Self::Short | Self::Rare | Self::Part => None,
        }
    }
}

/// Most hits in the index for a word to be one that few have: so many devices are looked up one by one in a few milliseconds.
pub(super) const FEW: i64 = if cfg!(test) { 3 } else { 1_000 };

/// Whether a value has three letters in a row, which the index of parts of words needs.
pub(super) fn is_indexed(value: &str) -> bool {
    value.split(['*', '%', '_', '\\']).any(|part| part.chars().count() >= 3)
}

/// A device's number is read with dashes and stored without.
pub(super) fn digits(value: &str) -> String {
    let digits: String = value.chars().filter(|letter| !matches!(letter, '-' | ' ')).collect();
    let is_number = !digits.is_empty() && digits.chars().all(|letter| letter.is_ascii_digit());
    if is_number { digits } else { value.to_owned() }
}

/// A pattern of LIKE for whatever has that text in it; stars at its ends change nothing.
pub(super) fn holds(value: &str) -> String {
    format!("%{}%", glob(value.trim_matches('*')))
}

/// The same without an escape, which no index of SQLite is used with: it finds that text, and others that are like it.
pub(super) fn loose(value: &str) -> String {
    let pattern: String = value
        .trim_matches('*')
        .chars()
        .map(|letter| match letter {
            '*' => '%',
            '%' | '\\' => '_',
            other => other,
        })
        .collect();
    format!("%{pattern}%")
}

/// A pattern of LIKE for that whole text, in which `*` stands for anything.
pub(super) fn glob(value: &str) -> String {
    let mut pattern = String::new();
    for letter in value.chars() {
        match letter {
            '*' => pattern.push('%'),
            '%' | '_' | '!' => pattern.extend(['!', letter]),
            other => pattern.push(other),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_like_has_a_meaning_for_is_looked_for_as_it_is() {
        assert_eq!(holds("50%_off!"), "%50!%!_off!!%");
        assert_eq!(glob("ber*"), "ber%");
        assert_eq!(holds("*nas*"), "%nas%");
        assert_eq!(loose("50%_off\\"), "%50__off_%");
        assert_eq!(digits("291-044-871"), "291044871");
        assert_eq!(digits("ER-3"), "ER-3");
    }
}
