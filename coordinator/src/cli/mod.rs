//! The command line of the coordinator: one file for each command.
//!
//! Commands act on the data directory of this machine: whoever may read it is an administrator, nobody else is. A
//! running server notices their changes through the outbox. Exit codes: 0 done, 1 failed, 2 misused.

pub mod args;
pub mod backup;
pub mod check_config;
pub mod completion;
pub mod db;
pub mod demo;
pub mod device;
pub mod doctor;
pub mod find;
pub mod group;
pub mod health;
pub mod init;
pub mod invite;
pub mod link;
pub mod member;
pub mod meta;
pub mod network;
pub mod output;
pub mod role;
pub mod serve;
pub mod setup_link;
pub mod token;
pub mod user;
pub mod verdict;
pub mod version;
pub mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use self::output::Output;
use crate::config::Config;
use crate::index::{Actor, Clock, Index, Schema};
use crate::keys;

/// Where everything lies unless told otherwise.
const DEFAULT_DIR: &str = "/var/lib/lanyard-server";

/// Name of the settings file inside the data directory.
const CONFIG_FILE: &str = "lanyard-server.toml";

/// The coordinator of a lanyard: devices meet here and then talk to each other directly.
#[derive(Debug, Parser)]
#[command(name = "lanyard-server", version, about, max_term_width = 80)]
pub struct Cli {
    /// Data directory: keys, database and, unless --config is given, settings [default: /var/lib/lanyard-server].
    #[arg(long, global = true, env = "LANYARD_SERVER_DIR", value_name = "DIR", hide_env_values = true)]
    pub dir: Option<PathBuf>,
    /// Settings file [default: lanyard-server.toml in the data directory].
    #[arg(long, global = true, env = "LANYARD_SERVER_CONFIG", value_name = "PATH", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Print JSON ("v": 1) instead of text.
    #[arg(short, long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the data directory, keys, database, first network and an invite. Once.
    Init(init::Init),
    /// Run the services until told to stop.
    Serve(serve::Serve),
    /// Ask the server that runs here how its services are.
    Health,
    /// Look for what will not work: files, ports, addresses, clock, disk.
    Doctor,
    /// Read the settings and say what is wrong or what is in force.
    CheckConfig,
    /// Networks.
    #[command(subcommand)]
    Network(network::Network),
    /// Invites: codes that let devices join.
    #[command(subcommand)]
    Invite(invite::Invite),
    /// Members of a network, and devices that wait to become members.
    #[command(subcommand)]
    Member(member::Member),
    /// Devices, in whatever network.
    #[command(subcommand)]
    Device(device::Device),
    /// Users: who can sign in, and who may do what on this server.
    #[command(subcommand)]
    User(user::Command),
    /// Roles: what a user is in a network.
    #[command(subcommand)]
    Role(role::Command),
    /// Groups: users of a network under one name.
    #[command(subcommand)]
    Group(group::Command),
    /// Metadata: what people write about users, networks, devices and members.
    #[command(subcommand)]
    Meta(meta::Command),
    /// Find devices, members, users or networks: os:windows tag:nas site:berlin.
    Find(find::Find),
    /// Tokens: how programs act for a user.
    #[command(subcommand)]
    Token(token::Command),
    /// Webhooks: addresses of other programs that hear what happens.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// How pairs of devices reach each other, and what stands in the way.
    #[command(subcommand)]
    Verdict(verdict::Verdict),
    /// Show how data goes between devices, now and in the hours before.
    #[command(subcommand)]
    Link(link::Link),
    /// Save keys, settings and database, while the server runs.
    Backup(backup::Backup),
    /// Put a backup into an empty data directory, or look whether it could be (--check).
    Restore(backup::Restore),
    /// The database itself: copy it from SQLite to Postgres or back.
    #[command(subcommand)]
    Db(db::Db),
    /// Show the panel with a made-up town of devices that come and go.
    Demo(demo::Demo),
    /// Make a new one-time admin link; the one before stops working.
    SetupLink,
    /// Print completions for a shell.
    Completion(completion::Completion),
    /// Print the version.
    Version,
}

/// What every command gets: where things lie and how to print.
#[derive(Debug)]
pub struct Place {
    dir: Option<PathBuf>,
    config: Option<PathBuf>,
    output: Output,
}

/// Runs one command to its end.
///
/// # Errors
/// Whatever the command could not do.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let place = Place { dir: cli.dir, config: cli.config, output: Output::new(cli.json) };
    match cli.command {
        Command::Completion(command) => Ok(command.run()),
        Command::Version => version::run(&place),
        Command::CheckConfig => check_config::run(&place),
        Command::Doctor => wait_for(doctor::run(&place)),
        Command::Serve(command) => command.run(&place),
        Command::Health => wait_for(health::run(&place)),
        Command::Init(command) => wait_for(command.run(&place)),
        Command::Network(command) => wait_for(command.run(&place)),
        Command::Invite(command) => wait_for(command.run(&place)),
        Command::Member(command) => wait_for(command.run(&place)),
        Command::Device(command) => wait_for(command.run(&place)),
        Command::User(command) => wait_for(command.run(&place)),
        Command::Role(command) => wait_for(command.run(&place)),
        Command::Group(command) => wait_for(command.run(&place)),
        Command::Meta(command) => wait_for(command.run(&place)),
        Command::Find(command) => wait_for(command.run(&place)),
        Command::Token(command) => wait_for(command.run(&place)),
        Command::Webhook(command) => wait_for(command.run(&place)),
        Command::Verdict(command) => wait_for(command.run(&place)),
        Command::Link(command) => wait_for(command.run(&place)),
        Command::Backup(command) => wait_for(command.run(&place)),
        Command::Restore(command) => wait_for(command.run(&place)),
        Command::Db(command) => wait_for(command.run(&place)),
        Command::Demo(command) => wait_for(command.run(&place)),
        Command::SetupLink => wait_for(setup_link::run(&place)),
    }
}

/// Runs a command that asks the database.
fn wait_for(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(command)
}

impl Place {
    /// The data directory before any settings are read.
    fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR))
    }

    /// The settings file.
    fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.dir().join(CONFIG_FILE))
    }

    /// How to start what lies here.
    fn start_command(&self) -> String {
        let mut command = "lanyard-server serve".to_owned();
        if let Some(config) = &self.config {
            command += &format!(" --config {}", config.display());
        } else if let Some(dir) = self.dir.as_ref().filter(|dir| dir.as_os_str() != DEFAULT_DIR) {
            command += &format!(" --dir {}", dir.display());
        }
        command
    }

    /// The settings in force.
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(&self.config_path(), environment())?;
        if let Some(dir) = &self.dir {
            config.data.dir.clone_from(dir);
        }
        Ok(config)
    }

    /// Opens the database of those settings as it is.
    async fn index(&self, config: &Config) -> anyhow::Result<Index> {
        let fleet = keys::read_fleet(&config.data.dir)?;
        Ok(Index::open(&config.database()?, Schema::Require, &fleet, Clock::system()).await?)
    }
}

/// The environment as text; what is no Unicode cannot be one of our settings.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Who is at the keyboard, for the audit trail.
fn operator() -> Actor {
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    Actor::operator(&name.unwrap_or_else(|| "unknown".to_owned()))
}
