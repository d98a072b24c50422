//! Documents are part of the house: what they name exists, and what exists is named.

use lanyard_house::{files, files_below, root, text};

/// The words in backticks of a document that look like paths of this tree.
fn paths_in(document: &str) -> Vec<String> {
    const FOLDERS: &[&str] = &[
        "wire/",
        "proto/",
        "agent/",
        "coordinator/",
        "web/",
        "migrations/",
        "packaging/",
        "tests/",
        "docs/",
        ".ci/",
    ];
    document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        .filter(|word| !word.contains(['*', '{', '<', ' ']))
        .map(|word| word.trim_end_matches(['/', '.', ',']).to_owned())
        .collect()
}

#[test]
fn every_path_a_document_names_exists() {
    let mut missing = Vec::new();
    for name in files().iter().filter(|name| name.ends_with(".md") && !name.starts_with("tests/natlab/")) {
        for path in paths_in(&text(name)) {
            if !root().join(&path).exists() {
                missing.push(format!("{name} names {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn architecture_is_at_most_two_hundred_lines_and_names_every_module() {
    let document = text("ARCHITECTURE.md");
    assert!(document.lines().count() <= 200, "ARCHITECTURE.md has {} lines", document.lines().count());
    for name in files_below(&["wire/src/", "proto/src/", "agent/src/", "coordinator/src/"], ".rs") {
        let named = name.ends_with("/lib.rs")
            || name.ends_with("/main.rs")
            || name.ends_with("tests.rs")
            || document.contains(name.rsplit('/').next().unwrap_or_default())
            || folder_is_named(&document, &name);
        assert!(named, "ARCHITECTURE.md says nothing of {name}");
    }
}

/// Whether the document has a line for the folder a file is in (a folder of one noun needs one line).
fn folder_is_named(document: &str, name: &str) -> bool {
    name.rsplit_once('/').is_some_and(|(folder, _)| {
        folder
            .split('/')
            .next_back()
            .is_some_and(|last| last != "src" && document.contains(&format!("{last}/")))
    })
}

#[test]
fn every_command_line_verb_is_in_the_operators_page_or_the_readme() {
    let documents = [text("README.md"), text("docs/operations.md")].concat();
    for (folder, program) in [("agent/src/cli/", "lanyard"), ("coordinator/src/cli/", "lanyard-server")] {
        for name in files_below(&[folder], ".rs") {
            let verb = name.trim_start_matches(folder).trim_end_matches(".rs");
            // Files that serve several verbs are not verbs themselves.
            if verb.contains('/')
                || ["mod", "render", "args", "output", "table", "settings", "tests"].contains(&verb)
            {
                continue;
            }
            let spoken = format!("{program} {}", verb.replace('_', "-"));
            assert!(documents.contains(&spoken), "no document mentions `{spoken}`");
        }
    }
}

#[test]
fn every_error_code_for_people_has_its_remedy_in_the_operators_page() {
    let operations = text("docs/operations.md");
    let mut missing = Vec::new();
    for name in files_below(&["agent/src/", "coordinator/src/"], ".rs") {
        for code in codes_in(&text(&name)) {
            if !operations.contains(&format!("`{code}`")) {
                missing.push(format!("{name}: {code}"));
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "docs/operations.md lacks a remedy for:\n{}", missing.join("\n"));
}

/// Stable codes as messages carry them: `(noun.what_happened)` at the end of a sentence in a string.
fn codes_in(source: &str) -> Vec<String> {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('(').skip(1))
        .filter_map(|rest| rest.split_once(")\"").map(|(code, _)| code))
        .filter(|code| {
            code.split_once('.').is_some_and(|(noun, what)| {
                !noun.is_empty()
                    && !what.is_empty()
                    && code.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.')
            })
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_document_or_source_names_a_path_of_somebodys_machine() {
    let places = [["/ro", "ot/"].concat(), ["/ho", "me/"].concat(), ["/wo", "rk/"].concat()];
    let mut found = Vec::new();
    for name in files() {
        let Ok(text) = std::fs::read_to_string(root().join(&name)) else { continue };
        for place in &places {
            if text.contains(place.as_str()) {
                found.push(format!("{name} names {place}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
