//! The agent's end of the local socket.
//!
//! Each connection is one request. It is checked, parsed and handed to the engine as a [`Call`]; what the
//! engine answers goes back line by line until it drops its end of the channel. A client that hangs up
//! closes the channel, which is how the engine learns that nobody watches any more.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf,
};
use tokio::sync::{Semaphore, mpsc};

use super::endpoint::{Endpoint, Stream};
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

/// The agent's end.
#[derive(Debug)]
pub struct Server(Endpoint);

impl Server {
    /// Listens at `path`; see [`Endpoint::bind`] for who may connect.
    ///
    /// # Errors
    ///
    /// Another agent listens there, or the place is not ours to use.
    pub fn bind(path: &Path) -> Result<Self, Problem> {
        Endpoint::bind(path).map(Self)
    }

    /// Serves connections until the engine's end of `calls` is closed.
    pub async fn run(mut self, calls: mpsc::Sender<Call>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (stream, admitted) = tokio::select! {
                () = calls.closed() => return,
                accepted = self.0.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, most likely: the next one may succeed when others close.
                        tracing::warn!(%error, "local socket cannot accept");
                        tokio::task::yield_now().await;
                        continue;
                    }
                },
            };
            let calls = calls.clone();
            tokio::spawn(async move {
                serve(stream, admitted, calls).await;
                drop(place);
            });
        }
    }
}

async fn serve(stream: Stream, admitted: Result<(), Problem>, calls: mpsc::Sender<Call>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
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

async fn request(reader: &mut ReadHalf<Stream>) -> Result<Ask, Problem> {
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

async fn write(writer: &mut WriteHalf<Stream>, answer: Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Line::new(answer))?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::ipc::client::Client;
    use crate::ipc::endpoint::{connect, place_in};

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
        let mut stream = connect(&path).await.unwrap();
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
            let mut stream = connect(&path).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let mut answer = String::new();
            BufReader::new(&mut stream).read_line(&mut answer).await.unwrap();
            let answer: Line<Answer> = serde_json::from_str(&answer).unwrap();
            assert!(matches!(answer.body, Answer::Error(problem) if problem.code == code));
        }
        assert!(calls.try_recv().is_err());
    }

    fn running() -> (tempfile::TempDir, PathBuf, mpsc::Receiver<Call>) {
        let directory = tempfile::tempdir().unwrap();
        let path = place_in(directory.path());
        let server = Server::bind(&path).unwrap();
        let (calls, received) = mpsc::channel(4);
        tokio::spawn(server.run(calls));
        (directory, path, received)
    }
}
