//! The agent's UDP sockets.
//!
//! One port carries everything: tunnels, control messages, STUN and probes share it, so that they share one
//! NAT mapping. Each shard of the data plane has its own socket on that port for IPv4 and one for IPv6
//! (`SO_REUSEPORT`); the kernel keeps a flow on one of them and all send from the same port. What arrives is
//! read by the shards alone. What goes to a door's address waits for its connection in [`Doors`]. Spare sockets on
//! other ports, for measuring a NAT or for a punch, are [`SpareSockets`]; those by which a peer was reached become
//! [`Kept`]. [`whole()`] measures a path's MTU with one of its own.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as system;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as system;

mod doors;
mod kept;
#[cfg(not(target_os = "linux"))]
mod single;
mod spare;
mod whole;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use lanyard_proto::transmit::{SocketId, Transmit, Way};
use lanyard_wire::door::is_door;
use lanyard_wire::limits::WHOLE_ABOVE;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use thiserror::Error;
use tracing::debug;

pub use doors::{Doors, Outlet};
pub use kept::Kept;
pub use spare::SpareSockets;
pub use whole::whole;

/// A datagram for the device machine: a control message, an answer of STUN or a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The socket it arrived at.
    pub local: SocketId,
    /// The address it says it came from.
    pub remote: SocketAddr,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// How often a free port is looked for that both families can have.
const PORT_TRIES: u32 = 16;

/// The sockets on the agent's own port; cheap to clone, closed when the last clone goes.
#[derive(Clone, Debug)]
pub struct Sockets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    port: u16,
    shards: Vec<ShardSockets>,
    doors: Doors,
    kept: Kept,
    overlay: ArcSwap<Vec<(IpAddr, u8)>>,
}

/// One shard's sockets.
#[derive(Debug)]
pub struct ShardSockets {
    /// For IPv4.
    pub v4: Udp,
    /// For IPv6, where this computer has it.
    pub v6: Option<Udp>,
    /// For doors; all shards have the same.
    pub doors: Doors,
    /// Spare sockets that carry tunnels; all shards have the same, and the first one reads them.
    pub kept: Kept,
}

impl Sockets {
    /// Binds the port for both families, once per shard. Port 0 takes any that is free; the one taken is
    /// worth keeping, since the router's mapping and the peers' memory point to it.
    ///
    /// # Errors
    ///
    /// [`SocketError::Busy`] when another program has the port, [`SocketError::Failed`] for anything else.
    pub fn bind(port: u16, shards: usize) -> Result<Self, SocketError> {
        let mut tries = 0;
        loop {
            match Self::bind_once(port, shards) {
                // The free port of one family was taken in the other.
                Err(SocketError::Busy { .. }) if port == 0 && tries < PORT_TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    fn bind_once(port: u16, shards: usize) -> Result<Self, SocketError> {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let first = system::bind_first(v4).map_err(|source| explain(port, source))?;
        let port = first.local_addr().map_err(|source| SocketError::Failed { port, source })?.port();
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let first_v6 = match system::bind_first(v6) {
            Ok(socket) => Some(socket),
            Err(error) if system::is_no_family(&error) => None,
            Err(source) => return Err(explain(port, source)),
        };
        let failed = |source| SocketError::Failed { port, source };
        let has_v6 = first_v6.is_some();
        let mut sockets = vec![(first, first_v6)];
        for _ in 1..shards {
            let next = system::bind_next(v4).map_err(failed)?;
            let next_v6 = has_v6.then(|| system::bind_next(v6)).transpose().map_err(failed)?;
            sockets.push((next, next_v6));
        }
        let doors = Doors::default();
        let kept = Kept::new().map_err(failed)?;
        let shard = |(v4, v6): (UdpSocket, Option<UdpSocket>)| {
            let v6 = v6.map(Udp::new).transpose()?;
            Ok(ShardSockets { v4: Udp::new(v4)?, v6, doors: doors.clone(), kept: kept.clone() })
        };
        let shards = sockets.into_iter().map(shard).collect::<io::Result<Vec<_>>>().map_err(failed)?;
        Ok(Self(Arc::new(Shared { port, shards, doors, kept, overlay: ArcSwap::default() })))
    }

    /// The queues of the doors.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.0.doors
    }

    /// Spare sockets that carry tunnels.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.0.kept
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Whether datagrams to IPv6 addresses can be sent at all.
    #[must_use]
    pub fn has_v6(&self) -> bool {
        self.shard(0).is_some_and(|shard| shard.v6.is_some())
    }

    /// How many shards have sockets here.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.shards.len()
    }

    /// The sockets of one shard.
    #[must_use]
    pub fn shard(&self, number: usize) -> Option<&ShardSockets> {
        self.0.shards.get(number)
    }

    /// Prefixes inside the virtual LAN. Nothing is sent there from the port: a tunnel must not run through
    /// itself, whatever addresses a peer or a coordinator names.
    pub fn set_overlay(&self, prefixes: Vec<(IpAddr, u8)>) {
        self.0.overlay.store(Arc::new(prefixes));
    }

    /// Whether an address is inside the virtual LAN and so never a way to a peer.
    #[must_use]
    pub fn is_overlay(&self, ip: IpAddr) -> bool {
        self.0.overlay.load().iter().any(|(prefix, length)| contains(*prefix, *length, ip))
    }

    /// Sends a control datagram from the port, whatever its `local` says.
    ///
    /// # Errors
    ///
    /// As from `sendmsg`; `WouldBlock` when the send buffer is full, `AddrNotAvailable` for an address inside
    /// the virtual LAN or of a family this computer lacks. A datagram is never waited for.
    pub fn send(&self, transmit: &Transmit) -> io::Result<()> {
        if is_door(transmit.remote) {
            self.0.doors.send(transmit.remote, &transmit.bytes, transmit.bytes.len());
            return Ok(());
        }
        if self.is_overlay(transmit.remote.ip()) {
            return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        }
        let udp = self.shard(0).and_then(|shard| shard.for_remote(transmit.remote));
        let udp = udp.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        udp.send_control(transmit.remote, &transmit.bytes)
    }

    /// Tries segmentation offload again where an error switched it off.
    ///
    /// One odd destination is enough for such an error, and it would last until restart.
    pub fn renew_offload(&self) {
        for shard in &self.0.shards {
            for udp in std::iter::once(&shard.v4).chain(&shard.v6) {
                udp.renew_offload();
            }
        }
    }
}

impl ShardSockets {
    /// The socket whose family is that of the remote address.
    #[must_use]
    pub fn for_remote(&self, remote: SocketAddr) -> Option<&Udp> {
        if remote.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() }
    }

    /// Does something with the socket of a way; `None` if there is none.
    pub fn with<R>(&self, way: Way, act: impl FnOnce(&Udp) -> R) -> Option<R> {
        if way.local == SocketId::MAIN {
            self.for_remote(way.remote).map(act)
        } else {
            self.kept.get(way.local).map(|udp| act(&udp))
        }
    }
}

/// One nonblocking UDP socket with segmentation (GSO) and aggregation (GRO) where the kernel has them.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    /// What the system can do beyond single datagrams; none where it refuses to say (some network stacks of Windows).
    state: ArcSwapOption<UdpSocketState>,
    #[cfg(windows)]
    event: crate::windows::Event,
}

impl Udp {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = ArcSwapOption::from_pointee(state_of(&socket)?);
        #[cfg(windows)]
        let event = crate::windows::Event::new().and_then(|event| event.follow(&socket).map(|()| event))?;
        Ok(Self {
            socket,
            state,
            #[cfg(windows)]
            event,
        })
    }

    /// Sends bytes; with `segment` they are cut into datagrams of that length, the last may be shorter.
    ///
    /// # Errors
    ///
    /// As from `sendmsg`.
    pub fn send(&self, remote: SocketAddr, bytes: &[u8], segment: Option<usize>) -> io::Result<()> {
        let state = self.state.load();
        let Some(state) = &*state else {
            let mut datagrams = bytes.chunks(segment.unwrap_or(bytes.len()).max(1));
            return datagrams.try_for_each(|datagram| self.socket.send_to(datagram, remote).map(drop));
        };
        let transmit = quinn_udp::Transmit {
            destination: remote,
            ecn: None,
            contents: bytes,
            segment_size: segment,
            src_ip: None,
        };
        state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Sends a control datagram; one that measures a path goes in one piece or not at all.
    ///
    /// # Errors
    ///
    /// As from `sendmsg`; `EMSGSIZE` when it is longer than the first link takes.
    pub fn send_control(&self, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > WHOLE_ABOVE {
            system::in_one_piece(&SockRef::from(&self.socket), || self.send(remote, bytes, None))
        } else {
            self.send(remote, bytes, None)
        }
    }

    /// Receives up to as many messages as there are buffers. Each may hold several datagrams of
    /// `meta.stride` bytes from one sender, so buffers are to have 64 KB.
    ///
    /// # Errors
    ///
    /// As from `recvmmsg`; `WouldBlock` when nothing is there.
    pub fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        if let Some(state) = &*self.state.load() {
            return state.recv(UdpSockRef::from(&self.socket), buffers, meta);
        }
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else { return Ok(0) };
        let (length, addr) = self.socket.recv_from(buffer)?;
        (meta.addr, meta.len, meta.stride) = (addr, length, length);
        Ok(1)
    }

    /// How many datagrams one send may carry; 1 where there is no segmentation offload.
    #[must_use]
    pub fn segments_max(&self) -> usize {
        self.state.load().as_ref().map_or(1, |state| state.max_gso_segments())
    }

    /// The address bound.
    ///
    /// # Errors
    ///
    /// As from `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn renew_offload(&self) {
        if self.segments_max() == 1
            && let Ok(state) = state_of(&self.socket)
        {
            self.state.store(state.map(Arc::new));
        }
    }
}

/// What the kernel can do with a socket; asking sets options, of which one is not for us.
fn state_of(socket: &UdpSocket) -> io::Result<Option<UdpSocketState>> {
    let state = match UdpSocketState::new(UdpSockRef::from(socket)) {
        Ok(state) => Some(state),
        Err(error) if cfg!(windows) => {
            debug!(%error, "this network stack takes single datagrams alone");
            None
        }
        Err(error) => return Err(error),
    };
    system::let_routers_fragment(&SockRef::from(socket))?;
    Ok(state)
}

#[cfg(windows)]
impl Udp {
    /// Happens when there is something to receive.
    #[must_use]
    pub fn event(&self) -> &crate::windows::Event {
        &self.event
    }
}

#[cfg(unix)]
impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Why the system did not send something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room at present.
    NoRoom,
    /// It is longer than the first link takes.
    TooLong,
    /// It would go as single datagrams, but not as a train: some network cards have no segmentation, and say so only now.
    Train,
    /// Anything else.
    Other,
}

/// What an error of [`Udp::send`] says.
#[must_use]
pub fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(code) if system::NO_ROOM.contains(&code) => Refusal::NoRoom,
        Some(code) if system::TOO_LONG == code => Refusal::TooLong,
        Some(code) if system::NO_TRAIN.contains(&code) => Refusal::Train,
        Some(_) | None => Refusal::Other,
    }
}

fn contains(prefix: IpAddr, length: u8, ip: IpAddr) -> bool {
    let (prefix, ip, bits) = match (prefix, ip) {
        (IpAddr::V4(prefix), IpAddr::V4(ip)) => (u128::from(prefix.to_bits()), u128::from(ip.to_bits()), 32),
        (IpAddr::V6(prefix), IpAddr::V6(ip)) => (prefix.to_bits(), ip.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let host_bits = u32::saturating_sub(bits, u32::from(length));
    (prefix ^ ip).checked_shr(host_bits).unwrap_or(0) == 0
}

/// Why there are no sockets.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The port is taken.
    #[error(
        "UDP port {port} is in use by another program; stop it, or set another port (0 for any) in the \
         configuration (sockets.busy)"
    )]
    Busy {
        /// The port wanted.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else the kernel had against it.
    #[error("cannot open UDP port {port}: {source} (sockets.failed)")]
    Failed {
        /// The port wanted.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

fn explain(port: u16, source: io::Error) -> SocketError {
    if source.kind() == io::ErrorKind::AddrInUse {
        SocketError::Busy { port, source }
    } else {
        SocketError::Failed { port, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many shards as share a port here.
    const SHARDS: usize = if cfg!(target_os = "linux") { 2 } else { 1 };

    #[test]
    fn all_shards_share_one_port_of_both_families() {
        let sockets = Sockets::bind(0, SHARDS).unwrap();
        assert_ne!(sockets.port(), 0);
        for number in 0..SHARDS {
            let shard = sockets.shard(number).unwrap();
            assert_eq!(shard.v4.local_addr().unwrap().port(), sockets.port());
            if let Some(v6) = &shard.v6 {
                assert_eq!(v6.local_addr().unwrap().port(), sockets.port());
            }
        }
    }

    #[test]
    fn a_port_that_another_agent_has_is_refused_and_not_shared() {
        let first = Sockets::bind(0, SHARDS).unwrap();
        let error = Sockets::bind(first.port(), SHARDS).unwrap_err();
        assert!(matches!(error, SocketError::Busy { port, .. } if port == first.port()));
        assert!(error.to_string().contains("in use by another program"));
    }

    #[test]
    fn two_agents_that_take_any_port_take_different_ones() {
        let ports: Vec<_> = (0..8).map(|_| Sockets::bind(0, SHARDS).unwrap()).collect();
        let mut numbers: Vec<_> = ports.iter().map(Sockets::port).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 8);
    }

    #[test]
    fn a_control_datagram_leaves_from_the_shared_port() {
        let sockets = Sockets::bind(0, 1).unwrap();
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let remote = listener.local_addr().unwrap();
        sockets.send(&Transmit { local: SocketId::MAIN, remote, bytes: b"hello".to_vec() }).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = listener.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
        assert_eq!(from.port(), sockets.port());
    }

    #[test]
    fn nothing_is_sent_to_an_address_inside_the_virtual_lan() {
        let sockets = Sockets::bind(0, 1).unwrap();
        sockets.set_overlay(vec![(Ipv4Addr::new(127, 0, 0, 0).into(), 8)]);
        let remote = SocketAddr::from((Ipv4Addr::new(127, 1, 2, 3), 9));
        let refused = sockets.send(&Transmit { local: SocketId::MAIN, remote, bytes: vec![1] });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        assert!(!sockets.is_overlay(Ipv4Addr::new(128, 0, 0, 1).into()));
        assert!(!sockets.is_overlay(Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn prefixes_of_every_length_contain_what_they_should() {
        let ip = IpAddr::from(Ipv4Addr::new(10, 1, 2, 3));
        assert!(contains(Ipv4Addr::UNSPECIFIED.into(), 0, ip));
        assert!(contains(Ipv4Addr::new(10, 1, 2, 3).into(), 32, ip));
        assert!(!contains(Ipv4Addr::new(10, 1, 2, 2).into(), 32, ip));
        assert!(!contains(Ipv4Addr::new(10, 1, 3, 0).into(), 24, ip));
        let ip6 = "fd00:1::9".parse().unwrap();
        assert!(contains("fd00:1::".parse().unwrap(), 64, ip6));
        assert!(contains("::".parse().unwrap(), 0, ip6));
        assert!(!contains("fd00:1:0:1::".parse().unwrap(), 64, ip6));
    }
}
