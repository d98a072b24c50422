//! The hex examples of docs/protocol.md, as the page has them.

use lanyard_wire::keys::{SecretKey, SymmetricKey};

/// The page itself, so that a changed example is a changed test.
pub(crate) const PAGE: &str = include_str!("../../../docs/protocol.md");

/// One example: what the page calls it, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    /// The word or words behind `hex` on the fence.
    pub(crate) name: String,
    /// Line of the fence, counted from 1.
    pub(crate) line: usize,
    /// The bytes, comments left out.
    pub(crate) bytes: Vec<u8>,
}

/// Lines of every fenced block whose fence begins with `kind`: rest of the fence, line number, lines.
pub(crate) fn blocks(kind: &str) -> Vec<(String, usize, Vec<&'static str>)> {
    let mut found = Vec::new();
    let mut lines = PAGE.lines().zip(1..);
    while let Some((fence, line)) = lines.next() {
        let Some(fence) = fence.strip_prefix("```").filter(|fence| !fence.is_empty()) else { continue };
        let (word, name) = fence.split_once(' ').unwrap_or((fence, ""));
        let body = lines.by_ref().map(|(text, _)| text).take_while(|text| *text != "```").collect();
        if word == kind {
            found.push((name.to_owned(), line, body));
        }
    }
    found
}

/// Every hex example, in order of the page.
pub(crate) fn examples() -> Vec<Example> {
    blocks("hex")
        .into_iter()
        .map(|(name, line, body)| {
            let digits: String = body
                .iter()
                .map(|text| text.split('#').next().unwrap_or_default())
                .flat_map(str::chars)
                .filter(|character| !character.is_whitespace())
                .collect();
            let bytes = data_encoding::HEXLOWER
                .decode(digits.as_bytes())
                .unwrap_or_else(|error| panic!("docs/protocol.md:{line}: {error}"));
            Example { name, line, bytes }
        })
        .collect()
}

/// The bytes of the only example, or the first one, of a name.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let mut found = examples().into_iter().filter(|example| example.name == name);
    found.next().unwrap_or_else(|| panic!("docs/protocol.md has no example \"{name}\"")).bytes
}

/// One of the inputs of section 1.
pub(crate) fn input<const N: usize>(name: &str) -> [u8; N] {
    let bytes = bytes(&format!("input {name}"));
    bytes.try_into().unwrap_or_else(|_| panic!("input {name} must have {N} bytes"))
}

/// A secret key among the inputs.
pub(crate) fn secret(name: &str) -> SecretKey {
    SecretKey::from_bytes(input(name))
}

/// A symmetric key among the inputs.
pub(crate) fn symmetric(name: &str) -> SymmetricKey {
    SymmetricKey::from_bytes(input(name))
}
