//! `lanyard-server setup-link`

use std::process::ExitCode;

use lanyard_wire::names::InviteCode;
use serde_json::json;

use super::{Place, operator};
use crate::config::Config;
use crate::problem::Problem;

pub(super) async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    if config.web.listen.is_empty() {
        let text = "web.listen is empty, so there is no page to link to: set it and restart lanyard-server";
        return Err(Problem::new("web.off", text).into());
    }
    let index = place.index(&config).await?;
    let code = index.new_admin_link(&operator()).await?;
    let link = admin_link(&config, code);
    place.output.print("setup", &json!({ "link": link }), || format!("{link}\n(one use, 1 hour)\n"))
}

/// The one-time link; an administrator opens it in a browser.
pub(super) fn admin_link(config: &Config, code: InviteCode) -> String {
    let port = config.web.listen.rsplit(':').next().unwrap_or_default();
    let host = &config.public.host;
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.clone() };
    format!("http://{host}:{port}/setup/{code}")
}
