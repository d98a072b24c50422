//! What ends the agent from outside.

use crate::exit::{Code, Problem};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// SIGTERM and SIGINT.
#[cfg(unix)]
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

#[cfg(unix)]
impl Stop {
    pub(super) fn new() -> Result<Self, Problem> {
        let listen = |kind| signal(kind).map_err(|error| failed(&error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ctrl-C, Ctrl-Break, the console's being closed, the computer's being shut down.
#[cfg(windows)]
pub(super) struct Stop {
    interrupt: CtrlC,
    abort: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

#[cfg(windows)]
impl Stop {
    pub(super) fn new() -> Result<Self, Problem> {
        let all = || {
            Ok(Self {
                interrupt: ctrl_c()?,
                abort: ctrl_break()?,
                close: ctrl_close()?,
                shutdown: ctrl_shutdown()?,
            })
        };
        all().map_err(|error| failed(&error))
    }

    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.abort.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

fn failed(error: &std::io::Error) -> Problem {
    Problem::new(Code::AgentStart, format!("cannot listen to signals: {error}"))
}
