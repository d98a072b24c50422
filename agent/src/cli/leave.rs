//! `lanyard leave`: end a membership.

use super::Context;
use super::output::{other, unexpected};
use crate::exit::{Exit, Problem};
use crate::ipc::schema::{Answer, Ask};

/// Leave a network
///
/// Ends this device's membership at the coordinator. Joining again needs an invite again.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Its name; NETWORK@HOST where two coordinators have one of the same name
    network: String,
}

pub(super) fn run(arguments: Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let answer = context.ask(&Ask::Leave { network: arguments.network })?.next().ok_or_else(unexpected)??;
    context.print(answer, render);
    Ok(Exit::Ok)
}

fn render(answer: &Answer) -> String {
    if let Answer::Left { network } = answer { format!("left {network}\n") } else { other(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_left_is_named() {
        assert_eq!(render(&Answer::Left { network: "home".to_owned() }), "left home\n");
    }
}
