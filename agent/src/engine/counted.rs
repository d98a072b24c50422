//! What the data plane counted and how paths answer pings, in the words of the local socket.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use lanyard_proto::device::Status;
use lanyard_proto::device::status::{MemberStatus, PingStatus};
use lanyard_proto::time::Instant;

use super::ways::Ways;
use crate::dataplane::{Class, Counters, Lead, Medium, PathCounters, PeerCounters, Totals};
use crate::ipc::schema::{
    Counted, Network, OtherPaths, Over, Path, PathClass, PathKind, PathTraffic, Pings, Traffic,
};

/// Adds to each member what was counted of it. The networks are those of the status, in its order.
pub(super) fn add(
    networks: &mut [Network],
    status: &Status,
    counters: &[PeerCounters],
    ways: &Ways,
    now: Instant,
) {
    let counters: HashMap<_, _> = counters.iter().map(|peer| (peer.device, peer)).collect();
    for (network, known) in networks.iter_mut().zip(&status.networks) {
        for (member, known) in network.members.iter_mut().zip(&known.members) {
            member.counted = counters.get(&known.device).and_then(|peer| counted(peer, known, ways, now));
        }
    }
}

/// Every reason with how often, those that never happened too.
pub(super) fn drops(counters: &Counters) -> BTreeMap<String, u64> {
    counters.dropped.iter().map(|(why, count)| (why.as_str().to_owned(), *count)).collect()
}

/// Of one peer; `None` if there is nothing to tell.
fn counted(counters: &PeerCounters, member: &MemberStatus, ways: &Ways, now: Instant) -> Option<Counted> {
    let mut dropped = drops(&counters.dropped);
    dropped.retain(|_, count| *count > 0);
    if counters.paths.is_empty() && dropped.is_empty() {
        return None;
    }
    let mut paths: Vec<PathTraffic> = Vec::new();
    for told in counters.paths.iter().map(|path| tell(path, member, ways, now)) {
        // What is left of connections that are closed has no address, and looks alike.
        if let Some(known) = paths.iter_mut().find(|known| known.path == told.path) {
            known.in_use |= told.in_use;
            known.since_s = known.since_s.max(told.since_s);
            known.traffic += told.traffic;
            known.pings = known.pings.or(told.pings);
        } else {
            paths.push(told);
        }
    }
    paths.sort_by_key(|path| !path.in_use);
    Some(Counted {
        paths,
        others: counters.others.iter().map(|(kind, totals)| other(*kind, *totals)).collect(),
        dropped,
        session_s: counters.session_age.map(|age| age.as_secs()),
        mtu: member.mtu,
    })
}

fn tell(path: &PathCounters, member: &MemberStatus, ways: &Ways, now: Instant) -> PathTraffic {
    let (told, addr) = match path.lead {
        Lead::Direct(addr) => {
            let (remote, transport) = ways.lead(addr);
            (Path::Direct { remote, transport }, addr)
        }
        Lead::Relayed(addr) => {
            let (relay, transport) = ways.lead(addr);
            (Path::Relay { relay, transport }, addr)
        }
    };
    // Of several sockets of ours the one that was answered last.
    let answered = member.pings.iter().find(|pings| pings.way.remote == addr);
    PathTraffic {
        path: told,
        in_use: Lead::of(member.path) == Some(path.lead),
        since_s: now.saturating_since(path.since).as_secs(),
        traffic: traffic(path.totals),
        pings: answered.map(|pings| self::pings(pings, now)),
    }
}

fn pings(pings: &PingStatus, now: Instant) -> Pings {
    Pings {
        last_us: micros(pings.last),
        smoothed_us: micros(pings.smoothed),
        min_us: micros(pings.least),
        sent: pings.pings,
        lost: pings.lost,
        answered_s: now.saturating_since(pings.answered_at).as_secs(),
    }
}

const fn other(class: Class, totals: Totals) -> OtherPaths {
    let kind = if class.is_relayed { PathKind::Relay } else { PathKind::Direct };
    let over = match class.medium {
        Medium::Ip4 => Over::Ipv4,
        Medium::Ip6 => Over::Ipv6,
        Medium::Tcp => Over::Tcp,
    };
    OtherPaths { class: PathClass { kind, over }, traffic: traffic(totals) }
}

const fn traffic(totals: Totals) -> Traffic {
    let Totals { tx_packets, tx_bytes, rx_packets, rx_bytes } = totals;
    Traffic { tx_packets, tx_bytes, rx_packets, rx_bytes }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use lanyard_proto::overlay;
    use lanyard_proto::transmit::{SocketId, Way};
    use lanyard_wire::door;

    use super::super::report::{self, tests::example};
    use super::*;
    use crate::dataplane::Dropped;
    use crate::ipc::schema::Transport;

    #[test]
    fn a_path_is_told_with_its_counters_and_its_pings_and_the_one_in_use_first() {
        let mut status = example();
        let nas = &mut status.networks[0].members[0];
        nas.path = overlay::Path::Direct { local: SocketId(3), remote: addr(7) };
        nas.pings = vec![answers(Way { local: SocketId(3), remote: addr(7) }, 11)];
        let paths = vec![path(Lead::Relayed(addr(9)), 2), path(Lead::Direct(addr(7)), 5)];
        let counters = counters(nas.device, paths);
        let counted = told(&status, &counters).unwrap();
        let [direct, relay] = &counted.paths[..] else { panic!("{counted:?}") };
        assert_eq!(direct.path, Path::Direct { remote: addr(7), transport: Transport::Udp });
        assert!(direct.in_use && !relay.in_use);
        assert_eq!((direct.since_s, direct.traffic.tx_packets), (90, 5));
        let pings = direct.pings.unwrap();
        assert_eq!((pings.smoothed_us, pings.sent, pings.lost, pings.answered_s), (11_000, 32, 1, 20));
        assert_eq!((relay.pings, relay.traffic.tx_packets), (None, 2));
        assert_eq!(counted.dropped, BTreeMap::from([("rx_replayed".to_owned(), 3)]));
        assert_eq!((counted.session_s, counted.mtu), (Some(12), 1_420));
        assert_eq!(counted.others[0].class, PathClass { kind: PathKind::Relay, over: Over::Tcp });
    }

    #[test]
    fn connections_that_are_closed_are_told_as_one_path() {
        let status = example();
        let closed = |number| path(Lead::Direct(door::addr(door::PEERS, number)), 4);
        let counters = counters(status.networks[0].members[0].device, vec![closed(1), closed(2)]);
        let counted = told(&status, &counters).unwrap();
        let [one] = &counted.paths[..] else { panic!("{counted:?}") };
        assert_eq!((one.path.class().unwrap().over, one.traffic.tx_packets), (Over::Tcp, 8));
    }

    #[test]
    fn of_a_peer_without_traffic_there_is_nothing_to_tell() {
        let status = example();
        let mut counters = counters(status.networks[0].members[0].device, Vec::new());
        counters.dropped.dropped.clear();
        assert_eq!(told(&status, &counters), None);
        counters.device = lanyard_wire::ids::DeviceId::from_bytes([99; 16]);
        counters.paths = vec![path(Lead::Direct(addr(1)), 1)];
        assert_eq!(told(&status, &counters), None, "another device");
    }

    fn told(status: &Status, counters: &PeerCounters) -> Option<Counted> {
        let ways = Ways::default();
        let mut networks = vec![report::network(&status.networks[0], &[], &ways)];
        add(&mut networks, status, std::slice::from_ref(counters), &ways, Instant::from_secs(100));
        networks.remove(0).members.remove(0).counted
    }

    fn counters(device: lanyard_wire::ids::DeviceId, paths: Vec<PathCounters>) -> PeerCounters {
        PeerCounters {
            device,
            paths,
            others: vec![(Class { is_relayed: true, medium: Medium::Tcp }, Totals::default())],
            dropped: Counters { dropped: vec![(Dropped::Replayed, 3), (Dropped::Noise, 0)] },
            session_age: Some(Duration::from_secs(12)),
        }
    }

    fn path(lead: Lead, tx_packets: u64) -> PathCounters {
        let totals = Totals { tx_packets, ..Totals::default() };
        PathCounters { lead, since: Instant::from_secs(10), totals }
    }

    fn answers(way: Way, millis: u64) -> PingStatus {
        let rtt = Duration::from_millis(millis);
        let answered_at = Instant::from_secs(80);
        PingStatus { way, last: rtt, smoothed: rtt, least: rtt, pings: 32, lost: 1, answered_at }
    }

    fn addr(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 7_000).into()
    }
}
