//! Making a failing scenario smaller.
//!
//! Acts and flows are left out one by one as long as the same promise stays broken; what remains is what the
//! diagram of a failure shows. The seed alone repeats the whole of it.

use crate::net::HostId;
use crate::run;
use crate::script::Scenario;

/// Runs that may be spent.
const BUDGET: u32 = 60;

/// The smallest scenario found that breaks the same promise; the same one if none is smaller.
#[must_use]
pub fn shrink(scenario: &Scenario, rule: &str) -> Scenario {
    let mut best = scenario.clone();
    let mut budget = BUDGET;
    loop {
        let smaller = candidates(&best).into_iter().find(|candidate| {
            budget = budget.saturating_sub(1);
            budget > 0 && run::run(candidate).violation.is_some_and(|violation| violation.rule == rule)
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// The scenario with one thing less, for every thing that could go.
fn candidates(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    for act in 0..scenario.acts.len() {
        let mut smaller = scenario.clone();
        smaller.acts.remove(act);
        all.push(smaller);
    }
    if scenario.flows.len() > 1 {
        for flow in 0..scenario.flows.len() {
            let mut smaller = scenario.clone();
            smaller.flows.remove(flow);
            all.push(smaller);
        }
    }
    for host in (0..scenario.hosts.len()).map(HostId) {
        if scenario.flows.iter().all(|flow| flow.from != host && flow.to != host) {
            let mut smaller = scenario.clone();
            // A device that is never switched on keeps the numbers of the others.
            if let Some(plan) = smaller.hosts.get_mut(host.0)
                && plan.on_at < scenario.until
            {
                plan.on_at = scenario.until + std::time::Duration::from_secs(1);
                all.push(smaller);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::nat::Kind;
    use crate::net::SiteId;
    use crate::script::Act;

    #[test]
    fn every_act_flow_and_bystander_is_tried() {
        let scenario = Scenario::of(&[Kind::Open, Kind::Open, Kind::Open])
            .ping(0, 1)
            .ping(1, 0)
            .at(5, Act::NatReboot(SiteId(0)))
            .at(6, Act::Crash(HostId(0), Duration::from_secs(1)));
        let smaller = candidates(&scenario);
        assert_eq!(smaller.len(), 5, "two acts, two flows, one device");
        assert!(smaller.iter().all(|candidate| candidate.acts.len() + candidate.flows.len() <= 4));
    }
}
