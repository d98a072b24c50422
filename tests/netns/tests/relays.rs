//! A second relay on a machine of its own: every pair meets where both round trips together are the shortest, and goes on
//! at the other one when that dies.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use lanyard_netns::fleet::program;
use lanyard_netns::{Agent, Fleet, Lab, Transfer, connect, wait_for};

/// The coordinator is far from all four sites, the machine of the second relay near.
const TOPOLOGY: &str = "[server.s]\naddrs = 2\ndelay = 40\n[server.r]\n\
    [site.ra]\nnat = \"symmetric\"\nhosts = [\"a\"]\n[site.rb]\nnat = \"symmetric\"\nhosts = [\"b\"]\n\
    [site.rc]\nnat = \"symmetric\"\nhosts = [\"c\"]\n[site.rd]\nnat = \"symmetric\"\nhosts = [\"d\"]\n";

/// Where the second relay listens: natlab's second server.
const NEAR: &str = "203.0.113.17:7443";

/// The process of the second relay.
struct Relay(Child);

impl Relay {
    /// Starts it as docs/operations.md says: the fleet key, a name, nothing but relaying.
    fn start(fleet: &Fleet) -> Self {
        let dir = fleet.directory().join("relay-2");
        fs::create_dir_all(&dir).unwrap();
        fs::copy(fleet.directory().join("server").join("fleet.key"), dir.join("fleet.key")).unwrap();
        let settings = format!(
            "[data]\ndir = {dir:?}\n[services]\nrun = [\"relay\"]\nname = \"relay-2\"\n\
            [control]\nlisten = [\"0.0.0.0:7443\"]\n[web]\nlisten = \"127.0.0.1:8080\"\ntls = []\n"
        );
        fs::write(dir.join("lanyard-server.toml"), settings).unwrap();
        let log = File::create(fleet.directory().join("relay-2.log")).unwrap();
        let mut command = fleet.lab.command("r", program("lanyard-server").unwrap());
        command.arg("--dir").arg(&dir).arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn relay_of(agent: &Agent, peer: &str) -> Option<String> {
    Some(agent.peer(peer).ok()?["path"]["relay"].as_str()?.to_owned())
}

/// The lab with both relays, and an agent on each of these hosts.
fn fleet(hosts: &[&str]) -> (Fleet, Relay, Vec<Agent>) {
    let lab = Lab::up(TOPOLOGY).unwrap();
    let elsewhere = format!("[{{ name = \"relay-2\", addresses = [\"{NEAR}\"] }}]");
    let fleet = Fleet::start_with(lab, &[("LANYARD_SERVER_RELAY_ELSEWHERE", &elsewhere)]).unwrap();
    let relay = Relay::start(&fleet);
    let agents = hosts.iter().map(|host| fleet.join(host).unwrap()).collect();
    (fleet, relay, agents)
}

#[test]
fn a_transfer_outlives_the_relay_that_carries_it() {
    let (_fleet, relay, agents) = fleet(&["a", "b"]);
    let (a, b) = (&agents[0], &agents[1]);
    connect(a, b).unwrap();
    let both_at = |what: &str, is_there: &dyn Fn(&str) -> bool| {
        wait_for(what, Duration::from_secs(10), || {
            let there = |end, peer| relay_of(end, peer).is_some_and(|relay| is_there(&relay));
            (there(a, "b") && there(b, "a")).then_some(())
        })
        .unwrap();
    };
    both_at("the pair at the near relay", &|relay| relay == NEAR);
    let transfer = Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), 1_000_000).unwrap();
    drop(relay);
    both_at("the pair at the other relay", &|relay| relay != NEAR);
    let received = transfer.finish().unwrap();
    println!("its relay killed: {received:?}");
    assert!(received.longest_stall < Duration::from_secs(1), "{received:?}");
}

#[test]
fn every_pair_meets_at_the_near_relay_and_no_transfer_stops_when_it_moves_there() {
    let (fleet, _relay, agents) = fleet(&["a", "b", "c", "d"]);
    let pairs: Vec<(&Agent, &Agent)> = (0..agents.len())
        .flat_map(|first| (first + 1..agents.len()).map(move |second| (first, second)))
        .map(|(first, second)| (&agents[first], &agents[second]))
        .collect();
    wait_for("members that see each other", Duration::from_secs(10), || {
        let sees = |(a, b): &(&Agent, &Agent)| a.peer(&b.host).is_ok_and(|peer| peer["online"] == true);
        pairs.iter().all(sees).then_some(())
    })
    .unwrap();
    netcheck_lists_both_relays(&agents[0]);
    // From the first packet on, while each pair is still where it was counted to.
    let transfers = pairs
        .iter()
        .map(|(a, b)| Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), 100_000).unwrap());
    let transfers: Vec<Transfer> = transfers.collect();
    let wrong = || {
        let ends = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        let at = ends.map(|(end, peer)| (end.host.clone(), peer.host.clone(), relay_of(end, &peer.host)));
        at.filter(|(.., relay)| relay.as_deref() != Some(NEAR)).collect::<Vec<_>>()
    };
    wait_for("all pairs at the near relay", Duration::from_secs(10), || wrong().is_empty().then_some(()))
        .unwrap_or_else(|error| {
            panic!("{error:#}: {:?}\n{}\n{}", wrong(), fleet.log("a"), fleet.log("relay-2"))
        });
    for (transfer, (a, b)) in transfers.into_iter().zip(&pairs) {
        let received = transfer.finish().unwrap();
        println!("{} to {}: {:?}", a.host, b.host, received);
        assert!(received.longest_stall < Duration::from_secs(1), "{received:?}");
    }
}

/// With their round trips: the far one is 80 ms away.
fn netcheck_lists_both_relays(agent: &Agent) {
    let mut relays = serde_json::Value::Null;
    let measured = wait_for("two relays with their round trips", Duration::from_secs(10), || {
        relays = agent.json(&["netcheck"]).ok()?["servers"][0]["relays"].take();
        let far = relays.as_array()?.iter().find(|relay| relay["is_server"] == true)?;
        let near = relays.as_array()?.iter().find(|relay| relay["address"] == NEAR)?;
        assert_eq!(near["is_server"], false, "{relays}");
        let rtts = (far["rtt_us"].as_u64()?, near["rtt_us"].as_u64()?);
        (far["ok"] == true && near["ok"] == true).then_some(rtts)
    });
    let (far, near) = measured.unwrap_or_else(|error| panic!("{error:#}: {relays}"));
    println!("netcheck: the far relay is {far} us away, the near one {near} us");
    assert!(far > 80_000 && near < far, "{relays}");
    let told = agent.run(&["netcheck"]).unwrap();
    assert!(told.contains(&format!("relay      {NEAR}  ok")), "{told}");
}
