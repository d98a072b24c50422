//! `lanyard ip`: overlay addresses, for scripts.

use std::net::IpAddr;

use super::Context;
use super::output::other;
use crate::exit::{Code, Exit, Problem};
use crate::ipc::schema::{Answer, Ask, Membership, Network, Status};

/// Print overlay addresses, one per line
///
/// Without PEER, this device's own. With "-4" or "-6", of that family only.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Name, number or id of a peer
    peer: Option<String>,
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "six")]
    four: bool,
    /// IPv6 only
    #[arg(short = '6')]
    six: bool,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let status = context.ask_one(&Ask::Status { watch: false }, |answer| {
        if let Answer::Status(status) = answer { Some(status) } else { None }
    })?;
    let addresses = addresses(&status, arguments)?;
    context.print(Answer::Addresses { addresses }, render);
    Ok(Exit::Ok)
}

fn addresses(status: &Status, arguments: &Arguments) -> Result<Vec<IpAddr>, Problem> {
    let networks = || status.networks.iter().filter(|network| network.state == Membership::Active);
    let all: Vec<IpAddr> = match &arguments.peer {
        None => networks().flat_map(|network| [network.ip4.into(), network.ip6.into()]).collect(),
        Some(peer) => networks().flat_map(|network| of_peer(network, peer)).collect(),
    };
    if all.is_empty() {
        return Err(match &arguments.peer {
            None => Problem::new(
                Code::NetworkUnknown,
                "this device is in no network yet; join one with \"lanyard join JOIN-STRING\"",
            ),
            Some(peer) => Problem::new(
                Code::PeerUnknown,
                format!("no member of your networks is called \"{peer}\"; \"lanyard status\" lists them"),
            ),
        });
    }
    Ok(all
        .into_iter()
        .filter(|ip| (!arguments.four || ip.is_ipv4()) && (!arguments.six || ip.is_ipv6()))
        .collect())
}

fn of_peer(network: &Network, peer: &str) -> Vec<IpAddr> {
    network
        .members
        .iter()
        .filter(|member| [&member.name, &member.number, &member.id].into_iter().any(|known| known == peer))
        .flat_map(|member| [IpAddr::from(member.ip4), member.ip6.into()])
        .collect()
}

fn render(answer: &Answer) -> String {
    if let Answer::Addresses { addresses } = answer {
        addresses.iter().map(|ip| format!("{ip}\n")).collect()
    } else {
        other(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::tests::example;

    #[test]
    fn own_addresses_are_those_of_active_networks() {
        let own = addresses(&example(), &arguments(None)).unwrap();
        assert_eq!(render(&Answer::Addresses { addresses: own }), "10.61.7.3\nfd5a::3\n");
    }

    #[test]
    fn a_peer_is_found_by_name_and_a_family_can_be_chosen() {
        let only4 = Arguments { four: true, ..arguments(Some("nas")) };
        assert_eq!(addresses(&example(), &only4).unwrap(), ["10.61.7.2".parse::<IpAddr>().unwrap()]);
        let only6 = Arguments { six: true, ..arguments(Some("nas")) };
        assert_eq!(addresses(&example(), &only6).unwrap(), ["fd5a::2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn strangers_and_lonely_devices_get_their_own_codes() {
        let problem = addresses(&example(), &arguments(Some("nobody"))).unwrap_err();
        assert_eq!(problem.code, Code::PeerUnknown);
        let alone = Status { networks: Vec::new(), ..example() };
        assert_eq!(addresses(&alone, &arguments(None)).unwrap_err().code.exit(), Exit::NotJoined);
    }

    fn arguments(peer: Option<&str>) -> Arguments {
        Arguments { peer: peer.map(str::to_owned), four: false, six: false }
    }
}
