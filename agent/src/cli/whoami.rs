//! `lanyard whoami`: what this device is called.

use super::Context;
use super::output::other;
use crate::exit::{Exit, Problem};
use crate::ipc::schema::{Answer, Ask, Device};

/// Show this device's name, number, id and key
///
/// The number is for people to read out, the key is what the coordinator knows this device by.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let device = context.ask_one(&Ask::Status { watch: false }, |answer| {
        if let Answer::Status(status) = answer { Some(status.device) } else { None }
    })?;
    context.print(Answer::Device(device), render);
    Ok(Exit::Ok)
}

fn render(answer: &Answer) -> String {
    let Answer::Device(Device { name, id, number, key, .. }) = answer else { return other(answer) };
    let number = number.as_deref().unwrap_or("none yet: a coordinator gives it with the first join");
    format!("name    {name}\nnumber  {number}\nid      {id}\nkey     {key}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::tests::example;

    #[test]
    fn a_device_knows_its_names() {
        let text = render(&Answer::Device(example().device));
        assert!(text.starts_with("name    t480\nnumber  291-044-871\nid      2222"), "{text}");
        let new = Device { number: None, ..example().device };
        assert!(render(&Answer::Device(new)).contains("none yet"));
    }
}
