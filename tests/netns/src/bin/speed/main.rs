//! `make bench`, the data plane: the real agent beside other programs, in the same run on the same wire.
//!
//! Its options are those of [`USAGE`]; docs/performance.md has the method and what came out.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]

mod figures;
mod flood;
mod flow;
mod peer;
mod tunnel;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lanyard_netns::bed::{Bed, Link};
use lanyard_netns::bench::{links, machine, main_of};
use lanyard_netns::interrupts;
use lanyard_netns::team::Team;
use serde_json::{Value, json};

use self::figures::{Round, Rounds};
use self::flow::{Listener, Way};
use self::peer::Peer;
use self::tunnel::Tunnel;

/// What `--help` says.
const USAGE: &str = "\
Measures the data plane of lanyard beside other programs. Needs root.

usage: speed [OPTIONS]

  --rounds N      every program N times, in turn (5)
  --seconds N     how long each stream flows (2)
  --only A,B      of: bare, lanyard, lanyard-plain, wireguard-go, boringtun-cli, wireguard-go-new
  --link KIND     veth, nic-like or both (both)
  --json          results as JSON on standard output, the tables on standard error

WIREGUARD_GO, BORINGTUN and WIREGUARD_GO_NEW lead to programs that are not on PATH, LANYARD_PLAIN to the folder of a
lanyard that does not encrypt (make speed builds it).
";

/// What the agents log by default, tests want more; and this is where a build without encryption may run.
const AGENTS: [(&str, &str); 2] = [("LANYARD_LOG", "info"), ("LANYARD_UNENCRYPTED", "bench")];

/// What was asked for.
#[derive(Debug)]
struct Options {
    rounds: usize,
    seconds: u32,
    only: Vec<String>,
    links: Vec<Link>,
    is_json: bool,
}

fn main() -> ExitCode {
    main_of("speed", USAGE, run)
}

fn run() -> Result<ExitCode> {
    let options = parse(std::env::args().skip(1))?;
    interrupts::watch()?;
    let peers = peer::find(&options.only, |line| eprintln!("{line}"))?;
    let mut failures = 0;
    let mut results: Vec<(Link, Rounds)> = Vec::new();
    for link in &options.links {
        let rounds = measure(*link, &peers, &options, &mut failures)?;
        results.push((*link, rounds));
    }
    for (link, rounds) in &results {
        let table = rounds.table(&peers);
        let text = format!("\n{}, medians of {} rounds\n\n{table}", link.name(), options.rounds);
        if options.is_json { eprintln!("{text}") } else { println!("{text}") }
    }
    if options.is_json {
        println!("{:#}", to_json(&options, &peers, &results));
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(options: &Options, peers: &[Peer], results: &[(Link, Rounds)]) -> Value {
    let links: serde_json::Map<String, Value> =
        results.iter().map(|(link, rounds)| (link.name().to_owned(), rounds.to_json(peers))).collect();
    let versions: serde_json::Map<String, Value> =
        peers.iter().map(|peer| (peer.name.to_owned(), json!(peer.version))).collect();
    json!({
        "seconds": options.seconds,
        "machine": machine(),
        "versions": versions,
        "links": links,
    })
}

/// All rounds on one kind of wire. A program that fails has no figures in that round.
fn measure(link: Link, peers: &[Peer], options: &Options, failures: &mut usize) -> Result<Rounds> {
    let bed = Bed::make(link)?;
    let mut team = Team::make(&bed, &[], &AGENTS).context("join two agents")?;
    let mut rounds = Rounds::default();
    for number in 0..options.rounds {
        for peer in peers {
            match measure_one(&bed, peer, &mut team, options) {
                Ok(round) => {
                    let figure = |name| round.get(name).copied().unwrap_or(f64::NAN);
                    eprintln!(
                        "{} round {}: {:<16} {:>6.2} Gbit/s, {:>6.1} thousand/s",
                        link.name(),
                        number + 1,
                        peer.name,
                        figure("tcp1_gbps"),
                        figure("udp128_kpps"),
                    );
                    rounds.add(number, peer.name, round);
                }
                Err(error) => {
                    ensure!(!interrupts::came(), "interrupted");
                    *failures += 1;
                    eprintln!("{} round {}: {} FAILED: {error:#}", link.name(), number + 1, peer.name);
                }
            }
        }
    }
    Ok(rounds)
}

/// All figures of one program, once.
fn measure_one(bed: &Bed, peer: &Peer, team: &mut Team, options: &Options) -> Result<Round> {
    let seconds = options.seconds;
    let tunnel = Tunnel::start(bed, peer, team)?;
    let far = tunnel.far;
    let listener = Listener::start(bed)?;
    let mut round = Round::new();
    let is_tunnel = !tunnel.processes.is_empty();
    if is_tunnel {
        round.insert("first_packet_ms", tunnel.first_packet.as_secs_f64() * 1e3);
    }
    let idle = flow::ping(bed, far, seconds)?;
    let before = tunnel.cpu_time()?;
    let carried = flow::tcp(bed, far, 1, Way::There, seconds)?;
    let spent = tunnel.cpu_time()?.saturating_sub(before);
    round.insert("tcp1_gbps", carried.rate_bps / 1e9);
    if is_tunnel {
        round.insert("cpu_s_per_gb", spent.as_secs_f64() / (carried.bytes / 1e9));
    }
    for (name, streams, way) in
        [("tcp1_back_gbps", 1, Way::Back), ("tcp4_gbps", 4, Way::There), ("tcp4_back_gbps", 4, Way::Back)]
    {
        ensure!(!interrupts::came(), "interrupted");
        round.insert(name, flow::tcp(bed, far, streams, way, seconds)?.rate_bps / 1e9);
    }
    let loaded = flow::ping_loaded(bed, &listener, far, seconds)?;
    for (trips, [p50, p99, lost]) in [
        (&idle, ["ping_p50_ms", "ping_p99_ms", "ping_lost"]),
        (&loaded, ["loaded_p50_ms", "loaded_p99_ms", "loaded_lost"]),
    ] {
        round.extend(trips.quantile(0.5).map(|value| (p50, value)));
        round.extend(trips.quantile(0.99).map(|value| (p99, value)));
        round.insert(lost, f64::from(u32::try_from(trips.lost)?));
    }
    ensure!(!interrupts::came(), "interrupted");
    let each = Duration::from_millis(u64::from(seconds) * 250).min(Duration::from_secs(1));
    let rate = flood::highest_rate(bed, far, each)?;
    round.insert("udp128_kpps", f64::from(u32::try_from(rate)?) / 1e3);
    if is_tunnel {
        let bytes = u32::try_from(tunnel.peak_memory()? / 1_024)?;
        round.insert("peak_mb", f64::from(bytes) * 1_024.0 / 1e6);
    }
    Ok(round)
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options =
        Options { rounds: 5, seconds: 2, only: Vec::new(), links: Link::ALL.to_vec(), is_json: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse::<usize>().context("--rounds")?.max(1),
            "--seconds" => options.seconds = value()?.parse::<u32>().context("--seconds")?.max(1),
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--link" => options.links = links(&value()?)?,
            "--json" => options.is_json = true,
            _ => bail!("there is no option {argument}"),
        }
    }
    Ok(options)
}
