//! What is measured of everybody, what comes of the rounds, and how it is shown.
//!
//! Rounds take turns, so that whatever else the machine does meets everybody. Of a figure the median of the rounds
//! is shown; of two programs the ratio of their medians.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lanyard_netns::bench::Figure;
use lanyard_netns::median::median;
use serde_json::{Value, json};

use super::peer::{OURS, Peer};

/// All figures, in the order in which they are shown.
pub(super) const FIGURES: [Figure; 14] = [
    Figure::new("tcp1_gbps", "TCP, 1 stream, Gbit/s", 2),
    Figure::new("tcp1_back_gbps", "TCP, 1 stream back, Gbit/s", 2),
    Figure::new("tcp4_gbps", "TCP, 4 streams, Gbit/s", 2),
    Figure::new("tcp4_back_gbps", "TCP, 4 streams back, Gbit/s", 2),
    Figure::new("udp128_kpps", "UDP of 128 bytes, thousand/s", 1),
    Figure::new("cpu_s_per_gb", "processor seconds per GB, both ends", 2),
    Figure::new("ping_p50_ms", "ping p50 idle, ms", 3),
    Figure::new("ping_p99_ms", "ping p99 idle, ms", 3),
    Figure::new("ping_lost", "pings lost idle", 0),
    Figure::new("loaded_p50_ms", "ping p50 under 1 stream, ms", 3),
    Figure::new("loaded_p99_ms", "ping p99 under 1 stream, ms", 3),
    Figure::new("loaded_lost", "pings lost under 1 stream", 0),
    Figure::new("peak_mb", "most memory of both ends, MB", 1),
    Figure::new("first_packet_ms", "start to first packet, ms", 0),
];

/// The figures of one round of one program.
pub(super) type Round = BTreeMap<&'static str, f64>;

/// All rounds on one kind of wire: by round, by program.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(Vec<BTreeMap<&'static str, Round>>);

impl Rounds {
    /// Adds what a program had in a round.
    pub(super) fn add(&mut self, number: usize, peer: &'static str, round: Round) {
        while self.0.len() <= number {
            self.0.push(BTreeMap::new());
        }
        if let Some(rounds) = self.0.get_mut(number) {
            rounds.insert(peer, round);
        }
    }

    fn median(&self, peer: &str, figure: &str) -> Option<f64> {
        median(self.0.iter().filter_map(|round| round.get(peer)?.get(figure).copied()))
    }

    /// Our median divided by theirs, unless that is zero.
    fn ratio(&self, peer: &str, figure: &str) -> Option<f64> {
        let theirs = self.median(peer, figure).filter(|theirs| *theirs > 0.0)?;
        Some(self.median(OURS, figure)? / theirs)
    }

    /// A table for people: a row for each figure, a column for each program and for each ratio to it.
    pub(super) fn table(&self, peers: &[Peer]) -> String {
        let has_ours = peers.iter().any(|peer| peer.name == OURS);
        let mut head = vec![String::new()];
        for peer in peers {
            head.push(format!("{} {}", peer.name, peer.version));
            if has_ours && peer.name != OURS {
                head.push("ours to that".to_owned());
            }
        }
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        line(&head);
        line(&vec!["---".to_owned(); head.len()]);
        let none = || "-".to_owned();
        for figure in FIGURES {
            let mut cells = vec![figure.title.to_owned()];
            for peer in peers {
                let median = self.median(peer.name, figure.name);
                cells.push(median.map_or_else(none, |value| figure.show(value)));
                if has_ours && peer.name != OURS {
                    let ratio = self.ratio(peer.name, figure.name);
                    cells.push(ratio.map_or_else(none, |value| format!("{value:.2}")));
                }
            }
            line(&cells);
        }
        text
    }

    /// The same for programs, with every round.
    pub(super) fn to_json(&self, peers: &[Peer]) -> Value {
        let of_all = |value: &dyn Fn(&str, &str) -> Option<f64>| -> Value {
            let of_one = |peer: &Peer| -> BTreeMap<&str, f64> {
                let all = FIGURES.iter().map(|figure| figure.name);
                all.filter_map(|name| Some((name, value(peer.name, name)?))).collect()
            };
            peers.iter().map(|peer| (peer.name.to_owned(), json!(of_one(peer)))).collect()
        };
        json!({
            "medians": of_all(&|peer, figure| self.median(peer, figure)),
            "ratios": of_all(&|peer, figure| self.ratio(peer, figure)),
            "rounds": self.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Kind;

    fn round(value: f64) -> Round {
        [("tcp1_gbps", value)].into_iter().collect()
    }

    #[test]
    fn a_ratio_is_that_of_the_medians() {
        let mut rounds = Rounds::default();
        for (number, (ours, theirs)) in [(6.0, 1.0), (8.0, 2.0), (30.0, 3.0)].into_iter().enumerate() {
            rounds.add(number, OURS, round(ours));
            rounds.add(number, "other", round(theirs));
        }
        assert_eq!(rounds.median(OURS, "tcp1_gbps"), Some(8.0));
        assert_eq!(rounds.ratio("other", "tcp1_gbps"), Some(4.0));
        assert_eq!(rounds.median(OURS, "udp128_kpps"), None);
        assert_eq!(rounds.ratio("other", "udp128_kpps"), None);
        assert_eq!(rounds.ratio("nobody", "tcp1_gbps"), None);
    }

    #[test]
    fn a_table_has_a_column_for_each_program_and_each_ratio() {
        let mut rounds = Rounds::default();
        rounds.add(0, OURS, round(6.0));
        rounds.add(0, "bare", round(12.0));
        let peer = |name| Peer { name, kind: Kind::Bare, version: "1".to_owned() };
        let table = rounds.table(&[peer("bare"), peer(OURS)]);
        assert!(table.starts_with("|  | bare 1 | ours to that | lanyard 1 |\n"), "{table}");
        assert!(table.contains("| TCP, 1 stream, Gbit/s | 12.00 | 0.50 | 6.00 |"), "{table}");
    }
}
