//! The UDP sockets of one machine.
//!
//! Relay frames may have sockets of their own on the same ports ([`Sockets::with_frames_apart`]), so that a flood of
//! them fills their queue in the kernel and not the one in which sessions are begun and kept.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::task::Poll;
use std::time::Duration;

use lanyard_proto::transmit::SocketId;
use lanyard_wire::envelope::RELAY;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Buffers;
use super::routes::Route;
use crate::problem::Problem;

/// Buffer asked for in each direction; the kernel gives what its limits allow.
const SOCKET_BUFFER: usize = 4 << 20;

/// How long one waits for relay frames before it looks around.
const FRAMES_WAIT: Duration = Duration::from_millis(250);

/// Keeps relay frames apart: the second socket of a port gets what begins with their kind, the first one everything
/// else (classic BPF; a datagram without bytes goes to the first).
const FRAMES_TO_SECOND: [libc::sock_filter; 4] = [
    filter(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0),
    filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, RELAY as u32),
    filter(libc::BPF_RET | libc::BPF_K, 0, 1),
    filter(libc::BPF_RET | libc::BPF_K, 0, 0),
];

/// How an answer finds its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// By the remote: its family, and the address it last sent to.
    ByRemote,
    /// By the socket the machine names.
    BySocket,
}

/// All sockets of one machine.
#[derive(Debug)]
pub struct Sockets {
    list: Vec<Socket>,
    frames: Vec<FrameSocket>,
    routing: Routing,
    usual4: Option<IpAddr>,
    usual6: Option<IpAddr>,
}

#[derive(Debug)]
struct Socket {
    id: SocketId,
    address: SocketAddr,
    /// For reading only: told of room to send, the runtime would wake a worker for every datagram that has left.
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
}

/// A socket with relay frames only, on the port of another, for reading. The runtime does not know it.
#[derive(Debug)]
pub(super) struct FrameSocket {
    /// The other, by its place in the list.
    pub(super) home: usize,
    io: UdpSocket,
    state: UdpSocketState,
}

impl Sockets {
    /// Binds one socket for each address, under the number the machine knows it by.
    ///
    /// `key` names the setting in errors.
    ///
    /// # Errors
    /// [`Problem`] `serve.port` when an address cannot be bound.
    pub fn bind(
        addresses: &[(SocketId, SocketAddr)],
        routing: Routing,
        key: &str,
    ) -> core::result::Result<Self, Problem> {
        let mut list = Vec::with_capacity(addresses.len());
        for (id, address) in addresses {
            match Socket::bind(*id, *address) {
                Ok(socket) => list.push(socket),
                Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && has_no_ipv6(&error) => {
                    tracing::info!(%address, "this machine has no IPv6; going on without");
                }
                Err(error) => return Err(refused(*address, key, &error)),
            }
        }
        if list.is_empty() {
            return Err(Problem::new("serve.port", format!("{key} leaves no socket that can be opened")));
        }
        let (usual4, usual6) =
            (usual_source(Ipv4Addr::new(192, 0, 2, 1).into()), usual_source(DOCUMENTATION6.into()));
        Ok(Self { list, frames: Vec::new(), routing, usual4, usual6 })
    }

    /// Gives relay frames sockets of their own on the same ports. Where the kernel does not do that, they share.
    #[must_use]
    pub fn with_frames_apart(mut self) -> Self {
        for home in 0..self.list.len() {
            match self.list[home].beside() {
                Ok((io, state)) => self.frames.push(FrameSocket { home, io, state }),
                Err(error) => {
                    let address = self.list[home].address;
                    tracing::info!(%address, %error, "relay frames share a socket with everything else");
                }
            }
        }
        self
    }

    /// Where the sockets are, in order.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.list.iter().map(|socket| socket.address).collect()
    }

    /// Reads what waits at a socket whether or not the runtime knows of it yet; `None` when nothing does.
    pub(super) fn receive_before(&self, index: usize, buffers: &mut Buffers) -> Option<usize> {
        let socket = &self.list[index];
        SockRef::from(socket.io.get_ref()).peek(&mut [MaybeUninit::uninit()]).ok()?;
        let (mut slices, meta) = buffers.parts();
        socket.state.recv(UdpSockRef::from(socket.io.get_ref()), &mut slices, meta).ok()
    }

    /// The sockets that have relay frames only.
    pub(super) fn frames(&self) -> &[FrameSocket] {
        &self.frames
    }

    /// Number and address of each socket that was opened.
    pub fn numbered(&self) -> impl Iterator<Item = (SocketId, SocketAddr)> {
        self.list.iter().map(|socket| (socket.id, socket.address))
    }

    /// Waits until a socket has something; takes turns when several have.
    pub(super) async fn readable(&self, turn: &mut usize) -> usize {
        let index = poll_fn(|context| {
            for offset in 0..self.list.len() {
                let index = (*turn + offset) % self.list.len();
                if self.list[index].io.poll_read_ready(context).is_ready() {
                    return Poll::Ready(index);
                }
            }
            Poll::Pending
        })
        .await;
        *turn = (index + 1) % self.list.len();
        index
    }

    /// Reads one batch; `None` when there is nothing more.
    pub(super) fn receive(&self, index: usize, buffers: &mut Buffers) -> Option<usize> {
        let socket = &self.list[index];
        let (mut slices, meta) = buffers.parts();
        let read = |io: &UdpSocket| socket.state.recv(UdpSockRef::from(io), &mut slices, meta);
        match socket.io.try_io(Interest::READABLE, read) {
            Ok(count) => Some(count),
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    tracing::debug!(local = %socket.address, %error, "receiving failed");
                }
                None
            }
        }
    }

    /// Datagrams one train may have.
    pub(super) fn train_max(&self, route: Route) -> usize {
        self.list[route.socket].state.max_gso_segments()
    }

    /// Sends a datagram, or a train of datagrams of `segment` bytes.
    ///
    /// Straight to the kernel, which says at once when there is no room: nobody waits for it here.
    pub(super) fn send(
        &self,
        route: Route,
        remote: SocketAddr,
        bytes: &[u8],
        segment: Option<usize>,
    ) -> Result<()> {
        let transmit = Transmit {
            destination: remote,
            ecn: None,
            contents: bytes,
            segment_size: segment,
            src_ip: route.source,
        };
        let socket = &self.list[route.socket];
        socket.state.try_send(UdpSockRef::from(socket.io.get_ref()), &transmit)
    }

    pub(super) const fn routing(&self) -> Routing {
        self.routing
    }

    /// The number the machine knows a socket by, and whether it is on all addresses of this machine.
    pub(super) fn facts(&self, index: usize) -> (SocketId, bool) {
        let socket = &self.list[index];
        (socket.id, socket.address.ip().is_unspecified())
    }

    /// Whether the kernel, left to itself, would answer a remote by the socket and from the address that it asked.
    pub(super) fn is_usual(&self, index: usize, remote: SocketAddr, asked: Option<IpAddr>) -> bool {
        let usual = if remote.is_ipv4() { self.usual4 } else { self.usual6 };
        self.first_of(remote) == Some(index) && (asked.is_none() || asked == usual)
    }

    pub(super) fn first_of(&self, remote: SocketAddr) -> Option<usize> {
        self.list.iter().position(|socket| socket.address.is_ipv4() == remote.is_ipv4())
    }
}

impl FrameSocket {
    /// Waits for a datagram, or a train of them, and reads no more than that: so it is on its way at once. `None` when
    /// none came for [`FRAMES_WAIT`].
    ///
    /// # Errors
    /// The kernel does not let the socket wait.
    pub(super) fn wait(&self, buffers: &mut Buffers) -> Result<Option<usize>> {
        self.io.set_nonblocking(false)?;
        let (slice, meta) = buffers.first();
        Ok(self.state.recv(UdpSockRef::from(&self.io), &mut [slice], meta).ok())
    }

    /// Reads a batch of what has come; `None` when there is nothing more.
    ///
    /// # Errors
    /// The kernel does not let the socket not wait.
    pub(super) fn receive(&self, buffers: &mut Buffers) -> Result<Option<usize>> {
        self.io.set_nonblocking(true)?;
        let (mut slices, meta) = buffers.parts();
        Ok(self.state.recv(UdpSockRef::from(&self.io), &mut slices, meta).ok())
    }
}

impl Socket {
    fn bind(id: SocketId, address: SocketAddr) -> Result<Self> {
        let (io, state) = open(address, Port::Alone)?;
        let address = io.local_addr()?;
        Ok(Self { id, address, io: watch(io)?, state })
    }

    /// A second socket on this one's port, which takes the relay frames from it.
    fn beside(&self) -> Result<(UdpSocket, UdpSocketState)> {
        // Only now: before its bind, the kernel would have let us share the port with another server of the same user.
        SockRef::from(self.io.get_ref()).set_reuse_port(true)?;
        let second = open(self.address, Port::Shared)?;
        let mut filter = FRAMES_TO_SECOND;
        let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
        second.0.set_read_timeout(Some(FRAMES_WAIT))?;
        setsockopt(self.io.get_ref(), AttachReusePortCbpf, &program)?;
        Ok(second)
    }
}

/// Has the runtime tell when there is something to read.
#[expect(unsafe_code, reason = "the runtime has no socket of its own that is registered for reading only")]
fn watch(io: UdpSocket) -> Result<AsyncFd<UdpSocket>> {
    // SAFETY: a `UdpSocket` keeps one descriptor open until it is dropped, and names the same one at every call.
    Ok(unsafe { AsyncFd::register_with_interest(io, Interest::READABLE) }?)
}

/// Whether a socket has its port for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Alone,
    Shared,
}

fn open(address: SocketAddr, port: Port) -> Result<(UdpSocket, UdpSocketState)> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(port == Port::Shared)?;
    socket.bind(&address.into())?;
    let io: UdpSocket = socket.into();
    let state = UdpSocketState::new(UdpSockRef::from(&io))?;
    let_routers_fragment(&io)?;
    let buffers = SockRef::from(&io);
    // Refusals are no failure: doctor tells about the kernel's limit.
    let _ = buffers.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = buffers.set_send_buffer_size(SOCKET_BUFFER);
    Ok((io, state))
}

/// Datagrams carry no "don't fragment", as the agents' carry none: what a device sends by relay would otherwise vanish
/// on the last link to the other one, where that is narrow and says nothing.
#[expect(unsafe_code, reason = "the standard library and socket2 have no call for IP_MTU_DISCOVER")]
fn let_routers_fragment(socket: &UdpSocket) -> Result<()> {
    let (level, option, value) = if socket.local_addr()?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
    };
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(Error::other)?;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// One step of a classic BPF program; `otherwise` says how many steps a test that fails leaves out.
const fn filter(code: u32, otherwise: u8, k: u32) -> libc::sock_filter {
    // Codes have 16 bits.
    libc::sock_filter { code: code as u16, jt: 0, jf: otherwise, k }
}

/// Whether binding failed because IPv6 is switched off.
fn has_no_ipv6(error: &Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// 2001:db8::1: routed like any address far away, never reached (RFC 3849).
const DOCUMENTATION6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x0DB8, 0, 0, 0, 0, 0, 1);

/// The address the kernel would send from; connecting a UDP socket sends nothing.
fn usual_source(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum that grows; the rest is told as it is")]
fn refused(address: SocketAddr, key: &str, error: &Error) -> Problem {
    let way_out = match error.kind() {
        ErrorKind::AddrInUse => "another program has it: stop that one (\"ss -ulnp\" names it)".to_owned(),
        ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    let text = format!("udp {address} cannot be opened: {way_out}, or change {key} in the settings");
    Problem::new("serve.port", text)
}
