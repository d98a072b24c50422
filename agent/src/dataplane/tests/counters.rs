//! What is counted of a peer, and for which path.

use super::*;

#[test]
fn what_went_by_relay_and_what_went_directly_are_counted_apart() {
    let relay = Relay::start();
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    relay.serve(&a, &b);
    a.knows(&b, relay.path());
    b.knows(&a, relay.path());
    send(&a, &b, 0..3);
    a.moves(&b, direct(&b), &relay);
    send(&a, &b, 3..8);

    let paths = |device: &Device| device.plane.peer_counters().remove(0).paths;
    let leads = |path| Lead::of(path).unwrap();
    let sent = paths(&a);
    assert_eq!(sent.iter().map(|path| path.lead).collect::<Vec<_>>(), [direct(&b), relay.path()].map(leads));
    assert_eq!(sent[0].totals.tx_packets, 5);
    // An initiation too, and perhaps an answer's confirmation.
    assert!(sent[1].totals.tx_packets >= 4, "{sent:?}");
    let heard = paths(&b);
    let of = |lead| heard.iter().find(|path| path.lead == lead).map(|path| path.totals).unwrap();
    let directly = of(leads(direct(&a)));
    assert_eq!((directly.rx_packets, directly.tx_packets), (5, 0), "B answers by the relay");
    assert_eq!(directly.rx_bytes, sent[0].totals.tx_bytes);
    assert!(of(leads(relay.path())).rx_packets >= 3);
}

#[test]
fn what_is_replayed_is_counted_with_its_peer() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    let between = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let remote = between.local_addr().unwrap();
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    send(&a, &b, 0..1);
    a.knows(&b, Path::Direct { local: SocketId::MAIN, remote });
    a.tun.send(&datagram(1, 2, b"once", 1)).unwrap();
    let mut sealed = [0; 2_000];
    between.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = between.recv(&mut sealed).unwrap();
    for _ in 0..3 {
        between.send_to(&sealed[..length], (Ipv4Addr::LOCALHOST, b.sockets.port())).unwrap();
    }
    b.wait_until("two of the three", |plane| plane.counters().of(Dropped::Replayed) == 2);
    let peer = &b.plane.peer_counters()[0];
    assert_eq!(peer.dropped.of(Dropped::Replayed), 2);
    assert!(peer.paths.iter().any(|path| path.lead == Lead::Direct(remote) && path.totals.rx_packets == 1));
}

fn send(from: &Device, to: &Device, numbers: std::ops::Range<u16>) {
    for number in numbers {
        let packet = datagram(from.number, to.number, b"counted", number);
        from.tun.send(&packet).unwrap();
        assert_eq!(to.receive("a packet"), packet);
    }
}
