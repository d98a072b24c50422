//! The UDP sockets of one machine, and by which of them an answer leaves.
//!
//! A device takes an answer only from the address it asked, so a server with several addresses must answer from the
//! one that was asked. With sockets on all addresses the kernel would choose by route. Therefore: what arrives on
//! another address than the kernel would choose is remembered with its sender, in a bounded table that stays empty
//! on a server with one address.
//!
//! Relay frames may have sockets of their own on the same ports ([`Sockets::with_frames_apart`]), so that a flood of
//! them fills their queue in the kernel and not the one in which sessions are begun and kept.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::task::Poll;

use lanyard_proto::transmit::SocketId;
use lanyard_wire::envelope::RELAY;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::Interest;

use super::Buffers;
use crate::problem::Problem;

/// Buffer asked for in each direction; the kernel gives what its limits allow.
const SOCKET_BUFFER: usize = 4 << 20;

/// Keeps relay frames apart: the second socket of a port gets what begins with their kind, the first one everything
/// else (classic BPF; a datagram without bytes goes to the first).
const FRAMES_TO_SECOND: [libc::sock_filter; 4] = [
    filter(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0),
    filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, RELAY as u32),
    filter(libc::BPF_RET | libc::BPF_K, 0, 1),
    filter(libc::BPF_RET | libc::BPF_K, 0, 0),
];

/// Senders remembered with the address they asked; when it is full it starts afresh, and each of them is back with
/// its next datagram.
const ROUTES_MAX: usize = 65_536;

/// How an answer finds its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// By the remote: its family, and the address it last sent to.
    ByRemote,
    /// By the socket the machine names.
    BySocket,
}

/// The way a datagram leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    socket: usize,
    source: Option<IpAddr>,
}

/// The way a datagram came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) local: SocketId,
    pub(super) ip: Option<IpAddr>,
}

/// All sockets of one machine.
#[derive(Debug)]
pub struct Sockets {
    list: Vec<Socket>,
    routing: Routing,
    routes: HashMap<SocketAddr, Route>,
    usual4: Option<IpAddr>,
    usual6: Option<IpAddr>,
    next: usize,
}

#[derive(Debug)]
struct Socket {
    id: SocketId,
    address: SocketAddr,
    /// The socket on the same port that answers leave by, if that is another one: this one has relay frames only.
    home: Option<usize>,
    io: tokio::net::UdpSocket,
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
        Ok(Self { list, routing, routes: HashMap::new(), usual4, usual6, next: 0 })
    }

    /// Gives relay frames sockets of their own on the same ports. Where the kernel does not do that, they share.
    #[must_use]
    pub fn with_frames_apart(mut self) -> Self {
        for home in 0..self.list.len() {
            match self.list[home].beside(home) {
                Ok(socket) => self.list.push(socket),
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
        self.list.iter().filter(|socket| socket.home.is_none()).map(|socket| socket.address).collect()
    }

    /// Reads what waits at the other socket of the port of one that has relay frames only; `None` when nothing does.
    ///
    /// Whoever binds a channel sends frames right behind: what came before them must be read before them. The runtime
    /// may not know yet that something came, so the kernel is asked.
    pub(super) fn receive_before(&self, index: usize, buffers: &mut Buffers) -> Option<(usize, usize)> {
        let home = self.list[index].home?;
        let socket = &self.list[home];
        SockRef::from(&socket.io).peek(&mut [MaybeUninit::uninit()]).ok()?;
        let (mut slices, meta) = buffers.parts();
        let count = socket.state.recv(UdpSockRef::from(&socket.io), &mut slices, meta).ok()?;
        Some((home, count))
    }

    /// Whether a socket has relay frames only.
    pub(super) fn has_frames_only(&self, index: usize) -> bool {
        self.list[index].home.is_some()
    }

    /// Number and address of each socket that was opened.
    pub fn numbered(&self) -> impl Iterator<Item = (SocketId, SocketAddr)> {
        self.list.iter().map(|socket| (socket.id, socket.address))
    }

    /// Waits until a socket has something; takes turns when several have.
    pub(super) async fn readable(&mut self) -> usize {
        let (list, start) = (&self.list, self.next);
        let index = poll_fn(|context| {
            for offset in 0..list.len() {
                let index = (start + offset) % list.len();
                if list[index].io.poll_recv_ready(context).is_ready() {
                    return Poll::Ready(index);
                }
            }
            Poll::Pending
        })
        .await;
        self.next = (index + 1) % self.list.len();
        index
    }

    /// Reads one batch; `None` when there is nothing more.
    pub(super) fn receive(&self, index: usize, buffers: &mut Buffers) -> Option<usize> {
        let socket = &self.list[index];
        let (mut slices, meta) = buffers.parts();
        let read = || socket.state.recv(UdpSockRef::from(&socket.io), &mut slices, meta);
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

    /// Notes by which way a sender came.
    pub(super) fn arrive(&mut self, index: usize, meta: &RecvMeta) -> Arrival {
        let socket = &self.list[index];
        let asked = meta.dst_ip.filter(|_| socket.address.ip().is_unspecified());
        let arrival = Arrival { local: socket.id, ip: asked };
        if self.routing == Routing::BySocket {
            return arrival;
        }
        let usual = if meta.addr.is_ipv4() { self.usual4 } else { self.usual6 };
        let index = socket.home.unwrap_or(index);
        let is_usual = self.first_of(meta.addr) == Some(index) && (asked.is_none() || asked == usual);
        if is_usual {
            if !self.routes.is_empty() {
                self.routes.remove(&meta.addr);
            }
            return arrival;
        }
        if self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(&meta.addr) {
            self.routes.clear();
        }
        self.routes.insert(meta.addr, Route { socket: index, source: asked });
        arrival
    }

    /// By which way something leaves; `asked` is the address the question came to.
    pub(super) fn route(&self, local: SocketId, remote: SocketAddr, asked: Option<IpAddr>) -> Option<Route> {
        match self.routing {
            Routing::BySocket => {
                let socket = self.list.iter().position(|socket| socket.id == local)?;
                let source = asked.filter(|_| self.list[socket].address.ip().is_unspecified());
                Some(Route { socket, source })
            }
            Routing::ByRemote => self
                .routes
                .get(&remote)
                .copied()
                .or_else(|| self.first_of(remote).map(|socket| Route { socket, source: None })),
        }
    }

    /// Datagrams one train may have.
    pub(super) fn train_max(&self, route: Route) -> usize {
        self.list[route.socket].state.max_gso_segments()
    }

    /// Sends a datagram, or a train of datagrams of `segment` bytes.
    pub(super) fn send(
        &self,
        route: Route,
        remote: SocketAddr,
        bytes: &[u8],
        segment: Option<usize>,
    ) -> Result<()> {
        let socket = &self.list[route.socket];
        let transmit = Transmit {
            destination: remote,
            ecn: None,
            contents: bytes,
            segment_size: segment,
            src_ip: route.source,
        };
        // Straight to the kernel, which says at once when there is no room: the runtime's own idea of whether the
        // socket takes something lags behind, and nobody waits for it here.
        socket.state.try_send(UdpSockRef::from(&socket.io), &transmit)
    }

    fn first_of(&self, remote: SocketAddr) -> Option<usize> {
        self.list.iter().position(|socket| socket.address.is_ipv4() == remote.is_ipv4())
    }
}

impl Socket {
    fn bind(id: SocketId, address: SocketAddr) -> Result<Self> {
        Self::open(id, address, None)
    }

    /// A second socket on this one's port, which takes the relay frames from it.
    fn beside(&self, home: usize) -> Result<Self> {
        // Only now: before its bind, the kernel would have let us share the port with another server of the same user.
        SockRef::from(&self.io).set_reuse_port(true)?;
        let second = Self::open(self.id, self.address, Some(home))?;
        let mut filter = FRAMES_TO_SECOND;
        let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
        setsockopt(&self.io, AttachReusePortCbpf, &program)?;
        Ok(second)
    }

    fn open(id: SocketId, address: SocketAddr, home: Option<usize>) -> Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(home.is_some())?;
        socket.bind(&address.into())?;
        let io: UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let_routers_fragment(&io)?;
        let buffers = SockRef::from(&io);
        // Refusals are no failure: doctor tells about the kernel's limit.
        let _ = buffers.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = buffers.set_send_buffer_size(SOCKET_BUFFER);
        let address = io.local_addr()?;
        Ok(Self { id, address, home, io: tokio::net::UdpSocket::from_std(io)?, state })
    }
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
