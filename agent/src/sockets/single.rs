//! Binding where one shard has the port for itself: macOS and Windows do not spread a port over sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use super::system::{forbid_fragments, ignore_unreachable, let_routers_fragment};

/// Receive buffer asked for: as on Linux, where the system allows as much.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Send buffer asked for.
const SEND_BUFFER: usize = 2 << 20;

/// Binds alone: fails if any other program has the port.
pub(super) fn bind_first(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    make_room(&socket);
    ignore_unreachable(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// There is no second shard.
pub(super) fn bind_next(_: SocketAddr) -> io::Result<UdpSocket> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Gives a socket that carries tunnels its buffers, as far as the system's limit allows.
pub(super) fn make_room(socket: &Socket) {
    let receive = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let send = socket.set_send_buffer_size(SEND_BUFFER);
    debug!(?receive, ?send, got = ?socket.recv_buffer_size(), "buffers within the system's limit");
}

/// Sends something that is not to be cut by a socket whose other datagrams may be.
pub(super) fn in_one_piece(socket: &Socket, send: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    forbid_fragments(socket)?;
    let outcome = send();
    let_routers_fragment(socket)?;
    outcome
}
