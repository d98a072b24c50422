//! STUN: the machine of `proto`, once for each address family, behind up to eight sockets.
//!
//! Socket numbers 0 to 3 are the IPv4 grid (`2 * address + port`), 4 to 7 the IPv6 grid.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lanyard_proto::rejected::Rejected;
use lanyard_proto::service::{Stun, StunConfig};
use lanyard_proto::time::Instant;
use lanyard_proto::transmit::{Datagram, SocketId};

use crate::config;
use crate::problem::Problem;
use crate::udp::sockets::{Routing, Sockets};
use crate::udp::{Machine, Reply};

/// Sockets of one family.
const GRID: u16 = 4;

/// Both families' machines.
#[derive(Debug)]
pub struct StunPair {
    families: [Stun; 2],
    answered: u64,
    unanswered: u64,
}

/// The service with its sockets, and the addresses devices are told.
#[derive(Debug)]
pub struct Bound {
    /// The machine.
    pub machine: StunPair,
    /// Its sockets.
    pub sockets: Sockets,
    /// Public address of every socket.
    pub public: Vec<SocketAddr>,
}

/// One address of the service: where it is bound and how it looks from outside.
#[derive(Debug, Clone, Copy)]
struct Place {
    local: IpAddr,
    public: IpAddr,
}

/// Binds the sockets of the settings; `public` are the addresses of this server as devices see them.
///
/// # Errors
/// [`Problem`] `serve.port` when a socket cannot be bound, `config.invalid` when no address is left.
pub fn bind(config: &config::Stun, public: &[IpAddr]) -> Result<Bound, Problem> {
    let places = [places(config, public, IpAddr::is_ipv4), places(config, public, IpAddr::is_ipv6)];
    let mut wanted = Vec::new();
    let mut looks = Vec::new();
    for (family, places) in (0u16..).zip(&places) {
        for (row, place) in (0u16..).zip(places) {
            for (column, port) in (0u16..).zip(config.ports) {
                let id = SocketId(family * GRID + 2 * row + column);
                wanted.push((id, SocketAddr::new(place.local, port)));
                looks.push((id, place.public));
            }
        }
    }
    if wanted.is_empty() {
        let text = "stun.addresses and public.addresses are empty: name the server's public address in public.addresses";
        return Err(Problem::new("config.invalid", text));
    }
    let sockets = Sockets::bind(&wanted, Routing::BySocket, "stun.addresses or stun.ports")?;
    let mut grids = [[[None; 2]; 2]; 2];
    let mut public = Vec::new();
    for (id, address) in sockets.numbered() {
        // The port that was bound: settings may ask for any free one.
        let Some((_, ip)) = looks.iter().find(|(known, _)| *known == id) else { continue };
        let look = SocketAddr::new(*ip, address.port());
        let place = usize::from(id.0 % GRID);
        grids[usize::from(id.0 / GRID)][place / 2][place % 2] = Some(look);
        public.push(look);
    }
    let families = grids.map(|addrs| Stun::new(StunConfig { addrs, strict: config.strict }));
    Ok(Bound { machine: StunPair { families, answered: 0, unanswered: 0 }, sockets, public })
}

/// The addresses of one family, at most two.
fn places(config: &config::Stun, public: &[IpAddr], is_family: impl Fn(&IpAddr) -> bool) -> Vec<Place> {
    if config.addresses.is_empty() {
        let any = |ip: &IpAddr| -> IpAddr {
            if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
        };
        let first = public.iter().find(|ip| is_family(ip));
        return first.map(|ip| Place { local: any(ip), public: *ip }).into_iter().collect();
    }
    let looks = if config.public.is_empty() { &config.addresses } else { &config.public };
    let pairs = config.addresses.iter().zip(looks);
    pairs
        .filter(|(local, _)| is_family(local))
        .map(|(local, public)| Place { local: *local, public: *public })
        .collect()
}

impl Machine for StunPair {
    type Command = ();
    type Event = ();

    const NAME: &'static str = "stun";

    fn handle_datagram(&mut self, datagram: Datagram<'_>, _now: Instant) -> Result<Option<Reply>, Rejected> {
        let SocketId(number) = datagram.local;
        let family = number / GRID;
        let machine = self.families.get(usize::from(family)).ok_or(Rejected::NotOurs)?;
        let answer = machine.answer(SocketId(number % GRID), datagram.remote, datagram.bytes);
        let Some(mut answer) = answer else {
            self.unanswered += 1;
            return Err(Rejected::NotOurs);
        };
        self.answered += 1;
        answer.local = SocketId(answer.local.0 + family * GRID);
        Ok(Some(Reply::Send(answer)))
    }

    fn observe(&self) {
        metrics::counter!("lanyard_stun_answered_total").absolute(self.answered);
        metrics::counter!("lanyard_stun_unanswered_total").absolute(self.unanswered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn without_addresses_each_family_with_a_public_address_gets_one_place() {
        let config = config::Stun::default();
        let public = [ip("203.0.113.10"), ip("203.0.113.11")];
        let four = places(&config, &public, IpAddr::is_ipv4);
        assert_eq!((four.len(), four[0].local, four[0].public), (1, ip("0.0.0.0"), public[0]));
        assert!(places(&config, &public, IpAddr::is_ipv6).is_empty());
    }

    #[test]
    fn translated_addresses_are_told_and_local_ones_bound() {
        let config = config::Stun {
            addresses: vec![ip("10.0.0.5"), ip("10.0.0.6")],
            public: vec![ip("203.0.113.10"), ip("203.0.113.11")],
            ..config::Stun::default()
        };
        let four = places(&config, &[], IpAddr::is_ipv4);
        assert_eq!((four[1].local, four[1].public), (ip("10.0.0.6"), ip("203.0.113.11")));
    }
}
