//! The agent's end of the local socket.
//!
//! Each connection is one request. It is checked, parsed and handed to the engine as a [`Call`]; what the
//! engine answers goes back line by line until it drops its end of the channel. A client that hangs up
//! closes the channel, which is how the engine learns that nobody watches any more.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::credentials::Allowed;
use super::schema::{Answer, Ask, Line, REQUEST_MAX, VERSION};
use crate::exit::{Code, Problem};

/// Connections served at the same time; a further one waits.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send its one line.
const REQUEST_WAIT: Duration = Duration::from_secs(5);

/// Answers that wait for a slow client before the engine's next one is dropped.
const ANSWERS_MAX: usize = 64;

/// One request and where its answers go.
#[derive(Debug)]
pub struct Call {
    /// The request.
    pub ask: Ask,
    /// Takes answers until it is dropped; closed when the client hangs up.
    pub answers: mpsc::Sender<Answer>,
}

/// The socket, removed when dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    allowed: Allowed,
    path: PathBuf,
}

impl Server {
    /// Creates the socket: 0660 for the group of lanyard users if there is one, else 0600.
    ///
    /// A socket left behind by an agent that died is replaced; one that answers is not.
    ///
    /// # Errors
    ///
    /// Another agent listens there, something else lies there, or the directory cannot be written.
    pub fn bind(path: &Path) -> Result<Self, Problem> {
        let failed = |error: io::Error| {
            let advice = if error.kind() == io::ErrorKind::PermissionDenied {
                "; start the agent as root, or name a path of yours with --socket"
            } else {
                ""
            };
            Problem::new(Code::AgentStart, format!("cannot listen on {}: {error}{advice}", path.display()))
        };
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
        }
        remove_stale(path)?;

        let listener = UnixListener::bind(path).map_err(failed)?;
        let own_user = std::fs::metadata("/proc/self").map_err(failed)?.uid();
        let allowed = Allowed::from_system(own_user, Path::new("/etc/group"));
        // Only root can give a file to a group it is not in; without it the group goes without the socket.
        let shared =
            allowed.group().is_some_and(|group| std::os::unix::fs::chown(path, None, Some(group)).is_ok());
        let mode = if shared { 0o660 } else { 0o600 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self { listener, allowed, path: path.to_owned() })
    }

    /// Serves connections until the engine's end of `calls` is closed.
    pub async fn run(self, calls: mpsc::Sender<Call>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = tokio::select! {
                () = calls.closed() => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of descriptors, most likely: the next one may succeed when others close.
                        tracing::warn!(%error, "local socket cannot accept");
                        tokio::task::yield_now().await;
                        continue;
                    }
                },
            };
            let (allowed, calls) = (self.allowed, calls.clone());
            tokio::spawn(async move {
                serve(stream, allowed, calls).await;
                drop(place);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good as removed.
        drop(std::fs::remove_file(&self.path));
    }
}

fn remove_stale(path: &Path) -> Result<(), Problem> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let text =
            format!("{} exists and is not a socket; move it away or name another --socket", path.display());
        return Err(Problem::new(Code::AgentStart, text));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let text = format!(
            "another agent answers on {}; stop it first, or give this one its own --state, --socket and --tun",
            path.display()
        );
        return Err(Problem::new(Code::AgentAlreadyRunning, text));
    }
    std::fs::remove_file(path).map_err(|error| {
        Problem::new(Code::AgentStart, format!("cannot replace {}: {error}", path.display()))
    })
}

async fn serve(stream: UnixStream, allowed: Allowed, calls: mpsc::Sender<Call>) {
    let admitted = allowed.check(&stream);
    let (mut reader, mut writer) = stream.into_split();
    let ask = match admitted {
        Ok(()) => request(&mut reader).await,
        Err(problem) => Err(problem),
    };
    let ask = match ask {
        Ok(ask) => ask,
        Err(problem) => {
            // The client may be gone; there is nobody else to tell.
            drop(write(&mut writer, Answer::Error(problem)).await);
            return;
        }
    };

    let (answers, mut answered) = mpsc::channel(ANSWERS_MAX);
    if calls.send(Call { ask, answers }).await.is_err() {
        return;
    }
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            answer = answered.recv() => {
                let Some(answer) = answer else { return };
                if write(&mut writer, answer).await.is_err() {
                    return;
                }
            }
            // A client sends one line only: whatever can be read now is its hanging up.
            _ = reader.read(&mut nothing) => return,
        }
    }
}

async fn request(reader: &mut OwnedReadHalf) -> Result<Ask, Problem> {
    let refused =
        |why: String| Problem::new(Code::AgentRequest, format!("the agent did not understand: {why}"));
    let mut line = Vec::new();
    let limit = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX);
    let mut limited = BufReader::new(reader.take(limit));
    match tokio::time::timeout(REQUEST_WAIT, limited.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) if line.ends_with(b"\n") => {}
        Ok(Ok(_)) => return Err(refused(format!("no line of at most {REQUEST_MAX} bytes came"))),
        Ok(Err(error)) => return Err(refused(error.to_string())),
        Err(_) => return Err(refused(format!("no request within {} s", REQUEST_WAIT.as_secs()))),
    }
    #[derive(serde::Deserialize)]
    struct Version {
        v: u32,
    }
    match serde_json::from_slice::<Version>(&line) {
        Ok(Version { v: VERSION }) => {}
        Ok(Version { v }) => {
            let text = format!(
                "the command speaks version {v} of the local protocol and the running agent {VERSION}; restart \
                 the agent after an upgrade (systemctl restart lanyard)"
            );
            return Err(Problem::new(Code::AgentVersion, text));
        }
        Err(error) => return Err(refused(error.to_string())),
    }
    serde_json::from_slice::<Line<Ask>>(&line)
        .map(|line| line.body)
        .map_err(|error| refused(error.to_string()))
}

async fn write(writer: &mut OwnedWriteHalf, answer: Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Line::new(answer))?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::client::Client;

    #[tokio::test]
    async fn a_request_reaches_the_engine_and_its_answers_come_back_in_order() {
        let (_directory, path, mut calls) = running();
        let client = tokio::task::spawn_blocking(move || {
            let answers = Client::connect(&path).unwrap().ask(&Ask::Netcheck).unwrap();
            answers.collect::<Result<Vec<_>, _>>().unwrap()
        });

        let call = calls.recv().await.unwrap();
        assert_eq!(call.ask, Ask::Netcheck);
        call.answers.send(Answer::Ready).await.unwrap();
        call.answers.send(Answer::Left { network: "home".to_owned() }).await.unwrap();
        drop(call);

        let answers = client.await.unwrap();
        assert_eq!(answers, [Answer::Ready, Answer::Left { network: "home".to_owned() }]);
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_closes_its_channel() {
        let (_directory, path, mut calls) = running();
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"{\"v\":1,\"ask\":\"status\",\"watch\":true}\n").await.unwrap();
        let call = calls.recv().await.unwrap();
        drop(stream);
        tokio::time::timeout(REQUEST_WAIT, call.answers.closed()).await.expect("the hang-up was not noticed");
    }

    #[tokio::test]
    async fn nonsense_is_answered_by_an_error_and_never_reaches_the_engine() {
        let (_directory, path, mut calls) = running();
        let long = [b'x'; REQUEST_MAX + 1];
        for (sent, code) in [
            (&b"hello\n"[..], Code::AgentRequest),
            (&b"\n"[..], Code::AgentRequest),
            (&b"\xFF\xFE\n"[..], Code::AgentRequest),
            (&b"{\"v\":1,\"ask\":\"self_destruct\"}\n"[..], Code::AgentRequest),
            (&b"{\"v\":1,\"ask\":\"leave\"}\n"[..], Code::AgentRequest),
            (&b"{\"v\":99,\"ask\":\"netcheck\"}\n"[..], Code::AgentVersion),
            (&long[..], Code::AgentRequest),
        ] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let mut answer = String::new();
            BufReader::new(&mut stream).read_line(&mut answer).await.unwrap();
            let answer: Line<Answer> = serde_json::from_str(&answer).unwrap();
            assert!(matches!(answer.body, Answer::Error(problem) if problem.code == code));
        }
        assert!(calls.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lanyard.sock");
        std::fs::create_dir(directory.path().join("run")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

        let server = Server::bind(&path).unwrap();
        assert_eq!(Server::bind(&path).unwrap_err().code, Code::AgentAlreadyRunning);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert!(mode == 0o600 || mode == 0o660, "mode {mode:o}");

        drop(server);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(Server::bind(&path).unwrap_err().code, Code::AgentStart);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    fn running() -> (tempfile::TempDir, PathBuf, mpsc::Receiver<Call>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lanyard.sock");
        let server = Server::bind(&path).unwrap();
        let (calls, received) = mpsc::channel(4);
        tokio::spawn(server.run(calls));
        (directory, path, received)
    }
}
