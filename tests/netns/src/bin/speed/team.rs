//! Ours: a coordinator at one end, and an agent at each, members of one network before anything is measured.
//!
//! The coordinator has nothing to do once the pair's path is direct. What the agents know stays on disk between rounds, as
//! it does when a computer restarts.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use lanyard_netns::coordinator::Coordinator;
use lanyard_netns::pair::see_each_other;
use lanyard_netns::{Agent, wait_for};

use super::bed::{Bed, UNDERLAY};

/// A coordinator that runs, and two agents that may.
#[derive(Debug)]
pub(super) struct Team {
    /// The two agents' addresses in their network.
    pub(super) addresses: [Ipv4Addr; 2],
    agents: [Agent; 2],
    coordinator: Coordinator,
}

impl Team {
    /// Starts the coordinator and joins both agents, which are stopped again.
    pub(super) fn make(bed: &Bed) -> Result<Self> {
        let coordinator = Coordinator::start(bed.namespace(0), UNDERLAY[0])?;
        let (place, join_string) = (coordinator.directory(), &coordinator.join_string);
        // What the programs log by default; tests want more.
        let settings = [("LANYARD_LOG", "info")];
        let mut agents = [
            Agent::new("a", bed.namespace(0), place, &settings)?,
            Agent::new("b", bed.namespace(1), place, &settings)?,
        ];
        let mut addresses = [Ipv4Addr::UNSPECIFIED; 2];
        for (agent, address) in agents.iter_mut().zip(&mut addresses) {
            agent.start()?;
            agent.run(&["join", join_string, "--name", &agent.host])?;
            *address = agent.address()?;
        }
        let [a, b] = &agents;
        see_each_other(a, b)?;
        let mut team = Self { addresses, agents, coordinator };
        team.stop();
        Ok(team)
    }

    /// Starts both agents side by side.
    pub(super) fn start(&mut self) -> Result<()> {
        thread::scope(|scope| {
            let starting: Vec<_> =
                self.agents.iter_mut().map(|agent| scope.spawn(|| agent.start())).collect();
            let mut outcome = Ok(());
            for started in starting {
                outcome = outcome.and(started.join().map_err(|_panic| anyhow!("a start panicked"))?);
            }
            outcome
        })
        .with_context(|| format!("what the agents said is in {}", self.coordinator.directory().display()))
    }

    /// Waits until each agent has a direct path to the other.
    pub(super) fn wait_until_direct(&self) -> Result<()> {
        let [a, b] = &self.agents;
        for (one, other) in [(a, b), (b, a)] {
            wait_for("a direct path", Duration::from_secs(10), || {
                one.path_to(&other.host).filter(|path| path == "direct")
            })?;
        }
        Ok(())
    }

    /// The agents' processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.agents.iter().filter_map(Agent::pid).collect()
    }

    /// Ends both agents as a shutdown would.
    pub(super) fn stop(&mut self) {
        for agent in &mut self.agents {
            if agent.stop().is_err() {
                agent.kill();
            }
        }
    }
}
