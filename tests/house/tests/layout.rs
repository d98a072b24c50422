//! How a file looks: its length, its first line, its name.

use lanyard_house::{files, files_below, text};

const RUST: &[&str] = &["wire/", "proto/", "agent/", "coordinator/", "tests/"];

/// Longer than this a file is two nouns, or two phases of one (STYLE: cut by noun or by phase).
const LINES_MAX: usize = 500;

#[test]
fn no_source_file_is_longer_than_five_hundred_lines() {
    let long: Vec<String> = files_below(RUST, ".rs")
        .into_iter()
        .chain(files_below(&["web/"], ".ts"))
        .chain(files_below(&["web/"], ".tsx"))
        // Made of web/openapi.json; nobody reads it from top to bottom.
        .filter(|name| name != "web/src/api/schema.d.ts")
        .filter_map(|name| {
            let lines = text(&name).lines().count();
            (lines > LINES_MAX).then(|| format!("{name}: {lines} lines"))
        })
        .collect();
    assert!(long.is_empty(), "cut these by noun or by phase:\n{}", long.join("\n"));
}

#[test]
fn every_module_begins_with_a_page_of_prose() {
    let bare: Vec<String> = files_below(RUST, ".rs")
        .into_iter()
        .filter(|name| {
            let text = text(name);
            let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
            !first.is_some_and(|line| line.starts_with("//!"))
        })
        .collect();
    assert!(bare.is_empty(), "no `//!` at the top of:\n{}", bare.join("\n"));
}

#[test]
fn every_script_and_style_of_the_panel_begins_with_what_it_is_for() {
    // Those of tests say it in their `describe`, those of tools are named for their tool.
    let is_plain = |name: &str| name.contains(".test.") || name.ends_with(".config.ts");
    let bare: Vec<String> = [".ts", ".tsx", ".mjs", ".css"]
        .into_iter()
        .flat_map(|ending| files_below(&["web/"], ending))
        .filter(|name| !is_plain(name) && !text(name).starts_with("//") && !text(name).starts_with("/*"))
        .collect();
    assert!(bare.is_empty(), "no comment at the top of:\n{}", bare.join("\n"));
}

#[test]
fn the_lock_file_of_the_panel_names_no_registry() {
    let locked = text("web/package-lock.json");
    assert!(
        locked.contains("\"integrity\"") && !locked.contains("\"resolved\""),
        "npm 11 with web/.npmrc writes none"
    );
}

#[test]
fn no_module_is_named_for_a_heap_of_things() {
    let heaps: Vec<String> = files()
        .into_iter()
        .filter(|name| {
            let stem = name.rsplit('/').next().and_then(|file| file.split('.').next()).unwrap_or_default();
            ["utils", "util", "common", "helpers", "helper", "misc", "part2"].contains(&stem)
        })
        .collect();
    assert!(heaps.is_empty(), "name these for what they hold:\n{}", heaps.join("\n"));
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    let marks = [["to", "do!("].concat(), ["unimpl", "emented!("].concat(), ["FIX", "ME"].concat()];
    let found: Vec<String> = files_below(RUST, ".rs")
        .into_iter()
        .filter(|name| marks.iter().any(|mark| text(name).contains(mark.as_str())))
        .collect();
    assert!(found.is_empty(), "unfinished:\n{}", found.join("\n"));
}

#[test]
fn no_test_is_switched_off() {
    let off = ["#[ign", "ore"].concat();
    let found: Vec<String> =
        files_below(RUST, ".rs").into_iter().filter(|name| text(name).contains(&off)).collect();
    assert!(found.is_empty(), "switched off:\n{}", found.join("\n"));
}

#[test]
fn migrations_are_numbered_without_gaps_and_begin_with_the_reason() {
    for backend in ["migrations/sqlite/", "migrations/postgres/"] {
        for (index, name) in files_below(&[backend], ".sql").iter().enumerate() {
            let file = name.trim_start_matches(backend);
            assert!(
                file.starts_with(&format!("{:04}_", index + 1)),
                "{name}: the next number is {:04}",
                index + 1
            );
            assert!(text(name).starts_with("-- "), "{name}: begin with a comment that says why");
        }
    }
}

#[test]
fn every_sqlite_migration_has_its_postgres_twin_once_postgres_is_there() {
    let strip = |folder: &str| -> Vec<String> {
        files_below(&[folder], ".sql").iter().map(|name| name.trim_start_matches(folder).to_owned()).collect()
    };
    let postgres = strip("migrations/postgres/");
    if !postgres.is_empty() {
        assert_eq!(strip("migrations/sqlite/"), postgres);
    }
}
