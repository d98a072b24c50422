//! One look at the NAT: its questions, and the card that comes of them.

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::nat::{Mapping, NatCard, PortPolicy};
use lanyard_wire::stun::TransactionId;

use super::hairpin::Hairpin;
use super::sample::Sample;
use super::survey::{Question, Survey};
use super::verdict;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::Instant;
use crate::transmit::{Datagram, Outbox, SocketId};

/// One run over both families.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) deadline: Instant,
    pub(super) surveys: Vec<Survey>,
    pub(super) questions: Vec<Question>,
    pub(super) spares: Vec<SocketId>,
    /// What is known without waiting for silence was told.
    pub(super) is_told: bool,
    /// Whether the router turns datagrams around: asked only where that is not known.
    pub(super) hairpin: Option<Hairpin>,
    /// Whether a datagram of full size gets out: likewise.
    pub(super) full_size: Option<Sample>,
    /// It does.
    pub(super) is_full_size: bool,
}

impl Run {
    /// Nothing asked yet.
    pub(super) const fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            surveys: Vec::new(),
            questions: Vec::new(),
            spares: Vec::new(),
            is_told: false,
            hairpin: None,
            full_size: None,
            is_full_size: false,
        }
    }

    /// Nothing more is to come.
    pub(super) fn is_answered(&self) -> bool {
        self.questions.iter().all(|question| question.answered)
            && self.full_size.is_none()
            && self.hairpin.as_ref().is_none_or(Hairpin::is_done)
    }

    /// All that is sure of an answer has it.
    pub(super) fn is_nearly_answered(&self) -> bool {
        !self.questions.iter().any(|question| question.is_sure_of_an_answer() && !question.answered)
    }

    /// When a question is to be repeated, or the run ends.
    pub(super) fn next_at(&self) -> Instant {
        let repeats = self.questions.iter().filter_map(Question::next_at);
        let others = self.hairpin.as_ref().and_then(Hairpin::next_at).into_iter();
        let others = others.chain(self.full_size.as_ref().and_then(Sample::asks_at));
        repeats.chain(others).fold(self.deadline, Instant::min)
    }

    /// Where the main socket is seen from by IPv4, once its NAT is known to be one.
    pub(super) fn behind_nat(&self, local: &[SocketAddr]) -> Option<SocketAddr> {
        let place = self.surveys.iter().position(|survey| !survey.v6)?;
        let survey = self.surveys.get(place)?;
        let mapping = verdict::mapping(&survey.seen, local)?;
        let mut ours = self.questions.iter().filter(|question| question.is_of(place));
        let is_open = ours.any(|question| question.is_sure_of_an_answer() && !question.answered);
        (mapping != Mapping::None && !is_open).then(|| survey.reflexive())?
    }

    /// Whether a datagram of full size gets out, where that was asked: silence says no where a small one was answered.
    pub(super) fn full_size_verdict(&self) -> Option<bool> {
        let small = self
            .surveys
            .first()
            .is_some_and(|survey| survey.reflexive().is_some() && !survey.first_is_silent());
        if self.is_full_size { Some(true) } else { (self.full_size.is_some() && small).then_some(false) }
    }

    /// Sends every question that is due.
    pub(super) fn ask(&mut self, outbox: &mut Outbox, now: Instant) {
        let questions = self.questions.iter_mut().filter_map(|question| question.ask(now));
        let full_size = self.full_size.iter_mut().filter_map(|question| question.ask(now));
        questions.chain(full_size).for_each(|transmit| outbox.push(transmit));
        if let Some(hairpin) = &mut self.hairpin {
            hairpin.handle_timeout(outbox, now);
        }
    }

    /// Takes an answer to what is asked once in a network; `None` if it is none.
    pub(super) fn answer_once(
        &mut self,
        txid: &TransactionId,
        datagram: Datagram<'_>,
        rng: &mut Rng,
        now: Instant,
    ) -> Option<Result<(), Rejected>> {
        if let Some(full_size) = self.full_size.take_if(|question| question.txid == *txid) {
            let answer = full_size.answer(datagram);
            self.is_full_size = answer.is_ok();
            if answer.is_err() {
                self.full_size = Some(full_size);
            }
            return Some(answer.map(drop));
        }
        self.hairpin.as_mut()?.handle_datagram(txid, datagram, rng, now)
    }

    /// What was found so far, and whether a server that was asked first kept silent.
    pub(super) fn card(&self, local: &[SocketAddr]) -> (NatCard, bool) {
        let mut card = NatCard::default();
        let mut first_silent = false;
        for (place, survey) in self.surveys.iter().enumerate() {
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
            card.mapping = verdict::mapping(&survey.seen, local);
            card.filtering = verdict::filtering(survey.heard());
            card.ports = self.port_policy(card.mapping, survey, place, local);
        }
        (card, first_silent)
    }

    fn port_policy(
        &self,
        mapping: Option<Mapping>,
        survey: &Survey,
        place: usize,
        local: &[SocketAddr],
    ) -> Option<PortPolicy> {
        let local_port = local.iter().find(|addr| addr.is_ipv6() == survey.v6).map(SocketAddr::port);
        let main_ports: Vec<u16> = survey.seen.iter().flatten().flatten().map(SocketAddr::port).collect();
        match mapping? {
            Mapping::None => Some(PortPolicy::Preserved),
            // One sample: that it is the own port is no chance, which other policy gave another one is not
            // to be seen.
            Mapping::EndpointIndependent => verdict::ports(&[], local_port, &main_ports),
            Mapping::AddressDependent | Mapping::AddressAndPortDependent => {
                let samples: Vec<Option<u16>> = self
                    .questions
                    .iter()
                    .filter(|question| question.is_sample_of(place))
                    .map(|question| question.mapped.map(|mapped| mapped.port()))
                    .collect();
                verdict::ports(&samples, local_port, &main_ports)
            }
        }
    }
}
