//! `lanyard-server setup-link`

use std::process::ExitCode;

use serde_json::json;

use super::{Place, operator};
use crate::entrance::Entrance;

pub(super) async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    // Before a code is drawn: the one before goes on working if there is no page for the new one.
    let entrance = Entrance::of(&config);
    entrance.link("setup", "")?;
    let index = place.index(&config).await?;
    let code = index.new_admin_link(&operator()).await?;
    let link = entrance.link("setup", &code.to_string())?;
    place.output.print("setup", &json!({ "link": link }), || format!("{link}\n(one use, 1 hour)\n"))
}
