//! Every kind of NAT gets its name, from a model of it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use lanyard_wire::nat::Filtering;
use lanyard_wire::stun;

use super::*;

const RTT: Duration = Duration::from_millis(40);
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 10));
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
const HOME6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 10));
const MAIN_PORT: u16 = 40_000;

use Filtering::{AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif};
use Mapping::{
    AddressAndPortDependent as Apdm, AddressDependent as Adm, EndpointIndependent as Eim, None as NoMapping,
};

#[test]
fn every_kind_of_nat_is_named_as_it_is() {
    for mapping in [NoMapping, Eim, Adm, Apdm] {
        for filtering in [Eif, Adf, Apdf] {
            for ports in [Ports::Preserve, Ports::Random, Ports::Sequential] {
                let mut world = World::new(Nat::new(mapping, filtering, ports));
                let card = world.run();
                assert_eq!(
                    (card.udp, card.mapping, card.filtering),
                    (true, Some(mapping), Some(filtering)),
                    "{mapping} {filtering} {ports:?}"
                );
            }
        }
    }
}

#[test]
fn a_verdict_takes_at_most_one_point_two_seconds_and_less_where_everything_answers() {
    let mut open = World::new(Nat::new(NoMapping, Eif, Ports::Preserve));
    open.run();
    assert_eq!(open.now, Instant::ZERO + RTT, "one round trip");
    let mut strict = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    strict.run();
    assert_eq!(strict.now, Instant::ZERO + RUN_TIME);
}

#[test]
fn after_a_failed_punch_a_card_that_is_not_fresh_is_measured_anew() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Preserve));
    world.run();
    world.netcheck.doubt(world.now + Duration::from_secs(20));
    assert_eq!(world.netcheck.poll_transmit(), None);
    world.netcheck.doubt(world.now + Duration::from_secs(40));
    assert!(world.netcheck.poll_transmit().is_some());
}

#[test]
fn port_policies_are_told_apart() {
    let policy = |mapping, ports| World::new(Nat::new(mapping, Apdf, ports)).run().ports;
    assert_eq!(policy(Eim, Ports::Preserve), Some(PortPolicy::Preserved));
    assert_eq!(policy(Eim, Ports::Random), None, "one port alone shows no policy");
    assert_eq!(policy(Apdm, Ports::Sequential), Some(PortPolicy::Sequential { step: 1 }));
    assert_eq!(policy(Adm, Ports::Sequential), Some(PortPolicy::Sequential { step: 1 }));
    assert_eq!(policy(Apdm, Ports::Random), Some(PortPolicy::Random));
    let Some(PortPolicy::Block { low, high }) = policy(Apdm, Ports::Block(50_000, 2_048)) else {
        panic!("no block")
    };
    assert!(low >= 45_000 && high <= 60_000, "{low}..={high}");
}

#[test]
fn mapping_and_ports_are_told_before_a_filter_was_silent_for_long_enough() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Sequential));
    let card = world.run();
    let (told_at, early) = world.early.expect("the mapping was told early");
    assert_eq!(early, NatCard { filtering: None, ..card });
    assert!(told_at <= Instant::ZERO + Duration::from_millis(100), "{told_at}");

    world.early = None;
    assert_eq!(world.run(), card);
    assert_eq!(world.early, None, "nothing new the next time");
}

#[test]
fn a_fresh_socket_is_shown_as_it_is_seen_now() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Sequential));
    world.run();
    world.netcheck.sample(SocketId(99), world.now);
    let first = world.sampled();
    world.netcheck.sample(SocketId(100), world.now);
    let second = world.sampled();
    let port = |sampled: Option<SocketAddr>| sampled.map(|addr| addr.port());
    assert_eq!(port(second), port(first).map(|port| port + 1));

    world.blocked = true;
    world.netcheck.sample(SocketId(101), world.now);
    assert_eq!(world.sampled(), None, "nobody waits for an answer that does not come");
}

#[test]
fn the_card_of_a_network_that_was_left_is_not_shown_any_more() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    world.run();
    assert!(!world.netcheck.is_new_here());
    world.nat = Nat::new(Eim, Apdf, Ports::Random);
    let begin = world.now;
    world.netcheck.network_changed(begin);
    assert!(world.netcheck.is_new_here(), "who needs it waits");
    while world.netcheck.is_new_here() {
        world.next_event();
    }
    assert_eq!(world.netcheck.card().mapping, Some(Eim));
    assert_eq!(world.now.saturating_since(begin), RTT, "for one round trip");

    world.blocked = true;
    world.netcheck.network_changed(world.now);
    let card = world.run();
    assert!(!card.udp && !world.netcheck.is_new_here(), "and not for ever");
}

#[test]
fn a_mapping_that_nothing_else_holds_is_held_and_known_when_it_changes() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Random));
    let before = world.run().reflexive4;
    world.netcheck.hold_mapping(true, world.now);
    let (begin, sent) = (world.now, world.sent);
    world.nat.mappings.clear();
    let NetcheckEvent::Card(card) = world.next_event() else { panic!("no new card") };
    assert_ne!(card.reflexive4, before);
    let outside = world.nat.mappings.values().next().copied();
    assert_eq!(card.reflexive4.map(SocketAddr::V4), outside, "where it is seen now");
    assert!(world.now.saturating_since(begin) < Duration::from_secs(18));
    assert_eq!(world.sent - sent, 1, "one question");
    world.run();
    assert!(world.sent - sent < 40, "{} in five minutes", world.sent - sent);

    world.netcheck.hold_mapping(false, world.now);
    let sent = world.sent;
    world.run();
    assert!(world.sent - sent <= 12, "nothing but the next run");
}

#[test]
fn spare_sockets_are_few_and_all_given_back() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    world.run();
    assert_eq!(world.used.len(), 1 + survey::SAMPLE_SOCKETS);
    assert_eq!(world.used, world.closed);
    assert!(world.used.iter().all(|socket| (1..=SPARE_LAST).contains(&socket.0)));

    let mut easy = World::new(Nat::new(Eim, Eif, Ports::Preserve));
    easy.run();
    assert_eq!(easy.used.len(), 1);
    assert!(easy.sent <= 6, "{} datagrams", easy.sent);
}

#[test]
fn lost_answers_are_asked_for_again() {
    for seed in 0..50 {
        let mut world = World::new(Nat::new(Adm, Adf, Ports::Random));
        world.loss = Some((Rng::from_seed([seed; 32]), 15));
        let card = world.run();
        assert_eq!((card.mapping, card.filtering), (Some(Adm), Some(Adf)), "seed {seed}");
    }
}

#[test]
fn silence_is_udp_blocked_and_looked_at_again_soon() {
    let mut world = World::new(Nat::new(Eim, Eif, Ports::Preserve));
    world.blocked = true;
    let card = world.run();
    assert_eq!(card, NatCard::default());
    let again = world.netcheck.poll_timeout().unwrap();
    assert!(again.at < world.now + Duration::from_secs(70), "{}", again.at);

    world.blocked = false;
    assert!(world.run().udp, "it notices by itself that UDP is back");
    let again = world.netcheck.poll_timeout().unwrap();
    assert!(again.at > world.now + Duration::from_secs(240), "{}", again.at);
}

#[test]
fn one_address_tells_what_it_can() {
    let card = |mapping, filtering| {
        let mut world = World::new(Nat::new(mapping, filtering, Ports::Random));
        world.keep_servers(2);
        world.run()
    };
    assert_eq!(card(Eim, Apdf).mapping, Some(Eim));
    assert_eq!(card(Apdm, Apdf).mapping, Some(Apdm));
    assert_eq!(card(Eim, Apdf).filtering, Some(Apdf));
    assert_eq!(card(Eim, Eif).filtering, Some(Adf), "the strictest that fits");
}

#[test]
fn a_server_that_cannot_change_its_address_says_nothing_about_filtering() {
    let mut world = World::new(Nat::new(Eim, Eif, Ports::Random));
    world.plain_servers = true;
    let card = world.run();
    assert_eq!((card.mapping, card.filtering), (Some(Eim), None));
}

#[test]
fn a_dead_first_server_is_passed_over_the_next_time() {
    let mut world = World::new(Nat::new(Eim, Adf, Ports::Random));
    world.dead = Some(world.servers[0].ip());
    assert_eq!(world.run().filtering, None);
    assert_eq!(world.run().mapping, Some(Eim), "two ports of the other address agree");
    assert_eq!(world.netcheck.grid(false)[0][0].map(|addr| addr.ip()), Some(world.servers[2].ip()));
}

#[test]
fn ipv6_alone_is_judged_and_beside_ipv4_it_adds_its_address() {
    let mut world = World::new(Nat::new(NoMapping, Apdf, Ports::Preserve));
    world.servers = servers6();
    world.netcheck.set_servers(&servers6());
    let card = world.run();
    assert_eq!((card.mapping, card.filtering), (Some(NoMapping), Some(Apdf)));
    assert_eq!((card.reflexive4, card.reflexive6.is_some()), (None, true));

    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    let both: Vec<_> = servers4().into_iter().chain(servers6()).collect();
    world.servers.clone_from(&both);
    world.netcheck.set_servers(&both);
    let card = world.run();
    assert_eq!(card.mapping, Some(Apdm), "IPv4 is the family that has NATs");
    assert!(card.reflexive4.is_some() && card.reflexive6.is_some());
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Random));
    world.netcheck.start(world.now);
    let first = world.netcheck.poll_transmit().unwrap();
    let txid = txid(&first.bytes).unwrap();
    let forged = stun::Response { txid, mapped: first.remote, origin: None, other: None }.encode();
    let mut hear = |local, remote, bytes: &[u8]| {
        world.netcheck.handle_datagram(Datagram { local, remote, bytes }, Instant::ZERO)
    };
    let stranger = SocketAddr::from(([203, 0, 113, 77], 3_478));
    assert_eq!(
        hear(SocketId::MAIN, stranger, &forged),
        Some(Err(Rejected::NotAllowed)),
        "right id, wrong source"
    );
    assert_eq!(hear(SocketId(9), first.remote, &forged), Some(Err(Rejected::NotAllowed)), "wrong socket");
    let mut other = forged.clone();
    other[19] ^= 1;
    assert_eq!(hear(SocketId::MAIN, first.remote, &other), None, "another machine's transaction");
    assert_eq!(hear(SocketId::MAIN, first.remote, &forged[..24]), Some(Err(Rejected::Malformed)));
    assert_eq!(hear(SocketId::MAIN, first.remote, b"?"), None);
    assert_eq!(hear(SocketId::MAIN, first.remote, &forged), Some(Ok(())));
    assert_eq!(hear(SocketId::MAIN, first.remote, &forged), Some(Err(Rejected::Unexpected)), "twice");
}

#[test]
fn without_servers_the_answer_is_what_is_known() {
    let mut netcheck = Netcheck::new(Rng::from_seed([1; 32]));
    netcheck.start(Instant::ZERO);
    assert_eq!(netcheck.poll_event(), Some(NetcheckEvent::Checked(NatCard::default())));
    assert_eq!(netcheck.poll_timeout(), None);
}

#[test]
fn starting_again_gives_the_sockets_of_the_first_run_back() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Random));
    world.netcheck.start(world.now);
    world.netcheck.start(world.now);
    assert_eq!(world.netcheck.poll_event(), Some(NetcheckEvent::CloseSocket(SocketId(1))));
    world.run();
    assert!(world.used.contains(&SocketId(2)) && world.closed.contains(&SocketId(2)));
}

#[derive(Clone, Copy, Debug)]
enum Ports {
    Preserve,
    Random,
    Sequential,
    Block(u16, u16),
}

/// A router in front of one host, by RFC 4787.
struct Nat {
    mapping: Mapping,
    filtering: Filtering,
    ports: Ports,
    rng: Rng,
    next: u16,
    mappings: BTreeMap<(SocketAddr, Option<IpAddr>, Option<u16>), SocketAddr>,
    contacted: BTreeSet<(SocketAddr, SocketAddr)>,
}

impl Nat {
    fn new(mapping: Mapping, filtering: Filtering, ports: Ports) -> Self {
        let rng = Rng::from_seed([3; 32]);
        Self {
            mapping,
            filtering,
            ports,
            rng,
            next: 20_000,
            mappings: BTreeMap::new(),
            contacted: BTreeSet::new(),
        }
    }

    fn outbound(&mut self, inside: SocketAddr, remote: SocketAddr) -> SocketAddr {
        let outside = if self.mapping == NoMapping || inside.is_ipv6() {
            inside
        } else {
            let (ip, port) = match self.mapping {
                Adm => (Some(remote.ip()), None),
                Apdm => (Some(remote.ip()), Some(remote.port())),
                NoMapping | Eim => (None, None),
            };
            let known = self.mappings.get(&(inside, ip, port)).copied();
            known.unwrap_or_else(|| {
                let outside = SocketAddr::new(PUBLIC, self.port(inside));
                self.mappings.insert((inside, ip, port), outside);
                outside
            })
        };
        self.contacted.insert((outside, remote));
        outside
    }

    fn port(&mut self, inside: SocketAddr) -> u16 {
        let taken = |nat: &Self, port| nat.mappings.values().any(|outside| outside.port() == port);
        loop {
            let random = u16::try_from(self.rng.below(60_000)).unwrap();
            let port = match self.ports {
                Ports::Preserve if !taken(self, inside.port()) => inside.port(),
                Ports::Preserve | Ports::Random => 1_024 + random,
                Ports::Sequential => {
                    self.next += 1;
                    self.next
                }
                Ports::Block(low, size) => low + random % size,
            };
            if !taken(self, port) {
                return port;
            }
        }
    }

    fn inbound(&self, outside: SocketAddr, remote: SocketAddr) -> bool {
        self.contacted.iter().filter(|(from, _)| *from == outside).any(|(_, to)| match self.filtering {
            Eif => true,
            Adf => to.ip() == remote.ip(),
            Apdf => *to == remote,
        })
    }
}

/// A host behind a NAT, and four STUN sockets.
struct World {
    netcheck: Netcheck,
    nat: Nat,
    servers: Vec<SocketAddr>,
    now: Instant,
    /// Answers on their way: when, to which socket of ours, from where to which outside address, what.
    air: Vec<(Instant, SocketId, SocketAddr, SocketAddr, Vec<u8>)>,
    loss: Option<(Rng, u64)>,
    blocked: bool,
    plain_servers: bool,
    dead: Option<IpAddr>,
    sent: usize,
    used: BTreeSet<SocketId>,
    closed: BTreeSet<SocketId>,
    /// What was told before the end of a run, and when.
    early: Option<(Instant, NatCard)>,
}

impl World {
    fn new(nat: Nat) -> Self {
        let mut netcheck = Netcheck::new(Rng::from_seed([1; 32]));
        netcheck.set_servers(&servers4());
        netcheck.set_local(&[SocketAddr::new(HOME, MAIN_PORT), SocketAddr::new(HOME6, MAIN_PORT)]);
        Self {
            netcheck,
            nat,
            servers: servers4(),
            now: Instant::ZERO,
            air: vec![],
            loss: None,
            blocked: false,
            plain_servers: false,
            dead: None,
            sent: 0,
            used: BTreeSet::new(),
            closed: BTreeSet::new(),
            early: None,
        }
    }

    fn keep_servers(&mut self, count: usize) {
        self.servers.truncate(count);
        self.netcheck.set_servers(&self.servers);
    }

    /// Lets time pass until a run ends.
    fn run(&mut self) -> NatCard {
        loop {
            match self.next_event() {
                NetcheckEvent::Checked(card) => return card,
                NetcheckEvent::Sampled { .. } => panic!("nobody asked about a fresh socket"),
                NetcheckEvent::Card(_) | NetcheckEvent::CloseSocket(_) => {}
            }
        }
    }

    /// Lets time pass until a fresh socket was seen, or was not.
    fn sampled(&mut self) -> Option<SocketAddr> {
        loop {
            if let NetcheckEvent::Sampled { mapped, .. } = self.next_event() {
                return mapped;
            }
        }
    }

    /// Lets time pass until there is an event.
    fn next_event(&mut self) -> NetcheckEvent {
        loop {
            if let Some(event) = self.netcheck.poll_event() {
                match event {
                    NetcheckEvent::CloseSocket(socket) => assert!(self.closed.insert(socket)),
                    NetcheckEvent::Card(card) => self.early = Some((self.now, card)),
                    NetcheckEvent::Checked(_) | NetcheckEvent::Sampled { .. } => {}
                }
                return event;
            }
            while let Some(transmit) = self.netcheck.poll_transmit() {
                self.send(&transmit);
            }
            let wakeup = self.netcheck.poll_timeout().expect("a run or a refresh to come").at;
            self.air.sort_by_key(|(at, ..)| *at);
            if self.air.first().is_some_and(|(at, ..)| *at <= wakeup) {
                let (at, local, remote, outside, bytes) = self.air.remove(0);
                self.now = self.now.max(at);
                if self.nat.inbound(outside, remote) {
                    let datagram = Datagram { local, remote, bytes: &bytes };
                    let _ = self.netcheck.handle_datagram(datagram, self.now);
                }
            } else {
                self.now = self.now.max(wakeup);
                self.netcheck.handle_timeout(self.now);
            }
        }
    }

    fn send(&mut self, transmit: &Transmit) {
        self.sent += 1;
        if transmit.local != SocketId::MAIN {
            self.used.insert(transmit.local);
        }
        let home = if transmit.remote.is_ipv4() { HOME } else { HOME6 };
        let inside = SocketAddr::new(home, MAIN_PORT + transmit.local.0);
        let outside = self.nat.outbound(inside, transmit.remote);
        let lost = self.loss.as_mut().is_some_and(|(rng, percent)| rng.below(100) < *percent);
        if self.blocked || lost || self.dead == Some(transmit.remote.ip()) {
            return;
        }
        let (remote, answer) = self.answer(transmit, outside);
        self.air.push((self.now + RTT, transmit.local, remote, outside, answer));
    }

    /// RFC 5780, section 6.1; a grid like ours.
    fn answer(&self, transmit: &Transmit, mapped: SocketAddr) -> (SocketAddr, Vec<u8>) {
        let request = stun::Request::parse(&transmit.bytes).unwrap();
        let asked = transmit.remote;
        let family = self.servers.iter().filter(|server| server.is_ipv4() == asked.is_ipv4());
        let other_ip = family.map(SocketAddr::ip).find(|ip| *ip != asked.ip()).unwrap_or(asked.ip());
        let other = SocketAddr::new(other_ip, if asked.port() == 3_478 { 3_479 } else { 3_478 });
        let mut source = asked;
        if request.change.ip && !self.plain_servers {
            source.set_ip(other.ip());
        }
        if request.change.port && !self.plain_servers {
            source.set_port(other.port());
        }
        // A server of one address names no other one.
        let other = (!self.plain_servers && other.ip() != asked.ip()).then_some(other);
        (source, stun::Response { txid: request.txid, mapped, origin: Some(source), other }.encode())
    }
}

fn servers4() -> Vec<SocketAddr> {
    let at = |last, port| SocketAddr::from(([203, 0, 113, last], port));
    vec![at(1, 3_478), at(1, 3_479), at(2, 3_478), at(2, 3_479)]
}

fn servers6() -> Vec<SocketAddr> {
    let at = |last, port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], port));
    vec![at(1, 3_478), at(1, 3_479), at(2, 3_478), at(2, 3_479)]
}
