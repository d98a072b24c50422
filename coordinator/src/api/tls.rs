//! The web over TLS, and with it the door.
//!
//! Each connection has `BEGIN` for its handshake and again for each request's head, so that slow ones cost a place
//! for seconds only; places are `BEGINNERS_MAX`, and who upgrades to a door leaves his to the next.

use std::io::{Error, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::certificate::Tls;
use super::{Secure, Web};
use crate::problem::Problem;

/// How long a handshake, or the head of a request, may take.
const BEGIN: Duration = Duration::from_secs(10);

/// Connections that are not doors, at a time.
const BEGINNERS_MAX: usize = 4_096;

/// Connections the kernel may hold for us.
const BACKLOG: i32 = 1_024;

/// Bytes the kernel takes beyond what TCP may send now. The rest waits in the door's queue, where the oldest can go.
const UNSENT_MAX: u32 = 32 << 10;

/// How long what was sent may stay without acknowledgement: the other end is gone, and a device has another connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How long to wait when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Binds an address; `None` where this machine has no IPv6.
///
/// # Errors
/// [`Problem`] `web.door`, which says what that means for devices; the caller decides whether to go on.
pub fn bind(address: SocketAddr) -> Result<Option<TcpListener>, Problem> {
    match listen(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && has_no_ipv6(&error) => Ok(None),
        Err(error) => Err(refused(address, &error)),
    }
}

/// Why an address could not be bound now, if so.
#[must_use]
pub fn obstacle(address: SocketAddr) -> Option<String> {
    try_bind(address).err().map(|error| refused(address, &error).to_string())
}

/// Binds an address and lets it go again.
///
/// # Errors
/// As the system has it.
pub fn try_bind(address: SocketAddr) -> std::io::Result<()> {
    // Only listening tells whether somebody else listens.
    socket(address)?.listen(1)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn has_no_ipv6(error: &Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum that grows; the rest is told as it is")]
fn refused(address: SocketAddr, error: &Error) -> Problem {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "another program has it (\"ss -tlnp\" names it)".to_owned(),
        ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    let text = format!(
        "tcp {address} cannot be opened: {why}. Devices in networks that block UDP cannot connect until it is: free \
         it, or set web.tls to another port, which then stands in new join strings"
    );
    Problem::new("web.door", text)
}

/// Serves until `stop` turns true.
pub async fn serve(listeners: Vec<TcpListener>, tls: Tls, web: Web, mut stop: watch::Receiver<bool>) {
    let front = Front {
        acceptor: TlsAcceptor::from(tls),
        router: web.router(),
        places: Arc::new(Semaphore::new(BEGINNERS_MAX)),
        stop: stop.clone(),
    };
    let accepting = listeners.into_iter().map(|listener| front.clone().accept(listener));
    let accepting = futures_util::future::join_all(accepting);
    tokio::select! {
        _ = accepting => {}
        stopped = stop.wait_for(|stop| *stop) => drop(stopped),
    }
}

#[derive(Clone)]
struct Front {
    acceptor: TlsAcceptor,
    router: Router,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Front {
    async fn accept(self, listener: TcpListener) {
        loop {
            // The place first: who has none waits in the kernel.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, remote)) => {
                    let front = self.clone();
                    tokio::spawn(async move {
                        front.attend(stream, remote).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection accepted");
                    tokio::time::sleep_until(tokio::time::Instant::now() + NO_ROOM).await;
                }
            }
        }
    }

    /// One connection, until it ends or becomes a door.
    async fn attend(mut self, stream: TcpStream, remote: SocketAddr) {
        tune(&stream);
        let Ok(Ok(stream)) = timeout(BEGIN, self.acceptor.accept(stream)).await else { return };
        let router = self.router.layer(Extension(ConnectInfo(remote))).layer(Extension(Secure));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(BEGIN)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .with_upgrades();
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::trace!(%error, "a connection ended");
            },
            stopped = self.stop.wait_for(|stop| *stop) => drop(stopped),
        }
    }
}

/// Refusals are no failure: they cost speed.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(UNSENT_MAX);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}
