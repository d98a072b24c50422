//! A simulated data plane: it obeys the machine's table and reports what it saw.
//!
//! A packet's life, outwards: [`Plane::send`] looks the destination up in the table, the session seals the packet
//! (or keeps it and sends an initiation), and the path decides between a plain datagram and one with a relay
//! header. Inwards: [`Plane::open`] opens a datagram, counts it by the path it came on, and hands its packet up if
//! the inner source belongs to the peer. Observations reach the machine at most 200 ms late, and at once if packets
//! wait, a new path shows, or the machine has something to do.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lanyard_proto::device::FRESH_SOCKETS_MAX;
use lanyard_proto::overlay::{ForwardingTable, Observation, Path, packet};
use lanyard_proto::time::Instant;
use lanyard_proto::transmit::{SocketId, Way};
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::DeviceId;

use crate::host::{Effects, Fact};
use crate::tunnel::{Tunnels, WAITING};

/// The port of a device's main socket; a second device on the same computer has the next one.
pub const MAIN_PORT: u16 = 41_641;

/// Spare sockets that may be open at once: those of punches and paths, and one netcheck beside them.
pub const SPARES_MAX: usize = FRESH_SOCKETS_MAX + 64;

/// First port of a spare socket, and how many each device on a computer has for its own.
const SPARE_PORTS: (u16, u16) = (50_000, 5_000);

/// First byte of WireGuard's first message.
const INITIATION: u8 = 1;

/// First byte of its data.
const DATA: u8 = 4;

/// How long a packet that came early may come again by the session.
const KEPT_EARLY: Duration = Duration::from_secs(3);

/// How long observations are collected.
const COALESCE: Duration = Duration::from_millis(200);

/// Sockets, tunnels and the table of one device.
#[derive(Debug)]
pub struct Plane {
    tunnels: Tunnels,
    table: Arc<ForwardingTable>,
    sockets: BTreeMap<SocketId, u16>,
    ports: BTreeMap<u16, SocketId>,
    main_port: u16,
    spare_ports: (u16, u16),
    next_port: u16,
    seen: BTreeMap<DeviceId, Observation>,
    /// When each peer was last heard, and the first datagram was sent to it after that.
    times: BTreeMap<DeviceId, (Option<Instant>, Option<Instant>)>,
    waiting: BTreeMap<DeviceId, VecDeque<Vec<u8>>>,
    /// The data sent last to each peer, as it was sealed.
    last: BTreeMap<DeviceId, Vec<u8>>,
    report_at: Option<Instant>,
    /// Packets that wait for a session, for the machine.
    cold: Vec<(DeviceId, Vec<u8>)>,
    /// Packets that came early, and when.
    came_early: BTreeMap<DeviceId, Vec<(Vec<u8>, Instant)>>,
}

impl Plane {
    /// An empty table, and the main socket alone; `seat` counts the devices of one computer, at most three.
    #[must_use]
    pub fn new(tunnels: Tunnels, seat: u16) -> Self {
        let main_port = MAIN_PORT + seat;
        let first = SPARE_PORTS.0 + seat.min(2) * SPARE_PORTS.1;
        Self {
            tunnels,
            table: Arc::default(),
            sockets: BTreeMap::from([(SocketId::MAIN, main_port)]),
            ports: BTreeMap::from([(main_port, SocketId::MAIN)]),
            main_port,
            spare_ports: (first, first + SPARE_PORTS.1),
            next_port: first,
            seen: BTreeMap::new(),
            times: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last: BTreeMap::new(),
            report_at: None,
            cold: Vec::new(),
            came_early: BTreeMap::new(),
        }
    }

    /// The table it obeys.
    #[must_use]
    pub fn table(&self) -> &ForwardingTable {
        &self.table
    }

    /// The socket that listens at a port.
    #[must_use]
    pub fn socket_at(&self, port: u16) -> Option<SocketId> {
        self.ports.get(&port).copied()
    }

    /// How many spare sockets are open.
    #[must_use]
    pub fn spares(&self) -> usize {
        self.sockets.len().saturating_sub(1)
    }

    /// Closes a spare socket; the main one stays open.
    pub fn close(&mut self, socket: SocketId) {
        if socket != SocketId::MAIN
            && let Some(port) = self.sockets.remove(&socket)
        {
            self.ports.remove(&port);
        }
    }

    /// When something here is due next, and why.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<(Instant, &'static str)> {
        let tunnels = self.tunnels.poll_timeout().map(|at| (at, "initiation"));
        tunnels.into_iter().chain(self.report_at.map(|at| (at, "observations"))).min()
    }

    /// Repeats initiations whose time has come.
    pub fn on_timeout(&mut self, now: Instant, effects: &mut Effects) {
        for (peer, datagram) in self.tunnels.handle_timeout(now) {
            self.dispatch(peer, self.path_to(&peer), datagram, now, effects);
            self.report_within(COALESCE, now);
        }
    }

    /// Where a relay frame of a pair of others goes.
    #[must_use]
    pub fn transit(&self, remote: SocketAddr, frame: &[u8]) -> Option<Way> {
        let (header, _) = RelayHeader::parse(frame).ok()?;
        self.table.transit(header.channel)?.way(remote)
    }

    /// Opens a datagram that came on a path.
    pub fn open(&mut self, path: Path, bytes: &[u8], now: Instant, effects: &mut Effects) {
        let opened = self.tunnels.open(bytes, now);
        let Some(peer) = opened.peer else { return self.lose(path, bytes, now, effects) };
        // An initiation need not be fresh, so it is no sign that the peer is there. Its answer goes back where
        // it came from, path or not.
        if bytes.first() != Some(&INITIATION) {
            self.heard(peer, path, bytes.len(), now);
        }
        for answer in opened.answers {
            self.dispatch(peer, path, answer, now, effects);
            self.report_within(COALESCE, now);
        }
        if let Some(inner) = opened.packet {
            let source = packet::parse(&inner).map(|header| header.source);
            let entry = self.table.peer(&peer);
            let owns = entry.is_some_and(|entry| source.is_ok_and(|ip| entry.addresses.contains(&ip)));
            if !owns {
                effects.facts.push(Fact::Spoofed(peer, source.ok()));
            } else if !self.is_second(peer, &inner, now) {
                effects.packets.push((peer, path, inner));
            }
        }
    }

    /// Takes a packet that came before its session.
    pub fn deliver_early(&mut self, peer: DeviceId, inner: Vec<u8>, now: Instant, effects: &mut Effects) {
        let source = packet::parse(&inner).map(|header| header.source);
        let Some(entry) = self.table.peer(&peer) else { return };
        if !source.is_ok_and(|ip| entry.addresses.contains(&ip)) {
            effects.facts.push(Fact::Spoofed(peer, source.ok()));
            return;
        }
        self.tunnels.doubt(&peer, now);
        effects.packets.push((peer, entry.path, inner.clone()));
        self.came_early.entry(peer).or_default().push((inner, now));
    }

    /// Whether a packet out of a session came early before; says so once.
    fn is_second(&mut self, peer: DeviceId, inner: &[u8], now: Instant) -> bool {
        let Some(kept) = self.came_early.get_mut(&peer) else { return false };
        kept.retain(|(_, at)| now.saturating_since(*at) < KEPT_EARLY);
        let found = kept.iter().position(|(packet, _)| packet == inner);
        found.map(|at| kept.swap_remove(at)).is_some()
    }

    /// Packets that began to wait for a session since the last call.
    pub fn take_cold(&mut self) -> Vec<(DeviceId, Vec<u8>)> {
        std::mem::take(&mut self.cold)
    }

    /// Data of a session that is gone, from where a peer is.
    fn lose(&mut self, path: Path, bytes: &[u8], now: Instant, effects: &mut Effects) {
        let entry = match path {
            Path::Relayed { relay, channel } => self.table.by_channel(relay, channel),
            Path::Direct { .. } | Path::None => self.table.peers.iter().find(|entry| entry.path == path),
        };
        let peer = entry.map(|entry| entry.device);
        let Some(peer) = peer.filter(|_| bytes.first() == Some(&DATA) && !self.tunnels.knows(bytes)) else {
            return;
        };
        for datagram in self.tunnels.lose(peer, now) {
            self.dispatch(peer, path, datagram, now, effects);
            self.report_within(COALESCE, now);
        }
    }

    /// Counts a datagram that opened.
    fn heard(&mut self, peer: DeviceId, path: Path, length: usize, now: Instant) {
        let length = u64::try_from(length).unwrap_or(0);
        self.times.insert(peer, (Some(now), None));
        let observation = self.seen.entry(peer).or_insert_with(|| Observation::of(peer));
        let is_news = match observation.rx.iter_mut().find(|(seen, ..)| *seen == path) {
            Some((_, packets, total)) => {
                *packets += 1;
                *total += length;
                false
            }
            None => {
                observation.rx.push((path, 1, length));
                self.table.peer(&peer).is_none_or(|entry| entry.path != path)
            }
        };
        self.report_within(if is_news { Duration::ZERO } else { COALESCE }, now);
    }

    /// Sends an IP packet; `false` if no peer has its destination.
    pub fn send(&mut self, packet: &[u8], now: Instant, effects: &mut Effects) -> bool {
        let Ok(header) = packet::parse(packet) else { return false };
        let Some(entry) = self.table.route(header.destination) else { return false };
        let (peer, path) = (entry.device, entry.path);
        if !self.tunnels.has_session(&peer, now) {
            self.cold.push((peer, packet.to_vec()));
        }
        if path == Path::None {
            let waiting = self.waiting.entry(peer).or_default();
            if waiting.len() >= WAITING {
                waiting.pop_front();
            }
            waiting.push_back(packet.to_vec());
            self.seen.entry(peer).or_insert_with(|| Observation::of(peer)).waiting = true;
            self.report_within(Duration::ZERO, now);
            return true;
        }
        for datagram in self.tunnels.seal(peer, packet, now) {
            if datagram.first() == Some(&DATA) {
                self.last.insert(peer, datagram.clone());
            }
            self.dispatch(peer, path, datagram, now, effects);
        }
        self.report_within(COALESCE, now);
        true
    }

    /// Where a peer's datagrams go; without a path they are lost, as WireGuard expects.
    fn path_to(&self, peer: &DeviceId) -> Path {
        self.table.peer(peer).map_or(Path::None, |entry| entry.path)
    }

    /// Sends a sealed datagram along a path, and counts it as traffic.
    fn dispatch(
        &mut self,
        peer: DeviceId,
        path: Path,
        datagram: Vec<u8>,
        now: Instant,
        effects: &mut Effects,
    ) {
        let length = u64::try_from(datagram.len()).unwrap_or(0);
        if self.emit(path, datagram, effects) {
            self.times.entry(peer).or_default().1.get_or_insert(now);
            let observation = self.seen.entry(peer).or_insert_with(|| Observation::of(peer));
            observation.tx_packets += 1;
            observation.tx_bytes += length;
        }
    }

    /// Sends a sealed datagram along a path, if there is one.
    fn emit(&self, path: Path, datagram: Vec<u8>, effects: &mut Effects) -> bool {
        match path {
            Path::Direct { local, remote } => {
                // Only the machine opens sockets: a table that names a closed one is a mistake of the machine.
                let Some(port) = self.sockets.get(&local) else {
                    effects.facts.push(Fact::Closed(local));
                    return false;
                };
                effects.datagrams.push((*port, remote, datagram));
            }
            Path::Relayed { relay, channel } => {
                let Ok(length) = u16::try_from(datagram.len()) else { return false };
                let mut frame = RelayHeader { channel, length }.encode().to_vec();
                frame.extend(datagram);
                effects.datagrams.push((self.main_port, relay, frame));
            }
            Path::None => return false,
        }
        true
    }

    /// Takes a new table as a whole.
    pub fn adopt(&mut self, table: Arc<ForwardingTable>, now: Instant, effects: &mut Effects) {
        let keys: Vec<_> = table.peers.iter().map(|peer| (peer.device, peer.wireguard)).collect();
        self.tunnels.set_peers(&keys);
        self.waiting.retain(|peer, _| table.peer(peer).is_some());
        self.last.retain(|peer, _| table.peer(peer).is_some());
        let repeats = |device| self.table.peer(device).map(|entry| entry.repeats);
        let again =
            table.peers.iter().filter(|entry| repeats(&entry.device).is_some_and(|at| at != entry.repeats));
        let again: Vec<DeviceId> = again.map(|entry| entry.device).collect();
        self.table = table;
        for peer in again {
            let keep_alive = self.tunnels.keep_alive(peer);
            for datagram in self.last.get(&peer).cloned().into_iter().chain(keep_alive) {
                self.emit(self.path_to(&peer), datagram, effects);
            }
        }
        let ready: Vec<DeviceId> = self
            .waiting
            .keys()
            .filter(|peer| self.table.peer(peer).is_some_and(|e| e.path != Path::None))
            .copied()
            .collect();
        for peer in ready {
            for packet in self.waiting.remove(&peer).unwrap_or_default() {
                for datagram in self.tunnels.seal(peer, &packet, now) {
                    self.dispatch(peer, self.path_to(&peer), datagram, now, effects);
                }
                self.report_within(COALESCE, now);
            }
        }
    }

    fn report_within(&mut self, delay: Duration, now: Instant) {
        let at = now + delay;
        if self.report_at.is_none_or(|current| at < current) {
            self.report_at = Some(at);
        }
    }

    /// What was seen, if a report is due.
    pub fn report(&mut self, now: Instant) -> Vec<Observation> {
        if self.report_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.look()
    }

    /// What was seen so far.
    pub fn look(&mut self) -> Vec<Observation> {
        self.report_at = None;
        let seen = std::mem::take(&mut self.seen).into_values();
        let with_times = |observation: Observation| {
            let (heard_at, unanswered_since) = self.times.get(&observation.peer).copied().unwrap_or_default();
            Observation { heard_at, unanswered_since, ..observation }
        };
        seen.map(with_times).collect()
    }

    /// The port of a socket for a datagram of the machine, which is opened at its first use; `None` if too many
    /// are open.
    pub fn port_of(&mut self, local: SocketId) -> Option<u16> {
        if let Some(port) = self.sockets.get(&local) {
            return Some(*port);
        }
        if self.spares() >= SPARES_MAX {
            return None;
        }
        while self.ports.contains_key(&self.next_port) {
            self.next_port = self.port_after(self.next_port);
        }
        let port = self.next_port;
        // A port that was just closed comes last: what is still under way to it reaches nobody.
        self.next_port = self.port_after(port);
        self.sockets.insert(local, port);
        self.ports.insert(port, local);
        Some(port)
    }

    const fn port_after(&self, port: u16) -> u16 {
        let (first, end) = self.spare_ports;
        if port + 1 < end { port + 1 } else { first }
    }
}

#[cfg(test)]
mod tests;
