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
    /// Not to be fragmented, and all with the same identification, as some systems send them.
    unnumbered: bool,
    /// Bytes of TCP's options: 12 are a time stamp.
    options: usize,
    payload: usize,
    odd: Oddity,
}

/// In what a packet is not one that simply goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    None,
    Pushed,
    /// Other flags of TCP.
    Flags(u8),
    /// The sequence number does not follow from the packet before.
    Jumps,
    /// The identification does not.
    SkipsNumber,
    /// Somebody on the way had no room for it and marked it (ECN).
    Marked,
    /// Came by another way.
    HopLimit,
    Window,
    Acknowledges,
    /// Other bytes in the options.
    Options,
    /// A wrong checksum of TCP or UDP.
    Broken,
    /// A wrong checksum of IPv4.
    BrokenHeader,
    /// No checksum, which UDP over IPv4 may do without.
    Unsummed,
}

proptest! {
    #[test]
    fn cutting_what_was_joined_gives_the_same_packets(wanted in batch()) {
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
        for flow in 0..8 {
            let of_flow = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                let of_flow = packets.iter().filter(|packet| port_of(packet) == 1_000 + flow);
                of_flow.map(|packet| essence(packet)).collect()
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
    wanted[1].odd = Oddity::Pushed;
    wanted[3].payload = 99;
    let writes = write_all(&build(&wanted), Joins::Tcp);
    assert_eq!(writes.iter().map(|write| write.1).collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn a_packet_with_a_broken_checksum_is_never_joined() {
    let mut wanted = vec![plain_piece(); 5];
    wanted[2].odd = Oddity::Broken;
    let sent = build(&wanted);
    let writes = write_all(&sent, Joins::Tcp);
    assert_eq!(writes.iter().map(|write| write.1).collect::<Vec<_>>(), [2, 1, 2]);
    assert!(!writes[1].0.needs_checksum, "the kernel must see that it is broken");
}

#[test]
fn a_broken_first_packet_does_not_get_its_checksum_repaired() {
    let mut wanted = vec![plain_piece(); 3];
    wanted[0].odd = Oddity::Broken;
    let writes = write_all(&build(&wanted), Joins::Tcp);
    assert_eq!(writes[0].1, 1);
}

#[test]
fn senders_that_number_all_unfragmentable_packets_the_same_are_joined() {
    let sent = build(&vec![Wanted { unnumbered: true, ..plain_piece() }; 10]);
    assert_eq!(write_all(&sent, Joins::Tcp).len(), 1);
}

#[test]
fn a_packet_that_differs_from_the_first_in_more_than_its_turn_begins_anew() {
    const FLAGS: [u8; 6] = [0x01, 0x02, 0x04, 0x20, 0x40, 0x80];
    let flags = FLAGS.map(Oddity::Flags).into_iter();
    let both = [Oddity::Jumps, Oddity::SkipsNumber, Oddity::Marked, Oddity::HopLimit, Oddity::BrokenHeader];
    let tcp = [Oddity::Window, Oddity::Acknowledges, Oddity::Options, Oddity::Broken];
    for odd in flags.chain(both).chain(tcp) {
        let mut wanted = vec![plain_piece(); 5];
        wanted[2].odd = odd;
        let counts: Vec<usize> = write_all(&build(&wanted), Joins::Tcp).iter().map(|write| write.1).collect();
        assert_eq!(counts.iter().sum::<usize>(), 5);
        assert_eq!(counts[0], 2, "{odd:?}");
    }
    for odd in [Oddity::Unsummed, Oddity::Broken] {
        let mut wanted = vec![Wanted { udp: true, ..plain_piece() }; 5];
        wanted[2].odd = odd;
        let counts: Vec<usize> =
            write_all(&build(&wanted), Joins::TcpAndUdp).iter().map(|write| write.1).collect();
        assert_eq!(counts, [2, 1, 2], "{odd:?}");
    }
}

#[test]
fn a_train_is_no_longer_than_an_ip_packet_can_be_nor_than_the_kernel_takes() {
    for v6 in [false, true] {
        let long = write_all(&build(&vec![Wanted { v6, ..plain_piece() }; 60]), Joins::TcpAndUdp);
        assert_eq!(long.iter().map(|write| write.1).collect::<Vec<_>>(), [54, 6]);
        let many = vec![Wanted { v6, udp: true, payload: 99, ..plain_piece() }; 100];
        let many = write_all(&build(&many), Joins::TcpAndUdp);
        assert_eq!(many.iter().map(|write| write.1).collect::<Vec<_>>(), [PIECES_MAX, 36]);
    }
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
    let (v6, udp, unnumbered) = (false, false, false);
    Wanted { flow: 0, v6, udp, unnumbered, options: 12, payload: 1_200, odd: Oddity::None }
}

/// Few flows or many, nearly all packets of one length; in some batches every packet simply goes on, so that trains get
/// as long as they may.
fn batch() -> impl Strategy<Value = Vec<Wanted>> {
    let lengths = prop_oneof![Just(1_200_usize), 1..1_400_usize];
    let odd_percent = prop_oneof![Just(0), Just(2), Just(20)];
    (0_u8..8, 1_u8..=8, lengths, odd_percent).prop_flat_map(|(first, flows, length, odd_percent)| {
        let wanted = wanted(length, odd_percent).prop_map(move |mut wanted| {
            wanted.flow = (first + wanted.flow % flows) % 8;
            // A flow keeps its kind, as real ones do.
            let (v6, udp, other) = (wanted.flow & 1 != 0, wanted.flow & 2 != 0, wanted.flow & 4 != 0);
            Wanted { v6, udp, unnumbered: other, options: if other { 40 } else { 12 }, ..wanted }
        });
        proptest::collection::vec(wanted, 1..150)
    })
}

prop_compose! {
    fn wanted(length: usize, odd_percent: u32)(
        flow in 0_u8..8,
        payload in prop_oneof![Just(64), 0..=length],
        is_other_length in 0_u32..100,
        odd in oddity(),
        is_odd in 0_u32..100,
    ) -> Wanted {
        Wanted {
            flow,
            payload: if is_other_length < odd_percent { payload.min(length) } else { length },
            odd: if is_odd < odd_percent { odd } else { Oddity::None },
            ..plain_piece()
        }
    }
}

fn oddity() -> impl Strategy<Value = Oddity> {
    prop_oneof![
        5 => Just(Oddity::Pushed),
        5 => any::<u8>().prop_map(Oddity::Flags),
        10 => proptest::sample::select(vec![
            Oddity::Jumps,
            Oddity::SkipsNumber,
            Oddity::Marked,
            Oddity::HopLimit,
            Oddity::Window,
            Oddity::Acknowledges,
            Oddity::Options,
            Oddity::Broken,
            Oddity::BrokenHeader,
            Oddity::Unsummed,
        ]),
    ]
}

/// Whole packets with right checksums (unless broken), sequence and identification numbers running on.
fn build(wanted: &[Wanted]) -> Vec<Vec<u8>> {
    let mut sequence = [u32::MAX - 9_000; 8];
    let mut identification = [u16::MAX - 3; 8];
    wanted
        .iter()
        .enumerate()
        .map(|(number, want)| {
            let flow = usize::from(want.flow);
            if want.odd == Oddity::Jumps {
                sequence[flow] = sequence[flow].wrapping_add(5_000);
            }
            if want.odd == Oddity::SkipsNumber {
                identification[flow] = identification[flow].wrapping_add(9);
            }
            let mut transport = [1_000 + u16::from(want.flow), 443].map(u16::to_be_bytes).concat();
            if want.udp {
                let len = u16::try_from(UDP_HEADER + want.payload).unwrap();
                transport.extend(len.to_be_bytes());
                transport.extend([0, 0]);
            } else {
                transport.extend(tcp_rest(want, sequence[flow]));
            }
            sequence[flow] = sequence[flow].wrapping_add(u32::try_from(want.payload).unwrap());
            transport.extend((0..want.payload).map(|i| u8::try_from((i * 7 + number) % 251).unwrap()));
            let mut packet = network_header(want, transport.len(), identification[flow]);
            if !want.unnumbered {
                identification[flow] = identification[flow].wrapping_add(1);
            }
            let protocol = if want.udp { PROTOCOL_UDP } else { PROTOCOL_TCP };
            let field = if want.udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
            let mut sum = Sum::pseudo_header(addresses(&packet).unwrap(), protocol, transport.len());
            sum.add(&transport);
            let sum = match sum.finish() {
                [0, 0] if want.udp => [0xFF, 0xFF],
                sum => sum,
            };
            transport[field..field + 2].copy_from_slice(&sum);
            if want.odd == Oddity::Broken {
                transport[field] ^= 0x55;
            }
            if want.odd == Oddity::Unsummed && want.udp {
                transport[field..field + 2].fill(0);
            }
            packet.extend(transport);
            packet
        })
        .collect()
}

/// A TCP header behind its ports.
fn tcp_rest(want: &Wanted, sequence: u32) -> Vec<u8> {
    let is = |odd| u8::from(want.odd == odd);
    let others = if let Oddity::Flags(others) = want.odd { others } else { FLAG_PSH * is(Oddity::Pushed) };
    let words = u8::try_from((20 + want.options) / 4).unwrap();
    let mut rest = sequence.to_be_bytes().to_vec();
    rest.extend([0, 0, 0, 77 + is(Oddity::Acknowledges)]);
    rest.extend([words << 4, FLAG_ACK ^ others, 1, is(Oddity::Window), 0, 0, 0, 0]);
    rest.extend(vec![1 + is(Oddity::Options); want.options]);
    rest
}

fn network_header(want: &Wanted, transport_len: usize, identification: u16) -> Vec<u8> {
    let protocol = if want.udp { PROTOCOL_UDP } else { PROTOCOL_TCP };
    let hops = if want.odd == Oddity::HopLimit { 63 } else { 64 };
    // Of the traffic class the last two bits are ECN's: may be marked, was marked.
    let class = if want.odd == Oddity::Marked { 3 } else { 2 };
    if want.v6 {
        let len = u16::try_from(transport_len).unwrap().to_be_bytes();
        let mut header = vec![0x60, class << 4, 0, 1, len[0], len[1], protocol, hops];
        header.extend([0xFD; 16]);
        header.extend([0xFE; 16]);
        return header;
    }
    let len = u16::try_from(20 + transport_len).unwrap().to_be_bytes();
    let id = identification.to_be_bytes();
    let fragmentation = if want.unnumbered { 0x40 } else { 0 };
    let mut header = vec![0x45, class, len[0], len[1], id[0], id[1], fragmentation, 0, hops, protocol, 0, 0];
    header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    set_ipv4_checksum(&mut header).unwrap();
    if want.odd == Oddity::BrokenHeader {
        header[10] ^= 0x55;
    }
    header
}

/// A packet without what may change on its way: the identification where it means nothing (RFC 6864, section 4.1).
fn essence(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let mut sum = Sum::default();
    sum.add(&packet[..20]);
    if packet[0] == 0x45 && packet[6] & 0x40 != 0 && sum.is_valid() {
        packet[4..6].fill(0);
        set_ipv4_checksum(&mut packet[..20]).unwrap();
    }
    packet
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
