//! What this network's NAT does, found out by asking STUN servers.
//!
//! One run, per address family and at most 1.2 s long:
//!
//! 1. The main socket asks up to two addresses on two ports each. Where they saw it come from gives the
//!    mapping behaviour, for the very mapping that WireGuard uses.
//! 2. A spare socket asks the first server to answer from another address, and from another port. It never
//!    contacts those itself, so an answer that arrives was let in by the NAT: filtering behaviour.
//! 3. If two destinations saw two addresses, eight fresh sockets ask two destinations each. The ports in
//!    the order of asking give the port policy.
//!
//! Questions are repeated at 100, 300 and 700 ms. The run ends when everything is answered or its time is up,
//! and leaves one [`NatCard`]. It says nothing about hairpinning and lifetimes. Terms: RFC 4787; method:
//! RFC 5780, section 4.

mod hold;
mod sample;
mod survey;
mod verdict;

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use lanyard_wire::nat::{Mapping, NatCard, PortPolicy};
use lanyard_wire::stun::TransactionId;

use self::hold::Hold;
use self::sample::Sample;
use self::survey::{Question, Survey};
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, Outbox, SocketId, Transmit};

/// Time after which a run says what it knows.
///
/// 700 ms for the last repetition and 500 ms for its answer.
const RUN_TIME: Duration = Duration::from_millis(1_200);

/// How long a card is believed, give or take 10 %: a NAT may be swapped behind our back.
const REFRESH: Duration = Duration::from_secs(300);

/// How soon to look again after nothing answered: UDP may be blocked only here and now.
const REFRESH_BLOCKED: Duration = Duration::from_secs(60);

/// Least time between two runs that a failed punch asks for.
const DOUBT_GAP: Duration = Duration::from_secs(30);

/// Fresh sockets asked about at the same time; an attempt more goes without.
const SAMPLES_MAX: usize = 16;

/// Spare sockets are numbered from 1 to here; the numbers above belong to others.
const SPARE_LAST: u16 = 63;

/// What a netcheck tells the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetcheckEvent {
    /// So much is known early in a run: all but the filtering.
    Card(NatCard),
    /// A run ended with this card.
    Checked(NatCard),
    /// A spare socket has served.
    CloseSocket(SocketId),
    /// A fresh socket is seen from this IPv4 address; or nobody answered.
    Sampled {
        /// The socket that was asked about.
        socket: SocketId,
        /// Where it is seen from.
        mapped: Option<SocketAddr>,
    },
}

/// The machine: at most one run at a time, repeated every five minutes.
#[derive(Debug)]
pub(super) struct Netcheck {
    rng: Rng,
    servers: Vec<SocketAddr>,
    /// Which address of the list is the first to be asked; moves on when that one keeps silent.
    turn: usize,
    local: Vec<SocketAddr>,
    run: Option<Run>,
    samples: Vec<Sample>,
    hold: Hold,
    next_run: Option<Instant>,
    started_at: Option<Instant>,
    next_spare: u16,
    card: NatCard,
    /// The card is of a network that this device may have left.
    is_card_old: bool,
    outbox: Outbox,
    events: VecDeque<NetcheckEvent>,
}

/// One run over both families.
#[derive(Debug)]
struct Run {
    deadline: Instant,
    surveys: Vec<Survey>,
    questions: Vec<Question>,
    spares: Vec<SocketId>,
    /// What is known without waiting for silence was told.
    is_told: bool,
}

impl Netcheck {
    /// A netcheck that knows no server yet.
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            servers: Vec::new(),
            turn: 0,
            local: Vec::new(),
            run: None,
            samples: Vec::new(),
            hold: Hold::default(),
            next_run: None,
            started_at: None,
            next_spare: 1,
            card: NatCard::default(),
            is_card_old: false,
            outbox: Outbox::new(),
            events: VecDeque::new(),
        }
    }

    /// Names the STUN servers, of both families; a change is followed by a run.
    pub(super) fn set_servers(&mut self, servers: &[SocketAddr]) {
        if self.servers != servers {
            self.servers = servers.to_vec();
            self.turn = 0;
            self.next_run = Some(Instant::ZERO);
        }
    }

    /// Names this device's own addresses, each with the main socket's port; a change is followed by a run.
    pub(super) fn set_local(&mut self, local: &[SocketAddr]) {
        if self.local != local {
            self.local = local.to_vec();
            // A run under way judges by them at its end.
            if self.run.is_none() && !self.servers.is_empty() {
                self.next_run = Some(Instant::ZERO);
            }
        }
    }

    /// What the newest run found.
    pub(super) const fn card(&self) -> &NatCard {
        &self.card
    }

    /// A punch failed: the card may be out of date, so unless it is fresh a run begins.
    pub(super) fn doubt(&mut self, now: Instant) {
        if self.run.is_none() && self.started_at.is_some_and(|at| now.saturating_since(at) >= DOUBT_GAP) {
            self.start(now);
        }
    }

    /// This device may be in another network: what the card says of a NAT holds no more until a run has looked at the new one.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.is_card_old = true;
        self.start(now);
    }

    /// Begins a run now, in place of one under way.
    ///
    /// Without any server the answer is what is known already, at once; a run follows when a server is named.
    pub(super) fn start(&mut self, now: Instant) {
        self.finish_run();
        if self.servers.is_empty() {
            self.events.push_back(NetcheckEvent::Checked(self.card));
            return;
        }
        (self.next_run, self.started_at) = (None, Some(now));
        let mut run = Run {
            deadline: now + RUN_TIME,
            surveys: Vec::new(),
            questions: Vec::new(),
            spares: Vec::new(),
            is_told: false,
        };
        for v6 in [false, true] {
            let grid = self.grid(v6);
            if grid.iter().flatten().all(Option::is_none) {
                continue;
            }
            let spare = self.spare(&mut run.spares);
            let survey = Survey::new(v6, grid);
            run.questions.extend(survey.questions(run.surveys.len(), spare, &mut self.rng, now));
            run.surveys.push(survey);
        }
        self.run = Some(run);
        self.ask(now);
    }

    /// Asks from where a fresh socket is seen over IPv4; [`NetcheckEvent::Sampled`] follows.
    pub(super) fn sample(&mut self, socket: SocketId, now: Instant) {
        let [[first, second], [third, _]] = self.grid(false);
        match first.or(second).or(third) {
            Some(server) if self.samples.len() < SAMPLES_MAX => {
                self.samples.push(Sample::new(socket, server, &mut self.rng, now));
                self.ask(now);
            }
            _ => self.events.push_back(NetcheckEvent::Sampled { socket, mapped: None }),
        }
    }

    /// Whether nothing else goes out over IPv4, so that the router would forget the mapping that the card names.
    pub(super) fn hold_mapping(&mut self, is_needed: bool, now: Instant) {
        self.hold.set(is_needed, &mut self.rng, now);
    }

    /// Takes an answer; `None` if it answers no question of this machine.
    pub(super) fn handle_datagram(
        &mut self,
        datagram: Datagram<'_>,
        now: Instant,
    ) -> Option<Result<(), Rejected>> {
        let txid = txid(datagram.bytes)?;
        if let Some(at) = self.samples.iter().position(|sample| sample.txid == txid) {
            return Some(self.sampled(at, datagram));
        }
        if let Some(seen) = self.hold.answer(&txid, datagram) {
            return Some(seen.map(|seen| self.learn_mapping(seen)));
        }
        let run = self.run.as_mut()?;
        let question = run.questions.iter_mut().find(|question| question.txid == txid)?;
        let result = question.answer(datagram, &mut run.surveys);
        for question in &mut run.questions {
            question.skip_if_settled(&run.surveys);
        }
        self.sample_ports(now);
        if self.run.as_ref().is_some_and(|run| run.questions.iter().all(|question| question.answered)) {
            self.conclude(now);
        } else {
            self.tell_mapping();
        }
        Some(result)
    }

    /// Repeats questions, ends a run, begins one that is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.run.as_ref().is_some_and(|run| run.deadline <= now) {
            self.conclude(now);
        }
        if self.run.is_none() && self.next_run.is_some_and(|at| at <= now) {
            self.start(now);
        }
        let events = &mut self.events;
        self.samples.retain(|sample| {
            if sample.is_over(now) {
                events.push_back(NetcheckEvent::Sampled { socket: sample.socket, mapped: None });
            }
            !sample.is_over(now)
        });
        if self.hold.is_due(now) {
            let server = self.grid(false).into_iter().flatten().flatten().next();
            let server = server.filter(|_| self.card.reflexive4.is_some());
            self.hold.begin(server, &mut self.rng, now);
        }
        self.ask(now);
    }

    /// The next question to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop()
    }

    /// The next fact for the device.
    pub(super) fn poll_event(&mut self) -> Option<NetcheckEvent> {
        self.events.pop_front()
    }

    /// When to call [`Netcheck::handle_timeout`] next.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let run = self.run.as_ref().map(|run| {
            let repeat = run.questions.iter().filter_map(Question::next_at).min();
            Wakeup { at: repeat.map_or(run.deadline, |at| at.min(run.deadline)), why: "netcheck" }
        });
        let sample = self.samples.iter().map(Sample::next_at).min();
        let sample = sample.map(|at| Wakeup { at, why: "sample a mapping" });
        let run = run.or_else(|| self.next_run.map(|at| Wakeup { at, why: "netcheck refresh" }));
        Wakeup::earliest(Wakeup::earliest(run, sample), self.hold.poll_timeout())
    }

    fn sampled(&mut self, at: usize, datagram: Datagram<'_>) -> Result<(), Rejected> {
        let sample = self.samples.get(at).ok_or(Rejected::Unexpected)?;
        let mapped = sample.answer(datagram)?;
        let socket = sample.socket;
        self.samples.remove(at);
        self.events.push_back(NetcheckEvent::Sampled { socket, mapped: Some(mapped) });
        Ok(())
    }

    /// The main socket is seen from there now: where the card said something else it is put right.
    ///
    /// A mapping that depends on the destination shows every server another port, and the same address.
    fn learn_mapping(&mut self, seen: SocketAddr) {
        let (SocketAddr::V4(seen), Some(old)) = (seen, self.card.reflexive4) else { return };
        let is_kept = matches!(self.card.mapping, Some(Mapping::None | Mapping::EndpointIndependent));
        if old.ip() != seen.ip() || (is_kept && old != seen) {
            self.card.reflexive4 = Some(seen);
            self.events.push_back(NetcheckEvent::Card(self.card));
        }
    }

    /// Sends every question that is due.
    fn ask(&mut self, now: Instant) {
        for sample in self.samples.iter_mut().chain(self.hold.question()) {
            if let Some(transmit) = sample.ask(now) {
                self.outbox.push(transmit);
            }
        }
        let Some(run) = &mut self.run else { return };
        for question in &mut run.questions {
            if let Some(transmit) = question.ask(now) {
                self.outbox.push(transmit);
            }
        }
    }

    /// Adds the questions about port policy as soon as a mapping is seen to vary.
    fn sample_ports(&mut self, now: Instant) {
        let Some(mut run) = self.run.take() else { return };
        for place in 0..run.surveys.len() {
            let Some(destinations) = run.surveys.get_mut(place).and_then(Survey::begin_sampling) else {
                continue;
            };
            for _ in 0..survey::SAMPLE_SOCKETS {
                let spare = self.spare(&mut run.spares);
                for destination in destinations {
                    run.questions.push(Question::sample(place, spare, destination, &mut self.rng, now));
                }
            }
        }
        self.run = Some(run);
        self.ask(now);
    }

    /// Once all that has an answer is answered, tells it: that a filter is strict shows by silence alone, for which
    /// nobody should have to wait.
    fn tell_mapping(&mut self) {
        let Some(run) = &mut self.run else { return };
        if run.is_told
            || run.questions.iter().any(|question| question.is_sure_of_an_answer() && !question.answered)
        {
            return;
        }
        run.is_told = true;
        let Some(run) = &self.run else { return };
        let (mut card, _) = self.card_of(run);
        let is_same_nat = self.card.mapping == card.mapping
            && self.card.reflexive4.map(|addr| *addr.ip()) == card.reflexive4.map(|addr| *addr.ip());
        card.filtering = self.card.filtering.filter(|_| is_same_nat);
        if card.udp && (card != self.card || self.is_card_old) {
            (self.card, self.is_card_old) = (card, false);
            self.events.push_back(NetcheckEvent::Card(card));
        }
    }

    /// Ends the run with a card.
    fn conclude(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let (card, first_silent) = self.card_of(run);
        let wait = if first_silent || !card.udp { REFRESH_BLOCKED } else { REFRESH };
        if first_silent {
            self.turn = self.turn.wrapping_add(1);
        }
        self.next_run = Some(now + self.rng.jitter(wait, 10));
        (self.card, self.is_card_old) = (card, false);
        self.finish_run();
        self.events.push_back(NetcheckEvent::Checked(card));
    }

    /// What a run found so far, and whether a server that was asked first kept silent.
    fn card_of(&self, run: &Run) -> (NatCard, bool) {
        let mut card = NatCard::default();
        let mut first_silent = false;
        for (place, survey) in run.surveys.iter().enumerate() {
            let Some(reflexive) = survey.reflexive() else { continue };
            first_silent |= survey.first_is_silent();
            match reflexive {
                SocketAddr::V4(addr) => card.reflexive4 = Some(addr),
                SocketAddr::V6(addr) => card.reflexive6 = Some(addr),
            }
            // IPv4 comes first and is the family that has NATs; IPv6 speaks only where it is alone.
            if card.udp {
                continue;
            }
            card.udp = true;
            card.mapping = verdict::mapping(&survey.seen, &self.local);
            card.filtering = verdict::filtering(survey.heard());
            card.ports = self.port_policy(card.mapping, survey, place, &run.questions);
        }
        (card, first_silent)
    }

    /// The first run in this network has not come to anything yet: who needs a card had better wait for a moment.
    pub(super) fn is_new_here(&self) -> bool {
        self.run.is_some() && (self.is_card_old || self.card == NatCard::default())
    }

    fn port_policy(
        &self,
        mapping: Option<Mapping>,
        survey: &Survey,
        place: usize,
        questions: &[Question],
    ) -> Option<PortPolicy> {
        let local_port = self.local.iter().find(|addr| addr.is_ipv6() == survey.v6).map(SocketAddr::port);
        let main_ports: Vec<u16> = survey.seen.iter().flatten().flatten().map(SocketAddr::port).collect();
        match mapping? {
            Mapping::None => Some(PortPolicy::Preserved),
            // One sample: that it is the own port is no chance, which other policy gave another one is not
            // to be seen.
            Mapping::EndpointIndependent => verdict::ports(&[], local_port, &main_ports),
            Mapping::AddressDependent | Mapping::AddressAndPortDependent => {
                let samples: Vec<Option<u16>> = questions
                    .iter()
                    .filter(|question| question.is_sample_of(place))
                    .map(|question| question.mapped.map(|mapped| mapped.port()))
                    .collect();
                verdict::ports(&samples, local_port, &main_ports)
            }
        }
    }

    /// Drops the run and gives its sockets back.
    fn finish_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.events.extend(run.spares.into_iter().map(NetcheckEvent::CloseSocket));
        }
    }

    /// The next number for a spare socket. They go round, so that no late answer to a closed one is heard by
    /// the next.
    fn spare(&mut self, used: &mut Vec<SocketId>) -> SocketId {
        let spare = SocketId(self.next_spare);
        self.next_spare = if self.next_spare >= SPARE_LAST { 1 } else { self.next_spare + 1 };
        used.push(spare);
        spare
    }

    /// Picks up to two addresses with two ports each out of the servers of one family.
    fn grid(&self, v6: bool) -> [[Option<SocketAddr>; 2]; 2] {
        let mut ips: Vec<IpAddr> = Vec::new();
        for server in self.servers.iter().filter(|server| server.is_ipv6() == v6) {
            if !ips.contains(&server.ip()) {
                ips.push(server.ip());
            }
        }
        if !ips.is_empty() {
            let turn = self.turn % ips.len();
            ips.rotate_left(turn);
        }
        let mut grid = [[None; 2]; 2];
        for (row, ip) in grid.iter_mut().zip(ips) {
            let mut ports = self.servers.iter().filter(|server| server.ip() == ip);
            for place in row.iter_mut() {
                *place = ports.next().copied();
            }
        }
        grid
    }
}

/// The transaction that a STUN message belongs to (RFC 8489, section 5).
fn txid(bytes: &[u8]) -> Option<TransactionId> {
    bytes.get(8..20)?.try_into().ok()
}
