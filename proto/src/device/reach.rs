//! Who is a peer at all, and what the coordinators know about the pair.

use lanyard_wire::checkpoint::Member;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::PublicKey;

use super::Device;
use super::cache::MemberCache;
use super::coordinator::Coordinator;
use super::event::CoordinatorState;
use super::forwarding::{grant_of, is_usable};
use super::peer::{Peer, Reach};
use crate::time::Instant;

impl Device {
    /// A member of a network that both ends are on; the earliest coordinator's word.
    pub(super) fn member(&self, device: &DeviceId) -> Option<&Member> {
        self.coordinators.iter().find_map(|coordinator| member_at(coordinator, device))
    }

    /// Does something with a peer, if there may be one, and hands on what follows.
    pub(super) fn with_peer(&mut self, device: &DeviceId, now: Instant, act: impl FnOnce(&mut Peer)) {
        if *device == self.me || !self.consent.allows(device) {
            return;
        }
        let Some(identity) = self.member(device).map(|member| member.identity) else { return };
        let reach = self.reach(device);
        let peer = self.peers.ensure(identity);
        peer.set_reach(reach, now);
        act(peer);
        self.drain_peer(device, now);
    }

    /// A member from the cache: where it was, and the attempt under which it still answers.
    pub(super) fn recollect(&mut self, cached: &MemberCache, now: Instant) {
        let device = cached.member.device();
        if device == self.me || (cached.endpoints.is_empty() && cached.attempt.is_none()) {
            return;
        }
        self.peers.ensure(cached.member.identity);
        if let Some(attempt) = cached.attempt {
            self.peers.learn(device, attempt, &self.shared.identity);
        }
        let unix_s = self.shared.wall.unix_s(now);
        if let Some(peer) = self.peers.get_mut(&device) {
            peer.remember(cached, unix_s, now);
        }
        self.drain_peer(&device, now);
    }

    /// Tells every peer what the coordinators know now; a device that is no member any more is forgotten.
    pub(super) fn refresh_reach(&mut self, now: Instant) {
        for device in self.peers.devices() {
            let is_known =
                self.coordinators.iter().any(|coordinator| coordinator.directory().member(&device).is_some());
            let is_peer = self.member(&device).is_some();
            let reach = self.reach(&device);
            let Some(peer) = self.peers.get_mut(&device) else { continue };
            if !is_peer {
                peer.shut(now);
            }
            peer.set_reach(reach, now);
            self.drain_peer(&device, now);
            if !is_known {
                self.peers.remove(&device);
            }
        }
    }

    /// What the coordinators know about the pair now.
    fn reach(&self, device: &DeviceId) -> Reach {
        let sharing = || {
            let found = |coordinator| Some((coordinator, member_at(coordinator, device)?));
            self.coordinators.iter().filter_map(found)
        };
        let is_up =
            |coordinator: &Coordinator| matches!(coordinator.state(), CoordinatorState::Online { .. });
        let up = || sharing().filter(|(coordinator, _)| is_up(coordinator));
        // One that has the peer online if there is one: others would answer that it is not there.
        let helper = up().find(|(_, member)| member.availability.is_online()).or_else(|| up().next());
        // Both ends take the lowest key, or each could wait for the other at another relay.
        let by_key = |(coordinator, _): &(&Coordinator, &Member)| coordinator.key();
        let relays = |(coordinator, _): (&Coordinator, &Member)| grant_of(coordinator, device);
        let good = up().filter(|(coordinator, _)| coordinator.has_good_relay()).min_by_key(by_key);
        let first_up = good.or_else(|| up().min_by_key(by_key)).and_then(relays);
        Reach {
            coordinator: helper.map(|(coordinator, _)| coordinator.key()),
            grant: first_up.or_else(|| sharing().min_by_key(by_key).and_then(relays)),
            is_online: up().any(|(_, member)| member.availability.is_online()),
            is_relay_alive: self.peers.get(device).and_then(Peer::grant).is_some_and(|held| {
                let owner = self.coordinators.iter().find(|owner| owner.key() == held.coordinator);
                owner.is_some_and(|owner| owner.relay_answers(held.relay))
            }),
        }
    }

    /// The peer of a relay channel.
    pub(super) fn peer_of_channel(
        &self,
        coordinator: &PublicKey,
        channel: lanyard_wire::ids::Channel,
    ) -> Option<DeviceId> {
        let devices = self.peers.devices();
        devices
            .into_iter()
            .find(|device| self.peers.get(device).is_some_and(|peer| peer.is_for(coordinator, channel)))
    }
}

fn member_at<'a>(coordinator: &'a Coordinator, device: &DeviceId) -> Option<&'a Member> {
    let networks = coordinator.directory().networks();
    networks.filter(|network| is_usable(network)).find_map(|network| network.members.get(device))
}
