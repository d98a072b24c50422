//! What the agent is told by its administrator: defaults < file < environment < flag, in one table.
//!
//! Every setting is one row of [`KEYS`]: its name in the file and as a flag, its environment variable, its
//! default, and the function that parses it. All four origins pass the same parser, so a wrong value is
//! refused in the same words wherever it stands. A key that no row knows is refused by name.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::exit::{Code, Problem};

/// Where the file stands when neither a flag nor `LANYARD_CONFIG` names another.
pub const DEFAULT_FILE: &str = place::FILE;

/// Where things are on this system when nobody says otherwise.
#[cfg(target_os = "linux")]
mod place {
    pub(super) const FILE: &str = "/etc/lanyard/lanyard.toml";
    pub(super) const SOCKET: &str = "/run/lanyard/lanyard.sock";
    pub(super) const STATE: &str = "/var/lib/lanyard";
    pub(super) const TUN: &str = "lanyard0";
}

#[cfg(target_os = "macos")]
mod place {
    pub(super) const FILE: &str = "/usr/local/etc/lanyard/lanyard.toml";
    pub(super) const SOCKET: &str = "/var/run/lanyard/lanyard.sock";
    pub(super) const STATE: &str = "/var/db/lanyard";
    /// The system adds a number and takes no other name.
    pub(super) const TUN: &str = "utun";
}

#[cfg(windows)]
mod place {
    pub(super) const FILE: &str = r"C:\ProgramData\lanyard\lanyard.toml";
    pub(super) const SOCKET: &str = r"\\.\pipe\lanyard";
    pub(super) const STATE: &str = r"C:\ProgramData\lanyard\state";
    pub(super) const TUN: &str = "lanyard0";
}

/// The environment variable that names the file.
pub const FILE_VARIABLE: &str = "LANYARD_CONFIG";

/// All settings, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The local socket by which commands reach the agent.
    pub socket: PathBuf,
    /// The directory that holds the keys, the memberships and the lock.
    pub state: PathBuf,
    /// The name of the virtual interface.
    pub tun: String,
    /// The UDP port; 0 keeps the one used last, or takes any free one.
    pub port: u16,
    /// Ask the router to map the UDP port (PCP, NAT-PMP, UPnP-IGD).
    pub port_mapping: bool,
    /// The name of this device for networks it joins; empty takes the host name.
    pub name: String,
    /// The proxy that doors are opened through.
    pub proxy: ProxySetting,
    /// Pass on sealed packets for pairs of its networks that cannot meet directly.
    pub relay: bool,
    /// Mbit/s of that, for all of them together.
    pub relay_rate: u32,
    /// Send the first packets of a pair beside WireGuard's handshake, and take those of others.
    pub early_packets: bool,
    /// Where Prometheus reads the agent's numbers over HTTP; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    /// The highest log level, or a filter such as `info,lanyard_proto=debug`.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// A proxy's URL, `none`, or nothing for what the environment says. It may hold a password, so it does not print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxySetting(String);

impl ProxySetting {
    /// The text of the setting.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "from the environment" } else { "set" })
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// One setting.
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// Its flag, without the two dashes in front.
    pub flag: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// Its value when nobody says otherwise.
    pub default: &'static str,
    /// What it does, as docs/examples/lanyard.toml explains it.
    pub help: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

/// Every setting there is.
pub const KEYS: &[Key] = &[
    Key {
        name: "socket",
        flag: "socket",
        variable: "LANYARD_SOCKET",
        default: place::SOCKET,
        help: "local socket by which commands reach the agent",
        set: |config, text| path(text).map(|value| config.socket = value),
    },
    Key {
        name: "state",
        flag: "state",
        variable: "LANYARD_STATE",
        default: place::STATE,
        help: "directory of the keys and memberships",
        set: |config, text| path(text).map(|value| config.state = value),
    },
    Key {
        name: "tun",
        flag: "tun",
        variable: "LANYARD_TUN",
        default: place::TUN,
        help: "name of the virtual interface",
        set: |config, text| interface(text).map(|value| config.tun = value),
    },
    Key {
        name: "port",
        flag: "port",
        variable: "LANYARD_PORT",
        default: "0",
        help: "UDP port; 0 keeps the last one, or takes any free one",
        set: |config, text| {
            let value = text.parse().map_err(|_| "is not a port number from 0 to 65535".to_owned())?;
            config.port = value;
            Ok(())
        },
    },
    Key {
        name: "port_mapping",
        flag: "port-mapping",
        variable: "LANYARD_PORT_MAPPING",
        default: "true",
        help: "ask the router to map the UDP port (PCP, NAT-PMP, UPnP): true or false",
        set: |config, text| switch(text).map(|value| config.port_mapping = value),
    },
    Key {
        name: "name",
        flag: "name",
        variable: "LANYARD_NAME",
        default: "",
        help: "name of this device; empty takes the host name",
        set: |config, text| device_name(text).map(|value| config.name = value),
    },
    Key {
        name: "proxy",
        flag: "proxy",
        variable: "LANYARD_PROXY",
        default: "",
        help: "HTTP proxy where UDP is blocked; empty takes HTTPS_PROXY, none uses none",
        set: |config, text| {
            crate::door::proxy::check(text)?;
            config.proxy = ProxySetting(text.to_owned());
            Ok(())
        },
    },
    Key {
        name: "relay",
        flag: "relay",
        variable: "LANYARD_RELAY",
        default: "off",
        help: "pass on sealed packets for pairs of your networks that cannot meet directly: off or network",
        set: |config, text| willing(text).map(|value| config.relay = value),
    },
    Key {
        name: "relay_rate",
        flag: "relay-rate",
        variable: "LANYARD_RELAY_RATE",
        default: "50",
        help: "Mbit/s passed on for all of them together, 1 to 100000",
        set: |config, text| relay_rate(text).map(|value| config.relay_rate = value),
    },
    Key {
        name: "early_packets",
        flag: "early-packets",
        variable: "LANYARD_EARLY_PACKETS",
        default: "true",
        help: "send a pair's first packets beside the handshake, sealed to a key of the day: true or false",
        set: |config, text| switch(text).map(|value| config.early_packets = value),
    },
    Key {
        name: "metrics",
        flag: "metrics",
        variable: "LANYARD_METRICS",
        default: "",
        help: "address and port at which Prometheus reads numbers; a port alone is on 127.0.0.1, empty is off",
        set: |config, text| endpoint(text).map(|value| config.metrics = value),
    },
    Key {
        name: "log",
        flag: "log",
        variable: "LANYARD_LOG",
        default: "info",
        help: "log level: error, warn, info, debug, trace, or a filter per module",
        set: |config, text| filter(text).map(|value| config.log = value),
    },
    Key {
        name: "log_format",
        flag: "log-format",
        variable: "LANYARD_LOG_FORMAT",
        default: "text",
        help: "text for people, json for machines",
        set: |config, text| log_format(text).map(|value| config.log_format = value),
    },
];

/// What flags said, by the name of the key.
pub type Flags = BTreeMap<&'static str, String>;

impl Config {
    /// Resolves all settings.
    ///
    /// `file` is the path of a `--config` flag; `environment` answers for a variable, as `std::env::var`
    /// does. Only the default file may be absent.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, an unknown key, or a value that does not parse; the problem names where
    /// it stands.
    pub fn resolve(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, Problem> {
        let mut config = Self::empty();
        for key in KEYS {
            config.set(key, key.default, "the default")?;
        }

        let (path, may_be_absent) = match (file, environment(FILE_VARIABLE)) {
            (Some(path), _) => (path.to_owned(), false),
            (None, Some(path)) => (PathBuf::from(path), false),
            (None, None) => (PathBuf::from(DEFAULT_FILE), true),
        };
        for (name, value) in read(&path, may_be_absent)? {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                return Err(unknown_key(&path, &name));
            };
            config.set(key, &value, &path.display().to_string())?;
        }

        for key in KEYS {
            if let Some(value) = environment(key.variable) {
                config.set(key, &value, &format!("the environment variable {}", key.variable))?;
            }
        }
        for key in KEYS {
            if let Some(value) = flags.get(key.name) {
                config.set(key, value, &format!("the flag --{}", key.flag))?;
            }
        }
        Ok(config)
    }

    /// A value for every field, before the defaults of the table are applied.
    fn empty() -> Self {
        Self {
            socket: PathBuf::new(),
            state: PathBuf::new(),
            tun: String::new(),
            port: 0,
            port_mapping: true,
            name: String::new(),
            proxy: ProxySetting::default(),
            relay: false,
            relay_rate: 0,
            early_packets: true,
            metrics: None,
            log: String::new(),
            log_format: LogFormat::Text,
        }
    }

    fn set(&mut self, key: &Key, value: &str, origin: &str) -> Result<(), Problem> {
        (key.set)(self, value).map_err(|why| {
            // A proxy's URL may hold a password.
            let shown = if key.name == "proxy" { "..." } else { value };
            let text = format!("{origin} sets {} = \"{shown}\", which {why}", key.name);
            Problem::new(Code::ConfigInvalid, text)
        })
    }
}

/// Reads the file as a flat list of names and values; numbers and booleans become text.
fn read(path: &Path, may_be_absent: bool) -> Result<Vec<(String, String)>, Problem> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if may_be_absent && error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let text =
                format!("cannot read {}: {error}; correct the path or its permissions", path.display());
            return Err(Problem::new(Code::ConfigUnreadable, text));
        }
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let text = format!("{} is not valid TOML: {error}", path.display());
        Problem::new(Code::ConfigUnreadable, text.trim_end())
    })?;
    table
        .into_iter()
        .map(|(name, value)| scalar(&value).map(|text| (name, text)).ok_or(value))
        .collect::<Result<_, toml::Value>>()
        .map_err(|value| {
            let text = format!(
                "{} holds a {} where a text or a number belongs; docs/examples/lanyard.toml shows every key",
                path.display(),
                value.type_str()
            );
            Problem::new(Code::ConfigInvalid, text)
        })
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            None
        }
    }
}

fn unknown_key(path: &Path, name: &str) -> Problem {
    let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    let text = format!(
        "{} has a key \"{name}\" that does not exist; remove it or correct it (keys are {})",
        path.display(),
        known.join(", ")
    );
    Problem::new(Code::ConfigUnknownKey, text)
}

fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("is not an absolute path".to_owned()) }
}

/// Accepts what Linux accepts as an interface name: 1 to 15 bytes, no slash, no white space.
fn interface(text: &str) -> Result<String, String> {
    let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    if fits && clean {
        Ok(text.to_owned())
    } else {
        Err("is not an interface name (1 to 15 letters, digits, dashes)".to_owned())
    }
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "is neither true nor false".to_owned())
}

fn willing(text: &str) -> Result<bool, String> {
    match text {
        "off" => Ok(false),
        "network" => Ok(true),
        _ => Err("is neither off nor network".to_owned()),
    }
}

fn relay_rate(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(rate @ 1..=100_000) => Ok(rate),
        Ok(_) | Err(_) => Err("is not a number of Mbit/s from 1 to 100000".to_owned()),
    }
}

/// A port alone is one of this computer's own.
fn endpoint(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    match port.or_else(|_| text.parse()) {
        Ok(addr) if addr.port() > 0 => Ok(Some(addr)),
        Ok(_) | Err(_) => {
            Err("is neither a port nor an address and a port, such as 127.0.0.1:9174".to_owned())
        }
    }
}

fn device_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    match text.parse::<lanyard_wire::names::DeviceName>() {
        Ok(name) => Ok(name.to_string()),
        Err(error) => Err(format!("is not a device name: {error}")),
    }
}

fn filter(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::filter::Targets>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("is not a log filter: {error}")),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is neither \"text\" nor \"json\"".to_owned()),
    }
}

#[cfg(test)]
mod tests;
