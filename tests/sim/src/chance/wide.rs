//! Minutes with every kind of router and every fault there is.

use std::time::Duration;

use lanyard_proto::time::Instant;

use super::{Dice, dice_of, draw_act, draw_flows, draw_hosts, draw_sites, finish};
use crate::link::Link;
use crate::nat::{Kind, Ports};
use crate::net::{HostId, SiteConfig, SiteId};
use crate::script::{Act, Flow, HostPlan, Scenario, ServicePlan};

/// Longest packet that a black hole lets through: less than a path is proven with, more than small data needs.
const HOLE: usize = 1_320;

pub(super) fn draw(seed: u64) -> Scenario {
    let mut dice = dice_of(seed);
    let mut scenario = draw_world(&mut dice, seed);
    let begin = 6;
    let mut second = begin + 12;
    for _ in 0..dice.between(0, 6) {
        let act = draw_any_act(&mut dice, &scenario);
        scenario.acts.push((Instant::from_secs(second), act));
        second += act.lasts().as_secs() + dice.pick(&[0, 1, 4, 14, 30]);
    }
    draw_flows(&mut dice, &mut scenario, begin);
    both_at_once(&mut dice, &mut scenario);
    keep_small(&mut scenario);
    finish(&mut dice, &mut scenario, second);
    scenario
}

/// Sites, services and devices.
pub(super) fn draw_world(dice: &mut Dice, seed: u64) -> Scenario {
    let is_bad = dice.once_in(6);
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.behaviour().udp).collect();
    let sites = draw_sites(dice, is_bad, &kinds);
    let sites: Vec<SiteConfig> = sites.into_iter().map(|site| with_ports(dice, site)).collect();
    let patience = patience_with(&sites);
    let coordinators = if dice.once_in(6) { 2 } else { 1 };
    let services = ServicePlan {
        networks: coordinators + usize::from(dice.once_in(3)),
        coordinators,
        apart: dice.once_in(3),
        more_relays: 0,
        link: Link::CLEAN.delayed(dice.between(1, 150)),
    };
    let mut hosts = draw_hosts(dice, &sites, services.networks);
    if dice.once_in(4)
        && let Some(first) = hosts.first().copied()
    {
        let networks = hosts.last().map_or(1, |last| last.networks);
        hosts.push(HostPlan { networks, beside: Some(HostId(0)), ..first });
    }
    Scenario {
        seed,
        sites,
        hosts,
        services,
        flows: Vec::new(),
        acts: Vec::new(),
        until: Instant::ZERO,
        patience: if is_bad { patience } else { 1 },
    }
}

/// How much more time than on clean links the pair with the worst links needs.
///
/// Nothing can be promised sooner than WireGuard's handshake arrives, which is repeated after 0.5, 1, 2, 4 and then
/// each 5 s. As many repetitions are waited for as make a miss rarer than once in a million.
fn patience_with(sites: &[SiteConfig]) -> u32 {
    let passes = |site: &SiteConfig| {
        let up = site.via.and_then(|via| sites.get(via.0)).map_or(0, |carrier| carrier.link.loss);
        [site.link.loss, up]
            .map(|loss| 1.0 - f64::from(u32::try_from(loss).unwrap_or(0)) / 1e6)
            .iter()
            .product()
    };
    let worst: f64 = sites.iter().map(passes).fold(1.0, f64::min);
    // Both ends may be behind it, and the answer takes the same way back.
    let lost = 1.0 - worst.powi(4);
    let tries = (1..100).find(|tries| lost.powi(*tries) < 1e-6).unwrap_or(100);
    let seconds = if tries <= 4 { 4 } else { 4 + 5 * (tries - 4) };
    u32::try_from(seconds / 3 + 1).unwrap_or(1).max(4)
}

/// Blocks lie anywhere, and neighbours are more or less busy.
fn with_ports(dice: &mut Dice, mut site: SiteConfig) -> SiteConfig {
    site.nat.ports = match site.nat.ports {
        Ports::Block { size, .. } => {
            let low = 20_000 + u16::try_from(dice.between(0, 40_000)).unwrap_or(0);
            Ports::Block { low, size }
        }
        Ports::Sequential { step, others } if others > 0 => {
            Ports::Sequential { step, others: dice.pick(&[30, 300, 1_200]) }
        }
        other @ (Ports::Preserved | Ports::Random | Ports::Sequential { .. }) => other,
    };
    site
}

/// Any act, those among them that only newer seeds know.
pub(super) fn draw_any_act(dice: &mut Dice, scenario: &Scenario) -> Act {
    let site = SiteId(dice.index(scenario.sites.len()));
    let other = SiteId(dice.index(scenario.sites.len()));
    let long = Duration::from_secs(dice.pick(&[2, 5, 20, 45]));
    match dice.between(0, 8) {
        0 => Act::Lossy(site, dice.pick(&[20, 40, 60]), long),
        1 => Act::BlackHole(site, HOLE, long),
        2 if outermost(scenario, site) != outermost(scenario, other) => Act::Sever(site, other, long),
        _ => draw_act(dice, scenario),
    }
}

fn outermost(scenario: &Scenario, site: SiteId) -> SiteId {
    scenario.sites.get(site.0).and_then(|config| config.via).unwrap_or(site)
}

/// Sometimes both ends of a pair begin at the same moment.
pub(super) fn both_at_once(dice: &mut Dice, scenario: &mut Scenario) {
    for flow in scenario.flows.clone() {
        if dice.once_in(3) {
            scenario.flows.push(Flow { from: flow.to, to: flow.from, ..flow });
        }
    }
}

/// Through a black hole not even the relay carries packets of full size.
pub(super) fn keep_small(scenario: &mut Scenario) {
    if scenario.acts.iter().any(|(_, act)| matches!(act, Act::BlackHole(..))) {
        for flow in &mut scenario.flows {
            flow.size = flow.size.min(600);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lose_more_are_waited_for_longer() {
        let site = |percent| SiteConfig { link: Link::CLEAN.lossy(percent), ..SiteConfig::of(Kind::Open) };
        let [clean, some, much] = [0, 3, 8].map(|percent| patience_with(&[site(percent)]));
        assert_eq!(clean, 4);
        assert!(clean < some && some < much && much <= 20, "{clean} {some} {much}");
        let behind = SiteConfig { via: Some(SiteId(0)), ..site(8) };
        assert!(patience_with(&[site(8), behind]) > much);
    }
}
