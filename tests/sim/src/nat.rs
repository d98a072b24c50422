//! A NAT router as RFC 4787 describes it: mapping, filtering, port policy, lifetime, hairpinning.
//!
//! One [`Nat`] is one router with one outside address, or a firewall that translates nothing. The kinds have
//! the names of the namespace lab, so a scenario reads the same in both. A router knows no time of its own and
//! draws its random ports from its own generator; it forgets what it knows when told to ([`Nat::reboot`],
//! [`Nat::rebind`]). Two routers in a row, as behind a carrier, are the business of [`crate::net`].

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lanyard_proto::rng::Rng;
use lanyard_proto::time::Instant;
use lanyard_wire::nat::{Filtering, Mapping};

mod kind;
mod ports;

pub use kind::{Behaviour, Kind, Ports};
use ports::Chooser;

/// Why a router dropped a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// UDP may not leave.
    Egress,
    /// No port is free.
    Exhausted,
    /// Nothing inside has that outside port.
    Unmapped,
    /// The mapping exists, but this source may not use it.
    Filtered,
    /// The router does not turn packets around.
    Hairpin,
}

impl Dropped {
    /// The word for traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Egress => "egress blocked",
            Self::Exhausted => "ports exhausted",
            Self::Unmapped => "unmapped",
            Self::Filtered => "filtered",
            Self::Hairpin => "no hairpin",
        }
    }
}

/// What a mapping is found by on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    inside: SocketAddr,
    towards: Option<(IpAddr, u16)>,
}

#[derive(Clone, Debug)]
struct Entry {
    outside: u16,
    expires: Instant,
    /// Whom the inside has written to, and until when that counts.
    permitted: BTreeMap<SocketAddr, Instant>,
}

/// One router or firewall, with what it remembers.
#[derive(Clone, Debug)]
pub struct Nat {
    behaviour: Behaviour,
    outside: IpAddr,
    rng: Rng,
    entries: BTreeMap<Key, Entry>,
    ports: BTreeMap<u16, Key>,
    chooser: Chooser,
    /// Packets from outside that nobody inside asked for, and until when they are remembered.
    strangers: BTreeMap<(SocketAddr, u16), Instant>,
    sweep_at: usize,
    full_at: Option<Instant>,
    /// When the ports that sockets got as their first ones are free again unless they are used, the oldest first.
    firsts: VecDeque<Instant>,
    crowded_at: Option<Instant>,
}

/// How long a packet that was not answered is remembered (Linux, `nf_conntrack_udp_timeout`).
const STRANGER_LIFE: Duration = Duration::from_secs(30);

/// Such packets remembered.
const STRANGERS_MAX: usize = 1_024;

/// Mappings after which the router looks for expired ones to throw away.
const SWEEP_AT: usize = 64;

impl Nat {
    /// A router with this outside address. A firewall that translates nothing does not use it.
    #[must_use]
    pub const fn new(behaviour: Behaviour, outside: IpAddr, rng: Rng) -> Self {
        Self {
            behaviour,
            outside,
            rng,
            entries: BTreeMap::new(),
            ports: BTreeMap::new(),
            chooser: Chooser::new(behaviour.ports),
            strangers: BTreeMap::new(),
            sweep_at: SWEEP_AT,
            full_at: None,
            firsts: VecDeque::new(),
            crowded_at: None,
        }
    }

    /// How it behaves.
    #[must_use]
    pub const fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// Its address on the outside.
    #[must_use]
    pub const fn outside(&self) -> IpAddr {
        self.outside
    }

    /// Whether it changes addresses at all.
    #[must_use]
    pub const fn translates(&self) -> bool {
        !matches!(self.behaviour.mapping, Mapping::None)
    }

    /// Whether a mapping has the port of its socket, or a free one beside it.
    #[must_use]
    pub const fn preserves_ports(&self) -> bool {
        !self.translates() || self.chooser.preserves()
    }

    /// Forgets every mapping, as on a power cut.
    pub fn reboot(&mut self) {
        self.entries.clear();
        self.ports.clear();
        self.strangers.clear();
        self.firsts.clear();
    }

    /// Forgets every mapping and hands out other ports afterwards.
    pub fn rebind(&mut self) {
        self.reboot();
        self.chooser.rebind();
    }

    /// Gets another outside address, and forgets every mapping.
    pub fn renumber(&mut self, outside: IpAddr) {
        self.reboot();
        self.outside = outside;
    }

    /// Lets a packet out: its source as the outside sees it.
    ///
    /// # Errors
    ///
    /// Why it may not leave.
    pub fn outbound(
        &mut self,
        inside: SocketAddr,
        remote: SocketAddr,
        now: Instant,
    ) -> Result<SocketAddr, Dropped> {
        if !self.behaviour.udp {
            return Err(Dropped::Egress);
        }
        let mut key = self.key(inside, remote);
        self.sweep(now);
        self.forget_expired(key, now);
        // The stranger's own packet took the tuple (remote, port): this flow, and only this one, gets another.
        let aside = Key { towards: Some((remote.ip(), remote.port())), ..key };
        let was_pushed = self.entries.get(&aside).is_some_and(|entry| entry.expires > now);
        let is_pushed = self.entries.get(&key).is_some_and(|entry| {
            self.strangers.get(&(remote, entry.outside)).is_some_and(|until| *until > now)
                && !entry.permitted.contains_key(&remote)
        });
        if was_pushed || is_pushed {
            key = aside;
            self.forget_expired(key, now);
        }
        let expires = now + self.behaviour.lifetime;
        if !self.entries.contains_key(&key) {
            let outside = if self.translates() {
                let Some(port) = self.choose_port(inside.port(), now) else {
                    self.full_at = Some(now);
                    return Err(Dropped::Exhausted);
                };
                self.note_first(key, now);
                self.ports.insert(port, key);
                port
            } else {
                inside.port()
            };
            self.entries.insert(key, Entry { outside, expires, permitted: BTreeMap::new() });
        }
        let translates = self.translates();
        let entry = self.entries.get_mut(&key).ok_or(Dropped::Exhausted)?;
        entry.expires = expires;
        entry.permitted.insert(remote, expires);
        if entry.permitted.len() > SWEEP_AT {
            entry.permitted.retain(|_, until| *until > now);
        }
        Ok(if translates { SocketAddr::new(self.outside, entry.outside) } else { inside })
    }

    /// Lets a packet in: the inside address it is for. Hairpinned packets are not filtered, as in the lab.
    ///
    /// # Errors
    ///
    /// Why it may not enter.
    pub fn inbound(
        &mut self,
        target: SocketAddr,
        remote: SocketAddr,
        way: Way,
        now: Instant,
    ) -> Result<SocketAddr, Dropped> {
        if !self.translates() {
            return self.through_firewall(target, remote, way, now);
        }
        let found = self.ports.get(&target.port()).copied().filter(|key| {
            self.entries.get(key).is_some_and(|entry| entry.expires > now)
                // A flow that a stranger's packet pushed aside is open to that stranger alone.
                && (key.towards.is_none() || self.behaviour.mapping != Mapping::EndpointIndependent
                    || key.towards == Some((remote.ip(), remote.port())))
        });
        let Some(key) = found else {
            self.remember_stranger(remote, target.port(), now);
            return Err(Dropped::Unmapped);
        };
        let behaviour = self.behaviour;
        let entry = self.entries.get_mut(&key).ok_or(Dropped::Unmapped)?;
        if way == Way::Straight && !passes(behaviour.filtering, &entry.permitted, remote, now) {
            self.remember_stranger(remote, target.port(), now);
            return Err(Dropped::Filtered);
        }
        if behaviour.inbound_refresh {
            entry.expires = now + behaviour.lifetime;
            if let Some(until) = entry.permitted.get_mut(&remote) {
                *until = entry.expires;
            }
        }
        Ok(key.inside)
    }

    /// When it last had no port left for somebody.
    #[must_use]
    pub const fn full_at(&self) -> Option<Instant> {
        self.full_at
    }

    /// When so many sockets last had ports of a customer's block that further guesses are put off: three parts in 16, as a guess
    /// takes one, and all together no more than four.
    #[must_use]
    pub const fn crowded_at(&self) -> Option<Instant> {
        self.crowded_at
    }

    /// How many mappings it remembers, expired ones included.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.entries.len()
    }

    fn through_firewall(
        &mut self,
        target: SocketAddr,
        remote: SocketAddr,
        way: Way,
        now: Instant,
    ) -> Result<SocketAddr, Dropped> {
        if way == Way::Hairpin || self.behaviour.filtering == Filtering::EndpointIndependent {
            return Ok(target);
        }
        let key = self.key(target, remote);
        let entry = self.entries.get_mut(&key).ok_or(Dropped::Unmapped)?;
        if entry.expires <= now || !passes(self.behaviour.filtering, &entry.permitted, remote, now) {
            return Err(Dropped::Filtered);
        }
        if self.behaviour.inbound_refresh {
            entry.expires = now + self.behaviour.lifetime;
            entry.permitted.insert(remote, entry.expires);
        }
        Ok(target)
    }

    fn key(&self, inside: SocketAddr, remote: SocketAddr) -> Key {
        let towards = match self.behaviour.mapping {
            Mapping::None | Mapping::EndpointIndependent => None,
            Mapping::AddressDependent => Some((remote.ip(), 0)),
            Mapping::AddressAndPortDependent => Some((remote.ip(), remote.port())),
        };
        Key { inside, towards }
    }

    fn forget_expired(&mut self, key: Key, now: Instant) {
        if self.entries.get(&key).is_some_and(|entry| entry.expires <= now) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key)
            && self.ports.get(&entry.outside) == Some(&key)
        {
            self.ports.remove(&entry.outside);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.entries.len() < self.sweep_at {
            return;
        }
        let expired = self.entries.iter().filter(|(_, entry)| entry.expires <= now);
        for key in expired.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.forget(key);
        }
        self.sweep_at = (self.entries.len() * 2).max(SWEEP_AT);
    }

    fn choose_port(&mut self, wanted: u16, now: Instant) -> Option<u16> {
        let (ports, entries) = (&self.ports, &self.entries);
        let is_free = |port: u16| {
            ports.get(&port).and_then(|key| entries.get(key)).is_none_or(|entry| entry.expires <= now)
        };
        self.chooser.choose(wanted, is_free, &mut self.rng, now)
    }

    /// Counts a port of a block if its socket has no other: guesses open one from each of many sockets, all else a few from
    /// the same ones.
    fn note_first(&mut self, key: Key, now: Instant) {
        let Ports::Block { size, .. } = self.behaviour.ports else { return };
        let of_socket = self.entries.range(Key { towards: None, ..key }..);
        let mut others = of_socket.take_while(|(other, _)| other.inside == key.inside);
        if others.any(|(_, entry)| entry.expires > now) {
            return;
        }
        while self.firsts.front().is_some_and(|expires| *expires <= now) {
            self.firsts.pop_front();
        }
        self.firsts.push_back(now + self.behaviour.lifetime);
        if self.firsts.len() * 16 >= usize::from(size) * 3 {
            self.crowded_at = Some(now);
        }
    }

    fn remember_stranger(&mut self, remote: SocketAddr, port: u16, now: Instant) {
        if !self.behaviour.accepts_strangers {
            return;
        }
        if self.strangers.len() >= STRANGERS_MAX {
            self.strangers.retain(|_, until| *until > now);
        }
        if self.strangers.len() < STRANGERS_MAX {
            self.strangers.insert((remote, port), now + STRANGER_LIFE);
        }
    }
}

/// From which side a packet comes to the outside address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the outside.
    Straight,
    /// From the inside, turned around.
    Hairpin,
}

fn passes(
    filtering: Filtering,
    permitted: &BTreeMap<SocketAddr, Instant>,
    remote: SocketAddr,
    now: Instant,
) -> bool {
    match filtering {
        Filtering::EndpointIndependent => true,
        Filtering::AddressDependent => {
            permitted.iter().any(|(known, until)| known.ip() == remote.ip() && *until > now)
        }
        Filtering::AddressAndPortDependent => permitted.get(&remote).is_some_and(|until| *until > now),
    }
}

#[cfg(test)]
mod tests;
