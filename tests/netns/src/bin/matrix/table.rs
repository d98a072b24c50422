//! Results for people: a summary line per cell, and the table of the README.

use std::fmt::Write as _;
use std::time::Duration;

use lanyard_netns::cell::{Class, Expected};

use super::results::{Measured, Results, millis, percentile};

/// Classes in the order of the table, with what they are called there.
const CLASSES: [(Class, &str); 7] = [
    (Class::Reachable, "reachable"),
    (Class::AddressRestricted, "address-restricted"),
    (Class::PortRestricted, "port-restricted, firewall"),
    (Class::Sequential, "symmetric, sequential"),
    (Class::Block, "symmetric, port block"),
    (Class::Random, "symmetric, random"),
    (Class::NoUdp, "no UDP"),
];

/// One line per cell.
pub(super) fn plain(results: &Results) -> String {
    let mut text = format!(
        "\n{:<36} {:<8} {:>9} {:>9} {:>17} {:>17} {:>8}\n",
        "cell, initiator first",
        "expected",
        "connected",
        "direct",
        "first p50/p95",
        "direct p50/p95",
        "packets"
    );
    for measured in &results.cells {
        let runs = measured.runs.len();
        let _ = writeln!(
            text,
            "{:<36} {:<8} {:>9} {:>9} {:>17} {:>17} {:>8}{}",
            measured.cell.name,
            measured.cell.expected.path(),
            format!("{}/{runs}", measured.connected()),
            format!("{}/{runs}", measured.direct()),
            both(&measured.first_replies()),
            both(&measured.direct_times()),
            measured.packets(),
            if measured.is_as_expected() { "" } else { "  <- not as expected" },
        );
    }
    let all = |times: fn(&Measured) -> Vec<Duration>| {
        let mut all: Vec<_> = results.cells.iter().flat_map(times).collect();
        all.sort_unstable();
        both(&all)
    };
    let _ = writeln!(
        text,
        "all cells: first reply p50/p95 {}, direct p50/p95 {}",
        all(Measured::first_replies),
        all(Measured::direct_times)
    );
    text
}

/// The table of the README: a class of NATs against each other, then the rows that are no such pair.
pub(super) fn markdown(results: &Results) -> String {
    let mut text = String::from("| |");
    for (_, name) in CLASSES {
        let _ = write!(text, " {name} |");
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(CLASSES.len()));
    text.push('\n');
    for (row, (a, name)) in CLASSES.iter().enumerate() {
        let _ = write!(text, "| **{name}** |");
        for (column, (b, _)) in CLASSES.iter().enumerate() {
            let cell = if column < row { String::new() } else { summary(&of_classes(results, *a, *b)) };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push_str("\n| otherwise | |\n| --- | --- |\n");
    let single = results.cells.iter().filter(|measured| {
        measured.cell.classes.is_none_or(|classes| classes == [Class::OnlyIpv6; 2])
            || measured.cell.name.contains("-accept") && measured.cell.name.contains("port-restricted")
    });
    for measured in single {
        let _ = writeln!(text, "| {} | {} |", measured.cell.name, summary(&[measured]));
    }
    let dearest = results.cells.iter().max_by_key(|measured| measured.packets());
    if let Some(dearest) = dearest {
        let _ = writeln!(
            text,
            "\nThe dearest attempt cost {} packets at one router ({}).",
            dearest.packets(),
            dearest.cell.name
        );
    }
    text
}

/// The cells of two classes, whoever begins.
pub(super) fn of_classes(results: &Results, a: Class, b: Class) -> Vec<&Measured> {
    let of = |measured: &&Measured| {
        measured.cell.classes.is_some_and(|classes| classes == [a, b] || classes == [b, a])
    };
    results.cells.iter().filter(of).collect()
}

/// `direct 20/20, 0.12/0.31 s`: how often, and how soon (half of them, 95 %).
fn summary(cells: &[&Measured]) -> String {
    let runs: usize = cells.iter().map(|measured| measured.runs.len()).sum();
    let direct: usize = cells.iter().map(|measured| measured.direct()).sum();
    let connected: usize = cells.iter().map(|measured| measured.connected()).sum();
    if runs == 0 {
        return "not measured".to_owned();
    }
    if cells.iter().all(|measured| measured.cell.expected == Expected::Relay) {
        let luck = if direct > 0 { format!(", {direct} direct by luck") } else { String::new() };
        return format!("relay {connected}/{runs}{luck}");
    }
    let mut times: Vec<Duration> = cells.iter().flat_map(|measured| measured.direct_times()).collect();
    times.sort_unstable();
    let seconds = |percent| Some(percentile(&times, percent)?.as_secs_f64());
    match (seconds(50), seconds(95)) {
        (Some(half), Some(most)) => format!("direct {direct}/{runs}, {half:.2}/{most:.2} s"),
        _ => format!("relay {connected}/{runs} (direct is expected)"),
    }
}

fn both(times: &[Duration]) -> String {
    match (percentile(times, 50), percentile(times, 95)) {
        (Some(half), Some(most)) => format!("{} / {}", half.as_millis(), millis(most)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lanyard_netns::Outcome;
    use lanyard_netns::cell::Cell;

    use super::super::results::Run;
    use super::*;

    #[test]
    fn a_class_is_one_cell_of_the_table_whoever_begins() {
        let run = |millis, path: &str| {
            Run::of(Ok(Outcome {
                first_reply: Duration::from_millis(45),
                path: path.to_owned(),
                direct_after: (path == "direct").then_some(Duration::from_millis(millis)),
                packets: vec![7, 12],
            }))
        };
        let cell = |name: &str, runs| Measured { cell: Cell::named(name).unwrap(), runs };
        let results = Results {
            cells: vec![
                cell("open:port-restricted", vec![run(100, "direct")]),
                cell("firewall:full-cone", vec![run(300, "direct")]),
                cell("symmetric:symmetric", vec![run(0, "relay")]),
            ],
            ..Results::default()
        };
        let table = markdown(&results);
        assert!(table.contains("| direct 2/2, 0.10/0.30 s |"), "{table}");
        assert!(table.contains("| relay 1/1 |"), "{table}");
        assert!(table.contains("cost 12 packets at one router"), "{table}");
    }
}
