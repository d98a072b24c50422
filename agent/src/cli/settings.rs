//! The settings of [`crate::config`] as flags, one per row of its table.

use clap::{Arg, ArgMatches, Command};

use crate::config::{Flags, KEYS};

/// The settings given as flags.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(Flags);

impl Settings {
    /// By the name of the key.
    pub(super) const fn flags(&self) -> &Flags {
        &self.0
    }

    /// As arguments for another process of this program.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        KEYS.iter().filter_map(|key| self.0.get(key.name).map(|value| format!("--{}={value}", key.flag)))
    }
}

impl clap::FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
        Ok(Self(KEYS.iter().filter_map(|key| given(key.name).map(|value| (key.name, value))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let Self(newer) = Self::from_arg_matches(matches)?;
        self.0.extend(newer);
        Ok(())
    }
}

impl clap::Args for Settings {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| {
            command.arg(
                Arg::new(key.name)
                    .long(key.flag)
                    .value_name("VALUE")
                    .help(format!("{} [env: {}]", key.help, key.variable))
                    .help_heading("Settings")
                    .hide_short_help(true)
                    .global(true),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
