//! Who may open a tunnel to this device.
//!
//! Refusing comes before anything is disclosed: a refused peer is sent no candidate, no answer to a probe
//! and no packet, and forwarding does not know it. The coordinators are told as well, so that an attempt of
//! a refused peer ends there; what they do with it is no part of the promise.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use lanyard_wire::ids::DeviceId;

/// Refusals that fit into one message to a coordinator (wire: `Consent`).
///
/// Refusals beyond it hold here all the same; only the coordinators do not know them.
pub(super) const TOLD_MAX: usize = 60;

/// The peers that the user of this device refuses.
#[derive(Clone, Debug, Default)]
pub(super) struct Consent {
    refused: BTreeSet<DeviceId>,
}

impl Consent {
    /// Refuses a peer or stops refusing it; says whether that is news.
    pub(super) fn refuse(&mut self, peer: DeviceId, refused: bool) -> bool {
        if refused { self.refused.insert(peer) } else { self.refused.remove(&peer) }
    }

    /// May this peer open a tunnel to us, and we to it?
    pub(super) fn allows(&self, peer: &DeviceId) -> bool {
        !self.refused.contains(peer)
    }

    /// What to tell a coordinator.
    pub(super) fn told(&self) -> Vec<DeviceId> {
        self.refused.iter().copied().take(TOLD_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_until_it_is_taken_back() {
        let mut consent = Consent::default();
        let peer = DeviceId::from_bytes([1; 16]);
        assert!(consent.allows(&peer));
        assert!(consent.refuse(peer, true));
        assert!(!consent.refuse(peer, true), "no news");
        assert!(!consent.allows(&peer));
        assert_eq!(consent.told(), [peer]);
        assert!(consent.refuse(peer, false));
        assert!(consent.allows(&peer));
    }

    #[test]
    fn more_refusals_than_fit_into_a_message_hold_all_the_same() {
        let mut consent = Consent::default();
        for id in 0..=255 {
            consent.refuse(DeviceId::from_bytes([id; 16]), true);
        }
        assert_eq!(consent.told().len(), TOLD_MAX);
        assert!(!consent.allows(&DeviceId::from_bytes([255; 16])));
    }
}
