//! What commands print: tables that fit 80 columns, or JSON with a version.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to a terminal")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::problem::{code_of, story_of};

/// Width of the output.
const COLUMNS: usize = 80;

/// Version of the JSON schema.
const SCHEMA: u32 = 1;

/// Text or JSON.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    as_json: bool,
}

impl Output {
    /// Chooses the form.
    #[must_use]
    pub const fn new(as_json: bool) -> Self {
        Self { as_json }
    }

    /// Prints `data` under `name` as JSON, or the text.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn print(
        self,
        name: &str,
        data: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<ExitCode> {
        let line = if self.as_json {
            let mut object = json!({ "v": SCHEMA });
            if let Value::Object(fields) = &mut object {
                fields.insert(name.to_owned(), serde_json::to_value(data)?);
            }
            format!("{object}\n")
        } else {
            text()
        };
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
            // "lanyard-server member list home | head -1" is no failure.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
        }
    }

    /// Says how far a long command is, to people only.
    pub fn progress(self, line: &str) {
        if !self.as_json {
            eprintln!("{line}");
        }
    }
}

/// Prints why a command failed and returns its exit code.
#[must_use]
pub fn failure(error: &anyhow::Error, as_json: bool) -> ExitCode {
    if as_json {
        println!(
            "{}",
            json!({ "v": SCHEMA, "error": { "code": code_of(error), "message": story_of(error) } })
        );
    } else {
        eprintln!("lanyard-server: {} ({})", story_of(error), code_of(error));
    }
    ExitCode::FAILURE
}

/// Renders rows under a heading, each column as wide as its widest cell.
#[must_use]
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut heading.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Puts a text behind a head, broken at spaces so that it fits 80 columns; further lines begin under the text.
#[must_use]
pub fn hanging(head: &str, text: &str) -> String {
    let indent = head.chars().count();
    let mut lines = head.to_owned();
    let mut column = indent;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > indent && column + 1 + width > COLUMNS {
            let _ = write!(lines, "\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_its_columns_up() {
        let text = table(&["NAME", "STATE"], &[vec!["a-long-name".to_owned(), "in".to_owned()]]);
        assert_eq!(text, "NAME         STATE\na-long-name  in\n");
    }

    #[test]
    fn long_texts_hang_under_their_head() {
        let text = hanging("note  ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("      word")), "{text}");
        assert_eq!(text.matches("word").count(), 40);
    }
}
