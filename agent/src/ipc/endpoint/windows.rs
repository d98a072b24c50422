//! The local socket on Windows: a named pipe. Only the system, administrators and its owner can open it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::time::{Instant, sleep};
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY};

use crate::exit::{Code, Problem};
use crate::windows::Access;

/// One connection, whichever end.
#[derive(Debug)]
pub enum Stream {
    /// The agent's.
    Server(NamedPipeServer),
    /// A command's.
    Client(NamedPipeClient),
}

/// How long a command waits for the agent to offer one more end.
const BUSY: Duration = Duration::from_secs(2);

/// The pipe. Gone when dropped.
#[derive(Debug)]
pub struct Endpoint {
    /// The end that the next command gets.
    next: NamedPipeServer,
    path: PathBuf,
}

impl Endpoint {
    /// Creates the pipe. Commands of other computers do not reach it.
    ///
    /// # Errors
    ///
    /// Another agent has it, or its name is none of a pipe.
    pub fn bind(path: &Path) -> Result<Self, Problem> {
        let failed = |error: io::Error| {
            let text =
                format!("cannot listen on {}: {error}; pipes are named \\\\.\\pipe\\NAME", path.display());
            Problem::new(Code::AgentStart, text)
        };
        let taken = || {
            let text = format!(
                "another agent answers on {}; stop it first, or give this one its own --state, --socket and --tun",
                path.display()
            );
            Problem::new(Code::AgentAlreadyRunning, text)
        };
        // Asked first, since not every Windows keeps to a first end's being the first (wine 8 does not).
        match ClientOptions::new().open(path) {
            Ok(_) => return Err(taken()),
            Err(error) if is(&error, ERROR_PIPE_BUSY) => return Err(taken()),
            Err(_) => {}
        }
        match offer(path, true) {
            Ok(next) => Ok(Self { next, path: path.to_owned() }),
            Err(error) if is(&error, ERROR_ACCESS_DENIED) => Err(taken()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits for a connection; who may not command the agent could not open one. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// When the system gives no further end of the pipe.
    pub async fn accept(&mut self) -> io::Result<(Stream, Result<(), Problem>)> {
        self.next.connect().await?;
        let next = offer(&self.path, false)?;
        Ok((Stream::Server(std::mem::replace(&mut self.next, next)), Ok(())))
    }
}

/// Connects to the agent at `path`.
///
/// # Errors
///
/// As from `CreateFile`.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    let patience = Instant::now() + BUSY;
    loop {
        match ClientOptions::new().open(path) {
            Ok(client) => return Ok(Stream::Client(client)),
            Err(error) if is(&error, ERROR_PIPE_BUSY) && Instant::now() < patience => {}
            Err(error) => return Err(error),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Makes one end of the pipe; `first` fails if there is one already.
#[expect(unsafe_code, reason = "tokio takes who may open a pipe as a pointer")]
fn offer(path: &Path, first: bool) -> io::Result<NamedPipeServer> {
    Access::private()?.with(|attributes| {
        let mut options = ServerOptions::new();
        options.first_pipe_instance(first).reject_remote_clients(true);
        // SAFETY: the pointer is to security attributes that are valid during this call.
        unsafe { options.create_with_security_attributes_raw(path, attributes) }
    })
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().and_then(|found| u32::try_from(found).ok()) == Some(code)
}

mod stream {
    //! Either end reads and writes like the other.

    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Stream;

    impl AsyncRead for Stream {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Server(pipe) => Pin::new(pipe).poll_read(context, buffer),
                Self::Client(pipe) => Pin::new(pipe).poll_read(context, buffer),
            }
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            match self.get_mut() {
                Self::Server(pipe) => Pin::new(pipe).poll_write(context, bytes),
                Self::Client(pipe) => Pin::new(pipe).poll_write(context, bytes),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Server(pipe) => Pin::new(pipe).poll_flush(context),
                Self::Client(pipe) => Pin::new(pipe).poll_flush(context),
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Server(pipe) => Pin::new(pipe).poll_shutdown(context),
                Self::Client(pipe) => Pin::new(pipe).poll_shutdown(context),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::endpoint::place_in;

    #[tokio::test]
    async fn a_second_agent_is_refused_and_the_pipe_goes_with_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = place_in(directory.path());
        let first = Endpoint::bind(&path).unwrap();
        assert_eq!(Endpoint::bind(&path).unwrap_err().code, Code::AgentAlreadyRunning);
        drop(first);
        Endpoint::bind(&path).unwrap();
        assert_eq!(Endpoint::bind(Path::new("nowhere")).unwrap_err().code, Code::AgentStart);
    }
}
