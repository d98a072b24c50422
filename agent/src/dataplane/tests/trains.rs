//! Trains, which Linux alone gives and takes: one read is many packets, and so is one write.

use super::*;
use crate::dataplane::split::{PACKET_MAX, Split};

#[test]
fn trains_go_out_in_pieces_and_arrive_as_trains() {
    let (a, b) = (Device::start(1, Offload::TcpAndUdp), Device::start(2, Offload::TcpAndUdp));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    // A packet alone first, so that there is a session: what waits for one is only the newest few.
    a.send_with(VirtioHeader::PLAIN, &datagram(1, 2, b"first", 0));
    assert_eq!(b.receive("the first packet")[HEADER_LEN..], datagram(1, 2, b"first", 0));

    let (header, train) = tcp_train(40 * 1_200 + 300);
    let expected = pieces(header, &train);
    assert_eq!(expected.len(), 41);
    a.send_with(header, &train);
    let mut received = Vec::new();
    let mut writes = 0;
    while received.len() < expected.len() {
        let write = b.receive("a piece of the train");
        let (header, packet) = write.split_first_chunk().unwrap();
        received.extend(pieces(VirtioHeader::decode(header).unwrap(), packet));
        writes += 1;
    }
    assert_eq!(received, expected);
    assert!(writes < expected.len(), "{writes} writes for {} packets", expected.len());
}

fn pieces(header: VirtioHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut piece = [0; PACKET_MAX];
    let mut split = Split::new(header, packet).unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = split.next(&mut piece) {
        pieces.push(piece.to_vec());
    }
    pieces
}
