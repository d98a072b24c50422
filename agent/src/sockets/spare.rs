//! Spare sockets: other ports, opened for a measurement or a punch and closed soon after.
//!
//! They carry a handful of datagrams each, so they live on the engine's runtime and not in a shard: one task
//! per socket reads into the same channel that the shards use.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use lanyard_proto::device::FRESH_SOCKETS_MAX;
use lanyard_proto::transmit::{SocketId, Transmit};
use lanyard_wire::limits::WHOLE_ABOVE;
use socket2::SockRef;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::debug;

use super::{Inbound, system};

/// Most spare sockets at once: those of punches and paths, and a few for measuring.
const OPEN_MAX: usize = FRESH_SOCKETS_MAX + 64;
/// The longest datagram that is of interest here.
const DATAGRAM_MAX: usize = 2_048;

/// The spare sockets that are open.
#[derive(Debug)]
pub struct SpareSockets {
    open: BTreeMap<(SocketId, bool), Spare>,
    inbound: mpsc::Sender<Inbound>,
}

#[derive(Debug)]
struct Spare {
    socket: Arc<tokio::net::UdpSocket>,
    reader: JoinHandle<()>,
}

impl SpareSockets {
    /// None open yet; what arrives later goes to `inbound`, and is lost while that is full.
    #[must_use]
    pub fn new(inbound: mpsc::Sender<Inbound>) -> Self {
        Self { open: BTreeMap::new(), inbound }
    }

    /// Sends from the spare socket that `transmit.local` names, opening it at its first use. Must be called
    /// on a Tokio runtime.
    ///
    /// # Errors
    ///
    /// `QuotaExceeded` when too many are open; else as from `bind` and `sendto`.
    pub fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let key = (transmit.local, transmit.remote.is_ipv6());
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_MAX {
                return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
            }
            self.open.insert(key, Spare::open(key, self.inbound.clone())?);
        }
        let spare = self.open.get(&key).ok_or(io::ErrorKind::NotConnected)?;
        // Past Tokio's readiness, which a fresh socket does not have yet: UDP has room or drops.
        let socket = SockRef::from(spare.socket.as_ref());
        let send = || socket.send_to(&transmit.bytes, &transmit.remote.into()).map(drop);
        if transmit.bytes.len() > WHOLE_ABOVE { system::in_one_piece(&socket, send) } else { send() }
    }

    /// Gives an IPv4 socket away, to be read by somebody else: here it is still sent by, and no longer read.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not open; else as from `dup`.
    pub fn give(&mut self, id: SocketId) -> io::Result<UdpSocket> {
        let spare = self.open.get(&(id, false)).ok_or(io::ErrorKind::NotFound)?;
        let socket = SockRef::from(spare.socket.as_ref()).try_clone()?;
        spare.reader.abort();
        Ok(socket.into())
    }

    /// Closes a spare socket of both families; unknown ones are fine.
    pub fn close(&mut self, id: SocketId) {
        self.open.remove(&(id, false));
        self.open.remove(&(id, true));
    }
}

impl Spare {
    fn open((local, is_v6): (SocketId, bool), inbound: mpsc::Sender<Inbound>) -> io::Result<Self> {
        let address: SocketAddr =
            if is_v6 { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        system::ignore_unreachable(&SockRef::from(&socket));
        let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
        let reader = tokio::spawn(read(local, Arc::clone(&socket), inbound));
        Ok(Self { socket, reader })
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(local: SocketId, socket: Arc<tokio::net::UdpSocket>, inbound: mpsc::Sender<Inbound>) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                // Full: the engine is behind, and whatever this was will be sent again.
                if let Err(mpsc::error::TrySendError::Closed(_)) =
                    inbound.try_send(Inbound { local, remote, bytes })
                {
                    return;
                }
            }
            Err(error) => {
                debug!(%local, %error, "spare socket closed");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_to_a_spare_socket_arrives_under_its_number() {
        let (sender, mut inbound) = mpsc::channel(4);
        let mut spare = SpareSockets::new(sender);
        let server = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let remote = server.local_addr().unwrap();
        spare.send(&Transmit { local: SocketId(3), remote, bytes: b"question".to_vec() }).unwrap();
        let mut buffer = [0; 16];
        let (_, from) = server.recv_from(&mut buffer).await.unwrap();
        server.send_to(b"answer", from).await.unwrap();
        let answer = inbound.recv().await.unwrap();
        assert_eq!(answer, Inbound { local: SocketId(3), remote, bytes: b"answer".to_vec() });
    }

    #[tokio::test]
    async fn each_number_is_a_port_of_its_own_and_closing_one_frees_it() {
        let (sender, _inbound) = mpsc::channel(4);
        let mut spare = SpareSockets::new(sender);
        let server = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let remote = server.local_addr().unwrap();
        let mut ports = Vec::new();
        for number in [1, 2, 1] {
            spare.send(&Transmit { local: SocketId(number), remote, bytes: vec![1] }).unwrap();
            ports.push(server.recv_from(&mut [0; 4]).await.unwrap().1.port());
        }
        assert_ne!(ports[0], ports[1]);
        assert_eq!(ports[0], ports[2]);
        spare.close(SocketId(1));
        assert_eq!(spare.open.len(), 1);
    }

    #[tokio::test]
    async fn a_socket_given_away_keeps_its_port_and_still_sends() {
        let (sender, _inbound) = mpsc::channel(4);
        let mut spare = SpareSockets::new(sender);
        let server = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let remote = server.local_addr().unwrap();
        let transmit = Transmit { local: SocketId(99), remote, bytes: b"question".to_vec() };
        assert_eq!(spare.give(SocketId(99)).unwrap_err().kind(), io::ErrorKind::NotFound);
        spare.send(&transmit).unwrap();
        let given = spare.give(SocketId(99)).unwrap();
        spare.send(&transmit).unwrap();
        for _ in 0..2 {
            let (_, from) = server.recv_from(&mut [0; 16]).await.unwrap();
            assert_eq!(from.port(), given.local_addr().unwrap().port());
        }
    }

    #[tokio::test]
    async fn the_number_of_open_sockets_is_bounded() {
        let (sender, _inbound) = mpsc::channel(4);
        let mut spare = SpareSockets::new(sender);
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let limit = u16::try_from(OPEN_MAX).unwrap();
        for number in 1..=limit {
            spare.send(&Transmit { local: SocketId(number), remote, bytes: vec![1] }).unwrap();
        }
        let refused = spare.send(&Transmit { local: SocketId(limit + 1), remote, bytes: vec![1] });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    }
}
