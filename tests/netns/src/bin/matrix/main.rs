//! `make matrix`: every pair of NATs, its path, and how soon it had which.
//!
//! Its options are those of [`USAGE`].
//!
//! The exit code is 1 when a cell is not as expected: not connected, relayed although it could be direct, or dearer than
//! the budget of packets; 2 when it was not called as it wants to be, or could not measure.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]

mod measure;
mod results;
mod share;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use lanyard_netns::bench::main_of;
use lanyard_netns::cell::{self, Cell, Links};

use self::results::Results;

/// What `--help` says.
const USAGE: &str = "\
Measures every pair of NATs: its path, and how soon it had which. Needs root.

usage: matrix [OPTIONS] [CELL...] [RESULTS.json...]

  CELL            full-cone:symmetric (the initiator first), block-1024:open, cgn,
                  dual-stack...; all of them by default
  RESULTS.json    what an earlier run printed with --json: shown, and nothing measured
  --runs N        each cell N times (1)
  --jobs N        labs at a time (1; more than one per core spoils the times)
  --delay MS      each way on each site's link: 20 makes 80 ms between peers and
                  40 ms to the coordinator
  --loss PERCENT  on each site's link, each way
  --json          results as JSON on standard output, the runs on standard error
  --markdown      the table of the README
  --share         the share of pairs that are direct, for three populations
";

/// What was asked for.
#[derive(Debug)]
struct Options {
    cells: Vec<Cell>,
    stored: Vec<String>,
    runs: usize,
    jobs: usize,
    links: Links,
    format: Format,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    Json,
    Markdown,
    Share,
}

fn main() -> ExitCode {
    main_of("matrix", USAGE, run)
}

fn run() -> Result<ExitCode> {
    let options = parse(std::env::args().skip(1))?;
    let results = if options.stored.is_empty() {
        measure::measure(&options)?
    } else {
        options.stored.iter().map(|file| results::read(file)).collect::<Result<Results>>()?
    };
    match options.format {
        Format::Plain => print!("{}", table::plain(&results)),
        Format::Json => println!("{}", results.to_json()),
        Format::Markdown => print!("{}", table::markdown(&results)),
        Format::Share => print!("{}", share::report(&results)?),
    }
    let wrong = results.cells.iter().filter(|cell| !cell.is_as_expected()).count();
    eprintln!("{} cells, {wrong} not as expected", results.cells.len());
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        cells: Vec::new(),
        stored: Vec::new(),
        runs: 1,
        jobs: 1,
        links: Links::default(),
        format: Format::Plain,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u32> {
            let value = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            value.parse().with_context(|| format!("{argument} {value}"))
        };
        match argument.as_str() {
            "--runs" => options.runs = usize::try_from(number()?)?.max(1),
            "--jobs" => options.jobs = usize::try_from(number()?)?.max(1),
            "--delay" => options.links.delay_ms = number()?,
            "--loss" => options.links.loss_percent = number()?,
            "--json" => options.format = Format::Json,
            "--markdown" => options.format = Format::Markdown,
            "--share" => options.format = Format::Share,
            file if file.ends_with(".json") => options.stored.push(argument),
            option if option.starts_with('-') => bail!("there is no option {option}"),
            name => {
                let cell = Cell::named(name).with_context(|| format!("there is no cell {name}"))?;
                options.cells.push(cell);
            }
        }
    }
    ensure!(options.stored.is_empty() || options.cells.is_empty(), "either name cells, or stored results");
    if options.cells.is_empty() {
        options.cells = cell::all()?;
    }
    Ok(options)
}
