//! `make run`: a coordinator and two devices behind two different NATs, joined with one string.
//!
//! Shows the state of both ends, pings and a file's worth of TCP across, says how a further device joins, and stays
//! up until Ctrl-C. With `LANYARD_RUN_ONCE=1` it leaves as soon as every check has passed, and fails with the reason
//! if one has not. Nothing stays behind.
#![allow(clippy::print_stdout, reason = "telling what happens is what this program is for")]

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lanyard_netns::fleet::{NETWORK, SERVER, program};
use lanyard_netns::{Agent, Fleet, Lab, Transfer, connect, wait_for};

/// Two homes: one router keeps ports and filters by address and port, the other gives out ports of its own.
const TOPOLOGY: &str = r#"
[server.s]
addrs = 2

[site.ra]
nat = "port-restricted"
delay = 10
hosts = ["laptop"]

[site.rb]
nat = "remapped"
delay = 15
hosts = ["nas"]
"#;

/// How long the file's worth of TCP flows.
const TRANSFER: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let once = std::env::var_os("LANYARD_RUN_ONCE").is_some_and(|value| value == "1");
    match demo(once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe demonstration failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(once: bool) -> Result<()> {
    say("a miniature internet: laptop behind a port-restricted NAT, nas behind one that changes ports");
    let fleet = Fleet::start(Lab::up(TOPOLOGY)?)?;
    println!("    coordinator   http://{}:8080/   (network \"{NETWORK}\")", SERVER[0]);
    println!("    join string   {}", fleet.join_string);

    say("both devices join with that one string");
    let laptop = fleet.join("laptop")?;
    let nas = fleet.join("nas")?;

    say("laptop speaks to nas: relayed at once, direct as soon as the path is proven");
    let outcome =
        connect(&laptop, &nas).with_context(|| format!("{}\n{}", fleet.log("laptop"), fleet.log("nas")))?;
    println!("    first reply after {} ms", outcome.first_reply.as_millis());
    let direct =
        outcome.direct_after.context("the pair stayed on the relay, though both NATs can be punched")?;
    println!("    direct after      {} ms", direct.as_millis());

    let received = file_across(&laptop, &nas)?;
    println!("    {:.1} MB of TCP in {:.1} s, every byte as it was sent", megabytes(received.0), received.1);

    for agent in [&laptop, &nas] {
        say(&format!("lanyard status on {}", agent.host));
        print!("{}", indented(&agent.run(&["status"])?));
    }
    say("lanyard ping nas on laptop");
    print!("{}", indented(&laptop.run(&["ping", "nas", "-c", "3"])?));

    if once {
        say("every check passed");
        return Ok(());
    }
    stay(&fleet)
}

/// Sends a file's worth of bytes through the tunnel; returns how many, and the seconds it took.
fn file_across(from: &Agent, to: &Agent) -> Result<(u64, f64)> {
    say("a file's worth of TCP from laptop to nas");
    let transfer = Transfer::start(from.namespace(), to.namespace(), to.address()?, 0)?;
    let begun = Instant::now();
    wait_for("the end of the transfer", TRANSFER + Duration::from_secs(1), || {
        (begun.elapsed() >= TRANSFER || !transfer.is_alive()).then_some(())
    })?;
    let received = transfer.finish()?;
    ensure!(received.bytes > 1_000_000, "only {} bytes went across", received.bytes);
    Ok((received.bytes, received.took.as_secs_f64()))
}

/// Lets this machine reach the miniature internet, says what to type, and waits for Ctrl-C.
fn stay(fleet: &Fleet) -> Result<()> {
    let _link = HostLink::up(&fleet.lab)?;
    say("all of it stays up until Ctrl-C");
    println!(
        "    this machine is now on that internet too. To join it as a third, real device, type elsewhere:"
    );
    println!("        sudo {} up", program("lanyard")?.display());
    println!("        sudo {} join '{}' --name guest", program("lanyard")?.display(), fleet.join_string);
    println!("    (before Ctrl-C: sudo {} down)", program("lanyard")?.display());
    println!("    for devices anywhere else, run the coordinator where they can reach it:");
    println!("        lanyard-server init --public YOUR-ADDRESS && lanyard-server serve");
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    })?;
    say("taking everything down");
    Ok(())
}

/// A link between this machine's own network and the core of the lab; dropping it removes it.
struct HostLink;

impl HostLink {
    const NAME: &str = "lanyarddemo";

    fn up(lab: &Lab) -> Result<Self> {
        let core = lab.namespace("inet");
        // Benchmarking addresses (RFC 2544), which no real network routes.
        for words in [
            format!("link add {} type veth peer name demo netns {core}", Self::NAME),
            format!("-n {core} addr add 198.18.0.1/30 dev demo"),
            format!("-n {core} link set demo up"),
            format!("addr add 198.18.0.2/30 dev {}", Self::NAME),
            format!("link set {} up", Self::NAME),
            format!("route add 203.0.113.0/24 via 198.18.0.1 dev {}", Self::NAME),
            format!("route add 198.51.100.0/24 via 198.18.0.1 dev {}", Self::NAME),
        ] {
            let status = Command::new("ip").args(words.split(' ')).status()?;
            ensure!(status.success(), "ip {words} failed");
        }
        Ok(Self)
    }
}

impl Drop for HostLink {
    fn drop(&mut self) {
        // Gone already when the lab went first: its end of the pair takes this one along.
        let _ = Command::new("ip").args(["link", "del", Self::NAME]).status();
    }
}

fn say(what: &str) {
    println!("\n==> {what}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people, with one digit after the point")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
