//! What a coordinator is told about this device, and what it said in return.
//!
//! CHECKPOINT knows a device by its session and by what the device registers ([`Standing`]).
//! Registering is repeated when that changes, when a session begins (the service may have been started
//! anew) and every half hour.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::candidate::Candidate;
use lanyard_wire::checkpoint::{Register, Registered, Services, ToCheckpoint};
use lanyard_wire::ids::{DeviceNumber, RequestId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::limits::CANDIDATES_MAX;
use lanyard_wire::nat::NatCard;

use crate::rng::Rng;
use crate::time::Instant;

/// How often to register although nothing changed: a new ticket well before the old one's three hours are
/// over, and a second look at what the coordinator believes.
const REFRESH: Duration = Duration::from_secs(1_800);

/// What a device says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it knows about its NAT.
    pub(super) card: NatCard,
    /// Where it may be reached.
    pub(super) candidates: Vec<Candidate>,
    /// Whether it passes on frames for others.
    pub(super) relays: bool,
    /// The key to which early packets for it are sealed.
    pub(super) prekey: Option<PublicKey>,
}

/// The registration of this device with one coordinator.
#[derive(Debug)]
pub(super) struct Presence {
    standing: Standing,
    number: Option<DeviceNumber>,
    observed: Option<SocketAddr>,
    services: Option<Services>,
    refresh_at: Option<Instant>,
}

impl Presence {
    /// Nothing registered yet; the rest is from the last run.
    pub(super) fn new(number: Option<DeviceNumber>, services: Option<Services>) -> Self {
        Self { standing: Standing::default(), number, observed: None, services, refresh_at: None }
    }

    /// Takes what is to be registered; says whether that is news.
    pub(super) fn set(&mut self, mut standing: Standing) -> bool {
        standing.candidates.truncate(CANDIDATES_MAX);
        let is_news = self.standing != standing;
        self.standing = standing;
        is_news
    }

    /// The message that registers.
    pub(super) fn message(&self, request: RequestId) -> ToCheckpoint {
        let Standing { card, candidates, relays, prekey } = self.standing.clone();
        ToCheckpoint::Register(Register { request, card, candidates, relays, prekey })
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
        let first = Standing { card, candidates: Vec::from([host(1)]), ..Standing::default() };
        let moved = Standing { candidates: Vec::from([host(2)]), ..first };
        let relaying = Standing { relays: true, ..moved.clone() };
        let rekeyed = Standing { prekey: Some(PublicKey::from_bytes([1; 32])), ..relaying.clone() };
        assert!(presence.set(first.clone()));
        assert!(!presence.set(first));
        assert!([moved, relaying, rekeyed].into_iter().all(|news| presence.set(news)));
    }

    #[test]
    fn more_candidates_than_fit_are_cut_off_not_refused() {
        let mut presence = Presence::new(None, None);
        presence.set(Standing { candidates: (0..20).map(host).collect(), ..Standing::default() });
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
