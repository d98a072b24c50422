//! What only macOS has: errors, and "don't fragment".

use std::io;
use std::os::fd::AsRawFd as _;

use socket2::Socket;

pub(super) use super::single::{bind_first, bind_next, in_one_piece, make_room};

/// Errors of a send that finds no room.
pub(super) const NO_ROOM: [i32; 2] = [libc::EAGAIN, libc::ENOBUFS];
/// The error of a datagram that is longer than the first link takes.
pub(super) const TOO_LONG: i32 = libc::EMSGSIZE;
/// Nothing is sent as a train here.
pub(super) const NO_TRAIN: [i32; 0] = [];

/// Whether an error says that this computer does not speak IPv6 at all.
pub(super) fn is_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

/// Other people's "unreachable" is no error of an unconnected socket here.
pub(super) const fn ignore_unreachable(_: &Socket) {}

/// Datagrams carry no "don't fragment"; see `linux.rs` for why.
pub(super) fn let_routers_fragment(socket: &Socket) -> io::Result<()> {
    dont_fragment(socket, 0)
}

/// Datagrams go out in one piece or not at all.
pub(super) fn forbid_fragments(socket: &Socket) -> io::Result<()> {
    dont_fragment(socket, 1)
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
