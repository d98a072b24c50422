//! A member on a public address that is willing carries pairs which cannot meet directly, and spares the coordinator's relay.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, and tells what it measured"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lanyard_netns::inside::inside;
use lanyard_netns::{Agent, Fleet, Lab, Transfer, connect, wait_for};

/// Two devices that can never meet, and two that could carry them.
const TOPOLOGY: &str = "[server.s]\naddrs = 2\ndelay = 20\n\
    [site.ra]\nnat = \"symmetric\"\nhosts = [\"a\"]\n[site.rb]\nnat = \"symmetric\"\nhosts = [\"b\"]\n\
    [site.rc]\nnat = \"open\"\nhosts = [\"c\"]\n[site.rd]\nnat = \"full-cone\"\nhosts = [\"d\"]\n";

/// The member through which datagrams to a peer go.
fn carrier_of(agent: &Agent, peer: &str) -> Option<String> {
    Some(agent.peer(peer).ok()?["carrier"].as_str()?.to_owned())
}

fn both_by(a: &Agent, b: &Agent, carrier: Option<&str>) {
    let within = Duration::from_secs(60);
    let is_there = |end: &Agent, peer: &Agent| {
        let is_relayed = end.path_to(&peer.host).as_deref() == Some("relay");
        is_relayed && carrier_of(end, &peer.host).as_deref() == carrier
    };
    wait_for(&format!("both ends by {carrier:?}"), within, || {
        (is_there(a, b) && is_there(b, a)).then_some(())
    })
    .unwrap();
}

/// Bytes that the coordinator's relay has passed on.
fn relayed_bytes(fleet: &Fleet) -> u64 {
    let page = inside(&fleet.lab.namespace("s"), || {
        let mut stream = TcpStream::connect("127.0.0.1:8080")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    })
    .unwrap();
    let line = page.lines().find(|line| line.starts_with("lanyard_relay_bytes_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_willing_member_carries_a_pair_and_the_relay_takes_over_without_a_break_when_it_dies_or_may_not() {
    let fleet = Fleet::start(Lab::up(TOPOLOGY).unwrap()).unwrap();
    let (a, b) = (fleet.join("a").unwrap(), fleet.join("b").unwrap());
    let mut c = fleet.join_with("c", &[("LANYARD_RELAY", "network")]).unwrap();
    connect(&a, &b).unwrap();
    both_by(&a, &b, Some("c"));
    let status = a.run(&["why", "b"]).unwrap();
    assert!(status.contains("relayed by c"), "{status}");

    let before = relayed_bytes(&fleet);
    let transfer = Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), 500_000).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let spared = relayed_bytes(&fleet) - before;
    assert!(spared < 50_000, "{spared} bytes went through the coordinator's relay");

    c.kill();
    both_by(&a, &b, None);
    c.start().unwrap();
    both_by(&a, &b, Some("c"));
    fleet.admin(&["network", "set", "home", "--peer-relay", "off"]).unwrap();
    both_by(&a, &b, None);
    let received = transfer.finish().unwrap();
    println!("carried, its carrier killed, carried again, and forbidden: {received:?}");
    assert!(received.longest_stall < Duration::from_secs(1), "{received:?}");
}

#[test]
fn a_member_behind_a_full_cone_carries_and_one_that_was_not_asked_to_does_not() {
    let fleet = Fleet::start(Lab::up(TOPOLOGY).unwrap()).unwrap();
    let (a, b, c) = (fleet.join("a").unwrap(), fleet.join("b").unwrap(), fleet.join("c").unwrap());
    connect(&a, &b).unwrap();
    connect(&a, &c).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(carrier_of(&a, "b"), None, "c is reachable and never said that it is willing");
    let _d = fleet.join_with("d", &[("LANYARD_RELAY", "network"), ("LANYARD_RELAY_RATE", "8")]).unwrap();
    let transfer = Transfer::start(a.namespace(), b.namespace(), b.address().unwrap(), 100_000).unwrap();
    both_by(&a, &b, Some("d"));
    assert!(transfer.finish().unwrap().longest_stall < Duration::from_secs(1));
}
