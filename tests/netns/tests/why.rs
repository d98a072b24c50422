//! `lanyard why` names what stands in the way of each pair, at both ends, and `lanyard-server` lists it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::pair::{Traffic, see_each_other};
use lanyard_netns::{Agent, Fleet, Lab, wait_for};
use serde_json::Value;

/// A plain try, one from fresh sockets and a guess, with those of other pairs beside them.
const DECIDED: Duration = Duration::from_secs(20);

/// The hosts of the lab with the kind of their routers; site number i has 198.51.100.8i/29.
const HOSTS: &[(&str, &str)] = &[
    ("a", "port-restricted"),
    ("b", "port-restricted"),
    ("c", "symmetric"),
    ("d", "symmetric"),
    ("e", "udp-blocked"),
    ("f", "port-restricted"),
    ("g", "open"),
    ("h", "port-restricted"),
    ("i", "port-restricted"),
];

/// A firewall in the router of `a`: nothing by UDP to the sites of `b` and `c`, and nothing large to that of `f`.
const FIREWALL: &str = "table ip far { chain forward { type filter hook forward priority -10; iifname \"lan\" jump to; }; \
    chain to { \
        ip daddr { 198.51.100.16/29, 198.51.100.24/29 } meta l4proto udp drop; \
        ip daddr 198.51.100.48/29 udp length > 1200 drop; }; }";

/// One end, the other, and what each says.
const PAIRS: &[(&str, &str, &str, &str)] = &[
    ("a", "b", "probes_lost", "probes_lost"),
    ("a", "c", "mapping_varies_there", "mapping_varies_here"),
    ("c", "d", "both_mappings_vary", "both_mappings_vary"),
    ("a", "e", "udp_blocked_there", "udp_blocked_here"),
    ("a", "f", "full_size_lost", "full_size_lost"),
    ("a", "g", "direct", "direct"),
    ("a", "i", "refused_there", "refused_here"),
];

/// A verdict, and words of the advice that belongs to it.
const ADVICE: &[(&str, &str)] = &[
    ("probes_lost", "look for a firewall that drops UDP near"),
    ("mapping_varies_there", "switch on UPnP, NAT-PMP or PCP in the router of c"),
    ("mapping_varies_here", "switch on UPnP, NAT-PMP or PCP in the router of c"),
    ("both_mappings_vary", "one end is enough"),
    ("udp_blocked_there", "let UDP out of the network of e"),
    ("udp_blocked_here", "let UDP out of the network of e"),
    ("full_size_lost", "let UDP datagrams of 1,340 bytes pass"),
    ("direct", "nothing: the path is direct"),
    ("refused_there", "i refuses a; its owner has to take that back"),
    ("refused_here", "i refuses a; take that back"),
];

#[test]
fn both_ends_of_every_pair_name_the_reason_and_the_coordinator_lists_it() {
    let kinds: Vec<&str> = HOSTS.iter().map(|(_, kind)| *kind).collect();
    let mut fleet = Fleet::start(Lab::up(&kinds.join(":")).unwrap()).unwrap();
    let string = fleet.join_string_for_many().unwrap();
    let mut agents: Vec<Agent> = HOSTS.iter().map(|(host, _)| joined(&fleet, host, &string)).collect();
    let nft = fleet.lab.command("ra", "nft").arg(FIREWALL).status().unwrap();
    assert!(nft.success());
    refuse(&mut agents, "i", "a");
    let gone = agents.iter_mut().find(|agent| agent.host == "h").unwrap();
    gone.stop().unwrap();
    let agent = |host: &str| agents.iter().find(|agent| agent.host == host).unwrap();
    let logs = |one: &str, other: &str| format!("{}\n{}", fleet.log(one), fleet.log(other));

    for (one, other, ..) in PAIRS {
        see_each_other(agent(one), agent(other)).unwrap();
    }
    assert_eq!(verdict(agent("b"), "g").unwrap(), "idle", "nobody said anything");
    let _traffic: Vec<Traffic> =
        PAIRS.iter().map(|(one, other, ..)| Traffic::start(agent(one), agent(other)).unwrap()).collect();
    for (one, other, here, there) in PAIRS {
        for (from, to, expected) in [(one, other, here), (other, one, there)] {
            let shown = reaches(agent(from), to, expected);
            let shown = shown.unwrap_or_else(|error| panic!("{error}\n{}", logs(one, other)));
            let advice = ADVICE.iter().find(|(verdict, _)| verdict == expected).unwrap().1;
            let in_a_line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(in_a_line.contains(&format!("({expected})")), "{shown}");
            assert!(in_a_line.contains(advice), "{advice}: {shown}");
            assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
            assert!(!shown.contains("[100:"), "an address that means nothing to people: {shown}");
        }
    }
    reaches(agent("a"), "h", "peer_offline").unwrap();
    println!("{}", agent("a").run(&["why", "h"]).unwrap());

    for (one, other, here, there) in PAIRS.iter().filter(|(.., here, _)| !here.starts_with("refused")) {
        listed(&fleet, (one, other), (here, there));
    }
    println!("{}", fleet.admin(&["verdict", "list"]).unwrap());
    // A member may pass on what a relay would.
    for (one, other, paths) in [("a", "g", &["direct"][..]), ("c", "d", &["relay", "member"])] {
        carried(&fleet, one, other, paths);
        carried(&fleet, other, one, paths);
    }
    println!("{}", fleet.admin(&["link", "list"]).unwrap());

    fleet.kill_coordinator();
    let agent = |host: &str| agents.iter().find(|agent| agent.host == host).unwrap();
    let _traffic = Traffic::start(agent("b"), agent("g")).unwrap();
    reaches(agent("b"), "g", "coordinator_unreachable").unwrap();
    assert_eq!(verdict(agent("a"), "g").unwrap(), "direct", "that one needs no coordinator");
    let netcheck = agent("b").json(&["netcheck"]).unwrap();
    let way_out = (&netcheck["egress"], &netcheck["host_answers"]);
    assert_eq!(way_out, (&"blocked".into(), &true.into()), "its host is still there: {netcheck}");
}

#[test]
fn a_pair_that_has_neither_a_direct_path_nor_a_relay_says_so() {
    let services = &[("LANYARD_SERVER_SERVICES_RUN", "checkpoint,handshake,stun,index")];
    let fleet = Fleet::start_with(Lab::up("symmetric:symmetric").unwrap(), services).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    see_each_other(&a, &b).unwrap();
    let _traffic = Traffic::start(&a, &b).unwrap();
    for (from, to) in [(&a, "b"), (&b, "a")] {
        let shown = reaches(from, to, "no_relay");
        let shown = shown.unwrap_or_else(|error| panic!("{error}\n{}", fleet.log(&from.host)));
        assert!(shown.contains("let the coordinator relay (service \"relay\")"), "{shown}");
    }
    listed(&fleet, ("a", "b"), ("no_relay", "no_relay"));
}

fn joined(fleet: &Fleet, host: &str, string: &str) -> Agent {
    let agent = fleet.agent(host).unwrap();
    agent.run(&["join", string, "--name", host]).unwrap();
    agent
}

/// Has one device refuse another: by its state on disk, for no verb does it yet.
fn refuse(agents: &mut [Agent], who: &str, whom: &str) {
    let by_name =
        |agents: &mut [Agent], host: &str| agents.iter().position(|agent| agent.host == host).unwrap();
    let id = agents[by_name(agents, whom)].json(&["status"]).unwrap()["device"]["id"].clone();
    let at = by_name(agents, who);
    let agent = &mut agents[at];
    agent.stop().unwrap();
    let file = agent.log_file().with_extension("").join("state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    state["refused"] = Value::from(vec![id]);
    std::fs::write(&file, serde_json::to_vec(&state).unwrap()).unwrap();
    agent.start().unwrap();
}

fn verdict(agent: &Agent, peer: &str) -> anyhow::Result<String> {
    Ok(agent.json(&["why", peer])?["verdict"].as_str().unwrap_or_default().to_owned())
}

/// Waits for a verdict, and gives what a person is told then.
fn reaches(agent: &Agent, peer: &str, expected: &str) -> Result<String, String> {
    let begun = Instant::now();
    let mut last = String::new();
    wait_for("the verdict", DECIDED, || {
        last = verdict(agent, peer).ok()?;
        (last == expected).then_some(())
    })
    .map_err(|_late| format!("{} <-> {peer}: {last} instead of {expected}", agent.host))?;
    println!("{} <-> {peer}: {expected} after {:?}", agent.host, begun.elapsed());
    agent.run(&["why", peer]).map_err(|error| format!("{error:#}"))
}

/// Waits until the coordinator shows that data goes from one to the other and back by one of these paths.
fn carried(fleet: &Fleet, one: &str, other: &str, paths: &[&str]) {
    let mut last = String::new();
    let seen = wait_for("the link's report", DECIDED, || {
        last = fleet.admin(&["link", "list", "--json"]).ok()?;
        let listed: Value = serde_json::from_str(&last).ok()?;
        listed["links"].as_array()?.iter().find(|link| {
            (&link["device_name"], &link["peer_name"]) == (&one.into(), &other.into())
                && paths.iter().any(|path| link["path"] == *path)
                && [&link["tx_bytes"], &link["rx_bytes"], &link["rtt_us"]]
                    .iter()
                    .all(|figure| figure.as_u64().is_some_and(|figure| figure > 0))
        })?;
        Some(())
    });
    seen.unwrap_or_else(|error| panic!("{one} {other} {paths:?}: {error:#}: {last}"));
}

/// Waits until the coordinator shows the word of the end that reported.
fn listed(fleet: &Fleet, (one, other): (&str, &str), (here, there): (&str, &str)) {
    let mut last = String::new();
    let seen = wait_for("the pair's verdict", DECIDED, || {
        last = fleet.admin(&["verdict", "list", "--json"]).ok()?;
        let listed: Value = serde_json::from_str(&last).ok()?;
        listed["verdicts"].as_array()?.iter().find(|pair| {
            let ends = (&pair["reporter_name"], &pair["peer_name"], &pair["code"]);
            ends == (&one.into(), &other.into(), &here.into())
                || ends == (&other.into(), &one.into(), &there.into())
        })?;
        Some(())
    });
    seen.unwrap_or_else(|error| panic!("{one} {other} {here} {there}: {error:#}: {last}"));
}
