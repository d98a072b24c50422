//! `make crowd`: one agent, the hub, with many peers: what it forwards for them, how evenly, and what they cost while idle.
//!
//! Its options are those of [`USAGE`]; docs/performance.md has the method and what came out.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]

mod bed;
mod cores;
mod figures;
mod flows;
mod members;
mod team;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lanyard_netns::bench::{machine, main_of};
use lanyard_netns::interrupts;
use lanyard_netns::process::cpu_time;
use serde_json::json;

use self::bed::{Bed, ENDS_MAX};
use self::cores::Cores;
use self::figures::{FIGURES, Round, Rounds};
use self::flows::{Carried, Way, to_f64};
use self::team::Team;

/// What `--help` says.
const USAGE: &str = "\
Measures one agent with many peers. Needs root.

usage: crowd [OPTIONS]

  --known N       members that the hub knows (1000)
  --active N      of them real agents that send at the same time (50)
  --rounds N      each measurement N times (3)
  --seconds N     how long streams are counted, in two parts (10)
  --idle N        how long the hub's processor time is counted while nothing happens (60)
  --json          results as JSON on standard output, the table on standard error
";

/// One stream alone (0) and all of them (1): what changes slowly on the machine meanwhile meets both alike.
const ORDER: [usize; 4] = [0, 1, 1, 0];

/// How long nothing has been said when idling begins to count.
const QUIET: Duration = Duration::from_secs(10);

/// What was asked for.
#[derive(Debug)]
struct Options {
    known: u16,
    active: u16,
    rounds: usize,
    seconds: u32,
    idle: u32,
    is_json: bool,
}

fn main() -> ExitCode {
    main_of("crowd", USAGE, run)
}

fn run() -> Result<ExitCode> {
    let options = parse(std::env::args().skip(1))?;
    interrupts::watch()?;
    let bed = Bed::make(usize::from(options.active))?;
    // Before anybody is started: programs have the cores of those that start them.
    let cores = Cores::leave_the_first()?;
    let (team, memory) = Team::make(&bed, options.known, options.active)?;
    eprintln!("{} members known, {} of them agents", options.known, options.active);
    let mut rounds = Rounds::default();
    for number in 0..options.rounds {
        let mut round = measure((&bed, cores.as_ref()), &team, number, &options)?;
        round.extend(memory.iter().map(|(name, value)| (*name, *value)));
        let figure = |name| round.get(name).copied().unwrap_or(f64::NAN);
        eprintln!(
            "round {}: one {:.2} Gbit/s, all {:.2}, fairness {:.3}, idle {:.3} %",
            number + 1,
            figure("one_gbps"),
            figure("all_gbps"),
            figure("fairness"),
            figure("idle_percent"),
        );
        rounds.add(round);
    }
    let text = format!(
        "\n{} known, {} active, medians of {} rounds\n\n{}",
        options.known,
        options.active,
        options.rounds,
        rounds.table()
    );
    if options.is_json {
        eprintln!("{text}");
        let medians: serde_json::Map<_, _> = FIGURES
            .iter()
            .filter_map(|figure| Some((figure.name.to_owned(), json!(rounds.median(figure.name)?))))
            .collect();
        let report = json!({
            "known": options.known,
            "active": options.active,
            "seconds": options.seconds,
            "cores_of_the_others": cores.map(|cores| cores.others()),
            "machine": machine(),
            "medians": medians,
            "rounds": rounds.all(),
        });
        println!("{report:#}");
    } else {
        println!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

/// All figures of one round.
fn measure(
    (bed, cores): (&Bed, Option<&Cores>),
    team: &Team,
    number: usize,
    options: &Options,
) -> Result<Round> {
    let ends: Vec<&str> = (0..usize::from(options.active)).map(|end| bed.end(end)).collect();
    let alone = ends.get(number % ends.len()..).unwrap_or_default().get(..1).unwrap_or_default();
    let hub = (bed.hub(), team.address);
    let process = team.hub_process()?;
    if let Some(cores) = cores {
        cores.give_the_first(process)?;
    }
    team.wait_until_direct(bed)?;
    let mut round = Round::new();
    for (way, [one, all, ratio, fairness], costs) in [
        (
            Way::ToHub,
            ["one_gbps", "all_gbps", "ratio", "fairness"],
            Some(["one_cpu_s_per_gb", "all_cpu_s_per_gb"]),
        ),
        (Way::FromHub, ["one_back_gbps", "all_back_gbps", "back_ratio", "back_fairness"], None),
    ] {
        let mut carried = [Carried::nothing(alone.len()), Carried::nothing(ends.len())];
        let mut spent = [Duration::ZERO; 2];
        for at in ORDER {
            ensure!(!interrupts::came(), "interrupted");
            let mut clocks = Vec::new();
            let ends = if at == 0 { alone } else { &ends };
            let now = flows::run(hub, ends, way, options.seconds.div_ceil(2), || {
                clocks.push(cpu_time(process)?);
                Ok(())
            })?;
            carried[at].add(&now);
            if let [before, after] = clocks.as_slice() {
                spent[at] += after.saturating_sub(*before);
            }
        }
        for (at, carried) in carried.iter().enumerate() {
            *round.entry("left_out_s").or_default() += f64::from(carried.left_out);
            if let Some(costs) = costs {
                round.insert(costs[at], spent[at].as_secs_f64() / (to_f64(carried.whole) / 1e9));
            }
        }
        let [one_bps, all_bps] = carried.each_ref().map(Carried::rate_bps);
        round.extend([(one, one_bps / 1e9), (all, all_bps / 1e9), (ratio, all_bps / one_bps)]);
        if ends.len() > 1 {
            round.insert(fairness, carried[1].fairness());
        }
    }
    if options.idle > 0 {
        if let Some(cores) = cores {
            cores.give_all(process)?;
        }
        sleep(QUIET)?;
        let before = cpu_time(process)?;
        sleep(Duration::from_secs(u64::from(options.idle)))?;
        let spent = cpu_time(process)?.saturating_sub(before);
        round.insert("idle_percent", spent.as_secs_f64() / f64::from(options.idle) * 100.0);
    }
    Ok(round)
}

/// Sleeps, and ends early with an error when interrupted.
fn sleep(mut time: Duration) -> Result<()> {
    while !time.is_zero() {
        ensure!(!interrupts::came(), "interrupted");
        let piece = time.min(Duration::from_millis(500));
        thread::sleep(piece);
        time -= piece;
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { known: 1_000, active: 50, rounds: 3, seconds: 10, idle: 60, is_json: false };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let text = arguments.next().with_context(|| format!("{argument} needs a value"))?;
            text.parse::<u16>().with_context(|| argument.clone())
        };
        match argument.as_str() {
            "--known" => options.known = value()?,
            "--active" => options.active = value()?,
            "--rounds" => options.rounds = usize::from(value()?.max(1)),
            "--seconds" => options.seconds = value()?.max(1).into(),
            "--idle" => options.idle = value()?.into(),
            "--json" => options.is_json = true,
            _ => bail!("there is no option {argument}"),
        }
    }
    let few = team::FEW;
    ensure!((1..=ENDS_MAX).contains(&usize::from(options.active)), "--active is from 1 to {ENDS_MAX}");
    ensure!(
        (options.active + few..=1_020).contains(&options.known),
        "--known is from {few} more than --active to 1020, what a network of its own choice holds"
    );
    Ok(options)
}
