//! `lanyard netcheck`: what the NAT in front of this device does, in the words of RFC 4787 and in plain ones.

use std::fmt::Write as _;

use super::Context;
use super::output::{millis, other, span, unexpected};
use super::status::{render_door, render_server};
use crate::exit::{Exit, Problem};
use crate::ipc::schema::{
    Answer, Ask, Egress, Filtering, Mapping, Nat, Netcheck, PortMapping, PortMappingProtocol,
    PortMappingState, Ports, Relay, Server, ServerState,
};

/// The longest IPv4 packet of a tunnel: 1,280 bytes inside, 32 of WireGuard and 28 of headers.
const TUNNEL_MTU: u16 = 1_340;

/// Measure the NAT in front of this device
///
/// Asks the coordinator's pair of STUN services from the tunnel's own UDP port, so that what is measured is
/// what peers meet. Takes about a second, and some more where UDP is blocked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let answer = context.ask(&Ask::Netcheck)?.next().ok_or_else(unexpected)??;
    context.print(answer, render);
    Ok(Exit::Ok)
}

fn render(answer: &Answer) -> String {
    if let Answer::Netcheck(netcheck) = answer { render_netcheck(netcheck) } else { other(answer) }
}

fn render_netcheck(netcheck: &Netcheck) -> String {
    let nat = &netcheck.nat;
    let mut text = String::new();
    let door = netcheck.servers.iter().find_map(|server| server.door.as_ref().filter(|_| is_online(server)));
    let value = match door.filter(|_| !nat.udp) {
        Some(door) => format!("blocked; {}", render_door(door)),
        None => udp(nat.udp).to_owned(),
    };
    let _ = writeln!(text, "{:<10} {value}", "udp");
    let page = netcheck.portal.as_deref().map(|page| format!("its page: {page}"));
    for (name, value) in [
        ("way out", egress(netcheck.egress)),
        ("", egress_gloss(netcheck)),
        ("", page.as_deref().unwrap_or_default()),
    ] {
        line(&mut text, name, value);
    }
    if nat.udp {
        render_nat(&mut text, netcheck);
    } else {
        line(&mut text, "nat", "not measured: that takes UDP");
    }
    line(&mut text, "port map", &port_mapping(&netcheck.port_mapping));
    line(&mut text, "", port_mapping_gloss(netcheck));
    if nat.udp {
        let seen = |address: Option<std::net::SocketAddr>| {
            address.map_or("none seen".to_owned(), |seen| seen.to_string())
        };
        line(&mut text, "ipv4", &seen(nat.ip4));
        line(&mut text, "ipv6", &seen(nat.ip6));
    }
    for server in &netcheck.servers {
        line(&mut text, "server", &render_server(server, 11));
        // The line of the server says all there is to say of a relay in it.
        let has_others = server.relays.iter().any(|relay| !relay.is_server);
        for relay in server.relays.iter().filter(|_| has_others) {
            line(&mut text, "relay", &render_relay(relay));
        }
    }
    text
}

fn render_relay(relay: &Relay) -> String {
    let state = if relay.ok { "ok" } else { "no answer, or about to end" };
    let rtt = relay.rtt_us.filter(|_| relay.ok).map(|us| format!("  {}", millis(us))).unwrap_or_default();
    let server = if relay.is_server { "  (the server)" } else { "" };
    format!("{}  {state}{rtt}{server}", relay.address)
}

/// A name and what there is to say; nothing where there is nothing.
fn line(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    }
}

/// What takes UDP to find out.
fn render_nat(text: &mut String, netcheck: &Netcheck) {
    let nat = &netcheck.nat;
    let hairpin = match (nat.hairpin, nat.mapping) {
        (None, Some(Mapping::None)) => "not needed: no address translation",
        (None, _) => "not measured",
        (Some(true), _) => "yes: devices behind this NAT reach each other by its outside address",
        (Some(false), _) => "no",
    };
    for (name, value) in [
        ("mapping", mapping(nat.mapping)),
        ("", mapping_gloss(nat.mapping)),
        ("filtering", filtering(nat.filtering)),
        ("", filtering_gloss(nat.filtering)),
        ("ports", &ports(nat)),
        ("hairpin", hairpin),
        ("lifetime", &lifetime(netcheck)),
        ("mtu", &mtu(netcheck)),
        ("", full_size(netcheck)),
    ] {
        line(text, name, value);
    }
}

fn is_online(server: &Server) -> bool {
    server.state == ServerState::Online
}

const fn udp(udp: bool) -> &'static str {
    if udp { "ok" } else { "no answer" }
}

/// The way out of this network.
const fn egress(egress: Egress) -> &'static str {
    match egress {
        Egress::Udp => "UDP",
        Egress::Tcp => "TCP: UDP is blocked",
        Egress::Tcp443 => "TCP 443 only: UDP and other TCP are blocked",
        Egress::Proxy => "HTTP proxy only: UDP and TCP are blocked",
        Egress::CaptivePortal => "none yet: a captive portal wants a person to sign in",
        Egress::Blocked => "none: neither UDP nor TLS reaches the coordinator",
    }
}

const fn egress_gloss(netcheck: &Netcheck) -> &'static str {
    match netcheck.egress {
        Egress::Udp => "",
        Egress::Tcp | Egress::Tcp443 | Egress::Proxy => {
            "peers are reached by relay, but for public ones: allow UDP out"
        }
        Egress::CaptivePortal => "open any web page in a browser here and sign in; lanyard goes on then",
        Egress::Blocked if matches!(netcheck.host_answers, Some(true)) => {
            "its host answers: lanyard-server is down, or a firewall refuses it"
        }
        Egress::Blocked => "allow UDP or TCP 443 out to it, or set proxy; or it is away",
    }
}

/// How long a silent mapping lives, and what is made of it.
fn lifetime(netcheck: &Netcheck) -> String {
    let every = format!("kept every {} s", netcheck.keep_alive_s);
    match (netcheck.nat.lifetime_s, netcheck.nat.filtering) {
        (Some(240), _) => format!("a silent mapping lives 240 s or longer; {every}"),
        (Some(seconds), _) => format!("a silent mapping lives at least {seconds} s; {every}"),
        (None, _) if netcheck.measuring_lifetime => {
            format!("being measured in the background, 1 to 10 min; {every}")
        }
        (None, Some(Filtering::EndpointIndependent)) => {
            format!("cannot be measured where everybody is let in; {every}")
        }
        (None, _) => format!("not measured; {every}"),
    }
}

/// The longest packet that gets to the coordinator.
fn mtu(netcheck: &Netcheck) -> String {
    match netcheck.mtu {
        Some(mtu) => format!("packets of {mtu} bytes reach the coordinator in one piece"),
        None => "not measured".to_owned(),
    }
}

/// Whether a tunnel's longest datagrams do: without fragments, or with.
fn full_size(netcheck: &Netcheck) -> &'static str {
    match (netcheck.full_size, netcheck.mtu) {
        (Some(true), Some(..TUNNEL_MTU)) => "a tunnel's full-size datagrams do in several, which costs speed",
        (Some(true), _) => "a tunnel's full-size datagrams do",
        (Some(false), _) => "full-size datagrams do not reach the coordinator: peers go by relay",
        (None, _) => "",
    }
}

/// The mapping behaviour as RFC 4787 calls it.
pub(super) const fn mapping(mapping: Option<Mapping>) -> &'static str {
    match mapping {
        None => "not measured",
        Some(Mapping::None) => "none",
        Some(Mapping::EndpointIndependent) => "endpoint-independent",
        Some(Mapping::AddressDependent) => "address-dependent",
        Some(Mapping::AddressAndPortDependent) => "address-and-port-dependent",
    }
}

const fn mapping_gloss(mapping: Option<Mapping>) -> &'static str {
    match mapping {
        None => "",
        Some(Mapping::None) => "no address translation: this device has the address others see",
        Some(Mapping::EndpointIndependent) => "easy: all peers meet the same outside port",
        Some(Mapping::AddressDependent) => "hard: each peer's address meets another outside port",
        Some(Mapping::AddressAndPortDependent) => "hard: each peer meets another outside port",
    }
}

/// The filtering behaviour as RFC 4787 calls it.
pub(super) const fn filtering(filtering: Option<Filtering>) -> &'static str {
    match filtering {
        None => "not measured",
        Some(Filtering::EndpointIndependent) => "endpoint-independent",
        Some(Filtering::AddressDependent) => "address-dependent",
        Some(Filtering::AddressAndPortDependent) => "address-and-port-dependent",
    }
}

const fn filtering_gloss(filtering: Option<Filtering>) -> &'static str {
    match filtering {
        None => "",
        Some(Filtering::EndpointIndependent) => "open: anybody may use the outside port",
        Some(Filtering::AddressDependent) => "lets in every port of an address that was sent to",
        Some(Filtering::AddressAndPortDependent) => {
            "lets in only answers: both ends have to send at once (punching)"
        }
    }
}

fn ports(nat: &Nat) -> String {
    match (nat.ports, nat.mapping) {
        // With one outside port alone nothing tells a random one from a counted one, and nobody needs to know.
        (None, Some(Mapping::EndpointIndependent)) => "changed: another outside than inside".to_owned(),
        (None, _) => "not measured".to_owned(),
        (Some(Ports::Preserved), _) => "preserved: outside as inside".to_owned(),
        (Some(Ports::Sequential { step }), _) => format!("sequential: {step:+} from one mapping to the next"),
        (Some(Ports::Block { low, high }), _) => format!("close together, from about {low} to {high}"),
        (Some(Ports::Random), _) => "random".to_owned(),
    }
}

/// The port the router maps, or why it maps none.
fn port_mapping(mapping: &PortMapping) -> String {
    let granted = || {
        let by = mapping.protocol.map_or("?", protocol);
        let address = mapping.address.map(|address| address.to_string()).unwrap_or_default();
        format!("by {by}: {address}")
    };
    match (mapping.state, mapping.lease_s) {
        (PortMappingState::Off, _) => "not asked for (setting port_mapping)".to_owned(),
        (PortMappingState::Unneeded, _) => "not needed: no IPv4 router with a NAT".to_owned(),
        (PortMappingState::Asking, _) => "the router is being asked".to_owned(),
        (PortMappingState::None, _) => "none: the router has no PCP, NAT-PMP or UPnP switched on".to_owned(),
        (PortMappingState::Mapped, Some(0) | None) => granted(),
        (PortMappingState::Mapped, Some(lease)) => format!("{}, for {}", granted(), span(lease)),
        (PortMappingState::DoubleNat, _) => {
            format!("{}, of no use: another NAT is behind it", granted())
        }
    }
}

/// What a port would be good for: behind a hard NAT.
const fn port_mapping_gloss(netcheck: &Netcheck) -> &'static str {
    let is_hard =
        matches!(netcheck.nat.mapping, Some(Mapping::AddressDependent | Mapping::AddressAndPortDependent));
    match (is_hard, netcheck.port_mapping.state) {
        (true, PortMappingState::None | PortMappingState::Off | PortMappingState::DoubleNat) => {
            "with a port that leads to this device more peers would be direct"
        }
        (true, PortMappingState::Mapped) => "peers reach this device there, hard as the NAT is",
        _ => "",
    }
}

/// How a port was asked for, as routers' pages call it.
pub(super) const fn protocol(protocol: PortMappingProtocol) -> &'static str {
    match protocol {
        PortMappingProtocol::Pcp => "PCP",
        PortMappingProtocol::NatPmp => "NAT-PMP",
        PortMappingProtocol::Upnp => "UPnP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::COLUMNS;
    use crate::cli::status::tests::example;
    use crate::ipc::schema::Door;

    #[test]
    fn behaviours_have_their_technical_name_and_a_plain_one() {
        let nat = Nat {
            udp: true,
            mapping: Some(Mapping::AddressAndPortDependent),
            filtering: Some(Filtering::AddressAndPortDependent),
            ports: Some(Ports::Sequential { step: 2 }),
            hairpin: Some(false),
            lifetime_s: Some(28),
            ip4: Some("192.0.2.44:41641".parse().unwrap()),
            ip6: None,
        };
        let port_mapping = mapped(PortMappingState::Mapped);
        let text = render(&Answer::Netcheck(of(nat, port_mapping, example().servers)));
        assert_eq!(
            text,
            "udp        ok\n\
             way out    UDP\n\
             mapping    address-and-port-dependent\n\
             \x20          hard: each peer meets another outside port\n\
             filtering  address-and-port-dependent\n\
             \x20          lets in only answers: both ends have to send at once (punching)\n\
             ports      sequential: +2 from one mapping to the next\n\
             hairpin    no\n\
             lifetime   a silent mapping lives at least 28 s; kept every 14 s\n\
             mtu        packets of 1492 bytes reach the coordinator in one piece\n\
             \x20          a tunnel's full-size datagrams do\n\
             port map   by NAT-PMP: 192.0.2.44:41641, for 2 h\n\
             \x20          peers reach this device there, hard as the NAT is\n\
             ipv4       192.0.2.44:41641\n\
             ipv6       none seen\n\
             server     203.0.113.10:7443  online  14.0 ms\n"
        );
    }

    #[test]
    fn blocked_udp_is_told_with_the_way_round_it() {
        let mut servers = example().servers;
        let proxy = Some("192.168.100.100:3128".to_owned());
        servers[0].door = Some(Door { port: 443, proxy, problem: None });
        let port_mapping = PortMapping::default();
        let told = |servers| of(Nat::default(), port_mapping, servers);
        let text = render(&Answer::Netcheck(told(servers.clone())));
        let first = "udp        blocked; connected by TLS 443 through proxy 192.168.100.100:3128\n";
        assert!(text.starts_with(first), "{text}");
        servers[0].door = None;
        let text = render(&Answer::Netcheck(told(servers)));
        assert!(text.starts_with("udp        no answer\n"), "{text}");
    }

    #[test]
    fn every_way_out_is_named_with_what_to_do() {
        let mut all = std::collections::BTreeSet::new();
        for egress in
            [Egress::Udp, Egress::Tcp, Egress::Tcp443, Egress::Proxy, Egress::CaptivePortal, Egress::Blocked]
        {
            let portal = Some("http://login.cafe.example/".to_owned());
            let portal = portal.filter(|_| egress == Egress::CaptivePortal);
            let netcheck = of(Nat::default(), PortMapping::default(), Vec::new());
            let text = render(&Answer::Netcheck(Netcheck { egress, portal, ..netcheck }));
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines[1].starts_with("way out    "), "{text}");
            assert!(lines.contains(&"nat        not measured: that takes UDP"), "{text}");
            assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{text}");
            assert_eq!(
                text.contains("its page: http://login.cafe.example/"),
                egress == Egress::CaptivePortal
            );
            assert!(all.insert(lines[1].to_owned()), "{egress:?} repeats");
        }
    }

    #[test]
    fn every_line_of_every_nat_fits_the_terminal() {
        let mappings = [
            None,
            Some(Mapping::None),
            Some(Mapping::EndpointIndependent),
            Some(Mapping::AddressDependent),
            Some(Mapping::AddressAndPortDependent),
        ];
        let filterings = [
            None,
            Some(Filtering::EndpointIndependent),
            Some(Filtering::AddressDependent),
            Some(Filtering::AddressAndPortDependent),
        ];
        for mapping in mappings {
            for filtering in filterings {
                let nat = Nat { udp: true, mapping, filtering, hairpin: Some(true), ..Nat::default() };
                let port_mapping = PortMapping::default();
                let text = render(&Answer::Netcheck(of(nat, port_mapping, Vec::new())));
                for line in text.lines() {
                    assert!(line.chars().count() <= COLUMNS, "{line}");
                }
            }
        }
    }

    #[test]
    fn a_coordinator_that_does_not_answer_fits_the_terminal_with_the_reason() {
        let mut servers = example().servers;
        servers[0].state = ServerState::Offline;
        let problem = "the door at 203.0.113.10:443 is not reached: Connection refused (os error 111)";
        servers[0].door = Some(Door { port: 443, proxy: None, problem: Some(problem.to_owned()) });
        let text = render(&Answer::Netcheck(of(Nat::default(), PortMapping::default(), servers)));
        let end = "server     203.0.113.10:7443  no answer; tunnels go on  14.0 ms\n\
                   \x20          UDP gets no answer, and the door at 203.0.113.10:443 is not reached:\n\
                   \x20          Connection refused (os error 111)\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_host_that_answers_without_its_coordinator_is_told_from_a_network_that_lets_nothing_out() {
        let told = |host_answers| {
            let netcheck = of(Nat::default(), PortMapping::default(), Vec::new());
            render(&Answer::Netcheck(Netcheck { egress: Egress::Blocked, host_answers, ..netcheck }))
        };
        assert!(told(Some(true)).contains("lanyard-server is down, or a firewall refuses it"));
        assert!(told(Some(false)).contains("allow UDP or TCP 443 out to it"));
        assert!(told(None).contains("allow UDP or TCP 443 out to it"));
    }

    #[test]
    fn relays_are_listed_where_there_is_a_choice() {
        let mut servers = example().servers;
        let relay = |address: &str, is_server, ok| Relay {
            address: address.parse().unwrap(),
            is_server,
            ok,
            rtt_us: Some(14_000),
        };
        servers[0].relays = vec![relay("203.0.113.10:7443", true, true)];
        let told = |servers| render(&Answer::Netcheck(of(Nat::default(), PortMapping::default(), servers)));
        assert!(!told(servers.clone()).contains("relay      "), "the server's line is enough");
        servers[0].relays.push(relay("203.0.113.17:7443", false, false));
        let text = told(servers);
        let end = "relay      203.0.113.10:7443  ok  14.0 ms  (the server)\n\
                   relay      203.0.113.17:7443  no answer, or about to end\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn what_is_not_known_says_why() {
        let nat = Nat { udp: true, mapping: Some(Mapping::EndpointIndependent), ..Nat::default() };
        let told = |nat, measuring_lifetime| {
            let netcheck = of(nat, PortMapping::default(), Vec::new());
            render(&Answer::Netcheck(Netcheck { measuring_lifetime, ..netcheck }))
        };
        let text = told(nat, true);
        assert!(text.contains("ports      changed: another outside than inside\n"), "{text}");
        assert!(text.contains("lifetime   being measured in the background"), "{text}");
        let open = Some(Filtering::EndpointIndependent);
        let text = told(Nat { mapping: Some(Mapping::None), filtering: open, ..nat }, false);
        assert!(text.contains("hairpin    not needed"), "{text}");
        assert!(text.contains("lifetime   cannot be measured where everybody is let in"), "{text}");
        assert!(told(nat, false).contains("lifetime   not measured; kept every 14 s\n"));
    }

    #[test]
    fn every_state_of_the_port_mapping_has_a_line_of_its_own() {
        let mut all = std::collections::BTreeSet::new();
        for state in [
            PortMappingState::Off,
            PortMappingState::Unneeded,
            PortMappingState::Asking,
            PortMappingState::None,
            PortMappingState::Mapped,
            PortMappingState::DoubleNat,
        ] {
            let line = port_mapping(&mapped(state));
            assert!(line.len() + 11 <= COLUMNS, "{line}");
            assert!(all.insert(line), "{state:?} repeats");
        }
        let mut for_ever = mapped(PortMappingState::Mapped);
        for_ever.lease_s = Some(0);
        assert_eq!(port_mapping(&for_ever), "by NAT-PMP: 192.0.2.44:41641");
    }

    fn of(nat: Nat, port_mapping: PortMapping, servers: Vec<Server>) -> Netcheck {
        let (egress, portal, full_size) = (Egress::Udp, None, Some(true));
        let measuring_lifetime = false;
        Netcheck {
            nat,
            egress,
            host_answers: None,
            portal,
            full_size,
            mtu: Some(1_492),
            measuring_lifetime,
            keep_alive_s: 14,
            port_mapping,
            servers,
        }
    }

    fn mapped(state: PortMappingState) -> PortMapping {
        PortMapping {
            state,
            protocol: Some(PortMappingProtocol::NatPmp),
            address: Some("192.0.2.44:41641".parse().unwrap()),
            lease_s: Some(7_200),
        }
    }
}
