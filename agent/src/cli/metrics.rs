//! `lanyard metrics`: the agent's numbers as Prometheus reads them.

use super::Context;
use super::output::other;
use crate::exit::{Exit, Problem};
use crate::ipc::schema::{Answer, Ask};
use crate::metrics;

/// Print counters in Prometheus' text format
///
/// What the setting "metrics" serves over HTTP, for node_exporter's textfile collector: write it to a file beside, and
/// move that over the old one.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let text = context.ask_one(&Ask::Status { watch: false }, |answer| {
        if let Answer::Status(status) = answer { Some(metrics::render(&status)) } else { None }
    })?;
    context.print(Answer::Metrics { text }, render);
    Ok(Exit::Ok)
}

fn render(answer: &Answer) -> String {
    if let Answer::Metrics { text } = answer { text.clone() } else { other(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::counted_example;

    #[test]
    fn the_page_is_printed_as_it_is() {
        let text = metrics::render(&counted_example());
        assert_eq!(render(&Answer::Metrics { text: text.clone() }), text);
        assert!(text.starts_with("# HELP lanyard_agent_info "), "{text}");
    }
}
