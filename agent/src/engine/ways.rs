//! Where a path leads that goes by TCP.
//!
//! An address that stands for a connection (`lanyard_wire::door`) means something inside this process only. A person is
//! shown the other end's.

use std::net::{Ipv4Addr, SocketAddr};

use lanyard_proto::device::Status;
use lanyard_wire::door::{is_door, is_peers};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::limits::WEB_PORT;

use crate::ipc::schema::Transport;
use crate::stream::Remotes;

/// The connections of this device at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    remotes: Remotes,
    /// What stands for a coordinator's door, and where that is.
    doors: Vec<(SocketAddr, SocketAddr)>,
}

impl Ways {
    /// Those with peers, and those with coordinators, whose doors have these ports.
    pub(super) fn new(status: &Status, remotes: Remotes, port: impl Fn(&PublicKey) -> Option<u16>) -> Self {
        let doors = status.coordinators.iter().filter_map(|coordinator| {
            let stands_for = coordinator.remote.filter(|remote| is_door(*remote))?;
            // Where only a proxy finds it there is no address to show.
            let own = coordinator.addrs.iter().find(|addr| !is_door(**addr));
            let ip = own.map_or(Ipv4Addr::UNSPECIFIED.into(), SocketAddr::ip);
            Some((stands_for, SocketAddr::new(ip, port(&coordinator.key).unwrap_or(WEB_PORT))))
        });
        Self { remotes, doors: doors.collect() }
    }

    /// The other end, and what carries datagrams there; `None` for a connection that is closed.
    pub(super) fn find(&self, addr: SocketAddr) -> Option<(SocketAddr, Transport)> {
        if !is_door(addr) {
            return Some((addr, Transport::Udp));
        }
        let remote = if is_peers(addr) {
            self.remotes.of(addr)
        } else {
            self.doors.iter().find(|(stands_for, _)| *stands_for == addr).map(|(_, remote)| *remote)
        };
        remote.map(|remote| (remote, Transport::Tcp))
    }

    /// The same for a path in use, whose connection may have closed just now.
    pub(super) fn lead(&self, addr: SocketAddr) -> (SocketAddr, Transport) {
        self.find(addr).unwrap_or(((Ipv4Addr::UNSPECIFIED, WEB_PORT).into(), Transport::Tcp))
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn a_door_is_shown_as_the_coordinator_behind_it() {
        let mut status = example();
        let door = lanyard_wire::door::addr(0, 1);
        status.coordinators[0].remote = Some(door);
        let ways = |status: &Status| Ways::new(status, Remotes::default(), |_| Some(8_443));
        let coordinator = "203.0.113.10:8443".parse().unwrap();
        assert_eq!(ways(&status).lead(door), (coordinator, Transport::Tcp));
        let udp = "198.51.100.7:41644".parse().unwrap();
        assert_eq!(ways(&status).lead(udp), (udp, Transport::Udp));

        status.coordinators[0].addrs.clear();
        let unseen = "0.0.0.0:8443".parse().unwrap();
        assert_eq!(ways(&status).find(door), Some((unseen, Transport::Tcp)), "a proxy alone finds it");
    }

    #[test]
    fn what_stood_for_a_closed_connection_is_never_shown() {
        let ways = Ways::default();
        for gone in [lanyard_wire::door::addr(0, 1), lanyard_wire::door::addr(lanyard_wire::door::PEERS, 1)] {
            assert_eq!(ways.find(gone), None);
            assert!(!is_door(ways.lead(gone).0));
        }
    }
}
