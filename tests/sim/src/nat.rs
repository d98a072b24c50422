//! A NAT router as RFC 4787 describes it: mapping, filtering, port policy, lifetime, hairpinning.
//!
//! One [`Nat`] is one router with one outside address, or a firewall that translates nothing. The kinds have
//! the names of the namespace lab, so a scenario reads the same in both. A router knows no time of its own and
//! draws its random ports from its own generator; it forgets what it knows when told to ([`Nat::reboot`],
//! [`Nat::rebind`]). Two routers in a row, as behind a carrier, are the business of [`crate::net`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lanyard_proto::rng::Rng;
use lanyard_proto::time::Instant;
use lanyard_wire::nat::{Filtering, Mapping};

/// A router with a name, configured as the namespace lab configures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Public addresses, nothing in between.
    Open,
    /// Public addresses behind a stateful firewall.
    Firewall,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddrRestricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering: the usual home router.
    PortRestricted,
    /// The same with random instead of preserved ports.
    Remapped,
    /// Address-dependent mapping.
    AddrSymmetric,
    /// Address-and-port-dependent mapping with random ports.
    Symmetric,
    /// Address-and-port-dependent mapping, each port the last plus one.
    SymmetricSeq,
    /// A network that lets no UDP out.
    UdpBlocked,
}

impl Kind {
    /// All kinds, in the order of the lab's list.
    pub const ALL: &'static [Self] = &[
        Self::Open,
        Self::Firewall,
        Self::FullCone,
        Self::AddrRestricted,
        Self::PortRestricted,
        Self::Remapped,
        Self::AddrSymmetric,
        Self::Symmetric,
        Self::SymmetricSeq,
        Self::UdpBlocked,
    ];

    /// The lab's name of this kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Firewall => "firewall",
            Self::FullCone => "full-cone",
            Self::AddrRestricted => "addr-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Remapped => "remapped",
            Self::AddrSymmetric => "addr-symmetric",
            Self::Symmetric => "symmetric",
            Self::SymmetricSeq => "symmetric-seq",
            Self::UdpBlocked => "udp-blocked",
        }
    }

    /// How a router of this kind behaves.
    #[must_use]
    pub const fn behaviour(self) -> Behaviour {
        use Filtering::{
            AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif,
        };
        let (mapping, filtering, ports) = match self {
            Self::Open => (Mapping::None, Eif, Ports::Preserved),
            Self::Firewall => (Mapping::None, Apdf, Ports::Preserved),
            Self::FullCone => (Mapping::EndpointIndependent, Eif, Ports::Preserved),
            Self::AddrRestricted => (Mapping::EndpointIndependent, Adf, Ports::Preserved),
            Self::PortRestricted | Self::UdpBlocked => (Mapping::EndpointIndependent, Apdf, Ports::Preserved),
            Self::Remapped => (Mapping::EndpointIndependent, Apdf, Ports::Random),
            Self::AddrSymmetric => (Mapping::AddressDependent, Apdf, Ports::Random),
            Self::Symmetric => (Mapping::AddressAndPortDependent, Apdf, Ports::Random),
            Self::SymmetricSeq => (Mapping::AddressAndPortDependent, Apdf, Ports::Sequential),
        };
        Behaviour {
            mapping,
            filtering,
            ports,
            hairpin: false,
            lifetime: Duration::from_secs(120),
            inbound_refresh: false,
            accepts_strangers: false,
            udp: !matches!(self, Self::UdpBlocked),
        }
    }
}

/// How external ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// The internal port where it is free.
    Preserved,
    /// Any free port.
    Random,
    /// The last one plus one.
    Sequential,
}

/// Everything that tells one router from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Which destinations share a mapping.
    pub mapping: Mapping,
    /// Which sources may use it inwards.
    pub filtering: Filtering,
    /// How its ports are chosen.
    pub ports: Ports,
    /// Whether inside hosts reach each other by outside addresses.
    pub hairpin: bool,
    /// How long a mapping lives without traffic.
    pub lifetime: Duration,
    /// Whether inbound traffic counts as traffic. RFC 4787, REQ-6 lets both be.
    pub inbound_refresh: bool,
    /// A Linux router without WAN firewall: it takes a stranger's packet for a connection to itself, and our
    /// own packet to that stranger then gets another port.
    pub accepts_strangers: bool,
    /// Whether UDP may leave at all.
    pub udp: bool,
}

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
    next: u16,
    /// After a rebind preserved ports are no longer to be had.
    shifted: bool,
    strangers: BTreeSet<(SocketAddr, u16)>,
    sweep_at: usize,
}

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
            next: 20_000,
            shifted: false,
            strangers: BTreeSet::new(),
            sweep_at: SWEEP_AT,
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

    /// Forgets every mapping, as on a power cut.
    pub fn reboot(&mut self) {
        self.entries.clear();
        self.ports.clear();
        self.strangers.clear();
    }

    /// Forgets every mapping and hands out other ports afterwards.
    pub fn rebind(&mut self) {
        self.reboot();
        self.shifted = true;
        self.next = self.next.wrapping_add(5_000).max(20_000);
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
        if let Some(entry) = self.entries.get(&key)
            && self.strangers.contains(&(remote, entry.outside))
            && !entry.permitted.contains_key(&remote)
        {
            key.towards = Some((remote.ip(), remote.port()));
            self.forget_expired(key, now);
        }
        let expires = now + self.behaviour.lifetime;
        if !self.entries.contains_key(&key) {
            let outside = if self.translates() {
                let port = self.choose_port(inside.port(), now).ok_or(Dropped::Exhausted)?;
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
            self.remember_stranger(remote, target.port());
            return Err(Dropped::Unmapped);
        };
        let behaviour = self.behaviour;
        let entry = self.entries.get_mut(&key).ok_or(Dropped::Unmapped)?;
        if way == Way::Straight && !passes(behaviour.filtering, &entry.permitted, remote, now) {
            self.remember_stranger(remote, target.port());
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
        let policy = if self.shifted && self.behaviour.ports == Ports::Preserved {
            Ports::Random
        } else {
            self.behaviour.ports
        };
        match policy {
            Ports::Preserved => self.first_free(wanted, now),
            Ports::Random => {
                let start = 1_024 + u16::try_from(self.rng.below(64_512)).unwrap_or(0);
                self.first_free(start, now)
            }
            Ports::Sequential => {
                let port = self.first_free(self.next, now)?;
                self.next = port.checked_add(1).unwrap_or(20_000);
                Some(port)
            }
        }
    }

    fn first_free(&self, start: u16, now: Instant) -> Option<u16> {
        (start..=u16::MAX).chain(1_024..start).find(|port| {
            self.ports
                .get(port)
                .and_then(|key| self.entries.get(key))
                .is_none_or(|entry| entry.expires <= now)
        })
    }

    fn remember_stranger(&mut self, remote: SocketAddr, port: u16) {
        if self.behaviour.accepts_strangers && self.strangers.len() < 1_024 {
            self.strangers.insert((remote, port));
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
