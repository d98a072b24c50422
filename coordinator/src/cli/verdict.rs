//! `lanyard-server verdict list`

use std::process::ExitCode;

use clap::Subcommand;

use super::Place;
use super::output::table;
use crate::index::Clock;
use crate::index::verdicts::Pair;
use crate::words::{ago, span};

/// What to do with verdicts.
#[derive(Debug, Subcommand)]
pub enum Verdict {
    /// List how pairs of devices reach each other, as they last reported; the newest first.
    List {
        /// Only pairs of this device: its number, id, or name.
        device: Option<String>,
    },
}

impl Verdict {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let now = Clock::system().now_ms();
        let Self::List { device } = self;
        let device = match device {
            Some(name) => Some(index.device(&name).await?.id),
            None => None,
        };
        let pairs = index.verdicts(device).await?;
        place.output.print("verdicts", &pairs, || {
            let rows: Vec<Vec<String>> = pairs.iter().map(|pair| row(pair, now)).collect();
            table(&["HERE", "THERE", "VERDICT", "PLAN", "TOOK", "REPORTED"], &rows)
        })
    }
}

fn row(pair: &Pair, now_ms: i64) -> Vec<String> {
    let took = if pair.took_ms < 1_000 { format!("{} ms", pair.took_ms) } else { span(pair.took_ms) };
    vec![
        pair.reporter_name.to_string(),
        pair.peer_name.to_string(),
        pair.code.clone(),
        pair.plan.clone().unwrap_or_else(|| "-".to_owned()),
        took,
        ago(pair.at, now_ms),
    ]
}
