//! The command line: one file per verb with its arguments, its request, its rendering and their test.
//!
//! A verb asks the running agent and prints the answer, as text that fits 80 columns or, with `--json`, as
//! the answer line itself. Rendering is a pure function of the answer. The exit code is decided by
//! [`crate::exit`].

mod completion;
mod daemon;
mod down;
mod ip;
mod join;
mod leave;
mod metrics;
mod netcheck;
mod output;
mod ping;
mod settings;
mod status;
mod table;
mod up;
mod version;
mod whoami;
mod why;

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::exit::{Exit, Problem};
use crate::ipc::client::{Answers, Client};
use crate::ipc::schema::{Answer, Ask, Line};
use settings::Settings;

#[cfg(test)]
pub(crate) use table::tests::example as counted_example;

/// Your own virtual LAN: joins this device to networks of a coordinator you run.
#[derive(Debug, Parser)]
#[command(name = "lanyard", version = crate::VERSION, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 agent not running, 4 not joined, 5 waiting for \
                        approval,\n6 no path, 7 denied"
)]
struct CommandLine {
    /// Print answers as JSON, one object per line, with "v":1
    #[arg(short, long, global = true)]
    json: bool,
    /// Read this file instead of /etc/lanyard/lanyard.toml [env: LANYARD_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Arguments),
    Down(down::Arguments),
    Join(join::Arguments),
    Leave(leave::Arguments),
    Status(status::Arguments),
    Ip(ip::Arguments),
    Whoami(whoami::Arguments),
    Ping(ping::Arguments),
    Why(why::Arguments),
    Netcheck(netcheck::Arguments),
    Metrics(metrics::Arguments),
    Version(version::Arguments),
    Completion(completion::Arguments),
    Daemon(daemon::Arguments),
}

/// What every verb needs.
struct Context<'a> {
    config: Config,
    /// The `--config` flag, for a daemon that is started with the same settings.
    file: Option<PathBuf>,
    flags: Settings,
    json: bool,
    out: &'a mut dyn Write,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    match CommandLine::try_parse() {
        Ok(line) => line.run(&mut std::io::stdout().lock()),
        Err(error) => {
            // Nobody reads it if it cannot be printed.
            drop(error.print());
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    }
}

impl CommandLine {
    fn run(self, out: &mut dyn Write) -> Exit {
        let json = self.json;
        let outcome = match Config::resolve(
            self.config.as_deref(),
            |name| std::env::var(name).ok(),
            self.settings.flags(),
        ) {
            Ok(config) => {
                let file = self.config;
                let mut context = Context { config, file, flags: self.settings, json, out: &mut *out };
                self.verb.run(&mut context)
            }
            Err(problem) => Err(problem),
        };
        match outcome {
            Ok(exit) => exit,
            Err(problem) => report(problem, json, out),
        }
    }
}

impl Verb {
    fn run(self, context: &mut Context<'_>) -> Result<Exit, Problem> {
        match self {
            Self::Up(arguments) => up::run(&arguments, context),
            Self::Down(arguments) => down::run(arguments, context),
            Self::Join(arguments) => join::run(arguments, context),
            Self::Leave(arguments) => leave::run(arguments, context),
            Self::Status(arguments) => status::run(&arguments, context),
            Self::Ip(arguments) => ip::run(&arguments, context),
            Self::Whoami(arguments) => whoami::run(&arguments, context),
            Self::Ping(arguments) => ping::run(arguments, context),
            Self::Why(arguments) => why::run(arguments, context),
            Self::Netcheck(arguments) => netcheck::run(&arguments, context),
            Self::Metrics(arguments) => metrics::run(&arguments, context),
            Self::Version(arguments) => version::run(&arguments, context),
            Self::Completion(arguments) => completion::run(&arguments, context),
            Self::Daemon(arguments) => daemon::run(&arguments, context),
        }
    }
}

/// Tells a person, or a script with `--json`, what went wrong.
fn report(problem: Problem, json: bool, out: &mut dyn Write) -> Exit {
    let exit = problem.code.exit();
    let written = if json {
        print_json(out, Answer::Error(problem))
    } else {
        writeln!(std::io::stderr().lock(), "lanyard: {problem}")
    };
    // Nobody is left to be told.
    drop(written);
    exit
}

fn print_json(out: &mut dyn Write, answer: Answer) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &Line::new(answer))?;
    writeln!(out)?;
    out.flush()
}

impl Context<'_> {
    /// Asks the running agent.
    fn ask(&self, ask: &Ask) -> Result<Answers, Problem> {
        Client::connect(&self.config.socket)?.ask(ask)
    }

    /// Asks for one answer of the kind that `pick` accepts.
    fn ask_one<T>(&self, ask: &Ask, pick: impl Fn(Answer) -> Option<T>) -> Result<T, Problem> {
        match self.ask(ask)?.next() {
            Some(answer) => pick(answer?).ok_or_else(output::unexpected),
            None => Err(output::unexpected()),
        }
    }

    /// Prints an answer: itself as JSON, or the text made of it.
    ///
    /// A reader that closed the pipe has seen enough; that is no failure.
    fn print(&mut self, answer: Answer, render: impl FnOnce(&Answer) -> String) {
        let written = if self.json {
            print_json(self.out, answer)
        } else {
            let text = render(&answer);
            self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush())
        };
        drop(written);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::KEYS;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_before_and_after_the_verb() {
        for key in KEYS {
            let flag = format!("--{}", key.flag);
            for line in [["lanyard", &flag, "7", "whoami"], ["lanyard", "whoami", &flag, "7"]] {
                let parsed = CommandLine::try_parse_from(line).unwrap();
                assert_eq!(parsed.settings.flags().get(key.name).map(String::as_str), Some("7"), "{flag}");
            }
        }
    }

    #[test]
    fn a_join_takes_its_name_and_its_string() {
        let line = ["lanyard", "join", "lanyard://x/y", "--name", "nas", "--wait", "60"];
        let parsed = CommandLine::try_parse_from(line).unwrap();
        let Verb::Join(arguments) = parsed.verb else { panic!("not a join") };
        assert_eq!(arguments.name.as_deref(), Some("nas"));
        assert_eq!(arguments.wait, 60);
    }

    #[test]
    fn a_problem_is_json_on_request_and_gives_its_exit_code() {
        let problem = Problem::new(crate::exit::Code::NetworkUnknown, "no network is called x");
        let mut out = Vec::new();
        assert_eq!(report(problem, true, &mut out), Exit::NotJoined);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "{\"v\":1,\"kind\":\"error\",\"code\":\"network.unknown\",\"text\":\"no network is called x\"}\n"
        );
    }

    #[test]
    fn without_an_agent_every_question_ends_with_code_three() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("none.sock");
        let config = directory.path().join("empty.toml");
        std::fs::write(&config, "").unwrap();
        for verb in [
            &["status"][..],
            &["ip"],
            &["whoami"],
            &["ping", "x"],
            &["why", "x"],
            &["netcheck"],
            &["metrics"],
            &["down"],
        ] {
            let mut line = vec!["lanyard", "--socket", socket.to_str().unwrap()];
            line.extend(["--config", config.to_str().unwrap(), "-j"]);
            line.extend(verb);
            let mut out = Vec::new();
            assert_eq!(CommandLine::try_parse_from(line).unwrap().run(&mut out), Exit::AgentNotRunning);
            assert!(String::from_utf8(out).unwrap().contains("agent.not_running"));
        }
    }
}
