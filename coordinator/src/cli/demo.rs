//! `lanyard-server demo`

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::Place;
use crate::config::Config;
use crate::debris::Debris;
use crate::demo::{ADMIN, Town, draw_password};
use crate::keys::{self, FLEET_FILE, IDENTITY_FILE};
use crate::{metrics, services};

/// How often something happens in the town.
const STEP: Duration = Duration::from_millis(1_500);

/// Show the panel with a made-up town of 200 devices that come and go. Nothing is kept, no device can join.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Where the panel listens.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// How many devices the town has.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(10..=10_000))]
    devices: u16,
    /// Nothing happens by itself: for pictures.
    #[arg(long)]
    still: bool,
}

impl Demo {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let dir = std::env::temp_dir().join(format!("lanyard-demo-{}", std::process::id()));
        let mut debris = Debris::default();
        debris.dirs.push(dir.clone());
        keys::create_private_dir(&dir).context("make a directory for the demo")?;
        let made = tokio::select! {
            made = self.build(&dir, place, &mut debris) => Some(made?),
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        };
        let Some((config, mut town, password)) = made else { return Ok(ExitCode::SUCCESS) };
        let mut running = services::start(&config, metrics::install()?).await?;
        let url = format!("http://{}", self.listen);
        let told = json!({ "url": url, "user": ADMIN, "password": password });
        place.output.print("demo", &told, || {
            format!("{url}\nname      {ADMIN}\npassword  {password}\n(Ctrl-C ends it, and nothing is kept)\n")
        })?;
        let mut step = interval(STEP);
        step.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let failed = loop {
            tokio::select! {
                name = running.failed() => break Some(name),
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                _ = step.tick() => if !self.still { town.step().await? },
            }
        };
        running.stop().await;
        anyhow::ensure!(failed.is_none(), "{} ended unexpectedly", failed.unwrap_or_default());
        Ok(ExitCode::SUCCESS)
    }

    /// Keys, settings and the town.
    async fn build(
        &self,
        dir: &Path,
        place: &Place,
        debris: &mut Debris,
    ) -> anyhow::Result<(Config, Town, String)> {
        let text = format!(
            "[public]\nhost = \"demo.example.org\"\naddresses = [\"203.0.113.1\"]\n[data]\ndir = {:?}\n\
             [services]\nrun = [\"index\"]\n[web]\nlisten = \"{}\"\ntls = []\nurl = \"http://{}\"\n",
            dir.display().to_string(),
            self.listen,
            self.listen
        );
        let config = Config::parse(&text, "the settings of the demo", core::iter::empty())?;
        config.check()?;
        debris.secret(&dir.join(IDENTITY_FILE))?;
        debris.secret(&dir.join(FLEET_FILE))?;
        let database = config.database()?;
        debris.database(&database);
        let key = keys::read_identity(dir)?.public();
        let password = draw_password()?;
        let count = usize::from(self.devices);
        let mut told = 0;
        let mut progress = |done: usize, of: usize| {
            if done >= told {
                place.output.progress(&format!("building the town: {done} of {of} devices"));
                told = done + of.div_ceil(4);
            }
        };
        let town =
            Town::build(&database, &keys::read_fleet(dir)?, &key, count, password.clone(), &mut progress)
                .await?;
        Ok((config, town, password))
    }
}
