//! `lanyard daemon`: the agent itself, in the foreground.

use std::io::{IsTerminal as _, Write as _};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Context;
use crate::config::{Config, LogFormat};
use crate::dataplane::IS_ENCRYPTED;
use crate::engine;
use crate::exit::{Code, Exit, Problem};
use crate::ipc::schema::{Answer, Line};
use crate::state::Damaged;

/// Run the agent in the foreground
///
/// What a service manager starts. Needs root (or CAP_NET_ADMIN and CAP_NET_RAW) for the virtual interface.
/// Logs go to standard error. SIGTERM or Ctrl-C ends it gracefully: good-bye to the coordinators, state
/// saved, interface and socket removed.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    start: Start,
    /// Say on standard output, in one line of JSON, when requests are accepted or why not
    #[arg(long, hide = true)]
    announce: bool,
}

/// How an agent is started, by hand or by `up`.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// Rename state files that cannot be read to NAME.broken and start without them
    #[arg(long)]
    pub(super) set_aside: bool,
}

pub(super) fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Problem> {
    log(&context.config);
    if !IS_ENCRYPTED {
        only_for_the_bench()?;
    }
    die_with_any_task();
    give_memory_back();
    let damaged = if arguments.start.set_aside { Damaged::SetAside } else { Damaged::Refuse };
    let announce = |answer| {
        if arguments.announce {
            // The command that waited may have been interrupted; the agent goes on.
            drop(say(answer));
        }
    };
    let config = context.config.clone();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(Code::AgentStart, format!("cannot start the runtime: {error}")))
        .and_then(|runtime| runtime.block_on(engine::run(config, damaged, || announce(Answer::Ready))));
    match outcome {
        Ok(()) => Ok(Exit::Ok),
        Err(problem) => {
            announce(Answer::Error(problem.clone()));
            match context.config.log_format {
                LogFormat::Text => Err(problem),
                // Whoever reads the log expects nothing but objects.
                LogFormat::Json => {
                    tracing::error!(code = problem.code.as_str(), "{}", problem.text);
                    Ok(problem.code.exit())
                }
            }
        }
    }
}

/// Keeps a program that does not encrypt from running anywhere but in the bench, which sets a variable.
fn only_for_the_bench() -> Result<(), Problem> {
    if std::env::var_os("LANYARD_UNENCRYPTED").is_none_or(|value| value != "bench") {
        let text = "this build does not encrypt what devices send each other and is for the bench alone; install a release";
        return Err(Problem::new(Code::AgentStart, text));
    }
    tracing::warn!("this build DOES NOT ENCRYPT what devices send each other; it is for the bench alone");
    Ok(())
}

fn say(answer: Answer) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &Line::new(answer))?;
    writeln!(out)?;
    out.flush()
}

fn log(config: &Config) {
    // boringtun calls a peer that is away an error; the path of each peer is told by our own lines. Whoever names
    // it in the setting still gets it: of two directives for one target the last one holds.
    let filter: Targets = format!("boringtun=off,{}", config.log)
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => lines.finish().with(filter).init(),
        LogFormat::Json => lines.json().finish().with(filter).init(),
    }
}

/// Has every large buffer mapped by itself, so that it is gone when freed.
///
/// The roster of a thousand members is a few hundred kilobytes each time it is saved, shown or read. The allocator of glibc
/// takes the first such buffer from the kernel and all later ones, up to 32 MB, from its heap, where small pieces that stay come to
/// stand among them: measured, that doubles what a member takes. Naming a limit keeps the limit where it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the standard library has no call for the allocator's limits")]
fn give_memory_back() {
    const LARGE: libc::c_int = 64 << 10;
    const KEPT_FREE: libc::c_int = 128 << 10;
    // SAFETY: mallopt changes numbers of the allocator, under its own lock.
    let set = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) & libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_FREE)
    };
    if set == 0 {
        tracing::debug!("the allocator keeps its own limits");
    }
}

/// Other allocators have no such habit.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn give_memory_back() {}

/// A panic in any thread ends the process: half an agent would look alive and carry nothing.
fn die_with_any_task() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(%panic, "a task panicked; the agent ends");
        print(panic);
        std::process::abort();
    }));
}
