//! Which of a coordinator's relays a pair meets at.
//!
//! Both ends must meet at one relay. Before they have spoken to HANDSHAKE, both count to it from the channel's number; it
//! then names the one for which the sum of both round trips is the least. They pass over relays that are
//! about to end, which tell both of them, and relays that do not answer, which both find out: until the second one has,
//! frames come from either, and are taken from all of them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::handshake::{Go, RelayDistance};
use lanyard_wire::ids::{Channel, DeviceId, RelayTag};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::token::Token;

use super::{Coordinator, CoordinatorEvent};
use crate::device::link::{Link, LinkState};
use crate::device::status::RelayStatus;
use crate::rejected::Rejected;

/// Channels whose relay HANDSHAKE named; one more displaces the first one. As many as may be bound.
const NAMED_MAX: usize = 1_024;

/// The relays that HANDSHAKE named.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    named: BTreeMap<Channel, RelayTag>,
    /// Channels, the first one named first.
    order: VecDeque<Channel>,
}

impl Meetings {
    fn name(&mut self, channel: Channel, relay: RelayTag) {
        if self.named.insert(channel, relay).is_none() {
            self.order.push_back(channel);
        }
        if self.order.len() > NAMED_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.named.remove(&first);
        }
    }

    fn forget(&mut self, channel: Channel, relay: RelayTag) -> bool {
        let is_named = self.named.get(&channel) == Some(&relay);
        if is_named {
            self.named.remove(&channel);
            self.order.retain(|other| *other != channel);
        }
        is_named
    }
}

impl Coordinator {
    /// The place and the address of the relay for a channel; where none is good, of the one that it would be.
    pub(in crate::device) fn relay_for(&self, channel: Channel) -> Option<(u8, SocketAddr)> {
        let relays = self.services()?.relay.as_slice();
        let count = u64::try_from(relays.len()).ok()?;
        let first = usize::try_from(channel.value().checked_rem(count)?).ok()?;
        let named = self.meetings.named.get(&channel);
        let named = relays.iter().position(|relay| named == Some(&RelayTag::of(&relay.key)));
        let in_turn = || named.into_iter().chain(first..relays.len()).chain(0..first);
        let is = |place: &usize, what: &dyn Fn(&PublicKey) -> bool| {
            relays.get(*place).is_some_and(|relay| what(&relay.key))
        };
        // Where none answers it may be us: better where the other end is than to and fro.
        let answers = in_turn().find(|place| is(place, &|key| self.is_good(key) && self.answers(key)));
        let place = answers.or_else(|| in_turn().find(|place| is(place, &|key| self.is_good(key))));
        let place = place.unwrap_or(first);
        let addr = self.links.get(&relays.get(place)?.key)?.remote()?;
        Some((u8::try_from(place).ok()?, addr))
    }

    /// The addresses of all of them.
    pub(in crate::device) fn relay_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        let relays = self.services().map_or(&[][..], |services| services.relay.as_slice());
        relays.iter().filter_map(|relay| self.links.get(&relay.key).and_then(Link::remote))
    }

    /// All of them, for `lanyard netcheck`.
    pub(super) fn relay_status(&self) -> Vec<RelayStatus> {
        let relays = self.services().map_or(&[][..], |services| services.relay.as_slice());
        let status = relays.iter().filter_map(|relay| {
            let link = self.links.get(&relay.key)?;
            let rtt = if let LinkState::Open { rtt, .. } = link.state() { rtt } else { None };
            let is_good = self.is_good(&relay.key) && self.answers(&relay.key);
            Some(RelayStatus { key: relay.key, addr: link.remote()?, rtt, is_good })
        });
        status.collect()
    }

    /// Whether one of them is neither about to end nor silent.
    pub(in crate::device) fn has_good_relay(&self) -> bool {
        self.services().is_some_and(|services| services.relay.iter().any(|relay| self.is_good(&relay.key)))
    }

    /// Whether the relay at this place still carries frames, as far as is known.
    pub(in crate::device) fn relay_answers(&self, place: u8) -> bool {
        let relay = self.services().and_then(|services| services.relay.get(usize::from(place)));
        relay.is_some_and(|relay| self.answers(&relay.key))
    }

    /// How far the relays are for a pair whose attempt has this ticket, first the one where it meets now. Those that were
    /// measured; asking for it costs nothing, since every link measures its round trip.
    pub(super) fn distances(&self, ticket: &Token) -> Vec<RelayDistance> {
        let now = self.channel_of(ticket).and_then(|channel| self.relay_for(channel));
        let relays = self.services().map_or(&[][..], |services| services.relay.as_slice());
        let distance = |key: &PublicKey| {
            let LinkState::Open { rtt: Some(rtt), .. } = self.links.get(key)?.state() else { return None };
            let rtt_ms = u16::try_from(rtt.as_millis()).unwrap_or(u16::MAX);
            (self.is_good(key) && self.answers(key))
                .then_some(RelayDistance { relay: RelayTag::of(key), rtt_ms })
        };
        let mut distances: Vec<_> = (0u8..)
            .zip(relays)
            .filter_map(|(place, relay)| {
                Some((Some(place) != now.map(|(now, _)| now), distance(&relay.key)?))
            })
            .collect();
        distances.sort_by_key(|(is_elsewhere, _)| *is_elsewhere);
        distances.into_iter().map(|(_, distance)| distance).collect()
    }

    /// HANDSHAKE names the relay for the pair of an attempt of ours.
    pub(super) fn meet(&mut self, go: &Go) {
        let channel = self.offers.ticket(go.attempt).and_then(|ticket| self.channel_of(&ticket));
        let (Some(relay), Some(channel)) = (go.relay, channel) else { return };
        let before = self.relay_for(channel);
        self.meetings.name(channel, relay);
        if self.relay_for(channel) != before {
            self.events.push_back(CoordinatorEvent::RelaysChanged);
        }
    }

    /// A relay does not take a channel: if it was named for it, the pair goes where it would meet without that.
    pub(super) fn not_met(&mut self, channel: Channel, relay: &PublicKey) {
        if self.meetings.forget(channel, RelayTag::of(relay)) {
            self.events.push_back(CoordinatorEvent::RelaysChanged);
        }
    }

    fn channel_of(&self, ticket: &Token) -> Option<Channel> {
        let peer = ticket.other(DeviceId::of(&self.shared.identity.public()))?;
        self.directory.grant_of(&peer)?.channel()
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

    fn answers(&self, key: &PublicKey) -> bool {
        self.links.get(key).is_some_and(|link| !is_lost(link) && !link.is_silent())
    }

    fn is_good(&self, key: &PublicKey) -> bool {
        !self.draining.contains(key) && self.links.get(key).is_some_and(|link| !is_lost(link))
    }
}

fn is_lost(link: &Link) -> bool {
    matches!(link.state(), LinkState::Lost { .. })
}
