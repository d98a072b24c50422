//! Binding on Linux: port sharing between shards, buffers large enough for a burst.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

/// Receive buffer asked for.
///
/// 8 MB hold 50 ms at 1 Gbit/s with the kernel's bookkeeping counted in: a shard that is kept from the core
/// for one scheduler turn loses nothing.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Send buffer asked for: a few dozen super-packets.
const SEND_BUFFER: usize = 2 << 20;

/// Errors of a send that finds no room.
pub(super) const NO_ROOM: [i32; 2] = [libc::EAGAIN, libc::ENOBUFS];
/// The error of a datagram that is longer than the first link takes.
pub(super) const TOO_LONG: i32 = libc::EMSGSIZE;
/// Errors of a train that is refused as such.
pub(super) const NO_TRAIN: [i32; 2] = [libc::EINVAL, libc::EIO];

/// Binds alone: fails if any other program has the port, even one that shares it.
pub(super) fn bind_first(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    // Sharing is allowed only after the bind. Before it, the kernel would count us as one more shard of
    // another agent run by the same user, and give us half of its datagrams.
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Binds a further shard's socket to the port of the first.
pub(super) fn bind_next(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Whether an error says that this computer does not speak IPv6 at all.
pub(super) fn is_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    make_room(&socket);
    Ok(socket)
}

/// Other people's "unreachable" is no error of an unconnected socket here.
pub(super) const fn ignore_unreachable(_: &Socket) {}

/// Gives a socket that carries tunnels its buffers.
pub(super) fn make_room(socket: &Socket) {
    // The forced form passes the system's limit and needs CAP_NET_ADMIN; without it, as much as allowed.
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let outcome = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        debug!(?outcome, got = ?socket.recv_buffer_size(), "receive buffer within the system's limit");
    }
    if setsockopt(socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        let outcome = socket.set_send_buffer_size(SEND_BUFFER);
        debug!(?outcome, got = ?socket.send_buffer_size(), "send buffer within the system's limit");
    }
}

/// Datagrams carry no "don't fragment", as WireGuard's in the kernel carry none.
///
/// Those of 1,280-byte packets have 1,340 bytes at most, and most links take that. Behind one that does not, a router may cut
/// them; with the flag it would have to tell us, and where that message is filtered everything large would vanish: direct and by
/// relay alike, for the overlay's packets cannot become smaller. What such messages claim is not believed either.
/// IPv6 routers never cut; there the full-size probe decides whether a path counts. Larger packets are sent where
/// larger probes passed, which did carry the flag ([`forbid_fragments`]).
pub(super) fn let_routers_fragment(socket: &Socket) -> io::Result<()> {
    discover(socket, [libc::IP_PMTUDISC_OMIT, libc::IPV6_PMTUDISC_OMIT])
}

/// Datagrams go out in one piece or not at all, whatever the kernel heard of the path.
pub(super) fn forbid_fragments(socket: &Socket) -> io::Result<()> {
    discover(socket, [libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE])
}

/// Sends something that is not to be cut by a socket whose other datagrams may be.
///
/// Linux has no such flag for one datagram of IPv4. What another thread sends in these microseconds is not cut either; it
/// seldom would be.
pub(super) fn in_one_piece(socket: &Socket, send: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    forbid_fragments(socket)?;
    let outcome = send();
    let_routers_fragment(socket)?;
    outcome
}

/// Sets what the kernel does about the path's MTU, by one value for IPv4 and one for IPv6.
#[expect(unsafe_code, reason = "the standard library, socket2 and nix have no call for IP_MTU_DISCOVER")]
fn discover(socket: &Socket, [v4, v6]: [libc::c_int; 2]) -> io::Result<()> {
    let (level, option, value) = if socket.local_addr()?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, v4)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, v6)
    };
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
