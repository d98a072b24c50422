//! Packets that are longer than the path carries: TCP is cut anew, what may be cut is, and the rest is told.

use super::*;

#[test]
fn a_train_is_cut_to_what_the_path_carries() {
    let (a, b) = pair(Offload::Tcp);
    let (header, packet) = tcp_train(30_000);
    a.send_with(VirtioHeader { piece_len: 1_380, ..header }, &packet);
    let mut stream = Vec::new();
    while stream.len() < 30_000 {
        let received = b.receive("the train, joined again");
        let (head, whole) = received.split_first_chunk::<HEADER_LEN>().unwrap();
        let joined = VirtioHeader::decode(head).unwrap();
        assert!(joined.train == Train::None || joined.piece_len == 1_240, "{joined:?}");
        stream.extend_from_slice(&whole[40..]);
    }
    assert!(stream == packet[40..], "not a byte of the stream is changed");
    assert_nothing_dropped(&a);
}

// Joined again where datagrams are received together.
#[cfg(target_os = "linux")]
#[test]
fn one_segment_is_cut_in_two() {
    let (a, b) = pair(Offload::Tcp);
    let (header, packet) = tcp_train(1_380);
    a.send_with(VirtioHeader { train: Train::None, piece_len: 0, ..header }, &packet);
    let received = b.receive("both parts, joined again");
    assert!(received[HEADER_LEN + 40..] == packet[40..]);
    assert_nothing_dropped(&a);
}

#[test]
fn a_datagram_that_may_be_cut_arrives_in_fragments() {
    let (a, b) = pair(Offload::None);
    a.tun.send(&datagram(1, 2, &[7; 1_378], 0)).unwrap();
    let parts = [b.receive("the first fragment"), b.receive("the second")];
    assert_eq!(parts.each_ref().map(Vec::len), [1_276, 144]);
    assert_eq!(parts[0].len() + parts[1].len() - 20, 1_400);
    assert_nothing_dropped(&a);
}

#[test]
fn a_datagram_that_must_not_be_cut_is_answered_with_the_size_that_fits() {
    let (a, b) = pair(Offload::None);
    let mut packet = datagram(1, 2, &[7; 1_378], 0);
    packet[6] = 0x40;
    a.tun.send(&packet).unwrap();
    let answer = a.receive("the message");
    assert_eq!((&answer[20..22], &answer[24..28]), (&[3, 4][..], &[0, 0, 5, 0][..]));
    assert_eq!((&answer[12..16], &answer[16..20]), (&ip(2).octets()[..], &ip(1).octets()[..]));
    assert_eq!(a.plane.counters().of(Dropped::TooBig), 1);
    assert!(b.try_receive(Duration::from_millis(100)).is_none());
    // And where the path carries more, nothing is to be told.
    a.set(vec![PeerEntry { mtu: 1_420, ..entry(&b, direct(&b), &[]) }], &[]);
    a.tun.send(&packet).unwrap();
    assert_eq!(b.receive("the packet"), packet);
}

fn pair(offload: Offload) -> (Device, Device) {
    let (a, b) = (Device::start(1, offload), Device::start(2, offload));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    // A session first: of what waits for one only the newest are kept.
    let first = datagram(1, 2, b"first", 0);
    match offload {
        Offload::None => assert!(a.tun.send(&first).is_ok()),
        Offload::Tcp | Offload::TcpAndUdp => a.send_with(VirtioHeader::PLAIN, &first),
    }
    b.receive("the first packet");
    (a, b)
}
