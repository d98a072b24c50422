//! Links that are worse than they look: packets vanish for their size.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::thread;
use std::time::Duration;

use lanyard_netns::{Agent, Fleet, Lab, Transfer, connect};

/// A transfer over a link with nothing wrong carries at least this much here, in a second.
const RATE_MIN: f64 = 4e6;

/// Kind and MTU of a router that swallows what is longer and says nothing, the kind of the peer's, and the pair's path.
const PAIRS: &[(&str, u16, &str, &str)] = &[
    ("port-restricted", 1_380, "port-restricted", "direct"),
    ("symmetric", 1_380, "symmetric", "relay"),
    ("port-restricted", 1_300, "port-restricted", "direct"),
    ("symmetric", 1_300, "symmetric", "relay"),
    ("udp-blocked", 1_380, "symmetric", "relay"),
];

#[test]
fn bulk_passes_a_link_that_swallows_large_packets() {
    let mut names = ('a'..).map(String::from);
    let hosts: Vec<[String; 2]> = PAIRS.iter().map(|_| [(); 2].map(|()| names.next().unwrap())).collect();
    let sites = |([one, other], (kind, mtu, peer, _)): (&[String; 2], &(&str, u16, &str, _))| {
        let bad =
            format!("[site.r{one}]\nnat = \"{kind}\"\npmtud = false\nmtu = {mtu}\nhosts = [\"{one}\"]\n");
        format!("{bad}[site.r{other}]\nnat = \"{peer}\"\nhosts = [\"{other}\"]\n")
    };
    let topology: String = hosts.iter().zip(PAIRS).map(sites).collect();
    let fleet = Fleet::start(Lab::up(&topology).unwrap()).unwrap();
    let string = fleet.join_string_for_many().unwrap();
    let join = |host: &String| {
        let agent = fleet.agent(host).unwrap();
        agent.run(&["join", &string, "--name", host]).unwrap();
        agent
    };
    let agents: Vec<[Agent; 2]> = hosts.iter().map(|[one, other]| [join(one), join(other)]).collect();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> =
            agents.iter().map(|[one, other]| scope.spawn(move || connect(one, other))).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for ((outcome, [one, other]), (kind, mtu, _, path)) in outcomes.into_iter().zip(&agents).zip(PAIRS) {
        let logs = || format!("{kind} {mtu}\n{}\n{}", fleet.log(&one.host), fleet.log(&other.host));
        let outcome = outcome.unwrap_or_else(|error| panic!("{error:#}\n{}", logs()));
        assert_eq!(outcome.path, *path, "{}", logs());
        println!("{kind}, MTU {mtu}:");
        carries_bulk(one, other, &logs);
        // 60 bytes are the headers of IPv4, UDP and WireGuard; a relayed path carries what all have to.
        let fits = if *path == "direct" { (u64::from(*mtu) - 60).max(1_280) } else { 1_280 };
        for (from, to) in [(one, other), (other, one)] {
            assert_eq!(from.peer(&to.host).unwrap()["counted"]["mtu"], fits, "{}", logs());
        }
    }
}

/// Sends for some seconds as fast as it goes; full-size packets must arrive, both ways.
fn carries_bulk(a: &Agent, b: &Agent, logs: &dyn Fn() -> String) {
    for (from, to) in [(a, b), (b, a)] {
        let transfer = Transfer::start(from.namespace(), to.namespace(), to.address().unwrap(), 0).unwrap();
        thread::sleep(Duration::from_secs(3));
        let received = transfer.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", logs()));
        let rate = received.bytes as f64 / received.took.as_secs_f64();
        println!(
            "{} to {} by {:?}: {:.1} MB/s, longest pause {:?}",
            from.host,
            to.host,
            from.path_to(&to.host),
            rate / 1e6,
            received.longest_stall
        );
        assert!(rate > RATE_MIN, "{rate} bytes a second\n{}", logs());
        assert!(received.longest_stall < Duration::from_secs(1), "{received:?}\n{}", logs());
    }
}
