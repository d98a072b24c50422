//! `lanyard version`: this program's release, and the running agent's if it differs.

use super::Context;
use super::output::other;
use crate::VERSION;
use crate::dataplane::IS_ENCRYPTED;
use crate::exit::{Exit, Problem};
use crate::ipc::schema::{Answer, Ask};

/// Show the release
///
/// Also says when the running agent is of another release: it was upgraded and not restarted yet.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let agent = context.ask_one(&Ask::Version, |answer| {
        if let Answer::Version { version } = answer { Some(version) } else { None }
    });
    // Without an agent there is still a version to show.
    let agent = agent.ok().filter(|agent| agent != VERSION);
    context.print(Answer::Version { version: VERSION.to_owned() }, |answer| render(answer, agent.as_deref()));
    Ok(Exit::Ok)
}

fn render(answer: &Answer, agent: Option<&str>) -> String {
    let Answer::Version { version } = answer else { return other(answer) };
    let differs = agent.map(|agent| format!("the running agent is {agent}; restart it to upgrade it\n"));
    let warning = if IS_ENCRYPTED { "" } else { "this build DOES NOT ENCRYPT; it is for the bench alone\n" };
    format!("lanyard {version}\n{warning}{}", differs.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_agent_is_pointed_out() {
        let version = Answer::Version { version: "0.2.0".to_owned() };
        assert_eq!(render(&version, None), "lanyard 0.2.0\n");
        assert!(render(&version, Some("0.1.0")).contains("the running agent is 0.1.0"));
    }
}
