//! `lanyard-server` as its own process on free ports of the loopback interface.
#![allow(dead_code, reason = "of the helpers that several tests share each uses some")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lanyard_wire::join::JoinString;
use serde_json::Value;

/// How long anything of this may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often a number is looked at that is to change.
const TURN: Duration = Duration::from_millis(50);

/// A data directory made by `init`.
pub(crate) struct Directory {
    root: tempfile::TempDir,
    /// How devices join its first network.
    pub(crate) join: JoinString,
}

impl Directory {
    pub(crate) fn made() -> Self {
        let root = tempfile::tempdir().unwrap();
        let output =
            command(root.path().join("data")).args(["init", "--public", "127.0.0.1", "--json"]).output();
        let made: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        let join = JoinString::parse(made["coordinator"]["join"].as_str().unwrap()).unwrap();
        Self { root, join }
    }

    /// Starts these services, with these settings besides.
    pub(crate) fn serve(&self, services: &str, settings: &[(&str, String)]) -> Server {
        let mut command = self.command();
        command.args(["serve", "--services", services]);
        for (name, value) in [
            ("CONTROL_LISTEN", "127.0.0.1:0"),
            ("STUN_ADDRESSES", "127.0.0.1"),
            ("STUN_PORTS", "0,0"),
            ("WEB_LISTEN", "127.0.0.1:0"),
            ("WEB_TLS", "127.0.0.1:0"),
        ] {
            command.env(format!("LANYARD_SERVER_{name}"), value);
        }
        for (name, value) in settings {
            command.env(format!("LANYARD_SERVER_{name}"), value);
        }
        Server::start(command)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The program with this directory, ready for a verb.
    pub(crate) fn command(&self) -> Command {
        command(self.root.path().join("data"))
    }
}

/// A running process; killed when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    /// What listens where: "udp control", "udp stun", "tcp web", "tcp tls", "tcp bus".
    places: Vec<(String, SocketAddr)>,
    /// What it logs.
    lines: mpsc::Receiver<String>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (told, lines) = mpsc::channel();
        // Reads on after the start, so that the process never waits for somebody to read its log.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _nobody_listens_any_more = told.send(line);
            }
        });
        let mut server = Self { child, places: Vec::new(), lines };
        let mut seen = Vec::new();
        loop {
            let line = server.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("it did not become ready: {seen:#?}"));
            if let Some((_, place)) = line.split_once("listening on ") {
                let words: Vec<&str> = place.split_whitespace().collect();
                server.places.push((format!("{} {}", words[0], words[2]), words[1].parse().unwrap()));
            }
            if line.contains("is ready") {
                return server;
            }
            seen.push(line);
        }
    }

    /// Where something listens, by the name it has in the log.
    pub(crate) fn place(&self, name: &str) -> SocketAddr {
        self.places(name)[0]
    }

    pub(crate) fn places(&self, name: &str) -> Vec<SocketAddr> {
        let places = self.places.iter().filter(|(known, _)| known == name);
        let places: Vec<SocketAddr> = places.map(|(_, addr)| *addr).collect();
        assert!(!places.is_empty(), "no {name} among {:?}", self.places);
        places
    }

    /// One number of its metrics; zero while it is not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.place("tcp web")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lanyard\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |number| number.parse::<f64>().unwrap() as u64)
    }

    /// Waits until one number of its metrics, which it brings up to date every second, is as wanted.
    pub(crate) fn until_metric(&self, name: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        let end = Instant::now() + DEADLINE;
        loop {
            let number = self.metric(name);
            if wanted(number) {
                return number;
            }
            assert!(Instant::now() < end, "{name} stays {number}");
            // Asked again soon, or when the process has something to say.
            let _news = self.lines.recv_timeout(TURN);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_may_be_gone = self.child.kill();
        let _its_status = self.child.wait();
    }
}

fn command(dir: PathBuf) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanyard-server"));
    command.env_clear().env("LANYARD_SERVER_DIR", dir).env("USER", "milena");
    // Port 443 of the machine that tests run on is not ours.
    command.env("LANYARD_SERVER_WEB_TLS", "");
    command
}
