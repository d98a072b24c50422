//! What a coordinator is told about this device, and what it said in return.
//!
//! CHECKPOINT knows a device by its session and by what the device registers: its NAT card and candidates.
//! Registering is repeated when either changes, when a session begins (the service may have been started
//! anew) and every half hour.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::candidate::Candidate;
use lanyard_wire::checkpoint::{Register, Registered, Services, ToCheckpoint};
use lanyard_wire::ids::{DeviceNumber, RequestId};
use lanyard_wire::limits::CANDIDATES_MAX;
use lanyard_wire::nat::NatCard;

use crate::rng::Rng;
use crate::time::Instant;

/// How often to register although nothing changed: a new ticket well before the old one's three hours are
/// over, and a second look at what the coordinator believes.
const REFRESH: Duration = Duration::from_secs(1_800);

/// The registration of this device with one coordinator.
#[derive(Debug)]
pub(super) struct Presence {
    card: NatCard,
    candidates: Vec<Candidate>,
    relays: bool,
    number: Option<DeviceNumber>,
    observed: Option<SocketAddr>,
    services: Option<Services>,
    refresh_at: Option<Instant>,
}

impl Presence {
    /// Nothing registered yet; the rest is from the last run.
    pub(super) const fn new(number: Option<DeviceNumber>, services: Option<Services>) -> Self {
        let card = NatCard {
            mapping: None,
            filtering: None,
            ports: None,
            hairpin: None,
            udp: false,
            lifetime_s: None,
            reflexive4: None,
            reflexive6: None,
        };
        Self {
            card,
            candidates: Vec::new(),
            relays: false,
            number,
            observed: None,
            services,
            refresh_at: None,
        }
    }

    /// Takes what is to be registered; says whether that is news.
    pub(super) fn set(&mut self, card: NatCard, mut candidates: Vec<Candidate>, relays: bool) -> bool {
        candidates.truncate(CANDIDATES_MAX);
        let news = self.card != card || self.candidates != candidates || self.relays != relays;
        (self.card, self.candidates, self.relays) = (card, candidates, relays);
        news
    }

    /// The message that registers.
    pub(super) fn message(&self, request: RequestId) -> ToCheckpoint {
        let candidates = self.candidates.clone();
        ToCheckpoint::Register(Register { request, card: self.card, candidates, relays: self.relays })
    }

    /// Takes the answer; says whether other services were named than before.
    pub(super) fn registered(&mut self, answer: &Registered, rng: &mut Rng, now: Instant) -> bool {
        self.number = answer.number.or(self.number);
        self.observed = Some(answer.observed);
        self.refresh_at = Some(now + rng.jitter(REFRESH, 10));
        let news = self.services.as_ref() != Some(&answer.services);
        self.services = Some(answer.services.clone());
        news
    }

    /// A session began, and its answer says where we are seen.
    pub(super) const fn set_observed(&mut self, observed: SocketAddr) {
        self.observed = Some(observed);
    }

    /// Is it time to register again? Asks once.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.refresh_at.is_some_and(|at| at <= now);
        if due {
            self.refresh_at = None;
        }
        due
    }

    /// When it is time to register again.
    pub(super) const fn refresh_at(&self) -> Option<Instant> {
        self.refresh_at
    }

    /// The number that people read out, once given.
    pub(super) const fn number(&self) -> Option<DeviceNumber> {
        self.number
    }

    /// Where the coordinator sees us, once registered.
    pub(super) const fn observed(&self) -> Option<SocketAddr> {
        self.observed
    }

    /// The services that the coordinator named.
    pub(super) const fn services(&self) -> Option<&Services> {
        self.services.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use lanyard_wire::candidate::CandidateKind;
    use lanyard_wire::seal::Ticket;

    use super::*;

    #[test]
    fn the_same_card_and_candidates_are_no_news() {
        let mut presence = Presence::new(None, None);
        let card = NatCard { udp: true, ..NatCard::default() };
        assert!(presence.set(card, Vec::from([host(1)]), false));
        assert!(!presence.set(card, Vec::from([host(1)]), false));
        assert!(presence.set(card, Vec::from([host(2)]), false));
        assert!(presence.set(card, Vec::from([host(2)]), true));
    }

    #[test]
    fn more_candidates_than_fit_are_cut_off_not_refused() {
        let mut presence = Presence::new(None, None);
        presence.set(NatCard::default(), (0..20).map(host).collect(), false);
        let ToCheckpoint::Register(register) = presence.message(RequestId::new(1)) else { panic!() };
        assert_eq!(register.candidates.len(), CANDIDATES_MAX);
        assert_eq!(register.candidates[0], host(0));
    }

    #[test]
    fn a_registration_is_repeated_after_half_an_hour_and_asked_for_once() {
        let mut presence = Presence::new(None, None);
        let mut rng = Rng::from_seed([1; 32]);
        assert!(presence.registered(&answer(), &mut rng, Instant::ZERO), "the services are news");
        assert!(!presence.is_due(Instant::from_secs(1_600)));
        assert!(presence.is_due(Instant::from_secs(2_000)));
        assert!(!presence.is_due(Instant::from_secs(2_000)));
        assert!(!presence.registered(&answer(), &mut rng, Instant::from_secs(2_000)));
    }

    fn host(value: u8) -> Candidate {
        Candidate { kind: CandidateKind::Host, addr: ([192, 168, 1, value], 4_000).into() }
    }

    fn answer() -> Registered {
        Registered {
            request: RequestId::new(1),
            number: DeviceNumber::new(291_044_871),
            observed: ([198, 51, 100, 9], 4_000).into(),
            services: Services::default(),
            networks: Vec::new(),
            ticket: Ticket::from_bytes([0; 112]),
        }
    }
}
