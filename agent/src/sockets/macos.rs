//! Binding on macOS: one shard, since its kernel does not spread a port over sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

/// Receive buffer asked for: as on Linux, where the system allows as much.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Send buffer asked for.
const SEND_BUFFER: usize = 2 << 20;

/// Errors of a send that finds no room.
pub(super) const NO_ROOM: [i32; 2] = [libc::EAGAIN, libc::ENOBUFS];
/// The error of a datagram that is longer than the first link takes.
pub(super) const TOO_LONG: i32 = libc::EMSGSIZE;
/// Nothing is sent as a train here.
pub(super) const NO_TRAIN: [i32; 0] = [];

/// Binds alone: fails if any other program has the port.
pub(super) fn bind_first(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    make_room(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// There is no second shard.
pub(super) fn bind_next(_: SocketAddr) -> io::Result<UdpSocket> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Whether an error says that this computer does not speak IPv6 at all.
pub(super) fn is_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

/// Other people's "unreachable" is no error of an unconnected socket here.
pub(super) const fn ignore_unreachable(_: &Socket) {}

/// Gives a socket that carries tunnels its buffers, as far as the system's limit allows.
pub(super) fn make_room(socket: &Socket) {
    let receive = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let send = socket.set_send_buffer_size(SEND_BUFFER);
    debug!(?receive, ?send, got = ?socket.recv_buffer_size(), "buffers within the system's limit");
}

/// Datagrams carry no "don't fragment"; see `linux.rs` for why.
pub(super) fn let_routers_fragment(socket: &Socket) -> io::Result<()> {
    dont_fragment(socket, 0)
}

/// Datagrams go out in one piece or not at all.
pub(super) fn forbid_fragments(socket: &Socket) -> io::Result<()> {
    dont_fragment(socket, 1)
}

/// Sends something that is not to be cut by a socket whose other datagrams may be.
pub(super) fn in_one_piece(socket: &Socket, send: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    forbid_fragments(socket)?;
    let outcome = send();
    let_routers_fragment(socket)?;
    outcome
}

#[expect(unsafe_code, reason = "the standard library, socket2 and nix have no call for IP_DONTFRAG")]
fn dont_fragment(socket: &Socket, value: libc::c_int) -> io::Result<()> {
    let (level, option) = if socket.local_addr()?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_DONTFRAG)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG)
    };
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
