//! Runs the scenario of one seed and prints what broke, made smaller, with the packets of the pair.
//!
//! `replay SEED`: hexadecimal with `0x` in front, or decimal. What it prints is what a failing test prints.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::env;
use std::process::ExitCode;

use lanyard_sim::run::{number, story_of};

fn main() -> ExitCode {
    let Some(seed) = env::args().nth(1).and_then(|text| number(&text)) else {
        println!("replay SEED");
        return ExitCode::FAILURE;
    };
    match story_of(seed) {
        Some(story) => {
            println!("{story}");
            ExitCode::FAILURE
        }
        None => {
            println!("{seed:#x} keeps every promise");
            ExitCode::SUCCESS
        }
    }
}
