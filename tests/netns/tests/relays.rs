//! A second relay on a machine of its own: every pair meets where both round trips together are the shortest.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use lanyard_netns::fleet::program;
use lanyard_netns::{Agent, Fleet, Lab, Transfer, wait_for};

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

#[test]
fn every_pair_meets_at_the_near_relay_and_no_transfer_stops_when_it_moves_there() {
    let lab = Lab::up(TOPOLOGY).unwrap();
    let elsewhere = format!("[{{ name = \"relay-2\", addresses = [\"{NEAR}\"] }}]");
    let fleet = Fleet::start_with(lab, &[("LANYARD_SERVER_RELAY_ELSEWHERE", &elsewhere)]).unwrap();
    let _relay = Relay::start(&fleet);
    let agents: Vec<Agent> = ["a", "b", "c", "d"].map(|host| fleet.join(host).unwrap()).into();
    let pairs: Vec<(&Agent, &Agent)> = (0..agents.len())
        .flat_map(|first| (first + 1..agents.len()).map(move |second| (first, second)))
        .map(|(first, second)| (&agents[first], &agents[second]))
        .collect();
    wait_for("members that see each other", Duration::from_secs(10), || {
        let sees = |(a, b): &(&Agent, &Agent)| a.peer(&b.host).is_ok_and(|peer| peer["online"] == true);
        pairs.iter().all(sees).then_some(())
    })
    .unwrap();
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
