//! `lanyard netcheck` and `lanyard why` name every NAT, and every way out, as the lab configured it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::Duration;

use lanyard_netns::{Fleet, Lab, connect, wait_for};
use serde_json::Value;

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

#[test]
fn netcheck_says_whether_the_router_turns_datagrams_around() {
    let site = |name: &str, host: &str, nat: &str, hairpin: bool| {
        format!("[site.{name}]\nnat = \"{nat}\"\nhairpin = {hairpin}\nhosts = [\"{host}\"]\n")
    };
    let sites = [
        ("a", "port-restricted", true, Value::Bool(true)),
        ("b", "port-restricted", false, Value::Bool(false)),
        ("c", "symmetric", true, Value::Bool(true)),
        ("d", "full-cone", false, Value::Bool(false)),
        ("e", "open", false, Value::Null),
    ];
    let topology: String =
        sites.iter().map(|(host, nat, hairpin, _)| site(&format!("r{host}"), host, nat, *hairpin)).collect();
    let fleet = Fleet::start(Lab::up(&topology).unwrap()).unwrap();
    for (host, nat, _, expected) in sites {
        let agent = fleet.join(host).unwrap();
        let card = agent.json(&["netcheck"]).unwrap();
        println!("{nat}: hairpin {}, full size {}", card["hairpin"], card["full_size"]);
        assert_eq!(card["hairpin"], expected, "{nat}: {card}");
        assert_eq!(card["full_size"], Value::Bool(true), "{nat}: {card}");
        assert_eq!(card["egress"], "udp", "{nat}: {card}");
    }
}

#[test]
fn a_router_that_forgets_after_20_s_is_measured_and_kept_twice_as_often() {
    let topology = "[site.ra]\nudp_timeout = 20\nhosts = [\"a\"]\n\
                    [site.rb]\nnat = \"symmetric\"\nudp_timeout = 20\nhosts = [\"b\"]\n\
                    [site.rc]\nnat = \"firewall\"\nudp_timeout = 12\nhosts = [\"c\"]\n";
    let fleet = Fleet::start(Lab::up(topology).unwrap()).unwrap();
    let agents = ["a", "b", "c"].map(|host| fleet.join(host).unwrap());
    for (agent, lifetime_s, every_s) in [(&agents[0], 18, 9), (&agents[1], 18, 9), (&agents[2], 10, 8)] {
        let measured = wait_for("a measured lifetime", Duration::from_secs(120), || {
            let status = agent.json(&["status"]).ok()?;
            status["nat"]["lifetime_s"].as_u64()
        });
        let log = || fleet.log(&agent.host);
        let measured = measured.unwrap_or_else(|error| panic!("{}: {error:#}\n{}", agent.host, log()));
        println!("{}: a silent mapping lives {measured} s or more", agent.host);
        assert_eq!(measured, lifetime_s, "{}\n{}", agent.host, log());
        assert_eq!(agent.json(&["netcheck"]).unwrap()["keep_alive_s"], every_s);
    }
}

#[test]
fn netcheck_names_the_way_out_where_udp_is_blocked() {
    let kinds = [("udp-blocked", "tcp"), ("tcp443-only", "tcp-443"), ("proxy-only", "proxy")];
    let kinds_text: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    let fleet = Fleet::start(Lab::up(&kinds_text.join(":")).unwrap()).unwrap();
    for (host, (kind, egress)) in ["a", "b", "c"].into_iter().zip(kinds) {
        let agent = fleet.join(host).unwrap();
        let netcheck = agent.json(&["netcheck"]).unwrap();
        assert_eq!(netcheck["egress"], egress, "{kind}: {netcheck}\n{}", fleet.log(host));
        assert_eq!((&netcheck["udp"], &netcheck["portal"]), (&Value::Bool(false), &Value::Null), "{kind}");
        let told = agent.run(&["netcheck"]).unwrap();
        println!("{kind}:\n{told}");
        assert!(told.contains("blocked; connected by TLS 443") && told.contains("way out"), "{told}");
    }
}

/// The router answers every TCP connection itself, as a café's does, and drops the rest.
const PORTAL: &str = r#"
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://login.cafe.example/welcome")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("0.0.0.0", 8090), Page).serve_forever()
"#;

#[test]
fn a_captive_portal_is_named_and_left_when_somebody_signs_in() {
    let fleet = Fleet::start(Lab::up("port-restricted").unwrap()).unwrap();
    let agent = fleet.join("a").unwrap();
    let portal = fleet.lab.command("ra", "python3").args(["-c", PORTAL]).spawn().unwrap();
    let _portal = Guard(portal);
    let rules = "table ip portal { \
         chain nat { type nat hook prerouting priority -110; iifname \"lan\" tcp dport 1-65535 redirect to :8090; }; \
         chain shut { type filter hook forward priority -10; iifname \"lan\" drop; iifname \"wan\" drop; }; }";
    let nft = |words: &[&str]| {
        let done = fleet.lab.command("ra", "nft").args(words).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    nft(&[rules]);
    let mut last = Value::Null;
    let named = wait_for("the portal's name", Duration::from_secs(60), || {
        last = agent.json(&["netcheck"]).ok()?;
        (last["egress"] == "captive-portal").then_some(())
    });
    named.unwrap_or_else(|error| panic!("{error:#}: {last}\n{}", fleet.log("a")));
    assert_eq!(last["portal"], "http://login.cafe.example/welcome");
    let told = agent.run(&["netcheck"]).unwrap();
    println!("{told}");
    assert!(told.contains("captive portal") && told.contains("sign in"), "{told}");
    nft(&["delete", "table", "ip", "portal"]);
    wait_for("UDP again", Duration::from_secs(90), || {
        let netcheck = agent.json(&["netcheck"]).ok()?;
        (netcheck["egress"] == "udp" && netcheck["udp"] == true).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("a")));
}

/// A process that ends with the test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_coordinator_lists_the_verdict_of_each_pair() {
    let fleet = Fleet::start(Lab::up("port-restricted:symmetric:symmetric").unwrap()).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|host| fleet.join(host).unwrap());
    connect(&a, &b).unwrap();
    connect(&b, &c).unwrap();
    let verdict = |one: &str, other: &str, expected: &str| {
        let mut last = String::new();
        let seen = wait_for("the pair's verdict", Duration::from_secs(30), || {
            last = fleet.admin(&["verdict", "list", "--json"]).ok()?;
            let listed: Value = serde_json::from_str(&last).ok()?;
            let pair = listed["verdicts"].as_array()?.iter().find(|pair| {
                let ends = [&pair["reporter_name"], &pair["peer_name"]];
                ends.contains(&&Value::from(one)) && ends.contains(&&Value::from(other))
            })?;
            (pair["code"] == expected).then_some(())
        });
        seen.unwrap_or_else(|error| panic!("{one} {other} {expected}: {error:#}: {last}"));
    };
    verdict("a", "b", "direct");
    verdict("b", "c", "both_mappings_vary");
    println!("{}", fleet.admin(&["verdict", "list", "c"]).unwrap());
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
