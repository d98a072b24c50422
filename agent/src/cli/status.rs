//! `lanyard status`: this device, its networks, one line per peer.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Context;
use super::netcheck::protocol;
use super::output::{COLUMNS, bytes, columns, fit, millis, other, unexpected, way, wrap};
use super::table;
use crate::exit::{Code, Exit, Problem};
use crate::ipc::schema::{
    Answer, Ask, Door, Filtering, Mapping, Member, Membership, Network, Path, PortMapping, PortMappingState,
    Server, ServerState, Status,
};

/// The longest device name shown in full; `lanyard why` shows the rest.
const NAME_MAX: usize = 20;

/// Show this device, its networks and its peers
///
/// One line per peer: name, address, path, round trip, data received and sent. "idle" means that no traffic
/// wants a tunnel; one comes up by itself with the first packet. With --peer, what was counted of one peer by each path:
/// data and packets received and sent, round trip (the least in parentheses), and how many of the newest pings were lost.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Show this network only
    network: Option<String>,
    /// Show the paths to this peer: name, NAME.NETWORK, overlay address, number or id
    #[arg(long)]
    peer: Option<String>,
    /// Show it again whenever something changes
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let mut answers = context.ask(&Ask::Status { watch: arguments.watch })?.peekable();
    if answers.peek().is_none() {
        return Err(unexpected());
    }
    for answer in answers {
        let answer = select(answer?, arguments)?;
        let clear = arguments.watch;
        context.print(answer, |answer| {
            // Home, and erase to the end: the newest state stands where the last one stood.
            format!(
                "{}{}",
                if clear { "\x1b[H\x1b[2J" } else { "" },
                render(answer, arguments.peer.is_some())
            )
        });
    }
    Ok(Exit::Ok)
}

/// Leaves only the named network and the named peer.
fn select(answer: Answer, arguments: &Arguments) -> Result<Answer, Problem> {
    let Answer::Status(mut status) = answer else { return Ok(answer) };
    if let Some(name) = &arguments.network {
        status.networks.retain(|network| network.name == *name);
        if status.networks.is_empty() {
            let text = format!("this device has no network \"{name}\"; \"lanyard status\" lists them");
            return Err(Problem::new(Code::NetworkUnknown, text));
        }
    }
    if let Some(word) = &arguments.peer {
        for network in &mut status.networks {
            let name = network.name.clone();
            network.members.retain(|member| is_called(word, member, &name));
        }
        status.networks.retain(|network| !network.members.is_empty());
        if status.networks.is_empty() {
            let text =
                format!("no member of your networks is called \"{word}\"; \"lanyard status\" lists them");
            return Err(Problem::new(Code::PeerUnknown, text));
        }
    }
    Ok(Answer::Status(status))
}

/// Whether a word means this member of the network.
fn is_called(word: &str, member: &Member, network: &str) -> bool {
    let is_named = word.strip_suffix(network).and_then(|name| name.strip_suffix('.')) == Some(&member.name);
    let is_at = word.parse().is_ok_and(|ip: IpAddr| ip == member.ip4 || ip == member.ip6);
    is_named || is_at || [&member.name, &member.number, &member.id].into_iter().any(|known| known == word)
}

fn render(answer: &Answer, is_table: bool) -> String {
    let Answer::Status(status) = answer else { return other(answer) };
    if !is_table {
        return render_status(status);
    }
    let tables = status
        .networks
        .iter()
        .flat_map(|network| network.members.iter().map(move |member| table::render(network, member)));
    tables.collect::<Vec<_>>().join("\n")
}

fn render_status(status: &Status) -> String {
    let mut text = fit(&status.device.name, NAME_MAX);
    if let Some(number) = &status.device.number {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "  id {number}");
    }
    if !status.up {
        text.push_str("  down (\"lanyard up\" switches networking on)\n");
        return text;
    }
    let _ = writeln!(text, "  udp port {}", status.device.port);
    let _ = writeln!(text, "nat     {}{}", nat(status), port_mapping(&status.port_mapping));
    for server in &status.servers {
        let _ = writeln!(text, "server  {}", render_server(server, 8));
    }
    if status.networks.is_empty() {
        text.push_str("no networks yet: lanyard join JOIN-STRING\n");
    }
    for network in &status.networks {
        text.push('\n');
        let knows = |server: &Server| server.host == network.server && server.state == ServerState::Online;
        text.push_str(&render_network(network, status.servers.iter().any(knows)));
    }
    text
}

/// What the NAT means for this device, in a line.
fn nat(status: &Status) -> String {
    let nat = &status.nat;
    let is_open = |door: &Door| door.problem.is_none();
    if !nat.udp && status.servers.iter().any(|server| server.door.as_ref().is_some_and(is_open)) {
        return "not measured: no UDP gets out (\"lanyard netcheck\" tells more)".to_owned();
    }
    if !nat.udp {
        return "unknown yet, or UDP is blocked (\"lanyard netcheck\" tells)".to_owned();
    }
    let mapping = match nat.mapping {
        None => "not measured yet",
        Some(Mapping::None) => "none: this device has a public address",
        Some(Mapping::EndpointIndependent) if nat.filtering == Some(Filtering::EndpointIndependent) => {
            "open: endpoint-independent mapping and filtering"
        }
        Some(Mapping::EndpointIndependent) => "easy: endpoint-independent mapping",
        Some(Mapping::AddressDependent) => "hard: address-dependent mapping",
        Some(Mapping::AddressAndPortDependent) => "hard: address-and-port-dependent mapping",
    };
    let ip6 = if nat.ip6.is_some() { ", IPv6" } else { "" };
    format!("{mapping}{ip6}")
}

/// Worth a word only where a port is open.
fn port_mapping(mapping: &PortMapping) -> String {
    match (mapping.state, mapping.protocol) {
        (PortMappingState::Mapped, Some(by)) => format!(", port open by {}", protocol(by)),
        _ => String::new(),
    }
}

/// A coordinator, in lines of which the first begins behind `indent` blanks and the others with them.
pub(super) fn render_server(server: &Server, indent: usize) -> String {
    let state = match server.state {
        ServerState::Connecting => "connecting",
        ServerState::Online => "online",
        ServerState::Offline => "no answer; tunnels go on",
    };
    let rtt = server.rtt_us.map(|us| format!("  {}", millis(us))).unwrap_or_default();
    let door = server.door.as_ref().map(render_door).unwrap_or_default();
    let door = wrap(&door, COLUMNS - indent).into_iter().filter(|line| !line.is_empty());
    let lines = [format!("{}  {state}{rtt}", server.host)].into_iter().chain(door);
    lines.collect::<Vec<_>>().join(&format!("\n{}", " ".repeat(indent)))
}

/// The way a session takes where UDP does not get out.
pub(super) fn render_door(door: &Door) -> String {
    match (&door.problem, &door.proxy) {
        (Some(problem), _) => format!("UDP gets no answer, and {problem}"),
        (None, Some(proxy)) => format!("connected by TLS {} through proxy {proxy}", door.port),
        (None, None) => format!("connected by TLS {}", door.port),
    }
}

/// A network with its peers; without its coordinator nobody knows who is online.
fn render_network(network: &Network, presence_known: bool) -> String {
    let name = &network.name;
    match network.state {
        Membership::Pending => return format!("{name}  waiting for an administrator's approval\n"),
        Membership::Suspended => return format!("{name}  suspended by an administrator\n"),
        Membership::Active => {}
    }
    if !network.enabled {
        return format!("{name}  down (\"lanyard up {name}\" switches it on)\n");
    }
    let count = network.members.len();
    let online = match presence_known {
        true => network.members.iter().filter(|member| member.online).count().to_string(),
        false => "?".to_owned(),
    };
    let mut text = format!("{name}  {}  {}  {online} of {count} peers online\n", network.ip4, network.ip6);
    if let Some(clash) = &network.clash {
        let _ = writeln!(text, "  IPv4 is off: {} clashes with {clash}; use IPv6", network.prefix4);
    }
    let rows: Vec<_> = network.members.iter().map(|member| row(member, presence_known)).collect();
    text.push_str(&columns(&rows, 2, 2));
    text
}

fn row(member: &Member, presence_known: bool) -> Vec<String> {
    let state = match member.path {
        // The relay takes datagrams for a peer that is not there, too.
        Path::Relay { .. } if presence_known && !member.online => "offline".to_owned(),
        Path::Direct { .. } | Path::Relay { .. } => way(member),
        Path::None if member.refused => "refused by this device".to_owned(),
        Path::None if !presence_known => "idle (presence unknown)".to_owned(),
        Path::None if member.online => "idle".to_owned(),
        Path::None => "offline".to_owned(),
    };
    let mut row = vec![fit(&member.name, NAME_MAX), member.ip4.to_string(), state];
    if member.path != Path::None {
        row.push(member.rtt_us.map(millis).unwrap_or_default());
        row.push(format!("{}/{}", bytes(member.rx_bytes), bytes(member.tx_bytes)));
    }
    row
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ipc::schema::{Device, Nat, Transport};

    #[test]
    fn there_is_one_line_per_peer_and_it_fits_the_terminal() {
        let text = shown(example());
        assert_eq!(
            text,
            "t480  id 291-044-871  udp port 41641\n\
             nat     easy: endpoint-independent mapping\n\
             server  203.0.113.10:7443  online  14.0 ms\n\
             \n\
             home  10.61.7.3  fd5a::3  2 of 3 peers online\n\
             \x20 nas      10.61.7.2  direct 198.51.100.7:41644  11.2 ms  1.2G/88M\n\
             \x20 win-den  10.61.7.9  relay 203.0.113.10:7443    48.0 ms  3.1M/2.0M\n\
             \x20 pixel    10.61.7.4  offline\n\
             \n\
             lan-party  waiting for an administrator's approval\n"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn a_network_that_is_not_there_is_an_error_of_its_own() {
        let problem = select(Answer::Status(example()), &only(Some("office"), None)).unwrap_err();
        assert_eq!(problem.code.exit(), Exit::NotJoined);
        let selected = select(Answer::Status(example()), &only(Some("home"), None)).unwrap();
        let Answer::Status(status) = selected else { panic!() };
        assert_eq!(status.networks.len(), 1);
    }

    #[test]
    fn a_peer_is_shown_alone_by_whatever_names_it() {
        for word in ["nas", "nas.home", "10.61.7.2"] {
            let selected = select(Answer::Status(example()), &only(None, Some(word))).unwrap();
            assert!(render(&selected, true).starts_with("nas  10.61.7.2  fd5a::2  home  online\n"), "{word}");
            let Answer::Status(status) = selected else { panic!() };
            assert_eq!((status.networks.len(), status.networks[0].members.len()), (1, 1), "{word}");
        }
        for word in ["nobody", "nas.office", "home", ".home"] {
            let problem = select(Answer::Status(example()), &only(None, Some(word))).unwrap_err();
            assert_eq!(problem.code, Code::PeerUnknown, "{word}");
        }
    }

    fn only(network: Option<&str>, peer: Option<&str>) -> Arguments {
        Arguments { network: network.map(str::to_owned), peer: peer.map(str::to_owned), watch: false }
    }

    fn shown(status: Status) -> String {
        render(&Answer::Status(status), false)
    }

    #[test]
    fn without_the_coordinator_nobody_is_called_offline() {
        let mut status = example();
        status.servers[0].state = ServerState::Offline;
        let text = shown(status);
        assert!(text.contains("home  10.61.7.3  fd5a::3  ? of 3 peers online"), "{text}");
        assert!(text.contains("pixel    10.61.7.4  idle (presence unknown)"), "{text}");
    }

    #[test]
    fn a_peer_that_vanished_is_offline_although_the_relay_would_carry_for_it() {
        let mut status = example();
        status.networks[0].members[1].online = false;
        let text = shown(status);
        assert!(text.contains("win-den  10.61.7.9  offline"), "{text}");
    }

    #[test]
    fn a_device_that_came_by_the_door_knows_that_udp_is_blocked() {
        let mut status = example();
        status.nat = Nat::default();
        assert!(shown(status.clone()).contains("nat     unknown yet, or UDP is blocked"));
        status.servers[0].door = Some(Door { port: 443, proxy: None, problem: None });
        let text = shown(status.clone());
        assert!(text.contains("nat     not measured: no UDP gets out"), "{text}");
        assert!(text.contains("\n        connected by TLS 443\n"), "{text}");
        status.servers[0].door = Some(Door { port: 443, proxy: None, problem: Some("no".to_owned()) });
        assert!(shown(status).contains("nat     unknown yet, or UDP is blocked"));
    }

    #[test]
    fn a_device_that_is_down_or_alone_says_what_to_do() {
        let down = shown(Status { up: false, ..example() });
        assert!(down.contains("lanyard up"), "{down}");
        let alone = shown(Status { networks: Vec::new(), ..example() });
        assert!(alone.contains("lanyard join"), "{alone}");
    }

    #[test]
    fn a_clash_of_prefixes_is_shown_with_the_way_out() {
        let mut status = example();
        status.networks[0].clash = Some("lan-party 10.61.0.0/16".to_owned());
        let text = shown(status);
        assert!(
            text.contains("IPv4 is off: 10.61.7.0/24 clashes with lan-party 10.61.0.0/16; use IPv6"),
            "{text}"
        );
    }

    /// A device with a direct, a relayed and an offline peer.
    pub(in crate::cli) fn example() -> Status {
        let member = |name: &str, ip4: &str, online, path| Member {
            name: name.to_owned(),
            id: "0".repeat(26),
            number: "184-220-093".to_owned(),
            ip4: ip4.parse().unwrap(),
            ip6: "fd5a::2".parse().unwrap(),
            online,
            refused: false,
            path,
            rtt_us: None,
            tx_bytes: 0,
            rx_bytes: 0,
            carrier: None,
            counted: None,
        };
        let direct =
            Path::Direct { remote: "198.51.100.7:41644".parse().unwrap(), transport: Transport::Udp };
        let relay = Path::Relay { relay: "203.0.113.10:7443".parse().unwrap(), transport: Transport::Udp };
        let members = vec![
            Member {
                rtt_us: Some(11_249),
                rx_bytes: 1_234_000_000,
                tx_bytes: 88_000_000,
                ..member("nas", "10.61.7.2", true, direct)
            },
            Member {
                rtt_us: Some(48_000),
                rx_bytes: 3_100_000,
                tx_bytes: 2_000_000,
                ..member("win-den", "10.61.7.9", true, relay)
            },
            member("pixel", "10.61.7.4", false, Path::None),
        ];
        let home = Network {
            name: "home".to_owned(),
            id: "1".repeat(26),
            server: "203.0.113.10:7443".to_owned(),
            state: Membership::Active,
            enabled: true,
            prefix4: "10.61.7.0/24".to_owned(),
            ip4: "10.61.7.3".parse().unwrap(),
            ip6: "fd5a::3".parse().unwrap(),
            clash: None,
            members,
        };
        let party = Network {
            name: "lan-party".to_owned(),
            state: Membership::Pending,
            members: Vec::new(),
            ..home.clone()
        };
        Status {
            version: "0.1.0".to_owned(),
            device: Device {
                name: "t480".to_owned(),
                id: "2".repeat(26),
                number: Some("291-044-871".to_owned()),
                key: "k".repeat(43),
                port: 41_641,
            },
            up: true,
            nat: Nat {
                udp: true,
                mapping: Some(Mapping::EndpointIndependent),
                filtering: Some(Filtering::AddressAndPortDependent),
                ..Nat::default()
            },
            port_mapping: PortMapping::default(),
            servers: vec![Server {
                host: "203.0.113.10:7443".to_owned(),
                key: "3".repeat(43),
                state: ServerState::Online,
                observed: Some("192.0.2.44:41641".parse().unwrap()),
                rtt_us: Some(14_000),
                door: None,
                relays: Vec::new(),
            }],
            networks: vec![home, party],
            dropped: BTreeMap::new(),
        }
    }
}
