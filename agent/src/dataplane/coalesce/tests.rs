//! Joining and cutting against each other, on packets built here.

use proptest::prelude::*;

use super::super::split::{PACKET_MAX, Split};
use super::*;

/// One packet of a flow, as a test wants it.
#[derive(Clone, Debug)]
struct Wanted {
    flow: u8,
    v6: bool,
    udp: bool,
    payload: usize,
    pushed: bool,
    /// The sequence number does not follow from the packet before.
    jumps: bool,
    broken: bool,
}

proptest! {
    #[test]
    fn cutting_what_was_joined_gives_the_same_packets(wanted in proptest::collection::vec(wanted(), 1..150)) {
        let sent = build(&wanted);
        let (plain, places) = lay_out(&sent);
        let mut coalescer = Coalescer::new(Joins::TcpAndUdp);
        for place in places {
            coalescer.push(&plain, place);
        }
        let mut received = Vec::new();
        coalescer.flush(&plain, |header, parts| {
            received.extend(cut(header, parts));
            Ok(())
        });
        // Order holds within a flow; flows may overtake each other.
        for flow in 0..4 {
            let of_flow = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                packets.iter().filter(|packet| port_of(packet) == 1_000 + flow).cloned().collect()
            };
            prop_assert_eq!(of_flow(&sent), of_flow(&received));
        }
        prop_assert_eq!(sent.len(), received.len());
    }

    #[test]
    fn no_bytes_make_it_panic(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..40)) {
        let (plain, places) = lay_out(&packets);
        let mut coalescer = Coalescer::new(Joins::TcpAndUdp);
        for place in places {
            coalescer.push(&plain, place);
        }
        let mut bytes = 0;
        coalescer.flush(&plain, |_, parts| {
            bytes += parts.iter().map(|part| part.len()).sum::<usize>();
            Ok(())
        });
        prop_assert!(bytes <= plain.len());
    }

    #[test]
    fn no_header_makes_cutting_panic(
        header in any::<[u8; 10]>(), packet in proptest::collection::vec(any::<u8>(), 0..3_000), mtu in 0_usize..1_500
    ) {
        let mut scratch = [0; PACKET_MAX];
        if let Some(header) = VirtioHeader::decode(&header)
            && let Some(mut split) = Split::new(header, &packet)
        {
            let mut pieces = 0;
            let fits = split.fit(mtu);
            while let Some(piece) = split.next(&mut scratch) {
                prop_assert!(!fits || piece.len() <= mtu);
                pieces += 1;
            }
            prop_assert!(pieces <= packet.len().max(1));
        }
    }
}

#[test]
fn a_train_of_one_flow_is_written_once() {
    for (v6, udp) in [(false, false), (true, false), (false, true), (true, true)] {
        let wanted = vec![Wanted { v6, udp, ..plain_piece() }; 40];
        let writes = write_all(&build(&wanted), Joins::TcpAndUdp);
        assert_eq!(writes.len(), 1, "v6 {v6}, udp {udp}");
        assert_eq!(writes[0].1, 40);
        assert!(writes[0].0.needs_checksum);
    }
}

#[test]
fn packets_of_two_flows_in_turn_become_two_trains() {
    let wanted: Vec<Wanted> = (0..40).map(|i| Wanted { flow: i % 2, ..plain_piece() }).collect();
    let writes = write_all(&build(&wanted), Joins::Tcp);
    assert_eq!(writes.iter().map(|write| write.1).collect::<Vec<_>>(), [20, 20]);
}

#[test]
fn nothing_follows_a_pushed_or_a_shorter_piece() {
    let mut wanted = vec![plain_piece(); 6];
    wanted[1].pushed = true;
    wanted[3].payload = 99;
    let writes = write_all(&build(&wanted), Joins::Tcp);
    assert_eq!(writes.iter().map(|write| write.1).collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn a_packet_with_a_broken_checksum_is_never_joined() {
    let mut wanted = vec![plain_piece(); 5];
    wanted[2].broken = true;
    let sent = build(&wanted);
    let writes = write_all(&sent, Joins::Tcp);
    assert_eq!(writes.iter().map(|write| write.1).collect::<Vec<_>>(), [2, 1, 2]);
    assert!(!writes[1].0.needs_checksum, "the kernel must see that it is broken");
}

#[test]
fn a_broken_first_packet_does_not_get_its_checksum_repaired() {
    let mut wanted = vec![plain_piece(); 3];
    wanted[0].broken = true;
    let writes = write_all(&build(&wanted), Joins::Tcp);
    assert_eq!(writes[0].1, 1);
}

#[test]
fn senders_that_number_unfragmentable_packets_with_zero_are_joined() {
    let mut sent = build(&vec![plain_piece(); 10]);
    for packet in &mut sent {
        packet[4..6].fill(0);
        packet[6] = 0x40;
        set_ipv4_checksum(&mut packet[..20]).unwrap();
    }
    assert_eq!(write_all(&sent, Joins::Tcp).len(), 1);
}

#[test]
fn a_kernel_that_refuses_trains_gets_every_packet_singly_and_is_not_asked_again() {
    let sent = build(&vec![plain_piece(); 8]);
    let (plain, places) = lay_out(&sent);
    let mut coalescer = Coalescer::new(Joins::TcpAndUdp);
    let mut refusals = 0;
    for _ in 0..2 {
        let mut received = Vec::new();
        for place in places.clone() {
            coalescer.push(&plain, place);
        }
        coalescer.flush(&plain, |header, parts| {
            if header.train != Train::None {
                refusals += 1;
                return Err(Refused);
            }
            received.push(join(parts));
            Ok(())
        });
        assert_eq!(received, sent);
    }
    assert_eq!(refusals, 1);
}

#[test]
fn datagrams_stay_single_where_only_tcp_trains_are_taken() {
    let sent = build(&vec![Wanted { udp: true, ..plain_piece() }; 3]);
    assert_eq!(write_all(&sent, Joins::Tcp).len(), 3);
    assert_eq!(write_all(&sent, Joins::Nothing).len(), 3);
}

fn plain_piece() -> Wanted {
    Wanted { flow: 0, v6: false, udp: false, payload: 1_200, pushed: false, jumps: false, broken: false }
}

prop_compose! {
    fn wanted()(
        flow in 0_u8..4,
        payload in prop_oneof![Just(1_200_usize), Just(1_200), Just(64), 0..1_200_usize],
        pushed in prop::bool::weighted(0.1),
        jumps in prop::bool::weighted(0.1),
        broken in prop::bool::weighted(0.05),
    ) -> Wanted {
        // A flow keeps its kind, as real ones do.
        Wanted { flow, v6: flow & 1 == 1, udp: flow & 2 == 2, payload, pushed, jumps, broken }
    }
}

/// Whole packets with right checksums (unless broken), sequence and identification numbers running on.
fn build(wanted: &[Wanted]) -> Vec<Vec<u8>> {
    let mut sequence = [7_u32; 8];
    let mut identification = [u16::MAX - 3; 8];
    wanted
        .iter()
        .enumerate()
        .map(|(number, want)| {
            let flow = usize::from(want.flow);
            if want.jumps {
                sequence[flow] = sequence[flow].wrapping_add(5_000);
                identification[flow] = identification[flow].wrapping_add(9);
            }
            let mut transport = [1_000 + u16::from(want.flow), 443].map(u16::to_be_bytes).concat();
            if want.udp {
                let len = u16::try_from(UDP_HEADER + want.payload).unwrap();
                transport.extend(len.to_be_bytes());
                transport.extend([0, 0]);
            } else {
                transport.extend(sequence[flow].to_be_bytes());
                transport.extend(77_u32.to_be_bytes());
                transport.extend([0x80, FLAG_ACK | if want.pushed { FLAG_PSH } else { 0 }, 1, 0, 0, 0, 0, 0]);
                transport.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
            }
            sequence[flow] = sequence[flow].wrapping_add(u32::try_from(want.payload).unwrap());
            transport.extend((0..want.payload).map(|i| u8::try_from((i * 7 + number) % 251).unwrap()));
            let mut packet = network_header(want, transport.len(), identification[flow]);
            identification[flow] = identification[flow].wrapping_add(1);
            let protocol = if want.udp { PROTOCOL_UDP } else { PROTOCOL_TCP };
            let field = if want.udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
            let mut sum = Sum::pseudo_header(addresses(&packet).unwrap(), protocol, transport.len());
            sum.add(&transport);
            transport[field..field + 2].copy_from_slice(&sum.finish());
            if want.broken {
                transport[field] ^= 0x55;
            }
            packet.extend(transport);
            packet
        })
        .collect()
}

fn network_header(want: &Wanted, transport_len: usize, identification: u16) -> Vec<u8> {
    let protocol = if want.udp { PROTOCOL_UDP } else { PROTOCOL_TCP };
    if want.v6 {
        let len = u16::try_from(transport_len).unwrap().to_be_bytes();
        let mut header = vec![0x60, 0, 0, 1, len[0], len[1], protocol, 64];
        header.extend([0xFD; 16]);
        header.extend([0xFE; 16]);
        return header;
    }
    let len = u16::try_from(20 + transport_len).unwrap().to_be_bytes();
    let id = identification.to_be_bytes();
    let mut header = vec![0x45, 0, len[0], len[1], id[0], id[1], 0, 0, 64, protocol, 0, 0];
    header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    set_ipv4_checksum(&mut header).unwrap();
    header
}

fn port_of(packet: &[u8]) -> u16 {
    let at = if packet[0] >> 4 == 6 { 40 } else { 20 };
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// The packets in one buffer, with gaps, as after decryption.
fn lay_out(packets: &[Vec<u8>]) -> (Vec<u8>, Vec<Range<usize>>) {
    let mut plain = Vec::new();
    let mut places = Vec::new();
    for packet in packets {
        plain.extend([0xEE; 3]);
        places.push(plain.len()..plain.len() + packet.len());
        plain.extend(packet);
    }
    (plain, places)
}

/// Every write with the number of packets in it.
fn write_all(packets: &[Vec<u8>], joins: Joins) -> Vec<(VirtioHeader, usize)> {
    let (plain, places) = lay_out(packets);
    let mut coalescer = Coalescer::new(joins);
    for place in places {
        coalescer.push(&plain, place);
    }
    let mut writes = Vec::new();
    coalescer.flush(&plain, |header, parts| {
        writes.push((header, if header.train == Train::None { 1 } else { parts.len() - 1 }));
        Ok(())
    });
    assert!(coalescer.is_empty());
    writes
}

fn cut(header: VirtioHeader, parts: &[IoSlice<'_>]) -> Vec<Vec<u8>> {
    let whole = join(parts);
    let mut scratch = [0; PACKET_MAX];
    let mut split = Split::new(header, &whole).unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = split.next(&mut scratch) {
        pieces.push(piece.to_vec());
    }
    pieces
}

fn join(parts: &[IoSlice<'_>]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.to_vec()).collect()
}
