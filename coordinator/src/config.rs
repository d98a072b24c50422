//! Settings: defaults, then the file, then the environment.
//!
//! Every key stands in docs/examples/lanyard-server.toml with its default. A key nobody knows is refused by name,
//! in the file and in the environment: a misspelt setting must not be a silent default.

mod environment;
mod providers;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use toml::Table;

use self::environment::apply;
pub use self::providers::{Given, GroupRole, Oidc};
use crate::index::{Location, networks::NetworksBy};
use crate::problem::Problem;

/// What the environment's overrides begin with.
pub const ENV_PREFIX: &str = "LANYARD_SERVER_";

/// Variables with that beginning that are no settings: they are options of the command line.
const ENV_OPTIONS: [&str; 2] = ["LANYARD_SERVER_CONFIG", "LANYARD_SERVER_DIR"];

/// One of the five services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Who is online; pushes changes to members.
    Checkpoint,
    /// Starts both ends of a pair at once.
    Handshake,
    /// Shows devices their public address.
    Stun,
    /// Carries datagrams of pairs without a direct path.
    Relay,
    /// Permanent data.
    Index,
}

impl Service {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Checkpoint, Self::Handshake, Self::Stun, Self::Relay, Self::Index];

    /// The name in settings, metrics and `/healthz`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Handshake => "handshake",
            Self::Stun => "stun",
            Self::Relay => "relay",
            Self::Index => "index",
        }
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What devices call this coordinator.
    pub public: Public,
    /// Keys and database.
    pub data: Data,
    /// What runs here.
    pub services: Services,
    /// The shared UDP sockets.
    pub control: Control,
    /// The handshake service.
    pub handshake: Handshake,
    /// The relay service.
    pub relay: Relay,
    /// The STUN service.
    pub stun: Stun,
    /// HTTP.
    pub web: Web,
    /// Where people sign in, beside here.
    pub oidc: Vec<Oidc>,
    /// How services in several processes meet.
    pub bus: Bus,
    /// Logging.
    pub log: Log,
}

/// `[public]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    /// IP address or name in join strings.
    pub host: String,
    /// The addresses behind it.
    pub addresses: Vec<IpAddr>,
}

/// Most days for which hours of links are kept.
const LINK_DAYS_MAX: u8 = 30;

/// `[data]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The data directory.
    pub dir: PathBuf,
    /// `sqlite:FILE`, a Postgres URL, or empty for the file in the data directory.
    pub database: String,
    /// File with the password for Postgres; empty for none.
    pub password_file: String,
    /// For how many days hours of links are kept; 0 keeps the running hour alone.
    pub link_days: u8,
}

/// `[services]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// Which of the five.
    pub run: Vec<Service>,
    /// Name of a process without the checkpoint.
    pub name: String,
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// One socket for each.
    pub listen: Vec<SocketAddr>,
}

/// `[handshake]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handshake {
    /// Handshake services of other processes.
    pub elsewhere: Vec<Elsewhere>,
}

/// `[relay]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// Bits a second for one pair; 0 for no limit.
    pub rate_bps: u64,
    /// Bytes at once for one pair.
    pub burst_bytes: u64,
    /// Bits a second for all pairs of a network; 0 for no limit.
    pub network_bps: u64,
    /// Bits a second for all pairs; 0 for no limit.
    pub total_bps: u64,
    /// Bytes a day for all pairs of a network; 0 for no limit.
    pub network_quota_bytes: u64,
    /// Bits a second for a network beyond its quota.
    pub quota_bps: u64,
    /// Relays of other processes.
    pub elsewhere: Vec<Elsewhere>,
}

/// A service in another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// Its `services.name`.
    pub name: String,
    /// Where devices reach it.
    pub addresses: Vec<SocketAddr>,
}

/// `[stun]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stun {
    /// Local addresses, at most two of each family.
    pub addresses: Vec<IpAddr>,
    /// Their public addresses.
    pub public: Vec<IpAddr>,
    /// Two ports.
    pub ports: [u16; 2],
    /// Whether bare requests of strangers stay without answer.
    pub strict: bool,
    /// STUN services of other processes.
    pub elsewhere: Vec<SocketAddr>,
}

/// `[web]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Socket address, or empty for none.
    pub listen: String,
    /// Socket addresses of TLS and the door.
    pub tls: Vec<SocketAddr>,
    /// PEM file of the certificate chain; empty for one of our own.
    pub certificate: String,
    /// PEM file of its key.
    pub key: String,
    /// What browsers call this server; empty for what follows from the rest.
    pub url: String,
    /// Prefixes of proxies that are believed about where a request came from.
    pub proxies: Vec<String>,
    /// Whether every user makes networks, or administrators of the server alone.
    pub networks_by: NetworksBy,
}

/// `[bus]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// Where INDEX listens; empty for nowhere.
    pub listen: String,
    /// Where INDEX is; empty for none.
    pub connect: String,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Filter of `tracing`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/lib/lanyard-server"),
            database: String::new(),
            password_file: String::new(),
            link_days: LINK_DAYS_MAX,
        }
    }
}

impl Default for Services {
    fn default() -> Self {
        Self { run: Service::ALL.to_vec(), name: "main".to_owned() }
    }
}

impl Default for Control {
    fn default() -> Self {
        let port = lanyard_wire::limits::CONTROL_PORT;
        Self { listen: vec![([0, 0, 0, 0], port).into(), ([0u16; 8], port).into()] }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            rate_bps: 100_000_000,
            burst_bytes: 2_000_000,
            network_bps: 1_000_000_000,
            total_bps: 0,
            network_quota_bytes: 0,
            quota_bps: 1_000_000,
            elsewhere: Vec::new(),
        }
    }
}

impl Default for Stun {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            public: Vec::new(),
            ports: [lanyard_wire::limits::STUN_PORT, lanyard_wire::limits::STUN_ALTERNATE_PORT],
            strict: true,
            elsewhere: Vec::new(),
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        let port = lanyard_wire::limits::WEB_PORT;
        Self {
            listen: "0.0.0.0:8080".to_owned(),
            tls: vec![([0, 0, 0, 0], port).into(), ([0u16; 8], port).into()],
            certificate: String::new(),
            key: String::new(),
            url: String::new(),
            proxies: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
            networks_by: NetworksBy::Admins,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    /// Reads the file and the environment, and checks that it makes sense.
    ///
    /// # Errors
    /// A [`Problem`] that names the file, the line or the variable.
    pub fn load(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Self, Problem> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let text = if error.kind() == std::io::ErrorKind::NotFound {
                format!(
                    "there is no {}: run \"lanyard-server init\" first, or name the right --config",
                    path.display()
                )
            } else {
                format!("{} cannot be read ({error}): run this as the user who owns it", path.display())
            };
            Problem::new("config.unreadable", text)
        })?;
        let config = Self::parse(&text, &path.display().to_string(), env)?;
        config.check()?;
        Ok(config)
    }

    /// Reads the text of a file and the environment.
    ///
    /// # Errors
    /// A [`Problem`] that names the line or the variable.
    pub fn parse(
        text: &str,
        source: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Problem> {
        // Once from the text, where an error has its line; the table then takes the overrides.
        toml::from_str::<Self>(text).map_err(|error| {
            let is_unknown = error.message().starts_with("unknown field");
            let code = if is_unknown { "config.unknown_key" } else { "config.invalid" };
            Problem::new(code, format!("{source} is wrong: {}", error.to_string().trim_end()))
        })?;
        let mut table: Table = toml::from_str(text)
            .map_err(|error| Problem::new("config.invalid", format!("{source} is wrong: {error}")))?;
        let known = Self::known_keys();
        for (variable, value) in env.filter(|(name, _)| name.starts_with(ENV_PREFIX)) {
            if !ENV_OPTIONS.contains(&variable.as_str()) {
                apply(&mut table, &known, &variable, &value)?;
            }
        }
        table.try_into().map_err(|error: toml::de::Error| {
            Problem::new(
                "config.invalid",
                format!("the environment overrides {source} wrongly: {}", error.message()),
            )
        })
    }

    /// Every table and key with its default.
    ///
    /// # Panics
    /// Never: the defaults are plain values.
    #[must_use]
    pub fn known_keys() -> Table {
        #[expect(clippy::expect_used, reason = "defaults hold nothing that TOML cannot say")]
        Table::try_from(Self::default()).expect("defaults are TOML")
    }

    /// Whether that service runs in this process.
    #[must_use]
    pub fn runs(&self, service: Service) -> bool {
        self.services.run.contains(&service)
    }

    /// Whether one of the services on the control sockets runs in this process.
    #[must_use]
    pub fn runs_control(&self) -> bool {
        [Service::Checkpoint, Service::Handshake, Service::Relay]
            .into_iter()
            .any(|service| self.runs(service))
    }

    /// Where the database is.
    ///
    /// # Errors
    /// A [`Problem`] that says what is wrong with `data.database`.
    pub fn database(&self) -> Result<Location, Problem> {
        let location = Location::parse(&self.data.database, &self.data.dir)
            .map_err(|why| Problem::new("config.invalid", format!("data.database {why}")))?;
        Ok(match self.data.password_file.as_str() {
            "" => location,
            file => location.with_password_file(&self.data.dir.join(file)),
        })
    }

    /// What browsers call this server, without a path: as set, or by TLS if there is any; `None` when no page is served.
    #[must_use]
    pub fn web_url(&self) -> Option<String> {
        if !self.web.url.is_empty() {
            return Some(self.web.url.trim_end_matches('/').to_owned());
        }
        let host = &self.public.host;
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.clone() };
        if let Some(address) = self.web.tls.first() {
            let port = if address.port() == 443 { String::new() } else { format!(":{}", address.port()) };
            return Some(format!("https://{host}{port}"));
        }
        let (_, port) = self.web.listen.rsplit_once(':')?;
        Some(format!("http://{host}:{port}"))
    }

    /// The proxies that are believed.
    ///
    /// # Errors
    /// A [`Problem`] that names the entry of `web.proxies` that is no prefix.
    pub fn proxies(&self) -> Result<Vec<IpNetwork>, Problem> {
        let parse = |text: &String| {
            text.parse().map_err(|_| {
                let why = format!("web.proxies: \"{text}\" is no address and no prefix like \"10.0.0.0/8\"");
                Problem::new("config.invalid", why)
            })
        };
        self.web.proxies.iter().map(parse).collect()
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// A [`Problem`] that names the key and what would do.
    pub fn check(&self) -> Result<(), Problem> {
        let wrong = |key: &str, why: &str| Err(Problem::new("config.invalid", format!("{key} {why}")));
        if self.services.run.is_empty() {
            return wrong("services.run", "is empty: name at least one service");
        }
        if self.public.host.is_empty() && self.runs(Service::Checkpoint) {
            return wrong(
                "public.host",
                "is empty: set the IP address or name that devices reach this server by",
            );
        }
        if self.public.host.contains(['/', ' ', '#', '?', '@']) {
            return wrong("public.host", "must be a bare IP address or name, without scheme, port or path");
        }
        if self.data.link_days > LINK_DAYS_MAX {
            return wrong("data.link_days", "is from 0 to 30");
        }
        if self.runs_control() && self.control.listen.is_empty() {
            return wrong("control.listen", "is empty: give at least \"0.0.0.0:7443\"");
        }
        let is_v4 = |ip: &&IpAddr| ip.is_ipv4();
        for (key, list) in [("stun.addresses", &self.stun.addresses), ("stun.public", &self.stun.public)] {
            let four = list.iter().filter(is_v4).count();
            if four > 2 || list.len() - four > 2 {
                return wrong(key, "takes at most two addresses of each family");
            }
        }
        if !self.stun.public.is_empty() && self.stun.public.len() != self.stun.addresses.len() {
            return wrong("stun.public", "must name as many addresses as stun.addresses, in the same order");
        }
        if self.stun.ports[0] == self.stun.ports[1] && self.stun.ports[0] != 0 {
            return wrong("stun.ports", "must be two different ports");
        }
        for (key, address) in [("web.listen", &self.web.listen), ("bus.listen", &self.bus.listen)] {
            if !address.is_empty() && address.parse::<SocketAddr>().is_err() {
                return wrong(key, "must be ADDRESS:PORT, for example \"127.0.0.1:8080\", or empty");
            }
        }
        let is_origin = |url: &str| {
            url::Url::parse(url).is_ok_and(|url| {
                ["http", "https"].contains(&url.scheme())
                    && url.has_host()
                    && url.path() == "/"
                    && url.query().is_none()
            })
        };
        if !self.web.url.is_empty() && !is_origin(&self.web.url) {
            return wrong(
                "web.url",
                "must be SCHEME://NAME or SCHEME://NAME:PORT, for example \"https://lan.example.org\"",
            );
        }
        if self.web.certificate.is_empty() != self.web.key.is_empty() {
            return wrong("web.certificate", "and web.key go together: set both, or neither");
        }
        if self.runs(Service::Checkpoint) && !self.runs(Service::Index) && self.bus.connect.is_empty() {
            return wrong(
                "bus.connect",
                "is empty: a checkpoint without its own index needs the address of one",
            );
        }
        self.proxies()?;
        providers::check(&self.oidc)?;
        self.database().map(drop)
    }
}
