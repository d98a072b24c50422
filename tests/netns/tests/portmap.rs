//! Routers that map ports: what agents ask of them, by which protocol, and that they give it back.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::{Agent, Fleet, Lab, connect, wait_for};
use serde_json::Value;

/// `a` and `d` behind a router that is symmetric and maps ports, `b` behind one that is only symmetric.
const LAB: &str = "\
    [site.ra]\nnat = \"symmetric\"\nportmap = true\nhosts = [\"a\", \"d\"]\n\
    [site.rb]\nnat = \"symmetric\"\nhosts = [\"b\"]\n";

/// A router that hears no PCP: version 2 in the first byte behind the UDP header.
const NO_PCP: &str = "udp dport 5351 @th,64,8 2 drop";
/// A router that speaks UPnP alone.
const NO_PCP_NOR_NATPMP: &str = "udp dport 5351 drop";

const SAME_PORT: &[(&str, &str)] = &[("LANYARD_PORT", "41641")];

#[test]
fn a_symmetric_pair_is_direct_where_one_router_maps_ports_until_the_agent_goes_down() {
    let fleet = Fleet::start(Lab::up(LAB).unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    let mapping = mapped(&fleet, &a);
    assert_eq!(mapping["protocol"], "pcp", "{mapping}");
    assert_eq!(mapping["lease_s"], 7_200, "{mapping}");
    let told = a.run(&["netcheck"]).unwrap();
    assert!(told.contains(&format!("port map   by PCP: {}, for 2 h", address(&mapping))), "{told}");

    let outcome = connect(&b, &a).unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("a")));
    println!("symmetric with a mapped port : symmetric: {outcome:?}");
    assert_eq!(outcome.path, "direct", "{outcome:?}\n{}", b.run(&["why", "a"]).unwrap());
    let path = b.peer("a").unwrap()["path"]["remote"].as_str().unwrap().to_owned();
    assert_eq!(path, address(&mapping), "b sends to the mapped port");

    assert_eq!(rules(&fleet).len(), 1, "one protocol's mapping alone: {:?}", rules(&fleet));
    let begun = Instant::now();
    a.run(&["down"]).unwrap();
    assert_eq!(rules(&fleet), Vec::<String>::new(), "given back before `down` returns");
    println!("down took {:?}", begun.elapsed());
    a.run(&["up"]).unwrap();
    mapped(&fleet, &a);
}

#[test]
fn neither_a_killed_agent_nor_a_restarted_router_lose_the_mapping() {
    let fleet = Fleet::start(Lab::up(LAB).unwrap()).unwrap();
    let mut a = fleet.agent("a").unwrap();
    let before = mapped(&fleet, &a);
    a.kill();
    a.start().unwrap();
    assert_eq!(mapped(&fleet, &a), before, "a killed agent that is back is given its port again");

    fleet.lab.event(&["reboot", "ra"]).unwrap();
    let begun = Instant::now();
    assert_eq!(rules(&fleet), Vec::<String>::new(), "the lab's router forgets");
    wait_for("the port to be mapped again", Duration::from_secs(15), || {
        (rules(&fleet).len() == 1).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("a")));
    println!("mapped again after {:?}", begun.elapsed());
    assert_eq!(address(&mapped(&fleet, &a)), address(&before));
}

#[test]
fn two_agents_behind_one_router_get_a_port_each_by_every_protocol() {
    for (deaf, protocol) in [("", "pcp"), (NO_PCP, "nat-pmp"), (NO_PCP_NOR_NATPMP, "upnp")] {
        let fleet = Fleet::start(Lab::up(LAB).unwrap()).unwrap();
        if !deaf.is_empty() {
            nft(
                &fleet,
                &format!("table ip deaf {{ chain in {{ type filter hook input priority -10; {deaf}; }}; }}"),
            );
        }
        let string = fleet.join_string_for_many().unwrap();
        let agents = ["a", "d"].map(|host| fleet.agent_with(host, SAME_PORT).unwrap());
        let begun = Instant::now();
        let [first, second] = agents.each_ref().map(|agent| mapped(&fleet, agent));
        println!("{protocol}: mapped {:?} after both agents were up", begun.elapsed());
        for mapping in [&first, &second] {
            assert_eq!(mapping["protocol"], protocol, "{mapping}");
        }
        assert_ne!(address(&first), address(&second), "{protocol}");
        assert_eq!(rules(&fleet).len(), 2, "{protocol}: {:?}", rules(&fleet));

        let b = fleet.join("b").unwrap();
        for agent in &agents {
            agent.run(&["join", &string, "--name", &agent.host]).unwrap();
            let outcome = connect(&b, agent).unwrap();
            assert_eq!(outcome.path, "direct", "{protocol}: {outcome:?}");
        }
        let [a, d] = agents;
        a.run(&["down"]).unwrap();
        assert_eq!(rules(&fleet).len(), 1, "{protocol}: the other one keeps its port: {:?}", rules(&fleet));
        d.run(&["down"]).unwrap();
        assert_eq!(rules(&fleet), Vec::<String>::new(), "{protocol}");
    }
}

#[test]
fn an_agent_that_may_not_map_ports_asks_nothing() {
    let fleet = Fleet::start(Lab::up(LAB).unwrap()).unwrap();
    let asked = "chain in { type filter hook input priority -10; udp dport { 1900, 5351 } counter; }";
    nft(&fleet, &format!("table ip asked {{ {asked}; }}"));
    let off = fleet.agent_with("a", &[("LANYARD_PORT_MAPPING", "false")]).unwrap();
    off.run(&["join", &fleet.join_string, "--name", "a"]).unwrap();
    let told = off.json(&["netcheck"]).unwrap();
    assert_eq!(told["port_mapping"]["state"], "off", "{told}");
    assert_eq!(packets_asked(&fleet), 0);

    // The count counts.
    let on = fleet.agent("d").unwrap();
    mapped(&fleet, &on);
    let packets = packets_asked(&fleet);
    println!("an agent that may asks with {packets} packets");
    assert!((1..=12).contains(&packets), "{packets}");
}

/// Waits until the agent has a port, and gives what it tells of it.
fn mapped(fleet: &Fleet, agent: &Agent) -> Value {
    let mut last = Value::Null;
    wait_for("a mapped port", Duration::from_secs(5), || {
        last = agent.json(&["status"]).ok()?["port_mapping"].clone();
        // Until STUN has seen the address outside, nothing speaks against it.
        (last["state"] == "mapped").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}: {last}\n{}", fleet.log(&agent.host)));
    last
}

fn address(mapping: &Value) -> String {
    mapping["address"].as_str().unwrap().to_owned()
}

/// What the router forwards.
fn rules(fleet: &Fleet) -> Vec<String> {
    let listing = nft(fleet, "list chain inet portmap prenat");
    listing.lines().filter(|line| line.contains("dnat")).map(|line| line.trim().to_owned()).collect()
}

fn packets_asked(fleet: &Fleet) -> u64 {
    let listing = nft(fleet, "list table ip asked");
    let count = listing.split("packets ").nth(1).and_then(|rest| rest.split_whitespace().next());
    count.unwrap().parse().unwrap()
}

/// Has the router's firewall do something, or tell.
fn nft(fleet: &Fleet, words: &str) -> String {
    let done = fleet.lab.command("ra", "nft").arg(words).output().unwrap();
    assert!(done.status.success(), "nft {words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
