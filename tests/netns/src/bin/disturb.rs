//! Everything that happens to a path, under a TCP transfer: how long it stands still, and when it is direct again.
//!
//! ```text
//! disturb [--runs N] [--trace] [WORDS]     only those whose name contains WORDS ("rebind", "link down and up, sender")
//! ```
//!
//! The exit code is 1 when a transfer breaks, stands still for half a second, or is not direct again after a second and a
//! half. While a link is down nothing can pass: that time, measured beside the tunnel, is taken off.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lanyard_netns::disturbance::{ALL, disturb};

const STANDSTILL_MAX: Duration = Duration::from_millis(500);
const DIRECT_MAX: Duration = Duration::from_millis(1_500);

fn main() -> Result<ExitCode> {
    let (mut runs, mut is_traced, mut words) = (1_u32, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => runs = arguments.next().context("--runs needs a number")?.parse()?,
            "--trace" => is_traced = true,
            _ => words.push(argument),
        }
    }
    let wanted = words.join(" ");
    println!("| event | standstill | direct again after |\n| --- | --- | --- |");
    let mut wrong = 0;
    for disturbance in ALL.iter().filter(|disturbance| disturbance.name.contains(&wanted)) {
        for _ in 0..runs {
            let name = disturbance.name;
            match disturb(*disturbance) {
                Ok(disturbed) => {
                    let standstill = disturbed.standstill.saturating_sub(disturbed.cut);
                    let is_late = disturbed.direct_after.is_none_or(|after| after >= DIRECT_MAX);
                    let is_wrong = standstill >= STANDSTILL_MAX || is_late;
                    wrong += u32::from(is_wrong);
                    let direct = match disturbed.direct_after {
                        Some(Duration::ZERO) => "never left".to_owned(),
                        Some(after) => format!("{} ms", after.as_millis()),
                        None => "not at all".to_owned(),
                    };
                    let mark = if is_wrong { " (!)" } else { "" };
                    println!("| {name} | {} ms | {direct}{mark} |", standstill.as_millis());
                    if is_traced {
                        disturbed.changes.iter().for_each(|change| println!("    {change}"));
                        println!("{}", disturbed.log);
                    }
                }
                Err(error) => {
                    wrong += 1;
                    println!("| {name} | FAILED | {error:#} |");
                }
            }
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
