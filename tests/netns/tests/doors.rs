//! Networks that let no UDP out: TLS on TCP 443, or an HTTP proxy, is the only way.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::time::{Duration, Instant};

use lanyard_netns::pair::{Traffic, first_ping, see_each_other};
use lanyard_netns::{Agent, Fleet, Lab, Transfer, wait_for};

/// From the start of the agent to the first reply of a peer that it knew before.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Brings up a pair of which `a` has no UDP, and joins both.
fn pair(kinds: &str) -> (Fleet, Agent, Agent) {
    let fleet = Fleet::start(Lab::up(kinds).unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    see_each_other(&a, &b).unwrap_or_else(|error| panic!("{kinds}: {error:#}\n{}", fleet.log("a")));
    (fleet, a, b)
}

/// What `status --json` says of the door of an agent's first coordinator.
fn door(agent: &Agent) -> serde_json::Value {
    agent.json(&["status"]).unwrap()["servers"][0]["door"].clone()
}

/// What carries an agent's direct path to a peer: "udp" or "tcp".
fn transport(agent: &Agent, peer: &str) -> Option<String> {
    agent.peer(peer).ok()?["path"]["transport"].as_str().map(str::to_owned)
}

/// Both reach each other by relay, and so they do right after a restart.
fn is_relayed(kind: &str, others: &[&str]) {
    for other in others {
        let kinds = format!("{kind}:{other}");
        let (fleet, mut a, b) = pair(&kinds);
        let logs = || format!("{}\n{}\n{}", fleet.log("a"), fleet.log("b"), fleet.log("server"));
        let first = first_ping(&a, &b).unwrap_or_else(|error| panic!("{kinds}: {error:#}\n{}", logs()));
        first_ping(&b, &a).unwrap_or_else(|error| panic!("{kinds}: {error:#}\n{}", logs()));
        assert_eq!((a.path_to("b").as_deref(), b.path_to("a").as_deref()), (Some("relay"), Some("relay")));
        assert_eq!(door(&a)["port"], 443, "{kinds}");

        a.stop().unwrap();
        let begun = Instant::now();
        a.start().unwrap();
        let reply = wait_for("a reply", Duration::from_secs(10), || first_ping(&a, &b).ok());
        let after = begun.elapsed();
        println!("{kinds}: first reply in {first:?}; {after:?} after the agent's start");
        reply.unwrap_or_else(|error| panic!("{kinds}: {error:#}\n{}", logs()));
        assert!(after < FIRST_BYTE, "{kinds}: {after:?}\n{}", logs());
    }
}

#[test]
fn a_network_without_udp_is_left_by_tls() {
    is_relayed("udp-blocked", &["port-restricted", "udp-blocked"]);
}

#[test]
fn a_network_with_tcp_443_alone_is_left_by_it() {
    is_relayed("tcp443-only", &["open", "port-restricted", "tcp443-only"]);
}

#[test]
fn a_network_with_a_proxy_alone_is_left_through_it() {
    is_relayed("proxy-only", &["open", "port-restricted", "proxy-only"]);
}

/// Whichever end begins; and a transfer goes through the connection.
#[test]
fn where_udp_does_not_get_out_a_public_peer_is_met_by_tcp() {
    for kinds in ["udp-blocked:open", "open:udp-blocked"] {
        let (fleet, a, b) = pair(kinds);
        let logs = || format!("{}\n{}\n{}", fleet.log("a"), fleet.log("b"), fleet.log("server"));
        let mut traffic = Traffic::start(&a, &b).unwrap();
        let is_tcp = |one: &Agent, other: &str| transport(one, other).as_deref() == Some("tcp");
        let by_tcp = |what| {
            let begun = Instant::now();
            let both = || (is_tcp(&a, "b") && is_tcp(&b, "a")).then_some(());
            wait_for(what, Duration::from_secs(5), both)
                .unwrap_or_else(|error| panic!("{kinds}: {error:#}\n{}", logs()));
            println!("{kinds}: {what} after {:?}", begun.elapsed());
        };
        by_tcp("direct by TCP");
        traffic.stop();
        assert!(a.run(&["status"]).unwrap().contains("direct by TCP"));
        let transfer =
            Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), 20_000_000).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let received = transfer.finish().unwrap_or_else(|error| panic!("{kinds}: {error:#}\n{}", logs()));
        println!("{kinds}: {received:?}");
        assert!(received.bytes > 1_000_000, "{kinds}: {received:?}");
        by_tcp("still direct by TCP");
    }
}

#[test]
fn netcheck_status_and_why_tell_of_the_door() {
    let (_fleet, a, b) = pair("proxy-only:port-restricted");
    first_ping(&a, &b).unwrap();
    let mut traffic = Traffic::start(&a, &b).unwrap();
    let told = a.run(&["netcheck"]).unwrap();
    assert!(told.contains("blocked; connected by TLS 443 through proxy 192.168."), "{told}");
    assert!(a.run(&["status"]).unwrap().contains("connected by TLS 443 through proxy"));
    let blames = |agent: &Agent, peer: &str| {
        let mut last = String::new();
        let told = wait_for("why names the network", Duration::from_secs(20), || {
            last = agent.run(&["why", peer]).ok()?;
            last.contains("no UDP leaves the network of a").then_some(())
        });
        told.unwrap_or_else(|error| panic!("{error:#}: {last}"));
    };
    blames(&a, "b");
    blames(&b, "a");
    traffic.stop();
}

/// The queues in front of a stream are short: a bulk transfer fills them and delays what goes beside it by no
/// more than they hold, 128 KiB at 20 Mbit/s being 52 ms.
#[test]
fn a_bulk_transfer_through_a_door_leaves_the_pair_usable() {
    let topology = "[site.ra]\nnat = \"udp-blocked\"\nhosts = [\"a\"]\nrate = 20\n\
        [site.rb]\nnat = \"open\"\nhosts = [\"b\"]\n";
    let (fleet, a, b) = pair(topology);
    for (from, to) in [(&a, &b), (&b, &a)] {
        first_ping(from, to).unwrap();
        let transfer = Transfer::start(from.namespace(), to.namespace(), to.address().unwrap(), 0).unwrap();
        let pinged = std::process::Command::new("ip")
            .args(["netns", "exec", a.namespace(), "ping", "-n", "-q", "-i", "0.1", "-c", "50"])
            .arg(b.address().unwrap().to_string())
            .output()
            .unwrap();
        let received = transfer.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("a")));
        let mbit_s = received.bytes as f64 * 8e-6 / received.took.as_secs_f64();
        let said = String::from_utf8_lossy(&pinged.stdout).into_owned();
        let times = said.split("mdev = ").nth(1).unwrap_or_else(|| panic!("no reply: {said}"));
        println!(
            "{} to {}: {mbit_s:.1} Mbit/s, round trips min/avg/max/mdev {}",
            from.host,
            to.host,
            times.trim()
        );
        let average: f64 = times.split('/').nth(1).unwrap().parse().unwrap();
        assert!(mbit_s > 10.0, "{mbit_s} Mbit/s of 20");
        assert!(average < 400.0, "{times}");
    }
}

#[test]
fn a_coordinator_that_restarts_is_found_again_through_the_door() {
    let (mut fleet, a, b) = pair("tcp443-only:open");
    first_ping(&a, &b).unwrap();
    fleet.kill_coordinator();
    fleet.start_coordinator().unwrap();
    let begun = Instant::now();
    // Five a second, until one is answered.
    let pinged = std::process::Command::new("ip")
        .args(["netns", "exec", a.namespace(), "ping", "-n", "-q", "-i", "0.2", "-c", "1", "-w", "20"])
        .arg(b.address().unwrap().to_string())
        .status()
        .unwrap();
    println!("the first reply came {:?} after the coordinator's restart", begun.elapsed());
    assert!(pinged.success(), "no reply in 20 s\n{}\n{}", fleet.log("a"), fleet.log("server"));
}
