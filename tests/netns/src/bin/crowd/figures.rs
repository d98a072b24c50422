//! What is measured, what comes of the rounds, and how it is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lanyard_netns::bench::Figure;
use lanyard_netns::median::median;

/// All figures, in the order in which they are shown.
pub(super) const FIGURES: [Figure; 14] = [
    Figure::new("one_gbps", "TCP from one peer, Gbit/s", 2),
    Figure::new("all_gbps", "TCP from all active peers, Gbit/s", 2),
    Figure::new("ratio", "all to one", 2),
    Figure::new("fairness", "Jain's index of all", 3),
    Figure::new("one_cpu_s_per_gb", "processor seconds per GB, the hub, one", 2),
    Figure::new("all_cpu_s_per_gb", "processor seconds per GB, the hub, all", 2),
    Figure::new("one_back_gbps", "TCP to one peer, Gbit/s", 2),
    Figure::new("all_back_gbps", "TCP to all active peers, Gbit/s", 2),
    Figure::new("back_ratio", "all to one", 2),
    Figure::new("back_fairness", "Jain's index of all", 3),
    Figure::new("left_out_s", "seconds left out, s", 0),
    Figure::new("idle_percent", "idle, % of a core", 3),
    Figure::new("grown_kib", "memory per known peer, grown, KiB", 2),
    Figure::new("started_kib", "memory per known peer, after a start, KiB", 2),
];

/// Figures that are the ratio of two others.
const RATIOS: [(&str, &str, &str); 2] =
    [("ratio", "all_gbps", "one_gbps"), ("back_ratio", "all_back_gbps", "one_back_gbps")];

/// The figures of one round.
pub(super) type Round = BTreeMap<&'static str, f64>;

/// All rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(Vec<Round>);

impl Rounds {
    /// Adds one.
    pub(super) fn add(&mut self, round: Round) {
        self.0.push(round);
    }

    /// Every round, for programs.
    pub(super) fn all(&self) -> &[Round] {
        &self.0
    }

    /// The median of a figure, of ratios that of the medians; none if no round has it.
    pub(super) fn median(&self, figure: &str) -> Option<f64> {
        if let Some((_, of, to)) = RATIOS.iter().find(|(name, ..)| *name == figure) {
            return Some(self.median(of)? / self.median(to)?);
        }
        median(self.0.iter().filter_map(|round| round.get(figure).copied()))
    }

    /// A table for people: a row for each figure.
    pub(super) fn table(&self) -> String {
        let mut text = "| | median | rounds |\n| --- | --- | --- |\n".to_owned();
        for figure in FIGURES {
            let Some(median) = self.median(figure.name) else { continue };
            let all = self.0.iter().filter_map(|round| round.get(figure.name));
            let all: Vec<String> = all.map(|value| figure.show(*value)).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {} | {} |", figure.title, figure.show(median), all.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_figure_that_was_measured() {
        let mut rounds = Rounds::default();
        for value in [1.0, 3.0, 2.0] {
            let one = 5.0 - value;
            rounds
                .add([("one_gbps", one), ("all_gbps", value), ("ratio", value / one)].into_iter().collect());
        }
        assert_eq!(rounds.median("all_gbps"), Some(2.0));
        let table = rounds.table();
        assert!(table.contains("| TCP from one peer, Gbit/s | 3.00 | 4.00, 2.00, 3.00 |\n"), "{table}");
        assert!(table.ends_with("| all to one | 0.67 | 0.25, 1.50, 0.67 |\n"), "{table}");
    }
}
