//! Scenarios drawn from a seed.
//!
//! A few devices behind routers of any kind, links from clean to bad, one to six acts, and flows in both
//! directions; then a calm time in which everything must come back, and sometimes a silent one in which nothing
//! but keep-alives may be sent. Whatever is drawn is plain data: a failing seed can be read before it is run.
//!
//! The upper half of a seed says what kind of scenario it stands for ([`Style`]), so that a seed that once failed
//! keeps its meaning when more is drawn than before.

use std::time::Duration;

use lanyard_proto::rng::Rng;
use lanyard_proto::time::Instant;
use lanyard_wire::nat::Filtering;

use crate::link::{Link, MILLION};
use crate::nat::{Behaviour, Kind};
use crate::net::{HostId, SiteConfig, SiteId};
use crate::oracle::{BACK_WITHIN, QUIET_AFTER};
use crate::script::{Act, Flow, HostPlan, Scenario, ServicePlan};

/// How long the keep-alives of a quiet network are counted.
pub const QUIET_FOR: Duration = Duration::from_secs(30);

mod dice;
mod relays;
mod wide;
mod years;

use dice::Dice;

/// What kind of scenario is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Minutes with many faults behind the usual routers: seeds below 2^32.
    Plain,
    /// The same with every kind of router and every fault there is: from [`WIDE`] on.
    Wide,
    /// A day in which now and then somebody talks and now and then something breaks: from [`YEARS`] on.
    Years,
    /// As [`Style::Wide`], with several relays of which each site has another one near: from [`RELAYS`] on.
    Relays,
}

/// The bits of a seed that say its style.
pub const STYLE: u64 = !0 << 32;

/// The first seed of [`Style::Wide`].
pub const WIDE: u64 = 1 << 32;

/// The first seed of [`Style::Years`].
pub const YEARS: u64 = 2 << 32;

/// The first seed of [`Style::Relays`].
pub const RELAYS: u64 = 3 << 32;

impl Style {
    /// The style of a seed.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        match seed >> 32 {
            0 => Self::Plain,
            1 => Self::Wide,
            2 => Self::Years,
            _ => Self::Relays,
        }
    }
}

/// The seed with this number in a mixture of all styles, most of it days: for runs that count virtual time.
#[must_use]
pub const fn mixed(number: u64) -> u64 {
    match number % 8 {
        3 => number,
        7 => WIDE | number,
        _ => YEARS | number,
    }
}

/// The scenario of a seed.
#[must_use]
pub fn draw(seed: u64) -> Scenario {
    match Style::of(seed) {
        Style::Plain => draw_plain(seed),
        Style::Wide => wide::draw(seed),
        Style::Years => years::draw(seed),
        Style::Relays => relays::draw(seed),
    }
}

fn dice_of(seed: u64) -> Dice {
    let mut bytes = [0x5A; 32];
    for (to, from) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *to = from;
    }
    Dice(Rng::from_seed(bytes))
}

/// Routers of [`Style::Plain`]; what most people have is drawn more often.
const USUAL: &[Kind] = &[
    Kind::Open,
    Kind::Firewall,
    Kind::FullCone,
    Kind::AddrRestricted,
    Kind::PortRestricted,
    Kind::PortRestricted,
    Kind::PortRestricted,
    Kind::Remapped,
    Kind::AddrSymmetric,
    Kind::Symmetric,
    Kind::SymmetricSeq,
];

fn draw_plain(seed: u64) -> Scenario {
    let mut dice = dice_of(seed);
    let is_bad = dice.once_in(4);
    let sites = draw_sites(&mut dice, is_bad, USUAL);
    let coordinators = if dice.once_in(6) { 2 } else { 1 };
    let services = ServicePlan {
        networks: coordinators + usize::from(dice.once_in(3)),
        coordinators,
        apart: dice.once_in(4),
        more_relays: 0,
        link: Link::CLEAN.delayed(dice.between(1, 30)),
    };
    let hosts = draw_hosts(&mut dice, &sites, services.networks);
    let mut scenario = Scenario {
        seed,
        sites,
        hosts,
        services,
        flows: Vec::new(),
        acts: Vec::new(),
        until: Instant::ZERO,
        patience: if is_bad { 4 } else { 1 },
    };
    let begin = 6;
    let end = draw_acts(&mut dice, &mut scenario, begin);
    draw_flows(&mut dice, &mut scenario, begin);
    finish(&mut dice, &mut scenario, end);
    scenario
}

fn finish(dice: &mut Dice, scenario: &mut Scenario, end: u64) {
    let calm = scenario.calm_at().max(Instant::from_secs(end));
    let needs_back = scenario.acts.iter().any(|(_, act)| !act.is_harmless());
    let talk = if needs_back {
        BACK_WITHIN * scenario.patience + Duration::from_secs(6)
    } else {
        Duration::from_secs(20)
    };
    let silent = calm + talk;
    for flow in &mut scenario.flows {
        flow.end = flow.end.min(silent);
    }
    let quiet = if dice.once_in(4) { QUIET_AFTER + QUIET_FOR } else { Duration::ZERO };
    scenario.until = silent + quiet;
}

fn draw_sites(dice: &mut Dice, is_bad: bool, kinds: &[Kind]) -> Vec<SiteConfig> {
    let mut sites = Vec::new();
    let count = dice.between(2, 4);
    let has_carrier = dice.once_in(5);
    if has_carrier {
        let kind = if dice.once_in(2) { Kind::Symmetric } else { Kind::PortRestricted };
        let nat = Behaviour { hairpin: dice.once_in(2), ..kind.behaviour() };
        sites.push(SiteConfig { nat, link: draw_link(dice, is_bad), ..SiteConfig::of(kind) });
    }
    for number in 0..count {
        let kind = dice.pick(kinds);
        let keeps = matches!(kind, Kind::FullCone | Kind::AddrRestricted | Kind::PortRestricted);
        let nat = Behaviour {
            hairpin: keeps && dice.once_in(3),
            lifetime: Duration::from_secs(dice.pick(&[30, 60, 120, 300])),
            inbound_refresh: dice.once_in(2),
            accepts_strangers: (keeps && dice.once_in(6)) || kind == Kind::WanAccept,
            ..kind.behaviour()
        };
        let is_translated = !matches!(kind, Kind::Open | Kind::Firewall);
        let ipv6 = dice
            .once_in(4)
            .then(|| dice.pick(&[Filtering::AddressAndPortDependent, Filtering::EndpointIndependent]));
        sites.push(SiteConfig {
            nat,
            via: (has_carrier && is_translated && dice.once_in(2)).then_some(SiteId(0)),
            // Homes like the same prefixes.
            lan: u8::try_from(if dice.once_in(2) { 1 } else { number + 10 }).unwrap_or(1),
            isolated: is_translated && dice.once_in(6),
            ipv6,
            link: draw_link(dice, is_bad),
        });
    }
    sites
}

fn draw_link(dice: &mut Dice, is_bad: bool) -> Link {
    let link = Link::CLEAN.delayed(dice.between(1, 60));
    if is_bad {
        return Link {
            jitter: Duration::from_millis(dice.between(0, 40)),
            loss: dice.between(0, 8) * MILLION / 100,
            reorder: dice.between(0, 20) * MILLION / 100,
            duplicate: dice.between(0, 5) * MILLION / 100,
            ..link
        };
    }
    match dice.between(0, 9) {
        0 => link.narrow(1_320),
        1 | 2 => Link { jitter: Duration::from_millis(5), duplicate: MILLION / 100, ..link },
        _ => link,
    }
}

fn draw_hosts(dice: &mut Dice, sites: &[SiteConfig], networks: usize) -> Vec<HostPlan> {
    let count = dice.between(2, 5);
    let all = u8::try_from((1_u32 << networks) - 1).unwrap_or(1);
    (0..count)
        .map(|_| {
            // Nobody lives at the carrier itself.
            let homes: Vec<usize> = (0..sites.len())
                .filter(|site| !sites.iter().any(|other| other.via == Some(SiteId(*site))))
                .collect();
            let site = SiteId(dice.pick(&homes));
            let some = u8::try_from(dice.between(1, u64::from(all))).unwrap_or(1);
            HostPlan {
                site,
                networks: if dice.once_in(4) { some } else { all },
                on_at: Instant::from_millis(dice.between(0, 1_500)),
                clock_error_s: draw_clock_error(dice),
                relays: false,
                beside: None,
            }
        })
        .collect()
}

fn draw_clock_error(dice: &mut Dice) -> i64 {
    const DAY: i64 = 86_400;
    if dice.once_in(3) { dice.pick(&[-3_650 * DAY, -DAY, -90, 90, DAY, 3_650 * DAY]) } else { 0 }
}

fn draw_flows(dice: &mut Dice, scenario: &mut Scenario, begin: u64) {
    let hosts = scenario.hosts.len();
    let count = dice.between(1, 3);
    for _ in 0..count {
        let from = dice.index(hosts);
        let to = dice.index(hosts);
        if from == to {
            continue;
        }
        let every = dice.pick(&[200, 500, 1_000]);
        // Not even a relay carries packets of full size over a narrow link.
        let is_narrow = scenario.sites.iter().any(|site| site.link.mtu < 1_500);
        let size = dice.pick(&[60, 84, 600, if is_narrow { 600 } else { 1_420 }]);
        let start = if dice.once_in(3) { begin + dice.between(0, 40) } else { begin };
        let flow = Flow { every: Duration::from_millis(every), size, ..Flow::between(from, to) };
        scenario.flows.push(flow.during(start, 10_000));
    }
}

fn draw_acts(dice: &mut Dice, scenario: &mut Scenario, begin: u64) -> u64 {
    let mut second = begin + 12;
    for _ in 0..dice.between(0, 5) {
        let act = draw_act(dice, scenario);
        scenario.acts.push((Instant::from_secs(second), act));
        second += act.lasts().as_secs() + dice.pick(&[0, 1, 4, 14, 30]);
    }
    second
}

fn draw_act(dice: &mut Dice, scenario: &Scenario) -> Act {
    let host = HostId(dice.index(scenario.hosts.len()));
    let other = HostId(dice.index(scenario.hosts.len()));
    let home = scenario.hosts.get(host.0).map_or(SiteId(0), |plan| plan.site);
    let site = if dice.once_in(2) { home } else { SiteId(dice.index(scenario.sites.len())) };
    let coordinator = dice.index(scenario.services.coordinators);
    let network = dice.index(scenario.services.networks);
    let short = Duration::from_millis(dice.between(300, 8_000));
    let long = Duration::from_secs(dice.pick(&[1, 5, 20, 45, 100]));
    match dice.between(0, 19) {
        0 | 1 => Act::NatReboot(site),
        2 | 3 => Act::NatRebind(site),
        4 => Act::NewAddress(site),
        5 | 6 => {
            let carriers: Vec<Option<SiteId>> = scenario.sites.iter().map(|site| site.via).collect();
            let homes: Vec<usize> =
                (0..scenario.sites.len()).filter(|site| !carriers.contains(&Some(SiteId(*site)))).collect();
            Act::Roam(host, SiteId(dice.pick(&homes)))
        }
        7 | 8 => Act::Crash(host, short),
        9 => Act::Shutdown(host, short),
        10 => Act::Suspend(host, long),
        11 => Act::UplinkDown(site, short),
        12 => Act::Partition(site, coordinator, long),
        13 => Act::OneWay(site, coordinator, short),
        14 | 15 => Act::CoordinatorCrash(coordinator, long),
        16 if scenario.services.apart => Act::RelayCrash(coordinator, short),
        17 => Act::ClockJump(host, draw_clock_error(dice)),
        18 if host != other => match dice.between(0, 2) {
            0 => Act::Remove(host, network),
            1 => Act::Leave(host, network),
            _ => Act::Refuse(host, other, true),
        },
        _ => Act::Hostile(u32::try_from(dice.between(20, 400)).unwrap_or(20)),
    }
}
