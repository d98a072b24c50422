//! Spare sockets that carry tunnels: a punch found the peer by one of them, and no other will do.
//!
//! Behind a NAT that gives every destination another port, a path belongs to the socket that opened it. Such
//! sockets are few, have little to carry each, and come and go, so one shard reads all of them: it sleeps on one
//! [`ReadySet`] that stands for all, and asks it which have something.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
use epoll::ReadySet;
#[cfg(target_os = "macos")]
mod kqueue;
#[cfg(target_os = "macos")]
use kqueue::ReadySet;
#[cfg(windows)]
mod event;
#[cfg(windows)]
use event::ReadySet;

use std::io;
use std::net::UdpSocket;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use arc_swap::ArcSwap;
use lanyard_proto::transmit::SocketId;
use socket2::SockRef;

use super::Udp;

/// All of them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ready: ReadySet,
    list: ArcSwap<List>,
}

type List = Vec<(SocketId, Arc<Udp>)>;

impl Kept {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { ready: ReadySet::new()?, list: ArcSwap::default() })))
    }

    /// Reads and sends by this socket from now on, under this number.
    ///
    /// # Errors
    ///
    /// When the system has no place for it.
    pub fn add(&self, id: SocketId, socket: UdpSocket) -> io::Result<()> {
        // It was opened for probes, with the room that is usual.
        super::system::make_room(&SockRef::from(&socket));
        let udp = Arc::new(Udp::new(socket)?);
        self.0.ready.add(id, &udp)?;
        self.0.list.rcu(|list| {
            let others = list.iter().filter(|(known, _)| *known != id).cloned();
            others.chain([(id, Arc::clone(&udp))]).collect::<Vec<_>>()
        });
        Ok(())
    }

    /// Closes a socket; one that is not here is fine.
    pub fn remove(&self, id: SocketId) {
        if let Some(udp) = self.get(id) {
            // It may be in use by a shard for a moment longer.
            self.0.ready.remove(&udp);
            self.0
                .list
                .rcu(|list| list.iter().filter(|(known, _)| *known != id).cloned().collect::<Vec<_>>());
        }
    }

    /// The socket of this number.
    #[must_use]
    pub fn get(&self, id: SocketId) -> Option<Arc<Udp>> {
        let list = self.0.list.load();
        list.iter().find(|(known, _)| *known == id).map(|(_, udp)| Arc::clone(udp))
    }

    /// Hands every socket that has something to `read`, up to a bound; whether there was any.
    pub fn read_ready(&self, mut read: impl FnMut(SocketId, &Udp) -> bool) -> bool {
        let list = self.0.list.load();
        if list.is_empty() {
            return false;
        }
        let mut is_busy = false;
        self.0.ready.each(&list, |id| {
            if let Some(udp) = self.get(id) {
                is_busy |= read(id, &udp);
            }
        });
        is_busy
    }
}

#[cfg(windows)]
impl Kept {
    /// Happens when any of the sockets has something.
    #[must_use]
    pub fn event(&self) -> &crate::windows::Event {
        self.0.ready.event()
    }
}

#[cfg(unix)]
impl AsFd for Kept {
    /// Readable when any of the sockets is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_socket_that_has_something_is_found_among_many() {
        let kept = Kept::new().unwrap();
        let mut addresses = Vec::new();
        for number in 100..130 {
            let socket = socket();
            addresses.push(socket.local_addr().unwrap());
            kept.add(SocketId(number), socket).unwrap();
        }
        let heard = || {
            let mut heard = Vec::new();
            kept.read_ready(|id, udp| {
                let is_there = udp.socket.recv(&mut [0; 8]).is_ok();
                heard.extend(is_there.then_some(id));
                is_there
            });
            heard
        };
        assert_eq!(heard(), []);
        socket().send_to(b"hello", addresses[7]).unwrap();
        assert_eq!(heard(), [SocketId(107)]);
    }

    #[test]
    fn a_socket_that_is_kept_has_room_for_a_tunnel() {
        let kept = Kept::new().unwrap();
        let socket = socket();
        // No more than this without being asked to, whatever the system's limit.
        SockRef::from(&socket).set_recv_buffer_size(16 << 10).unwrap();
        let before = SockRef::from(&socket).recv_buffer_size().unwrap();
        let same = socket.try_clone().unwrap();
        kept.add(SocketId(100), socket).unwrap();
        assert!(SockRef::from(&same).recv_buffer_size().unwrap() > 4 * before);
    }

    #[test]
    fn a_closed_socket_frees_its_port_and_is_not_asked_again() {
        let kept = Kept::new().unwrap();
        let socket = socket();
        let address = socket.local_addr().unwrap();
        kept.add(SocketId(100), socket).unwrap();
        kept.remove(SocketId(100));
        kept.remove(SocketId(100));
        assert!(kept.get(SocketId(100)).is_none());
        UdpSocket::bind(address).unwrap();
    }

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }
}
