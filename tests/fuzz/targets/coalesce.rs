//! Batches of packets that go on from each other but for a byte here and there: joined and cut again they are the same, and those of a flow in the same order.
#![no_main]

use std::collections::BTreeMap;

use lanyard_agent::dataplane::pieces::{Joiner, checksum, split};
use libfuzzer_sys::fuzz_target;

/// More than the longest batch has.
const PACKETS_MAX: usize = 200;

fuzz_target!(|bytes: &[u8]| {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for step in bytes.chunks_exact(5).take(PACKETS_MAX) {
        let packet = next(&packets, *step.first_chunk().expect("five bytes"));
        packets.push(packet);
    }
    let (mut plain, mut places) = (Vec::new(), Vec::new());
    for packet in &packets {
        places.push(plain.len()..plain.len() + packet.len());
        plain.extend_from_slice(packet);
    }
    let mut cut = Vec::new();
    Joiner::default().join(&plain, &places, |header, parts| {
        let mut read = header.to_vec();
        parts.iter().for_each(|part| read.extend_from_slice(part));
        split(&read, |piece| cut.push(piece.to_vec())).expect("what was joined can be cut");
    });
    assert_eq!(by_flow(&packets), by_flow(&cut));
});

/// The packet after these: a plain one, or one that goes on from one of the last eight; with a byte changed.
fn next(packets: &[Vec<u8>], [choice, length, at, change, fixes]: [u8; 5]) -> Vec<u8> {
    let payload = usize::from(length) * 5 + usize::from(choice >> 6);
    let before = packets.len().checked_sub(1 + usize::from(choice & 7)).map(|back| &packets[back]);
    let mut packet = match before {
        Some(before) if choice & 8 == 0 => {
            let headers = headers_of(before);
            let mut packet = before[..headers].to_vec();
            advance(&mut packet, before.len() - headers);
            packet
        }
        _ => template(choice & 16 != 0, choice & 32 != 0),
    };
    packet.extend((0..payload).map(|i| (i % 251) as u8 ^ length));
    let at = usize::from(at) % packet.len();
    if fixes & 1 != 0 {
        packet[at] ^= change;
    }
    if fixes & 2 == 0 {
        set_lengths(&mut packet);
    }
    if fixes & 4 == 0 {
        set_checksums(&mut packet);
    }
    if fixes & 8 != 0 {
        packet[at] ^= change;
    }
    packet.truncate(1_500);
    packet
}

/// Headers of IPv4 or IPv6, and of UDP or TCP with a time stamp.
fn template(v6: bool, udp: bool) -> Vec<u8> {
    let protocol = if udp { 17 } else { 6 };
    let mut packet = vec![0x45, 0, 0, 0, 0, 9, 0, 0, 64, protocol, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
    if v6 {
        packet = [&[0x60, 0, 0, 0, 0, 0, protocol, 64][..], &[0xFD; 32]].concat();
    }
    packet.extend([3, 232, 1, 187]);
    if udp {
        packet.extend([0, 0, 0, 0]);
    } else {
        packet.extend([
            0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2,
        ]);
    }
    packet
}

/// Where the transport begins, and which it is.
fn transport_of(packet: &[u8]) -> (usize, u8) {
    let v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let start = if v4 { usize::from(packet[0] & 15).max(5) * 4 } else { 40 };
    (start, packet.get(if v4 { 9 } else { 6 }).copied().unwrap_or_default())
}

fn headers_of(packet: &[u8]) -> usize {
    let (start, protocol) = transport_of(packet);
    let words = packet.get(start + 12).map_or(5, |byte| usize::from(byte >> 4).max(5));
    (start + if protocol == 17 { 8 } else { words * 4 }).min(packet.len())
}

/// The identification and the sequence number go on.
fn advance(headers: &mut [u8], payload: usize) {
    let (start, protocol) = transport_of(headers);
    if start != 40
        && let Some(place) = headers.get_mut(4..6)
    {
        let number = u16::from_be_bytes([place[0], place[1]]).wrapping_add(1);
        place.copy_from_slice(&number.to_be_bytes());
    }
    if protocol == 6
        && let Some(place) = headers.get_mut(start + 4..start + 8)
    {
        let number = u32::from_be_bytes([place[0], place[1], place[2], place[3]]);
        place.copy_from_slice(&number.wrapping_add(payload as u32).to_be_bytes());
    }
}

fn set_lengths(packet: &mut [u8]) {
    let (start, protocol) = transport_of(packet);
    let (total, rest) = (packet.len() as u16, packet.len().saturating_sub(start) as u16);
    let v4 = packet[0] >> 4 == 4;
    let (at, length) = if v4 { (2, total) } else { (4, total.saturating_sub(40)) };
    if let Some(place) = packet.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    if protocol == 17
        && let Some(place) = packet.get_mut(start + 4..start + 6)
    {
        place.copy_from_slice(&rest.to_be_bytes());
    }
}

fn set_checksums(packet: &mut [u8]) {
    let (start, protocol) = transport_of(packet);
    let at = start + if protocol == 17 { 6 } else { 16 };
    if at + 2 > packet.len() || ![6, 17].contains(&protocol) {
        return;
    }
    if start != 40 {
        packet[10..12].fill(0);
        let sum = checksum(&packet[..start]);
        packet[10..12].copy_from_slice(&sum);
    }
    packet[at..at + 2].fill(0);
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    let length = ((packet.len() - start) as u16).to_be_bytes();
    let sum = match checksum(&[addresses, &[0, protocol], &length, &packet[start..]].concat()) {
        [0, 0] if protocol == 17 => [0xFF, 0xFF],
        sum => sum,
    };
    packet[at..at + 2].copy_from_slice(&sum);
}

/// Packets in their order within each flow, those of no flow sorted, without what may differ and mean the same.
fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut flows: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for packet in packets {
        flows.entry(flow_of(packet).unwrap_or_default()).or_default().push(essence(packet));
    }
    if let Some(others) = flows.get_mut(&Vec::new()) {
        others.sort();
    }
    flows
}

/// What packets of one TCP connection or UDP flow share; none for fragments, options of IP and wrong lengths.
fn flow_of(packet: &[u8]) -> Option<Vec<u8>> {
    let (start, protocol) = transport_of(packet);
    let stated = |at: usize| Some(usize::from(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?])));
    let (addresses, is_whole) = if packet.first()? >> 4 == 4 {
        let unfragmented = packet.get(6)? & 0x3F == 0 && *packet.get(7)? == 0;
        (packet.get(12..20)?, packet[0] == 0x45 && unfragmented && stated(2)? == packet.len())
    } else {
        (packet.get(8..40)?, packet[0] >> 4 == 6 && stated(4)? + 40 == packet.len())
    };
    let transport = packet.get(start..)?;
    let fits = match protocol {
        6 => (20..=transport.len()).contains(&(usize::from(*transport.get(12)? >> 4) * 4)),
        17 => stated(start + 4)? == transport.len(),
        _ => false,
    };
    let ports = transport.get(..4)?;
    (is_whole && fits).then(|| [addresses, &[protocol], ports].concat())
}

fn essence(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if flow_of(&packet).is_none() {
        return packet;
    }
    let (start, protocol) = transport_of(&packet);
    if start == 20 && checksum(&packet[..20]) == [0, 0] {
        // Not to be fragmented: the identification means nothing.
        if packet[6] & 0x40 != 0 {
            packet[4..6].fill(0);
        }
        packet[10..12].fill(0);
    }
    // Of TCP's checksum, both are zero.
    if protocol == 6 && packet[start + 16..start + 18] == [0xFF, 0xFF] {
        packet[start + 16..start + 18].fill(0);
    }
    packet
}
