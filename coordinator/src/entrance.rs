//! How people and devices get here: links to pages of this server, and the strings that devices join with.

use std::net::SocketAddr;

use lanyard_wire::join::JoinString;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::limits::{CONTROL_PORT, WEB_PORT};
use lanyard_wire::names::{InviteCode, NetworkName};

use crate::config::Config;
use crate::problem::Problem;

/// What the settings say about where this server is.
#[derive(Debug, Clone)]
pub struct Entrance {
    host: String,
    control: u16,
    tls: Vec<SocketAddr>,
    url: Option<String>,
}

impl Entrance {
    /// As the settings say.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            host: config.public.host.clone(),
            control: config.control.listen.first().map_or(CONTROL_PORT, SocketAddr::port),
            tls: config.web.tls.clone(),
            url: config.web_url(),
        }
    }

    /// A link to a page of this server, for a browser; by TLS if there is any.
    ///
    /// # Errors
    /// [`Problem`] `web.off` when no page is served.
    pub fn link(&self, page: &str, code: &str) -> Result<String, Problem> {
        if let Some(url) = &self.url {
            return Ok(format!("{url}/{page}/{code}"));
        }
        let text = "web.listen and web.tls are empty, so there is no page to link to: set one and restart lanyard-server";
        Err(Problem::new("web.off", text))
    }

    /// The string a device joins with.
    #[must_use]
    pub fn join_string(&self, network: NetworkName, code: InviteCode, key: PublicKey) -> JoinString {
        // What listens on loopback has a proxy in front, on the usual port.
        let door = self.tls.iter().find(|address| !address.ip().is_loopback()).map(SocketAddr::port);
        JoinString {
            host: self.host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase(),
            port: (self.control != CONTROL_PORT).then_some(self.control),
            network,
            invite: Some(code),
            door: door.filter(|port| *port != WEB_PORT),
            key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Result<String, Problem> {
        Entrance::of(&Config::parse(text, "test", std::iter::empty())?).link("setup", "CODE")
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
