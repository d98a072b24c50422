//! Who is a member of which network, at which revision, and what changed since.
//!
//! Permanent data lives in INDEX; this is the copy that questions are answered from. The program feeds it:
//! whole networks at the start, single changes later, in the order of their revisions. A network remembers
//! its last changes, so that a device that missed some is told those and not the whole roster; whoever asks
//! for what lies further back gets all of it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::{Ipv4Addr, Ipv6Addr};

use lanyard_wire::checkpoint::{MemberState, NetworkCard};
use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, NetworkName};

/// Changes a network remembers; the oldest goes first.
///
/// A device that slept through more asks for a full roster, which for most networks is smaller.
const CHANGES_MAX: usize = 256;

/// A network as INDEX knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRecord {
    /// Its id.
    pub id: NetworkId,
    /// Its name, unique at this coordinator.
    pub name: NetworkName,
    /// The IPv4 prefix and its length.
    pub prefix4: (Ipv4Addr, u8),
    /// The IPv6 prefix, a /64.
    pub prefix6: Ipv6Addr,
    /// Whether members may pass on frames for each other.
    pub peer_relay: bool,
    /// Its revision when the record was read.
    pub revision: Revision,
}

/// A membership as INDEX knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// The device's identity key; its id follows from it.
    pub identity: PublicKey,
    /// The device's public number.
    pub number: DeviceNumber,
    /// The key of its WireGuard tunnels.
    pub wireguard: PublicKey,
    /// Its name in this network.
    pub name: DeviceName,
    /// Its IPv4 address in this network.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address in this network.
    pub ip6: Ipv6Addr,
    /// Whether it takes part, waits for approval or is suspended.
    pub state: MemberState,
}

/// What changed since a revision, as far as it is remembered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// These devices, in order.
    Changed(BTreeSet<DeviceId>),
    /// More than is remembered: everything has to be told.
    Everything,
}

/// One network with its members and its latest changes.
#[derive(Debug)]
pub(super) struct Network {
    record: NetworkRecord,
    members: BTreeMap<DeviceId, MemberRecord>,
    changes: VecDeque<(Revision, DeviceId)>,
    /// Changes after this revision are all in `changes`.
    complete_after: Revision,
}

impl Network {
    pub(super) const fn id(&self) -> &NetworkId {
        &self.record.id
    }

    pub(super) const fn revision(&self) -> Revision {
        self.record.revision
    }

    pub(super) fn member(&self, device: &DeviceId) -> Option<&MemberRecord> {
        self.members.get(device)
    }

    /// The members that take part, in order of their ids.
    pub(super) fn active(&self) -> impl Iterator<Item = (&DeviceId, &MemberRecord)> {
        self.members.iter().filter(|(_, member)| is_active(member))
    }

    /// All devices with a membership, of whatever state.
    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.members.keys()
    }

    pub(super) fn is_active(&self, device: &DeviceId) -> bool {
        self.members.get(device).is_some_and(is_active)
    }

    pub(super) fn since(&self, revision: Revision) -> Since {
        if revision < self.complete_after || revision > self.record.revision {
            return Since::Everything;
        }
        let later = self.changes.iter().rev().take_while(|(at, _)| *at > revision);
        Since::Changed(later.map(|(_, device)| *device).collect())
    }

    /// What `device` is told about the network itself; `None` if it has no membership.
    pub(super) fn card(&self, device: &DeviceId) -> Option<NetworkCard> {
        let member = self.members.get(device)?;
        Some(NetworkCard {
            id: self.record.id,
            name: self.record.name.clone(),
            prefix4: self.record.prefix4,
            prefix6: self.record.prefix6,
            ip4: member.ip4,
            ip6: member.ip6,
            state: member.state,
            peer_relay: self.record.peer_relay,
        })
    }

    fn remember(&mut self, revision: Revision, device: DeviceId) {
        self.record.revision = self.record.revision.max(revision);
        self.changes.push_back((self.record.revision, device));
        if self.changes.len() > CHANGES_MAX
            && let Some((forgotten, _)) = self.changes.pop_front()
        {
            self.complete_after = self.complete_after.max(forgotten);
        }
    }
}

/// All networks of this coordinator.
#[derive(Debug, Default)]
pub(super) struct Roster {
    networks: BTreeMap<NetworkId, Network>,
    memberships: BTreeMap<DeviceId, BTreeSet<NetworkId>>,
}

impl Roster {
    pub(super) fn network(&self, network: &NetworkId) -> Option<&Network> {
        self.networks.get(network)
    }

    pub(super) fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether the device has a membership in any network, of any state.
    pub(super) fn is_known(&self, device: &DeviceId) -> bool {
        self.memberships.contains_key(device)
    }

    /// The networks in which the device has a membership of any state.
    pub(super) fn networks_of(&self, device: &DeviceId) -> impl Iterator<Item = (&NetworkId, &Network)> {
        let ids = self.memberships.get(device);
        ids.into_iter().flatten().filter_map(|id| self.networks.get(id).map(|network| (id, network)))
    }

    /// Whether both devices take part in one and the same network.
    pub(super) fn share_a_network(&self, first: &DeviceId, second: &DeviceId) -> bool {
        self.networks_of(first).any(|(_, network)| network.is_active(first) && network.is_active(second))
    }

    /// Takes in a network; says whether anything about it is new.
    pub(super) fn put_network(&mut self, record: NetworkRecord) -> bool {
        if let Some(known) = self.networks.get_mut(&record.id) {
            if known.record == record {
                return false;
            }
            // A change of the network itself names no device: who is behind it asks for everything.
            known.complete_after = known.complete_after.max(record.revision);
            known.record = NetworkRecord { revision: known.record.revision.max(record.revision), ..record };
            return true;
        }
        let network = Network {
            complete_after: record.revision,
            members: BTreeMap::new(),
            changes: VecDeque::new(),
            record,
        };
        self.networks.insert(network.record.id, network);
        true
    }

    /// Takes a network out; gives the devices that had a membership.
    pub(super) fn remove_network(&mut self, network: &NetworkId) -> BTreeMap<DeviceId, MemberRecord> {
        let Some(removed) = self.networks.remove(network) else { return BTreeMap::new() };
        for device in removed.members.keys() {
            self.forget_membership(device, network);
        }
        removed.members
    }

    /// Takes in a membership; says whether it differs from what was known.
    ///
    /// One for a network that was not fed before is ignored.
    pub(super) fn put_member(
        &mut self,
        network: NetworkId,
        revision: Revision,
        member: MemberRecord,
    ) -> bool {
        let device = DeviceId::of(&member.identity);
        let Some(known) = self.networks.get_mut(&network) else { return false };
        if known.members.get(&device) == Some(&member) {
            known.record.revision = known.record.revision.max(revision);
            return false;
        }
        known.members.insert(device, member);
        known.remember(revision, device);
        self.memberships.entry(device).or_default().insert(network);
        true
    }

    /// Takes a membership out; gives what it was.
    pub(super) fn remove_member(
        &mut self,
        network: &NetworkId,
        revision: Revision,
        device: &DeviceId,
    ) -> Option<MemberRecord> {
        let known = self.networks.get_mut(network)?;
        let removed = known.members.remove(device)?;
        known.remember(revision, *device);
        self.forget_membership(device, network);
        Some(removed)
    }

    fn forget_membership(&mut self, device: &DeviceId, network: &NetworkId) {
        if let Some(networks) = self.memberships.get_mut(device) {
            networks.remove(network);
            if networks.is_empty() {
                self.memberships.remove(device);
            }
        }
    }
}

/// Whether a membership lets the device take part.
pub(super) fn is_active(member: &MemberRecord) -> bool {
    member.state == MemberState::Active
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_share_a_network_only_while_both_take_part_in_it() {
        let mut roster = roster();
        let (a, b) =
            (put(&mut roster, 1, 2, MemberState::Active), put(&mut roster, 2, 3, MemberState::Pending));
        assert!(!roster.share_a_network(&a, &b));
        put(&mut roster, 2, 4, MemberState::Active);
        assert!(roster.share_a_network(&a, &b));
        put(&mut roster, 1, 5, MemberState::Suspended);
        assert!(!roster.share_a_network(&a, &b));
        assert!(roster.is_known(&a));
    }

    #[test]
    fn a_change_is_remembered_by_its_revision() {
        let mut roster = roster();
        let a = put(&mut roster, 1, 2, MemberState::Active);
        let b = put(&mut roster, 2, 3, MemberState::Active);
        let network = roster.network(&id()).unwrap();
        assert_eq!(network.since(Revision::new(3)), Since::Changed(BTreeSet::new()));
        assert_eq!(network.since(Revision::new(2)), Since::Changed([b].into()));
        assert_eq!(network.since(Revision::new(1)), Since::Changed([a, b].into()));
        assert_eq!(network.since(Revision::ZERO), Since::Everything, "before the network was fed");
        assert_eq!(network.since(Revision::new(9)), Since::Everything, "from the future");
    }

    #[test]
    fn a_network_that_forgot_old_changes_says_so() {
        let mut roster = roster();
        for revision in 2..600 {
            let state = if revision % 2 == 0 { MemberState::Active } else { MemberState::Suspended };
            put(&mut roster, 1, revision, state);
        }
        let network = roster.network(&id()).unwrap();
        assert_eq!(network.changes.len(), CHANGES_MAX);
        assert_eq!(network.since(Revision::new(300)), Since::Everything);
        assert!(matches!(network.since(Revision::new(400)), Since::Changed(_)));
    }

    #[test]
    fn the_same_record_again_is_no_change() {
        let mut roster = roster();
        put(&mut roster, 1, 2, MemberState::Active);
        assert!(!roster.put_member(id(), Revision::new(2), member(1, MemberState::Active)));
        assert!(!roster.put_network(network(2)), "the network as it is now");
    }

    #[test]
    fn a_removed_member_is_a_change_and_no_longer_known() {
        let mut roster = roster();
        let a = put(&mut roster, 1, 2, MemberState::Active);
        assert!(roster.remove_member(&id(), Revision::new(3), &a).is_some());
        assert!(roster.remove_member(&id(), Revision::new(3), &a).is_none());
        assert!(!roster.is_known(&a));
        let network = roster.network(&id()).unwrap();
        assert_eq!(network.since(Revision::new(2)), Since::Changed([a].into()));
    }

    #[test]
    fn a_removed_network_takes_its_memberships_along() {
        let mut roster = roster();
        let a = put(&mut roster, 1, 2, MemberState::Active);
        assert_eq!(roster.remove_network(&id()).len(), 1);
        assert!(!roster.is_known(&a));
        assert_eq!(roster.len(), 0);
        assert!(!roster.put_member(id(), Revision::new(9), member(1, MemberState::Active)));
    }

    fn id() -> NetworkId {
        NetworkId::from_bytes([7; 16])
    }

    fn network(revision: u64) -> NetworkRecord {
        NetworkRecord {
            id: id(),
            name: NetworkName::parse("home").unwrap(),
            prefix4: (Ipv4Addr::new(10, 7, 0, 0), 24),
            prefix6: "fd00:7::".parse().unwrap(),
            peer_relay: true,
            revision: Revision::new(revision),
        }
    }

    fn member(number: u8, state: MemberState) -> MemberRecord {
        MemberRecord {
            identity: PublicKey::from_bytes([number; 32]),
            number: DeviceNumber::new(u32::from(number)).unwrap(),
            wireguard: PublicKey::from_bytes([number + 100; 32]),
            name: DeviceName::parse("nas").unwrap(),
            ip4: Ipv4Addr::new(10, 7, 0, number),
            ip6: "fd00:7::1".parse().unwrap(),
            state,
        }
    }

    fn roster() -> Roster {
        let mut roster = Roster::default();
        assert!(roster.put_network(network(1)));
        roster
    }

    fn put(roster: &mut Roster, number: u8, revision: u64, state: MemberState) -> DeviceId {
        let member = member(number, state);
        let device = DeviceId::of(&member.identity);
        assert!(roster.put_member(id(), Revision::new(revision), member));
        device
    }
}
