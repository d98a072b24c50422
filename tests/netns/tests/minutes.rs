//! What takes minutes: mappings that age, UDP that comes back. These tests wait, so they do it side by side.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::thread;
use std::time::{Duration, Instant};

use lanyard_netns::pair::{Traffic, first_ping, see_each_other};
use lanyard_netns::{Agent, Fleet, Lab, connect, wait_for};

/// Each has a lab of its own, and does next to nothing for most of its time.
const SCENARIOS: &[(&str, fn())] = &[
    (
        "a pair that was idle for long behind forgetful routers answers",
        a_pair_that_was_idle_for_long_behind_forgetful_routers_answers,
    ),
    (
        "a router that forgets after 20 s is measured and kept twice as often",
        a_router_that_forgets_after_20_s_is_measured_and_kept_twice_as_often,
    ),
    (
        "a device goes back to UDP when that is let out and becomes direct",
        a_device_goes_back_to_udp_when_that_is_let_out_and_becomes_direct,
    ),
];

#[test]
fn what_takes_minutes_goes_well() {
    let failed: Vec<&str> = thread::scope(|scope| {
        let running: Vec<_> = SCENARIOS.iter().map(|(name, run)| (*name, scope.spawn(run))).collect();
        running.into_iter().filter_map(|(name, run)| run.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "above is why: {failed:#?}");
}

/// Idle for this long, several lifetimes of a mapping.
const IDLE: Duration = Duration::from_secs(90);

fn a_pair_that_was_idle_for_long_behind_forgetful_routers_answers() {
    let sites = ["a", "b", "c", "d"];
    let site = |host| format!("[site.r{host}]\nudp_timeout = 20\nhosts = [\"{host}\"]\n");
    let topology: String = sites.iter().map(site).collect();
    let fleet = Fleet::start(Lab::up(&topology).unwrap()).unwrap();
    let [a, b, c, d] = sites.map(|host| fleet.join(host).unwrap());
    let pairs = [(&a, &b), (&c, &d)];
    for (one, other) in pairs {
        assert_eq!(connect(one, other).unwrap().path, "direct");
    }
    thread::sleep(IDLE);
    // The end that spoke first, and the one that answered.
    for (from, to) in [(pairs[0].0, pairs[0].1), (pairs[1].1, pairs[1].0)] {
        let reply = first_ping(from, to).unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log(&to.host)));
        println!("{} to {} after {IDLE:?}: {reply:?}", from.host, to.host);
        assert!(reply < Duration::from_secs(1), "{reply:?}");
    }
}

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

/// UDP is asked every minute, give or take a tenth, and once for each address.
const BACK_TO_UDP: Duration = Duration::from_secs(75);

fn a_device_goes_back_to_udp_when_that_is_let_out_and_becomes_direct() {
    let fleet = Fleet::start(Lab::up("udp-blocked:open").unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    see_each_other(&a, &b).unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("a")));
    first_ping(&a, &b).unwrap();
    assert_eq!(door(&a)["port"], 443);
    assert!(has_door(&a));
    let mut traffic = Traffic::start(&a, &b).unwrap();
    fleet.lab.event(&["set", "ra", "nat=port-restricted"]).unwrap();
    let begun = Instant::now();
    let back = wait_for("a session by UDP", BACK_TO_UDP, || door(&a).is_null().then(|| begun.elapsed()));
    println!("back to UDP after {:?}", back.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("a"))));
    let mut traffic_again = Traffic::start(&a, &b).unwrap();
    let direct = wait_for("a direct path by UDP", Duration::from_secs(90), || {
        (transport(&a, "b")? == "udp").then(|| begun.elapsed())
    });
    println!("direct after {:?}", direct.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("a"))));
    traffic.stop();
    traffic_again.stop();
    let closed =
        wait_for("a closed door", Duration::from_secs(75), || (!has_door(&a)).then(|| begun.elapsed()));
    println!("the door was closed after {:?}", closed.unwrap());
}

/// Whether the agent's host has a TCP connection to port 443 (0x01BB) that is established (01).
fn has_door(agent: &Agent) -> bool {
    let listed = std::process::Command::new("ip")
        .args(["netns", "exec", agent.namespace(), "cat", "/proc/net/tcp"])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    listed.lines().any(|line| {
        let mut words = line.split_whitespace().skip(2);
        words.next().is_some_and(|remote| remote.ends_with(":01BB")) && words.next() == Some("01")
    })
}

/// What `status --json` says of the door of an agent's first coordinator.
fn door(agent: &Agent) -> serde_json::Value {
    agent.json(&["status"]).unwrap()["servers"][0]["door"].clone()
}

/// What carries an agent's direct path to a peer: "udp" or "tcp".
fn transport(agent: &Agent, peer: &str) -> Option<String> {
    agent.peer(peer).ok()?["path"]["transport"].as_str().map(str::to_owned)
}
