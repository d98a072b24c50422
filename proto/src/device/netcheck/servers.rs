//! The STUN servers that were named, and which of them are asked.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// The servers.
#[derive(Debug, Default)]
pub(super) struct Servers {
    all: Vec<SocketAddr>,
    /// Which address of the list is the first to be asked; moves on when that one keeps silent.
    turn: usize,
}

impl Servers {
    /// Takes a list; says whether it is another one.
    pub(super) fn set(&mut self, servers: &[SocketAddr]) -> bool {
        let is_new = self.all != servers;
        if is_new {
            self.all = servers.to_vec();
            self.turn = 0;
        }
        is_new
    }

    /// Nobody was named.
    pub(super) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The one asked first keeps silent: another is to be the first.
    pub(super) const fn turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The families to ask in (IPv6 or not), for a device with these addresses.
    ///
    /// Silence in one that it has no address of says nothing, and is not waited for. Where its addresses are not known all
    /// are asked in.
    pub(super) fn families(&self, local: &[SocketAddr]) -> Vec<bool> {
        let has = |addrs: &[SocketAddr], v6| addrs.iter().any(|addr| addr.is_ipv6() == v6);
        let served = || [false, true].into_iter().filter(|v6| has(&self.all, *v6));
        let both: Vec<bool> = served().filter(|v6| has(local, *v6)).collect();
        if both.is_empty() { served().collect() } else { both }
    }

    /// Up to two addresses with two ports each out of the servers of one family: `grid[ip][port]`.
    pub(super) fn grid(&self, v6: bool) -> [[Option<SocketAddr>; 2]; 2] {
        let mut ips: Vec<IpAddr> = Vec::new();
        for server in self.all.iter().filter(|server| server.is_ipv6() == v6) {
            if !ips.contains(&server.ip()) {
                ips.push(server.ip());
            }
        }
        if !ips.is_empty() {
            let turn = self.turn % ips.len();
            ips.rotate_left(turn);
        }
        let mut grid = [[None; 2]; 2];
        for (row, ip) in grid.iter_mut().zip(ips) {
            let mut ports = self.all.iter().filter(|server| server.ip() == ip);
            for place in row.iter_mut() {
                *place = ports.next().copied();
            }
        }
        grid
    }
}
