//! Clients of other hands measure their NAT with our STUN service, and we ours with another's.
//!
//! coturn's `turnutils_stunclient` and `turnutils_natdiscovery` speak RFC 5389 and 5780, Debian's `stun` RFC 3489.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::process::Stdio;
use std::time::Duration;

use lanyard_netns::{Fleet, Lab, wait_for};
use serde_json::Value;

/// The words of `turnutils_natdiscovery` and of `stun` for a NAT of each kind.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("full-cone", "Endpoint Independent Mapping", "Endpoint Independent Filtering", "Independent Filter"),
    (
        "addr-restricted",
        "Endpoint Independent Mapping",
        "Address Dependent Filtering",
        "Address Dependent Filter",
    ),
    ("port-restricted", "Endpoint Independent Mapping", "Port Dependent Filtering", "Port Dependent Filter"),
    ("symmetric", "Port Dependent Mapping", "Port Dependent Filtering", "Dependent Mapping"),
];

/// The setting that clients of other hands need.
const LENIENT: &[(&str, &str)] = &[("LANYARD_SERVER_STUN_STRICT", "false")];

fn says(lab: &Lab, host: &str, program: &str, words: &[&str]) -> String {
    let done = lab.command(host, program).args(words).stdin(Stdio::null()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

fn kinds() -> String {
    KINDS.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>().join(":")
}

#[test]
fn clients_of_other_hands_name_every_nat_as_it_was_configured() {
    let fleet = Fleet::start_with(Lab::up(&kinds()).unwrap(), LENIENT).unwrap();
    for (host, (kind, mapping, filtering, classic)) in ["a", "b", "c", "d"].into_iter().zip(KINDS) {
        // It goes on to wait, without end, for an answer to another port, which none of these NATs lets in.
        let seen = says(&fleet.lab, host, "timeout", &["1", "turnutils_stunclient", "203.0.113.1"]);
        assert!(seen.contains("UDP reflexive addr: 198.51.100."), "{kind}: {seen}");
        let told = says(&fleet.lab, host, "turnutils_natdiscovery", &["-m", "-f", "203.0.113.1"]);
        assert!(told.contains(mapping) && told.contains(filtering), "{kind}: {told}");
        let told = says(&fleet.lab, host, "stun", &["203.0.113.1"]);
        assert!(told.contains(classic), "{kind}: {told}");
    }
}

#[test]
fn without_a_nat_the_client_of_coturn_gets_all_it_asks_for() {
    let fleet = Fleet::start_with(Lab::up("open:open").unwrap(), LENIENT).unwrap();
    let seen = says(&fleet.lab, "a", "timeout", &["5", "turnutils_stunclient", "203.0.113.1"]);
    assert!(
        seen.contains("RFC 5780 response 2"),
        "the answer from the other address, to another port: {seen}"
    );
}

#[test]
fn a_request_without_padding_gets_nothing_by_default() {
    let fleet = Fleet::start(Lab::up("open:open").unwrap()).unwrap();
    let script = "import socket\n\
        for request in ('000100002112a442' + '01' * 12, '00010000' + '01' * 16):\n\
        \x20   s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)\n\
        \x20   s.sendto(bytes.fromhex(request), ('203.0.113.1', 3478))\n\
        \x20   try: print('answered', len(s.recv(2048)))\n\
        \x20   except TimeoutError: print('silence')\n";
    let told = says(&fleet.lab, "a", "python3", &["-c", script]);
    assert_eq!(told, "silence\nsilence\n");
}

/// coturn in place of our STUN service, on both addresses of the server (RFC 5780).
const COTURN: &[&str] = &[
    "-n",
    "-z",
    "-L",
    "203.0.113.1",
    "-L",
    "203.0.113.2",
    "-p",
    "3478",
    "--alt-listening-port",
    "3479",
    "--no-tls",
    "--no-dtls",
    "--no-cli",
    "--log-file",
    "stdout",
];

#[test]
fn our_netcheck_names_every_nat_with_the_server_of_coturn_too() {
    let elsewhere = "203.0.113.1:3478,203.0.113.1:3479,203.0.113.2:3478,203.0.113.2:3479";
    let settings = &[
        ("LANYARD_SERVER_SERVICES_RUN", "checkpoint,handshake,relay,index"),
        ("LANYARD_SERVER_STUN_ELSEWHERE", elsewhere),
    ];
    let fleet = Fleet::start_with(Lab::up(&kinds()).unwrap(), settings).unwrap();
    let mut turnserver = fleet.lab.command("s", "turnserver");
    turnserver.args(COTURN).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Where the test fails the lab ends it.
    let mut turnserver = turnserver.spawn().unwrap();
    for (host, (kind, mapping, filtering, _)) in ["a", "b", "c", "d"].into_iter().zip(KINDS) {
        let agent = fleet.join(host).unwrap();
        let mut card = Value::Null;
        let measured = wait_for("an answer of coturn", Duration::from_secs(10), || {
            card = agent.json(&["netcheck"]).ok()?;
            (card["udp"] == true).then_some(())
        });
        measured.unwrap_or_else(|error| panic!("{kind}: {error:#}: {card}"));
        for (ours, theirs) in [(&card["mapping"], mapping), (&card["filtering"], filtering)] {
            // "Address Dependent Filtering" is "address-dependent" with us; their "Port Dependent" is of both.
            let words = ours.as_str().unwrap().replace("address-and-port", "port").replace('-', " ");
            assert_eq!(theirs.to_lowercase().rsplit_once(' ').unwrap().0, words, "{kind}: {card}");
        }
        assert_eq!(card["full_size"], true, "{kind}: {card}");
        let expected = if *kind == "symmetric" { "random" } else { "preserved" };
        assert_eq!(card["ports"]["policy"], expected, "{kind}: {card}");
    }
    let ours = says(&fleet.lab, "s", "ss", &["-Huln", "sport = :3478"]);
    assert!(
        ours.contains("203.0.113.1:3478") && !ours.contains("0.0.0.0:3478"),
        "coturn has the port: {ours}"
    );
    turnserver.kill().unwrap();
    turnserver.wait().unwrap();
}
