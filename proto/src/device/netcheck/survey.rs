//! The questions of one run in one address family, and what came back.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::stun::{self, Change};

use super::verdict::{self, Grid, Heard};
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::Instant;
use crate::transmit::{Datagram, SocketId, Transmit};

/// Fresh sockets from which ports are sampled, at two destinations each.
///
/// 16 mappings tell a step, a block and chance apart (reference/nat.md, section 7) and are few next to the
/// thousands of flows that a home router holds.
pub(super) const SAMPLE_SOCKETS: usize = 8;

/// When a question is repeated, counted from the first time.
const REPEATS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(700)];

/// One address family of a run.
#[derive(Debug)]
pub(super) struct Survey {
    /// IPv6?
    pub(super) v6: bool,
    /// The servers asked: `[ip][port]`.
    servers: Grid,
    /// Where they saw the main socket come from.
    pub(super) seen: Grid,
    /// What the first server says its other address is.
    other: Option<SocketAddr>,
    /// Asked to answer from another port, the first server answered from the same, or that it cannot.
    refused: bool,
    /// An answer from another address came in.
    address_did: bool,
    /// An answer from another port came in.
    port_did: bool,
    sampling: bool,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    /// The main socket's mapping towards one place of the grid.
    Mapping { ip: usize, port: usize },
    /// May another address answer?
    OtherAddress,
    /// May another port of the same address answer?
    OtherPort,
    /// Which external port does a fresh mapping get?
    Sample,
}

/// One question, repeated until answered.
#[derive(Debug)]
pub(super) struct Question {
    /// Tells its answer.
    pub(super) txid: stun::TransactionId,
    /// Nothing more is wanted: answered, or answered elsewhere.
    pub(super) answered: bool,
    /// The address it was seen to come from.
    pub(super) mapped: Option<SocketAddr>,
    survey: usize,
    topic: Topic,
    local: SocketId,
    remote: SocketAddr,
    first_at: Instant,
    sent: usize,
}

impl Survey {
    /// Nothing asked yet.
    pub(super) fn new(v6: bool, servers: Grid) -> Self {
        Self {
            v6,
            servers,
            seen: Grid::default(),
            other: None,
            refused: false,
            address_did: false,
            port_did: false,
            sampling: false,
        }
    }

    /// The questions to begin with; `place` of this survey among those of the run.
    pub(super) fn questions(
        &self,
        place: usize,
        spare: SocketId,
        rng: &mut Rng,
        now: Instant,
    ) -> Vec<Question> {
        let mut questions = Vec::with_capacity(6);
        for (ip, row) in self.servers.iter().enumerate() {
            for (port, server) in row.iter().enumerate() {
                let Some(server) = *server else { continue };
                let topic = Topic::Mapping { ip, port };
                questions.push(Question::new(place, topic, SocketId::MAIN, server, rng, now));
            }
        }
        if let Some(first) = self.first() {
            // Both from one socket, which contacts only this place: an answer from elsewhere opens nothing.
            questions.push(Question::new(place, Topic::OtherAddress, spare, first, rng, now));
            questions.push(Question::new(place, Topic::OtherPort, spare, first, rng, now));
        }
        questions
    }

    /// Where the main socket appears, by the first server if it answered.
    pub(super) fn reflexive(&self) -> Option<SocketAddr> {
        self.seen.iter().flatten().flatten().next().copied()
    }

    /// Answers from elsewhere, as far as they mean something.
    ///
    /// A server of a single address may name no other one (RFC 5780, section 7.4) and still have two ports.
    pub(super) fn heard(&self) -> Heard {
        let [[first, second], _] = self.seen;
        let names_port =
            self.other.zip(self.first()).is_some_and(|(other, first)| other.port() != first.port());
        let has_port = names_port || second.is_some();
        Heard {
            port_can: first.is_some() && has_port && !self.refused,
            address_did: self.address_did,
            port_did: self.port_did,
        }
    }

    /// The first server kept silent while another answered.
    pub(super) fn first_is_silent(&self) -> bool {
        let [[first, _], _] = self.seen;
        first.is_none() && self.reflexive().is_some()
    }

    /// Once, when the mapping turns out to vary: two destinations for the sampling of ports.
    pub(super) fn begin_sampling(&mut self) -> Option<[SocketAddr; 2]> {
        if self.sampling || !verdict::varies(&self.seen) {
            return None;
        }
        self.sampling = true;
        let [[first, first_port], [second, second_port]] = self.servers;
        let one = first.or(first_port)?;
        Some([one, second.or(second_port).or(first_port)?])
    }

    /// The server asked first.
    pub(super) fn first(&self) -> Option<SocketAddr> {
        let [[first, _], _] = self.servers;
        first
    }

    /// What a valid answer means.
    fn learn(&mut self, topic: Topic, remote: SocketAddr, response: &stun::Response) -> Result<(), Rejected> {
        let first = self.first().ok_or(Rejected::Unexpected)?;
        match topic {
            Topic::Mapping { ip, port } => {
                if let Some(place) = self.seen.get_mut(ip).and_then(|row| row.get_mut(port)) {
                    *place = Some(response.mapped);
                }
                if (ip, port) == (0, 0) {
                    self.other = response.other;
                }
            }
            // The source itself is the proof: whoever answers from the asked place proves nothing.
            Topic::OtherAddress if remote.ip() != first.ip() => self.address_did = true,
            Topic::OtherPort if remote.ip() == first.ip() && remote.port() != first.port() => {
                self.port_did = true;
            }
            Topic::OtherPort => {
                self.refused = true;
                return Err(Rejected::Unexpected);
            }
            Topic::OtherAddress => return Err(Rejected::Unexpected),
            Topic::Sample => {}
        }
        Ok(())
    }
}

impl Question {
    fn new(
        survey: usize,
        topic: Topic,
        local: SocketId,
        remote: SocketAddr,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        Self {
            txid: rng.bytes(),
            answered: false,
            mapped: None,
            survey,
            topic,
            local,
            remote,
            first_at: now,
            sent: 0,
        }
    }

    /// A question for the port of a fresh mapping, from a socket that nothing else uses.
    pub(super) fn sample(
        survey: usize,
        spare: SocketId,
        remote: SocketAddr,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        Self::new(survey, Topic::Sample, spare, remote, rng, now)
    }

    /// Whether silence would be a lost datagram and not an answer.
    pub(super) const fn is_sure_of_an_answer(&self) -> bool {
        matches!(self.topic, Topic::Mapping { .. } | Topic::Sample)
    }

    /// Does it belong to that survey?
    pub(super) fn is_of(&self, survey: usize) -> bool {
        self.survey == survey
    }

    /// Is it a sample of that survey?
    pub(super) fn is_sample_of(&self, survey: usize) -> bool {
        self.is_of(survey) && self.topic == Topic::Sample
    }

    /// Drops the question about another port once another address was heard: that says more.
    pub(super) fn skip_if_settled(&mut self, surveys: &[Survey]) {
        let heard = surveys.get(self.survey).is_some_and(|survey| survey.address_did);
        self.answered |= heard && self.topic == Topic::OtherPort;
    }

    /// When it is asked next.
    pub(super) fn next_at(&self) -> Option<Instant> {
        if self.answered {
            return None;
        }
        match self.sent.checked_sub(1) {
            None => Some(self.first_at),
            Some(repeats) => REPEATS.get(repeats).map(|after| self.first_at + *after),
        }
    }

    /// The datagram to send now, if it is time.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Transmit> {
        if self.next_at()? > now {
            return None;
        }
        self.sent += 1;
        let change = Change {
            ip: self.topic == Topic::OtherAddress,
            port: matches!(self.topic, Topic::OtherAddress | Topic::OtherPort),
        };
        let bytes = stun::Request::new(self.txid, change).encode();
        Some(Transmit { local: self.local, remote: self.remote, bytes })
    }

    /// Takes the answer to this question.
    pub(super) fn answer(&mut self, datagram: Datagram<'_>, surveys: &mut [Survey]) -> Result<(), Rejected> {
        if self.answered {
            return Err(Rejected::Unexpected);
        }
        let changes = matches!(self.topic, Topic::OtherAddress | Topic::OtherPort);
        if datagram.local != self.local || (!changes && datagram.remote != self.remote) {
            return Err(Rejected::NotAllowed);
        }
        let survey = surveys.get_mut(self.survey).ok_or(Rejected::Unexpected)?;
        let response = match stun::Answer::parse(datagram.bytes).map_err(|_| Rejected::Malformed)? {
            stun::Answer::Success(response) => response,
            stun::Answer::Error(_) => {
                survey.refused |= self.topic == Topic::OtherPort;
                return Err(Rejected::Unsupported);
            }
        };
        survey.learn(self.topic, datagram.remote, &response)?;
        self.answered = true;
        self.mapped = Some(response.mapped);
        Ok(())
    }
}
