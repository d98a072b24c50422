//! TCP connections with peers, for devices whose UDP does not get out.
//!
//! The machine says when: one end is told to call the other ([`Streams::dial`]), which takes calls for a moment
//! ([`Streams::listen`]). A connection is a *passive* or *active* TCP candidate in the words of RFC 6544, and carries the
//! datagrams that UDP would carry, each behind its length in two bytes (RFC 4571). The machine knows it by an address that
//! stands for it (`lanyard_wire::door::PEERS`).
//!
//! Who is at the other end shows in what comes from there and nowhere else: probes and WireGuard's datagrams are sealed, and
//! nothing else is taken. A connection that the forwarding table does not come to name within [`PROVE_IN`] is closed, and so is
//! one that it no longer names. A full house refuses whoever comes next.

mod carry;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lanyard_proto::overlay::{ForwardingTable, Path};
use lanyard_wire::door;
use lanyard_wire::ids::DeviceId;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

use crate::sockets::{Outlet, Sockets};
use crate::tcp;

/// Connections with peers at the same time; one more is refused.
const STREAMS_MAX: usize = 64;

/// Calls that wait to be taken.
const BACKLOG: u32 = 16;

/// How long calls are taken, and tried: start signals come to both ends within a round trip, then a call takes another one.
const CALL_FOR: Duration = Duration::from_secs(4);

/// Between two calls to an address that does not take them yet.
const CALL_EVERY: Duration = Duration::from_millis(100);

/// A connection must have become a path by then, and is closed so long after it was one.
const PROVE_IN: Duration = Duration::from_secs(5);

/// Connections that wait for the engine.
const OPENED_MAX: usize = 16;

/// A connection that is open and has no name yet.
#[derive(Debug)]
pub struct Opened {
    /// Whom we called; `None` when we were called.
    peer: Option<DeviceId>,
    stream: TcpStream,
    remote: SocketAddr,
}

/// What the addresses that stand for connections lead to; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Remotes(Arc<Mutex<BTreeMap<SocketAddr, SocketAddr>>>);

impl Remotes {
    /// The other end of a connection; `None` for an address that stands for none.
    #[must_use]
    pub fn of(&self, stands_for: SocketAddr) -> Option<SocketAddr> {
        self.0.lock().get(&stands_for).copied()
    }
}

/// All connections with peers.
pub struct Streams {
    sockets: Sockets,
    table: watch::Receiver<Arc<ForwardingTable>>,
    remotes: Remotes,
    next: u32,
    opened: mpsc::Sender<Opened>,
    tasks: JoinSet<()>,
    listener: Option<AbortHandle>,
    listen_until: watch::Sender<Instant>,
    prove_in: Duration,
}

impl Streams {
    /// No connection yet, and where to hear of new ones, which [`Streams::adopt`] takes.
    #[must_use]
    pub fn new(
        sockets: Sockets,
        table: watch::Receiver<Arc<ForwardingTable>>,
    ) -> (Self, mpsc::Receiver<Opened>) {
        let (opened, receiver) = mpsc::channel(OPENED_MAX);
        let remotes = Remotes::default();
        let tasks = JoinSet::new();
        let listen_until = watch::Sender::new(Instant::now());
        (
            Self {
                sockets,
                table,
                remotes,
                next: 1,
                opened,
                tasks,
                listener: None,
                listen_until,
                prove_in: PROVE_IN,
            },
            receiver,
        )
    }

    /// What the connections lead to.
    #[must_use]
    pub fn remotes(&self) -> Remotes {
        self.remotes.clone()
    }

    /// Calls a peer at these addresses; the first that answers is it.
    pub fn dial(&mut self, peer: DeviceId, addrs: Vec<SocketAddr>) {
        let guard = self.sockets.clone();
        let opened = self.opened.clone();
        self.spawn(async move {
            let calls = addrs.into_iter().filter(|addr| !guard.is_overlay(addr.ip())).map(call);
            let mut calls: FuturesUnordered<_> = calls.collect();
            let first = async {
                while let Some(called) = calls.next().await {
                    if called.is_some() {
                        return called;
                    }
                }
                None
            };
            match timeout(CALL_FOR, first).await {
                Ok(Some((stream, remote))) => {
                    // Full: others come first, and the peer is tried again.
                    drop(opened.try_send(Opened { peer: Some(peer), stream, remote }));
                }
                Ok(None) | Err(_) => debug!(%peer, "not reached by TCP"),
            }
        });
    }

    /// Takes calls for a moment, from now on.
    pub fn listen(&mut self) {
        self.listen_until.send_replace(Instant::now() + CALL_FOR);
        if self.listener.as_ref().is_some_and(|listener| !listener.is_finished()) {
            return;
        }
        let (port, opened, guard) = (self.sockets.port(), self.opened.clone(), self.sockets.clone());
        let listeners = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()]
            .map(|ip| SocketAddr::new(ip, port))
            .map(|addr| bind(addr).inspect_err(|error| debug!(%addr, %error, "cannot take TCP connections")));
        let until = self.listen_until.subscribe();
        let calls = async move {
            let accept = async |listener: &io::Result<TcpListener>| match listener {
                Ok(listener) => listener.accept().await,
                Err(_) => std::future::pending().await,
            };
            let [v4, v6] = &listeners;
            loop {
                let end = *until.borrow();
                let called = tokio::select! {
                    called = accept(v4) => called,
                    called = accept(v6) => called,
                    // It may have been put off meanwhile.
                    () = sleep_until(end) => if *until.borrow() > end { continue } else { return },
                };
                if let Ok((stream, remote)) = called
                    && !guard.is_overlay(remote.ip())
                {
                    tcp::tune(&stream);
                    // Full: others come first, and the peer calls again with its next try.
                    drop(opened.try_send(Opened { peer: None, stream, remote }));
                }
            }
        };
        self.listener = Some(self.spawn(calls));
    }

    /// Gives a connection a name and moves datagrams through it; says whom we called and by which name.
    pub fn adopt(&mut self, opened: Opened) -> Option<(DeviceId, SocketAddr)> {
        let Opened { peer, stream, remote } = opened;
        let mut remotes = self.remotes.0.lock();
        if remotes.len() >= STREAMS_MAX {
            debug!(%remote, "too many TCP connections with peers");
            return None;
        }
        let addr = door::addr(door::PEERS, self.next);
        self.next = self.next.wrapping_add(1);
        remotes.insert(addr, remote);
        drop(remotes);
        debug!(%remote, called = peer.is_none(), "connected by TCP");
        let outlet = self.sockets.doors().add(addr);
        let place = Place { sockets: self.sockets.clone(), remotes: self.remotes.clone(), addr };
        self.spawn(carry_all(stream, outlet, place, (self.table.clone(), self.prove_in)));
        peer.map(|peer| (peer, addr))
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(task)
    }
}

/// The name of a connection; gone with it.
struct Place {
    sockets: Sockets,
    remotes: Remotes,
    addr: SocketAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.doors().remove(self.addr);
        self.remotes.0.lock().remove(&self.addr);
    }
}

async fn carry_all(
    stream: TcpStream,
    outlet: Arc<Outlet>,
    place: Place,
    (table, patience): (watch::Receiver<Arc<ForwardingTable>>, Duration),
) {
    let (read, write) = stream.into_split();
    let why = tokio::select! {
        ended = carry::inbound(read, place.sockets.doors(), place.addr) => ended.map_or_else(|error| error.to_string(), |()| "the peer closed it".to_owned()),
        error = carry::outbound(write, &outlet) => error.to_string(),
        () = unnamed(table, place.addr, patience) => "no path uses it".to_owned(),
    };
    debug!(remote = ?place.remotes.of(place.addr), why, "TCP connection closed");
}

/// Ends when no path has used this connection for so long.
async fn unnamed(mut table: watch::Receiver<Arc<ForwardingTable>>, addr: SocketAddr, patience: Duration) {
    let uses = |path: &Path| matches!(path, Path::Direct { remote, .. } if *remote == addr);
    let is_used = |table: &Arc<ForwardingTable>| table.peers.iter().any(|peer| uses(&peer.path));
    loop {
        if !matches!(timeout(patience, table.wait_for(is_used)).await, Ok(Ok(_))) {
            return;
        }
        if table.wait_for(|table| !is_used(table)).await.is_err() {
            return;
        }
    }
}

/// Calls one address until it takes the call.
async fn call(addr: SocketAddr) -> Option<(TcpStream, SocketAddr)> {
    for _ in 0..CALL_FOR.as_millis() / CALL_EVERY.as_millis() {
        match tcp::connect(addr).await {
            Ok(stream) => {
                tcp::tune(&stream);
                return Some((stream, addr));
            }
            Err(error) => debug!(%addr, %error, "not reached by TCP yet"),
        }
        sleep(CALL_EVERY).await;
    }
    None
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if addr.is_ipv6() {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.set_reuseaddr(true)?;
    tcp::limit_segments(&socket);
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests;
