//! Who is measured: ours, the programs it is compared with, ours without encryption, and the bare wire.
//!
//! The others are found by an environment variable, or on `PATH`. Whoever is missing is left out, and how to get it is
//! said in one line.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use lanyard_netns::fleet::program;

/// One program, or none: the bare wire.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// How it is called in `--only`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it says of itself.
    pub(super) version: String,
}

/// How a tunnel is made with it.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// No tunnel: what the wire gives.
    Bare,
    /// Two agents, joined by a coordinator.
    Lanyard {
        /// Which build of it.
        program: PathBuf,
    },
    /// A program that makes a WireGuard interface and is told its settings by WireGuard's own socket.
    WireGuard {
        /// Where it is.
        program: PathBuf,
        /// What it needs to hear to stay in the foreground.
        options: &'static [&'static str],
    },
}

pub(super) const OURS: &str = "lanyard";
/// The same program, but that it copies data packets instead of encrypting them: what is left to gain by working on the rest.
const PLAIN: &str = "lanyard-plain";
/// Leads to the folder that `make speed` builds it in.
const PLAIN_VARIABLE: &str = "LANYARD_PLAIN";

/// Somebody to be compared with.
struct Other {
    name: &'static str,
    /// The environment variable that leads to it.
    variable: &'static str,
    /// Its name on `PATH`, if it is looked for there.
    on_path: Option<&'static str>,
    options: &'static [&'static str],
    /// How to get it.
    remedy: &'static str,
}

const OTHERS: [Other; 3] = [
    Other {
        name: "wireguard-go",
        variable: "WIREGUARD_GO",
        on_path: Some("wireguard-go"),
        options: &["-f"],
        remedy: "install the package wireguard-go",
    },
    Other {
        name: "boringtun-cli",
        variable: "BORINGTUN",
        on_path: Some("boringtun-cli"),
        options: &["--foreground", "--disable-drop-privileges"],
        remedy: "cargo install boringtun-cli --version 0.7.1, and set BORINGTUN to the program",
    },
    Other {
        name: "wireguard-go-new",
        variable: "WIREGUARD_GO_NEW",
        on_path: None,
        options: &["-f"],
        remedy: "build the newest wireguard-go from its source, and set WIREGUARD_GO_NEW to the program",
    },
];

/// Everybody that is here and wanted; with `only` empty, everybody.
///
/// # Errors
///
/// When a name is none of ours, or a variable leads nowhere.
pub(super) fn find(only: &[String], mut tell: impl FnMut(&str)) -> Result<Vec<Peer>> {
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    let others = OTHERS.iter().map(|other| other.name);
    let known: Vec<&str> = ["bare", OURS, PLAIN].into_iter().chain(others).collect();
    for name in only {
        ensure!(known.contains(&name.as_str()), "there is no {name}; there are {}", known.join(", "));
    }
    let mut peers = Vec::new();
    if is_wanted("bare") {
        peers.push(Peer { name: "bare", kind: Kind::Bare, version: "no tunnel".to_owned() });
    }
    if is_wanted(OURS) {
        peers.push(ours(OURS, program("lanyard")?));
    }
    if is_wanted(PLAIN) {
        match std::env::var_os(PLAIN_VARIABLE).map(|folder| Path::new(&folder).join("lanyard")) {
            Some(program) => {
                ensure!(program.is_file(), "{PLAIN_VARIABLE} has no {}", program.display());
                let plain = ours(PLAIN, program);
                // Not by its name alone: a build with encryption there would make ours look as fast as can be.
                ensure!(plain.version.ends_with("+unencrypted"), "the build in {PLAIN_VARIABLE} encrypts");
                peers.push(plain);
            }
            None => tell(&format!("left out: {PLAIN} (\"make speed\" builds it and sets {PLAIN_VARIABLE})")),
        }
    }
    for Other { name, variable, on_path, options, remedy } in OTHERS {
        if !is_wanted(name) {
            continue;
        }
        let named = std::env::var_os(variable).map(PathBuf::from);
        if let Some(named) = &named {
            ensure!(named.is_file(), "{variable} is {}, which is no file", named.display());
        }
        match named.or_else(|| search(on_path?)) {
            Some(program) => {
                let version = version(&program);
                peers.push(Peer { name, version, kind: Kind::WireGuard { program, options } });
            }
            None => tell(&format!("left out: {name} ({remedy})")),
        }
    }
    Ok(peers)
}

fn ours(name: &'static str, program: PathBuf) -> Peer {
    Peer { name, version: version(&program), kind: Kind::Lanyard { program } }
}

fn search(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// The first number in what `--version` prints.
fn version(program: &Path) -> String {
    let said = Command::new(program).arg("--version").output().map(|done| done.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let number = said.split_whitespace().map(|word| word.trim_start_matches('v'));
    number.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or("?").to_owned()
}
