//! The interface of a running coordinator, as a program meets it: a token from the command line, and what other processes
//! change, live.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod server;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::server::{Directory, Server};

/// How long anything of this may take.
const DEADLINE: Duration = Duration::from_secs(30);

fn command(directory: &Directory, args: &[&str]) -> Value {
    let output = directory.command().args(args).arg("--json").output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Asks for something; returns the status and a reader of what follows the head.
fn get(server: &Server, token: &str, path: &str) -> (u16, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(server.place("tcp web")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET /api/v1{path} HTTP/1.1\r\nHost: lanyard\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the head has no end");
    }
    (status, reader)
}

#[test]
fn a_token_of_the_command_line_asks_and_hears_what_other_processes_change() {
    let directory = Directory::made();
    command(&directory, &["user", "add", "root", "--admin"]);
    let made = command(&directory, &["token", "add", "root", "watcher", "--expires", "1d"]);
    let token = made["token"]["secret"].as_str().unwrap().to_owned();
    let mut server = directory.serve("index", &[]);

    let (status, mut reader) = get(&server, &token, "/me");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(status, 200, "{text}");
    let me: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&me["user"]["name"], &me["may_write"]), (&"root".into(), &false.into()));
    let tokens = command(&directory, &["token", "list", "root"]);
    assert!(tokens["tokens"][0]["last_used_at"].is_i64(), "{tokens}");
    assert!(!tokens.to_string().contains(&token), "shown once");

    let (status, live) = get(&server, &token, "/live");
    assert_eq!(status, 200);
    command(&directory, &["user", "add", "anna"]);
    let is_anna = |line: &String| line.contains("\"op\":\"put\"") && line.contains("\"name\":\"anna\"");
    let mut lines = live.lines().map(Result::unwrap);
    let heard = lines.find(|line| line.starts_with("data:") && is_anna(line));
    assert!(heard.is_some(), "the stream ended");

    // Who listens holds nobody up: the stream ends with the server.
    let stopping = Instant::now();
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    lines.for_each(drop);
    assert!(server.child.wait().unwrap().success());
    assert!(stopping.elapsed() < Duration::from_millis(1_500), "{:?}", stopping.elapsed());

    command(&directory, &["token", "end", made["token"]["token"]["id"].as_str().unwrap()]);
    let server = directory.serve("index", &[]);
    assert_eq!(get(&server, &token, "/me").0, 401, "it was ended");
}
