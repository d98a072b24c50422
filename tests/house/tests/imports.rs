//! Who may import whom: the graph of ARCHITECTURE.md, read from cargo and from the sources.

use lanyard_house::{files, files_below, metadata, root, text};

/// What each crate of ours may depend on, among our own.
const OURS: &[(&str, &[&str])] = &[
    ("lanyard-wire", &[]),
    ("lanyard-proto", &["lanyard-wire"]),
    ("lanyard-agent", &["lanyard-proto", "lanyard-wire"]),
    ("lanyard-coordinator", &["lanyard-proto", "lanyard-wire", "lanyard-postgres"]),
    ("lanyard-sim", &["lanyard-proto", "lanyard-wire"]),
    ("lanyard-netns", &["lanyard-proto", "lanyard-wire"]),
    ("lanyard-house", &[]),
    ("lanyard-postgres", &[]),
];

/// What must never reach the sans-IO crates, not even in their tests.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "sqlx",
    "axum",
    "boringtun",
    "tun-rs",
    "getrandom",
    "rand",
    "chrono",
    "time",
];

/// A word that may be spoken in one place only: `(word, places)`.
const SPOKEN_IN: &[(&str, &[&str])] = &[
    ("boringtun::", &["agent/src/dataplane/tunnel.rs", "agent/src/dataplane/tunnel/"]),
    ("tun_rs::", &["agent/src/tun/"]),
    (
        "sqlx::",
        &["coordinator/src/index/db/", "coordinator/src/index/error.rs", "coordinator/src/index/tests/"],
    ),
    ("axum::", &["coordinator/src/api/", "coordinator/src/panel.rs", "coordinator/src/bus/remote.rs"]),
    // The third place asks OIDC providers, and sends to webhooks.
    ("rustls::", &["agent/src/door/", "coordinator/src/api/", "coordinator/src/http.rs"]),
    ("jsonwebtoken::", &["coordinator/src/oidc/token.rs"]),
    ("rcgen::", &["agent/src/door/", "coordinator/src/api/"]),
    ("tungstenite::", &["agent/src/door/"]),
    ("rtnetlink::", &["agent/src/netmon/", "agent/src/tun/"]),
    ("route_manager::", &["agent/src/netmon/"]),
    ("getifaddrs::", &["agent/src/netmon/"]),
    (
        "windows_sys::",
        &[
            "agent/src/windows.rs",
            "agent/src/sockets/windows.rs",
            "agent/src/tun/windows.rs",
            "agent/src/ipc/endpoint/windows.rs",
            "agent/src/cli/up.rs",
        ],
    ),
    ("argon2::", &["coordinator/src/index/credentials.rs"]),
    // Drawing a QR code is a page's business.
    ("fast_qr::", &["coordinator/src/api/pages/"]),
    ("askama::", &["coordinator/src/api/pages/"]),
    ("rust_embed::", &["coordinator/src/api/pages/panel.rs"]),
    // What a passkey signed is judged where somebody is let in.
    ("webauthn_rs::", &["coordinator/src/accounts/passkeys.rs"]),
    ("governor::", &["coordinator/src/accounts.rs", "coordinator/src/bus/passwords.rs"]),
    ("utoipa::", &["coordinator/src/api/v1/"]),
    ("utoipa_axum::", &["coordinator/src/api/v1/"]),
    ("rpassword::", &["agent/src/cli/join.rs"]),
    ("crab_nat::", &["agent/src/portmap/pcp.rs"]),
    ("igd_next::", &["agent/src/portmap/upnp.rs"]),
];

/// Which module of a program may not know which others of it: `(module, must not import)`.
///
/// The leaves of the agent do not know each other, but that the data plane holds sockets and TUN queues. In the
/// coordinator INDEX knows no socket, HTTP no UDP, and a UDP service nothing of INDEX but what the bus brings.
const APART: &[(&str, &[&str])] = &[
    ("agent/src/sockets", &["tun", "dataplane", "netmon", "portmap", "state", "ipc", "engine", "cli"]),
    ("agent/src/tun", &["sockets", "dataplane", "netmon", "portmap", "state", "ipc", "engine", "cli"]),
    ("agent/src/netmon", &["sockets", "tun", "dataplane", "portmap", "state", "ipc", "engine", "cli"]),
    ("agent/src/portmap", &["sockets", "tun", "dataplane", "netmon", "state", "ipc", "engine", "cli"]),
    ("agent/src/door", &["tun", "dataplane", "netmon", "portmap", "state", "ipc", "engine", "cli"]),
    ("agent/src/dataplane", &["netmon", "portmap", "state", "ipc", "engine", "cli"]),
    ("agent/src/state", &["sockets", "tun", "dataplane", "netmon", "portmap", "ipc", "engine", "cli"]),
    ("agent/src/ipc", &["sockets", "tun", "dataplane", "netmon", "portmap", "state", "engine", "cli"]),
    ("agent/src/engine", &["cli"]),
    ("coordinator/src/index", &["udp", "checkpoint", "stun", "bus", "api", "services", "cli"]),
    ("coordinator/src/bus", &["udp", "checkpoint", "stun", "api", "services", "cli"]),
    ("coordinator/src/door", &["udp", "index", "bus", "api", "services", "cli"]),
    ("coordinator/src/udp", &["index", "bus", "api", "services", "cli"]),
    ("coordinator/src/stun", &["index", "bus", "api", "services", "cli"]),
    ("coordinator/src/api", &["udp", "checkpoint", "stun", "bus", "services", "cli"]),
];

/// Where the switch that leaves encryption out may be named, beside this file.
const PLAIN_IN: &[&str] = &[
    "Cargo.toml",
    "Makefile",
    "agent/src/dataplane/mod.rs",
    "agent/src/dataplane/tunnel",
    "docs/performance.md",
];

fn dependencies() -> Vec<(String, Vec<String>)> {
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let crates: Vec<(String, Vec<String>)> = list(&metadata()["packages"])
        .iter()
        .map(|package| (name(package), list(&package["dependencies"]).iter().map(name).collect()))
        .collect();
    assert!(crates.len() >= OURS.len(), "cargo lists only {} packages", crates.len());
    crates
}

#[test]
fn crates_of_ours_import_only_what_the_plan_allows() {
    for (name, needs) in dependencies() {
        let allowed = OURS.iter().find(|(ours, _)| *ours == name).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{name} is not in the plan: add it here and there"));
        for need in needs.iter().filter(|need| need.starts_with("lanyard-")) {
            assert!(allowed.contains(&need.as_str()), "{name} must not import {need}");
        }
    }
}

#[test]
fn wire_and_proto_know_no_clock_no_socket_and_no_randomness() {
    let pure: Vec<_> = dependencies()
        .into_iter()
        .filter(|(name, _)| name == "lanyard-wire" || name == "lanyard-proto")
        .collect();
    assert_eq!(pure.len(), 2, "the two sans-IO crates have other names now");
    for (name, needs) in pure {
        for need in &needs {
            assert!(!IMPURE.contains(&need.as_str()), "{name} must not depend on {need}");
        }
    }
    for library in ["wire/src/lib.rs", "proto/src/lib.rs"] {
        let text = text(library);
        assert!(text.contains("#![no_std]"), "{library}: the compiler guards the border by no_std");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{library}: forbids unsafe code");
    }
}

#[test]
fn each_foreign_library_is_spoken_in_its_place_only() {
    for (word, places) in SPOKEN_IN {
        for name in files_below(&["agent/src/", "coordinator/src/"], ".rs") {
            let at_home = places.iter().any(|place| name.starts_with(place));
            assert!(
                at_home || !text(&name).contains(word),
                "{name} speaks of {word}; its place is {places:?}"
            );
        }
    }
}

#[test]
fn only_the_bench_builds_a_program_that_does_not_encrypt() {
    let switch = "lanyard_plain";
    for name in files() {
        let Ok(source) = std::fs::read_to_string(root().join(&name)) else { continue };
        let at_home =
            name == "tests/house/tests/imports.rs" || PLAIN_IN.iter().any(|place| name.starts_with(place));
        assert!(at_home || !source.contains(switch), "{name} names {switch}; its place is {PLAIN_IN:?}");
    }
    let makefile = text("Makefile");
    let builds: Vec<&str> = makefile.lines().filter(|line| line.contains(switch)).collect();
    assert!(builds.len() == 1 && builds[0].ends_with("--target-dir $(CARGO_TARGET_DIR)/plain"), "{builds:?}");
    for package in metadata()["packages"].as_array().into_iter().flatten() {
        let features = package["features"].as_object().is_some_and(|features| !features.is_empty());
        assert!(!features, "{}: features are unified, so none may take anything out", package["name"]);
    }
}

#[test]
fn modules_that_live_apart_do_not_import_each_other() {
    for (module, strangers) in APART {
        let own = [format!("{module}.rs"), format!("{module}/")];
        let sources = files_below(&[&own[0], &own[1]], ".rs");
        assert!(!sources.is_empty(), "{module} is gone: the rule about it has to follow");
        for name in sources.iter().filter(|name| !name.ends_with("tests.rs")) {
            for stranger in *strangers {
                let source = text(name);
                let spoken = ["::", ";", ",", "}"].map(|end| format!("crate::{stranger}{end}"));
                assert!(
                    !spoken.iter().any(|import| source.contains(import)),
                    "{name} must not import {stranger}"
                );
            }
        }
    }
}

#[test]
fn the_two_programs_start_in_under_a_hundred_lines() {
    for main in ["agent/src/main.rs", "coordinator/src/main.rs"] {
        let lines = text(main).lines().count();
        assert!(lines < 100, "{main}: {lines} lines; the rest belongs to the library beside it");
    }
}

#[test]
fn unsafe_code_is_expected_with_a_reason_wherever_it_stands() {
    for name in files_below(&["agent/src/", "coordinator/src/", "tests/"], ".rs") {
        let text = text(&name);
        if text.lines().any(|line| line.trim_start().starts_with("unsafe ") || line.contains("= unsafe {")) {
            assert!(text.contains("unsafe_code, reason"), "{name}: unsafe without a written reason");
        }
    }
}
