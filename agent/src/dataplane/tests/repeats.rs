//! What was sent into nowhere goes out again, and arrives once.

use super::*;

#[test]
fn what_was_lost_with_its_path_is_sent_again_by_the_next_one_and_taken_once() {
    let (a, b) = talking();
    let nowhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let remote = nowhere.local_addr().unwrap();
    a.knows(&b, Path::Direct { local: SocketId::MAIN, remote });
    a.tun.send(&datagram(1, 2, b"first", 1)).unwrap();
    a.tun.send(&datagram(1, 2, b"last", 2)).unwrap();
    let mut lost = [0; 2_000];
    for _ in 0..2 {
        nowhere.set_read_timeout(Some(DEADLINE)).unwrap();
        nowhere.recv(&mut lost).unwrap();
    }
    assert_eq!(b.try_receive(Duration::from_millis(50)), None);

    repeats(&a, &b, 1);
    assert_eq!(b.receive("the last packet"), datagram(1, 2, b"last", 2));
    b.observe_until("the keep-alive behind it", |seen| {
        seen.rx.iter().map(|(_, packets, _)| packets).sum::<u32>() > 0
    });
    repeats(&a, &b, 2);
    let replayed = |plane: &DataPlane| plane.counters().of(Dropped::Replayed) == 1;
    b.wait_until("the same datagram again", replayed);
    assert_eq!(b.try_receive(Duration::from_millis(50)), None, "it is taken once");
}

#[test]
fn a_table_that_asks_for_nothing_new_repeats_nothing() {
    let (a, b) = talking();
    let sent = a.plane.peer_counters()[0].total().tx_packets;
    for number in 1..4 {
        a.knows(&b, direct(&b));
        a.tun.send(&datagram(1, 2, b"more", number)).unwrap();
        assert_eq!(b.receive("a packet"), datagram(1, 2, b"more", number));
    }
    assert_eq!(a.plane.peer_counters()[0].total().tx_packets, sent + 3);
    assert_eq!(b.plane.counters().of(Dropped::Replayed), 0);
}

/// Two devices with a session.
fn talking() -> (Device, Device) {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    a.tun.send(&datagram(1, 2, b"there", 0)).unwrap();
    b.receive("the first packet");
    b.plane.observe();
    (a, b)
}

fn repeats(a: &Device, b: &Device, repeats: u32) {
    a.set(vec![PeerEntry { repeats, ..entry(b, direct(b), &[]) }], &[]);
}
