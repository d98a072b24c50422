//! A scenario: what is built, what happens when, and who talks to whom.
//!
//! Plain data, so that a scenario can be printed, compared and run again. Hand-written ones live in
//! `tests/*.rs`; [`crate::chance`] draws them from a seed.

use std::time::Duration;

use lanyard_proto::time::Instant;

use crate::link::Link;
use crate::nat::Kind;
use crate::net::{HostId, SiteConfig, SiteId};

/// One run of the world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Sites, carriers before the homes behind them.
    pub sites: Vec<SiteConfig>,
    /// Devices.
    pub hosts: Vec<HostPlan>,
    /// How the services are laid out.
    pub services: ServicePlan,
    /// Who sends to whom.
    pub flows: Vec<Flow>,
    /// What happens, in any order.
    pub acts: Vec<(Instant, Act)>,
    /// When the run ends.
    pub until: Instant,
    /// Every time limit of the oracle is multiplied by this: links that lose much need more.
    pub patience: u32,
}

/// One device.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    /// Where it is at the start.
    pub site: SiteId,
    /// Bit `n` set: a member of network `n`.
    pub networks: u8,
    /// When it is switched on.
    pub on_at: Instant,
    /// How wrong its calendar is, in seconds.
    pub clock_error_s: i64,
}

/// The coordinators.
#[derive(Clone, Copy, Debug)]
pub struct ServicePlan {
    /// How many networks exist.
    pub networks: usize,
    /// How many coordinators; network `n` belongs to coordinator `n % coordinators`.
    pub coordinators: usize,
    /// A second machine does handshakes and relaying.
    pub apart: bool,
    /// The servers' links.
    pub link: Link,
}

/// Packets from one device to another, each answered by the other end.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Who asks.
    pub from: HostId,
    /// Who answers.
    pub to: HostId,
    /// First packet.
    pub start: Instant,
    /// No packet after this.
    pub end: Instant,
    /// Time between packets.
    pub every: Duration,
    /// Bytes of each packet inside the tunnel.
    pub size: usize,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// The device's process dies without a word, and comes back after this.
    Crash(HostId, Duration),
    /// The device says good-bye and stays away this long.
    Shutdown(HostId, Duration),
    /// The computer sleeps.
    Suspend(HostId, Duration),
    /// The device moves to another site.
    Roam(HostId, SiteId),
    /// The device's calendar is wrong by so many seconds after its next start.
    ClockJump(HostId, i64),
    /// The router forgets its mappings.
    NatReboot(SiteId),
    /// The same, with other ports afterwards.
    NatRebind(SiteId),
    /// The router gets another address.
    NewAddress(SiteId),
    /// The uplink loses carrier for this long.
    UplinkDown(SiteId, Duration),
    /// The uplink changes.
    SetLink(SiteId, Link),
    /// The site and a coordinator's machines cannot reach each other for this long.
    Partition(SiteId, usize, Duration),
    /// Packets from the coordinator's machines to the site vanish for this long.
    OneWay(SiteId, usize, Duration),
    /// Two sites cannot reach each other for this long.
    Sever(SiteId, SiteId, Duration),
    /// The coordinator dies without a word and comes back after this, with empty memory.
    CoordinatorCrash(usize, Duration),
    /// The relay's machine, where it is apart, dies and comes back after this.
    RelayCrash(usize, Duration),
    /// An attacker sends this many datagrams to everything it can reach.
    Hostile(u32),
    /// The device leaves a network.
    Leave(HostId, usize),
    /// An administrator removes the device from a network.
    Remove(HostId, usize),
    /// The device joins a network it was not a member of.
    Join(HostId, usize),
    /// The first device refuses the second, or stops refusing it.
    Refuse(HostId, HostId, bool),
}

impl Act {
    /// How long the act lasts.
    #[must_use]
    pub const fn lasts(&self) -> Duration {
        match self {
            Self::Crash(_, away)
            | Self::Shutdown(_, away)
            | Self::Suspend(_, away)
            | Self::UplinkDown(_, away)
            | Self::Partition(_, _, away)
            | Self::OneWay(_, _, away)
            | Self::Sever(_, _, away)
            | Self::CoordinatorCrash(_, away)
            | Self::RelayCrash(_, away) => *away,
            Self::Roam(..)
            | Self::ClockJump(..)
            | Self::NatReboot(_)
            | Self::NatRebind(_)
            | Self::NewAddress(_)
            | Self::SetLink(..)
            | Self::Hostile(_)
            | Self::Leave(..)
            | Self::Remove(..)
            | Self::Join(..)
            | Self::Refuse(..) => Duration::ZERO,
        }
    }

    /// Whether the pair-wise promises hold on right through it: an attacker and a change of members disturb
    /// nobody else.
    #[must_use]
    pub const fn is_harmless(&self) -> bool {
        matches!(
            self,
            Self::Hostile(_)
                | Self::Leave(..)
                | Self::Remove(..)
                | Self::Join(..)
                | Self::ClockJump(..)
                | Self::Refuse(..)
        )
    }
}

impl Scenario {
    /// Devices behind these routers, one site each, all in one network, switched on at once, on clean links.
    #[must_use]
    pub fn of(kinds: &[Kind]) -> Self {
        let sites =
            (10..).zip(kinds).map(|(lan, kind)| SiteConfig { lan, ..SiteConfig::of(*kind) }).collect();
        Self {
            seed: 0,
            sites,
            hosts: (0..kinds.len()).map(|site| HostPlan::at(SiteId(site))).collect(),
            services: ServicePlan { networks: 1, coordinators: 1, apart: false, link: Link::CLEAN },
            flows: Vec::new(),
            acts: Vec::new(),
            until: Instant::from_secs(30),
            patience: 1,
        }
    }

    /// Lets one device ask another ten times a second, all the time.
    #[must_use]
    pub fn ping(mut self, from: usize, to: usize) -> Self {
        self.flows.push(Flow::between(from, to));
        self
    }

    /// Lets something happen.
    #[must_use]
    pub fn at(mut self, second: u64, act: Act) -> Self {
        self.acts.push((Instant::from_secs(second), act));
        self
    }

    /// Ends the run then.
    #[must_use]
    pub const fn until(mut self, second: u64) -> Self {
        self.until = Instant::from_secs(second);
        self
    }

    /// Draws from another seed.
    #[must_use]
    pub const fn seeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The moment after which nothing is broken any more.
    #[must_use]
    pub fn calm_at(&self) -> Instant {
        let ends = self.acts.iter().map(|(at, act)| *at + act.lasts());
        ends.chain(self.hosts.iter().map(|host| host.on_at)).max().unwrap_or(Instant::ZERO)
    }
}

impl HostPlan {
    /// A device at a site, in the first network, on from the start, its calendar right.
    #[must_use]
    pub const fn at(site: SiteId) -> Self {
        Self { site, networks: 1, on_at: Instant::ZERO, clock_error_s: 0 }
    }
}

impl Flow {
    /// Ten small packets a second, from the third second on, for ever.
    #[must_use]
    pub const fn between(from: usize, to: usize) -> Self {
        Self {
            from: HostId(from),
            to: HostId(to),
            start: Instant::from_secs(3),
            end: Instant::MAX,
            every: Duration::from_millis(100),
            size: 84,
        }
    }

    /// The same, between these seconds only.
    #[must_use]
    pub const fn during(mut self, start: u64, end: u64) -> Self {
        self.start = Instant::from_secs(start);
        self.end = Instant::from_secs(end);
        self
    }
}
