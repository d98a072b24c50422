//! `lanyard ping`: real echo requests through the tunnel, with the path each reply came by.

use super::Context;
use super::output::{millis, other, path, unexpected};
use crate::exit::{Code, Exit, Problem};
use crate::ipc::schema::{Answer, Ask, Path, Pinged, Reply};

/// Requests sent when nobody says how many.
const COUNT: u32 = 4;

/// Requests sent with `--until-direct` when nobody says how many: punching is decided within seconds.
const COUNT_UNTIL_DIRECT: u32 = 30;

/// Ping a peer through its tunnel
///
/// Sends real echo requests, one per second, and prints for each reply the path in use and the round trip.
/// The first ones usually come by the relay, while a direct path is being looked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Name, overlay address, number or id; NAME.NETWORK where two networks have one of the same name
    peer: String,
    /// How many requests [default: 4, with --until-direct 30]
    #[arg(short, long)]
    count: Option<u32>,
    /// Stop with the first reply that came by a direct path; exit code 6 if none does
    #[arg(long)]
    until_direct: bool,
    /// Bytes of payload
    #[arg(long, default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=8_000))]
    size: u16,
}

pub(super) fn run(arguments: Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let usual = if arguments.until_direct { COUNT_UNTIL_DIRECT } else { COUNT };
    let ask = Ask::Ping {
        peer: arguments.peer,
        count: arguments.count.unwrap_or(usual),
        until_direct: arguments.until_direct,
        size: arguments.size,
    };
    let mut last = None;
    for answer in context.ask(&ask)? {
        let answer = answer?;
        if let Answer::Pinged(pinged) = &answer {
            last = Some(pinged.clone());
        }
        context.print(answer, render);
    }
    verdict(&last.ok_or_else(unexpected)?, arguments.until_direct)
}

/// Success is a reply, with `--until-direct` a direct one.
fn verdict(pinged: &Pinged, until_direct: bool) -> Result<Exit, Problem> {
    let Pinged { peer, received, path, .. } = pinged;
    if *received == 0 {
        let text = format!("no reply from {peer}; \"lanyard why {peer}\" tells more");
        return Err(Problem::new(Code::PathNone, text));
    }
    if until_direct && !matches!(path, Path::Direct { .. }) {
        let text = format!("{peer} answers, but not by a direct path; \"lanyard why {peer}\" tells more");
        return Err(Problem::new(Code::PathNotDirect, text));
    }
    Ok(Exit::Ok)
}

fn render(answer: &Answer) -> String {
    if let Answer::Pinged(Pinged { sent, received, .. }) = answer {
        return format!("{sent} sent, {received} received\n");
    }
    let Answer::Reply(Reply { sequence, peer, ip, rtt_us, path: by }) = answer else { return other(answer) };
    match rtt_us {
        Some(rtt_us) => format!("{peer} {ip} via {} {}\n", path(by), millis(*rtt_us)),
        None => format!("{peer} {ip} no reply to request {sequence} (path {})\n", path(by)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::schema::Transport;

    #[test]
    fn each_reply_names_path_and_round_trip() {
        let relay = Path::Relay { relay: "203.0.113.10:7443".parse().unwrap(), transport: Transport::Udp };
        let reply = |rtt_us| Reply {
            sequence: 1,
            peer: "nas".to_owned(),
            ip: "10.61.7.2".parse().unwrap(),
            rtt_us,
            path: relay,
        };
        assert_eq!(
            render(&Answer::Reply(reply(Some(47_900)))),
            "nas 10.61.7.2 via relay 203.0.113.10:7443 47.9 ms\n"
        );
        let lost = render(&Answer::Reply(reply(None)));
        assert_eq!(lost, "nas 10.61.7.2 no reply to request 1 (path relay 203.0.113.10:7443)\n");
    }

    #[test]
    fn silence_and_a_missing_direct_path_are_failures_of_their_own() {
        let relay = Path::Relay { relay: "203.0.113.10:7443".parse().unwrap(), transport: Transport::Udp };
        let direct =
            Path::Direct { remote: "198.51.100.7:41644".parse().unwrap(), transport: Transport::Udp };
        let pinged = |received, path| Pinged { peer: "nas".to_owned(), sent: 4, received, path };
        assert_eq!(verdict(&pinged(0, Path::None), false).unwrap_err().code, Code::PathNone);
        assert_eq!(verdict(&pinged(4, relay), false).unwrap(), Exit::Ok);
        let problem = verdict(&pinged(4, relay), true).unwrap_err();
        assert_eq!(problem.code.exit(), Exit::NoPath);
        assert_eq!(verdict(&pinged(1, direct), true).unwrap(), Exit::Ok);
    }
}
