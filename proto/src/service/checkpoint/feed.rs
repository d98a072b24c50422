//! What INDEX feeds: networks and memberships, and whom a change concerns.

use alloc::vec::Vec;

use lanyard_wire::ids::{DeviceId, NetworkId, Revision};

use super::Checkpoint;
use super::roster::{MemberRecord, NetworkRecord};
use crate::service::say::Says;
use crate::time::Instant;

impl Checkpoint {
    /// A network is new or looks different: all its members ask.
    pub(in crate::service) fn network(&mut self, record: NetworkRecord, now: Instant) {
        let network = record.id;
        if self.roster.put_network(record) {
            self.mark_everybody(network, now);
        }
    }

    /// A network is gone; gives the devices that had a membership.
    pub(in crate::service) fn remove_network(&mut self, network: NetworkId, now: Instant) -> Vec<DeviceId> {
        let members = self.roster.remove_network(&network);
        let devices: Vec<DeviceId> = members.into_keys().collect();
        for device in &devices {
            self.mark(*device, network, now);
        }
        devices
    }

    /// A membership is new or looks different.
    pub(in crate::service) fn member(
        &mut self,
        network: NetworkId,
        revision: Revision,
        member: MemberRecord,
        says: &mut Says,
        now: Instant,
    ) {
        let device = DeviceId::of(&member.identity);
        let was_known = self.roster.is_known(&device);
        if self.roster.put_member(network, revision, member) {
            self.mark_members(network, now);
            self.mark(device, network, now);
            if !was_known && self.registry.is_here(&device) {
                self.announce(device, true, says, now);
            }
        }
        self.settle_joins_of(device, says);
    }

    /// A membership is gone.
    pub(in crate::service) fn member_gone(
        &mut self,
        network: NetworkId,
        revision: Revision,
        device: DeviceId,
        now: Instant,
    ) {
        if self.roster.remove_member(&network, revision, &device).is_some() {
            self.mark(device, network, now);
            self.mark_members(network, now);
        }
    }

    /// All that there is has been told: answers who waited for it, and gives everybody who is here.
    pub(in crate::service) fn roster_complete(&mut self, says: &mut Says, now: Instant) -> Vec<DeviceId> {
        self.is_complete = true;
        for (device, register, observed, ticket) in self.registry.take_waiting() {
            self.register(device, register, observed, ticket, says, now);
        }
        self.registry.devices().copied().collect()
    }

    /// Marks a network as changed for everybody with a membership, of whatever state.
    fn mark_everybody(&mut self, network: NetworkId, now: Instant) {
        let Some(known) = self.roster.network(&network) else { return };
        let devices: Vec<DeviceId> = known.devices().copied().collect();
        for device in devices {
            self.mark(device, network, now);
        }
    }
}
