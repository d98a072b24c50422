//! A scenario: what is built, what happens when, and who talks to whom.
//!
//! Plain data, so that a scenario can be printed, compared and run again. Hand-written ones live in
//! `tests/*.rs`; [`crate::chance`] draws them from a seed.

use std::collections::BTreeMap;
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
    /// Passes on frames for others, as far as it can be reached.
    pub relays: bool,
    /// Runs on the same computer as this other device, which stands before it in the list.
    pub beside: Option<HostId>,
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
    /// Where it does, so many others relay, too.
    pub more_relays: usize,
    /// The servers' links.
    pub link: Link,
}

impl ServicePlan {
    /// Machines of one coordinator.
    #[must_use]
    pub const fn machines(&self) -> usize {
        if self.apart { 2 + self.more_relays } else { 1 }
    }
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
    /// Talks now and then only.
    pub spells: Option<Spells>,
}

/// When a pair talks that does not talk all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spells {
    /// So long, from the flow's start on.
    pub talk: Duration,
    /// Then nothing for so long, and over again.
    pub rest: Duration,
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
    /// The uplink loses so many percent for this long.
    Lossy(SiteId, u64, Duration),
    /// The uplink takes only packets up to so many bytes for this long, and says nothing about it.
    BlackHole(SiteId, usize, Duration),
    /// Two sites cannot reach each other for this long.
    Sever(SiteId, SiteId, Duration),
    /// The coordinator dies without a word and comes back after this, with empty memory.
    CoordinatorCrash(usize, Duration),
    /// The relay's machine, where it is apart, dies and comes back after this.
    RelayCrash(usize, Duration),
    /// The same machine is told to end, and does after this.
    RelayDrain(usize, Duration),
    /// From now on packets between the site and this machine of the first coordinator take so much longer, each way.
    Further(SiteId, usize, Duration),
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
            | Self::Lossy(_, _, away)
            | Self::BlackHole(_, _, away)
            | Self::Sever(_, _, away)
            | Self::CoordinatorCrash(_, away)
            | Self::RelayCrash(_, away)
            | Self::RelayDrain(_, away) => *away,
            Self::Roam(..)
            | Self::ClockJump(..)
            | Self::NatReboot(_)
            | Self::NatRebind(_)
            | Self::NewAddress(_)
            | Self::SetLink(..)
            | Self::Further(..)
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
            services: ServicePlan {
                networks: 1,
                coordinators: 1,
                apart: false,
                more_relays: 0,
                link: Link::CLEAN,
            },
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
        self.calm_since(Instant::MAX)
    }

    /// The end of the last fault of those that had begun by then.
    #[must_use]
    pub fn calm_since(&self, now: Instant) -> Instant {
        let begun = self.acts.iter().filter(|(at, _)| *at <= now).map(|(at, act)| *at + act.lasts());
        let on = self.hosts.iter().map(|host| host.on_at).filter(|at| *at <= now);
        begun.chain(on).max().unwrap_or(Instant::ZERO)
    }

    /// How long pairs that talk to each other know each other in this scenario, all pairs together, up to a
    /// moment; a pair that talks now and then counts with its pauses.
    #[must_use]
    pub fn pair_time(&self, until: Instant) -> Duration {
        let mut pairs = BTreeMap::new();
        for flow in &self.flows {
            let pair = (flow.from.min(flow.to), flow.from.max(flow.to));
            let (from, to) = pairs.entry(pair).or_insert((flow.start, flow.end));
            (*from, *to) = ((*from).min(flow.start), (*to).max(flow.end));
        }
        pairs.values().map(|(from, to)| (*to).min(until).saturating_since(*from)).sum()
    }
}

impl HostPlan {
    /// A device at a site, in the first network, on from the start, its calendar right.
    #[must_use]
    pub const fn at(site: SiteId) -> Self {
        Self { site, networks: 1, on_at: Instant::ZERO, clock_error_s: 0, relays: false, beside: None }
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
            spells: None,
        }
    }

    /// The spell that a moment is in, first and last moment; `None` between two of them, before and after all.
    #[must_use]
    pub fn spell_at(&self, at: Instant) -> Option<(Instant, Instant)> {
        if at < self.start || at > self.end {
            return None;
        }
        let Some(Spells { talk, rest }) = self.spells else { return Some((self.start, self.end)) };
        let period = u64::try_from((talk + rest).as_micros()).unwrap_or(u64::MAX).max(1);
        let since = u64::try_from(at.saturating_since(self.start).as_micros()).unwrap_or(0);
        let begin = self.start + Duration::from_micros(since / period * period);
        let end = (begin + talk).min(self.end);
        (at <= end).then_some((begin, end))
    }

    /// When the packet after the one sent now is due.
    #[must_use]
    pub fn next_after(&self, now: Instant) -> Instant {
        let next = now + self.every;
        match (self.spells, self.spell_at(now)) {
            (Some(Spells { talk, rest }), Some((begin, end))) if next > end => begin + talk + rest,
            (Some(_) | None, _) => next,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_with_spells_asks_in_them_and_rests_between_them() {
        let spells = Spells { talk: Duration::from_secs(3), rest: Duration::from_secs(57) };
        let every = Duration::from_secs(1);
        let flow = Flow { every, spells: Some(spells), ..Flow::between(0, 1).during(10, 200) };
        let asks: Vec<u64> = std::iter::successors(Some(flow.start), |now| Some(flow.next_after(*now)))
            .take_while(|now| *now <= flow.end)
            .map(|now| now.as_micros() / 1_000_000)
            .collect();
        assert_eq!(asks, [10, 11, 12, 13, 70, 71, 72, 73, 130, 131, 132, 133, 190, 191, 192, 193]);
        assert_eq!(
            flow.spell_at(Instant::from_secs(72)),
            Some((Instant::from_secs(70), Instant::from_secs(73)))
        );
        assert_eq!(flow.spell_at(Instant::from_secs(74)), None);
    }

    #[test]
    fn the_time_of_a_pair_counts_once_and_not_after_the_end_of_the_run() {
        let mut scenario = Scenario::of(&[Kind::Open; 3]);
        scenario.flows = vec![
            Flow::between(0, 1).during(10, 60),
            Flow::between(1, 0).during(20, 80),
            Flow::between(1, 2).during(50, 10_000),
        ];
        assert_eq!(scenario.pair_time(Instant::from_secs(100)), Duration::from_secs(70 + 50));
    }
}
