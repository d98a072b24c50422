//! A miniature internet: servers in the core, sites behind routers, hosts in sites, sites behind sites.
//!
//! A packet's life:
//!
//! 1. [`Net::depart`] climbs from the host outwards: each router translates the source, until the destination
//!    is an address of the place reached (another host of the LAN, a router on the outside, a server).
//! 2. The [`Departure`] names that place and the sum of the links on the way; the world draws what becomes of
//!    the packet there and lets it arrive later.
//! 3. [`Net::arrive`] asks the router at that place, with the state it has **then**, who inside it is for; a
//!    router inside that one (a home behind a carrier) is another hop over its own link.
//!
//! Addresses follow the namespace lab: servers 203.0.113.x, site `i` 198.51.100.8i+1 outside and 192.168.lan
//! inside. Several sites may well use the same LAN prefix, as homes do.

mod ways;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lanyard_proto::rng::Rng;
use lanyard_proto::time::Instant;
use lanyard_wire::nat::{Filtering, Mapping};

use self::ways::Ways;
use crate::link::Link;
use crate::nat::{Behaviour, Dropped, Kind, Nat, Way};

/// A device's machine, whether switched on or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub usize);

/// A LAN with its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub usize);

/// A machine in the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub usize);

/// Who owns an address somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A host of this LAN.
    Host(HostId),
    /// The outside of a site's router.
    Gate(SiteId),
    /// A server.
    Server(ServerId),
}

/// How a site is built.
#[derive(Clone, Copy, Debug)]
pub struct SiteConfig {
    /// Its router.
    pub nat: Behaviour,
    /// The carrier's site this one is behind.
    pub via: Option<SiteId>,
    /// Third byte of the inside prefix 192.168.x.0/24.
    pub lan: u8,
    /// Hosts cannot talk to each other inside.
    pub isolated: bool,
    /// IPv6 with this filtering in front of it.
    pub ipv6: Option<Filtering>,
    /// The uplink.
    pub link: Link,
}

impl SiteConfig {
    /// A home with a router of this kind and a clean uplink.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self { nat: kind.behaviour(), via: None, lan: 1, isolated: false, ipv6: None, link: Link::CLEAN }
    }
}

/// One site, with its router's state.
#[derive(Clone, Debug)]
pub struct Site {
    /// As built, or as changed since.
    pub config: SiteConfig,
    /// The uplink has no carrier.
    pub down: bool,
    pub(crate) nat: Nat,
    firewall6: Option<Nat>,
    seats: u8,
    generation: u8,
}

/// Where a host is plugged in.
#[derive(Clone, Copy, Debug)]
struct Seat {
    site: SiteId,
    ip4: IpAddr,
    ip6: Option<IpAddr>,
}

/// Why a packet got nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// A router's decision.
    Router(Dropped),
    /// Nobody has that address, or the sender has none of its family.
    Unrouted,
    /// The LAN keeps its hosts apart.
    Isolated,
    /// A partition or an uplink without carrier.
    Cut,
    /// The link lost it.
    Link,
    /// Longer than the MTU of the way.
    TooLong,
    /// The receiver is off, asleep or does not listen there.
    Deaf,
}

impl Lost {
    /// The word for traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router(dropped) => dropped.as_str(),
            Self::Unrouted => "unrouted",
            Self::Isolated => "isolated",
            Self::Cut => "cut",
            Self::Link => "lost",
            Self::TooLong => "too long",
            Self::Deaf => "deaf",
        }
    }
}

/// A packet on its last leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Where it goes.
    pub place: Place,
    /// Its source as the place sees it.
    pub source: SocketAddr,
    /// Its destination there.
    pub target: SocketAddr,
    /// From which side it reaches a router.
    pub way: Way,
    /// All links on the way.
    pub link: Link,
}

/// What a place does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is for a host, at this port of it.
    Host(HostId, u16),
    /// It is for a server, at this address of it.
    Server(ServerId, SocketAddr),
    /// It goes on to a place further inside.
    Onward(Departure),
}

/// Public addresses that a site without translation has for its hosts.
const PUBLIC_SEATS: u8 = 6;

/// The miniature internet.
#[derive(Clone, Debug, Default)]
pub struct Net {
    sites: Vec<Site>,
    seats: BTreeMap<HostId, Seat>,
    /// Devices that run on the computer of another one.
    shared: BTreeMap<HostId, HostId>,
    servers: Vec<Link>,
    /// Who has which address in which realm; `None` is the core.
    owners: BTreeMap<(Option<SiteId>, IpAddr), Place>,
    ways: Ways,
}

impl Net {
    /// Builds a site. A carrier is built before the homes behind it.
    pub fn add_site(&mut self, config: SiteConfig, rng: &mut Rng) -> SiteId {
        let id = SiteId(self.sites.len());
        let outside = self.outside_of(id, config.via, 0);
        let nat = Nat::new(config.nat, outside, rng.fork(b"nat"));
        let firewall6 = config.ipv6.map(|filtering| {
            let behaviour = Behaviour { mapping: Mapping::None, filtering, ..config.nat };
            Nat::new(behaviour, IpAddr::V6(Ipv6Addr::UNSPECIFIED), rng.fork(b"firewall"))
        });
        if nat.translates() {
            self.owners.insert((config.via, outside), Place::Gate(id));
        }
        self.sites.push(Site { config, down: false, nat, firewall6, seats: 0, generation: 0 });
        id
    }

    /// Puts a server with these addresses into the core.
    pub fn add_server(&mut self, addrs: &[IpAddr], link: Link) -> ServerId {
        let id = ServerId(self.servers.len());
        self.servers.push(link);
        for addr in addrs {
            self.owners.insert((None, *addr), Place::Server(id));
        }
        id
    }

    /// Lets a device run on the computer of another one, whose addresses it has.
    pub fn share(&mut self, host: HostId, computer: HostId) {
        self.shared.insert(host, computer);
    }

    /// The device whose computer this one runs on; itself, where it is alone.
    #[must_use]
    pub fn computer_of(&self, host: HostId) -> HostId {
        self.shared.get(&host).copied().unwrap_or(host)
    }

    /// The other devices that run on a device's computer.
    pub fn guests_of(&self, computer: HostId) -> impl Iterator<Item = HostId> {
        self.shared.iter().filter(move |(_, other)| **other == computer).map(|(guest, _)| *guest)
    }

    /// Plugs a host in at a site, unplugging it elsewhere: it gets new addresses. A device on another one's
    /// computer is where that is.
    pub fn plug(&mut self, host: HostId, site: SiteId) {
        if let Some(computer) = self.shared.get(&host) {
            if let Some(seat) = self.seats.get(computer).copied() {
                self.seats.insert(host, seat);
            }
            return;
        }
        self.unplug(host);
        let Some(entry) = self.sites.get_mut(site.0) else { return };
        let seat_number = entry.seats;
        entry.seats = entry.seats.wrapping_add(1);
        let translates = entry.nat.translates();
        let lan = entry.config.lan;
        let seat = |turn: u8| {
            let number = seat_number.wrapping_add(turn);
            if translates {
                IpAddr::V4(Ipv4Addr::new(192, 168, lan, 10 + number % 240))
            } else {
                public_ip(site.0, 2 + usize::from(number % PUBLIC_SEATS))
            }
        };
        // The next address, as a router's lease goes on, unless somebody has it.
        let free = (0..=u8::MAX).map(seat).find(|ip| !self.owners.contains_key(&(Some(site), *ip)));
        let Some(ip4) = free else { return };
        let via = entry.config.via;
        let ip6 = entry.config.ipv6.map(|_| {
            let number = u16::try_from(site.0).unwrap_or(0) + 16;
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, number, 0, 0, 0, 0, 0xA + u16::from(seat_number)))
        });
        self.owners.insert((Some(site), ip4), Place::Host(host));
        if !translates {
            self.owners.insert((via, ip4), Place::Gate(site));
        }
        if let Some(ip6) = ip6 {
            self.owners.insert((Some(site), ip6), Place::Host(host));
            self.owners.insert((None, ip6), Place::Gate(site));
        }
        self.seats.insert(host, Seat { site, ip4, ip6 });
    }

    /// Takes a host off the net.
    pub fn unplug(&mut self, host: HostId) {
        if let Some(seat) = self.seats.remove(&host) {
            let gone = |ip: &IpAddr| *ip == seat.ip4 || Some(*ip) == seat.ip6;
            let outside = Place::Gate(seat.site);
            self.owners
                .retain(|(_, ip), place| !(gone(ip) && (*place == Place::Host(host) || *place == outside)));
        }
    }

    /// The addresses a host has right now.
    #[must_use]
    pub fn addresses(&self, host: HostId) -> Vec<IpAddr> {
        self.seats
            .get(&host)
            .map_or_else(Vec::new, |seat| std::iter::once(seat.ip4).chain(seat.ip6).collect())
    }

    /// How many hosts are plugged in.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.seats.len()
    }

    /// The site a host is plugged in at.
    #[must_use]
    pub fn site_of(&self, host: HostId) -> Option<SiteId> {
        self.seats.get(&host).map(|seat| seat.site)
    }

    /// A site by number.
    #[must_use]
    pub fn site(&self, site: SiteId) -> Option<&Site> {
        self.sites.get(site.0)
    }

    /// A site by number, to change its settings.
    pub fn site_mut(&mut self, site: SiteId) -> Option<&mut Site> {
        self.sites.get_mut(site.0)
    }

    /// Every address at which packets for this host may arrive: its own and those of the routers above it.
    #[must_use]
    pub fn footprint(&self, host: HostId) -> Vec<IpAddr> {
        let mut all = self.addresses(host);
        let mut site = self.site_of(host);
        while let Some(entry) = site.and_then(|site| self.site(site)) {
            all.push(entry.nat.outside());
            site = entry.config.via;
        }
        all
    }

    /// The router forgets every mapping.
    pub fn reboot(&mut self, site: SiteId) {
        for nat in self.routers_mut(site) {
            nat.reboot();
        }
    }

    /// The router forgets every mapping and chooses other ports.
    pub fn rebind(&mut self, site: SiteId) {
        for nat in self.routers_mut(site) {
            nat.rebind();
        }
    }

    /// The router gets another outside address. A site without translation keeps what it has.
    pub fn renumber(&mut self, site: SiteId) {
        let Some(entry) = self.sites.get_mut(site.0) else { return };
        if !entry.nat.translates() {
            return;
        }
        entry.generation = entry.generation.wrapping_add(1);
        let (via, generation, before) = (entry.config.via, entry.generation, entry.nat.outside());
        let outside = self.outside_of(site, via, generation);
        self.owners.remove(&(via, before));
        self.owners.insert((via, outside), Place::Gate(site));
        if let Some(entry) = self.sites.get_mut(site.0) {
            entry.nat.renumber(outside);
        }
    }

    /// Sends a packet of a host on its way.
    ///
    /// # Errors
    ///
    /// Why it did not leave.
    pub fn depart(
        &mut self,
        host: HostId,
        port: u16,
        target: SocketAddr,
        now: Instant,
    ) -> Result<Departure, Lost> {
        let seat = *self.seats.get(&host).ok_or(Lost::Cut)?;
        let own = match target.ip() {
            IpAddr::V4(_) => seat.ip4,
            IpAddr::V6(_) => seat.ip6.ok_or(Lost::Unrouted)?,
        };
        let mut source = SocketAddr::new(own, port);
        let mut realm = Some(seat.site);
        let mut link: Option<Link> = None;
        let mut from = Place::Host(host);
        loop {
            if let Some(place) = self.owners.get(&(realm, target.ip())).copied() {
                return self.found(place, from, realm, source, target, link);
            }
            let site = realm.ok_or(Lost::Unrouted)?;
            let entry = self.sites.get_mut(site.0).ok_or(Lost::Unrouted)?;
            if entry.down {
                return Err(Lost::Cut);
            }
            let nat = if target.is_ipv4() { Some(&mut entry.nat) } else { entry.firewall6.as_mut() };
            let nat = nat.ok_or(Lost::Unrouted)?;
            source = nat.outbound(source, target, now).map_err(Lost::Router)?;
            if nat.translates() && nat.outside() == target.ip() {
                if !nat.behaviour().hairpin {
                    return Err(Lost::Router(Dropped::Hairpin));
                }
                let link = link.map_or(Link::LAN, |link| link.then(Link::LAN));
                return Ok(Departure { place: Place::Gate(site), source, target, way: Way::Hairpin, link });
            }
            link = Some(link.map_or(entry.config.link, |link| link.then(entry.config.link)));
            from = Place::Gate(site);
            realm = if target.is_ipv4() { entry.config.via } else { None };
        }
    }

    /// Sends a packet from the core: a server's, or one with a forged source.
    ///
    /// # Errors
    ///
    /// Why it did not leave.
    pub fn depart_core(
        &self,
        server: Option<ServerId>,
        source: SocketAddr,
        target: SocketAddr,
    ) -> Result<Departure, Lost> {
        let place = self.owners.get(&(None, target.ip())).copied().ok_or(Lost::Unrouted)?;
        let link = server.and_then(|server| self.servers.get(server.0)).copied();
        let from = server.map_or(place, Place::Server);
        self.found(place, from, None, source, target, Some(link.unwrap_or(Link::LAN)))
    }

    /// Lets a packet arrive at its place.
    ///
    /// # Errors
    ///
    /// Why it was dropped there.
    pub fn arrive(&mut self, departure: &Departure, now: Instant) -> Result<Arrival, Lost> {
        match departure.place {
            Place::Host(host) => Ok(Arrival::Host(host, departure.target.port())),
            Place::Server(server) => Ok(Arrival::Server(server, departure.target)),
            Place::Gate(site) => {
                let entry = self.sites.get_mut(site.0).ok_or(Lost::Unrouted)?;
                if entry.down && departure.way == Way::Straight {
                    return Err(Lost::Cut);
                }
                let is4 = departure.target.is_ipv4();
                let nat = if is4 { Some(&mut entry.nat) } else { entry.firewall6.as_mut() };
                let nat = nat.ok_or(Lost::Unrouted)?;
                let target = nat
                    .inbound(departure.target, departure.source, departure.way, now)
                    .map_err(Lost::Router)?;
                let place = self.owners.get(&(Some(site), target.ip())).copied().ok_or(Lost::Unrouted)?;
                let onward =
                    self.found(place, Place::Gate(site), Some(site), departure.source, target, None)?;
                match place {
                    Place::Host(host) => Ok(Arrival::Host(host, target.port())),
                    Place::Gate(_) | Place::Server(_) => Ok(Arrival::Onward(onward)),
                }
            }
        }
    }

    fn found(
        &self,
        place: Place,
        from: Place,
        realm: Option<SiteId>,
        source: SocketAddr,
        target: SocketAddr,
        link: Option<Link>,
    ) -> Result<Departure, Lost> {
        if self.ways.is_cut(from, place) {
            return Err(Lost::Cut);
        }
        let isolated = realm.and_then(|site| self.site(site)).is_some_and(|site| site.config.isolated);
        let is_loop = |a, b| self.computer_of(a) == self.computer_of(b);
        if isolated && matches!((from, place), (Place::Host(a), Place::Host(b)) if !is_loop(a, b)) {
            return Err(Lost::Isolated);
        }
        let last = match place {
            Place::Host(_) => None,
            Place::Gate(site) => self.site(site).map(|site| site.config.link),
            Place::Server(server) => self.servers.get(server.0).copied(),
        };
        let link = match (link, last) {
            (Some(first), Some(last)) => first.then(last),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Link::LAN,
        };
        let link = self.ways.stretch(from, place, link);
        Ok(Departure { place, source, target, way: Way::Straight, link })
    }

    fn routers_mut(&mut self, site: SiteId) -> impl Iterator<Item = &mut Nat> {
        self.sites
            .get_mut(site.0)
            .into_iter()
            .flat_map(|site| std::iter::once(&mut site.nat).chain(&mut site.firewall6))
    }

    fn outside_of(&self, site: SiteId, via: Option<SiteId>, generation: u8) -> IpAddr {
        match via {
            None => public_ip(site.0, 1 + usize::from(generation % 5) * 1_000),
            Some(carrier) => {
                let behind = u8::try_from(carrier.0 % 250).unwrap_or(0);
                let number = u8::try_from(site.0 % 40).unwrap_or(0) * 5 + generation % 5;
                IpAddr::V4(Ipv4Addr::new(100, 64, behind, 10 + number))
            }
        }
    }
}

/// Public address `number` of a site: blocks of eight from 198.51.100.80 on, thousands for later addresses.
fn public_ip(site: usize, number: usize) -> IpAddr {
    let base = u32::from(Ipv4Addr::new(198, 51, 100, 80));
    let offset = u32::try_from(site * 8 + number % 1_000 + (number / 1_000) * 8_000).unwrap_or(0);
    IpAddr::V4(Ipv4Addr::from(base.wrapping_add(offset)))
}

#[cfg(test)]
mod tests;
