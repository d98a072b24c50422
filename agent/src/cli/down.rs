//! `lanyard down`: networking off, memberships kept.

use super::Context;
use super::output::unexpected;
use super::up::render;
use crate::exit::{Exit, Problem};
use crate::ipc::schema::Ask;

/// Switch networking off
///
/// Without NETWORK: says good-bye to every coordinator, closes all tunnels, removes the virtual interface and
/// closes the UDP port. The agent keeps running and keeps its memberships; it stays down, also over a
/// restart, until "lanyard up". With NETWORK: this network's addresses and peers go away here, the others
/// stay; "lanyard up NETWORK" brings it back.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Switch off this network only
    network: Option<String>,
}

pub(super) fn run(arguments: Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let answer = context.ask(&Ask::Down { network: arguments.network })?.next().ok_or_else(unexpected)??;
    context.print(answer, render);
    Ok(Exit::Ok)
}
