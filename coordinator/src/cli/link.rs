//! `lanyard-server link list|history|retry`

use std::process::ExitCode;

use clap::Subcommand;

use super::output::table;
use super::{Place, operator};
use crate::index::Clock;
use crate::index::links::{HOUR_MS, LinkHour, LinkNow};
use crate::words::{ago, data};

/// What to do with links.
#[derive(Debug, Subcommand)]
pub enum Link {
    /// List how data goes between devices, as each end last reported; the newest first.
    List {
        /// Only links of this device: its number, id, or name.
        device: Option<String>,
    },
    /// Show the hours of a link, the newest first, by what its first device reported.
    History {
        /// The device that reported: its number, id, or name.
        device: String,
        /// The other one.
        peer: String,
        /// How far back, in hours.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(i64).range(1..=720))]
        hours: i64,
    },
    /// Have two devices try for a direct path now.
    Retry {
        /// One of them: its number, id, or name.
        device: String,
        /// The other one.
        peer: String,
    },
}

impl Link {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let now = Clock::system().now_ms();
        match self {
            Self::List { device } => {
                let device = match device {
                    Some(name) => Some(index.device(&name).await?.id),
                    None => None,
                };
                let links = index.links(device).await?;
                place.output.print("links", &links, || {
                    let rows: Vec<Vec<String>> = links.iter().map(|link| row(link, now)).collect();
                    table(&["FROM", "TO", "PATH", "RTT", "LOST", "SENT", "RECEIVED", "REPORTED"], &rows)
                })
            }
            Self::Retry { device, peer } => {
                let (one, other) = (index.device(&device).await?, index.device(&peer).await?);
                index.try_again(one.id, other.id, &operator()).await?;
                place.output.print("tried", &[&one.name.to_string(), &other.name.to_string()], || {
                    format!(
                        "{} and {} are called to try; \"link list\" shows what comes of it\n",
                        one.name, other.name
                    )
                })
            }
            Self::History { device, peer, hours } => {
                let (device, peer) = (index.device(&device).await?.id, index.device(&peer).await?.id);
                let list = index.link_hours(device, peer, now.saturating_sub(hours * HOUR_MS)).await?;
                place.output.print("link_hours", &list, || {
                    let rows: Vec<Vec<String>> = list.iter().map(|hour| hour_row(hour, now)).collect();
                    table(&["BEGAN", "PATH", "DIRECT", "RTT", "LOST", "SENT", "RECEIVED"], &rows)
                })
            }
        }
    }
}

fn row(link: &LinkNow, now_ms: i64) -> Vec<String> {
    vec![
        link.device_name.to_string(),
        link.peer_name.to_string(),
        link.path.to_string(),
        round_trip(link.rtt_us),
        share(link.lost, link.pings),
        data(link.tx_bytes),
        data(link.rx_bytes),
        ago(link.at, now_ms),
    ]
}

fn hour_row(hour: &LinkHour, now_ms: i64) -> Vec<String> {
    vec![
        ago(hour.hour, now_ms),
        hour.path.to_string(),
        share(hour.direct, hour.direct + hour.relayed),
        round_trip(hour.rtt_us),
        share(hour.lost, hour.pings),
        data(hour.tx_bytes),
        data(hour.rx_bytes),
    ]
}

/// A round trip in milliseconds.
fn round_trip(micros: Option<i64>) -> String {
    micros.map_or_else(|| "-".to_owned(), |micros| format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100))
}

/// A share in percent; "-" of nothing.
fn share(part: i64, whole: i64) -> String {
    (part * 100).checked_div(whole).map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_nothing_is_no_zero() {
        assert_eq!(round_trip(Some(12_345)), "12.3 ms");
        assert_eq!(round_trip(Some(87)), "0.0 ms");
        assert_eq!(round_trip(None), "-");
        assert_eq!(
            (share(1, 32), share(0, 5), share(0, 0)),
            ("3 %".to_owned(), "0 %".to_owned(), "-".to_owned())
        );
    }
}
