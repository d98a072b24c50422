//! The local socket where there are Unix sockets.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tokio::net::UnixListener;

use crate::exit::{Code, Problem};
use crate::ipc::credentials::Allowed;

/// One connection.
pub type Stream = tokio::net::UnixStream;

/// The socket, removed when dropped.
#[derive(Debug)]
pub struct Endpoint {
    listener: UnixListener,
    allowed: Allowed,
    path: PathBuf,
}

impl Endpoint {
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
        let allowed = Allowed::from_system(geteuid().as_raw(), Path::new("/etc/group"));
        // Only root can give a file to a group it is not in; without it the group goes without the socket.
        let shared =
            allowed.group().is_some_and(|group| std::os::unix::fs::chown(path, None, Some(group)).is_ok());
        let mode = if shared { 0o660 } else { 0o600 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self { listener, allowed, path: path.to_owned() })
    }

    /// Waits for a connection, and says whether whoever opened it may command the agent. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// As from `accept`.
    pub async fn accept(&mut self) -> io::Result<(Stream, Result<(), Problem>)> {
        let (stream, _) = self.listener.accept().await?;
        let admitted = self.allowed.check(&stream);
        Ok((stream, admitted))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Gone already is as good as removed.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Connects to the agent at `path`.
///
/// # Errors
///
/// As from `connect`.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    Stream::connect(path).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lanyard.sock");
        std::fs::create_dir(directory.path().join("run")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

        let server = Endpoint::bind(&path).unwrap();
        assert_eq!(Endpoint::bind(&path).unwrap_err().code, Code::AgentAlreadyRunning);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert!(mode == 0o600 || mode == 0o660, "mode {mode:o}");

        drop(server);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(Endpoint::bind(&path).unwrap_err().code, Code::AgentStart);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
