//! `lanyard-server`: argv to a command, an error to a sentence and an exit code.

use std::process::ExitCode;

use clap::Parser;
use lanyard_coordinator::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let as_json = cli.json;
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => cli::output::failure(&error, as_json),
    }
}
