//! A datagram's way from a machine to another: departure, fate on the links, arrival.
//!
//! 1. [`World::send_from_host`], a server's answer or [`World::forge`] give a datagram to the net, which climbs
//!    through the routers as they are now.
//! 2. [`World::launch`] draws what the links do to it; it is lost, or arrives later, perhaps twice.
//! 3. [`World::arrive`] asks the router in front of the receiver, as it is then, and hands the datagram over.

use std::net::{IpAddr, SocketAddr};

use lanyard_wire::classify::{Class, classify};
use lanyard_wire::limits::CONTROL_PORT;

use crate::link::{Carried, IPV4_OVERHEAD, IPV6_OVERHEAD};
use crate::net::{Arrival, Departure, HostId, Lost, Place, ServerId};
use crate::services::server_ips;
use crate::trace::Party;
use crate::world::{What, World};

/// Datagrams of the wire that an attacker has recorded.
const RECORDED: usize = 64;

impl World {
    /// Sends a datagram from a port of a host.
    pub(crate) fn send_from_host(&mut self, host: HostId, port: u16, target: SocketAddr, bytes: Vec<u8>) {
        if self.quiet_from.is_some_and(|from| self.now >= from) {
            *self.late_sends.entry(host).or_default() += 1;
        }
        self.check_disclosure(host, target, &bytes);
        let departure = self.net.depart(host, port, target, self.now);
        if let Ok(departure) = &departure {
            if self.recorded.len() >= RECORDED {
                self.recorded.pop_front();
            }
            self.recorded.push_back((departure.source, target, bytes.clone()));
        }
        self.launch(departure, Party::Device(host.0), target, bytes);
    }

    /// Sends a datagram with any source from the middle of the net.
    pub(crate) fn forge(&mut self, source: SocketAddr, target: SocketAddr, bytes: Vec<u8>) {
        let departure = self.net.depart_core(None, source, target);
        self.launch(departure, Party::Stranger, target, bytes);
    }

    /// Draws what becomes of a datagram that departed.
    pub(crate) fn launch(
        &mut self,
        departure: Result<Departure, Lost>,
        from: Party,
        target: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let overhead = if target.is_ipv4() { IPV4_OVERHEAD } else { IPV6_OVERHEAD };
        let (departure, carried) = match departure {
            Ok(departure) => {
                let carried = departure.link.carry(bytes.len(), overhead, &mut self.rng);
                (departure, carried)
            }
            Err(lost) => {
                let to = self.party_of(target.ip());
                self.trace.packet(self.now, (from, to), (None, target), &bytes, Some(lost.as_str()));
                return;
            }
        };
        let lost = match carried {
            Carried::Once(delay) => {
                self.push(self.now + delay, What::Arrive { departure, from, bytes });
                return;
            }
            Carried::Twice(first, second) => {
                let copy = bytes.clone();
                self.push(self.now + first, What::Arrive { departure, from, bytes });
                self.push(self.now + second, What::Arrive { departure, from, bytes: copy });
                return;
            }
            Carried::Lost => Lost::Link,
            Carried::TooLong => Lost::TooLong,
        };
        let to = self.party_at(departure.place);
        let way = (Some(departure.source), departure.target);
        self.trace.packet(self.now, (from, to), way, &bytes, Some(lost.as_str()));
    }

    /// Lets a datagram arrive where it was going.
    pub(crate) fn arrive(&mut self, departure: &Departure, from: Party, bytes: &[u8]) {
        let now = self.now;
        let way = (Some(departure.source), departure.target);
        match self.net.arrive(departure, now) {
            Ok(Arrival::Host(computer, port)) => {
                let host = self.agent_at(computer, port);
                if from == Party::Stranger {
                    self.note_provocation(host, departure.source, bytes);
                }
                let Some(computer) = self.hosts.get_mut(host.0) else { return };
                let (is_heard, effects) = computer.on_datagram(port, departure.source, bytes, now);
                self.datagrams += u64::from(is_heard && classify(bytes) != Class::Stun);
                let lost = (!is_heard).then_some(Lost::Deaf.as_str());
                self.trace.packet(now, (from, Party::Device(host.0)), way, bytes, lost);
                self.apply(host, effects);
            }
            Ok(Arrival::Server(server, at)) => {
                let Some((coordinator, place)) = self.servers.get(server.0).copied() else { return };
                self.datagrams += u64::from(at.port() == CONTROL_PORT);
                self.trace.packet(now, (from, Party::Server(server.0)), way, bytes, None);
                if let Some(entry) = self.coordinators.get_mut(coordinator) {
                    let all = entry.on_datagram(place, at, departure.source, bytes, now);
                    self.apply_answers(coordinator, all);
                }
            }
            Ok(Arrival::Onward(onward)) => self.launch(Ok(onward), from, onward.target, bytes.to_vec()),
            Err(lost) => {
                let to = self.party_at(departure.place);
                self.trace.packet(now, (from, to), way, bytes, Some(lost.as_str()));
            }
        }
    }

    /// The device of a computer that listens at a port.
    fn agent_at(&self, computer: HostId, port: u16) -> HostId {
        let listens = |id: &HostId| self.host(*id).is_some_and(|host| host.listens_at(port));
        let others = self.net.guests_of(computer).filter(listens);
        if listens(&computer) { computer } else { others.min().unwrap_or(computer) }
    }

    fn party_at(&self, place: Place) -> Party {
        match place {
            Place::Host(host) => Party::Device(host.0),
            Place::Server(server) => Party::Server(server.0),
            Place::Gate(site) => self
                .hosts
                .iter()
                .find(|host| self.net.site_of(host.id) == Some(site))
                .map_or(Party::Stranger, |host| Party::Device(host.id.0)),
        }
    }

    fn party_of(&self, ip: IpAddr) -> Party {
        let server = (0..self.servers.len()).find(|number| server_ips(ServerId(*number)).contains(&ip));
        server.map_or(Party::Stranger, Party::Server)
    }
}
