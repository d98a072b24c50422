//! What only Windows has: errors, "port unreachable", and "don't fragment".

use std::io;
use std::os::windows::io::AsRawSocket;
use std::ptr;

use socket2::Socket;
use tracing::debug;
use windows_sys::Win32::Networking::WinSock::{
    IP_DONTFRAGMENT, IPPROTO_IP, IPPROTO_IPV6, IPV6_DONTFRAG, SIO_UDP_CONNRESET, SOCKET, SOCKET_ERROR,
    WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT, WSAEINVAL, WSAEMSGSIZE, WSAENOBUFS, WSAEPROTONOSUPPORT,
    WSAEWOULDBLOCK, WSAIoctl, setsockopt,
};

pub(super) use super::single::{bind_first, bind_next, in_one_piece, make_room};

/// Errors of a send that finds no room.
pub(super) const NO_ROOM: [i32; 2] = [WSAEWOULDBLOCK, WSAENOBUFS];
/// The error of a datagram that is longer than the first link takes.
pub(super) const TOO_LONG: i32 = WSAEMSGSIZE;
/// Errors of a train that is refused as such.
pub(super) const NO_TRAIN: [i32; 1] = [WSAEINVAL];

/// Whether an error says that this computer does not speak IPv6 at all.
pub(super) fn is_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEAFNOSUPPORT | WSAEADDRNOTAVAIL | WSAEPROTONOSUPPORT))
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
