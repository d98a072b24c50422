//! Running the cells, some at a time, with a line for each run as it ends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use lanyard_netns::cell::Cell;
use lanyard_netns::connect_pair;

use super::results::{Measured, Results, Run};
use super::{Format, Options};

/// Measures every cell as often as asked for.
pub(super) fn measure(options: &Options) -> Result<Results> {
    let tasks: Vec<(usize, &Cell)> =
        options.cells.iter().enumerate().flat_map(|task| std::iter::repeat_n(task, options.runs)).collect();
    let next = AtomicUsize::new(0);
    let cells = options.cells.iter().map(|cell| Measured::of(cell.clone())).collect();
    let results = Mutex::new(Results { links: options.links, cells });
    let total = tasks.len();
    say(
        options.format,
        &format!(
            "{:<36} {:<8} {:<8} {:>12} {:>12} {:>8}",
            "cell, initiator first", "expected", "path", "first reply", "direct after", "packets"
        ),
    );
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some((index, cell)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = connect_pair(&cell.topology(options.links), cell.patience());
                    let run = Run::of(outcome);
                    let line = format!("{:<36} {:<8} {run}", cell.name, cell.expected.path());
                    let Ok(mut results) = results.lock() else { return };
                    if let Some(measured) = results.cells.get_mut(*index) {
                        measured.runs.push(run);
                    }
                    let done: usize = results.cells.iter().map(|measured| measured.runs.len()).sum();
                    say(options.format, &format!("{line}   {done}/{total}"));
                }
            });
        }
    });
    results.into_inner().map_err(|_| anyhow!("a thread panicked"))
}

/// Lines of single runs go beside what programs read.
fn say(format: Format, line: &str) {
    match format {
        Format::Plain => println!("{line}"),
        Format::Json | Format::Markdown | Format::Share => eprintln!("{line}"),
    }
}
