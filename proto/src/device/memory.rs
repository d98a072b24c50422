//! What is worth writing to disk, and when.

use core::time::Duration;

use lanyard_wire::nat::{Mapping, NatCard};

use super::Device;
use super::cache::{CoordinatorCache, DeviceCache};
use crate::time::{Instant, Wakeup};

/// The program is asked to save at most this often: a disk must not suffer from a restless network.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// A change waits for this: it is often followed by others.
const SAVE_AFTER: Duration = Duration::from_millis(100);

/// While traffic flows, the time of the last traffic is saved this often. What matters of it after a crash is whether there was
/// any within the hour, and with a thousand members a save writes 640 KB.
const SAVE_TRAFFIC_EVERY: Duration = Duration::from_secs(600);

/// When to save, and the last card that was made known.
#[derive(Debug)]
pub(super) struct Memory {
    saved_at: Instant,
    save_at: Option<Instant>,
    card: NatCard,
}

impl Memory {
    /// Nothing to save yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { saved_at: now, save_at: None, card: NatCard::default() }
    }

    /// Something worth saving changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let at = (now + SAVE_AFTER).max(self.saved_at + SAVE_EVERY);
        self.save_at = Some(self.save_at.map_or(at, |set| set.min(at)));
    }

    /// Traffic flows.
    pub(super) fn note_traffic(&mut self, now: Instant) {
        if now.saturating_since(self.saved_at) >= SAVE_TRAFFIC_EVERY {
            self.changed(now);
        }
    }

    /// The newest card; says whether it gives hope to pairs that could not be joined before.
    ///
    /// Another port does only where the NAT has one for all destinations; others give one for every question.
    pub(super) fn replace_card(&mut self, card: NatCard) -> bool {
        let old = core::mem::replace(&mut self.card, card);
        let behaviour = |card: &NatCard| (card.mapping, card.filtering, card.hairpin, card.udp);
        let place = |seen: &NatCard| {
            let is_steady = matches!(card.mapping, Some(Mapping::None | Mapping::EndpointIndependent));
            let four = seen.reflexive4.map(|addr| (*addr.ip(), is_steady.then_some(addr.port())));
            (four, seen.reflexive6.map(|addr| *addr.ip()))
        };
        (behaviour(&old), place(&old)) != (behaviour(&card), place(&card))
    }

    /// It is time to save; says so once.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.save_at.is_some_and(|at| at <= now);
        if is_due {
            self.save_at = None;
            self.saved_at = now;
        }
        is_due
    }

    /// When to save.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        self.save_at.map(|at| Wakeup { at, why: "save what was learnt" })
    }
}

impl Device {
    /// Everything worth saving, as of now.
    pub(super) fn to_cache(&self, now: Instant) -> DeviceCache {
        let mut coordinators = alloc::vec::Vec::new();
        for coordinator in &self.coordinators {
            let mut cache: CoordinatorCache = coordinator.cache();
            cache.networks.sort_by_key(|network| self.forwarding.place(&cache.key, &network.card.id));
            for member in cache.networks.iter_mut().flat_map(|network| &mut network.members) {
                if let Some(peer) = self.peers.get(&member.member.device()) {
                    member.endpoints = peer.endpoints();
                    member.attempt = peer.memorable();
                    member.last_active_unix_s = peer.last_traffic_s(&self.shared.wall);
                }
            }
            coordinators.push(cache);
        }
        tracing::trace!(%now, coordinators = coordinators.len(), "saving");
        DeviceCache { coordinators }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_are_saved_together_and_not_too_often() {
        let mut memory = Memory::new(Instant::ZERO);
        let mut saves = 0;
        for tenth in 0..100 {
            let now = Instant::from_millis(tenth * 100);
            memory.changed(now);
            saves += u32::from(memory.is_due(now));
        }
        assert_eq!(saves, 4, "ten seconds of changes");
    }

    #[test]
    fn traffic_alone_is_saved_every_ten_minutes() {
        let mut memory = Memory::new(Instant::ZERO);
        memory.note_traffic(Instant::from_secs(599));
        assert_eq!(memory.poll_timeout(), None);
        memory.note_traffic(Instant::from_secs(600));
        assert!(memory.is_due(Instant::from_secs(601)));
        assert!(!memory.is_due(Instant::from_secs(601)));
    }

    #[test]
    fn only_a_new_card_is_news() {
        let mut memory = Memory::new(Instant::ZERO);
        let card = NatCard { udp: true, ..NatCard::default() };
        assert!(memory.replace_card(card));
        assert!(!memory.replace_card(card));
        let card = NatCard { reflexive4: Some("203.0.113.4:1".parse().unwrap()), ..card };
        assert!(memory.replace_card(card));
        let card = NatCard { reflexive4: Some("203.0.113.4:2".parse().unwrap()), ..card };
        assert!(!memory.replace_card(card), "another port alone");
        let easy = |port| NatCard {
            mapping: Some(Mapping::EndpointIndependent),
            reflexive4: Some(core::net::SocketAddrV4::new([192, 0, 2, 1].into(), port)),
            ..card
        };
        assert!(memory.replace_card(easy(7)));
        assert!(!memory.replace_card(easy(7)));
        assert!(memory.replace_card(easy(8)), "the one port that all destinations see");
    }
}
