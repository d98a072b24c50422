//! The fleet's key, and the tickets by which a device comes back without a key exchange.
//!
//! Every service of a fleet derives the same keys from the same 32 bytes, so a ticket given by one is good at
//! all. A ticket key lives for an hour and is good for tickets of the two hours before: a ticket that is
//! stolen with the fleet's key of today says nothing about yesterday.

use core::fmt;

use lanyard_wire::keys::{PublicKey, SymmetricKey, derive_key};
use lanyard_wire::seal::{Ticket, TicketBody, TicketKey};

use crate::rejected::Rejected;
use crate::rng::Rng;

/// Seconds that one ticket key seals.
const EPOCH_S: u64 = 3_600;

/// Keys before the current one that still open tickets.
const KEPT: u64 = 2;

/// How long a ticket is good: until the last of its key's epochs ends, at the most.
const LIFE_S: u64 = EPOCH_S * (KEPT + 1);

/// The secret that all services of one coordinator share; 32 random bytes from a key file.
#[derive(Clone)]
pub struct FleetKey(SymmetricKey);

impl FleetKey {
    /// Takes the bytes of the key file.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(SymmetricKey::from_bytes(bytes))
    }

    /// The key of tokens, by which a checkpoint lets two devices meet at another service.
    #[must_use]
    pub fn token_key(&self) -> SymmetricKey {
        derive_key(&self.0, b"lanyard token", &[])
    }

    fn ticket_key(&self, epoch: u32) -> TicketKey {
        TicketKey::new(epoch, &derive_key(&self.0, b"lanyard ticket", &[&epoch.to_be_bytes()]))
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey(..)")
    }
}

/// Seals and opens tickets.
#[derive(Debug)]
pub(super) struct Tickets {
    fleet: FleetKey,
    /// The keys used last, newest first: what is asked for again and again is derived once.
    ready: [Option<TicketKey>; 3],
}

impl Tickets {
    pub(super) const fn new(fleet: FleetKey) -> Self {
        Self { fleet, ready: [None, None, None] }
    }

    pub(super) fn seal(
        &mut self,
        identity: PublicKey,
        secret: &SymmetricKey,
        now_s: u64,
        rng: &mut Rng,
    ) -> Ticket {
        let expires_s = now_s.saturating_add(LIFE_S);
        let body = TicketBody { identity, secret: secret.clone(), epoch: 0, expires_s };
        let nonce = rng.bytes();
        self.key(epoch_of(now_s)).seal(&body, nonce)
    }

    /// What is in a ticket of the last hours.
    pub(super) fn open(&mut self, ticket: &Ticket, now_s: u64) -> Result<TicketBody, Rejected> {
        let (epoch, newest) = (ticket.key_id(), epoch_of(now_s));
        // One epoch ahead: another service's clock may be a little faster than ours.
        if epoch > newest.saturating_add(1) || u64::from(newest.saturating_sub(epoch)) > KEPT {
            return Err(Rejected::Expired);
        }
        let body = self.key(epoch).open(ticket).ok_or(Rejected::Unauthenticated)?;
        if now_s >= body.expires_s { Err(Rejected::Expired) } else { Ok(body) }
    }

    fn key(&mut self, epoch: u32) -> TicketKey {
        if let Some(key) = self.ready.iter().flatten().find(|key| key.id() == epoch) {
            return key.clone();
        }
        let key = self.fleet.ticket_key(epoch);
        self.ready.rotate_right(1);
        self.ready[0] = Some(key.clone());
        key
    }
}

fn epoch_of(now_s: u64) -> u32 {
    u32::try_from(now_s / EPOCH_S).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_700_000_000;

    #[test]
    fn a_ticket_of_one_service_opens_at_another_of_the_fleet() {
        let ticket = seal(&mut tickets(1), NOW_S);
        let body = tickets(1).open(&ticket, NOW_S + 60).unwrap();
        assert_eq!(body.identity, PublicKey::from_bytes([3; 32]));
        assert_eq!(body.secret, SymmetricKey::from_bytes([4; 32]));
    }

    #[test]
    fn another_fleet_cannot_open_it() {
        let ticket = seal(&mut tickets(1), NOW_S);
        assert_eq!(tickets(2).open(&ticket, NOW_S).unwrap_err(), Rejected::Unauthenticated);
    }

    #[test]
    fn a_ticket_ends_with_its_time_and_with_its_key() {
        let mut tickets = tickets(1);
        let ticket = seal(&mut tickets, NOW_S);
        assert!(tickets.open(&ticket, NOW_S + 2 * EPOCH_S).is_ok());
        assert_eq!(tickets.open(&ticket, NOW_S + LIFE_S).unwrap_err(), Rejected::Expired);
        assert_eq!(tickets.open(&ticket, NOW_S - LIFE_S).unwrap_err(), Rejected::Expired, "from the future");
    }

    #[test]
    fn a_changed_ticket_does_not_open() {
        let mut tickets = tickets(1);
        let ticket = seal(&mut tickets, NOW_S);
        for byte in 4..112 {
            let mut bytes = *ticket.as_bytes();
            bytes[byte] ^= 1;
            let changed = tickets.open(&Ticket::from_bytes(bytes), NOW_S);
            assert_eq!(changed.unwrap_err(), Rejected::Unauthenticated, "byte {byte}");
        }
    }

    fn tickets(fleet: u8) -> Tickets {
        Tickets::new(FleetKey::from_bytes([fleet; 32]))
    }

    fn seal(tickets: &mut Tickets, now_s: u64) -> Ticket {
        let mut rng = Rng::from_seed([9; 32]);
        tickets.seal(PublicKey::from_bytes([3; 32]), &SymmetricKey::from_bytes([4; 32]), now_s, &mut rng)
    }
}
