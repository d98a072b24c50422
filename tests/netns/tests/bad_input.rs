//! What goes wrong on people's machines: each case ends with a sentence that says what to do, and loses nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lanyard_netns::fleet::program;
use lanyard_netns::pair::{first_ping, see_each_other};
use lanyard_netns::{Agent, Fleet, Lab, connect, wait_for};

/// The user `nobody` of every Unix.
const NOBODY: &str = "65534";

/// Runs a command that has to fail with `exit`, and checks that it says each of `words` and no panic.
fn refused(mut command: Command, exit: i32, words: &[&str]) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = told(&done);
    assert_eq!(done.status.code(), Some(exit), "{command:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{command:?} does not say {word:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn told(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

fn verb(agent: &Agent, words: &[&str]) -> Command {
    let mut command = agent.command().unwrap();
    command.args(words);
    command
}

/// A daemon in the agent's namespace with a state directory of its own.
fn daemon(agent: &Agent, wrapper: &[&str], state: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", agent.namespace()]).args(wrapper).arg(program("lanyard").unwrap());
    command.env("LANYARD_CONFIG", "/dev/null").env("LANYARD_STATE", state);
    command.env("LANYARD_SOCKET", state.join("lanyard.sock"));
    command.arg("daemon");
    command
}

#[test]
fn a_join_that_cannot_be_says_why() {
    let fleet = Fleet::start(Lab::up("open:open").unwrap()).unwrap();
    let agent = fleet.agent("a").unwrap();
    let string = &fleet.join_string;
    refused(verb(&agent, &["join", "my network"]), 2, &["lanyard://", "(join."]);
    let truncated = &string[..string.len() - 5];
    refused(verb(&agent, &["join", truncated]), 2, &["(join."]);
    // Another server's key: a coordinator that does not have it stays silent, and nothing is disclosed to it.
    let (front, _) = string.split_once("#p=").unwrap();
    let other = format!("{front}#p=Gt8HPUrYhgkUPu1iq40BsoTrjV9SovfBJqpsGGythGQ");
    refused(verb(&agent, &["join", &other]), 1, &["key", "(join.no_answer)"]);
    let (front, rest) = string.split_once("?invite=").unwrap();
    let wrong = format!("{front}?invite=AAAA-AAAA#{}", rest.split_once('#').unwrap().1);
    refused(verb(&agent, &["join", &wrong]), 7, &["invite"]);
    agent.run(&["join", string, "--name", "a"]).unwrap();
    refused(verb(&agent, &["ping", "nobody", "-c", "1"]), 1, &["nobody", "("]);

    // By the network's password, without an invite.
    let file = fleet.directory().join("password");
    std::fs::write(&file, "three birds\n").unwrap();
    let file = file.to_str().unwrap();
    fleet.admin(&["network", "set", "home", "--join", "password", "--password-file", file]).unwrap();
    let plain = format!("{front}#{}", rest.split_once('#').unwrap().1);
    let other = fleet.agent("b").unwrap();
    refused(verb(&other, &["join", &plain, "--name", "b"]), 7, &["--password", "(join.wrong_password)"]);
    let by_password = |typed: &str| {
        let mut asked = verb(&other, &["join", &plain, "--name", "b", "--password"]);
        let mut asked =
            asked.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        asked.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        asked.wait_with_output().unwrap()
    };
    let wrong = by_password("two birds\n");
    assert!(told(&wrong).contains("(join.wrong_password)"), "{}", told(&wrong));
    let right = by_password("three birds\n");
    assert!(right.status.success(), "{}", told(&right));
    assert!(!fleet.log("server").contains("birds") && !fleet.log("b").contains("birds"), "no log has it");
}

#[test]
fn a_daemon_that_cannot_start_says_what_to_do() {
    let fleet = Fleet::start(Lab::up("open:open").unwrap()).unwrap();
    let agent = fleet.join("a").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    refused(verb(&agent, &["daemon"]), 1, &["another agent", "(agent.already_running)"]);
    refused(daemon(&agent, &[], &elsewhere.path().join("second")), 1, &["--tun", "(tun.busy)"]);
    let without_tun =
        &["unshare", "--mount", "sh", "-c", "mount --bind /dev/null /dev/net/tun && exec \"$0\" daemon"];
    let other = fleet.agent("b").unwrap();
    let mut other = other;
    other.kill();
    refused(daemon(&other, without_tun, &elsewhere.path().join("third")), 1, &["(tun."]);
    let own = elsewhere.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(elsewhere.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&own, NOBODY.parse().ok(), NOBODY.parse().ok()).unwrap();
    let as_nobody = &["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
    refused(daemon(&other, as_nobody, &own), 1, &["root", "CAP_NET_ADMIN", "(tun.denied)"]);
}

#[test]
fn a_truncated_state_file_is_kept_and_named() {
    let fleet = Fleet::start(Lab::up("open:open").unwrap()).unwrap();
    let mut agent = fleet.join("a").unwrap();
    agent.kill();
    let file = fleet.directory().join("a/state.json");
    let whole = std::fs::read(&file).unwrap();
    let half = &whole[..whole.len() / 2];
    std::fs::write(&file, half).unwrap();
    refused(verb(&agent, &["daemon"]), 1, &["state.json", "--set-aside", "(state.corrupt)"]);
    assert_eq!(std::fs::read(&file).unwrap(), half, "the file was touched");
    std::fs::write(&file, &whole).unwrap();
    agent.start().unwrap();
    wait_for("the membership", Duration::from_secs(5), || agent.address().ok()).unwrap();
}

#[test]
fn noise_on_every_port_disturbs_nothing() {
    let fleet = Fleet::start(Lab::up("open:open").unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    assert_eq!(connect(&a, &b).unwrap().path, "direct");
    let port = a.json(&["whoami"]).unwrap()["port"].as_u64().or_else(|| port_of(&a)).unwrap();
    let site = fleet.lab.command("a", "hostname").arg("-I").output().unwrap();
    let address = told(&site).split_whitespace().next().unwrap().to_owned();
    // 20,000 datagrams of every first byte and many lengths, half of them to each program.
    let script = "import os, socket, sys\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        for i in range(10000):\n\
        \x20   for host, port in ((sys.argv[1], int(sys.argv[2])), ('203.0.113.1', 7443)):\n\
        \x20       s.sendto(bytes([i % 256]) + os.urandom(i * 7 % 1400), (host, port))\n";
    let noise =
        fleet.lab.command("b", "python3").args(["-c", script, &address, &port.to_string()]).status().unwrap();
    assert!(noise.success());
    first_ping(&a, &b).unwrap();
    fleet.admin(&["health"]).unwrap();
    for who in ["a", "b", "server"] {
        assert!(!fleet.log(who).contains("panicked"), "{}", fleet.log(who));
    }
}

fn port_of(agent: &Agent) -> Option<u64> {
    agent.json(&["status"]).ok()?["device"]["port"].as_u64()
}

#[test]
fn a_lan_with_the_prefix_of_the_network_is_told_and_the_lan_stays_reachable() {
    let fleet = Fleet::start(Lab::up("open:open").unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    see_each_other(&a, &b).unwrap();
    let status = a.json(&["status"]).unwrap();
    let prefix = status["networks"][0]["prefix4"].as_str().unwrap().to_owned();
    let lan = prefix.replace(".0/22", ".77/22");
    let links = ["link add lan0 type veth peer name lan1", "link set lan0 up", "link set lan1 up"];
    for words in links.map(str::to_owned).into_iter().chain([format!("addr add {lan} dev lan0")]) {
        assert!(fleet.lab.command("a", "ip").args(words.split(' ')).status().unwrap().success(), "{words}");
    }
    let clash = wait_for("the clash", Duration::from_secs(5), || {
        let status = a.json(&["status"]).ok()?;
        status["networks"][0]["clash"].as_str().map(str::to_owned)
    });
    assert!(clash.unwrap().contains("a LAN of this computer"));
    let said = a.run(&["status"]).unwrap();
    assert!(said.contains("IPv4 is off"), "{said}");
    let routes = told(&fleet.lab.command("a", "ip").args(["route", "show", &prefix]).output().unwrap());
    assert!(routes.contains("lan0") && !routes.contains("lanyard0"), "{routes}");
}
