//! The command line of `lanyard-server` as an operator meets it: the real program in a directory of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Coordinator {
    root: tempfile::TempDir,
}

impl Coordinator {
    fn nowhere() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn made() -> Self {
        let coordinator = Self::nowhere();
        coordinator.ok(&["init", "--public", "127.0.0.1"]);
        coordinator
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanyard-server"));
        command.args(args).env_clear().env("LANYARD_SERVER_DIR", self.dir()).env("USER", "milena");
        // Port 443 of the machine that tests run on is not ours.
        command.env("LANYARD_SERVER_WEB_TLS", "");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn json(&self, args: &[&str]) -> Value {
        let value: Value = serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap();
        assert_eq!(value["v"], 1, "{args:?}");
        value
    }

    /// The message and code of a command that must fail with exit code 1.
    fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "one line, not a back trace: {text}");
        text
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn listing(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn init_makes_everything_and_closes_it_to_others() {
    let coordinator = Coordinator::nowhere();

    let made = coordinator.json(&["init", "--public", "127.0.0.1"]);

    let join = made["coordinator"]["join"].as_str().unwrap();
    assert!(join.starts_with("lanyard://127.0.0.1/home?invite="), "{join}");
    assert!(join.contains(&format!("#p={}", made["coordinator"]["key"].as_str().unwrap())), "{join}");
    assert!(made["coordinator"]["setup"].as_str().unwrap().starts_with("http://127.0.0.1:8080/setup/"));
    assert_eq!(mode(&coordinator.dir()), 0o700);
    for (name, _) in listing(&coordinator.dir()) {
        assert_eq!(mode(&coordinator.file(&name)), 0o600, "{name}");
    }
    assert_eq!(coordinator.json(&["network", "list"])["networks"][0]["slug"], "home");
}

#[test]
fn init_prints_the_string_and_the_link_for_people() {
    let text = Coordinator::nowhere().ok(&["init", "--public", "127.0.0.1", "--network", "office"]);
    assert!(text.contains("lanyard join 'lanyard://127.0.0.1/office?invite="), "{text}");
    assert!(text.contains("/setup/") && text.contains("one use, 1 hour"), "{text}");
}

#[test]
fn init_twice_changes_nothing_and_says_what_to_do() {
    let coordinator = Coordinator::made();
    let before = listing(&coordinator.dir());

    let text = coordinator.refusal(&["init", "--public", "127.0.0.1"]);

    assert!(text.contains("(init.exists)") && text.contains("serve"), "{text}");
    assert_eq!(listing(&coordinator.dir()), before);
}

#[test]
fn an_init_that_fails_leaves_nothing_behind() {
    let coordinator = Coordinator::nowhere();
    let settings = coordinator.root.path().join("missing/settings.toml");

    let text =
        coordinator.refusal(&["init", "--public", "127.0.0.1", "--config", settings.to_str().unwrap()]);

    assert!(text.contains("(init.unwritable)"), "{text}");
    assert!(!coordinator.dir().exists());
    coordinator.ok(&["init", "--public", "127.0.0.1"]);
}

#[test]
fn init_refuses_a_host_that_is_none() {
    let coordinator = Coordinator::nowhere();
    let text = coordinator.refusal(&["init", "--public", "https://example.org/x"]);
    assert!(text.contains("(init.unknown_host)"), "{text}");
    assert!(!coordinator.dir().exists());
}

#[test]
fn a_command_before_init_says_to_run_it() {
    let coordinator = Coordinator::nowhere();
    for args in [&["network", "list"][..], &["check-config"], &["setup-link"]] {
        let text = coordinator.refusal(args);
        assert!(text.contains("lanyard-server init"), "{args:?}: {text}");
    }
}

#[test]
fn a_misspelt_setting_is_named() {
    let coordinator = Coordinator::made();
    std::fs::write(coordinator.file("lanyard-server.toml"), "[stun]\nstrikt = true\n").unwrap();
    let output = coordinator.run(&["check-config"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("strikt") && text.contains("(config.unknown_key)"), "{text}");

    let output = Coordinator::made()
        .command(&["check-config"])
        .env("LANYARD_SERVER_STUN_STRIKT", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("LANYARD_SERVER_STUN_STRIKT") && text.contains("(config.unknown_key)"), "{text}");
}

#[test]
fn a_settings_file_that_is_cut_off_is_named_and_kept() {
    let coordinator = Coordinator::made();
    let path = coordinator.file("lanyard-server.toml");
    std::fs::write(&path, "[public]\nhost = \"203.0").unwrap();

    let output = coordinator.run(&["check-config"]);

    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("lanyard-server.toml") && text.contains("(config.invalid)"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[public]\nhost = \"203.0");
}

#[test]
fn damaged_missing_and_locked_databases_are_told_apart_and_kept() {
    let coordinator = Coordinator::made();
    let database = coordinator.file("lanyard.db");
    let good = std::fs::read(&database).unwrap();

    std::fs::write(&database, vec![0x5A; 4_096]).unwrap();
    let text = coordinator.refusal(&["network", "list"]);
    assert!(text.contains("(index.corrupt)") && text.contains("backup"), "{text}");
    assert_eq!(std::fs::read(&database).unwrap(), vec![0x5A; 4_096], "a damaged file is left as it is");

    std::fs::remove_file(&database).unwrap();
    assert!(coordinator.refusal(&["network", "list"]).contains("(index.missing)"));
    std::fs::write(&database, good).unwrap();
    coordinator.ok(&["network", "list"]);
}

#[test]
fn keys_that_others_may_read_are_refused() {
    let coordinator = Coordinator::made();
    let key = coordinator.file("fleet.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let text = coordinator.refusal(&["network", "list"]);
    assert!(text.contains("(keys.open_to_others)") && text.contains("chmod"), "{text}");
    assert!(!text.contains(std::fs::read_to_string(&key).unwrap().trim()), "the key itself is not told");
}

#[test]
fn networks_are_added_listed_and_shown() {
    let coordinator = Coordinator::made();
    coordinator.ok(&["network", "add", "office", "--prefix", "10.61.4.0/22", "--join", "request"]);

    let list = coordinator.ok(&["network", "list"]);
    assert!(list.contains("10.61.4.0/22") && list.contains("request"), "{list}");
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");
    let shown = coordinator.ok(&["network", "show", "office"]);
    assert!(shown.contains("10.61.4.0/22") && shown.contains("no members yet"), "{shown}");
    let shown = coordinator.ok(&["network", "set", "office", "--peer-relay", "off", "--join", "locked"]);
    assert!(
        shown.contains("relaying  by the coordinator alone") && shown.contains("join      locked"),
        "{shown}"
    );
    assert_eq!(coordinator.run(&["network", "set", "office"]).status.code(), Some(2), "nothing is named");
    assert!(coordinator.refusal(&["network", "set", "nowhere", "--join", "invite"]).contains("network list"));
    let text = coordinator.refusal(&["network", "add", "office"]);
    assert!(text.contains("(index.taken)"), "{text}");
    let text = coordinator.refusal(&["network", "add", "annex", "--prefix", "10.61.5.0/24"]);
    assert!(text.contains("(index.prefix)") && text.contains("10.61.4.0/22"), "{text}");
    assert!(coordinator.refusal(&["network", "show", "nowhere"]).contains("network list"));
    assert_eq!(coordinator.run(&["network", "add", "Not A Name"]).status.code(), Some(2));
}

#[test]
fn invites_are_shown_once_listed_without_their_code_and_revoked() {
    let coordinator = Coordinator::made();
    let made = coordinator.json(&["invite", "add", "home", "--uses", "3", "--expires", "7d"]);
    let join = made["invite"]["join"].as_str().unwrap().to_owned();
    let code = join.split("invite=").nth(1).unwrap().split('#').next().unwrap();

    let list = coordinator.ok(&["invite", "list", "home"]);
    assert!(!list.contains(code), "{list}");
    assert!(
        list.contains("0/3") && list.contains("open, 6 d left") || list.contains("open, 7 d left"),
        "{list}"
    );
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");

    coordinator.ok(&["invite", "revoke", code]);
    assert!(coordinator.ok(&["invite", "list"]).contains("revoked"));
    coordinator.ok(&["invite", "revoke", made["invite"]["invite"]["id"].as_str().unwrap()]);
    assert!(coordinator.refusal(&["invite", "revoke", "zzzzzzzz"]).contains("(index.not_found)"));
    assert_eq!(coordinator.run(&["invite", "add", "home", "--uses", "0"]).status.code(), Some(2));
    assert_eq!(coordinator.run(&["invite", "add", "home", "--expires", "soon"]).status.code(), Some(2));
}

#[test]
fn members_and_devices_that_are_not_there_are_named() {
    let coordinator = Coordinator::made();
    assert_eq!(coordinator.json(&["member", "list", "home"])["members"], Value::Array(Vec::new()));
    assert_eq!(coordinator.json(&["device", "list"])["devices"], Value::Array(Vec::new()));
    for verb in ["approve", "deny", "remove"] {
        let text = coordinator.refusal(&["member", verb, "home", "291-044-871"]);
        assert!(text.contains("291-044-871") && text.contains("(index.not_found)"), "{text}");
    }
    assert!(coordinator.refusal(&["device", "show", "nas"]).contains("device list"));
}

#[test]
fn errors_have_a_code_in_json_too() {
    let output = Coordinator::nowhere().run(&["network", "list", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["error"]["code"], "config.unreadable");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_new_admin_link_replaces_the_old_one() {
    let coordinator = Coordinator::made();
    let first = coordinator.json(&["setup-link"])["setup"]["link"].clone();
    assert_ne!(first, coordinator.json(&["setup-link"])["setup"]["link"]);
}

#[test]
fn doctor_finds_a_fresh_coordinator_well_and_a_broken_one_not() {
    let coordinator = Coordinator::made();
    let free = |command: &mut Command| {
        // Ports of its own: another test or a real coordinator may hold the usual ones.
        command
            .env("LANYARD_SERVER_CONTROL_LISTEN", "127.0.0.1:0")
            .env("LANYARD_SERVER_STUN_PORTS", "0,0")
            .env("LANYARD_SERVER_WEB_LISTEN", "127.0.0.1:0")
            .output()
            .unwrap()
    };
    let output = free(&mut coordinator.command(&["doctor"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("database") && text.contains("sound, 1 networks"), "{text}");

    std::fs::set_permissions(coordinator.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(coordinator.file("identity.key"), "gone").unwrap();
    let output = free(&mut coordinator.command(&["doctor"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("open to other users") && text.contains("identity.key is damaged"), "{text}");
}

#[test]
fn completions_and_version_need_no_coordinator() {
    let coordinator = Coordinator::nowhere();
    assert!(coordinator.ok(&["completion", "bash"]).contains("lanyard-server"));
    assert!(coordinator.ok(&["version"]).starts_with("lanyard-server "));
    assert_eq!(coordinator.run(&["frobnicate"]).status.code(), Some(2));
}

#[test]
fn what_is_written_about_things_is_found_by_a_query() {
    let coordinator = Coordinator::made();
    let set = ["meta", "set", "network", "home", "site=berlin", "contact=ext. 42", "--visible", "admins"];
    assert!(coordinator.ok(&set).contains("admins"));
    coordinator.ok(&["user", "add", "anna"]);
    coordinator.ok(&["meta", "set", "user", "anna", "room=2.14"]);
    let listed = coordinator.json(&["meta", "list", "network", "home"]);
    assert_eq!(listed["metadata"][1]["value"], "berlin", "{listed}");
    let found = coordinator.json(&["find", "--kind", "network", "site:ber* -contact:\"ext. 7\""]);
    assert_eq!(found["networks"][0]["slug"], "home", "{found}");
    assert_eq!(coordinator.json(&["find", "--kind", "user", "room:2.14"])["users"][0]["name"], "anna");
    assert_eq!(coordinator.json(&["find", "os:linux"])["devices"].as_array().unwrap().len(), 0);
    coordinator.ok(&["meta", "unset", "network", "home", "site"]);
    assert!(
        coordinator.json(&["find", "--kind", "network", "site:*"])["networks"].as_array().unwrap().is_empty()
    );
    for (args, way_out) in [
        (&["find", "tag:"][..], "followed by a value"),
        (&["find", "is:tired"], "online, offline"),
        (&["meta", "list", "member", "nas"], "NETWORK/DEVICE"),
        (&["meta", "set", "user", "nobody", "a=b"], "user list"),
    ] {
        assert!(coordinator.refusal(args).contains(way_out), "{args:?}: {}", coordinator.refusal(args));
    }
}

#[test]
fn groups_and_invites_with_conditions_are_made_and_listed() {
    let coordinator = Coordinator::made();
    coordinator.ok(&["user", "add", "anna"]);
    assert!(coordinator.refusal(&["group", "set", "home", "family", "anna"]).contains("role"));
    coordinator.ok(&["role", "set", "home", "anna", "member"]);
    assert_eq!(coordinator.json(&["group", "set", "home", "family", "anna"])["group"]["name"], "family");
    assert!(coordinator.ok(&["group", "list", "home"]).contains("family"));
    let args = ["invite", "add", "home", "--owner", "anna", "--tags", "nas,build", "--member-for", "30d"];
    let made = coordinator.json(&args);
    assert_eq!(made["invite"]["invite"]["tags"], serde_json::json!(["build", "nas"]), "{made}");
    let person = coordinator.json(&["invite", "add", "home", "--person", "guest"]);
    assert!(person["invite"]["link"].as_str().unwrap().contains("/invite/"), "{person}");
    coordinator.ok(&["group", "remove", "home", "family"]);

    let file = coordinator.file("password");
    std::fs::write(&file, "three birds\n").unwrap();
    let without = coordinator.refusal(&["network", "set", "home", "--join", "password"]);
    assert!(without.contains("no password yet"), "{without}");
    let nowhere = coordinator.refusal(&["network", "set", "home", "--password-file", "/nowhere"]);
    assert!(nowhere.contains("/nowhere") && nowhere.contains("(index.invalid)"), "{nowhere}");
    let args = ["network", "set", "home", "--join", "password", "--password-file", file.to_str().unwrap()];
    assert_eq!(coordinator.json(&args)["network"]["has_password"], true);
}
