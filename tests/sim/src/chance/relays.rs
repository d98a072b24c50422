//! Two or three relays, each near to some sites and far from others, and members that relay for others: pairs move
//! between them while things break.

use std::time::Duration;

use lanyard_proto::time::Instant;

use super::{dice_of, wide};
use crate::link::Link;
use crate::net::SiteId;
use crate::script::{Act, Scenario};

pub(super) fn draw(seed: u64) -> Scenario {
    let mut scenario = wide::draw(seed);
    let mut dice = dice_of(!seed);
    scenario.services.apart = true;
    // What they are further comes on top: together no more than where all machines are equally far.
    scenario.services.link = Link::CLEAN.delayed(dice.between(1, 50));
    scenario.services.more_relays = dice.pick(&[1, 2]);
    let mut distances = Vec::new();
    for site in 0..scenario.sites.len() {
        for machine in 1..scenario.services.machines() {
            let longer = Duration::from_millis(dice.pick(&[0, 5, 40, 100]));
            distances.push((Instant::ZERO, Act::Further(SiteId(site), machine, longer)));
        }
    }
    scenario.acts.splice(0..0, distances);
    for host in &mut scenario.hosts {
        host.relays = dice.once_in(3);
    }
    scenario
}
