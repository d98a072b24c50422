//! `lanyard-server version`

use std::process::ExitCode;

use serde_json::json;

use super::Place;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let data = json!({ "program": "lanyard-server", "version": VERSION });
    place.output.print("version", &data, || format!("lanyard-server {VERSION}\n"))
}
