//! `lanyard why`: why a pair talks the way it does, and the one thing that would change it.

use std::fmt::Write as _;

use super::Context;
use super::netcheck::{filtering, mapping};
use super::output::{COLUMNS, fit, millis, other, path, relay_at, span, unexpected, way, wrap};
use super::status::render_door;
use crate::exit::{Exit, Problem};
use crate::ipc::schema::{
    Answer, Ask, CandidateKind, Mapping, Member, Method, Nat, Path, PortMappingState, Transport, Tried,
    Verdict, Why,
};

/// Explain the path to a peer
///
/// Shows what the NATs at both ends do, what was tried, which path is in use, and the one thing that would
/// make it better.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Name, overlay address, number or id; NAME.NETWORK where two networks have one of the same name
    peer: String,
}

pub(super) fn run(arguments: Arguments, context: &mut Context<'_>) -> Result<Exit, Problem> {
    let answer = context.ask(&Ask::Why { peer: arguments.peer })?.next().ok_or_else(unexpected)??;
    context.print(answer, render);
    Ok(Exit::Ok)
}

fn render(answer: &Answer) -> String {
    if let Answer::Why(why) = answer { render_why(why) } else { other(answer) }
}

fn render_why(why: &Why) -> String {
    let Why { device, network, peer, .. } = why;
    let width = device.len().max(peer.name.len()).clamp(7, 20);
    let name = |name: &str| format!("{:<width$}", fit(name, width));
    let mut text = format!("{device} <-> {}: {}\n", peer.name, headline(peer));
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "  {}  {network}, {} {}", name("in"), peer.ip4, peer.ip6);
    for (first, lines) in [
        (device.as_str(), our_nat(why)),
        (&peer.name, their_nat(why)),
        ("tried", tried(why)),
        ("tries", tries(why)),
        ("because", wrap(&format!("{} ({})", reason(why), why.verdict.word()), COLUMNS - width - 4)),
        ("fix", wrap(&advice(why), COLUMNS - width - 4)),
    ] {
        for (at, line) in lines.into_iter().enumerate() {
            let _ = writeln!(text, "  {}  {line}", name(if at == 0 { first } else { "" }));
        }
    }
    text
}

fn headline(peer: &Member) -> String {
    let rtt = peer.rtt_us.map(|us| format!(", {}", millis(us))).unwrap_or_default();
    match peer.path {
        Path::Direct { .. } => format!("{}{rtt}", path(&peer.path)),
        Path::Relay { .. } if peer.carrier.is_some() => format!("relayed {}{rtt}", way(peer)),
        Path::Relay { relay, transport } => {
            format!("relayed through {}{rtt}", relay_at(relay, transport))
        }
        Path::None if peer.online => "no path in use".to_owned(),
        Path::None => "offline".to_owned(),
    }
}

fn our_nat(why: &Why) -> Vec<String> {
    match &why.door {
        Some(door) => vec![format!("no UDP gets out; {}", render_door(door))],
        None if !why.ours.udp => vec!["not measured yet, or no UDP gets out".to_owned()],
        None => nat(&why.ours),
    }
}

/// What came with the peer's offer; where ours was measured theirs should have been.
fn their_nat(why: &Why) -> Vec<String> {
    let line = match why.theirs {
        None => "not told yet: it comes with the first try",
        Some(theirs) if theirs.udp => return nat(&theirs),
        Some(_) if why.ours.udp => "no UDP gets out",
        Some(_) => "not measured yet, or no UDP gets out",
    };
    vec![line.to_owned()]
}

/// One end's NAT in RFC 4787 words.
fn nat(nat: &Nat) -> Vec<String> {
    let ip6 = if nat.ip6.is_some() { "yes" } else { "no" };
    vec![
        format!("mapping {}", mapping(nat.mapping)),
        format!("filtering {}, IPv6 {ip6}", filtering(nat.filtering)),
    ]
}

fn tried(why: &Why) -> Vec<String> {
    if let (true, Some(Method::Relay)) = (why.tried.is_empty(), why.method) {
        return vec!["nothing: by both NATs punching is hopeless".to_owned()];
    }
    if why.tried.is_empty() {
        return vec!["nothing yet".to_owned()];
    }
    let guessed = match (why.guesses, why.method) {
        (0, _) => None,
        (count, Some(Method::Open)) => {
            Some(format!("{count} probes from fresh sockets, for the peer to guess one"))
        }
        (count, _) => Some(format!("{count} probes to guessed ports")),
    };
    why.tried.iter().map(one_tried).chain(guessed).collect()
}

fn one_tried(tried: &Tried) -> String {
    let kind = match tried.kind {
        CandidateKind::Host => "its own address",
        CandidateKind::ServerReflexive => "seen by STUN",
        CandidateKind::PeerReflexive => "seen by probes",
        CandidateKind::Mapped => "port mapping",
        CandidateKind::Predicted => "predicted",
        CandidateKind::Relayed => "relay",
    };
    let outcome = match (tried.answered, tried.probes) {
        (true, _) => "answered".to_owned(),
        (false, 0) => "not probed".to_owned(),
        (false, 1) => "1 probe, no answer".to_owned(),
        (false, probes) => format!("{probes} probes, no answer"),
    };
    let by = if tried.transport == Transport::Tcp { ", by TCP" } else { "" };
    format!("{} ({kind}{by}): {outcome}", tried.address)
}

fn tries(why: &Why) -> Vec<String> {
    let last = why.last_try_s.map(|last| format!("last {} ago", span(last)));
    let next = why.next_try_s.map(|next| format!("next in {}", span(next)));
    match (last, next) {
        (None, None) => Vec::new(),
        (Some(one), None) | (None, Some(one)) => vec![one],
        (Some(last), Some(next)) => vec![format!("{last}, {next}")],
    }
}

/// What stands in the way.
fn reason(why: &Why) -> String {
    let (here, there) = (&why.device, &why.peer.name);
    let varies = |hard: &str, soft: &str| {
        format!(
            "{hard}'s router uses another port for every destination, and {soft}'s lets in only known ones"
        )
    };
    match why.verdict {
        Verdict::Direct => "an authenticated full-size probe was answered on this path".to_owned(),
        Verdict::Idle => format!("nothing was sent to {there} lately"),
        Verdict::Trying => "addresses are being exchanged and probed".to_owned(),
        Verdict::RefusedHere => format!("{here} was told to refuse {there}"),
        Verdict::RefusedThere => format!("{there} was told to refuse {here}"),
        Verdict::PeerOffline => format!("the coordinator has no session with {there}"),
        Verdict::NoSharedNetwork => {
            "the coordinator knows no network with both of them active in it".to_owned()
        }
        Verdict::CoordinatorUnreachable => "no coordinator that knows both of them answers".to_owned(),
        Verdict::NoRelay => "punching did not work and no relay took the pair".to_owned(),
        Verdict::UdpBlockedHere => format!("no UDP leaves the network of {here}"),
        Verdict::UdpBlockedThere => format!("no UDP leaves the network of {there}"),
        Verdict::BothMappingsVary => "both routers use another port for every destination".to_owned(),
        Verdict::MappingVariesHere => varies(here, there),
        Verdict::MappingVariesThere => varies(there, here),
        Verdict::FullSizeLost => "small probes pass and full-size ones do not".to_owned(),
        Verdict::ProbesLost => "no probe arrives, though both NATs would let it pass".to_owned(),
    }
}

/// The one thing that would help.
fn advice(why: &Why) -> String {
    let (here, there) = (&why.device, &why.peer.name);
    match why.verdict {
        Verdict::Direct => "nothing: the path is direct".to_owned(),
        Verdict::Idle => format!("nothing: no traffic wants a tunnel; \"lanyard ping {there}\" starts one"),
        Verdict::Trying => "nothing yet: a try is running".to_owned(),
        Verdict::RefusedHere => format!("{here} refuses {there}; take that back to talk to it"),
        Verdict::RefusedThere => format!("{there} refuses {here}; its owner has to take that back"),
        Verdict::PeerOffline => format!("start lanyard on {there}, or bring it back online"),
        Verdict::NoSharedNetwork => {
            format!(
                "make {here} and {there} active members of one network; an administrator can approve them"
            )
        }
        Verdict::CoordinatorUnreachable => {
            "bring the coordinator back, or let UDP out to it; \"lanyard netcheck\" tells more".to_owned()
        }
        Verdict::NoRelay if is_hard(&why.ours) || why.theirs.is_some_and(|nat| is_hard(&nat)) => {
            format!("let the coordinator relay (service \"relay\"), or {}", open(why, softer_end(why)))
        }
        Verdict::NoRelay => "let the coordinator relay (service \"relay\")".to_owned(),
        Verdict::UdpBlockedHere => format!("let UDP out of the network of {here}"),
        Verdict::UdpBlockedThere => format!("let UDP out of the network of {there}"),
        Verdict::BothMappingsVary => format!("one end is enough: {}", open(why, softer_end(why))),
        Verdict::MappingVariesHere => open(why, here),
        Verdict::MappingVariesThere => open(why, there),
        Verdict::FullSizeLost => {
            "let UDP datagrams of 1,340 bytes pass on the way: a tunnel or a router there has a smaller MTU"
                .to_owned()
        }
        Verdict::ProbesLost => {
            format!("look for a firewall that drops UDP near {here} or {there}")
        }
    }
}

/// How to let peers in to an end behind a hard NAT.
fn open(why: &Why, end: &str) -> String {
    let is_ours = end == why.device;
    let is_mapped = |tried: &Tried| tried.kind == CandidateKind::Mapped;
    let state = match is_ours {
        true => why.port_mapping.state,
        false if why.tried.iter().any(is_mapped) => PortMappingState::Mapped,
        false => PortMappingState::None,
    };
    let ip6 = ip6(why, is_ours);
    match state {
        PortMappingState::Mapped => {
            format!("let the firewall of {end} pass its UDP port, which its router opens, or {ip6}")
        }
        PortMappingState::DoubleNat => {
            format!("{end} is behind two NATs: switch off that of its router, or {ip6}")
        }
        PortMappingState::Off if is_ours => {
            format!("set port_mapping = true on {end}, or forward one UDP port to it, or {ip6}")
        }
        PortMappingState::Off
        | PortMappingState::Unneeded
        | PortMappingState::Asking
        | PortMappingState::None => format!(
            "switch on UPnP, NAT-PMP or PCP in the router of {end}, or forward one UDP port to it, or {ip6}"
        ),
    }
}

/// What it takes for both ends to have IPv6, which has no NATs; where both have it, it does not lead from one to the other.
fn ip6(why: &Why, is_ours: bool) -> String {
    let theirs = why.theirs.as_ref();
    let [own, other] = if is_ours { [Some(&why.ours), theirs] } else { [theirs, Some(&why.ours)] };
    let has = |nat: Option<&Nat>| nat.is_some_and(|nat| nat.ip6.is_some());
    let [own_name, other_name] =
        if is_ours { [&why.device, &why.peer.name] } else { [&why.peer.name, &why.device] };
    match (has(own), has(other)) {
        (false, true) => format!("give {own_name} IPv6"),
        (true, false) => format!("give {other_name} IPv6"),
        (false, false) => "give both ends IPv6".to_owned(),
        (true, true) => "let UDP pass between them by IPv6".to_owned(),
    }
}

/// The end whose router is worth opening: the one that is hard, and of two hard ones our own.
fn softer_end(why: &Why) -> &str {
    let theirs_is_hard = why.theirs.is_some_and(|nat| is_hard(&nat));
    if !is_hard(&why.ours) && theirs_is_hard { &why.peer.name } else { &why.device }
}

/// Whether a NAT gives another port to every destination, as far as measured.
const fn is_hard(nat: &Nat) -> bool {
    matches!(nat.mapping, Some(Mapping::AddressDependent | Mapping::AddressAndPortDependent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::tests::example;
    use crate::ipc::schema::{Door, Filtering, PortMapping};

    const VERDICTS: [Verdict; 16] = [
        Verdict::Direct,
        Verdict::Idle,
        Verdict::Trying,
        Verdict::RefusedHere,
        Verdict::RefusedThere,
        Verdict::PeerOffline,
        Verdict::NoSharedNetwork,
        Verdict::CoordinatorUnreachable,
        Verdict::NoRelay,
        Verdict::UdpBlockedHere,
        Verdict::UdpBlockedThere,
        Verdict::BothMappingsVary,
        Verdict::MappingVariesHere,
        Verdict::MappingVariesThere,
        Verdict::FullSizeLost,
        Verdict::ProbesLost,
    ];

    #[test]
    fn a_relayed_pair_is_told_both_nats_what_was_tried_and_the_way_out() {
        let text = render(&Answer::Why(relayed(Verdict::MappingVariesThere)));
        assert_eq!(
            text,
            "t480 <-> win-den: relayed through 203.0.113.10:7443, 48.0 ms\n\
             \x20 in       home, 10.61.7.9 fd5a::2\n\
             \x20 t480     mapping endpoint-independent\n\
             \x20          filtering address-and-port-dependent, IPv6 no\n\
             \x20 win-den  mapping address-and-port-dependent\n\
             \x20          filtering address-and-port-dependent, IPv6 no\n\
             \x20 tried    192.168.1.5:41641 (its own address): 6 probes, no answer\n\
             \x20          198.51.100.9:50112 (seen by STUN): 6 probes, no answer\n\
             \x20 tries    last 40 s ago, next in 80 s\n\
             \x20 because  win-den's router uses another port for every destination, and t480's\n\
             \x20          lets in only known ones (mapping_varies_there)\n\
             \x20 fix      switch on UPnP, NAT-PMP or PCP in the router of win-den, or forward\n\
             \x20          one UDP port to it, or give both ends IPv6\n"
        );
    }

    #[test]
    fn every_verdict_has_advice_that_fits_and_names_something_to_do() {
        let mut all = std::collections::BTreeSet::new();
        for verdict in VERDICTS {
            let why = relayed(verdict);
            assert!(all.insert(advice(&why)), "{verdict:?} repeats");
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word(), "one word everywhere");
            for line in render(&Answer::Why(why)).lines() {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
        }
    }

    #[test]
    fn a_router_is_to_map_ports_only_where_it_does_not_yet() {
        let mut why = relayed(Verdict::MappingVariesHere);
        why.ours = why.theirs.unwrap();
        assert!(advice(&why).contains("switch on UPnP, NAT-PMP or PCP in the router of t480"));
        for (state, expected) in [
            (PortMappingState::Off, "port_mapping = true"),
            (PortMappingState::DoubleNat, "two NATs"),
            (PortMappingState::Mapped, "firewall of t480"),
        ] {
            why.port_mapping.state = state;
            let advice = advice(&why);
            assert!(advice.contains(expected) && !advice.contains("switch on UPnP"), "{advice}");
        }
        let mut why = relayed(Verdict::MappingVariesThere);
        why.tried[1].kind = CandidateKind::Mapped;
        assert!(advice(&why).contains("firewall of win-den"), "its router maps a port already");
        let no_nat_in_the_way = [Verdict::Direct, Verdict::ProbesLost, Verdict::FullSizeLost];
        assert!(no_nat_in_the_way.into_iter().all(|verdict| !advice(&relayed(verdict)).contains("UPnP")));
    }

    #[test]
    fn ipv6_is_advised_to_the_end_that_has_none() {
        let some = Some("[2001:db8::1]:41641".parse().unwrap());
        let mut why = relayed(Verdict::MappingVariesThere);
        assert!(advice(&why).ends_with("give both ends IPv6"));
        why.ours.ip6 = some;
        assert!(advice(&why).ends_with("give win-den IPv6"));
        why.theirs.as_mut().unwrap().ip6 = some;
        assert!(advice(&why).ends_with("let UDP pass between them by IPv6"));
        why.ours.ip6 = None;
        assert!(advice(&why).ends_with("give t480 IPv6"));
    }

    #[test]
    fn a_pair_that_never_tried_says_so() {
        let mut why = relayed(Verdict::Idle);
        why.theirs = None;
        why.tried.clear();
        why.peer.path = Path::None;
        let text = render(&Answer::Why(why));
        assert!(text.contains("no path in use"), "{text}");
        assert!(text.contains("not told yet"), "{text}");
        assert!(text.contains("tried    nothing yet"), "{text}");
        assert!(text.contains("lanyard ping win-den"), "{text}");
    }

    #[test]
    fn an_end_without_udp_is_shown_as_it_is_and_what_goes_by_tcp_with_its_real_address() {
        let mut why = relayed(Verdict::UdpBlockedHere);
        why.ours = Nat::default();
        why.door = Some(Door { port: 443, proxy: None, problem: None });
        why.peer.path = Path::Relay { relay: "203.0.113.10:443".parse().unwrap(), transport: Transport::Tcp };
        why.tried[1].transport = Transport::Tcp;
        let text = render(&Answer::Why(why.clone()));
        assert!(text.starts_with("t480 <-> win-den: relayed through 203.0.113.10:443 by TLS"), "{text}");
        assert!(text.contains("  t480     no UDP gets out; connected by TLS 443\n"), "{text}");
        assert!(text.contains("198.51.100.9:50112 (seen by STUN, by TCP): 6 probes"), "{text}");

        let seen_there = Why { ours: why.theirs.unwrap(), door: None, theirs: Some(Nat::default()), ..why };
        let text = render(&Answer::Why(seen_there));
        assert!(text.contains("  win-den  no UDP gets out\n"), "{text}");
    }

    fn relayed(verdict: Verdict) -> Why {
        let status = example();
        let hard = Nat { mapping: Some(Mapping::AddressAndPortDependent), ..status.nat };
        let tried = |kind, address: &str| Tried {
            kind,
            address: address.parse().unwrap(),
            transport: Transport::Udp,
            probes: 6,
            answered: false,
        };
        assert_eq!(hard.filtering, Some(Filtering::AddressAndPortDependent));
        Why {
            device: status.device.name,
            network: "home".to_owned(),
            peer: status.networks[0].members[1].clone(),
            ours: status.nat,
            port_mapping: PortMapping { state: PortMappingState::None, ..PortMapping::default() },
            door: None,
            theirs: Some(hard),
            attempt: "relayed".to_owned(),
            method: Some(Method::Plain),
            tried: vec![
                tried(CandidateKind::Host, "192.168.1.5:41641"),
                tried(CandidateKind::ServerReflexive, "198.51.100.9:50112"),
            ],
            guesses: 0,
            last_try_s: Some(40),
            next_try_s: Some(80),
            verdict,
        }
    }
}
