//! Packets that do not wait for the session.

use super::*;

#[test]
fn a_packet_without_a_session_is_shown_to_the_machine_and_one_with_is_not() {
    let (mut a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    a.tun.send(&datagram(1, 2, b"first", 1)).unwrap();
    let waiting = a.waits.blocking_recv().unwrap();
    assert_eq!((waiting.peer, waiting.packet), (b.id(), datagram(1, 2, b"first", 1)));
    b.receive("the first packet");
    a.tun.send(&datagram(1, 2, b"second", 2)).unwrap();
    b.receive("the second packet");
    assert!(a.waits.try_recv().is_err());
}

#[test]
fn what_came_early_is_delivered_once() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    let packet = datagram(1, 2, b"first", 1);
    b.plane.deliver_early(&a.id(), &packet);
    assert_eq!(b.receive("the early packet"), packet);
    a.tun.send(&packet).unwrap();
    a.tun.send(&datagram(1, 2, b"second", 2)).unwrap();
    assert_eq!(b.receive("what follows"), datagram(1, 2, b"second", 2));
    // It waited for the session, and what follows may have overtaken it.
    b.wait_until("the first packet by the session", |plane| plane.counters().of(Dropped::CameEarly) == 1);
    a.tun.send(&packet).unwrap();
    assert_eq!(b.receive("the same once more, which is another packet"), packet);
}

#[test]
fn an_early_packet_is_looked_at_like_any_other() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    b.knows(&a, direct(&a));
    b.plane.deliver_early(&a.id(), &datagram(3, 2, b"from another", 1));
    b.plane.deliver_early(&a.id(), &datagram(1, 3, b"to another", 1));
    b.plane.deliver_early(&a.id(), b"nonsense");
    b.plane.deliver_early(&DeviceId::from_bytes([9; 16]), &datagram(1, 2, b"from a stranger", 1));
    assert_eq!(b.try_receive(Duration::from_millis(50)), None);
    let counters = b.plane.counters();
    let seen =
        [Dropped::ForeignSource, Dropped::ForeignDestination, Dropped::Malformed].map(|why| counters.of(why));
    assert_eq!(seen, [1, 1, 1]);
}

#[test]
fn an_end_that_answered_a_handshake_does_not_begin_another_at_once() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    let between = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    between.set_read_timeout(Some(DEADLINE)).unwrap();
    let by = Path::Direct { local: SocketId::MAIN, remote: between.local_addr().unwrap() };
    a.knows(&b, by);
    b.knows(&a, by);
    let datagram_of = |end: &Device| {
        let mut bytes = [0; 2_000];
        loop {
            let (length, from) = between.recv_from(&mut bytes).unwrap();
            if from.port() == end.sockets.port() {
                return bytes[..length].to_vec();
            }
        }
    };
    a.tun.send(&datagram(1, 2, b"first", 1)).unwrap();
    let initiation = datagram_of(&a);
    between.send_to(&initiation, (Ipv4Addr::LOCALHOST, b.sockets.port())).unwrap();
    assert_eq!(datagram_of(&b)[0], 2, "an answer, which gets lost here");
    let answered = Instant::now();
    b.tun.send(&datagram(2, 1, b"answer to an early packet", 2)).unwrap();
    assert_eq!(datagram_of(&b)[0], 1, "in the end it asks itself");
    assert!(answered.elapsed() >= Duration::from_millis(200), "{:?}", answered.elapsed());
}
