//! Binding on Windows: one shard, since its kernel does not spread a port over sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::windows::io::AsRawSocket;
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;
use windows_sys::Win32::Networking::WinSock::{
    IP_DONTFRAGMENT, IPPROTO_IP, IPPROTO_IPV6, IPV6_DONTFRAG, SIO_UDP_CONNRESET, SOCKET, SOCKET_ERROR,
    WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT, WSAEINVAL, WSAEMSGSIZE, WSAENOBUFS, WSAEPROTONOSUPPORT,
    WSAEWOULDBLOCK, WSAIoctl, setsockopt,
};

/// Receive buffer asked for: as on Linux.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Send buffer asked for.
const SEND_BUFFER: usize = 2 << 20;

/// Errors of a send that finds no room.
pub(super) const NO_ROOM: [i32; 2] = [WSAEWOULDBLOCK, WSAENOBUFS];
/// The error of a datagram that is longer than the first link takes.
pub(super) const TOO_LONG: i32 = WSAEMSGSIZE;
/// Errors of a train that is refused as such.
pub(super) const NO_TRAIN: [i32; 1] = [WSAEINVAL];

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

/// Whether an error says that this computer does not speak IPv6 at all.
pub(super) fn is_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEAFNOSUPPORT | WSAEADDRNOTAVAIL | WSAEPROTONOSUPPORT))
}

/// Gives a socket that carries tunnels its buffers.
pub(super) fn make_room(socket: &Socket) {
    let receive = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let send = socket.set_send_buffer_size(SEND_BUFFER);
    debug!(?receive, ?send, "buffers");
}

/// One "port unreachable" for something sent would fail the next receive, which has nothing to do with it.
#[expect(unsafe_code, reason = "the standard library and socket2 have no call for SIO_UDP_CONNRESET")]
pub(super) fn ignore_unreachable(socket: &Socket) {
    let off: u32 = 0;
    let mut told = 0;
    // SAFETY: the pointer and the length describe `off`, which outlives the call; nothing is written but how much was.
    let result = unsafe {
        WSAIoctl(
            raw(socket),
            SIO_UDP_CONNRESET,
            (&raw const off).cast(),
            size_of_val(&off) as u32,
            ptr::null_mut(),
            0,
            &raw mut told,
            ptr::null_mut(),
            None,
        )
    };
    if result == SOCKET_ERROR {
        debug!(error = %io::Error::last_os_error(), "receiving will fail when something was unreachable");
    }
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

#[expect(unsafe_code, reason = "the standard library and socket2 have no call for IP_DONTFRAGMENT")]
fn dont_fragment(socket: &Socket, value: u32) -> io::Result<()> {
    let (level, option) = if socket.local_addr()?.is_ipv4() {
        (IPPROTO_IP, IP_DONTFRAGMENT)
    } else {
        (IPPROTO_IPV6, IPV6_DONTFRAG)
    };
    let length = size_of_val(&value) as i32;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the system only reads it.
    let result = unsafe { setsockopt(raw(socket), level, option, (&raw const value).cast(), length) };
    if result == SOCKET_ERROR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn raw(socket: &impl AsRawSocket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}
