//! `lanyard-server serve`

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Place;
use super::version::VERSION;
use crate::config::{Config, Log, LogFormat, Service};
use crate::problem::Problem;
use crate::{metrics, services};

/// Runs the services.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Which of the five run in this process [default: the settings].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    services: Vec<Service>,
}

impl Serve {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let mut config = place.config()?;
        if !self.services.is_empty() {
            config.services.run = self.services;
            config.check()?;
        }
        log_to_stderr(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("lanyard-server")
            .build()
            .context("start the runtime")?;
        runtime.block_on(serve(&config))
    }
}

async fn serve(config: &Config) -> anyhow::Result<ExitCode> {
    // Before anything starts: an early order to stop must not kill half a start.
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut running = services::start(config, metrics::install()?).await?;
    for place in &running.listening {
        tracing::info!("listening on {place}");
    }
    let names: Vec<&str> = config.services.run.iter().map(|service| service.as_str()).collect();
    tracing::info!(version = VERSION, services = names.join(","), "lanyard-server is ready");
    let (failed, may_drain) = tokio::select! {
        name = running.failed() => (Some(name), false),
        _ = terminate.recv() => (None, true),
        _ = interrupt.recv() => (None, false),
    };
    tracing::info!("stopping");
    if may_drain {
        tokio::select! {
            () = running.drain() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    running.stop().await;
    if let Some(name) = failed {
        let text = format!("{name} ended unexpectedly: the log above says why; start lanyard-server again");
        return Err(Problem::new("serve.failed", text).into());
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn log_to_stderr(log: &Log) -> anyhow::Result<()> {
    let filter: Targets = log.level.parse().map_err(|error| {
        Problem::new("config.invalid", format!("log.level \"{}\" is no level or filter: {error}", log.level))
    })?;
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => lines.json().finish().with(filter).init(),
        LogFormat::Text => {
            let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(color).finish().with(filter).init();
        }
    }
    Ok(())
}
