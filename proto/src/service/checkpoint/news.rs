//! Who is told what when something changes: rosters and presence.
//!
//! A change marks the devices it concerns and sets their timer; when it goes off they are told what has come
//! together by then, in pushes that are repeated until acknowledged. Changes of a roster that do not fit one
//! datagram are announced by their revision alone, and the device asks.

use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::checkpoint::{Change, FromCheckpoint, Member, Presence, RosterChanged};
use lanyard_wire::codec::Wire;
use lanyard_wire::ids::{DeviceId, NetworkId, PushId, Revision};
use lanyard_wire::limits::{BODY_MAX, MEMBERS_PER_PAGE, PRESENCE_MAX};

use super::pushes::About;
use super::registry::Client;
use super::roster::{MemberRecord, Network, Since};
use super::{Checkpoint, Timer};
use crate::service::command::EndpointEvent;
use crate::service::say::Says;
use crate::time::Instant;

/// How long changes of a roster are collected: an import of many members becomes few pushes, a removal is
/// told at once as people feel it.
const ROSTER_DELAY: Duration = Duration::from_millis(20);

/// How long presence is collected.
const PRESENCE_DELAY: Duration = Duration::from_millis(200);

/// How soon to look again when too many pushes to a device are under way.
const CONGESTED_DELAY: Duration = Duration::from_millis(250);

impl Checkpoint {
    /// Marks a network as changed for one device.
    pub(super) fn mark(&mut self, device: DeviceId, network: NetworkId, now: Instant) {
        if let Some(client) = self.registry.get_mut(&device) {
            client.stale.insert(network);
            self.timers.set_earliest(Timer::Tell(device), now + ROSTER_DELAY);
        }
    }

    /// Marks a network as changed for everybody who takes part in it.
    pub(super) fn mark_members(&mut self, network: NetworkId, now: Instant) {
        let Some(changed) = self.roster.network(&network) else { return };
        let members: Vec<DeviceId> = changed.active().map(|(device, _)| *device).collect();
        for device in members {
            self.mark(device, network, now);
        }
    }

    /// A member came or went: the program is told at once, the other members soon.
    pub(super) fn announce(&mut self, device: DeviceId, online: bool, says: &mut Says, now: Instant) {
        if !self.roster.is_known(&device) {
            return;
        }
        let remote = self.registry.get(&device).map(|client| client.remote);
        says.note(EndpointEvent::Presence { device, online, remote });
        self.spread(device, now);
    }

    /// What a member is there for has changed: the other members are told soon.
    pub(super) fn spread(&mut self, device: DeviceId, now: Instant) {
        let availability = self.registry.availability(&device);
        for other in self.peers_of(&device) {
            if let Some(client) = self.registry.get_mut(&other)
                && client.note_presence(device, availability)
            {
                self.timers.set_earliest(Timer::Tell(other), now + PRESENCE_DELAY);
            }
        }
    }

    /// A device that returned is told which of its peers are here: it takes all others for away.
    pub(super) fn tell_who_is_here(&mut self, device: DeviceId, now: Instant) {
        let peers = self.peers_of(&device).into_iter();
        let here: Vec<_> = peers
            .map(|peer| (peer, self.registry.availability(&peer)))
            .filter(|(_, availability)| availability.is_online())
            .collect();
        let Some(client) = self.registry.get_mut(&device) else { return };
        for (peer, availability) in here {
            client.note_presence(peer, availability);
        }
        if client.has_news() {
            self.timers.set_earliest(Timer::Tell(device), now + ROSTER_DELAY);
        }
    }

    /// Tells a device what has come together for it.
    pub(super) fn tell(&mut self, device: DeviceId, says: &mut Says, now: Instant) {
        loop {
            let Some(client) = self.registry.get_mut(&device) else { return };
            if !client.has_news() {
                return;
            }
            if !client.pushes.has_room() {
                self.timers.set_earliest(Timer::Tell(device), now + CONGESTED_DELAY);
                return;
            }
            let push = client.pushes.next_id();
            let (about, message) = if let Some(network) = client.stale.pop_first() {
                let changed = self.roster_changed(device, network, push);
                (About::Network(network), FromCheckpoint::RosterChanged(changed))
            } else {
                let mut changes = Vec::new();
                while changes.len() < PRESENCE_MAX
                    && let Some(change) = client.presence.pop_first()
                {
                    changes.push(change);
                }
                let members = changes.iter().map(|(member, _)| *member).collect();
                (About::Members(members), FromCheckpoint::Presence(Presence { push, changes }))
            };
            self.push(device, push, about, &message, says, now);
        }
    }

    /// A device is heard: what it was not told while it was silent, or somewhere else, is told now.
    pub(in crate::service) fn heard(&mut self, device: DeviceId, now: Instant) {
        if self.registry.get(&device).is_some_and(Client::has_news) {
            self.timers.set_earliest(Timer::Tell(device), now + ROSTER_DELAY);
        }
        let Some(client) = self.registry.get_mut(&device) else { return };
        for push in client.pushes.begin_again_heard() {
            self.timers.set(Timer::Push(device, push), now);
        }
    }

    /// Keeps what a push told in vain, as it is now, until the device is heard.
    pub(super) fn missed(&mut self, device: DeviceId, about: About) {
        match about {
            About::Network(network) => {
                if let Some(client) = self.registry.get_mut(&device) {
                    client.stale.insert(network);
                    // Which revision it holds is not known any more: it is told to ask.
                    client.told.remove(&network);
                }
            }
            About::Members(members) => {
                for member in members {
                    let availability = self.registry.availability(&member);
                    if let Some(client) = self.registry.get_mut(&device) {
                        client.note_presence(member, availability);
                    }
                }
            }
            About::Moment => {}
        }
    }

    /// Sends a push and has it repeated.
    pub(super) fn push(
        &mut self,
        device: DeviceId,
        push: PushId,
        about: About,
        message: &FromCheckpoint,
        says: &mut Says,
        now: Instant,
    ) {
        let Some(client) = self.registry.get_mut(&device) else { return };
        let body = message.to_bytes();
        let again = client.pushes.sent(push, about, body.clone(), now);
        self.timers.set(Timer::Push(device, push), again);
        says.tell_bytes(device, body);
    }

    fn roster_changed(&mut self, device: DeviceId, network: NetworkId, push: PushId) -> RosterChanged {
        let told = self.registry.get(&device).and_then(|client| client.told.get(&network).copied());
        let known = self.roster.network(&network).filter(|known| known.member(&device).is_some());
        let Some(known) = known else {
            // The device's own removal, or that of the whole network.
            let from = told.unwrap_or(Revision::ZERO);
            let to = self.roster.network(&network).map_or_else(|| from.next(), Network::revision);
            if let Some(client) = self.registry.get_mut(&device) {
                client.told.remove(&network);
            }
            return RosterChanged { push, network, from, to, changes: [Change::Gone(device)].into() };
        };
        let to = known.revision();
        let from = told.unwrap_or(to);
        let changes = match known.since(from) {
            Since::Changed(devices) if known.is_active(&device) && !devices.contains(&device) => {
                let mut changes = Vec::new();
                let next = self.fill(known, device, devices.iter(), ROSTER_CHANGED_HEAD, &mut changes);
                if next.is_some() { Vec::new() } else { changes }
            }
            // A device whose own standing changed asks: its addresses are in the answer only.
            Since::Changed(_) | Since::Everything => Vec::new(),
        };
        if let Some(client) = self.registry.get_mut(&device) {
            client.told.insert(network, to);
        }
        RosterChanged { push, network, from, to, changes }
    }

    /// Adds changes about devices until the page is full; gives the last device that fitted if some did not.
    pub(super) fn fill<'a>(
        &self,
        network: &Network,
        viewer: DeviceId,
        devices: impl Iterator<Item = &'a DeviceId>,
        mut used: usize,
        changes: &mut Vec<Change>,
    ) -> Option<DeviceId> {
        let mut last = None;
        for device in devices.filter(|device| **device != viewer) {
            let change = match network.member(device).filter(|_| network.is_active(device)) {
                Some(member) => Change::Present(self.present(network, viewer, *device, member)),
                None => Change::Gone(*device),
            };
            used += change.encoded_len();
            if changes.len() == MEMBERS_PER_PAGE || used > BODY_MAX {
                return last;
            }
            changes.push(change);
            last = Some(*device);
        }
        None
    }

    fn present(
        &self,
        network: &Network,
        viewer: DeviceId,
        device: DeviceId,
        member: &MemberRecord,
    ) -> Member {
        Member {
            identity: member.identity,
            number: member.number,
            wireguard: member.wireguard,
            name: member.name.clone(),
            ip4: member.ip4,
            ip6: member.ip6,
            availability: self.registry.availability(&device),
            relay: self.grants.relay(viewer, device, network.id(), self.now_s),
        }
    }

    /// The devices that take part in a network in which this one takes part, each once.
    fn peers_of(&self, device: &DeviceId) -> Vec<DeviceId> {
        let mut peers: Vec<DeviceId> = self
            .roster
            .networks_of(device)
            .filter(|(_, network)| network.is_active(device))
            .flat_map(|(_, network)| network.active().map(|(peer, _)| *peer))
            .filter(|peer| peer != device)
            .collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }
}

/// Bytes of RosterChanged before its changes.
const ROSTER_CHANGED_HEAD: usize = 1 + 4 + 16 + 8 + 8 + 1;
