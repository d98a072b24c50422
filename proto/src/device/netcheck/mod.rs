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
//! and leaves one [`NatCard`]. What needs to be asked only once in a network (`attachment`) is asked in its first run,
//! whether the router turns datagrams around (`hairpin`) and whether long ones get out, and after it, for how
//! long mappings live (`lifetime`). Terms: RFC 4787; method: RFC 5780, section 4.

mod attachment;
mod hairpin;
mod hold;
mod lifetime;
mod run;
mod sample;
mod servers;
mod survey;
mod verdict;

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::nat::{Mapping, NatCard};
use lanyard_wire::stun::TransactionId;

use self::attachment::Attachments;
use self::hairpin::Hairpin;
use self::hold::Hold;
use self::lifetime::{Lifetime, Measured};
use self::run::Run;
use self::sample::Sample;
use self::servers::Servers;
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

/// Mean time between keep-alives where nothing was measured: half the 30 s that the most forgetful routers hold a mapping
/// that was used one way (Hatonen and others 2010, 34 routers; Linux' own default), and with its jitter less than the
/// 20 s of some carriers.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The shortest: a router that forgets sooner is beyond help at any price worth paying in battery and data.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(8);

/// The longest: with its jitter less than the 25 s at which services expect to hear a device.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(22);

/// Least time between two runs that a failed punch asks for.
const DOUBT_GAP: Duration = Duration::from_secs(30);

/// Fresh sockets asked about at the same time; an attempt more goes without.
const SAMPLES_MAX: usize = 16;

/// Spare sockets of runs are numbered from 1 to here; the numbers above belong to others.
const SPARE_LAST: u16 = 62;

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
    /// Bytes of the largest datagram of a tunnel.
    full_size: usize,
    servers: Servers,
    local: Vec<SocketAddr>,
    run: Option<Run>,
    samples: Vec<Sample>,
    hold: Hold,
    lifetime: Lifetime,
    attachments: Attachments,
    next_run: Option<Instant>,
    started_at: Option<Instant>,
    next_spare: u16,
    card: NatCard,
    /// The card is of a network that this device may have left.
    is_card_old: bool,
    outbox: Outbox,
    events: VecDeque<NetcheckEvent>,
}

impl Netcheck {
    /// A netcheck that knows no server yet; the largest datagrams of a tunnel have `full_size` bytes.
    pub(super) fn new(full_size: usize, rng: Rng) -> Self {
        Self {
            rng,
            full_size,
            servers: Servers::default(),
            local: Vec::new(),
            run: None,
            samples: Vec::new(),
            hold: Hold::default(),
            lifetime: Lifetime::default(),
            attachments: Attachments::default(),
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
        if self.servers.set(servers) {
            self.next_run = Some(Instant::ZERO);
        }
    }

    /// Names this device's own addresses, each with the main socket's port; a change is followed by a run.
    pub(super) fn set_local(&mut self, local: &[SocketAddr]) {
        if self.local != local {
            let before = self.servers.families(&self.local);
            self.local = local.to_vec();
            // A run under way judges by them at its end, but asks in the families it began with.
            let is_judged = self.run.is_some() && self.servers.families(local) == before;
            if !is_judged && !self.servers.is_empty() {
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
        if self.lifetime.end() {
            self.events.push_back(NetcheckEvent::CloseSocket(lifetime::SOCKET));
        }
        self.start(now);
    }

    /// Whether datagrams as large as a tunnel's largest get out of this network, once known.
    pub(super) fn is_full_size(&self) -> Option<bool> {
        self.attachments.facts(&self.local, &self.card).full_size
    }

    /// For how long a mapping survives is being measured.
    pub(super) const fn is_measuring_lifetime(&self) -> bool {
        self.lifetime.is_on()
    }

    /// Mean time between two datagrams that keep a mapping open here: half of what it was seen to live.
    pub(super) fn keep_alive(&self) -> Duration {
        match self.card.lifetime_s.filter(|_| !self.is_card_old) {
            Some(seconds) => (Duration::from_secs(seconds.into()) / 2).clamp(KEEP_ALIVE_MIN, KEEP_ALIVE_MAX),
            None => KEEP_ALIVE,
        }
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
        let mut run = Run::new(now + RUN_TIME);
        for v6 in self.servers.families(&self.local) {
            let grid = self.servers.grid(v6);
            let spare = self.spare(&mut run.spares);
            let survey = Survey::new(v6, grid);
            run.questions.extend(survey.questions(run.surveys.len(), spare, &mut self.rng, now));
            run.surveys.push(survey);
        }
        if self.is_card_old || self.is_full_size() != Some(true) {
            let first = run.surveys.first().and_then(Survey::first);
            let full_size =
                |server| Sample::padded(SocketId::MAIN, server, self.full_size, &mut self.rng, now);
            run.full_size = first.map(full_size);
        }
        self.run = Some(run);
        self.ask(now);
    }

    /// Asks from where a fresh socket is seen over IPv4; [`NetcheckEvent::Sampled`] follows.
    pub(super) fn sample(&mut self, socket: SocketId, now: Instant) {
        let [[first, second], [third, _]] = self.servers.grid(false);
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
        self.hold.set(is_needed, self.keep_alive(), &mut self.rng, now);
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
        if let Some(step) = self.lifetime.handle_datagram(&txid, datagram, now) {
            return Some(step.map(|measured| self.learn_lifetime(measured)));
        }
        let run = self.run.as_mut()?;
        if let Some(result) = run.answer_once(&txid, datagram, &mut self.rng, now) {
            self.ask(now);
            self.conclude_if_answered(now);
            return Some(result);
        }
        let question = run.questions.iter_mut().find(|question| question.txid == txid)?;
        let result = question.answer(datagram, &mut run.surveys);
        for question in &mut run.questions {
            question.skip_if_settled(&run.surveys);
        }
        self.sample_ports(now);
        self.begin_hairpin(now);
        self.ask(now);
        self.conclude_if_answered(now);
        self.tell_mapping();
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
            let server = self.servers.grid(false).into_iter().flatten().flatten().next();
            let server = server.filter(|_| self.card.reflexive4.is_some());
            self.hold.begin(server, self.keep_alive(), &mut self.rng, now);
        }
        self.ask(now);
        self.conclude_if_answered(now);
        let measured = self.lifetime.handle_timeout(&mut self.outbox, &mut self.rng, now);
        self.learn_lifetime(measured);
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
        let run = self.run.as_ref().map(|run| Wakeup { at: run.next_at(), why: "netcheck" });
        let sample = self.samples.iter().map(Sample::next_at).min();
        let sample = sample.map(|at| Wakeup { at, why: "sample a mapping" });
        let run = run.or_else(|| self.next_run.map(|at| Wakeup { at, why: "netcheck refresh" }));
        let rest = Wakeup::earliest(self.hold.poll_timeout(), self.lifetime.poll_timeout());
        Wakeup::earliest(Wakeup::earliest(run, sample), rest)
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

    /// A measurement of how long mappings live ended, if it did.
    fn learn_lifetime(&mut self, measured: Option<Measured>) {
        let Some(measured) = measured else { return };
        self.events.push_back(NetcheckEvent::CloseSocket(lifetime::SOCKET));
        let seconds = match measured {
            Measured::Seconds(seconds) => Some(seconds),
            Measured::Nothing => None,
        };
        self.attachments.note(&self.local, &self.card, |facts| facts.lifetime_s = Some(seconds));
        if self.card.lifetime_s != seconds {
            self.card.lifetime_s = seconds;
            self.events.push_back(NetcheckEvent::Card(self.card));
        }
    }

    /// Asks whether the router turns datagrams around, once what that takes is known and unless it is known itself.
    fn begin_hairpin(&mut self, now: Instant) {
        let Some(mut run) = self.run.take() else { return };
        let [[server, _], _] = self.servers.grid(false);
        let (card, _) = run.card(&self.local);
        let is_known = !self.is_card_old && self.card.hairpin.is_some() && is_same_nat(&self.card, &card);
        if let (None, false, Some(seen), Some(server)) =
            (&run.hairpin, is_known, run.behind_nat(&self.local), server)
        {
            let spare = self.spare(&mut run.spares);
            run.hairpin = Some(Hairpin::new(spare, seen, server, &mut self.rng, now));
        }
        self.run = Some(run);
    }

    /// Sends every question that is due.
    fn ask(&mut self, now: Instant) {
        for sample in self.samples.iter_mut().chain(self.hold.question()) {
            if let Some(transmit) = sample.ask(now) {
                self.outbox.push(transmit);
            }
        }
        if let Some(run) = &mut self.run {
            run.ask(&mut self.outbox, now);
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
    }

    /// Once all that has an answer is answered, tells it: that a filter is strict shows by silence alone, for which
    /// nobody should have to wait.
    fn tell_mapping(&mut self) {
        let Some(run) = &mut self.run else { return };
        if run.is_told || !run.is_nearly_answered() {
            return;
        }
        run.is_told = true;
        let (mut card, _) = run.card(&self.local);
        let known = if is_same_nat(&self.card, &card) { self.card } else { NatCard::default() };
        let NatCard { filtering, hairpin, lifetime_s, .. } = known;
        card = NatCard { filtering, hairpin, lifetime_s, ..card };
        if card.udp && (card != self.card || self.is_card_old) {
            (self.card, self.is_card_old) = (card, false);
            self.events.push_back(NetcheckEvent::Card(card));
        }
    }

    fn conclude_if_answered(&mut self, now: Instant) {
        if self.run.as_ref().is_some_and(Run::is_answered) {
            self.conclude(now);
        }
    }

    /// Ends the run with a card.
    fn conclude(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let (mut card, first_silent) = run.card(&self.local);
        let wait = if first_silent || !card.udp { REFRESH_BLOCKED } else { REFRESH };
        if first_silent {
            self.servers.turn();
        }
        if card.udp {
            let seen = (run.hairpin.as_ref().and_then(Hairpin::verdict), run.full_size_verdict());
            self.attachments.note(&self.local, &card, |facts| {
                facts.hairpin = seen.0.or(facts.hairpin);
                facts.full_size = seen.1.or(facts.full_size);
            });
            let facts = self.attachments.facts(&self.local, &card);
            card.hairpin = facts.hairpin;
            card.lifetime_s = facts.lifetime_s.flatten();
            if facts.lifetime_s.is_none() {
                let grid = self.servers.grid(card.reflexive4.is_none());
                self.lifetime.begin(&card, &grid, &mut self.rng, now);
            }
        }
        // One that is due by what came meanwhile stays so.
        let next_run = now + self.rng.jitter(wait, 10);
        self.next_run = self.next_run.or(Some(next_run));
        (self.card, self.is_card_old) = (card, false);
        self.finish_run();
        self.events.push_back(NetcheckEvent::Checked(card));
    }

    /// The first run in this network has not come to anything yet: who needs a card had better wait for a moment.
    pub(super) fn is_new_here(&self) -> bool {
        self.run.is_some() && (self.is_card_old || self.card == NatCard::default())
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
}

/// As far as mapping and address tell, both cards are of one NAT.
fn is_same_nat(one: &NatCard, other: &NatCard) -> bool {
    let ip = |card: &NatCard| card.reflexive4.map(|addr| *addr.ip());
    one.mapping == other.mapping && ip(one) == ip(other)
}

/// The transaction that a STUN message belongs to (RFC 8489, section 5).
fn txid(bytes: &[u8]) -> Option<TransactionId> {
    bytes.get(8..20)?.try_into().ok()
}
