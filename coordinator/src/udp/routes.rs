//! By which socket and from which address an answer leaves.
//!
//! A device takes an answer only from the address it asked, so a server with several addresses must answer from the
//! one that was asked. With sockets on all addresses the kernel would choose by route. Therefore: what arrives on
//! another address than the kernel would choose is remembered with its sender, in a bounded table that stays empty
//! on a server with one address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use lanyard_proto::transmit::SocketId;
use quinn_udp::RecvMeta;

use super::sockets::{Routing, Sockets};

/// Senders remembered with the address they asked; when it is full it starts afresh, and each of them is back with
/// its next datagram.
const ROUTES_MAX: usize = 65_536;

/// The way a datagram leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) socket: usize,
    pub(super) source: Option<IpAddr>,
}

/// The way a datagram came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) local: SocketId,
    pub(super) ip: Option<IpAddr>,
}

/// The table of those who asked another address than the usual one.
#[derive(Debug, Default)]
pub(super) struct Routes(HashMap<SocketAddr, Route>);

impl Routes {
    /// Notes by which way a sender came.
    pub(super) fn arrive(&mut self, sockets: &Sockets, socket: usize, meta: &RecvMeta) -> Arrival {
        let (local, is_on_all) = sockets.facts(socket);
        let asked = meta.dst_ip.filter(|_| is_on_all);
        let arrival = Arrival { local, ip: asked };
        if sockets.routing() == Routing::BySocket {
            return arrival;
        }
        if sockets.is_usual(socket, meta.addr, asked) {
            if !self.0.is_empty() {
                self.0.remove(&meta.addr);
            }
            return arrival;
        }
        if self.0.len() >= ROUTES_MAX && !self.0.contains_key(&meta.addr) {
            self.0.clear();
        }
        self.0.insert(meta.addr, Route { socket, source: asked });
        arrival
    }

    /// By which way something leaves; `asked` is the address the question came to.
    pub(super) fn route(
        &self,
        sockets: &Sockets,
        local: SocketId,
        remote: SocketAddr,
        asked: Option<IpAddr>,
    ) -> Option<Route> {
        match sockets.routing() {
            Routing::BySocket => {
                let socket = sockets.numbered().position(|(id, _)| id == local)?;
                let source = asked.filter(|_| sockets.facts(socket).1);
                Some(Route { socket, source })
            }
            Routing::ByRemote => {
                let known = if self.0.is_empty() { None } else { self.0.get(&remote).copied() };
                known.or_else(|| sockets.first_of(remote).map(|socket| Route { socket, source: None }))
            }
        }
    }
}
