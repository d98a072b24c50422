//! My networks and their members, each network at a revision.
//!
//! The coordinator sends what changed between two revisions. What follows our revision is applied; where a
//! piece is missing the directory says from which revision to ask, and the answer comes in pages. A device
//! that starts without any coordinator has the directory it wrote to disk. Members are told apart by device
//! id; this device itself is never among them.

mod network;

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use lanyard_wire::checkpoint::{Availability, Change, Member, Roster, RosterChanged};
use lanyard_wire::ids::{DeviceId, NetworkId, PushId, Revision};
use lanyard_wire::limits::NETWORKS_MAX;
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::token::Token;

use self::network::Step;
pub(super) use self::network::{NetworkView, RosterAsk};
use super::cache::{MemberCache, NetworkCache};
use super::event::MemberChange;

/// What a directory tells its coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DirectoryEvent {
    /// Members or the card of a network are not what they were.
    Changed {
        /// The network.
        network: NetworkId,
    },
    /// One member changed.
    Member {
        /// The network.
        network: NetworkId,
        /// The member.
        device: DeviceId,
        /// Its name.
        name: DeviceName,
        /// What happened.
        change: MemberChange,
    },
    /// This device is no member any more.
    RemovedFrom {
        /// The network.
        network: NetworkId,
        /// Its name.
        name: NetworkName,
    },
}

/// All networks of one coordinator.
#[derive(Debug)]
pub(super) struct Directory {
    me: DeviceId,
    networks: BTreeMap<NetworkId, NetworkView>,
    /// The newest word on each device in this session, as a repeated push may be overtaken by the next.
    newest: BTreeMap<DeviceId, PushId>,
    /// Members that were here before this session and of whom it has said nothing yet.
    unconfirmed: BTreeSet<DeviceId>,
    events: VecDeque<DirectoryEvent>,
}

impl Directory {
    /// The directory as it was written to disk; empty for a new coordinator.
    ///
    /// Who was online then is not known now.
    pub(super) fn new(me: DeviceId, cached: Vec<NetworkCache>) -> Self {
        let networks = cached.into_iter().map(|network| {
            let id = network.card.id;
            (id, NetworkView::from_cache(me, network))
        });
        Self {
            me,
            networks: networks.collect(),
            newest: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// The networks, by id.
    pub(super) fn networks(&self) -> impl Iterator<Item = &NetworkView> {
        self.networks.values()
    }

    /// One network.
    pub(super) fn network(&self, id: NetworkId) -> Option<&NetworkView> {
        self.networks.get(&id)
    }

    /// A member by its device id, with the first network it is found in.
    pub(super) fn member(&self, device: &DeviceId) -> Option<(&NetworkView, &Member)> {
        self.networks.values().find_map(|network| Some((network, network.members.get(device)?)))
    }

    /// The token with which a relay takes this device and `peer`: the one that lasts longest.
    pub(super) fn grant_of(&self, peer: &DeviceId) -> Option<Token> {
        let shared =
            self.networks.iter().filter_map(|(id, network)| Some((id, network.members.get(peer)?.relay)));
        let (network, grant) = shared.max_by_key(|(_, grant)| grant.expires_s)?;
        Some(grant.token(self.me, *peer, network))
    }

    /// Switches a network on or off on this device.
    pub(super) fn set_enabled(&mut self, id: NetworkId, enabled: bool) {
        if let Some(network) = self.networks.get_mut(&id)
            && network.enabled != enabled
        {
            network.enabled = enabled;
            self.events.push_back(DirectoryEvent::Changed { network: id });
        }
    }

    /// Compares with the networks that the coordinator names; gives what to ask.
    ///
    /// A network that it does not name is asked for too: only a clear answer removes it.
    pub(super) fn reconcile(&mut self, named: &[(NetworkId, Revision)]) -> Vec<NetworkId> {
        let mut asks = Vec::new();
        for (id, revision) in named {
            match self.networks.get_mut(id) {
                Some(network) => {
                    if network.heard_of(*revision) {
                        asks.push(*id);
                    }
                }
                None => asks.push(*id),
            }
        }
        asks.extend(self.networks.keys().filter(|id| !named.iter().any(|(named, _)| named == *id)));
        asks
    }

    /// What to ask the coordinator about a network now.
    pub(super) fn ask(&self, id: NetworkId) -> RosterAsk {
        self.networks
            .get(&id)
            .map_or(RosterAsk { network: id, since: Revision::ZERO, after: None }, NetworkView::ask)
    }

    /// Makes the next question about a network one for everything, as when its grants ran out.
    pub(super) fn forget_revision(&mut self, id: NetworkId) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.forget_revision();
        }
    }

    /// Takes a page that was asked for; gives the next question, if there is one.
    pub(super) fn apply_page(&mut self, asked: &RosterAsk, page: Roster) -> Option<RosterAsk> {
        let id = page.network.id;
        if id != asked.network {
            return Some(*asked);
        }
        for change in &page.changes {
            if let Change::Present(member) = change {
                self.unconfirmed.remove(&member.device());
            }
        }
        let mut steps = Vec::new();
        if !self.networks.contains_key(&id) {
            if self.networks.len() >= NETWORKS_MAX {
                return None;
            }
            self.networks.insert(id, NetworkView::new(page.network.clone()));
            steps.push(Step::Changed);
        }
        let network = self.networks.get_mut(&id)?;
        let known = network.is_loaded();
        let next = network.apply_page(self.me, asked, page, &mut steps);
        self.tell(id, &steps, known);
        next.filter(|_| self.networks.contains_key(&id))
    }

    /// Takes a change that the coordinator pushed; `Err` means that something before it is missing.
    pub(super) fn apply_push(&mut self, push: RosterChanged) -> Result<(), NetworkId> {
        let id = push.network;
        let network = self.networks.get_mut(&id).ok_or(id)?;
        let mut steps = Vec::new();
        let applied = network.apply_push(self.me, push, &mut steps);
        self.tell(id, &steps, true);
        if applied { Ok(()) } else { Err(id) }
    }

    /// Takes who came and who went. Pushes of one session are numbered upwards.
    pub(super) fn set_availability(&mut self, push: PushId, changes: &[(DeviceId, Availability)]) {
        let (networks, newest) = (&self.networks, &mut self.newest);
        let is_member =
            |device: &DeviceId| networks.values().any(|network| network.members.contains_key(device));
        let mut news = Vec::with_capacity(changes.len());
        for (device, availability) in changes.iter().filter(|(device, _)| is_member(device)) {
            let last = newest.entry(*device).or_insert(push);
            if *last <= push {
                *last = push;
                news.push((*device, *availability));
            }
        }
        self.mark(&news);
    }

    /// A new session began, which numbers its pushes anew and will name the members that are here.
    pub(super) fn begin_session(&mut self) {
        self.newest.clear();
        let members = self.networks.values().flat_map(|network| &network.members);
        let here = members.filter(|(_, member)| member.availability.is_online());
        self.unconfirmed = here.map(|(device, _)| *device).collect();
    }

    /// The members that are here were named: all others are away.
    ///
    /// Called some time after the session began, as the names come in several pushes, and nobody is to
    /// seem away for the moment in between.
    pub(super) fn drop_unconfirmed(&mut self) {
        let unconfirmed = core::mem::take(&mut self.unconfirmed);
        let away: Vec<_> = unconfirmed.into_iter().map(|device| (device, Availability::Offline)).collect();
        self.mark(&away);
    }

    /// Forgets a network that this device left by its own wish.
    pub(super) fn leave(&mut self, id: NetworkId) {
        if self.networks.remove(&id).is_some() {
            self.events.push_back(DirectoryEvent::Changed { network: id });
        }
    }

    /// Forgets a network from which this device was removed.
    pub(super) fn removed_from(&mut self, id: NetworkId) {
        if let Some(network) = self.networks.remove(&id) {
            self.events.push_back(DirectoryEvent::RemovedFrom { network: id, name: network.card.name });
            self.events.push_back(DirectoryEvent::Changed { network: id });
        }
    }

    /// The next fact for the coordinator.
    pub(super) fn poll_event(&mut self) -> Option<DirectoryEvent> {
        self.events.pop_front()
    }

    /// What to write to disk. Endpoints and attempts are the peers' to fill in.
    pub(super) fn to_cache(&self) -> Vec<NetworkCache> {
        let cache_member = |member: &Member| MemberCache {
            member: member.clone(),
            endpoints: Vec::new(),
            attempt: None,
            last_active_unix_s: 0,
        };
        self.networks
            .values()
            .map(|network| NetworkCache {
                card: network.card.clone(),
                revision: network.revision,
                enabled: network.enabled,
                members: network.members.values().map(cache_member).collect(),
            })
            .collect()
    }

    fn mark(&mut self, news: &[(DeviceId, Availability)]) {
        let ids: Vec<NetworkId> = self.networks.keys().copied().collect();
        for id in ids {
            let mut steps = Vec::new();
            if let Some(network) = self.networks.get_mut(&id) {
                network.set_availability(news, &mut steps);
            }
            self.tell(id, &steps, true);
        }
        for (device, _) in news {
            self.unconfirmed.remove(device);
        }
    }

    /// Turns what happened inside a network into events. The members found in a network that was just
    /// joined are no news, one by one.
    fn tell(&mut self, id: NetworkId, steps: &[Step], known: bool) {
        for step in steps {
            if let Step::Member { device, name, change } = step
                && known
            {
                let (device, name, change) = (*device, name.clone(), *change);
                self.events.push_back(DirectoryEvent::Member { network: id, device, name, change });
            }
        }
        if steps.iter().any(|step| matches!(step, Step::Removed)) {
            self.removed_from(id);
        } else if !steps.is_empty() {
            self.events.push_back(DirectoryEvent::Changed { network: id });
        }
    }
}
