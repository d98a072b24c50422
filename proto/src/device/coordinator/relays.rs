//! Which of a coordinator's relays a pair meets at.
//!
//! Both ends must meet at one relay, so both count to it from the channel's number. They pass over relays that are
//! about to end, which tell both of them, and relays that do not answer, which both find out: until the second one has,
//! frames come from either, and are taken from all of them.

use core::net::SocketAddr;

use lanyard_wire::ids::Channel;
use lanyard_wire::keys::PublicKey;

use super::{Coordinator, CoordinatorEvent};
use crate::device::link::{Link, LinkState};
use crate::rejected::Rejected;

impl Coordinator {
    /// The place and the address of the relay for a channel; where none is good, of the one that it would be.
    pub(in crate::device) fn relay_for(&self, channel: Channel) -> Option<(u8, SocketAddr)> {
        let relays = self.services()?.relay.as_slice();
        let count = u64::try_from(relays.len()).ok()?;
        let first = usize::try_from(channel.value().checked_rem(count)?).ok()?;
        let mut in_turn = (first..relays.len()).chain(0..first);
        let is_good = |place: &usize| relays.get(*place).is_some_and(|relay| self.is_good(&relay.key));
        let place = in_turn.find(is_good).unwrap_or(first);
        let addr = self.links.get(&relays.get(place)?.key)?.remote()?;
        Some((u8::try_from(place).ok()?, addr))
    }

    /// The addresses of all of them.
    pub(in crate::device) fn relay_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        let relays = self.services().map_or(&[][..], |services| services.relay.as_slice());
        relays.iter().filter_map(|relay| self.links.get(&relay.key).and_then(Link::remote))
    }

    /// Whether one of them is neither about to end nor silent.
    pub(in crate::device) fn has_good_relay(&self) -> bool {
        self.services().is_some_and(|services| services.relay.iter().any(|relay| self.is_good(&relay.key)))
    }

    /// A relay says that it is about to end.
    pub(super) fn relay_drains(&mut self, key: &PublicKey) -> Result<(), Rejected> {
        if !self.is_relay(key) {
            return Err(Rejected::NotAllowed);
        }
        if self.draining.insert(*key) {
            self.events.push_back(CoordinatorEvent::RelaysChanged);
        }
        Ok(())
    }

    pub(super) fn is_relay(&self, key: &PublicKey) -> bool {
        self.services().is_some_and(|services| services.relay.iter().any(|relay| relay.key == *key))
    }

    fn is_good(&self, key: &PublicKey) -> bool {
        let is_lost = |link: &Link| matches!(link.state(), LinkState::Lost { .. });
        !self.draining.contains(key) && self.links.get(key).is_some_and(|link| !is_lost(link))
    }
}
