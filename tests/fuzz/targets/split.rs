//! What a TUN with offload might give: header and packet. Whatever is cut are whole packets of the same two ends, and together carry the same.
#![no_main]

use lanyard_agent::dataplane::pieces::{TUN_HEADER, checksum, reencode, split};
use lanyard_proto::overlay::packet::parse;
use libfuzzer_sys::fuzz_target;

/// What the header's second byte says, without the mark of congestion.
const ONE_PACKET: u8 = 0;
const UDP_TRAIN: u8 = 5;
/// The longest packet of the data plane.
const PACKET_MAX: usize = 1_500;

fuzz_target!(|read: &[u8]| {
    let mut pieces = Vec::new();
    let cut = split(read, |piece| pieces.push(piece.to_vec()));
    let Some((header, packet)) = read.split_first_chunk::<TUN_HEADER>() else {
        assert!(cut.is_none());
        return;
    };
    let kind = header[1] & 0x7F;
    let Some(known) = reencode(header) else {
        assert!(cut.is_none());
        return;
    };
    assert_eq!((known[0], known[1], &known[2..]), (header[0] & 1, kind, &header[2..]));
    if cut.is_none() {
        assert!(pieces.is_empty());
        return;
    }
    let number = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let (piece_len, start, offset) = (number(4), number(6), number(8));
    if kind == ONE_PACKET {
        let field = start + offset;
        let is_field = |at: usize| header[0] & 1 != 0 && (field..field + 2).contains(&at);
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].len(), packet.len());
        assert!((0..packet.len()).all(|at| pieces[0][at] == packet[at] || is_field(at)));
        return;
    }
    // Outbound cuts nothing that is no packet.
    let Ok(whole) = parse(packet) else { return };
    let headers =
        if kind == UDP_TRAIN { start + 8 } else { start + usize::from(packet[start + 12] >> 4) * 4 };
    let mut payload = Vec::new();
    for piece in &pieces {
        let header = parse(piece).expect("a packet");
        let same = (whole.source, whole.destination, whole.protocol);
        assert_eq!((header.source, header.destination, header.protocol), same);
        assert_eq!(header.length, piece.len());
        assert!(piece.len() <= PACKET_MAX && piece.len() <= headers + piece_len);
        assert!(is_intact(piece, start, if kind == UDP_TRAIN { 17 } else { 6 }));
        payload.extend_from_slice(&piece[headers..]);
    }
    assert_eq!(payload, packet[headers..]);
});

/// Whether the checksums of the transport and of IPv4 are right.
fn is_intact(packet: &[u8], start: usize, protocol: u8) -> bool {
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    let length = u16::try_from(packet.len() - start).expect("a short packet").to_be_bytes();
    let transport = [addresses, &[0, protocol], &length, &packet[start..]].concat();
    let network = if packet[0] >> 4 == 4 { checksum(&packet[..start]) } else { [0, 0] };
    checksum(&transport) == [0, 0] && network == [0, 0]
}
