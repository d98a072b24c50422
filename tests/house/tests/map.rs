//! ARCHITECTURE.md is a map of this tree: short, complete, and without places that are gone.
//!
//! A section whose heading is a folder (`### wire/src`) maps it: each word in backticks of its list that ends
//! in `.rs` or `/` is a file or folder of that folder. A folder stands for the files directly in it.

use lanyard_house::{files_below, root, text};

const LINES_MAX: usize = 200;

/// The folders that must be mapped file by file.
const MAPPED: &[&str] = &["wire/src/", "proto/src/", "agent/src/", "coordinator/src/"];

/// A place on the map, relative to the root; a folder ends with a slash.
fn places(document: &str) -> Vec<String> {
    let mut places = Vec::new();
    for section in document.split("\n### ").skip(1) {
        let (folder, rest) = section.split_once('\n').unwrap_or((section, ""));
        if MAPPED.iter().any(|mapped| format!("{folder}/").starts_with(mapped)) {
            let list = rest.split("\n#").next().unwrap_or_default();
            let words = list.split('`').skip(1).step_by(2);
            let words = words.filter(|word| word.ends_with(".rs") || word.ends_with('/'));
            places.extend(words.map(|word| format!("{folder}/{word}")));
        }
    }
    places
}

#[test]
fn the_map_fits_on_a_few_screens() {
    let lines = text("ARCHITECTURE.md").lines().count();
    assert!(lines <= LINES_MAX, "ARCHITECTURE.md has {lines} lines");
}

#[test]
fn every_module_is_on_the_map() {
    let places = places(&text("ARCHITECTURE.md"));
    let is_told = |name: &str| {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        places.iter().any(|place| place == name || *place == format!("{folder}/"))
    };
    // Tests and the roots of crates need no line.
    let is_plain = |name: &str| {
        name.ends_with("/lib.rs")
            || name.ends_with("/main.rs")
            || name.ends_with("/tests.rs")
            || name.contains("/tests/")
    };
    let missing: Vec<String> =
        files_below(MAPPED, ".rs").into_iter().filter(|name| !is_plain(name) && !is_told(name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md says nothing of:\n{}", missing.join("\n"));
}

#[test]
fn every_place_on_the_map_exists() {
    let places = places(&text("ARCHITECTURE.md"));
    assert!(places.len() > MAPPED.len(), "the map is empty");
    let gone: Vec<&String> = places.iter().filter(|place| !root().join(place).exists()).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:?}");
}
