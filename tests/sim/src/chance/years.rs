//! Days in which now and then somebody talks, and now and then something breaks.
//!
//! Quiet hours cost a simulator little, and they are what most of a network's life is made of: mappings expire,
//! tickets and tokens are renewed, idle paths are let go and found again.

use std::time::Duration;

use lanyard_proto::time::Instant;

use super::wide::{both_at_once, draw_any_act, draw_world, keep_small};
use super::{dice_of, draw_hosts};
use crate::script::{Act, Flow, Scenario, Spells};

/// How long each of them is.
const DAY: u64 = 86_400;

/// No fault so close to the end: everything has to come back.
const LAST: u64 = 1_000;

pub(super) fn draw(seed: u64) -> Scenario {
    let mut dice = dice_of(seed);
    let mut scenario = draw_world(&mut dice, seed);
    // More devices on the same sites: pairs grow faster in number than what it costs to keep them.
    scenario.hosts.extend(draw_hosts(&mut dice, &scenario.sites, scenario.services.networks));
    let mut second = dice.between(60, 3_600);
    while second < DAY - LAST {
        let act = stays_together(draw_any_act(&mut dice, &scenario));
        scenario.acts.push((Instant::from_secs(second), act));
        // Mostly alone, sometimes one upon the other.
        second += if dice.once_in(4) { dice.between(1, 60) } else { dice.between(300, 5_400) };
    }
    let hosts = scenario.hosts.len();
    for from in 0..hosts {
        for to in from + 1..hosts {
            if dice.once_in(4) {
                continue;
            }
            let (from, to) = if dice.once_in(2) { (from, to) } else { (to, from) };
            let talk = Duration::from_secs(dice.pick(&[3, 6, 15, 30]));
            // The shortest keeps a path open, the others let it go.
            let rest = Duration::from_secs(dice.pick(&[160, 900, 1_800, 3_600, 10_800]));
            let every = Duration::from_millis(dice.pick(&[700, 1_000]));
            let start = 10 + dice.between(0, 900);
            let flow =
                Flow { every, size: 84, spells: Some(Spells { talk, rest }), ..Flow::between(from, to) };
            scenario.flows.push(flow.during(start, DAY));
        }
    }
    both_at_once(&mut dice, &mut scenario);
    keep_small(&mut scenario);
    scenario.until = Instant::from_secs(DAY);
    scenario
}

/// Nobody leaves for good: pairs that no longer talk are not worth simulating.
const fn stays_together(act: Act) -> Act {
    if let Act::Remove(host, _) | Act::Leave(host, _) | Act::Refuse(host, ..) = act {
        return Act::Suspend(host, Duration::from_secs(1_800));
    }
    act
}
