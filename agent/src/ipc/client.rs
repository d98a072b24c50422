//! A command's end of the local socket: one request, then answers until the agent closes.
//!
//! Blocking, because a command does nothing else.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::schema::{Answer, Ask, Line};
use crate::exit::{Code, Problem};

/// How long the agent may take for an answer that needs nobody else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the running agent.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the agent at `path`.
    ///
    /// # Errors
    ///
    /// No agent listens there, or it is not for this user.
    pub fn connect(path: &Path) -> Result<Self, Problem> {
        let error = match UnixStream::connect(path) {
            Ok(stream) => return Ok(Self { stream }),
            Err(error) => error,
        };
        let (code, text) =
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
                let text =
                    format!("no agent answers on {}; start it with \"sudo lanyard up\"", path.display());
                (Code::AgentNotRunning, text)
            } else if error.kind() == io::ErrorKind::PermissionDenied {
                let text =
                    format!("{} is not for this user; use sudo, or join the group lanyard", path.display());
                (Code::AgentNoPermission, text)
            } else {
                (Code::AgentNoAnswer, format!("cannot reach {}: {error}", path.display()))
            };
        Err(Problem::new(code, text))
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// The agent went away.
    pub fn ask(mut self, ask: &Ask) -> Result<Answers, Problem> {
        self.send(ask).map_err(|error| gone(&error))?;
        Ok(Answers { lines: BufReader::new(self.stream) })
    }

    fn send(&mut self, ask: &Ask) -> io::Result<()> {
        self.stream.set_read_timeout(patience(ask))?;
        let mut line = serde_json::to_vec(&Line::new(ask))?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}

/// The answers to one request; ends when the agent closes the connection.
#[derive(Debug)]
pub struct Answers {
    lines: BufReader<UnixStream>,
}

impl Iterator for Answers {
    type Item = Result<Answer, Problem>;

    /// The next answer; an answer of kind error is returned as `Err`.
    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) if line.ends_with('\n') => Some(parse(&line)),
            Ok(_) => Some(Err(gone(&io::ErrorKind::UnexpectedEof.into()))),
            Err(error) => Some(Err(gone(&error))),
        }
    }
}

fn parse(line: &str) -> Result<Answer, Problem> {
    match serde_json::from_str::<Line<Answer>>(line) {
        Ok(Line { body: Answer::Error(problem), .. }) => Err(problem),
        Ok(line) => Ok(line.body),
        Err(error) => Err(Problem::new(
            Code::AgentVersion,
            format!("the agent's answer is not understood: {error}; restart it after an upgrade"),
        )),
    }
}

/// How long the next answer may take; `None` where a person watches and can interrupt.
const fn patience(ask: &Ask) -> Option<Duration> {
    match ask {
        Ask::Status { watch: true } => None,
        Ask::Join { wait_s, .. } => Some(PATIENCE.saturating_add(Duration::from_secs(*wait_s as u64))),
        Ask::Status { watch: false }
        | Ask::Up { .. }
        | Ask::Down { .. }
        | Ask::Leave { .. }
        | Ask::Ping { .. }
        | Ask::Why { .. }
        | Ask::Netcheck
        | Ask::Version => Some(PATIENCE),
    }
}

fn gone(error: &io::Error) -> Problem {
    let text = if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        "the agent is running but does not answer; its log says more, and restarting it helps".to_owned()
    } else {
        format!("the agent went away: {error}; its log says why")
    };
    Problem::new(Code::AgentNoAnswer, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_agent_the_command_says_how_to_start_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lanyard.sock");
        let problem = Client::connect(&path).unwrap_err();
        assert_eq!(problem.code, Code::AgentNotRunning);
        assert!(problem.text.contains("sudo lanyard up"), "{problem}");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(Client::connect(&path).unwrap_err().code, Code::AgentNotRunning);
    }

    #[test]
    fn an_agent_that_closes_in_the_middle_of_an_answer_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lanyard.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let answers = Client::connect(&path).unwrap().ask(&Ask::Netcheck).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"v\":1,\"kind\":\"rea").unwrap();
        drop(stream);
        let first = answers.into_iter().next().unwrap();
        assert_eq!(first.unwrap_err().code, Code::AgentNoAnswer);
    }
}
