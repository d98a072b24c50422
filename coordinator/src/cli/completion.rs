//! `lanyard-server completion SHELL`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// Which shell.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self) -> ExitCode {
        clap_complete::generate(self.shell, &mut Cli::command(), "lanyard-server", &mut std::io::stdout());
        ExitCode::SUCCESS
    }
}
