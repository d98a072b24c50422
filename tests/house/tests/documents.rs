//! Documents are part of the house: what they name exists, and what exists is named.

use std::collections::BTreeSet;

use lanyard_house::{files, files_below, root, text};

/// What the names of metrics begin with.
const METRICS: &[&str] = &[
    "lanyard_udp_",
    "lanyard_checkpoint_",
    "lanyard_door_",
    "lanyard_handshake_",
    "lanyard_relay_",
    "lanyard_stun_",
    "lanyard_index_",
    "lanyard_agent_",
    "lanyard_network_",
    "lanyard_peer_",
    "lanyard_peers_",
];

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
        .flat_map(str::split_whitespace)
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        .filter(|word| !word.contains(['*', '{', '<', '…']))
        .map(|word| word.trim_end_matches(['/', '.', ',', ';', ':', ')']).to_owned())
        .collect()
}

/// The targets of the links of a document, without those into the web.
fn links_in(document: &str) -> Vec<String> {
    document
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()))
        .filter(|target| !target.contains("://"))
        .collect()
}

/// The anchors of a document's headings, as code hosts make them.
fn anchors_in(document: &str) -> Vec<String> {
    let is_kept = |c: &char| c.is_alphanumeric() || *c == '-' || *c == '_' || *c == ' ';
    let anchor = |heading: &str| -> String {
        heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(is_kept)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    document
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// The documents of the project; natlab is a program of its own with its own page.
fn documents() -> Vec<String> {
    files().into_iter().filter(|name| name.ends_with(".md") && !name.starts_with("tests/natlab/")).collect()
}

#[test]
fn every_path_a_document_names_exists() {
    let mut missing = Vec::new();
    for name in documents() {
        for path in paths_in(&text(&name)) {
            if !root().join(&path).exists() {
                missing.push(format!("{name} names {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut dead = Vec::new();
    for name in documents() {
        for link in links_in(&text(&name)) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = if path.is_empty() { name.clone() } else { format!("{folder}/{path}") };
            let target = target.trim_start_matches('/');
            let is_there = root().join(target).exists()
                && (anchor.is_empty() || anchors_in(&text(target)).iter().any(|known| known == anchor));
            if !is_there {
                dead.push(format!("{name} links to {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_index_of_the_documents_has_a_line_for_each() {
    let index = text("docs/README.md");
    for name in files_below(&["docs/"], "").into_iter().filter(|name| !name.ends_with(".webp")) {
        let page = name.trim_start_matches("docs/");
        assert!(page == "README.md" || index.contains(&format!("({page})")), "docs/README.md lacks {page}");
    }
}

#[test]
fn every_picture_is_shown_on_the_page_beside_it() {
    let page = text("docs/screenshots/README.md");
    let pictures = files_below(&["docs/"], ".webp");
    assert!(pictures.len() > 100, "only {} pictures: `make screenshots` makes them", pictures.len());
    for name in pictures {
        let picture = name.trim_start_matches("docs/screenshots/");
        assert!(page.contains(&format!("]({picture})")), "docs/screenshots/README.md does not show {name}");
    }
}

#[test]
fn every_key_of_the_examples_has_a_comment_above_it() {
    let is_key = |line: &str| {
        line.trim_start_matches('#').split_once(" = ").is_some_and(|(key, _)| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    for name in files_below(&["docs/examples/"], ".toml") {
        let text = text(&name);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().filter(|line| is_key(line)).count() > 5, "{name} shows no keys");
        for pair in lines.windows(2) {
            assert!(!is_key(pair[1]) || pair[0].starts_with("# "), "{name}: no comment above {}", pair[1]);
        }
    }
}

#[test]
fn the_units_start_the_programs_at_their_default_paths() {
    for (unit, start, source) in [
        ("lanyard", "lanyard daemon", "agent/src/config.rs"),
        ("lanyard-server", "lanyard-server serve", "coordinator/src/config.rs"),
    ] {
        let lines = text(&format!("packaging/systemd/{unit}.service"));
        for line in [format!("ExecStart=/usr/local/bin/{start}"), format!("StateDirectory={unit}")] {
            assert!(lines.lines().any(|known| known == line), "{unit}.service lacks {line}");
        }
        assert!(text(source).contains(&format!("\"/var/lib/{unit}\"")), "{source} has another directory");
    }
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
            for spoken in subverbs(&text(&name), &spoken) {
                assert!(documents.contains(&spoken), "no document mentions `{spoken}`");
            }
        }
    }
}

/// A verb with each of its verbs, as the file's first line names them (`network add|list|show`), or alone.
fn subverbs(source: &str, verb: &str) -> Vec<String> {
    let first = source.lines().next().unwrap_or_default();
    let words = first.split('`').nth(1).and_then(|spoken| spoken.strip_prefix(verb)).unwrap_or_default();
    if words.contains('|') {
        words.trim().split('|').map(|word| format!("{verb} {word}")).collect()
    } else {
        vec![verb.to_owned()]
    }
}

#[test]
fn error_codes_and_their_pages_agree() {
    let operations = text("docs/operations.md");
    let interface = text("docs/api.md");
    let codes: BTreeSet<String> = files_below(&["agent/src/", "coordinator/src/"], ".rs")
        .iter()
        .flat_map(|name| codes_in(name, &text(name)))
        .collect();
    assert!(codes.len() > 60, "only {} codes are found; how are they written now?", codes.len());
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| ![&operations, &interface].iter().any(|page| page.contains(&format!("`{code}`"))))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md or docs/api.md lacks a remedy for {missing:?}");

    let below = |page: &str, heading: &str| {
        let rest = page.split_once(heading).unwrap().1;
        rest.split("\n## ").next().unwrap_or_default().to_owned()
    };
    let tables = below(&operations, "\n## Error codes") + &below(&interface, "\n## Errors");
    let told = tables.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let told = told.flat_map(|cell| cell.split(['`', ',', ' '])).filter(|word| is_code(word));
    let stale: Vec<&str> = told.filter(|code| !codes.contains(*code)).collect();
    assert!(
        stale.is_empty(),
        "docs/operations.md or docs/api.md explains codes that nothing prints: {stale:?}"
    );
}

/// Stable codes, `noun.what_happened`: at the end of a sentence in parentheses, as what a `Problem` is made
/// of, or on one side of an arrow in the two files that have tables of them.
fn codes_in(name: &str, source: &str) -> Vec<String> {
    let code: String = source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let quoted = code.split('(').skip(1).filter_map(|rest| rest.split_once(")\"").map(|(code, _)| code));
    let mut found: Vec<String> = quoted.filter(|code| is_code(code)).map(str::to_owned).collect();
    let is_table = name == "agent/src/exit.rs" || name == "coordinator/src/index/error.rs";
    let pieces: Vec<&str> = code.split('"').collect();
    for window in pieces.windows(3) {
        let (before, literal, after) = (window[0].trim_end(), window[1], window[2].trim_start());
        let is_own = name.ends_with("/problem.rs") && before.ends_with("Self::new(");
        let is_told = is_own || before.ends_with("Problem::new(");
        let is_listed = is_table && (before.ends_with("=>") || after.starts_with("=>"));
        if (is_told || is_listed) && is_code(literal) {
            found.push(literal.to_owned());
        }
    }
    if code.contains("\"internal\"") {
        found.push("internal".to_owned());
    }
    found
}

fn is_code(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    text.split_once('.').is_some_and(|(noun, what)| is_word(noun) && is_word(what))
}

#[test]
fn every_metric_is_in_the_operators_page() {
    let operations = text("docs/operations.md");
    let mut metrics = BTreeSet::new();
    for name in files_below(&["coordinator/src/", "agent/src/metrics.rs"], ".rs") {
        let source = text(&name);
        let words = source.split('"').filter(|word| METRICS.iter().any(|start| word.starts_with(start)));
        metrics.extend(words.map(str::to_owned));
    }
    assert!(metrics.len() > 10, "only {metrics:?} are found");
    for metric in metrics {
        assert!(operations.contains(&format!("`{metric}")), "docs/operations.md lacks {metric}");
    }
}

#[test]
fn no_document_or_source_names_a_path_of_somebodys_machine() {
    let places = [["/ro", "ot/"].concat(), ["/ho", "me/"].concat(), ["/wo", "rk/"].concat()];
    let mut found = Vec::new();
    for name in files() {
        let Ok(text) = std::fs::read_to_string(root().join(&name)) else { continue };
        // The first network is called so, and its pages are below its name.
        let text = text.replace("networks/home", "networks/first");
        for place in &places {
            if text.contains(place.as_str()) {
                found.push(format!("{name} names {place}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
