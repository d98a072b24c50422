//! `lanyard-server setup-link`

use std::process::ExitCode;

use serde_json::json;

use super::{Place, operator};
use crate::config::Config;
use crate::problem::Problem;

pub(super) async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    // Before a code is drawn: the one before goes on working if there is no page for the new one.
    web_link(&config, "setup", "")?;
    let index = place.index(&config).await?;
    let code = index.new_admin_link(&operator()).await?;
    let link = web_link(&config, "setup", &code.to_string())?;
    place.output.print("setup", &json!({ "link": link }), || format!("{link}\n(one use, 1 hour)\n"))
}

/// A link to a page of this server, for a browser; by TLS if there is any.
///
/// # Errors
/// [`Problem`] `web.off` when no page is served.
pub(super) fn web_link(config: &Config, page: &str, code: &str) -> Result<String, Problem> {
    if let Some(url) = config.web_url() {
        return Ok(format!("{url}/{page}/{code}"));
    }
    let text = "web.listen and web.tls are empty, so there is no page to link to: set one and restart lanyard-server";
    Err(Problem::new("web.off", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Result<String, Problem> {
        web_link(&Config::parse(text, "test", std::iter::empty())?, "setup", "CODE")
    }

    #[test]
    fn a_link_goes_by_tls_where_there_is_any() {
        let public = "[public]\nhost = \"vpn.example.org\"\n";
        assert_eq!(link(public).unwrap(), "https://vpn.example.org/setup/CODE");
        let other = format!("{public}[web]\ntls = [\"0.0.0.0:8443\"]");
        assert_eq!(link(&other).unwrap(), "https://vpn.example.org:8443/setup/CODE");
        let proxied = format!("{public}[web]\nurl = \"https://lan.example.org/\"");
        assert_eq!(link(&proxied).unwrap(), "https://lan.example.org/setup/CODE");
        let plain = "[public]\nhost = \"2001:db8::1\"\n[web]\ntls = []\nlisten = \"[::]:8080\"";
        assert_eq!(link(plain).unwrap(), "http://[2001:db8::1]:8080/setup/CODE");
        assert_eq!(link("[web]\ntls = []\nlisten = \"\"").unwrap_err().code(), "web.off");
    }
}
