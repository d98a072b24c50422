//! The hub, the members it knows, and the agents that speak to it; and how much memory a known member takes.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lanyard_netns::coordinator::Coordinator;
use lanyard_netns::fleet::{NETWORK, join_string_in};
use lanyard_netns::interrupts;
use lanyard_netns::process;
use lanyard_netns::{Agent, wait_for};
use serde_json::Value;

use super::bed::{Bed, HUB};
use super::figures::Round;
use super::flows::{self, Way, to_f64};
use super::members;

/// Members that the hub knows when its memory is taken the first time.
pub(super) const FEW: u16 = 5;
/// From the last word of a coordinator until memory is read: what was to be saved is on the disk by then.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the hub may take to hear of everybody.
const PATIENCE: Duration = Duration::from_secs(60);

/// All of them, running.
#[derive(Debug)]
pub(super) struct Team {
    /// The hub's address in the network.
    pub(super) address: Ipv4Addr,
    hub: Agent,
    others: Vec<Agent>,
    /// Last, so that it is there until the agents are gone.
    _coordinator: Coordinator,
}

impl Team {
    /// Starts the hub, lets `known` members join, `active` of them real agents, and says what memory each takes.
    pub(super) fn make(bed: &Bed, known: u16, active: u16) -> Result<(Self, Round)> {
        let coordinator = Coordinator::start(bed.hub(), HUB, &[])?;
        let invite = coordinator.admin(&["invite", "add", NETWORK, "--uses", &(known + 1).to_string()])?;
        let join_string = join_string_in(&invite)?;
        let agent = |name: &str, namespace: &str| {
            // What the programs log by default; tests want more.
            let settings = [("LANYARD_LOG", "info")];
            let mut agent = Agent::new(name, namespace, coordinator.directory(), &settings)?;
            agent.start()?;
            agent.run(&["join", &join_string, "--name", name])?;
            Ok::<_, anyhow::Error>(agent)
        };
        let quiet = |numbers| members::join(bed.hub(), HUB, &join_string, numbers);

        let mut hub = agent("hub", bed.hub()).context("join the hub")?;
        quiet(1..FEW + 1)?;
        let few = settled_after_start(&mut hub, FEW, 0)?;
        quiet(FEW + 1..known - active + 1)?;
        let mut others = Vec::new();
        for number in 0..usize::from(active) {
            ensure!(!interrupts::came(), "interrupted");
            others.push(agent(&format!("peer-{number}"), bed.end(number))?);
        }
        let grown = settled(&hub, known, active)?;
        let started = settled_after_start(&mut hub, known, active)?;
        let each = |many: u64| to_f64(many.saturating_sub(few)) / 1_024.0 / f64::from(known - FEW);
        let figures = [("grown_kib", each(grown)), ("started_kib", each(started))];
        let team = Self { address: hub.address()?, hub, others, _coordinator: coordinator };
        Ok((team, figures.into_iter().collect()))
    }

    /// The hub's process.
    pub(super) fn hub_process(&self) -> Result<u32> {
        self.hub.pid().context("the hub does not run")
    }

    /// Lets everybody speak to the hub until all have direct paths.
    pub(super) fn wait_until_direct(&self, bed: &Bed) -> Result<()> {
        let ends: Vec<&str> = (0..self.others.len()).map(|number| bed.end(number)).collect();
        flows::run((bed.hub(), self.address), &ends, Way::ToHub, 1, || Ok(()))?;
        wait_for("direct paths to all active peers", PATIENCE, || {
            let direct = count(&self.hub, |member| member["path"]["kind"] == "direct").ok()?;
            (direct == self.others.len()).then_some(())
        })
    }
}

/// The hub's memory after a start, once it knows these members and sees so many of them online: bytes.
fn settled_after_start(hub: &mut Agent, known: u16, online: u16) -> Result<u64> {
    hub.stop()?;
    hub.start()?;
    settled(hub, known, online)
}

fn settled(hub: &Agent, known: u16, online: u16) -> Result<u64> {
    let mut seen = (0, 0);
    wait_for("everybody known to the hub", PATIENCE, || {
        let is_online = |member: &Value| member["online"] == true;
        seen = (count(hub, |_| true).ok()?, count(hub, is_online).ok()?);
        (seen == (usize::from(known), usize::from(online))).then_some(())
    })
    .with_context(|| format!("{known} members with {online} online; it knows {seen:?}"))?;
    thread::sleep(SETTLE);
    process::own_memory(hub.pid().context("the hub does not run")?)
}

/// Other members of whom this is so, as the hub sees them.
fn count(hub: &Agent, is_so: impl Fn(&Value) -> bool) -> Result<usize> {
    let status = hub.json(&["status"])?;
    let networks = status["networks"].as_array().into_iter().flatten();
    let members = networks.filter_map(|network| network["members"].as_array()).flatten();
    Ok(members.filter(|member| is_so(member)).count())
}
