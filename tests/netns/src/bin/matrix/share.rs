//! The share of pairs that are direct in a population, computed from what the matrix measured.
//!
//! A population says how many endpoints in a hundred are of which [`Class`], and how many pairs in a hundred have IPv6
//! at both ends. Two endpoints meet by chance; their chance of a direct path is what their classes came to in the matrix,
//! all cells of the two classes together, whoever began. A pair with IPv6 at both ends has the chance of `dual-stack`
//! besides, unless UDP does not get out at all. The limit is what would come out if every cell were as expected.
//! The weights are assumptions, bracketed by published measurements (docs/matrix.md).

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use lanyard_netns::cell::{Class, Expected, expected};

use super::results::Results;
use super::table::of_classes;

/// How many endpoints of a hundred are of which class.
struct Population {
    name: &'static str,
    weights: [(Class, f64); 7],
    /// How many pairs of a hundred have IPv6 at both ends.
    ipv6: f64,
}

const POPULATIONS: [Population; 3] = [
    population("homes and cloud", [25.0, 3.0, 62.0, 3.0, 2.0, 4.0, 1.0], 35.0),
    population("homes, cloud, mobiles", [15.0, 3.0, 58.0, 5.0, 7.0, 10.0, 2.0], 30.0),
    population("with offices", [12.0, 2.0, 48.0, 5.0, 5.0, 20.0, 8.0], 15.0),
];

/// A population is within reach when it is no farther than this from its limit.
const MARGIN: f64 = 1.0;

const fn population(name: &'static str, weights: [f64; 7], ipv6: f64) -> Population {
    let [o, a, p, q, b, r, x] = weights;
    let weights = [
        (Class::Reachable, o),
        (Class::AddressRestricted, a),
        (Class::PortRestricted, p),
        (Class::Sequential, q),
        (Class::Block, b),
        (Class::Random, r),
        (Class::NoUdp, x),
    ];
    Population { name, weights, ipv6 }
}

/// A line per population.
pub(super) fn report(results: &Results) -> Result<String> {
    let mut text = String::from("| population | direct | limit | |\n| --- | --- | --- | --- |\n");
    let dual_stack = results
        .cells
        .iter()
        .find(|measured| measured.cell.name == "dual-stack" && !measured.runs.is_empty())
        .context("the cell dual-stack was not measured")?;
    let ipv6 = dual_stack.direct() as f64 / dual_stack.runs.len() as f64;
    for population in &POPULATIONS {
        let measured = population.share(ipv6, |a, b| {
            let cells = of_classes(results, a, b);
            let runs: usize = cells.iter().map(|measured| measured.runs.len()).sum();
            let direct: usize = cells.iter().map(|measured| measured.direct()).sum();
            (runs > 0).then(|| direct as f64 / runs as f64)
        })?;
        let limit = population.limit()?;
        let verdict = if limit - measured <= MARGIN { "within a point" } else { "too few" };
        let _ = writeln!(text, "| {} | {measured:.1} % | {limit:.1} % | {verdict} |", population.name);
    }
    Ok(text)
}

impl Population {
    /// In percent of all pairs; `chance` is that of two classes without IPv6.
    fn share(&self, chance6: f64, chance: impl Fn(Class, Class) -> Option<f64>) -> Result<f64> {
        let mut sum = 0.0;
        for (a, of_a) in self.weights {
            for (b, of_b) in self.weights {
                let both = of_a * of_b / 100.0;
                let by_v4 =
                    chance(a, b).with_context(|| format!("no cell of {a:?} and {b:?} was measured"))?;
                let has_v6 = if a == Class::NoUdp || b == Class::NoUdp { 0.0 } else { self.ipv6 / 100.0 };
                sum += both * (by_v4 + has_v6 * chance6 * (1.0 - by_v4));
            }
        }
        Ok(sum)
    }

    fn limit(&self) -> Result<f64> {
        self.share(1.0, |a, b| Some(if expected(a, b) == Expected::Direct { 1.0 } else { 0.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_theory() {
        let limits = POPULATIONS.each_ref().map(|population| population.limit().unwrap());
        for (limit, theory) in limits.into_iter().zip([97.5, 92.8, 77.2]) {
            assert!((limit - theory).abs() < 0.06, "{limits:?}");
        }
    }

    #[test]
    fn weights_are_percent() {
        for population in &POPULATIONS {
            let sum: f64 = population.weights.iter().map(|(_, weight)| weight).sum();
            assert!((sum - 100.0).abs() < 1e-9, "{}", population.name);
        }
    }

    #[test]
    fn a_class_that_was_not_measured_is_an_error_and_no_guess() {
        assert!(POPULATIONS[0].share(1.0, |_, _| None).is_err());
        assert!(report(&Results::default()).is_err());
    }
}
