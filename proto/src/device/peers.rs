//! The peers that this device has, or had, something to do with.
//!
//! A member of a network becomes a peer here with the first traffic, call or memory; thousands of members
//! that nobody speaks to cost nothing. Their timers stand in one table and their attempts in one index, so
//! that a datagram or a moment finds its peer without asking all of them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::ids::{AttemptId, DeviceId};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::limits::PROBE_MAX;

use super::config::TunnelMtu;
use super::health::MOMENTS;
use super::peer::Peer;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::timers::Timers;

/// WireGuard's data header and tag.
const WIREGUARD_OVERHEAD: usize = 32;

/// Bytes of the datagram of the largest packet of a tunnel with this MTU: WireGuard pads none beyond it.
pub(super) fn datagram_of(mtu: u16) -> usize {
    (usize::from(mtu) + WIREGUARD_OVERHEAD).min(PROBE_MAX)
}

/// All peers.
#[derive(Debug)]
pub(super) struct Peers {
    peers: BTreeMap<DeviceId, Peer>,
    timers: Timers<DeviceId>,
    /// Two coordinators may name different pairs' attempts alike, so an id may lead to several peers.
    attempts: BTreeSet<(AttemptId, DeviceId)>,
    mtu: TunnelMtu,
    /// The first of this device's [`MOMENTS`].
    first: Duration,
    rng: Rng,
}

impl Peers {
    /// Nobody yet.
    pub(super) fn new(mtu: TunnelMtu, mut rng: Rng) -> Self {
        let first = rng.between(Duration::ZERO, MOMENTS);
        Self { peers: BTreeMap::new(), timers: Timers::new(), attempts: BTreeSet::new(), mtu, first, rng }
    }

    /// What every path carries, in bytes of a packet inside the tunnel.
    pub(super) const fn least_mtu(&self) -> u16 {
        self.mtu.least
    }

    /// A peer that is known here.
    pub(super) fn get(&self, device: &DeviceId) -> Option<&Peer> {
        self.peers.get(device)
    }

    /// The same, to be changed; [`Peers::changed`] is to follow.
    pub(super) fn get_mut(&mut self, device: &DeviceId) -> Option<&mut Peer> {
        self.peers.get_mut(device)
    }

    /// A peer, known from now on; [`Peers::changed`] is to follow.
    pub(super) fn ensure(&mut self, identity: PublicKey) -> &mut Peer {
        let device = DeviceId::of(&identity);
        let (mtu, first, rng) = (self.mtu, self.first, &mut self.rng);
        let new = || Peer::new(identity, mtu, first, rng.fork(device.as_bytes()));
        self.peers.entry(device).or_insert_with(new)
    }

    /// Everybody known here.
    pub(super) fn devices(&self) -> Vec<DeviceId> {
        self.peers.keys().copied().collect()
    }

    /// Teaches a known peer an attempt.
    pub(super) fn learn(&mut self, device: DeviceId, attempt: AttemptId, me: &SecretKey) {
        let Some(peer) = self.peers.get_mut(&device) else { return };
        if let Some(forgotten) = peer.learn(attempt, me) {
            self.attempts.remove(&(forgotten, device));
        }
        if peer.attempts().any(|known| known == attempt) {
            self.attempts.insert((attempt, device));
        }
    }

    /// The peers that know this attempt, usually one.
    pub(super) fn of_attempt(&self, attempt: AttemptId) -> Vec<DeviceId> {
        let first = DeviceId::from_bytes([0; 16]);
        let last = DeviceId::from_bytes([0xFF; 16]);
        self.attempts.range((attempt, first)..=(attempt, last)).map(|(_, device)| *device).collect()
    }

    /// A peer is gone for good.
    pub(super) fn remove(&mut self, device: &DeviceId) {
        if let Some(peer) = self.peers.remove(device) {
            for attempt in peer.attempts() {
                self.attempts.remove(&(attempt, *device));
            }
        }
        self.timers.cancel(device);
    }

    /// Notes when a peer that was changed wants to be woken.
    pub(super) fn changed(&mut self, device: &DeviceId) {
        match self.peers.get(device).and_then(Peer::poll_timeout) {
            Some(wakeup) => self.timers.set(*device, wakeup.at),
            None => {
                self.timers.cancel(device);
            }
        }
    }

    /// Takes a peer whose moment has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<DeviceId> {
        self.timers.pop_due(now)
    }

    /// When the next peer wants to be woken.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let (at, device) = self.timers.first()?;
        let why = self.peers.get(device).and_then(Peer::poll_timeout).map_or("a peer", |wakeup| wakeup.why);
        Some(Wakeup { at, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_leads_to_every_peer_that_knows_it_and_to_nobody_after_removal() {
        let mut peers = Peers::new(TunnelMtu::LEAST, Rng::from_seed([1; 32]));
        let me = SecretKey::from_bytes([1; 32]);
        let identities = [2, 3].map(|id| SecretKey::from_bytes([id; 32]).public());
        for identity in identities {
            peers.ensure(identity);
            peers.learn(DeviceId::of(&identity), AttemptId::new(7), &me);
        }
        assert_eq!(peers.of_attempt(AttemptId::new(7)).len(), 2);
        assert_eq!(peers.of_attempt(AttemptId::new(8)), []);
        peers.remove(&DeviceId::of(&identities[0]));
        assert_eq!(peers.of_attempt(AttemptId::new(7)), [DeviceId::of(&identities[1])]);
    }

    #[test]
    fn a_forgotten_attempt_leads_nowhere() {
        let mut peers = Peers::new(TunnelMtu::LEAST, Rng::from_seed([1; 32]));
        let me = SecretKey::from_bytes([1; 32]);
        let identity = SecretKey::from_bytes([2; 32]).public();
        peers.ensure(identity);
        for attempt in 1..=9 {
            peers.learn(DeviceId::of(&identity), AttemptId::new(attempt), &me);
        }
        assert_eq!(peers.of_attempt(AttemptId::new(1)), []);
        assert_eq!(peers.of_attempt(AttemptId::new(9)), [DeviceId::of(&identity)]);
    }

    #[test]
    fn a_peer_without_a_shared_secret_learns_nothing() {
        let mut peers = Peers::new(TunnelMtu::LEAST, Rng::from_seed([1; 32]));
        let low_order = PublicKey::from_bytes([0; 32]);
        peers.ensure(low_order);
        peers.learn(DeviceId::of(&low_order), AttemptId::new(7), &SecretKey::from_bytes([1; 32]));
        assert_eq!(peers.of_attempt(AttemptId::new(7)), []);
    }

    #[test]
    fn full_size_is_the_largest_tunnel_datagram() {
        assert_eq!([1_280, 1_420, 9_000].map(datagram_of), [1_312, 1_452, PROBE_MAX]);
    }
}
