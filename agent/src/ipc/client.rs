//! A command's end of the local socket: one request, then answers until the agent closes.
//!
//! Blocking, because a command does nothing else; a runtime of its own drives the connection, because pipes of Windows have
//! no other way to wait for so long and no longer.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::endpoint::{Stream, connect};
use super::schema::{Answer, Ask, Line};
use crate::exit::{Code, Problem};

/// How long the agent may take for an answer that needs nobody else.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an agent is started.
const START: &str = if cfg!(windows) { "sc start lanyard" } else { "sudo lanyard up" };
/// What a user does who may not command it.
const BE_ALLOWED: &str =
    if cfg!(windows) { "use a terminal of an administrator" } else { "use sudo, or join the group lanyard" };

/// A connection to the running agent.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    stream: Stream,
}

impl Client {
    /// Connects to the agent at `path`.
    ///
    /// # Errors
    ///
    /// No agent listens there, or it is not for this user.
    pub fn connect(path: &Path) -> Result<Self, Problem> {
        let open = || -> io::Result<Self> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let stream = runtime.block_on(connect(path))?;
            Ok(Self { runtime, stream })
        };
        let error = match open() {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let (code, text) =
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
                let text = format!("no agent answers on {}; start it with \"{START}\"", path.display());
                (Code::AgentNotRunning, text)
            } else if error.kind() == io::ErrorKind::PermissionDenied {
                let text = format!("{} is not for this user; {BE_ALLOWED}", path.display());
                (Code::AgentNoPermission, text)
            } else {
                (Code::AgentNoAnswer, format!("cannot reach {}: {error}", path.display()))
            };
        Err(Problem::new(code, text))
    }

    /// Sends a request.
    ///
    /// An agent that hung up before it was asked may have said why, so that answers are read all the same.
    ///
    /// # Errors
    ///
    /// The agent went away.
    pub fn ask(self, ask: &Ask) -> Result<Answers, Problem> {
        let Self { runtime, mut stream } = self;
        let sent = serde_json::to_vec(&Line::new(ask)).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            runtime.block_on(stream.write_all(&line))
        });
        match sent {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(gone(&error)),
            Ok(()) | Err(_) => {}
        }
        Ok(Answers { runtime, lines: BufReader::new(stream), patience: patience(ask) })
    }
}

/// The answers to one request; ends when the agent closes the connection.
#[derive(Debug)]
pub struct Answers {
    runtime: Runtime,
    lines: BufReader<Stream>,
    /// How long the next one may take.
    patience: Option<Duration>,
}

impl Iterator for Answers {
    type Item = Result<Answer, Problem>;

    /// The next answer; an answer of kind error is returned as `Err`.
    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        let read = self.runtime.block_on(async {
            let read = self.lines.read_line(&mut line);
            match self.patience {
                Some(patience) => {
                    timeout(patience, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                }
                None => read.await,
            }
        });
        match read {
            Ok(0) => None,
            Ok(_) if line.ends_with('\n') => Some(parse(&line)),
            Ok(_) => Some(Err(gone(&io::ErrorKind::UnexpectedEof.into()))),
            // How a pipe of Windows ends.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && line.is_empty() => None,
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
    use crate::ipc::endpoint::{Endpoint, place_in};

    #[test]
    fn without_an_agent_the_command_says_how_to_start_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = place_in(directory.path());
        let problem = Client::connect(&path).unwrap_err();
        assert_eq!(problem.code, Code::AgentNotRunning);
        assert!(problem.text.contains(START), "{problem}");
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_that_an_agent_left_behind_is_no_agent() {
        let directory = tempfile::tempdir().unwrap();
        let path = place_in(directory.path());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(Client::connect(&path).unwrap_err().code, Code::AgentNotRunning);
    }

    /// What a command gets first from an agent that says `said` and hangs up without listening, before it is asked.
    fn first_answer(said: &'static [u8]) -> Option<Result<Answer, Problem>> {
        let directory = tempfile::tempdir().unwrap();
        let path = place_in(directory.path());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut endpoint = runtime.block_on(async { Endpoint::bind(&path).unwrap() });
        let (hung_up, ask) = std::sync::mpsc::channel();
        let client = std::thread::spawn(move || {
            let client = Client::connect(&path).unwrap();
            ask.recv().unwrap();
            client.ask(&Ask::Netcheck).unwrap().next()
        });
        runtime.block_on(async {
            let (mut stream, admitted) = endpoint.accept().await.unwrap();
            admitted.unwrap();
            stream.write_all(said).await.unwrap();
        });
        hung_up.send(()).unwrap();
        client.join().unwrap()
    }

    #[test]
    fn an_agent_that_closes_in_the_middle_of_an_answer_is_reported() {
        let first = first_answer(b"{\"v\":1,\"kind\":\"rea").unwrap();
        assert_eq!(first.unwrap_err().code, Code::AgentNoAnswer);
    }

    #[test]
    fn an_agent_that_refuses_before_it_is_asked_is_heard() {
        let refusal = first_answer(
            b"{\"v\":1,\"kind\":\"error\",\"code\":\"agent.no_permission\",\"text\":\"not for you\"}\n",
        );
        assert_eq!(refusal.unwrap().unwrap_err().code, Code::AgentNoPermission);
    }
}
