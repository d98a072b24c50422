//! Ours: a coordinator at one end, and an agent at each, members of one network before anything is measured.
//!
//! The coordinator has nothing to do once the pair's path is direct. What the agents know stays on disk between rounds, as
//! it does when a computer restarts.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::bed::{Bed, UNDERLAY};
use crate::coordinator::Coordinator;
use crate::pair::see_each_other;
use crate::{Agent, wait_for};

/// A coordinator that runs, and two agents that may.
#[derive(Debug)]
pub struct Team {
    /// The two agents' addresses in their network.
    pub addresses: [Ipv4Addr; 2],
    agents: [Agent; 2],
    coordinator: Coordinator,
}

impl Team {
    /// Starts the coordinator and joins both agents, which are stopped again.
    ///
    /// Settings are environment variables, of the coordinator and of both agents.
    ///
    /// # Errors
    ///
    /// When a program does not come up or a join is refused.
    pub fn make(bed: &Bed, coordinator: &[(&str, &str)], agents: &[(&str, &str)]) -> Result<Self> {
        let coordinator = Coordinator::start(bed.namespace(0), UNDERLAY[0], coordinator)?;
        let (place, join_string) = (coordinator.directory(), &coordinator.join_string);
        let mut agents = [
            Agent::new("a", bed.namespace(0), place, agents)?,
            Agent::new("b", bed.namespace(1), place, agents)?,
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

    /// Has this build of `lanyard` run from the next start on.
    pub fn use_program(&mut self, program: &Path) {
        for agent in &mut self.agents {
            agent.use_program(program);
        }
    }

    /// Starts both agents side by side.
    ///
    /// # Errors
    ///
    /// When one does not come up.
    pub fn start(&mut self) -> Result<()> {
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
    ///
    /// # Errors
    ///
    /// When that takes more than 10 s.
    pub fn wait_until_direct(&self) -> Result<()> {
        let [a, b] = &self.agents;
        for (one, other) in [(a, b), (b, a)] {
            wait_for("a direct path", Duration::from_secs(10), || {
                one.path_to(&other.host).filter(|path| path == "direct")
            })?;
        }
        Ok(())
    }

    /// The agents, in the order of the bed's ends.
    #[must_use]
    pub const fn agents(&self) -> &[Agent; 2] {
        &self.agents
    }

    /// The coordinator's process.
    #[must_use]
    pub fn coordinator(&self) -> u32 {
        self.coordinator.pid()
    }

    /// Where the logs are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.coordinator.directory()
    }

    /// Leaves the logs where they are when it is dropped.
    pub fn keep_logs(&mut self) {
        self.coordinator.keep_directory();
    }

    /// The agents' processes.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.agents.iter().filter_map(Agent::pid).collect()
    }

    /// Ends both agents as a shutdown would.
    pub fn stop(&mut self) {
        for agent in &mut self.agents {
            if agent.stop().is_err() {
                agent.kill();
            }
        }
    }
}
