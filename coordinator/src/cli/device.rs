//! `lanyard-server device list|show`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::Place;
use super::member::seen;
use super::output::table;
use crate::index::Clock;
use crate::index::devices;
use crate::index::memberships::Member;
use crate::words::ago;

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub enum Device {
    /// List devices.
    List,
    /// Show one device and the networks it is in.
    Show {
        /// Its number, id, or name.
        device: String,
    },
}

impl Device {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let now = Clock::system().now_ms();
        match self {
            Self::List => {
                let devices = index.devices().await?;
                place.output.print("devices", &devices, || render(&devices, now))
            }
            Self::Show { device } => {
                let device = index.device(&device).await?;
                let members = index.memberships_of(device.id).await?;
                place.output.print("details", &json!({ "device": device, "memberships": members }), || {
                    format!("{}\n{}", describe(&device, now), memberships(&members))
                })
            }
        }
    }
}

/// The table of devices.
pub(super) fn render(devices: &[devices::Device], now: i64) -> String {
    let rows: Vec<Vec<String>> = devices.iter().map(|device| row(device, now)).collect();
    table(&["DEVICE", "NUMBER", "SYSTEM", "AGENT", "SEEN"], &rows)
}

fn row(device: &devices::Device, now_ms: i64) -> Vec<String> {
    vec![
        device.name.to_string(),
        device.number.to_string(),
        device.os.chars().take(16).collect(),
        device.agent_version.chars().take(12).collect(),
        seen(device.online, device.last_seen_at, now_ms),
    ]
}

fn describe(device: &devices::Device, now_ms: i64) -> String {
    format!(
        "device    {}\nnumber    {}\nid        {}\nkey       {}\nsystem    {}\nagent     {}\nseen      {}\nenrolled  {}\n",
        device.name,
        device.number,
        device.id,
        device.identity,
        device.os,
        device.agent_version,
        seen(device.online, device.last_seen_at, now_ms),
        ago(device.created_at, now_ms),
    )
}

fn memberships(members: &[Member]) -> String {
    let row = |member: &Member| {
        vec![
            member.network.to_string(),
            member.name.to_string(),
            member.ip4.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            member.state.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    table(&["NETWORK", "AS", "ADDRESS", "STATE"], &rows)
}
