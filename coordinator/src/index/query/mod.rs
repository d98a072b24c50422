//! The language in which people look for users, networks, devices and members: `os:windows tag:nas site:berlin`.
//!
//! A query is a list of terms, and what is found meets all of them:
//!
//! * `word` or `"two words"`: it is in the name, the number, an address, or a value of the metadata;
//! * `field:value`: the field has the value in it; `a,b` after the colon means either, `"..."` keeps spaces and commas;
//! * any other word before a colon is a key of the metadata, and its whole value is compared: `site:berlin`, or a part of it with
//!   stars: `site:ber*`, `site:*` for those that have the key at all;
//! * `-term`: it does not meet that term.
//!
//! Upper and lower case are the same. What a reader may not see is not found: not by a network's name, a tag, an address or a value
//! of the metadata ([`conditions`]).

mod conditions;
mod values;

use core::str::FromStr;
use std::net::IpAddr;

use super::error::IndexError;
use super::metadata::Key;
use super::text::text_enum;

/// Longest query, in bytes.
pub const QUERY_MAX: usize = 512;

/// Most terms of a query, and most values of a term: what a statement grows by is bounded.
const TERMS_MAX: usize = 16;

text_enum! {
    /// A field that a query can name.
    Field {
        /// The id, whole.
        Id = "id",
        /// The name.
        Name = "name",
        /// The nine digits of a device.
        Number = "number",
        /// The operating system of a device.
        Os = "os",
        /// The version of its agent.
        Version = "version",
        /// The user it belongs to.
        Owner = "owner",
        /// A network it is in, by its whole name.
        Net = "net",
        /// A tag of its membership, whole.
        Tag = "tag",
        /// A group that its user is in, whole.
        Group = "group",
        /// An overlay address.
        Ip = "ip",
        /// A state: `online`, `offline`, `suspended`, `pending`, `active`, `admin`, `disabled`, `mine`.
        Is = "is",
    }
}

text_enum! {
    /// What follows `is:`.
    State {
        /// A device that is there.
        Online = "online",
        /// One that is not.
        Offline = "offline",
        /// Switched off for now.
        Suspended = "suspended",
        /// Waiting for approval.
        Pending = "pending",
        /// In.
        Active = "active",
        /// The server's administrator.
        Admin = "admin",
        /// A user that may not sign in.
        Disabled = "disabled",
        /// The reader's own.
        Mine = "mine",
    }
}

/// What a term looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// Wherever people would look for it.
    Anything,
    /// The same for what can be a part of an address: those are of memberships, which costs a look at each of them.
    Address,
    /// A field.
    Field(Field),
    /// A key of the metadata.
    Key(Key),
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    is_negated: bool,
    subject: Subject,
    /// Any of them will do; in lower case.
    values: Vec<String>,
    /// Whether few have it, as [`Query::sized`] found.
    is_rare: bool,
}

/// What somebody looks for; an empty one finds everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
}

impl Query {
    /// Whether it finds everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

impl FromStr for Query {
    type Err = IndexError;

    /// Reads a query.
    ///
    /// # Errors
    /// [`IndexError::Query`], which says what is wrong and what would do.
    fn from_str(text: &str) -> Result<Self, IndexError> {
        if text.len() > QUERY_MAX {
            return Err(IndexError::Query(format!("it has at most {QUERY_MAX} bytes")));
        }
        let mut letters = text.chars().filter(|letter| *letter != '\0').peekable();
        let mut terms = Vec::new();
        loop {
            while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
            if letters.peek().is_none() {
                return Ok(Self { terms });
            }
            if terms.len() == TERMS_MAX {
                return Err(IndexError::Query(format!("it has at most {TERMS_MAX} terms")));
            }
            let is_negated = letters.next_if_eq(&'-').is_some();
            terms.push(Term { is_negated, ..term(&mut letters)? });
        }
    }
}

/// Reads a term up to the space behind it.
fn term(letters: &mut core::iter::Peekable<impl Iterator<Item = char>>) -> Result<Term, IndexError> {
    let (first, is_quoted) = value(letters, &[':'])?;
    if is_quoted || letters.next_if_eq(&':').is_none() {
        if first.is_empty() {
            return Err(IndexError::Query("a \"-\" is followed by what is not wanted".to_owned()));
        }
        let is_address = first.contains(['.', ':'])
            && first.chars().all(|letter| letter.is_ascii_hexdigit() || matches!(letter, '.' | ':'));
        let subject = if is_address { Subject::Address } else { Subject::Anything };
        let values = vec![if is_address { canonical(first) } else { first }];
        return Ok(Term { is_negated: false, subject, values, is_rare: false });
    }
    let subject = subject(&first)?;
    let mut values = Vec::new();
    loop {
        let (value, _) = value(letters, &[','])?;
        if value.is_empty() {
            return Err(IndexError::Query(format!("\"{first}:\" is followed by a value, or by * for any")));
        }
        if values.len() == TERMS_MAX {
            return Err(IndexError::Query(format!("a term has at most {TERMS_MAX} values")));
        }
        values.push(check(&subject, value)?);
        if letters.next_if_eq(&',').is_none() {
            return Ok(Term { is_negated: false, subject, values, is_rare: false });
        }
    }
}

/// Reads up to a space or one of `ends`, or a text in quotes; whether it was in quotes.
fn value(
    letters: &mut core::iter::Peekable<impl Iterator<Item = char>>,
    ends: &[char],
) -> Result<(String, bool), IndexError> {
    let mut value = String::new();
    if letters.next_if_eq(&'"').is_none() {
        while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace() && !ends.contains(letter)) {
            value.extend(letter.to_lowercase());
        }
        return Ok((value, false));
    }
    loop {
        match letters.next() {
            Some('"') => return Ok((value, true)),
            Some(letter) => value.extend(letter.to_lowercase()),
            None => return Err(IndexError::Query("a quotation mark is not closed".to_owned())),
        }
    }
}

/// What the word before a colon means.
fn subject(word: &str) -> Result<Subject, IndexError> {
    let field = match word {
        "network" => Some(Field::Net),
        "user" => Some(Field::Owner),
        word => word.parse().ok(),
    };
    if let Some(field) = field {
        return Ok(Subject::Field(field));
    }
    // What is a field's name may be a key too.
    let key = word.strip_prefix("meta.").unwrap_or(word);
    key.parse().map(Subject::Key).map_err(|why: String| IndexError::Query(format!("\"{word}:\": {why}")))
}

/// A value as its subject takes it.
fn check(subject: &Subject, value: String) -> Result<String, IndexError> {
    match subject {
        Subject::Field(Field::Is) => match value.parse::<State>() {
            Ok(_) => Ok(value),
            Err(why) => Err(IndexError::Query(format!("\"is:\": {why}"))),
        },
        Subject::Field(Field::Ip) => Ok(canonical(value)),
        Subject::Anything | Subject::Address | Subject::Key(_) | Subject::Field(_) => Ok(value),
    }
}

/// A whole address as it is stored; anything else as it is.
fn canonical(value: String) -> String {
    value.parse::<IpAddr>().map_or(value, |ip| ip.to_string())
}

#[cfg(test)]
mod tests {
    use lanyard_proto::rng::Rng;

    use super::*;

    fn parsed(text: &str) -> Query {
        text.parse().unwrap()
    }

    fn one(text: &str) -> Term {
        let mut terms = parsed(text).terms;
        assert_eq!(terms.len(), 1, "{text}");
        terms.pop().unwrap()
    }

    #[test]
    fn a_term_is_a_word_a_field_or_a_key() {
        assert_eq!(one("NAS").subject, Subject::Anything);
        assert_eq!(one("10.61.0.7").subject, Subject::Address);
        assert_eq!(one("\"fd5a::3\"").subject, Subject::Address);
        assert_eq!(one("os:linux").subject, Subject::Field(Field::Os));
        assert_eq!(one("network:home").subject, Subject::Field(Field::Net));
        assert_eq!(one("site:berlin").subject, Subject::Key("site".parse().unwrap()));
        assert_eq!(one("meta.name:x").subject, Subject::Key("name".parse().unwrap()));
        assert_eq!(one("tag:NAS,\"big one\"").values, ["nas", "big one"]);
        assert_eq!(one("\"os:linux\"").subject, Subject::Anything, "what is quoted is a word");
        assert!(one("-is:online").is_negated);
        assert_eq!(parsed("  os:windows tag:nas\tsite:berlin ").terms.len(), 3);
        assert!(parsed(" ").is_empty());
    }

    #[test]
    fn what_cannot_be_read_says_what_would_do() {
        for (text, way_out) in [
            ("os:", "followed by a value"),
            ("tag:a,", "followed by a value"),
            ("-", "not wanted"),
            ("name:\"nas", "not closed"),
            ("is:tired", "online, offline"),
            ("Käse:x", "a key has"),
            (&"x ".repeat(17), "at most 16 terms"),
            (&"x".repeat(513), "at most 512 bytes"),
        ] {
            let error = text.parse::<Query>().unwrap_err();
            assert_eq!(error.code(), "index.query");
            assert!(error.to_string().contains(way_out), "{text}: {error}");
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        let letters: Vec<char> = "ab: ,\"-*%_!ä\u{0}\n.meta:is:tag:".chars().collect();
        let mut rng = Rng::from_seed([3; 32]);
        for _ in 0..20_000 {
            let length = rng.below(40);
            let draw = |_| letters[usize::try_from(rng.below(letters.len() as u64)).unwrap()];
            let text: String = (0..length).map(draw).collect();
            if let Err(error) = text.parse::<Query>() {
                assert_eq!(error.code(), "index.query", "{text:?}");
            }
        }
    }
}
