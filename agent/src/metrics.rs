//! A device's numbers in Prometheus' text format (version 0.0.4).
//!
//! Made of a [`Status`], so that `lanyard metrics` and the endpoint ([`http`]) say the same. docs/operations.md lists the names. What
//! is told of peers is bounded: [`PEERS_MAX`] of them, by the six kinds of path there are, never by address.

pub mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::ipc::schema::{
    Counted, Member, Membership, Network, Path, PathClass, Pings, ServerState, Status, Traffic,
};

/// Peers that are told one by one: those that there was traffic with, in the order of `lanyard status`.
///
/// A thousand, with two kinds of path each, are 20,000 series; a larger network has better numbers at its coordinator.
pub const PEERS_MAX: usize = 1_000;

/// The text.
#[must_use]
pub fn render(status: &Status) -> String {
    let mut page = Page::default();
    agent(&mut page, status);
    networks(&mut page, status);
    peers(&mut page, status);
    page.0
}

/// The text so far.
#[derive(Debug, Default)]
struct Page(String);

/// The samples of one metric by their labels, in order. Of two with the same labels the first one counts, since one page
/// must not have both.
type Samples = BTreeMap<String, String>;

impl Page {
    /// A metric with its samples; nothing where there are none.
    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: &Samples) {
        if samples.is_empty() {
            return;
        }
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn counter(&mut self, name: &str, help: &str, samples: &Samples) {
        self.metric(name, "counter", help, samples);
    }

    fn gauge(&mut self, name: &str, help: &str, samples: &Samples) {
        self.metric(name, "gauge", help, samples);
    }
}

/// This device and its coordinators.
fn agent(page: &mut Page, status: &Status) {
    let one = |labels: &[(&str, &str)], value: String| Samples::from([(self::labels(labels), value)]);
    let version = [("version", status.version.as_str())];
    page.gauge("lanyard_agent_info", "The agent's release.", &one(&version, "1".to_owned()));
    let up = one(&[], u8::from(status.up).to_string());
    page.gauge("lanyard_agent_up", "1 while networking is on.", &up);
    let drops = status.dropped.iter().map(|(why, count)| (labels(&[("reason", why)]), count.to_string()));
    let help = "Packets and datagrams that went no further, by reason.";
    page.counter("lanyard_agent_dropped_total", help, &drops.collect());

    let (mut online, mut rtts) = (Samples::new(), Samples::new());
    for server in &status.servers {
        let labels = labels(&[("server", &server.host)]);
        let is_online = server.state == ServerState::Online;
        online.entry(labels.clone()).or_insert_with(|| u8::from(is_online).to_string());
        if let Some(us) = server.rtt_us {
            rtts.entry(labels).or_insert_with(|| seconds(us));
        }
    }
    page.gauge(
        "lanyard_agent_server_online",
        "1 while the coordinator has a session with this device.",
        &online,
    );
    page.gauge("lanyard_agent_server_rtt_seconds", "Round trip to the coordinator.", &rtts);
}

/// Peers by network, counted only.
fn networks(page: &mut Page, status: &Status) {
    let (mut online, mut paths) = (Samples::new(), Samples::new());
    for network in active(status) {
        let name = network_label(status, network);
        let count = network.members.iter().filter(|member| member.online).count();
        online.entry(labels(&[("network", &name)])).or_insert_with(|| count.to_string());
        for word in ["direct", "relay", "none"] {
            let count = network.members.iter().filter(|member| path_word(&member.path) == word).count();
            paths.entry(labels(&[("network", &name), ("path", word)])).or_insert_with(|| count.to_string());
        }
    }
    page.gauge("lanyard_network_peers_online", "Peers that the coordinator has a session with.", &online);
    page.gauge("lanyard_network_peers", "Peers by the path in use.", &paths);
}

/// Each peer that there was traffic with.
fn peers(page: &mut Page, status: &Status) {
    let mut numbers = PeerNumbers::default();
    let (mut told, mut omitted) = (BTreeSet::new(), BTreeSet::new());
    for network in active(status) {
        let name = network_label(status, network);
        for member in &network.members {
            let Some(counted) = &member.counted else { continue };
            // One device in several networks has one set of counters.
            if told.len() >= PEERS_MAX && !told.contains(member.id.as_str()) {
                omitted.insert(member.id.as_str());
            } else if told.insert(member.id.as_str()) {
                numbers.add(&[("peer", member.name.as_str()), ("network", name.as_str())], member, counted);
            }
        }
    }
    numbers.show(page);
    let help = "Peers with traffic that are not told one by one, because there are too many.";
    page.gauge("lanyard_peers_omitted", help, &Samples::from([(String::new(), omitted.len().to_string())]));
}

/// Samples of every metric about single peers.
#[derive(Debug, Default)]
struct PeerNumbers {
    tx_packets: Samples,
    tx_bytes: Samples,
    rx_packets: Samples,
    rx_bytes: Samples,
    in_use: Samples,
    rtt: Samples,
    rtt_last: Samples,
    rtt_min: Samples,
    pings: Samples,
    lost: Samples,
    dropped: Samples,
    session: Samples,
}

/// What one peer's paths of one kind add up to.
#[derive(Debug, Default)]
struct Kind {
    traffic: Traffic,
    in_use: bool,
    /// Of the path in use, or else of the one taken last.
    pings: Option<Pings>,
}

impl PeerNumbers {
    fn add(&mut self, peer: &[(&str, &str)], member: &Member, counted: &Counted) {
        // A path that is counted among the others from now on stays in its kind: a counter never goes back.
        let mut kinds: BTreeMap<PathClass, Kind> = BTreeMap::new();
        for path in &counted.paths {
            let Some(class) = path.path.class() else { continue };
            let kind = kinds.entry(class).or_default();
            kind.traffic += path.traffic;
            kind.in_use |= path.in_use;
            kind.pings = kind.pings.or(path.pings);
        }
        for other in &counted.others {
            kinds.entry(other.class).or_default().traffic += other.traffic;
        }
        for (class, kind) in kinds {
            let path = [("path", class.kind.as_str()), ("over", class.over.as_str())];
            let labels = labels(&[peer, &path].concat());
            let add = |samples: &mut Samples, value: String| {
                samples.entry(labels.clone()).or_insert(value);
            };
            add(&mut self.tx_packets, kind.traffic.tx_packets.to_string());
            add(&mut self.tx_bytes, kind.traffic.tx_bytes.to_string());
            add(&mut self.rx_packets, kind.traffic.rx_packets.to_string());
            add(&mut self.rx_bytes, kind.traffic.rx_bytes.to_string());
            add(&mut self.in_use, u8::from(kind.in_use && member.path != Path::None).to_string());
            if let Some(pings) = kind.pings {
                add(&mut self.rtt, seconds(pings.smoothed_us));
                add(&mut self.rtt_last, seconds(pings.last_us));
                add(&mut self.rtt_min, seconds(pings.min_us));
                add(&mut self.pings, pings.sent.to_string());
                add(&mut self.lost, pings.lost.to_string());
            }
        }
        for (why, count) in &counted.dropped {
            let labels = labels(&[peer, &[("reason", why.as_str())]].concat());
            self.dropped.entry(labels).or_insert_with(|| count.to_string());
        }
        if let Some(age) = counted.session_s {
            self.session.entry(labels(peer)).or_insert_with(|| age.to_string());
        }
    }

    fn show(&self, page: &mut Page) {
        page.counter("lanyard_peer_tx_packets_total", "Datagrams sent to a peer.", &self.tx_packets);
        page.counter("lanyard_peer_tx_bytes_total", "Their bytes.", &self.tx_bytes);
        page.counter("lanyard_peer_rx_packets_total", "Authentic datagrams of a peer.", &self.rx_packets);
        page.counter("lanyard_peer_rx_bytes_total", "Their bytes.", &self.rx_bytes);
        let help = "Packets known to be a peer's that went no further, by reason.";
        page.counter("lanyard_peer_dropped_total", help, &self.dropped);
        page.gauge("lanyard_peer_path_in_use", "1 for the kind of path that is sent by now.", &self.in_use);
        page.gauge("lanyard_peer_rtt_seconds", "Round trip, smoothed.", &self.rtt);
        page.gauge(
            "lanyard_peer_rtt_last_seconds",
            "Round trip of the newest answer to a ping.",
            &self.rtt_last,
        );
        page.gauge("lanyard_peer_rtt_min_seconds", "The shortest round trip so far.", &self.rtt_min);
        page.gauge("lanyard_peer_pings", "Of the newest 32 pings those that are decided.", &self.pings);
        page.gauge("lanyard_peer_pings_lost", "How many of them were not answered.", &self.lost);
        page.gauge("lanyard_peer_session_age_seconds", "Age of the keys in use.", &self.session);
    }
}

fn active(status: &Status) -> impl Iterator<Item = &Network> {
    status.networks.iter().filter(|network| network.state == Membership::Active)
}

/// A network's name, with its coordinator where two have one of that name.
fn network_label(status: &Status, network: &Network) -> String {
    if active(status).filter(|other| other.name == network.name).count() > 1 {
        format!("{}@{}", network.name, network.server)
    } else {
        network.name.clone()
    }
}

const fn path_word(path: &Path) -> &'static str {
    match path {
        Path::Direct { .. } => "direct",
        Path::Relay { .. } => "relay",
        Path::None => "none",
    }
}

/// Labels in braces, with what the format wants escaped.
fn labels(all: &[(&str, &str)]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let all: Vec<String> = all.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", all.join(","))
}

/// Microseconds as seconds.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests;
