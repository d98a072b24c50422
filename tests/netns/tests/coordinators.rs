//! One device on the networks of two coordinators that know nothing of each other.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lanyard_netns::fleet::program;
use lanyard_netns::{Agent, Fleet, Lab, Transfer, connect, wait_for};
use serde_json::Value;

/// A coordinator of somebody else on the same machine: other ports, another network.
struct Other(Child);

impl Other {
    /// Starts it in `dir` and gives a join string for two devices.
    fn start(fleet: &Fleet, dir: &Path) -> (Self, String) {
        let server = || {
            let mut command = fleet.lab.command("s", program("lanyard-server").unwrap());
            command.arg("--dir").arg(dir);
            command
        };
        let init = ["init", "--public", "203.0.113.1", "--network", "office"];
        assert!(server().args(init).stdout(Stdio::null()).status().unwrap().success());
        let settings = "[control]\nlisten = [\"0.0.0.0:7444\"]\n[stun]\nports = [3488, 3489]\n\
            [web]\nlisten = \"0.0.0.0:8081\"\n";
        let file = File::options().append(true).open(dir.join("lanyard-server.toml"));
        file.unwrap().write_all(settings.as_bytes()).unwrap();
        let invite = server().args(["-j", "invite", "add", "office", "--uses", "2"]).output().unwrap();
        let invite: Value = serde_json::from_slice(&invite.stdout).unwrap();
        let log = File::create(dir.with_extension("log")).unwrap();
        let child = server().arg("serve").stdin(Stdio::null()).stderr(log).spawn().unwrap();
        wait_for("the other coordinator", Duration::from_secs(10), || {
            server().arg("health").output().unwrap().status.success().then_some(())
        })
        .unwrap();
        (Self(child), invite["invite"]["join"].as_str().unwrap().to_owned())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn answers(agent: &Agent, peer: &str) {
    agent.run(&["ping", peer, "-c", "2"]).unwrap_or_else(|error| panic!("{peer}: {error:#}"));
}

/// Both ends join the other coordinator's network, too, and see each other there.
fn join_too(agents: [&Agent; 2], string: &str) {
    for agent in agents {
        agent.run(&["join", string, "--name", &agent.host]).unwrap();
    }
    wait_for("both networks", Duration::from_secs(5), || {
        let sees_both = |agent: &Agent| {
            let status = agent.json(&["status"]).ok()?;
            let networks = status["networks"].as_array()?;
            let is_full = |network: &Value| network["members"].as_array().is_some_and(|all| all.len() == 1);
            (networks.len() == 2 && networks.iter().all(is_full)).then_some(())
        };
        agents.into_iter().try_for_each(sees_both)
    })
    .unwrap();
}

#[test]
fn a_coordinator_that_is_told_to_end_sends_relayed_pairs_to_the_other_one_first() {
    let mut fleet = Fleet::start(Lab::up("symmetric:symmetric").unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    assert_eq!(connect(&a, &b).unwrap().path, "relay");
    let relay = |agent: &Agent, peer| agent.peer(peer).unwrap()["path"]["relay"].as_str().unwrap().to_owned();
    let old = relay(&a, "b");
    let transfer = Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), 1_000_000).unwrap();
    let (_other, string) = Other::start(&fleet, &fleet.directory().join("other"));
    join_too([&a, &b], &string);

    let begun = Instant::now();
    fleet.stop_coordinator().unwrap();
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(8),
        "it ends when the pair has moved, not when its time is over: {took:?}"
    );
    wait_for("the pair at the other relay", Duration::from_secs(1), || {
        (relay(&a, "b") != old && relay(&b, "a") != old).then_some(())
    })
    .unwrap();
    let received = transfer.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.log("server")));
    assert!(received.longest_stall < Duration::from_secs(1), "{received:?}");
}

#[test]
fn a_pair_on_two_networks_of_two_coordinators_outlives_either_of_them() {
    let mut fleet = Fleet::start(Lab::up("port-restricted:remapped").unwrap()).unwrap();
    let (other, string) = Other::start(&fleet, &fleet.directory().join("other"));
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    join_too([&a, &b], &string);
    answers(&a, "b.home");
    answers(&a, "b.office");

    fleet.kill_coordinator();
    answers(&b, "a.home");
    answers(&b, "a.office");
    // Leaving one network takes nothing from the other.
    a.run(&["leave", "office"]).unwrap();
    answers(&b, "a.home");
    drop(other);
    answers(&a, "b.home");
}
