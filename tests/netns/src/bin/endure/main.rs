//! `make endure`: full speed for half an hour while the path changes, keys are renewed and the wire loses datagrams.
//!
//! Its options are those of [`USAGE`]; docs/performance.md has the method and what came out. The exit code is 1 when a
//! promise was broken: a stream that stood still for longer than two seconds, a wrong byte, memory that grows, a path that was
//! not taken; 2 when it could not be measured.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "telling what happens is what this program is for"
)]

mod datagrams;
mod faults;
mod machine;
mod memory;
mod report;
mod soak;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lanyard_netns::bed::Link;
use lanyard_netns::bench::{links, main_of};
use lanyard_netns::interrupts;

use self::soak::soak;

/// What `--help` says.
const USAGE: &str = "\
Two agents under full load while the path changes, keys are renewed and datagrams
are lost. Needs root.

usage: endure [OPTIONS]

  --minutes N       how long, over all links (30)
  --link KIND       veth, nic-like or both (both)
  --loss PERCENT    of what crosses the wire, each way (1)
  --streams N       of TCP, each way (1)
  --congestion NAME what TCP does about losses: cubic, bbr... (the system's)
  --json            results as JSON on standard output
";

/// What was asked for.
#[derive(Clone, Debug)]
struct Options {
    minutes: f64,
    links: Vec<Link>,
    loss_percent: f64,
    streams: usize,
    congestion: Option<String>,
    is_json: bool,
}

fn main() -> ExitCode {
    main_of("endure", USAGE, run)
}

fn run() -> Result<ExitCode> {
    let options = parse(std::env::args().skip(1))?;
    interrupts::watch()?;
    let share = u32::try_from(options.links.len())?;
    let each = Duration::try_from_secs_f64(options.minutes * 60.0)? / share;
    let mut all = Vec::new();
    for link in &options.links {
        let soaked = soak(*link, each, &options).with_context(|| format!("on {}", link.name()))?;
        eprintln!("{}", report::text(&soaked));
        all.push(soaked);
    }
    if options.is_json {
        println!("{:#}", report::json(&all));
    }
    let is_kept = all.iter().all(|soaked| soaked.broken_promises().is_empty());
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        minutes: 30.0,
        links: Link::ALL.to_vec(),
        loss_percent: 1.0,
        streams: 1,
        congestion: None,
        is_json: false,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--minutes" => options.minutes = value()?.parse().context("--minutes")?,
            "--link" => options.links = links(&value()?)?,
            "--loss" => options.loss_percent = value()?.parse().context("--loss")?,
            "--streams" => options.streams = value()?.parse::<usize>().context("--streams")?.max(1),
            "--congestion" => options.congestion = Some(value()?),
            "--json" => options.is_json = true,
            _ => bail!("there is no option {argument}"),
        }
    }
    ensure!((0.0..=50.0).contains(&options.loss_percent), "--loss is a percentage up to 50");
    ensure!((0.5..=1_440.0).contains(&options.minutes), "--minutes is between half a minute and a day");
    Ok(options)
}
