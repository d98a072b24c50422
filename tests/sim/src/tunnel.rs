//! A stand-in for WireGuard: sessions of two messages, data sealed end to end, a replay window.
//!
//! What the device machine can notice of WireGuard is here: datagrams look like its own, a session needs a
//! round trip, a restarted peer does not know the old session, an initiation is repeated while packets wait,
//! keys change every two minutes, and nothing counts that does not open. What it cannot notice is not: the
//! handshake is two messages with a MAC under the static keys' shared secret. The real one runs in the
//! namespaces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lanyard_proto::rng::Rng;
use lanyard_proto::time::Instant;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SecretKey, SymmetricKey, ct_eq, derive_key, mac16};
use lanyard_wire::seal::{ReplayWindow, open_in_place, seal_in_place};

/// Packets kept per peer while there is no session or no path.
pub const WAITING: usize = 8;

/// First repetition of an initiation; it doubles up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(500);

/// Longest wait between two initiations while packets wait: WireGuard's own interval.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How long the initiator uses a session.
const REKEY_AFTER: Duration = Duration::from_secs(120);

/// How long anybody uses one.
const REJECT_AFTER: Duration = Duration::from_secs(180);

/// Sessions that still open beside the one in use and the one that is not confirmed: boringtun remembers eight in all. With fewer,
/// two ends that begin handshakes in the same moments can each forget what the other one uses, for ever.
const PREVIOUS: usize = 6;

/// Answers that the other end may use still, newest first: a repeated initiation may cross the answer to the one before.
const OFFERED: usize = 2;

/// Data was sent and nothing came back for so long: the peer may have lost the session.
const SILENCE: Duration = Duration::from_secs(2);

/// An early packet is at most so much older than the session that was agreed on beside it.
const BESIDE: Duration = Duration::from_secs(2);

/// Initiations without an answer after which packets are given up.
const TRIES: u32 = 18;

/// Length of an initiation, as WireGuard's.
const INITIATION: usize = 148;

/// Length of a response, as WireGuard's.
const RESPONSE: usize = 92;

/// Bytes in front of sealed data.
const HEADER: usize = 16;

/// All sessions of one device.
#[derive(Debug)]
pub struct Tunnels {
    secret: SecretKey,
    public: PublicKey,
    peers: BTreeMap<DeviceId, Tunnel>,
    indices: BTreeMap<u32, DeviceId>,
    /// Whoever may have an initiation under way: few of many.
    initiating: BTreeSet<DeviceId>,
    rng: Rng,
}

#[derive(Debug)]
struct Tunnel {
    key: PublicKey,
    shared: SymmetricKey,
    current: Option<Session>,
    /// Those before, newest first: what the peer has under way opens still.
    previous: VecDeque<Session>,
    /// Answered, and not used before the other end shows that it has it: the answer may be lost.
    offered: VecDeque<Session>,
    pending: Option<Initiation>,
    /// The one before `pending`: its answer may be on its way, and counts, as it does for boringtun.
    overtaken: Option<Initiation>,
    newest_heard: u64,
    waiting: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Session {
    ours: u32,
    theirs: u32,
    sealing: SymmetricKey,
    opening: SymmetricKey,
    counter: u64,
    window: ReplayWindow<16>,
    since: Instant,
    initiated: bool,
    unanswered_since: Option<Instant>,
}

#[derive(Debug)]
struct Initiation {
    ours: u32,
    nonce: [u8; 16],
    again_at: Instant,
    tries: u32,
}

/// What came of a datagram that opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whose it was.
    pub peer: Option<DeviceId>,
    /// The packet inside; `None` for messages of the session itself.
    pub packet: Option<Vec<u8>>,
    /// Datagrams to send to the peer now.
    pub answers: Vec<Vec<u8>>,
}

impl Tunnels {
    /// No sessions yet, for the holder of this key.
    #[must_use]
    pub fn new(secret: SecretKey, rng: Rng) -> Self {
        let public = secret.public();
        Self {
            secret,
            public,
            peers: BTreeMap::new(),
            indices: BTreeMap::new(),
            initiating: BTreeSet::new(),
            rng,
        }
    }

    /// Keeps tunnels to these peers, drops all others.
    pub fn set_peers(&mut self, peers: &[(DeviceId, PublicKey)]) {
        let key_of = |device: &DeviceId| peers.iter().find(|(id, _)| id == device).map(|(_, key)| *key);
        self.peers.retain(|device, tunnel| key_of(device) == Some(tunnel.key));
        let known = &self.peers;
        self.indices.retain(|_, device| known.contains_key(device));
        for (device, key) in peers {
            if self.peers.contains_key(device) {
                continue;
            }
            let Some(shared) =
                self.secret.agree(key).map(|shared| shared.derive(b"simulated wireguard", &[]))
            else {
                continue;
            };
            let tunnel = Tunnel {
                key: *key,
                shared,
                current: None,
                previous: VecDeque::new(),
                offered: VecDeque::new(),
                pending: None,
                overtaken: None,
                newest_heard: 0,
                waiting: VecDeque::new(),
            };
            self.peers.insert(*device, tunnel);
        }
    }

    /// Takes a packet for a peer and gives the datagrams to send now. Without a session it waits, and an
    /// initiation is what leaves.
    pub fn seal(&mut self, peer: DeviceId, packet: &[u8], now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let Some(tunnel) = self.peers.get_mut(&peer) else { return out };
        match &mut tunnel.current {
            Some(session) if session.is_good(now) => {
                session.unanswered_since.get_or_insert(now);
                out.push(session.seal(packet));
                let stale = session.initiated && now.saturating_since(session.since) >= REKEY_AFTER;
                let silent = session.unanswered_since.is_some_and(|at| now.saturating_since(at) >= SILENCE);
                if stale || silent {
                    self.initiate(peer, now, &mut out);
                }
            }
            Some(_) | None => {
                tunnel.keep(packet);
                self.initiate(peer, now, &mut out);
            }
        }
        out
    }

    /// Whether packets for a peer can go now.
    #[must_use]
    pub fn has_session(&self, peer: &DeviceId, now: Instant) -> bool {
        let current = self.peers.get(peer).and_then(|tunnel| tunnel.current.as_ref());
        current.is_some_and(|session| session.is_good(now))
    }

    /// The peer has no session, as an early packet shows: an older one is used no more.
    pub fn doubt(&mut self, peer: &DeviceId, now: Instant) {
        let Some(tunnel) = self.peers.get_mut(peer) else { return };
        let is_old = |session: &mut Session| now.saturating_since(session.since) >= BESIDE;
        if let Some(session) = tunnel.current.take_if(is_old) {
            let dropped = tunnel.put_away(session);
            self.forget(dropped);
        }
    }

    /// Whether data is of a session that is known here.
    #[must_use]
    pub fn knows(&self, data: &[u8]) -> bool {
        word(data, 4).is_some_and(|index| self.indices.contains_key(&index))
    }

    /// The peer sends by a session that is not known here: it is asked for another, if there is none that it will go over to.
    pub fn lose(&mut self, peer: DeviceId, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if !self.has_session(&peer, now) {
            self.initiate(peer, now, &mut out);
        }
        out
    }

    /// An empty packet for a peer, if there is a session.
    pub fn keep_alive(&mut self, peer: DeviceId) -> Option<Vec<u8>> {
        Some(self.peers.get_mut(&peer)?.current.as_mut()?.seal(&[]))
    }

    /// Opens a datagram. The default value means that it did not open.
    pub fn open(&mut self, datagram: &[u8], now: Instant) -> Opened {
        match datagram.first() {
            Some(1) if datagram.len() == INITIATION => self.on_initiation(datagram, now),
            Some(2) if datagram.len() == RESPONSE => self.on_response(datagram, now),
            Some(4) => self.on_data(datagram),
            _ => Opened::default(),
        }
    }

    /// Repeats initiations whose time has come: `(peer, datagram)`.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(DeviceId, Vec<u8>)> {
        let peers = &self.peers;
        self.initiating.retain(|peer| peers.get(peer).is_some_and(|tunnel| tunnel.pending.is_some()));
        let is_due = |peer: &&DeviceId| peers.get(*peer).is_some_and(|tunnel| tunnel.is_due(now));
        let due: Vec<DeviceId> = self.initiating.iter().filter(is_due).copied().collect();
        let mut out = Vec::new();
        for device in due {
            let mut datagrams = Vec::new();
            self.initiate(device, now, &mut datagrams);
            out.extend(datagrams.into_iter().map(|datagram| (device, datagram)));
        }
        out
    }

    /// When an initiation is to be repeated next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pending = |peer| self.peers.get(peer).and_then(|tunnel| tunnel.pending.as_ref());
        self.initiating.iter().filter_map(pending).map(|pending| pending.again_at).min()
    }

    fn initiate(&mut self, peer: DeviceId, now: Instant, out: &mut Vec<Vec<u8>>) {
        let (ours, nonce) = (self.fresh_index(), self.rng.bytes());
        let Some(tunnel) = self.peers.get_mut(&peer) else { return };
        let tries = match &tunnel.pending {
            Some(pending) if pending.again_at > now => return,
            Some(pending) => pending.tries + 1,
            None => 0,
        };
        if tries > TRIES {
            tunnel.pending = None;
            tunnel.waiting.clear();
            return;
        }
        self.initiating.insert(peer);
        // What the peer began is as good, if something comes of it.
        let theirs = tunnel.offered.front().map(|offered| offered.since + RETRY).filter(|at| *at > now);
        if let (Some(pending), Some(again_at)) = (&mut tunnel.pending, theirs) {
            pending.again_at = again_at;
            return;
        }
        let wait = RETRY.saturating_mul(1 << tries.min(8)).min(RETRY_MAX);
        let again_at = theirs.unwrap_or(now + wait);
        if let Some(before) = tunnel.pending.replace(Initiation { ours, nonce, again_at, tries })
            && let Some(forgotten) = tunnel.overtaken.replace(before)
        {
            self.indices.remove(&forgotten.ours);
        }
        self.indices.insert(ours, peer);
        if theirs.is_some() {
            return;
        }
        let mut datagram = vec![1, 0, 0, 0];
        datagram.extend(ours.to_le_bytes());
        datagram.extend(self.public.as_bytes());
        datagram.extend(nonce);
        datagram.extend(now.as_micros().to_le_bytes());
        datagram.resize(INITIATION - 16, 0);
        let mac = mac16(tunnel.shared.as_bytes(), &[&datagram]);
        datagram.extend(mac);
        out.push(datagram);
    }

    fn on_initiation(&mut self, datagram: &[u8], now: Instant) -> Opened {
        let Some((body, mac)) = datagram.split_at_checked(INITIATION - 16) else { return Opened::default() };
        let Some(theirs) = word(body, 4) else { return Opened::default() };
        let key = body.get(8..40);
        let Some(peer) = self.peers.iter().find(|(_, t)| key == Some(t.key.as_bytes())).map(|(id, _)| *id)
        else {
            return Opened::default();
        };
        let ours = self.fresh_index();
        let answer_nonce: [u8; 16] = self.rng.bytes();
        let Some(tunnel) = self.peers.get_mut(&peer) else { return Opened::default() };
        let stamp = body.get(56..64).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        if !ct_eq(mac, &mac16(tunnel.shared.as_bytes(), &[body])) || stamp <= tunnel.newest_heard {
            return Opened::default();
        }
        tunnel.newest_heard = stamp;
        let Some(nonce) = body.get(40..56) else { return Opened::default() };
        let mut answer = vec![2, 0, 0, 0];
        answer.extend(ours.to_le_bytes());
        answer.extend(theirs.to_le_bytes());
        answer.extend(answer_nonce);
        answer.resize(RESPONSE - 16, 0);
        let mac = mac16(tunnel.shared.as_bytes(), &[&answer, nonce]);
        answer.extend(mac);
        let session = Session::new(&tunnel.shared, [nonce, &answer_nonce], (ours, theirs), false, now);
        tunnel.offered.push_front(session);
        let dropped = if tunnel.offered.len() > OFFERED { tunnel.offered.pop_back() } else { None };
        self.indices.insert(ours, peer);
        self.forget(dropped);
        Opened { peer: Some(peer), packet: None, answers: vec![answer] }
    }

    fn on_response(&mut self, datagram: &[u8], now: Instant) -> Opened {
        let Some((body, mac)) = datagram.split_at_checked(RESPONSE - 16) else { return Opened::default() };
        let (Some(theirs), Some(ours)) = (word(body, 4), word(body, 8)) else { return Opened::default() };
        let Some(peer) = self.indices.get(&ours).copied() else { return Opened::default() };
        let Some(tunnel) = self.peers.get_mut(&peer) else { return Opened::default() };
        let mut asked = tunnel.pending.iter().chain(&tunnel.overtaken);
        let Some(nonce) = asked.find(|asked| asked.ours == ours).map(|asked| asked.nonce) else {
            return Opened::default();
        };
        let nonces = [nonce.as_slice(), body.get(12..28).unwrap_or_default()];
        if !ct_eq(mac, &mac16(tunnel.shared.as_bytes(), &[body, nonces[0]])) {
            return Opened::default();
        }
        // Nothing waits any more, so nothing is asked again; an answer that is under way still counts.
        let done = tunnel.pending.take();
        if let Some(other) = done.filter(|done| done.ours != ours) {
            tunnel.overtaken = Some(other);
        } else {
            tunnel.overtaken.take_if(|overtaken| overtaken.ours == ours);
        }
        let session = Session::new(&tunnel.shared, nonces, (ours, theirs), true, now);
        let dropped = tunnel.adopt(session);
        let waiting = std::mem::take(&mut tunnel.waiting);
        let mut answers = Vec::new();
        if let Some(session) = &mut tunnel.current {
            // WireGuard confirms a session with data; an empty packet will do where nothing waits.
            let packets = waiting.iter().map(Vec::as_slice);
            answers.extend(packets.map(|packet| session.seal(packet)));
            if answers.is_empty() {
                answers.push(session.seal(&[]));
            }
        }
        self.forget(dropped);
        Opened { peer: Some(peer), packet: None, answers }
    }

    fn on_data(&mut self, datagram: &[u8]) -> Opened {
        let Some(peer) = word(datagram, 4).and_then(|ours| self.indices.get(&ours).copied()) else {
            return Opened::default();
        };
        let Some(tunnel) = self.peers.get_mut(&peer) else { return Opened::default() };
        let offered = tunnel.offered.iter_mut().enumerate();
        let confirmed = offered.into_iter().find_map(|(at, session)| Some((at, session.open(datagram)?)));
        let dropped = confirmed.as_ref().map(|(at, _)| tunnel.confirm(*at)).unwrap_or_default();
        let confirmed = confirmed.map(|(_, packet)| packet);
        let mut sessions = tunnel.current.iter_mut().chain(&mut tunnel.previous);
        let opened = confirmed.or_else(|| sessions.find_map(|session| session.open(datagram)));
        let Some(packet) = opened else { return Opened::default() };
        let waiting = std::mem::take(&mut tunnel.waiting);
        let mut answers = Vec::new();
        if let Some(session) = &mut tunnel.current {
            session.unanswered_since = None;
            answers.extend(waiting.iter().map(|packet| session.seal(packet)));
        }
        for session in dropped {
            self.forget(Some(session));
        }
        Opened { peer: Some(peer), packet: (!packet.is_empty()).then_some(packet), answers }
    }

    fn forget(&mut self, session: Option<Session>) {
        if let Some(session) = session {
            self.indices.remove(&session.ours);
        }
    }

    fn fresh_index(&mut self) -> u32 {
        loop {
            let index = self.rng.u32();
            if !self.indices.contains_key(&index) {
                return index;
            }
        }
    }
}

impl Tunnel {
    fn is_due(&self, now: Instant) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.again_at <= now)
    }

    fn keep(&mut self, packet: &[u8]) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(packet.to_vec());
    }

    /// The other end has a session that was offered, and needs no older one; gives back those that fall off the end.
    fn confirm(&mut self, at: usize) -> Vec<Session> {
        let older = self.offered.split_off((at + 1).min(self.offered.len()));
        let mut dropped: Vec<Session> =
            older.into_iter().filter_map(|session| self.put_away(session)).collect();
        dropped.extend(self.offered.remove(at).and_then(|session| self.adopt(session)));
        dropped
    }

    /// The newest session is the one in use; gives back the one that falls off the end.
    fn adopt(&mut self, session: Session) -> Option<Session> {
        let replaced = self.current.replace(session)?;
        self.put_away(replaced)
    }

    fn put_away(&mut self, session: Session) -> Option<Session> {
        self.previous.push_front(session);
        if self.previous.len() > PREVIOUS { self.previous.pop_back() } else { None }
    }
}

impl Session {
    fn new(
        shared: &SymmetricKey,
        nonces: [&[u8]; 2],
        indices: (u32, u32),
        initiated: bool,
        now: Instant,
    ) -> Self {
        let forth = derive_key(shared, b"forth", &nonces);
        let back = derive_key(shared, b"back", &nonces);
        let (sealing, opening) = if initiated { (forth, back) } else { (back, forth) };
        Self {
            ours: indices.0,
            theirs: indices.1,
            sealing,
            opening,
            counter: 0,
            window: ReplayWindow::default(),
            since: now,
            initiated,
            unanswered_since: None,
        }
    }

    fn is_good(&self, now: Instant) -> bool {
        now.saturating_since(self.since) < REJECT_AFTER
    }

    fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(HEADER + packet.len() + 16);
        datagram.extend([4, 0, 0, 0]);
        datagram.extend(self.theirs.to_le_bytes());
        datagram.extend(self.counter.to_le_bytes());
        let header: [u8; HEADER] = datagram.first_chunk().copied().unwrap_or_default();
        datagram.extend(packet);
        seal_in_place(&self.sealing, self.counter, &header, &mut datagram, HEADER);
        self.counter += 1;
        datagram
    }

    fn open(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (header, sealed) = datagram.split_at_checked(HEADER)?;
        if word(header, 4)? != self.ours {
            return None;
        }
        let counter = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
        if !self.window.check(counter) {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let packet = open_in_place(&self.opening, counter, header, &mut sealed)?.to_vec();
        self.window.accept(counter);
        Some(packet)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
