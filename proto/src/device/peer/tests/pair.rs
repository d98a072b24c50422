//! Two ends of a pair, a network of two addresses, and a coordinator that answers at once.

use alloc::vec;

use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::checkpoint::{Availability, Member, RelayGrant};
use lanyard_wire::handshake::{Go, Method};
use lanyard_wire::ids::{DeviceId, DeviceNumber};
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::names::DeviceName;
use lanyard_wire::nat::NatCard;
use lanyard_wire::token::Purpose;

use super::super::*;
use crate::time::WallClock;

/// Two ends, what is under way between them, and a coordinator that answers at once.
pub(super) struct Pair {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    pub(super) flying: Vec<(Instant, usize, SocketAddr, SocketAddr, Vec<u8>)>,
    pub(super) offered: Vec<(usize, AttemptId)>,
    pub(super) reports: [Vec<&'static str>; 2],
    pub(super) mtu: usize,
    pub(super) is_blocked: bool,
    pub(super) is_blocked_to: Option<usize>,
    pub(super) refuse_relay: bool,
    pub(super) record: bool,
    pub(super) recorded: Vec<Vec<u8>>,
    pub(super) sent: usize,
    pub(super) pokes: usize,
    pub(super) begun: u64,
}

pub(super) struct End {
    pub(super) secret: SecretKey,
    pub(super) peer: Peer,
    pub(super) address: SocketAddr,
    pub(super) candidate: SocketAddr,
    pub(super) moves: Vec<(Instant, Path)>,
    pub(super) pending: Vec<(Instant, Observation)>,
}

impl End {
    pub(super) fn new(at: usize) -> Self {
        let address: SocketAddr = ([203, 0, 113, u8::try_from(at).unwrap() + 1], 7000).into();
        Self {
            secret: secret(at),
            peer: peer(at, u8::try_from(at).unwrap()),
            address,
            candidate: address,
            moves: Vec::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn cached(&self) -> MemberCache {
        MemberCache {
            member: member(),
            endpoints: self.peer.endpoints(),
            attempt: self.peer.memorable(),
            last_active_unix_s: self
                .peer
                .last_traffic_s(&WallClock { at: Instant::ZERO, unix_ms: 1_700_000_000_000 }),
        }
    }
}

impl Pair {
    pub(super) fn new() -> Self {
        let start = Instant::from_secs(100);
        let mut pair = Self {
            start,
            now: start,
            ends: [End::new(0), End::new(1)],
            flying: Vec::new(),
            offered: Vec::new(),
            reports: [Vec::new(), Vec::new()],
            mtu: 1_500,
            is_blocked: false,
            is_blocked_to: None,
            refuse_relay: false,
            record: false,
            recorded: Vec::new(),
            sent: 0,
            pokes: 0,
            begun: 0,
        };
        for end in &mut pair.ends {
            end.peer.set_reach(reach(), start);
        }
        pair
    }

    pub(super) fn forget_coordinator(&mut self) {
        let alone = Reach { coordinator: None, is_online: false, ..reach() };
        for end in &mut self.ends {
            end.peer.set_reach(alone, self.now);
        }
    }

    pub(super) fn connect(&mut self, at: usize) {
        let now = self.now;
        self.ends[at].peer.connect(now);
        self.drain();
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        self.advance(self.now + time);
    }

    /// Each end sends something every 50 ms and hears what the other's path carries.
    pub(super) fn talk_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            for at in 0..2 {
                let path = self.ends[at].peer.path();
                let from = self.ends[at].address;
                let sent = Observation { rx: Vec::new(), ..observation(path != Path::None) };
                let now = self.now;
                self.ends[at].peer.observe(&sent, now);
                let arrives = match path {
                    Path::Direct { remote, .. } if self.carries(remote, 1_312) => Some(direct(from)),
                    Path::Relayed { .. } => Some(path),
                    Path::Direct { .. } | Path::None => None,
                };
                if let Some(path) = arrives {
                    let heard = Observation { tx_packets: 0, rx: vec![(path, 1, 100)], ..observation(false) };
                    self.ends[1 - at].pending.push((now + ms(20), heard));
                }
            }
            self.drain();
            self.advance(self.now + ms(50));
        }
    }

    pub(super) fn advance(&mut self, until: Instant) {
        loop {
            let timers = self.ends.iter().filter_map(|end| end.peer.poll_timeout()).map(|wakeup| wakeup.at);
            let flying = self.flying.iter().map(|(at, ..)| *at);
            let pending = self.ends.iter().flat_map(|end| end.pending.iter().map(|(at, _)| *at));
            let next = timers.chain(flying).chain(pending).min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    pub(super) fn step(&mut self) {
        let now = self.now;
        let (due, later) = core::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
        self.flying = later;
        for (_, to, from, target, bytes) in due {
            if self.ends[to].address == target {
                let datagram = Datagram { local: SocketId::MAIN, remote: from, bytes: &bytes };
                let _ignored = self.ends[to].peer.handle_datagram(datagram, now);
            }
        }
        for end in &mut self.ends {
            let (due, later): (Vec<_>, Vec<_>) =
                core::mem::take(&mut end.pending).into_iter().partition(|(at, _)| *at <= now);
            end.pending = later;
            for (_, heard) in due {
                end.peer.observe(&heard, now);
            }
            end.peer.handle_timeout(now);
        }
        self.drain();
    }

    pub(super) fn carries(&self, remote: SocketAddr, bytes: usize) -> bool {
        let to = usize::from(self.ends[1].address == remote);
        bytes <= self.mtu
            && !self.is_blocked
            && self.is_blocked_to != Some(to)
            && self.ends[to].address == remote
    }

    pub(super) fn drain(&mut self) {
        while let Some((at, action)) =
            (0..2).find_map(|at| self.ends[at].peer.poll_action().map(|action| (at, action)))
        {
            match action {
                Action::Send(transmit) => self.send(at, transmit),
                Action::Attempt(wish) => self.on_attempt(at, wish),
                Action::Relay(RelayWish::Bind(grant)) => {
                    let (channel, now) = (grant.channel().unwrap(), self.now);
                    if self.refuse_relay {
                        self.ends[at].peer.relay_refused(channel, now);
                    } else {
                        self.ends[at].peer.bound(channel, now);
                    }
                }
                Action::Relay(RelayWish::Unbind(..)) | Action::Resized | Action::Repeat | Action::Learnt => {}
                Action::CarrierLost => panic!("no carrier was given"),
                Action::Keep(_) | Action::Close(_) => panic!("no fresh socket was given"),
                Action::Poke => self.pokes += 1,
                Action::Moved { to, .. } => {
                    let now = self.now;
                    self.ends[at].moves.push((now, to));
                }
            }
        }
    }

    pub(super) fn send(&mut self, at: usize, transmit: Transmit) {
        self.sent += 1;
        if self.record && at == 0 {
            self.recorded.push(transmit.bytes.clone());
        }
        if self.carries(transmit.remote, transmit.bytes.len()) {
            let from = self.ends[at].address;
            self.flying.push((self.now + ms(20), 1 - at, from, transmit.remote, transmit.bytes));
        }
    }

    pub(super) fn on_attempt(&mut self, at: usize, wish: AttemptWish) {
        let now = self.now;
        match wish {
            AttemptWish::Begin { coordinator } => {
                self.begun += 1;
                let attempt = AttemptId::new(self.begun);
                let (ticket, handshake) = (token(Purpose::Attempt, self.begun), 0);
                for end in &mut self.ends {
                    end.peer.learn(attempt, &end.secret);
                }
                let outcome = BeginOutcome::Started { attempt, ticket, handshake };
                self.ends[at].peer.began(coordinator, outcome, now);
                self.ends[1 - at].peer.invited(coordinator, attempt, ticket, handshake, now);
            }
            AttemptWish::Offer { coordinator, attempt, .. } => {
                self.offered.push((at, attempt));
                if self.offered.contains(&(1 - at, attempt)) {
                    for end in 0..2 {
                        self.go(end, coordinator, attempt);
                    }
                }
            }
            AttemptWish::Cancel { .. } => {}
            AttemptWish::Report { verdict, .. } => self.reports[at].push(match verdict {
                lanyard_wire::handshake::Verdict::Direct { .. } => "direct",
                lanyard_wire::handshake::Verdict::Relayed => "relayed",
                lanyard_wire::handshake::Verdict::None => "none",
            }),
        }
    }

    pub(super) fn go(&mut self, at: usize, coordinator: PublicKey, attempt: AttemptId) {
        let addr = self.ends[1 - at].candidate;
        let candidates = vec![Candidate { kind: CandidateKind::ServerReflexive, addr }];
        let go = Go {
            attempt,
            method: Method::Plain,
            candidates: candidates.clone(),
            card: NatCard::default(),
            start_after_ms: 60,
            relay: None,
        };
        let now = self.now;
        self.ends[at].peer.go(coordinator, &go, &candidates, &[], &NatCard::default(), now).unwrap();
    }
}

/// The other end as end `at` sees it.
pub(super) fn peer(at: usize, seed: u8) -> Peer {
    let first = ms(700 * u64::try_from(at).unwrap());
    Peer::new(secret(1 - at).public(), TunnelMtu::LEAST, first, Rng::from_seed([seed; 32]))
}

pub(super) fn secret(at: usize) -> SecretKey {
    SecretKey::from_bytes([u8::try_from(at).unwrap() + 1; 32])
}

pub(super) fn direct_pair() -> Pair {
    let mut pair = Pair::new();
    pair.connect(0);
    pair.talk_for(Duration::from_secs(3));
    assert!(pair.ends.iter().all(|end| end.peer.path().is_direct()));
    pair
}

pub(super) fn observation(sends: bool) -> Observation {
    let nothing = Observation::of(DeviceId::from_bytes([0; 16]));
    Observation { tx_packets: u32::from(sends), tx_bytes: 100, waiting: !sends, ..nothing }
}

pub(super) fn member() -> Member {
    Member {
        identity: SecretKey::from_bytes([1; 32]).public(),
        number: DeviceNumber::new(1).unwrap(),
        wireguard: PublicKey::from_bytes([5; 32]),
        name: DeviceName::parse("nas").unwrap(),
        ip4: [10, 7, 0, 1].into(),
        ip6: "fd00:7::1".parse().unwrap(),
        availability: Availability::Offline,
        relay: RelayGrant { channel: Channel::new(7).unwrap(), expires_s: 99, mac: [0; 16] },
    }
}

pub(super) fn reach() -> Reach {
    let relay = "192.0.2.1:7443".parse().unwrap();
    let grant = Grant { coordinator: coordinator(), token: token(Purpose::Relay, 7), relay: 0, addr: relay };
    Reach { coordinator: Some(coordinator()), grant: Some(grant), is_online: true, is_relay_alive: true }
}

pub(super) fn token(purpose: Purpose, value: u64) -> Token {
    let (x, y) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
    Token::grant(&SymmetricKey::from_bytes([3; 32]), purpose, x, y, value, 99)
}

pub(super) fn coordinator() -> PublicKey {
    PublicKey::from_bytes([9; 32])
}

pub(super) fn direct(remote: SocketAddr) -> Path {
    Path::Direct { local: SocketId::MAIN, remote }
}

pub(super) fn kind(path: Path) -> &'static str {
    match path {
        Path::Direct { .. } => "direct",
        Path::Relayed { .. } => "relayed",
        Path::None => "none",
    }
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
