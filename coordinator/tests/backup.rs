//! Backups, and data that moves between SQLite and Postgres: the real program, its files, a real server.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod server;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use self::server::Directory;

/// A data directory that `init` has not made, or another one than `init`'s.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanyard-server"));
    command.env_clear().env("LANYARD_SERVER_DIR", dir).env("LANYARD_SERVER_WEB_TLS", "").args(args);
    command
}

fn ok(mut command: Command) -> String {
    let output: Output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(command(dir, &[args, &["--json"]].concat()))).unwrap()
}

/// What there is: two networks, an invite, a user with a role.
fn fill(dir: &Path) {
    for args in [
        &["network", "add", "office"][..],
        &["invite", "add", "office"],
        &["user", "add", "anna", "--admin"],
        &["role", "set", "office", "anna", "owner"],
    ] {
        ok(command(dir, args));
    }
}

/// Everything that commands show of it.
fn shown(dir: &Path) -> Vec<Value> {
    [&["network", "list"][..], &["invite", "list"], &["user", "list"], &["role", "list", "office"]]
        .map(|args| json(dir, args))
        .into()
}

fn path(root: &tempfile::TempDir, name: &str) -> (PathBuf, String) {
    let path = root.path().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

#[test]
fn a_backup_of_a_running_server_is_whole_private_and_comes_back() {
    let directory = Directory::made();
    let data = directory.path();
    fill(&data);
    let running = directory.serve("index", &[]);
    let root = tempfile::tempdir().unwrap();
    let (copy, copy_text) = path(&root, "copy");

    ok(command(&data, &["backup", &copy_text]));

    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(&copy).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    assert!(ok(command(&data, &["restore", "--check", &copy_text])).contains("is whole"));
    assert_eq!(shown(&copy), shown(&data), "a backup is a data directory");
    assert!(refusal(command(&data, &["backup", &copy_text])).contains("(backup.exists)"));
    assert!(refusal(command(&data, &["restore", &copy_text])).contains("(backup.covers)"));
    drop(running);

    let (other, _) = path(&root, "other");
    assert!(ok(command(&other, &["restore", &copy_text])).contains("is a coordinator again"));
    assert_eq!(shown(&other), shown(&data));
    for key in ["identity.key", "fleet.key"] {
        assert_eq!(std::fs::read(other.join(key)).unwrap(), std::fs::read(data.join(key)).unwrap(), "{key}");
    }
}

#[test]
fn a_check_names_everything_that_is_wrong_and_changes_nothing() {
    let directory = Directory::made();
    let data = directory.path();
    let root = tempfile::tempdir().unwrap();
    let (copy, copy_text) = path(&root, "copy");
    ok(command(&data, &["backup", &copy_text]));
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&copy);
    ok(command(&data, &["restore", "--check", &copy_text]));
    assert_eq!(names(&copy), before, "a look leaves no trace");

    let database = std::fs::read(copy.join("lanyard.db")).unwrap();
    let mut damaged = database.clone();
    damaged[8_192..16_384].fill(0x5A);
    std::fs::write(copy.join("lanyard.db"), damaged).unwrap();
    std::fs::write(copy.join("fleet.key"), "short").unwrap();
    let text = refusal(command(&data, &["restore", "--check", &copy_text]));
    assert!(text.contains("fleet.key is damaged") && text.contains("database is damaged"), "{text}");
    let (other, _) = path(&root, "other");
    assert!(refusal(command(&other, &["restore", &copy_text])).contains("(backup.damaged)"));
    assert!(!other.exists());

    std::fs::write(copy.join("lanyard.db"), database).unwrap();
    std::fs::copy(data.join("fleet.key"), copy.join("fleet.key")).unwrap();
    std::fs::copy(data.join("fleet.key"), copy.join("identity.key")).unwrap();
    let text = refusal(command(&data, &["restore", "--check", &copy_text]));
    assert!(text.contains("identity.key is not the key"), "{text}");
    assert!(refusal(command(&data, &["restore", "--check", "nowhere"])).contains("(backup.damaged)"));
}

#[test]
fn a_coordinator_lives_on_postgres_and_moves_there_and_back() {
    let root = tempfile::tempdir().unwrap();
    let (data, _) = path(&root, "data");
    let url = lanyard_postgres::server().database().unwrap();
    ok(command(&data, &["init", "--public", "127.0.0.1", "--database", &url]));
    assert!(!data.join("lanyard.db").exists());
    fill(&data);
    let before = shown(&data);
    assert!(ok(command(&data, &["check-config"])).contains(&url));

    // Out into a file, and back into another database.
    let (file, _) = path(&root, "out.db");
    let file = format!("sqlite:{}", file.display());
    let copied = json(&data, &["db", "copy", &url, &file]);
    assert_eq!(copied["copied"]["rows"]["networks"], 2);
    let elsewhere = lanyard_postgres::server().database().unwrap();
    ok(command(&data, &["db", "copy", &file, &elsewhere]));
    assert!(refusal(command(&data, &["db", "copy", &file, &elsewhere])).contains("(index.exists)"));
    for database in [&file, &elsewhere] {
        let mut list = command(&data, &["user", "list", "--json"]);
        list.env("LANYARD_SERVER_DATA_DATABASE", database);
        assert_eq!(serde_json::from_str::<Value>(&ok(list)).unwrap(), before[2], "{database}");
    }

    // A backup of it is a file; restored, it goes where the settings say.
    let (_, copy) = path(&root, "copy");
    ok(command(&data, &["backup", &copy]));
    let (other, _) = path(&root, "other");
    let refused = refusal(command(&other, &["restore", &copy]));
    assert!(refused.contains("(index.exists)"), "the database in the settings is in use: {refused}");
    assert!(!other.exists(), "and nothing is left of the try");
    let mut restore = command(&other, &["restore", &copy]);
    let third = lanyard_postgres::server().database().unwrap();
    ok({
        restore.env("LANYARD_SERVER_DATA_DATABASE", &third);
        restore
    });
    let mut list = command(&other, &["role", "list", "office", "--json"]);
    list.env("LANYARD_SERVER_DATA_DATABASE", &third);
    assert_eq!(serde_json::from_str::<Value>(&ok(list)).unwrap(), before[3]);
    assert!(!other.join("lanyard.db").exists());
}

#[test]
fn a_password_in_the_url_is_refused_and_not_repeated() {
    let root = tempfile::tempdir().unwrap();
    let (data, _) = path(&root, "data");
    let url = "postgres://lanyard:s3cret@127.0.0.1/lanyard";
    let text = refusal(command(&data, &["init", "--public", "127.0.0.1", "--database", url]));
    assert!(text.contains("data.password_file") && !text.contains("s3cret"), "{text}");
    assert!(!data.exists());
}
