//! What a person is told when something cannot be done: what happened, why, what to do, and a stable code.
//!
//! Where code branches on an error it has an enum of its own ([`IndexError`]); a [`Problem`] is for errors that
//! only a person can act on. Every code has its remedy in docs/operations.md.

use crate::index::IndexError;

/// An error for people.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    code: &'static str,
    text: String,
}

impl Problem {
    /// Takes a stable code and a sentence that says what happened, why, and what to do.
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }
}

/// The code of whatever went wrong; `internal` for an error nobody gave a code.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> &'static str {
    for cause in error.chain() {
        if let Some(problem) = cause.downcast_ref::<Problem>() {
            return problem.code();
        }
        if let Some(error) = cause.downcast_ref::<IndexError>() {
            return error.code();
        }
    }
    "internal"
}

/// The whole story on one line: what we were doing, and what went wrong.
#[must_use]
pub fn story_of(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Some errors repeat their source in their own text.
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_code_is_found_under_any_context() {
        let error =
            Err::<(), _>(Problem::new("config.unknown_key", "no such key")).context("read the settings");
        let error = error.unwrap_err();
        assert_eq!(code_of(&error), "config.unknown_key");
        assert_eq!(story_of(&error), "read the settings: no such key");
        assert_eq!(code_of(&anyhow::anyhow!("odd")), "internal");
    }
}
