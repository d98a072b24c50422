//! A first evening: set up in a browser, real devices behind real NATs, looked after in the panel.
//!
//! The browser runs in the coordinator's namespace and is driven by `web/browser/real/evening.mjs`, which asks for what happens outside.
//! `LANYARD_WITHOUT_PANEL=1` leaves it out, as `make` leaves the panel out then.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::fs::{OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanyard_netns::fleet::output_of;
use lanyard_netns::pair::{Traffic, ping, see_each_other};
use lanyard_netns::{Agent, Fleet, Lab, wait_for};
use serde_json::Value;

/// Nothing by UDP between the two sites, in the router of `a`.
const CUT: &str = "table ip far { chain forward { type filter hook forward priority -10; \
    ip daddr 198.51.100.16/29 meta l4proto udp drop; ip saddr 198.51.100.16/29 meta l4proto udp drop; }; }";

/// How long after the removal was taken a packet may still pass.
const CUT_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn an_administrator_sets_up_invites_approves_sees_why_and_removes() {
    if is_without_panel() {
        return;
    }
    let fleet = Fleet::start(Lab::up("port-restricted:port-restricted").unwrap()).unwrap();
    let mut browser =
        script(&fleet, "evening.mjs").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = browser.stdin.take().unwrap();
    let mut evening = Evening { fleet: &fleet, agents: Vec::new(), traffic: None, echoes: None };
    for line in BufReader::new(browser.stdout.take().unwrap()).lines() {
        evening.hear(&serde_json::from_str(&line.unwrap()).unwrap());
        writeln!(answers, "done").unwrap();
    }
    assert!(browser.wait().unwrap().success(), "what the browser says is above\n{}", fleet.log("server"));
    assert_eq!(evening.agents.len(), 2, "both devices were asked for");
    assert!(evening.echoes.is_none(), "the removal was seen");
}

/// A program beside the coordinator that drives a browser, with a one-time link.
fn script(fleet: &Fleet, name: &str) -> Command {
    let said: Value = serde_json::from_str(&fleet.admin(&["setup-link", "--json"]).unwrap()).unwrap();
    let mut command = fleet.lab.command("s", "node");
    command.arg(format!("browser/real/{name}")).arg(said["setup"]["link"].as_str().unwrap());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web"));
    command
}

fn is_without_panel() -> bool {
    let is_without = std::env::var_os("LANYARD_WITHOUT_PANEL").is_some_and(|value| !value.is_empty());
    if is_without {
        println!("SKIPPED: LANYARD_WITHOUT_PANEL is set");
    }
    is_without
}

/// What the browser calls a server on its own machine.
const HERE: &str = "http://localhost:8080";

/// A provider beside the server, on loopback: what of it the settings say.
const PROVIDER: &str = "\n[[oidc]]\nid = \"team\"\nname = \"Example Ltd.\"\nissuer = \"http://localhost:9000\"\n\
    client_id = \"lanyard\"\nclient_secret_file = \"team.secret\"\ncreate_users = true\ngroups_claim = \"groups\"\n\
    [[oidc.roles]]\ngroup = \"staff\"\nnetwork = \"home\"\nrole = \"member\"\n";

#[test]
fn people_come_in_by_password_app_recovery_code_passkey_and_provider() {
    if is_without_panel() {
        return;
    }
    // A passkey belongs to a name, and a browser trusts localhost without TLS.
    let here = [("LANYARD_SERVER_WEB_URL", HERE), ("LANYARD_SERVER_WEB_LISTEN", "127.0.0.1:8080")];
    let mut fleet = Fleet::start_with(Lab::up("open").unwrap(), &here).unwrap();
    let (dir, secret) = (fleet.directory().join("server"), "not-a-secret-of-anybody");
    std::fs::write(dir.join("team.secret"), secret).unwrap();
    std::fs::set_permissions(dir.join("team.secret"), Permissions::from_mode(0o600)).unwrap();
    let mut settings = OpenOptions::new().append(true).open(dir.join("lanyard-server.toml")).unwrap();
    settings.write_all(PROVIDER.as_bytes()).unwrap();
    fleet.stop_coordinator().unwrap();
    fleet.start_coordinator().unwrap();
    let done = script(&fleet, "ways-in.mjs").args([HERE, "http://localhost:9000", secret]).status().unwrap();
    assert!(done.success(), "what the browser says is above\n{}", fleet.log("server"));
}

/// What happens outside the browser.
struct Evening<'a> {
    fleet: &'a Fleet,
    agents: Vec<Agent>,
    traffic: Option<Traffic>,
    /// Echoes whose arrivals are written down.
    echoes: Option<Child>,
}

impl Evening<'_> {
    fn hear(&mut self, line: &Value) {
        match line["want"].as_str().unwrap() {
            "join" => self.join(line["host"].as_str().unwrap(), line["join"].as_str().unwrap()),
            "ping" => self.ping(),
            "cut" => {
                let nft = self.fleet.lab.command("ra", "nft").arg(CUT).status().unwrap();
                assert!(nft.success());
            }
            "removed" => self.removed(),
            other => unreachable!("the browser wants {other}"),
        }
    }

    fn join(&mut self, host: &str, join: &str) {
        let agent = self.fleet.agent(host).unwrap();
        agent.run(&["join", join, "--name", host]).unwrap_or_else(|error| {
            // It waits for approval, which is told by its exit code.
            assert!(format!("{error:#}").contains("waiting for an administrator"), "{error:#}");
            String::new()
        });
        self.agents.push(agent);
    }

    fn ping(&mut self) {
        let [a, b] = &self.agents[..] else { unreachable!("both have joined") };
        see_each_other(a, b).unwrap();
        println!("first echo after {:?}", ping(a, b, Duration::from_secs(20)).unwrap());
        self.traffic = Some(Traffic::start(a, b).unwrap());
        wait_for("a direct path", Duration::from_secs(20), || {
            a.path_to("b").filter(|path| path.contains("direct"))
        })
        .unwrap();
        let echoes = self
            .fleet
            .lab
            .command("a", "ping")
            .args(["-n", "-D", "-i", "0.05", "-w", "240", &b.address().unwrap().to_string()])
            .stdout(Stdio::piped())
            .spawn();
        self.echoes = Some(echoes.unwrap());
    }

    /// The server has taken the removal: from now on nothing may pass for long.
    fn removed(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        thread::sleep(CUT_WITHIN + Duration::from_secs(2));
        let mut echoes = self.echoes.take().unwrap();
        echoes.kill().unwrap();
        let heard = echoes.wait_with_output().unwrap();
        let heard = String::from_utf8(heard.stdout).unwrap();
        let stamp = |line: &str| line.strip_prefix('[')?.split(']').next()?.parse::<f64>().ok();
        let last = heard.lines().filter(|line| line.contains("bytes from")).filter_map(stamp).next_back();
        let late = last.unwrap() - now.as_secs_f64();
        println!("the last echo came {late:.3} s after the removal was taken");
        assert!(late < CUT_WITHIN.as_secs_f64(), "it came {late:.3} s after");
        let left =
            output_of(self.agents[1].command().unwrap().args(["status", "--json"])).unwrap_or_default();
        assert!(!left.contains("\"active\""), "{left}");
        drop(self.traffic.take());
    }
}
