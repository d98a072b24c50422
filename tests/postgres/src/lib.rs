//! A Postgres server for the tests of one process: real, empty, reached by its socket alone.
//!
//! It is started when a test first asks for a database, and ends with the process, however that ends: the script
//! beside this crate watches its input.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A running server.
#[derive(Debug)]
pub struct Server {
    talk: Mutex<Talk>,
    socket_dir: String,
    _child: Child,
}

/// The script reads names and writes what it made.
#[derive(Debug)]
struct Talk {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    made: u32,
}

/// The server of this process.
///
/// # Panics
/// When there is no Postgres on this machine, or it does not start: a test that needs it cannot pass.
#[must_use]
#[expect(clippy::panic, reason = "a test without its server fails, and says why")]
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        Server::start().unwrap_or_else(|error| panic!("a Postgres server for tests: {error}"))
    })
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// When it does not start; what it says stands on standard error.
    pub fn start() -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("server");
        let mut child = Command::new(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        let mut talk = Talk { input, output: BufReader::new(output), made: 0 };
        let socket_dir = talk.answer("ready ")?;
        Ok(Self { talk: Mutex::new(talk), socket_dir, _child: child })
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Errors
    /// When the server does not make it.
    pub fn database(&self) -> io::Result<String> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        talk.made += 1;
        let name = format!("test{}", talk.made);
        writeln!(talk.input, "{name}")?;
        let made = talk.answer("made ")?;
        Ok(self.url(&made))
    }

    /// The URL of a database of that name, whether there is one or not.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("postgres:///{name}?host={}&user=lanyard", self.socket_dir)
    }
}

impl Talk {
    /// What stands behind `word` in the next line.
    fn answer(&mut self, word: &str) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let rest = line.trim_end().strip_prefix(word);
        rest.map(str::to_owned).ok_or_else(|| io::Error::other("it ended; see above"))
    }
}
