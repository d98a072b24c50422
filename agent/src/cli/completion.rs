//! `lanyard completion`: what a shell needs to complete this program's commands.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{CommandLine, Context};
use crate::exit::{Exit, Problem};

/// Print a completion script for a shell
///
/// For bash: lanyard completion bash > /etc/bash_completion.d/lanyard
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "lanyard", &mut script);
    // A reader that closed the pipe has seen enough.
    drop(context.out.write_all(&script));
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "lanyard", &mut script);
            let script = String::from_utf8(script).unwrap();
            for verb in ["netcheck", "whoami", "until-direct"] {
                assert!(script.contains(verb), "{shell}: {verb}");
            }
        }
    }
}
