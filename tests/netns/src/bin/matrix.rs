//! `make matrix`: every pair of NATs, its path, the time to the first reply and to the direct path.
//!
//! With arguments, only the pairs named: `matrix full-cone:symmetric open:open`.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::process::ExitCode;

use anyhow::Result;
use lanyard_netns::{Lab, Outcome, connect_pair};

fn main() -> Result<ExitCode> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let pairs: Vec<(String, bool)> =
        Lab::pairs()?.into_iter().filter(|(pair, _)| asked.is_empty() || asked.contains(pair)).collect();
    println!("{:<34} {:<8} {:<8} {:>14} {:>16}", "pair", "expected", "path", "first reply", "direct after");
    let mut wrong = 0;
    for (pair, direct) in &pairs {
        let expected = if *direct { "direct" } else { "relay" };
        match connect_pair(pair) {
            Ok(outcome) => {
                let as_expected = outcome.path == expected;
                wrong += u32::from(!as_expected);
                print_row(pair, expected, &outcome, as_expected);
            }
            Err(error) => {
                wrong += 1;
                println!("{pair:<34} {expected:<8} FAILED   {error:#}");
            }
        }
    }
    println!("{} pairs, {wrong} not as expected", pairs.len());
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_row(pair: &str, expected: &str, outcome: &Outcome, as_expected: bool) {
    let direct = outcome.direct_after.map_or("-".to_owned(), |after| format!("{} ms", after.as_millis()));
    let first = format!("{} ms", outcome.first_reply.as_millis());
    let mark = if as_expected { "" } else { "  <- not as expected" };
    println!("{pair:<34} {expected:<8} {:<8} {first:>14} {direct:>16}{mark}", outcome.path);
}
