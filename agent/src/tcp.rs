//! TCP as datagrams need it: nothing waits to be sent together, and little waits in the kernel.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

/// Bytes the kernel takes beyond what TCP may send now. The rest waits in the queue, where the oldest can go.
const UNSENT_MAX: u32 = 32 << 10;

/// How long what was sent may stay without acknowledgement before the connection counts as dead.
///
/// Four retransmissions at a round trip of 200 ms; another connection is made within a second.
const UNACKNOWLEDGED: Duration = Duration::from_secs(6);

/// Bytes of a segment: what fits an IPv6 packet of the smallest size every link carries (RFC 8200, section 5), with
/// time stamps, less 20 for the odd tunnel on the way.
///
/// Networks that let only TCP out are often those that let no "packet too big" in, and a connection whose full
/// segments vanish opens and then carries nothing.
const SEGMENT_MAX: u32 = 1_200;

/// Opens a connection whose segments are small from the first on: ours, and by what we announce the other end's.
///
/// # Errors
///
/// As from `connect`.
pub async fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    limit_segments(&socket);
    socket.connect(addr).await
}

/// Keeps segments small; refused, it costs speed alone. Windows has no such option, and finds out by itself which are lost
/// for their length.
pub fn limit_segments(socket: &TcpSocket) {
    #[cfg(unix)]
    let _ = SockRef::from(socket).set_tcp_mss(SEGMENT_MAX);
    #[cfg(windows)]
    let _ = (socket, SEGMENT_MAX);
}

/// Refusals are no failure: they cost speed.
pub fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        let _ = socket.set_tcp_notsent_lowat(UNSENT_MAX);
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    }
    // Where a connection cannot be told, a queue of the usual size waits in the system, and a dead end is found later.
    #[cfg(not(target_os = "linux"))]
    let _ = (UNSENT_MAX, UNACKNOWLEDGED);
}
