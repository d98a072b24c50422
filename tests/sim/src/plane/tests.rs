//! Sockets and where datagrams leave by them.

use lanyard_proto::overlay::PeerEntry;
use lanyard_proto::rng::Rng;
use lanyard_wire::keys::SecretKey;
use lanyard_wire::names::DeviceName;

use super::*;
use crate::echo::Echo;

#[test]
fn a_tunnel_s_datagrams_leave_by_the_socket_that_the_table_names() {
    let mut plane = plane();
    let spare = plane.port_of(SocketId(7)).unwrap();
    assert_ne!(spare, MAIN_PORT);
    for (local, port) in [(SocketId(7), spare), (SocketId::MAIN, MAIN_PORT)] {
        let effects = send(&mut plane, direct(local));
        assert_eq!(effects.datagrams.first().map(|(from, to, _)| (*from, *to)), Some((port, remote())));
    }
}

#[test]
fn an_initiation_that_is_repeated_leaves_by_the_socket_of_the_table_too() {
    let mut plane = plane();
    let spare = plane.port_of(SocketId(300)).unwrap();
    send(&mut plane, direct(SocketId(300)));
    let (at, _) = plane.next_wakeup().filter(|(_, why)| *why == "observations").unwrap();
    plane.report(at);
    let (at, why) = plane.next_wakeup().unwrap();
    assert_eq!(why, "initiation");
    let mut effects = Effects::default();
    plane.on_timeout(at, &mut effects);
    assert_eq!(effects.datagrams.first().map(|(from, ..)| *from), Some(spare));
}

#[test]
fn a_table_asks_for_the_last_data_again_once() {
    let mut plane = plane();
    let mut other = Tunnels::new(SecretKey::from_bytes([2; 32]), Rng::from_seed([2; 32]));
    other.set_peers(&[(DeviceId::from_bytes([1; 16]), SecretKey::from_bytes([1; 32]).public())]);
    let now = Instant::from_secs(5_000);
    let (_, _, initiation) = send(&mut plane, direct(SocketId::MAIN)).datagrams.pop().unwrap();
    let response = other.open(&initiation, now).answers.pop().unwrap();
    plane.open(direct(SocketId::MAIN), &response, now, &mut Effects::default());
    let last = send(&mut plane, direct(SocketId::MAIN)).datagrams;
    let mut again = |repeats| {
        let mut table = plane.table().clone();
        table.peers[0].repeats = repeats;
        let mut effects = Effects::default();
        plane.adopt(Arc::new(table), now, &mut effects);
        effects.datagrams
    };
    let repeated = again(1);
    assert_eq!(repeated.len(), 2, "with a keep-alive behind it");
    assert_eq!(repeated.first(), last.first());
    assert!(again(1).is_empty());
}

#[test]
fn a_table_that_names_a_closed_socket_is_noticed() {
    let mut plane = plane();
    plane.port_of(SocketId(7)).unwrap();
    plane.close(SocketId(7));
    let effects = send(&mut plane, direct(SocketId(7)));
    assert!(effects.datagrams.is_empty());
    assert_eq!(effects.facts, [Fact::Closed(SocketId(7))]);
}

#[test]
fn no_more_sockets_open_than_may_and_every_one_has_a_port_of_its_own() {
    let mut plane = plane();
    let spares = u16::try_from(SPARES_MAX).unwrap();
    let ports: std::collections::BTreeSet<u16> =
        (1..=spares).map(|number| plane.port_of(SocketId(number)).unwrap()).collect();
    assert_eq!(ports.len(), SPARES_MAX);
    assert_eq!(plane.port_of(SocketId(spares + 1)), None);
    let closed = plane.port_of(SocketId(5)).unwrap();
    plane.close(SocketId(5));
    assert_eq!(plane.socket_at(closed), None);
    assert_ne!(plane.port_of(SocketId(spares + 1)), Some(closed), "its port rests");
    plane.close(SocketId::MAIN);
    assert_eq!(plane.socket_at(MAIN_PORT), Some(SocketId::MAIN));
}

/// Sends one packet while this is the peer's path.
fn send(plane: &mut Plane, path: Path) -> Effects {
    let now = Instant::from_secs(1_000 * (plane.table().generation + 1));
    let peer = PeerEntry {
        device: DeviceId::from_bytes([2; 16]),
        name: DeviceName::sanitize("peer"),
        wireguard: SecretKey::from_bytes([2; 32]).public(),
        addresses: vec!["10.77.0.3".parse().unwrap()],
        path,
        mtu: 1_280,
        repeats: 0,
    };
    let mut effects = Effects::default();
    let table = ForwardingTable::new(plane.table().generation + 1, Vec::new(), vec![peer], &[]);
    plane.adopt(Arc::new(table), now, &mut effects);
    let echo = Echo::question("10.77.0.2".parse().unwrap(), "10.77.0.3".parse().unwrap(), 0, 1, 84);
    assert!(plane.send(&echo.unwrap().encode(), now, &mut effects));
    effects
}

fn plane() -> Plane {
    Plane::new(Tunnels::new(SecretKey::from_bytes([1; 32]), Rng::from_seed([1; 32])), 0)
}

fn direct(local: SocketId) -> Path {
    Path::Direct { local, remote: remote() }
}

fn remote() -> SocketAddr {
    "198.51.100.97:41641".parse().unwrap()
}
