//! `lanyard netcheck` and `lanyard why` name every NAT, and every way out, as the lab configured it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::{Fleet, Lab, connect, wait_for};
use serde_json::Value;

/// A kind of `tests/natlab/README.md` with settings of its site, and what `netcheck --json` says of it: mapping and
/// filtering in the words of RFC 4787, the policy for ports.
const KINDS: &[(&str, &str, &str, &str, Option<&str>)] = &[
    ("open", "", "none", "endpoint-independent", Some("preserved")),
    ("firewall", "", "none", "address-and-port-dependent", Some("preserved")),
    ("full-cone", "", "endpoint-independent", "endpoint-independent", Some("preserved")),
    ("addr-restricted", "", "endpoint-independent", "address-dependent", Some("preserved")),
    ("port-restricted", "", "endpoint-independent", "address-and-port-dependent", Some("preserved")),
    // One port for all destinations tells nothing of how it was chosen.
    ("remapped", "", "endpoint-independent", "address-and-port-dependent", None),
    // natlab takes these ports from 2,000.
    ("addr-symmetric", "", "address-dependent", "address-and-port-dependent", Some("block")),
    ("symmetric", "", "address-and-port-dependent", "address-and-port-dependent", Some("random")),
    (
        "symmetric",
        "port_block = 1024",
        "address-and-port-dependent",
        "address-and-port-dependent",
        Some("block"),
    ),
    ("symmetric-seq", "", "address-and-port-dependent", "address-and-port-dependent", Some("sequential")),
];

#[test]
fn netcheck_and_why_name_mapping_filtering_and_ports_of_every_kind() {
    let hosts: Vec<String> = ('a'..).take(KINDS.len()).map(String::from).collect();
    let site = |(host, (kind, settings, ..)): (&String, &(&str, &str, _, _, _))| {
        format!("[site.r{host}]\nnat = \"{kind}\"\n{settings}\nhosts = [\"{host}\"]\n")
    };
    let topology: String = hosts.iter().zip(KINDS).map(site).collect();
    let fleet = Fleet::start(Lab::up(&topology).unwrap()).unwrap();
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
    for (agent, (kind, settings, mapping, filtering, policy)) in agents.iter().zip(KINDS) {
        let card = agent.json(&["netcheck"]).unwrap();
        let kind = format!("{kind} {settings}");
        assert_eq!(card["mapping"], *mapping, "{kind}: {card}");
        assert_eq!(card["filtering"], *filtering, "{kind}: {card}");
        assert_eq!(card["ports"]["policy"].as_str(), *policy, "{kind}: {card}");
        let told = agent.run(&["netcheck"]).unwrap();
        println!("{kind}: {} of {} and {}", card["ports"], card["ip4"], card["servers"][0]["observed"]);
        assert!(told.contains(mapping) && told.contains(filtering), "{kind}: {told}");
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
        ports_are(&card);
        if agent.host != first.host {
            connect(first, agent).unwrap();
            why_names(first, &agent.host, mapping, filtering);
        }
    }
}

/// The details of a policy for ports fit to what natlab does and to what the servers see.
fn ports_are(card: &Value) {
    let ports = &card["ports"];
    let port = |address: &Value| address.as_str()?.rsplit(':').next()?.parse::<u64>().ok();
    let seen = [port(&card["ip4"]).unwrap(), port(&card["servers"][0]["observed"]).unwrap()];
    if ports["policy"] == "sequential" {
        assert_eq!(ports["step"], 1, "{card}");
    } else if ports["policy"] == "block" {
        let (low, high) = (ports["low"].as_u64().unwrap(), ports["high"].as_u64().unwrap());
        assert!((low..=high).contains(&seen[0]), "{card}");
        // The server's port was not asked of the STUN pair: a block drawn from 20 ports may end just before it.
        let margin = (high - low) / 2;
        assert!((low.saturating_sub(margin)..=high + margin).contains(&seen[1]), "{card}");
        assert!(high - low < 8_192, "{card}");
    } else if ports["policy"] == "preserved" {
        assert_eq!(seen[0], seen[1], "{card}");
    }
}

/// What a router between the device and the world does to large datagrams; and the families, of which each device has
/// those that its site has, and the coordinator both.
const LINKS: &str = "[site.ra]\npmtud = false\nmtu = 1380\nhosts = [\"a\"]\n\
    [site.rb]\nhosts = [\"b\"]\n\
    [site.rc]\nnat = \"symmetric\"\nv6 = true\nhosts = [\"c\"]\n\
    [site.rd]\nnat = \"v6-firewall\"\nhosts = [\"d\"]\n\
    [site.re]\npmtud = false\nmtu = 1300\nhosts = [\"e\"]\n";

#[test]
fn netcheck_says_whether_large_datagrams_get_out_and_which_families_there_are() {
    let fleet = Fleet::start(Lab::up(LINKS).unwrap()).unwrap();
    let rule = "table ip large { chain forward { type filter hook forward priority -10; \
         iifname \"lan\" udp length > 1200 drop; }; }";
    assert!(fleet.lab.command("rb", "nft").arg(rule).status().unwrap().success());
    for (host, full_size, mtu, mapping, families) in [
        ("a", true, Some(1_380), "endpoint-independent", [true, false]),
        ("b", false, None, "endpoint-independent", [true, false]),
        ("c", true, Some(1_500), "address-and-port-dependent", [true, true]),
        ("d", true, Some(1_500), "none", [false, true]),
        // Below what a tunnel sends: routers cut it, and a person is told.
        ("e", true, Some(1_300), "endpoint-independent", [true, false]),
    ] {
        let agent = fleet.join(host).unwrap();
        let card = agent.json(&["netcheck"]).unwrap();
        assert_eq!(card["full_size"], full_size, "{host}: {card}\n{}", fleet.log(host));
        assert_eq!(card["mtu"].as_u64(), mtu, "{host}: {card}");
        assert_eq!(card["mapping"], mapping, "{host}: {card}");
        assert_eq!([&card["ip4"], &card["ip6"]].map(Value::is_string), families, "{host}: {card}");
        let hairpin = if families[0] { Value::Bool(false) } else { Value::Null };
        assert_eq!(card["hairpin"], hairpin, "a family that is not there hides nothing: {host}: {card}");
        let told = agent.run(&["netcheck"]).unwrap();
        let is_told = told.contains("full-size datagrams do not reach the coordinator: peers go by relay");
        assert_eq!(is_told, !full_size, "{told}");
        assert_eq!(told.contains("full-size datagrams do in several"), mtu == Some(1_300), "{told}");
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

/// Nobody asks for it: what `status` shows is measured when the network changes, and remembered of the last one.
#[test]
fn a_device_that_roams_is_measured_anew_at_once() {
    let topology =
        "[site.ra]\nhairpin = true\nhosts = [\"a\"]\n[site.rb]\nnat = \"symmetric\"\nhosts = [\"b\"]\n";
    let fleet = Fleet::start(Lab::up(topology).unwrap()).unwrap();
    let agent = fleet.join("a").unwrap();
    let becomes = |mapping: &str, hairpin: bool| {
        let (begun, mut last) = (Instant::now(), Value::Null);
        let seen = wait_for(mapping, Duration::from_secs(5), || {
            last = agent.json(&["status"]).ok()?["nat"].take();
            (last["mapping"] == mapping && last["hairpin"] == hairpin).then_some(())
        });
        seen.unwrap_or_else(|error| panic!("{error:#}: {last}\n{}", fleet.log("a")));
        println!("{mapping}, hairpin {hairpin} after {:?}", begun.elapsed());
    };
    becomes("endpoint-independent", true);
    fleet.lab.event(&["roam", "a", "rb"]).unwrap();
    becomes("address-and-port-dependent", false);
    fleet.lab.event(&["roam", "a", "ra"]).unwrap();
    becomes("endpoint-independent", true);
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

/// Both cards are exchanged by the attempt, so `why` at one end names the NAT of the other.
fn why_names(first: &lanyard_netns::Agent, peer: &str, mapping: &str, filtering: &str) {
    let mut last = String::new();
    wait_for(&format!("why {peer} names {mapping} and {filtering}"), Duration::from_secs(5), || {
        last = first.run(&["why", peer]).ok()?;
        (last.contains(mapping) && last.contains(filtering)).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}: {last}"));
}
