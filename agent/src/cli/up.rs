//! `lanyard up`: networking on, starting the agent where it does not run.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::output::{other, unexpected};
use super::{Context, daemon};
use crate::exit::{Code, Exit, Problem};
use crate::ipc::schema::{Answer, Ask, Line, Switched};
use crate::state::private;

/// A log longer than this is put aside when an agent starts.
const LOG_MAX: u64 = 8 * 1024 * 1024;

/// Switch networking on
///
/// Starts the agent in the background if it does not run (as root; its log is agent.log in the state
/// directory), switches networking on and enables all networks. With NETWORK, enables this network only.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Enable this network only
    network: Option<String>,
    #[command(flatten)]
    start: daemon::Start,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let ask = Ask::Up { network: arguments.network.clone() };
    let answers = match context.ask(&ask) {
        Err(problem) if problem.code == Code::AgentNotRunning => {
            start(context, &arguments.start)?;
            context.ask(&ask)
        }
        answers => answers,
    };
    let answer = answers?.next().ok_or_else(unexpected)??;
    context.print(answer, render);
    Ok(Exit::Ok)
}

/// Starts an agent with the settings of this command and waits until it answers.
fn start(context: &Context<'_>, start: &daemon::Start) -> Result<(), Problem> {
    let failed =
        |error: std::io::Error| Problem::new(Code::AgentStart, format!("cannot start the agent: {error}"));
    let log = open_log(&context.config.state)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    if let Some(file) = &context.file {
        command.arg("--config").arg(std::path::absolute(file).map_err(failed)?);
    }
    command.args(context.flags.arguments()).arg("daemon").arg("--announce");
    if start.set_aside {
        command.arg("--set-aside");
    }
    if cfg!(unix) {
        // The agent keeps no directory in use.
        command.current_dir("/");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    detach(&mut command);
    let child = command.spawn().map_err(failed)?;
    announced(child, &context.config.state)
}

/// Gives the child a session of its own, so that closing this terminal does not end it.
#[cfg(unix)]
#[expect(unsafe_code, reason = "the standard library has no stable call for setsid")]
fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: setsid is async-signal-safe and touches no memory of ours, as the time between fork and exec
    // demands.
    unsafe {
        command.pre_exec(|| if libc::setsid() == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
    }
}

/// Gives the child no console, so that closing this one does not end it.
#[cfg(windows)]
fn detach(command: &mut Command) {
    use std::os::windows::process::CommandExt as _;
    use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS};
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
}

/// Waits for the child's one line: that it is ready, or why not.
fn announced(mut child: Child, state: &Path) -> Result<(), Problem> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // An error reads like an empty line: the child said nothing.
        drop(BufReader::new(stdout).read_line(&mut line));
    }
    match serde_json::from_str::<Line<Answer>>(&line).map(|line| line.body) {
        Ok(Answer::Ready) => Ok(()),
        Ok(Answer::Error(problem)) => Err(problem),
        Ok(_) | Err(_) => {
            let text = format!("the agent ended while starting; {} says why", log_file(state).display());
            Err(Problem::new(Code::AgentStart, text))
        }
    }
}

fn open_log(state: &Path) -> Result<File, Problem> {
    let path = log_file(state);
    let opened = private::make_directory(state).and_then(|()| {
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_MAX) {
            std::fs::rename(&path, path.with_extension("log.old"))?;
        }
        private::open(OpenOptions::new().append(true).create(true), &path)
    });
    opened.map_err(|error| {
        let text =
            format!("cannot write {}: {error}; start the agent as root: sudo lanyard up", path.display());
        Problem::new(Code::AgentStart, text)
    })
}

fn log_file(state: &Path) -> std::path::PathBuf {
    state.join("agent.log")
}

pub(super) fn render(answer: &Answer) -> String {
    let Answer::Switched(Switched { up, networks }) = answer else { return other(answer) };
    match (up, networks.is_empty()) {
        (true, true) => "up; no networks yet: lanyard join JOIN-STRING\n".to_owned(),
        (true, false) => format!("up: {}\n", networks.join(", ")),
        (false, true) => "down\n".to_owned(),
        (false, false) => format!("down: {}\n", networks.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_up_is_named() {
        let switched = |up, networks: &[&str]| {
            render(&Answer::Switched(Switched {
                up,
                networks: networks.iter().map(|&n| n.to_owned()).collect(),
            }))
        };
        assert_eq!(switched(true, &["home", "lan-party"]), "up: home, lan-party\n");
        assert!(switched(true, &[]).contains("lanyard join"));
        assert_eq!(switched(false, &["home"]), "down: home\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_child_that_says_nothing_is_a_failed_start() {
        let silent = || Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        let problem = announced(silent(), Path::new("/var/lib/lanyard")).unwrap_err();
        assert_eq!(problem.code, Code::AgentStart);
        assert!(problem.text.contains("/var/lib/lanyard/agent.log"), "{problem}");
    }

    #[cfg(unix)]
    #[test]
    fn a_child_that_says_why_is_quoted() {
        let line = r#"{"v":1,"kind":"error","code":"tun.no_driver","text":"no /dev/net/tun"}"#;
        let child = Command::new("echo").arg(line).stdout(Stdio::piped()).spawn().unwrap();
        let problem = announced(child, Path::new("/var/lib/lanyard")).unwrap_err();
        assert_eq!(problem, Problem::new(Code::TunNoDriver, "no /dev/net/tun"));
    }

    #[test]
    fn a_long_log_is_put_aside_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let log = open_log(directory.path()).unwrap();
        log.set_len(LOG_MAX + 1).unwrap();
        drop(open_log(directory.path()).unwrap());
        assert!(directory.path().join("agent.log.old").exists());
        assert_eq!(std::fs::metadata(directory.path().join("agent.log")).unwrap().len(), 0);
    }
}
