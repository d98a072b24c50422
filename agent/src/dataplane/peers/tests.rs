//! Snapshots, what waits, and when to ask again.

use std::net::Ipv4Addr;

use lanyard_proto::overlay::table::OverlayAddress;
use lanyard_proto::transmit::SocketId;
use lanyard_wire::ids::NetworkId;
use lanyard_wire::keys::SecretKey;

use super::super::tunnel::WireGuard;
use super::*;
use crate::dataplane::activity::Activity;

#[test]
fn a_peer_keeps_its_state_from_table_to_table() {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (first, _) = Peers::default().next(&table(&[entry(1, 1)]), &sockets);
    let peer = Arc::clone(first.of(&device(1)).unwrap().peer);
    let (second, gone) = first.next(&table(&[entry(1, 1), entry(2, 2)]), &sockets);
    assert!(gone.is_empty());
    assert!(Arc::ptr_eq(&peer, second.of(&device(1)).unwrap().peer));
    assert!(Arc::ptr_eq(&peer, second.by_index(peer.index).unwrap().peer));
    assert!(Arc::ptr_eq(&peer, second.by_key(&key(1)).unwrap().peer));
    assert!(Arc::ptr_eq(&peer, second.route(Ipv4Addr::new(10, 9, 0, 1).into()).unwrap().peer));
}

#[test]
fn a_peer_that_is_only_known_is_small() {
    let bytes = size_of::<Peer>();
    assert!(bytes <= 512, "{bytes} bytes for each, and there are thousands");
}

#[test]
fn a_peer_is_driven_from_its_first_packet_on_and_stands_in_the_list_once() {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (peers, _) = Peers::default().next(&table(&[entry(1, 1), entry(2, 2)]), &sockets);
    let living = Living::default();
    let peer = peers.of(&device(1)).unwrap().peer;
    peer.revive(&living);
    peer.revive(&living);
    let taken = living.take();
    assert_eq!(taken.iter().map(|peer| peer.device).collect::<Vec<_>>(), [device(1)]);
    peers.of(&device(2)).unwrap().peer.revive(&living);
    peer.revive(&living);
    living.give_back(taken);
    assert_eq!(living.take().len(), 2, "whoever came meanwhile is kept, and nobody stands there twice");
}

#[test]
fn a_peer_that_vanished_or_changed_its_key_loses_its_tunnel() {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (first, _) = Peers::default().next(&table(&[entry(1, 1), entry(2, 2)]), &sockets);
    let own = WireGuard::new(&SecretKey::from_bytes([9; 32]));
    let now = Instant::from_secs(1);
    for found in first.iter() {
        let mut state = found.peer.lock();
        state.tunnel = Some(Tunnel::new(&own, &found.entry.wireguard, found.peer.index));
        state.wait(b"packet", now);
    }
    let (second, gone) = first.next(&table(&[entry(1, 7)]), &sockets);
    assert_eq!(gone.len(), 2, "one left, one has another key");
    for peer in gone {
        peer.retire();
        let mut state = peer.lock();
        assert!(state.tunnel.is_none() && state.is_retired() && !state.has_waiting());
        assert!(state.wait(b"late packet", now), "a packet in flight is dropped");
        assert!(second.by_index(peer.index).is_none());
    }
    assert!(second.of(&device(1)).unwrap().peer.lock().tunnel.is_none());
}

#[test]
fn a_path_through_the_virtual_lan_is_not_used() {
    let sockets = Sockets::bind(0, 1).unwrap();
    sockets.set_overlay(vec![(Ipv4Addr::new(10, 9, 0, 0).into(), 24)]);
    let remote = |ip: [u8; 4]| Path::Direct { local: SocketId::MAIN, remote: (ip, 7).into() };
    let mut through = entry(1, 1);
    through.path = remote([10, 9, 0, 5]);
    let mut beside = entry(2, 2);
    beside.path = remote([10, 9, 1, 5]);
    let (peers, _) = Peers::default().next(&table(&[through, beside.clone()]), &sockets);
    assert_eq!(peers.of(&device(1)).unwrap().path, Path::None);
    assert_eq!(peers.of(&device(2)).unwrap().path, beside.path);
    assert_eq!(peers.on_path(beside.path).unwrap().entry.device, device(2));
}

#[test]
fn the_newest_eight_packets_wait_and_not_for_ever() {
    let mut state = PeerState::default();
    let now = Instant::from_secs(100);
    let pushed_out = (0..20_u8).filter(|number| state.wait(&[*number], now)).count();
    assert_eq!(pushed_out, 12);
    assert!(state.is_waiting(now + WAITING_TIME));
    assert_eq!(state.next_waiting(), Some(vec![12]));
    assert!(!state.is_waiting(now + WAITING_TIME + Duration::from_secs(1)));
}

#[test]
fn initiations_back_off_to_five_seconds_and_go_on_as_long_as_packets_wait() {
    let path = Path::Direct { local: SocketId::MAIN, remote: ([192, 0, 2, 1], 7).into() };
    let mut initiations = Initiations::default();
    let start = Instant::from_secs(1);
    let mut sent = Vec::new();
    for millis in (0..600_000).step_by(250) {
        let now = start + Duration::from_millis(millis);
        if initiations.is_due(path, now) {
            initiations.sent(path, now);
            sent.push(millis);
        }
    }
    assert_eq!(sent[..7], [0, 250, 750, 1_750, 3_750, 7_750, 12_750]);
    // A peer that is dead for five minutes is asked every five seconds all the while, and answers then.
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] <= 5_000));
    assert_eq!(sent.last(), Some(&597_750));
}

#[test]
fn a_new_path_is_tried_at_once() {
    let path = |port| Path::Direct { local: SocketId::MAIN, remote: ([192, 0, 2, 1], port).into() };
    let mut initiations = Initiations::default();
    let now = Instant::from_secs(1);
    assert!(!initiations.is_due(Path::None, now));
    initiations.sent(path(1), now);
    assert!(!initiations.is_due(path(1), now));
    assert!(initiations.is_due(path(2), now));
}

#[test]
fn what_was_sent_and_heard_is_told_once_and_by_path() {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (peers, _) = Peers::default().next(&table(&[entry(1, 1)]), &sockets);
    let found = peers.of(&device(1)).unwrap();
    let path = |port| Path::Direct { local: SocketId::MAIN, remote: ([192, 0, 2, 1], port).into() };
    assert_eq!(found.peer.observe(found.path), None);
    {
        let mut state = found.peer.lock();
        state.sent(path(1), 2, 300, || at(1));
        state.heard(path(1), 100, at(2));
        state.heard(path(2), 50, at(3));
        state.heard(path(1), 100, at(4));
        state.sent(path(1), 1, 10, || at(5));
        state.sent(path(1), 1, 10, || panic!("the clock is not asked again"));
        state.wait(b"packet", Instant::from_secs(1));
    }
    assert!(found.peer.set_mark());
    assert!(!found.peer.set_mark(), "marked already");
    let observation = found.peer.observe(found.path).unwrap();
    assert_eq!((observation.tx_packets, observation.tx_bytes), (4, 320));
    assert_eq!((observation.heard_at, observation.unanswered_since), (Some(at(4)), Some(at(5))));
    assert_eq!(observation.rx, [(path(1), 2, 200), (path(2), 1, 50)]);
    assert!(observation.waiting);
    assert_eq!(found.peer.observe(found.path), None);
    let total = found.peer.counters().total();
    assert_eq!((total.tx_packets, total.rx_packets, total.rx_bytes), (4, 3, 250));
}

#[test]
fn counters_are_read_while_packets_hold_the_lock() {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (peers, _) = Peers::default().next(&table(&[entry(1, 1)]), &sockets);
    let peer = peers.of(&device(1)).unwrap().peer;
    let path = Path::Direct { local: SocketId::MAIN, remote: ([192, 0, 2, 1], 7).into() };
    let (told, counters) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let mut state = peer.lock();
        state.sent(path, 3, 900, || at(1));
        scope.spawn(move || told.send(peer.counters()));
        let counters = counters.recv_timeout(Duration::from_secs(10)).expect("the reader waits for the lock");
        assert_eq!(counters.total().tx_bytes, 900);
    });
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn table(entries: &[PeerEntry]) -> Arc<ForwardingTable> {
    let own = OverlayAddress {
        network: NetworkId::from_bytes([1; 16]),
        name: "home".parse().unwrap(),
        ip4: Some((Ipv4Addr::new(10, 9, 0, 200), 24)),
        ip6: ("fd00::c8".parse().unwrap(), 64),
    };
    Arc::new(ForwardingTable::new(1, vec![own], entries.to_vec(), &[]))
}

fn entry(id: u8, key_of: u8) -> PeerEntry {
    PeerEntry {
        device: device(id),
        name: "nas".parse().unwrap(),
        wireguard: key(key_of),
        addresses: vec![Ipv4Addr::new(10, 9, 0, id).into()],
        path: Path::None,
        mtu: 1_280,
        repeats: 0,
    }
}

fn device(id: u8) -> DeviceId {
    DeviceId::from_bytes([id; 16])
}

fn key(id: u8) -> PublicKey {
    SecretKey::from_bytes([id; 32]).public()
}

#[test]
fn a_marked_peer_is_named_once_until_it_is_marked_again() {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (peers, _) = Peers::default().next(&table(&[entry(1, 1), entry(2, 2)]), &sockets);
    let activity = Activity::default();
    let named = || {
        let mut named = Vec::new();
        activity.take(|peer| {
            peer.observe(Path::None);
            named.push(peer.device);
        });
        named
    };
    let mark = |number| activity.mark(peers.of(&device(number)).unwrap().peer);
    mark(2);
    mark(2);
    assert_eq!(named(), [device(2)]);
    assert_eq!(named(), []);
    mark(1);
    mark(2);
    assert_eq!(named(), [device(1), device(2)]);
}

#[test]
fn a_resting_peer_is_left_alone_as_often_as_was_said() {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (peers, _) = Peers::default().next(&table(&[entry(1, 1)]), &sockets);
    let peer = peers.of(&device(1)).unwrap().peer;
    assert!(!peer.is_resting());
    peer.rest(2);
    assert_eq!([(); 3].map(|()| peer.is_resting()), [true, true, false]);
    assert!(!peer.lock().take_used());
    peer.lock().heard(Path::None, 1, Instant::ZERO);
    assert!(peer.lock().take_used() && !peer.lock().take_used());
}
