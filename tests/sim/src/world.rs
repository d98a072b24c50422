//! Virtual time: one heap of things to come, and what happens when they do.
//!
//! A step takes the earliest entry: a datagram arrives, a machine's timer is due, a flow asks, an act of the
//! scenario happens, the oracle looks around. What a machine wants sent departs in the same step and is an entry
//! again. Entries of the same moment keep the order in which they were made, so a run depends on its scenario
//! alone.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lanyard_proto::rng::Rng;
use lanyard_proto::time::Instant;
use lanyard_wire::ids::DeviceId;

use crate::echo::Echo;
use crate::host::{Door, Effects, Fact, Host};
use crate::net::{Departure, HostId, Net, ServerId, SiteId};
use crate::oracle::{Violation, Watch};
use crate::script::{Act, Flow, Scenario};
use crate::services::{Answers, Coordinator, server_ips};
use crate::trace::{Party, Trace};

/// How often the oracle looks around while somebody talks, or something was broken lately.
const LOOK: Duration = Duration::from_millis(250);

/// How often it does while nothing happens.
const REST: Duration = Duration::from_secs(20);

/// A fault so long ago does not make it look more often.
const LATELY: Duration = Duration::from_secs(100);

/// Wake-ups of one machine at one moment after which it is said to spin.
const SPIN: u32 = 200;

/// A running scenario.
#[derive(Debug)]
pub struct World {
    pub(crate) now: Instant,
    pub(crate) net: Net,
    pub(crate) hosts: Vec<Host>,
    devices: BTreeMap<DeviceId, HostId>,
    pub(crate) coordinators: Vec<Coordinator>,
    pub(crate) flows: Vec<FlowState>,
    pub(crate) scenario: Scenario,
    pub(crate) rng: Rng,
    pub(crate) trace: Trace,
    /// Addresses at which a host could ever be reached, for the promise about candidates.
    pub(crate) footprints: BTreeMap<HostId, BTreeSet<IpAddr>>,
    pub(crate) recorded: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// Where a host may send probes of this length because an attacker's recording came from there.
    pub(crate) provoked: BTreeSet<(HostId, SocketAddr, usize)>,
    /// Since when a host is online without interruption.
    pub(crate) online_since: BTreeMap<HostId, Instant>,
    /// Datagrams each host sent after the run should have become quiet.
    pub(crate) late_sends: BTreeMap<HostId, u64>,
    pub(crate) quiet_from: Option<Instant>,
    pub(crate) joined: BTreeSet<(HostId, usize)>,
    pub(crate) violation: Option<Violation>,
    calm_at: Instant,
    look_at: Instant,
    heap: BinaryHeap<Entry>,
    order: u64,
    /// Sealed datagrams that reached a machine or a tunnel, and timers of machines that went off.
    pub(crate) datagrams: u64,
    pub(crate) timers: u64,
    wakes: BTreeMap<Sleeper, Instant>,
    spins: BTreeMap<Sleeper, (Instant, u32)>,
    /// The coordinator and server behind each number in the core.
    pub(crate) servers: Vec<(usize, usize)>,
}

/// A flow and what came of it.
#[derive(Debug)]
pub(crate) struct FlowState {
    pub(crate) flow: Flow,
    pub(crate) watch: Watch,
    pub(crate) address: Option<(IpAddr, IpAddr)>,
    pub(crate) sequence: u32,
    pub(crate) answered: BTreeSet<u32>,
}

/// Whose timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sleeper {
    Host(HostId),
    Server(ServerId),
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    order: u64,
    what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Arrive { departure: Departure, from: Party, bytes: Vec<u8> },
    Wake(Sleeper),
    Ask(usize),
    Begin(usize),
    Finish(usize),
    SwitchOn(HostId),
    Announce(HostId),
    Look,
}

impl World {
    /// Builds what the scenario describes; nothing has happened yet.
    #[must_use]
    pub fn new(scenario: Scenario, trace: Trace) -> Self {
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(scenario.seed.to_le_bytes()) {
            *to = from;
        }
        let mut rng = Rng::from_seed(seed);
        let calm_at = scenario.calm_at();
        let mut world = Self {
            now: Instant::ZERO,
            net: Net::default(),
            hosts: Vec::new(),
            devices: BTreeMap::new(),
            coordinators: Vec::new(),
            flows: Vec::new(),
            rng: rng.fork(b"world"),
            trace,
            footprints: BTreeMap::new(),
            recorded: VecDeque::new(),
            provoked: BTreeSet::new(),
            online_since: BTreeMap::new(),
            late_sends: BTreeMap::new(),
            quiet_from: None,
            joined: BTreeSet::new(),
            violation: None,
            calm_at,
            look_at: Instant::ZERO + LOOK,
            heap: BinaryHeap::new(),
            order: 0,
            datagrams: 0,
            timers: 0,
            wakes: BTreeMap::new(),
            spins: BTreeMap::new(),
            servers: Vec::new(),
            scenario,
        };
        world.build(&mut rng);
        world
    }

    fn build(&mut self, rng: &mut Rng) {
        let plan = self.scenario.services;
        for number in 0..plan.coordinators {
            let mut ids = Vec::new();
            for place in 0..plan.machines() {
                ids.push(self.net.add_server(&server_ips(ServerId(self.servers.len())), plan.link));
                self.servers.push((number, place));
            }
            let mut coordinator = Coordinator::new(&ids, rng);
            for network in (0..plan.networks).filter(|network| network % plan.coordinators == number) {
                coordinator.index.create(network);
            }
            self.coordinators.push(coordinator);
            for place in 0..ids.len() {
                self.start_server(number, place);
            }
        }
        for site in self.scenario.sites.clone() {
            self.net.add_site(site, rng);
        }
        for (number, plan) in self.scenario.hosts.clone().into_iter().enumerate() {
            let id = HostId(number);
            let before = self.scenario.hosts.iter().take(number);
            let seat = plan.beside.map_or(0, |other| 1 + before.filter(|p| p.beside == Some(other)).count());
            let host = Host::new(id, seat, &plan, rng.fork(b"host"));
            self.devices.insert(host.device, id);
            self.hosts.push(host);
            if let Some(other) = plan.beside {
                self.net.share(id, other);
            }
            self.plug(id, plan.site);
            self.push(plan.on_at, What::SwitchOn(id));
        }
        for (number, flow) in self.scenario.flows.clone().into_iter().enumerate() {
            let watch = Watch::new((flow.from, flow.to), flow.start, flow.end, self.scenario.patience);
            let state = FlowState { flow, watch, address: None, sequence: 0, answered: BTreeSet::new() };
            self.flows.push(state);
            self.push(flow.start, What::Ask(number));
        }
        for (number, (at, act)) in self.scenario.acts.clone().into_iter().enumerate() {
            self.push(at, What::Begin(number));
            if !act.lasts().is_zero() {
                self.push(at + act.lasts(), What::Finish(number));
            }
        }
        self.push(Instant::ZERO + LOOK, What::Look);
    }

    /// What time it is.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// A computer by number.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<&Host> {
        self.hosts.get(host.0)
    }

    /// The moment after which nothing is broken any more.
    #[must_use]
    pub const fn calm_at(&self) -> Instant {
        self.calm_at
    }

    /// Handles the next entry; `false` once the run is over or a promise broken.
    pub fn step(&mut self) -> bool {
        if self.violation.is_some() {
            return false;
        }
        let Some(entry) = self.heap.pop() else { return false };
        if entry.at > self.scenario.until {
            return false;
        }
        self.now = entry.at;
        match entry.what {
            What::Arrive { departure, from, bytes } => self.arrive(&departure, from, &bytes),
            What::Wake(sleeper) => {
                // A later wake-up that was brought forward leaves its entry behind.
                if self.wakes.get(&sleeper) != Some(&entry.at) {
                    return true;
                }
                self.wakes.remove(&sleeper);
                self.timers += 1;
                self.wake(sleeper);
            }
            What::Ask(flow) => {
                self.look_soon();
                self.ask(flow);
            }
            What::Begin(act) => {
                self.look_soon();
                self.with_act(act, Self::begin);
            }
            What::Finish(act) => self.with_act(act, Self::finish),
            What::SwitchOn(host) => self.switch_on(host),
            What::Announce(host) => self.announce(host),
            // A look that was brought forward leaves its entry behind.
            What::Look if self.look_at == entry.at => {
                self.look();
                self.look_at = self.now + if self.is_busy() { LOOK } else { REST };
                self.push(self.look_at, What::Look);
            }
            What::Look => {}
        }
        true
    }

    /// Records a broken promise; only the first one counts.
    pub(crate) fn broken(&mut self, rule: &'static str, detail: String, hosts: Vec<HostId>) {
        let at = self.now;
        self.violation.get_or_insert(Violation { at, rule, detail, hosts });
    }

    /// Does what a host wanted done.
    pub(crate) fn apply(&mut self, host: HostId, effects: Effects) {
        for (port, target, bytes) in effects.datagrams {
            self.send_from_host(host, port, target, bytes);
        }
        for fact in effects.facts {
            self.on_fact(host, &fact);
        }
        for (peer, path, packet) in effects.packets {
            self.on_packet(host, peer, path, &packet);
        }
        self.reschedule(Sleeper::Host(host));
    }

    /// Does what servers of a coordinator wanted done.
    pub(crate) fn apply_answers(&mut self, coordinator: usize, all: Vec<(usize, Answers)>) {
        for (place, answers) in all {
            let Some(id) = self.server_id(coordinator, place) else { continue };
            for detail in answers.broken {
                self.broken("amplification", detail, Vec::new());
            }
            for (source, target, bytes) in answers.datagrams {
                let departure = self.net.depart_core(Some(id), source, target);
                self.launch(departure, Party::Server(id.0), target, bytes);
            }
            self.reschedule(Sleeper::Server(id));
        }
    }

    /// Plugs a host in and notes where it can be reached.
    pub(crate) fn plug(&mut self, host: HostId, site: SiteId) {
        self.net.plug(host, site);
        self.note_footprint(host);
    }

    /// Notes where a host can be reached from now on.
    pub(crate) fn note_footprint(&mut self, host: HostId) {
        let addrs = self.net.footprint(host);
        self.footprints.entry(host).or_default().extend(addrs);
    }

    /// All devices on the computer of this one, itself among them.
    pub(crate) fn agents(&self, host: HostId) -> Vec<HostId> {
        let computer = self.net.computer_of(host);
        self.hosts.iter().map(|other| other.id).filter(|id| self.net.computer_of(*id) == computer).collect()
    }

    /// Lets a host find out later that its addresses changed, as an operating system tells with a delay.
    pub(crate) fn announce_later(&mut self, host: HostId) {
        self.push(self.now + Duration::from_millis(200), What::Announce(host));
    }

    /// Starts a server with empty memory.
    pub(crate) fn start_server(&mut self, coordinator: usize, place: usize) {
        let now = self.now;
        if let Some(entry) = self.coordinators.get_mut(coordinator) {
            entry.start(place, now);
        }
        if let Some(id) = self.server_id(coordinator, place) {
            self.reschedule(Sleeper::Server(id));
        }
    }

    /// Starts the program on a host.
    pub(crate) fn switch_on(&mut self, host: HostId) {
        let doors: Vec<Door> = self.doors(host);
        let addrs = self.net.addresses(host);
        let now = self.now;
        let Some(computer) = self.hosts.get_mut(host.0) else { return };
        let effects = computer.start(&doors, addrs, now);
        self.trace.note(now, Party::Device(host.0), || "starts".to_owned());
        self.apply(host, effects);
        let wanted = self.scenario.hosts.get(host.0).map_or(0, |plan| plan.networks);
        for network in (0..8).filter(|network| wanted & 1 << network != 0) {
            if !self.joined.contains(&(host, network)) {
                self.join(host, network);
            }
        }
    }

    /// The device a packet's peer runs on.
    pub(crate) fn host_of(&self, device: &DeviceId) -> Option<HostId> {
        self.devices.get(device).copied()
    }

    /// Lets a host act and does what it wants done.
    pub(crate) fn with_host(&mut self, host: HostId, act: impl FnOnce(&mut Host, Instant) -> Effects) {
        let now = self.now;
        if let Some(computer) = self.hosts.get_mut(host.0) {
            let effects = act(computer, now);
            self.apply(host, effects);
        }
    }

    fn doors(&self, host: HostId) -> Vec<Door> {
        let wanted = self.scenario.hosts.get(host.0).map_or(0, |plan| plan.networks);
        let count = self.coordinators.len();
        let needed: BTreeSet<usize> =
            (0..8).filter(|network| wanted & 1 << network != 0).map(|network| network % count).collect();
        needed.into_iter().filter_map(|number| self.coordinators.get(number)?.door()).collect()
    }

    fn announce(&mut self, host: HostId) {
        let addrs = self.net.addresses(host);
        self.with_host(host, |computer, now| computer.network_changed(addrs, now));
    }

    fn with_act(&mut self, number: usize, verb: fn(&mut Self, Act)) {
        if let Some((_, act)) = self.scenario.acts.get(number).copied() {
            verb(self, act);
        }
    }

    fn ask(&mut self, number: usize) {
        let Some(flow) = self.flows.get(number).map(|state| state.flow) else { return };
        if self.now > flow.end {
            return;
        }
        self.push(flow.next_after(self.now), What::Ask(number));
        if let (Some((start, end)), Some(state)) = (flow.spell_at(self.now), self.flows.get_mut(number)) {
            state.watch.talk(start, end);
        }
        self.send_ask(number, flow);
    }

    /// Somebody talks, or something was broken lately.
    fn is_busy(&self) -> bool {
        self.now.saturating_since(self.scenario.calm_since(self.now)) < LATELY
            || self.flows.iter().any(|state| state.flow.spell_at(self.now).is_some())
    }

    /// Something begins: the oracle looks around soon.
    fn look_soon(&mut self) {
        if self.look_at > self.now + LOOK {
            self.look_at = self.now + LOOK;
            self.push(self.look_at, What::Look);
        }
    }

    fn wake(&mut self, sleeper: Sleeper) {
        let now = self.now;
        let spins = self.spins.entry(sleeper).or_insert((now, 0));
        *spins = if spins.0 == now { (now, spins.1 + 1) } else { (now, 0) };
        if spins.1 > SPIN {
            let why = self.wakeup_of(sleeper).map_or("?", |(_, why)| why);
            self.broken("spinning", format!("{sleeper:?} wakes again and again for {why}"), Vec::new());
            return;
        }
        match sleeper {
            Sleeper::Host(host) => {
                if self
                    .hosts
                    .get(host.0)
                    .is_some_and(|computer| computer.asleep_until.is_some_and(|until| until <= now))
                {
                    self.wake_up(host);
                }
                self.with_host(host, Host::on_timeout);
            }
            Sleeper::Server(server) => {
                let Some((coordinator, place)) = self.servers.get(server.0).copied() else { return };
                if let Some(entry) = self.coordinators.get_mut(coordinator) {
                    let all = entry.on_timeout(place, now);
                    self.apply_answers(coordinator, all);
                }
            }
        }
    }

    fn wakeup_of(&self, sleeper: Sleeper) -> Option<(Instant, &'static str)> {
        match sleeper {
            Sleeper::Host(host) => self.hosts.get(host.0)?.next_wakeup(),
            Sleeper::Server(server) => {
                let (coordinator, place) = self.servers.get(server.0).copied()?;
                self.coordinators.get(coordinator)?.servers.get(place)?.next_wakeup()
            }
        }
    }

    fn reschedule(&mut self, sleeper: Sleeper) {
        let Some((at, _)) = self.wakeup_of(sleeper) else {
            self.wakes.remove(&sleeper);
            return;
        };
        let at = at.max(self.now);
        if self.wakes.get(&sleeper) != Some(&at) {
            self.wakes.insert(sleeper, at);
            self.push(at, What::Wake(sleeper));
        }
    }

    fn server_id(&self, coordinator: usize, place: usize) -> Option<ServerId> {
        self.servers.iter().position(|known| *known == (coordinator, place)).map(ServerId)
    }

    pub(crate) fn push(&mut self, at: Instant, what: What) {
        self.order += 1;
        self.heap.push(Entry { at, order: self.order, what });
    }

    fn on_packet(&mut self, host: HostId, peer: DeviceId, path: lanyard_proto::overlay::Path, packet: &[u8]) {
        let Some(from) = self.host_of(&peer) else { return };
        self.check_membership(host, from);
        if let Some(echo) = Echo::parse(packet) {
            self.on_echo(host, path, &echo);
        }
    }

    fn on_fact(&mut self, host: HostId, fact: &Fact) {
        self.trace.note(self.now, Party::Device(host.0), || format!("{fact:?}"));
        self.judge_fact(host, fact);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest entry is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
