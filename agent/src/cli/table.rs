//! What was counted of one peer, as a table of its paths.

use super::output::{COLUMNS, fit};
use super::output::{bytes, columns, count, millis, path, span, way, wrap};
use crate::ipc::schema::{Counted, Member, Network, PathTraffic, Pings, Traffic};

/// The peer with its table.
pub(super) fn render(network: &Network, member: &Member) -> String {
    let presence = if member.online { "online" } else { "offline" };
    let name = fit(&member.name, 20);
    let mut text = format!("{name}  {}  {}  {}  {presence}\n", member.ip4, member.ip6, network.name);
    let Some(counted) = &member.counted else {
        text.push_str("  no traffic since networking is on\n");
        return text;
    };
    text.push_str(&columns(&rows(member, counted), 0, 0));
    let session = counted.session_s.map_or_else(|| "none".to_owned(), |s| format!("keys {} old", span(s)));
    text.push_str(&format!("  session  {session}, packets of up to {} bytes\n", counted.mtu));
    let dropped = counted.dropped.iter().map(|(why, times)| format!("{why} {}", count(*times)));
    let dropped = dropped.collect::<Vec<_>>().join(", ");
    for (at, line) in wrap(&dropped, COLUMNS - 11).iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        text.push_str(&format!("  {:7}  {line}\n", if at == 0 { "dropped" } else { "" }));
    }
    text
}

fn rows(member: &Member, counted: &Counted) -> Vec<Vec<String>> {
    let head = ["  path", "since", "rx/tx", "packets", "rtt (least)", "lost"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    rows.extend(counted.paths.iter().map(|path| row(member, path)));
    let mut others = Traffic::default();
    counted.others.iter().for_each(|other| others += other.traffic);
    if !counted.others.is_empty() {
        let [data, packets] = amounts(&others);
        rows.push(vec!["  others".to_owned(), String::new(), data, packets]);
    }
    rows
}

/// A star stands in front of the path in use.
fn row(member: &Member, told: &PathTraffic) -> Vec<String> {
    let shown = if told.in_use { format!("* {}", way(member)) } else { format!("  {}", path(&told.path)) };
    let [data, packets] = amounts(&told.traffic);
    let rtt = |pings: Pings| {
        let least = millis(pings.min_us);
        format!("{} ({})", millis(pings.smoothed_us), least.trim_end_matches(" ms"))
    };
    let lost = |pings: Pings| format!("{}/{}", pings.lost, pings.sent);
    let (rtt, lost) = (told.pings.map(rtt), told.pings.map(lost));
    vec![shown, span(told.since_s), data, packets, rtt.unwrap_or_default(), lost.unwrap_or_default()]
}

/// Received and sent, in bytes and in packets.
fn amounts(traffic: &Traffic) -> [String; 2] {
    [
        format!("{}/{}", bytes(traffic.rx_bytes), bytes(traffic.tx_bytes)),
        format!("{}/{}", count(traffic.rx_packets), count(traffic.tx_packets)),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::status;
    use crate::ipc::schema::{OtherPaths, Over, Path, PathClass, PathKind, Status, Transport};

    #[test]
    fn a_peer_has_a_table_of_its_paths_that_fits_the_terminal() {
        let status = example();
        let text = render(&status.networks[0], &status.networks[0].members[0]);
        assert_eq!(
            text,
            "nas  10.61.7.2  fd5a::2  home  online\n\
             \x20 path                       since  rx/tx      packets   rtt (least)     lost\n\
             * direct 198.51.100.7:41644  3 min  1.2G/88M   900K/61K  11.2 ms (9.8)   1/32\n\
             \x20 relay 203.0.113.10:7443    5 min  2.0K/1.9K  12/11     48.0 ms (47.1)  0/3\n\
             \x20 relay 203.0.113.11:7443    2 h    900/800    20/10\n\
             \x20 others                            40K/0      1.0K/0\n\
             \x20 session  keys 12 s old, packets of up to 1420 bytes\n\
             \x20 dropped  rx_came_early 1, rx_replayed 3\n"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn a_peer_that_there_was_nothing_with_says_so() {
        let status = example();
        let text = render(&status.networks[0], &status.networks[0].members[2]);
        assert_eq!(text, "pixel  10.61.7.4  fd5a::2  home  offline\n  no traffic since networking is on\n");
    }

    #[test]
    fn a_member_that_passes_on_is_named_while_it_does() {
        let mut status = example();
        let nas = &mut status.networks[0].members[0];
        nas.carrier = Some("hub".to_owned());
        nas.path = relay(10);
        let counted = nas.counted.as_mut().unwrap();
        counted.paths.swap(0, 1);
        (counted.paths[0].in_use, counted.paths[1].in_use) = (true, false);
        let text = render(&status.networks[0], &status.networks[0].members[0]);
        assert!(text.contains("\n* by hub "), "{text}");
    }

    /// The usual example; there was traffic with its first peer.
    pub(crate) fn example() -> Status {
        let mut status = status::tests::example();
        status.dropped = [("rx_noise", 0), ("rx_replayed", 3)].map(|(why, n)| (why.to_owned(), n)).into();
        let traffic = |[rx_bytes, tx_bytes, rx_packets, tx_packets]: [u64; 4]| Traffic {
            tx_packets,
            tx_bytes,
            rx_packets,
            rx_bytes,
        };
        let used = |path, since_s, amounts| PathTraffic {
            path,
            in_use: false,
            since_s,
            traffic: traffic(amounts),
            pings: None,
        };
        let pings = |smoothed_us, min_us, sent, lost| {
            Some(Pings { last_us: smoothed_us, smoothed_us, min_us, sent, lost, answered_s: 4 })
        };
        let direct =
            Path::Direct { remote: "198.51.100.7:41644".parse().unwrap(), transport: Transport::Udp };
        let paths = vec![
            PathTraffic {
                in_use: true,
                pings: pings(11_249, 9_800, 32, 1),
                ..used(direct, 180, [1_234_000_000, 88_000_000, 900_000, 61_200])
            },
            PathTraffic {
                pings: pings(48_000, 47_100, 3, 0),
                ..used(relay(10), 300, [2_000, 1_900, 12, 11])
            },
            used(relay(11), 7_200, [900, 800, 20, 10]),
        ];
        let class = PathClass { kind: PathKind::Relay, over: Over::Ipv4 };
        let others = vec![OtherPaths { class, traffic: traffic([40_000, 0, 1_000, 0]) }];
        let dropped = BTreeMap::from([("rx_replayed".to_owned(), 3), ("rx_came_early".to_owned(), 1)]);
        status.networks[0].members[0].counted =
            Some(Counted { paths, others, dropped, session_s: Some(12), mtu: 1_420 });
        status
    }

    fn relay(last: u8) -> Path {
        Path::Relay { relay: ([203, 0, 113, last], 7_443).into(), transport: Transport::Udp }
    }
}
