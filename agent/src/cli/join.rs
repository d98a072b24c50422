//! `lanyard join`: become a member of a network.

use std::io::IsTerminal as _;

use super::Context;
use super::output::{fit, other, unexpected};
use crate::exit::{Code, Exit, Problem};
use crate::ipc::schema::{Answer, Ask, Hidden, Joined};

/// Join a network
///
/// The join string comes from the coordinator's administrator: lanyard://HOST/NETWORK?invite=CODE#p=KEY. Put
/// it in quotes, a shell may read "?" and "#" otherwise. The key in it is pinned: nobody else can answer in
/// the coordinator's place.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What the administrator gave you
    #[arg(value_name = "JOIN-STRING")]
    join: String,
    /// The name of this device in the network; the host name if absent
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Give the network's password: asked for, or a line of standard input
    #[arg(long)]
    password: bool,
    /// How many seconds to wait for an administrator's approval
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(super) wait: u32,
}

pub(super) fn run(arguments: Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let password = if arguments.password { Some(Hidden(ask_for_password()?)) } else { None };
    let Arguments { join, name, wait: wait_s, .. } = arguments;
    let ask = Ask::Join { join, name, password, wait_s };
    let answer = context.ask(&ask)?.next().ok_or_else(unexpected)??;
    let pending = matches!(&answer, Answer::Joined(joined) if joined.pending);
    context.print(answer, render);
    Ok(if pending { Code::JoinPending.exit() } else { Exit::Ok })
}

/// Reads a password that the terminal does not show.
fn ask_for_password() -> Result<String, Problem> {
    let unread = |error: std::io::Error| {
        Problem::new(Code::JoinWrongPassword, format!("the password cannot be read: {error}"))
    };
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("password of the network: ").map_err(unread);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(unread)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn render(answer: &Answer) -> String {
    if let Answer::Joined(joined) = answer { render_joined(joined) } else { other(answer) }
}

fn render_joined(joined: &Joined) -> String {
    let Joined { server, key, network, name, number, .. } = joined;
    let key = fit(key, 9);
    let id = number.as_ref().map(|number| format!("  id {number}")).unwrap_or_default();
    let first = format!("server {server}  key {key} (pinned)  network {network}\n");
    if joined.pending {
        return format!(
            "{first}asked to join as \"{name}\"{id}; waiting for an administrator's approval\n\"lanyard status {network}\" \
             shows when it is granted\n"
        );
    }
    let ip4 = joined.ip4.map(|ip| format!("  {ip}")).unwrap_or_default();
    let ip6 = joined.ip6.map(|ip| format!("  {ip}")).unwrap_or_default();
    let others = match (joined.members, joined.online) {
        (0, _) => "no other members yet".to_owned(),
        (1, online) => format!("1 other member, {online} online"),
        (members, online) => format!("{members} other members, {online} online"),
    };
    format!("{first}joined as \"{name}\"{id}{ip4}{ip6}\n{others}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_member_sees_its_name_number_and_addresses() {
        let text = render(&Answer::Joined(example(false)));
        assert_eq!(
            text,
            "server 203.0.113.10:7443  key 3kFa…eY9w (pinned)  network home\njoined as \"t480\"  id 291-044-871  \
             10.61.7.3  fd5a::3\n2 other members, 1 online\n"
        );
    }

    #[test]
    fn a_waiting_device_is_told_what_it_waits_for() {
        let text = render(&Answer::Joined(Joined { ip4: None, ip6: None, ..example(true) }));
        assert!(text.contains("waiting for an administrator's approval"), "{text}");
        assert!(text.contains("lanyard status home"), "{text}");
    }

    fn example(pending: bool) -> Joined {
        Joined {
            server: "203.0.113.10:7443".to_owned(),
            key: "3kFabcdefghijklmnopqrstuvwxyzeY9w".to_owned(),
            network: "home".to_owned(),
            name: "t480".to_owned(),
            pending,
            number: Some("291-044-871".to_owned()),
            ip4: Some("10.61.7.3".parse().unwrap()),
            ip6: Some("fd5a::3".parse().unwrap()),
            members: 2,
            online: 1,
        }
    }
}
