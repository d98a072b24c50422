//! `lanyard-server init`
//!
//! 1. Nothing of a coordinator may be there yet; otherwise nothing is touched.
//! 2. Data directory, keys, settings, database.
//! 3. First network, its invite, the one-time admin link.
//!
//! What a failing run has made it removes again, so that the next run starts clean.

use std::fmt::Write as _;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey};
use lanyard_wire::names::NetworkName;
use serde_json::json;

use super::output::hanging;
use super::{Place, args, environment, operator};
use crate::api;
use crate::config::Config;
use crate::debris::{Debris, unwritable};
use crate::entrance::Entrance;
use crate::index::invites::NewInvite;
use crate::index::networks::NewNetwork;
use crate::index::{Clock, Index, Schema};
use crate::keys::{self, FLEET_FILE, IDENTITY_FILE};
use crate::problem::Problem;
use crate::routes::local_prefixes;

/// Devices the first invite lets in.
const FIRST_INVITE_USES: u32 = 5;

/// How long the first invite lasts.
const FIRST_INVITE_MS: i64 = 24 * 3_600_000;

/// Makes a coordinator.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// What devices reach this server by: its public IP address, or a name that leads to it.
    #[arg(long, value_name = "HOST|IP")]
    public: String,
    /// A second public IP address of this server: makes STUN a true pair.
    #[arg(long, value_name = "IP")]
    public_alt: Option<IpAddr>,
    /// Name of the first network.
    #[arg(long, default_value = "home", value_parser = args::network_name)]
    network: NetworkName,
    /// Where to keep the data, instead of a file in the data directory: "sqlite:FILE", or an empty database of a
    /// Postgres server.
    #[arg(long, value_name = "postgres://USER@HOST/NAME")]
    database: Option<String>,
    /// File with the password for Postgres, which only the service may read.
    #[arg(long, value_name = "FILE", requires = "database")]
    password_file: Option<PathBuf>,
}

/// What was made, for people and programs.
struct Made {
    config: Config,
    key: PublicKey,
    join: String,
    link: Option<String>,
    network: NetworkName,
    notes: Vec<String>,
    start: String,
}

impl Init {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let dir = std::path::absolute(place.dir()).context("find the data directory")?;
        let config_path = place.config_path();
        refuse_to_repeat(&dir, &config_path)?;
        let (text, mut notes) = self.settings(&dir)?;
        let config = Config::parse(&text, "the new settings", environment())?;
        config.check()?;
        notes.extend(config.web.tls.first().and_then(|address| api::tls::obstacle(*address)));

        let mut debris = Debris::default();
        if !dir.exists() {
            debris.dirs.push(dir.clone());
        }
        keys::create_private_dir(&dir).map_err(|error| unwritable(&dir, &error))?;
        let mut made = self.make(&dir, &config_path, &text, config, notes, &mut debris).await?;
        debris.keep();
        made.start = place.start_command();
        made.print(place)
    }

    async fn make(
        &self,
        dir: &Path,
        config_path: &Path,
        text: &str,
        config: Config,
        notes: Vec<String>,
        debris: &mut Debris,
    ) -> anyhow::Result<Made> {
        let identity = debris.secret(&dir.join(IDENTITY_FILE))?;
        let fleet = SymmetricKey::from_bytes(*debris.secret(&dir.join(FLEET_FILE))?);
        let key = SecretKey::from_bytes(*identity).public();
        keys::write_private(config_path, text.as_bytes()).map_err(|error| unwritable(config_path, &error))?;
        debris.files.push(config_path.to_owned());
        let database = config.database()?;
        debris.database(&database);
        let index = Index::open(&database, Schema::Create, &fleet, Clock::system()).await?;
        let actor = operator();
        index.set_public_key(&key, &actor).await?;
        index.add_network(&NewNetwork::by_invite(self.network.clone(), local_prefixes()), &actor).await?;
        let invite = NewInvite::for_devices(self.network.clone(), FIRST_INVITE_USES, FIRST_INVITE_MS);
        let (_, invite) = index.add_invite(&invite, &actor).await?;
        let code = index.new_admin_link(&actor).await?.to_string();
        let link = Entrance::of(&config).link("setup", &code).ok();
        index.close().await;
        let join = Entrance::of(&config).join_string(self.network.clone(), invite, key).to_string();
        Ok(Made { config, key, join, link, network: self.network.clone(), notes, start: String::new() })
    }

    /// The text of the settings file, and what the person should know about it.
    fn settings(&self, dir: &Path) -> anyhow::Result<(String, Vec<String>)> {
        let mut notes = Vec::new();
        let public = self.public_addresses()?;
        let all: Vec<IpAddr> = public.iter().copied().chain(self.public_alt).collect();
        let is_here = |ip: &IpAddr| UdpSocket::bind((*ip, 0)).is_ok();
        let mut text = format!(
            "# Made by \"lanyard-server init\". Every other key: docs/examples/lanyard-server.toml.\n\n\
             [public]\nhost = {}\naddresses = {}\n\n[data]\ndir = {}\n",
            quoted(&self.public),
            list(&all),
            quoted(&dir.display().to_string()),
        );
        if let Some(database) = &self.database {
            let _ = writeln!(text, "database = {}", quoted(database));
        }
        if let Some(file) = &self.password_file {
            let file = std::path::absolute(file).context("find the password file")?;
            let _ = writeln!(text, "password_file = {}", quoted(&file.display().to_string()));
        }
        if all.iter().any(|ip| !is_here(ip)) {
            notes.push(
                "this machine does not own its public address: let the router in front pass on UDP 7443, 3478 and 3479, \
                 and TCP 443"
                    .to_owned(),
            );
        } else if self.public_alt.is_some() {
            let _ = write!(text, "\n[stun]\naddresses = {}\n", list(&all));
        }
        if self.public_alt.is_some() && !text.contains("[stun]") {
            notes.push("name the two local addresses behind it in stun.addresses and stun.public".to_owned());
        }
        Ok((text, notes))
    }

    fn public_addresses(&self) -> anyhow::Result<Vec<IpAddr>> {
        let host = self.public.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let found = (host, 0).to_socket_addrs().map_err(|error| {
            let text = format!(
                "the name \"{host}\" leads nowhere ({error}): check its spelling and its DNS record, or give the \
                 server's public IP address"
            );
            Problem::new("init.unknown_host", text)
        })?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }
}

impl Made {
    fn print(&self, place: &Place) -> anyhow::Result<ExitCode> {
        let data = json!({
            "dir": self.config.data.dir,
            "key": self.key.to_string(),
            "network": self.network.to_string(),
            "join": self.join,
            "setup": self.link,
            "notes": self.notes,
            "start": self.start,
        });
        place.output.print("coordinator", &data, || self.render())
    }

    fn render(&self) -> String {
        let config = &self.config;
        let udp = config.control.listen.first().map_or(0, std::net::SocketAddr::port);
        let tls = config.web.tls.first().map(|address| format!("; tcp {}", address.port()));
        let mut text = format!(
            "data       {}\nserver key {}\nlistening  udp {udp}, {} and {}{}\n",
            config.data.dir.display(),
            self.key,
            config.stun.ports[0],
            config.stun.ports[1],
            tls.unwrap_or_default(),
        );
        if let Some(link) = &self.link {
            let _ = write!(text, "admin      {link}\n           (one use, 1 hour)\n");
        }
        for note in &self.notes {
            text.push_str(&hanging("note       ", note));
        }
        let _ = write!(
            text,
            "\nstart it:  {}\nfirst join (network \"{}\", {FIRST_INVITE_USES} devices, 24 h):\n\n\
             lanyard join '{}'\n",
            self.start, self.network, self.join,
        );
        text
    }
}

/// Step 1: a coordinator that is there stays as it is.
fn refuse_to_repeat(dir: &Path, config_path: &Path) -> Result<(), Problem> {
    let files =
        [dir.join(IDENTITY_FILE), dir.join(FLEET_FILE), dir.join("lanyard.db"), config_path.to_owned()];
    let Some(there) = files.iter().find(|file| file.exists()) else { return Ok(()) };
    let text = format!(
        "there is a coordinator already: {} exists, and nothing was changed. Run \"lanyard-server serve\" to start it, \
         or give another --dir to make a second one",
        there.display()
    );
    Err(Problem::new("init.exists", text))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(addresses: &[IpAddr]) -> String {
    let items: Vec<String> = addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
    format!("[{}]", items.join(", "))
}
