//! `lanyard netcheck` and `lanyard why` name every NAT as the lab configured it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::Duration;

use lanyard_netns::{Fleet, Lab, connect, wait_for};

/// Kind, mapping and filtering (RFC 4787) as `tests/natlab/README.md` lists them, in the words of `netcheck --json`.
const KINDS: &[(&str, &str, &str)] = &[
    ("open", "none", "endpoint-independent"),
    ("firewall", "none", "address-and-port-dependent"),
    ("full-cone", "endpoint-independent", "endpoint-independent"),
    ("addr-restricted", "endpoint-independent", "address-dependent"),
    ("port-restricted", "endpoint-independent", "address-and-port-dependent"),
    ("remapped", "endpoint-independent", "address-and-port-dependent"),
    ("addr-symmetric", "address-dependent", "address-and-port-dependent"),
    ("symmetric", "address-and-port-dependent", "address-and-port-dependent"),
    ("symmetric-seq", "address-and-port-dependent", "address-and-port-dependent"),
];

#[test]
fn netcheck_and_why_name_mapping_and_filtering_of_every_kind() {
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
    let fleet = Fleet::start(Lab::up(&kinds.join(":")).unwrap()).unwrap();
    let hosts: Vec<String> = ('a'..).take(KINDS.len()).map(String::from).collect();
    let string = fleet.join_string_for_many().unwrap();
    let agents: Vec<_> = hosts
        .iter()
        .map(|host| {
            let agent = fleet.agent(host).unwrap();
            agent.run(&["join", &string, "--name", host]).unwrap();
            agent
        })
        .collect();
    let first = &agents[0];
    for (agent, (kind, mapping, filtering)) in agents.iter().zip(KINDS) {
        let card = agent.json(&["netcheck"]).unwrap();
        assert_eq!(card["mapping"], *mapping, "{kind}: {card}");
        assert_eq!(card["filtering"], *filtering, "{kind}: {card}");
        let told = agent.run(&["netcheck"]).unwrap();
        assert!(told.contains(mapping) && told.contains(filtering), "{kind}: {told}");
        if agent.host != first.host {
            connect(first, agent).unwrap();
            why_names(first, &agent.host, mapping, filtering);
        }
    }
}

/// Both cards are exchanged by the attempt, so `why` at one end names the NAT of the other.
fn why_names(first: &lanyard_netns::Agent, peer: &str, mapping: &str, filtering: &str) {
    let mut last = String::new();
    wait_for(&format!("why {peer} names {mapping} and {filtering}"), Duration::from_secs(5), || {
        last = first.run(&["why", peer]).ok()?;
        (last.contains(mapping) && last.contains(filtering)).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}: {last}"));
}
