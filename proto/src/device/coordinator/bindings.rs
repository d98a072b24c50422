//! Channels through RELAY services that this device wants bound.
//!
//! A binding lives at the relay for as long as its session does, or until it was idle for long. Here it is
//! wanted until somebody says otherwise: a new session binds it again, and so does a relay's word that it
//! does not know the channel.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::codec::Wire as _;
use lanyard_wire::ids::{Channel, RequestId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::relay::ToRelay;
use lanyard_wire::token::Token;

use super::repeat::Repeat;
use crate::time::Instant;

/// Channels wanted at the most; more are not taken.
const BINDINGS_MAX: usize = 1_024;

/// Least time between two bindings of one channel that hints cause.
const HINT_GAP: Duration = Duration::from_millis(250);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    bindings: BTreeMap<Channel, Binding>,
}

/// One channel.
#[derive(Debug)]
struct Binding {
    service: PublicKey,
    /// The service's place in the coordinator's list.
    relay: u8,
    token: Token,
    /// Relays that carried it before: told once this one has agreed.
    left: Vec<PublicKey>,
    asking: Option<(RequestId, Repeat)>,
    asked_at: Instant,
}

impl Bindings {
    /// Wants a channel; `false` if the token names none or there is no room.
    pub(super) fn bind(
        &mut self,
        service: PublicKey,
        relay: u8,
        token: Token,
        request: RequestId,
        now: Instant,
    ) -> bool {
        let Some(channel) = token.channel() else { return false };
        if self.bindings.len() >= BINDINGS_MAX && !self.bindings.contains_key(&channel) {
            return false;
        }
        let asking = Some((request, Repeat::from(now)));
        let mut left = self.unbind(channel);
        left.retain(|before| *before != service);
        self.bindings.insert(channel, Binding { service, relay, token, left, asking, asked_at: now });
        true
    }

    /// Wants a channel no more; the services that should know.
    pub(super) fn unbind(&mut self, channel: Channel) -> Vec<PublicKey> {
        let Some(binding) = self.bindings.remove(&channel) else { return Vec::new() };
        binding.left.into_iter().chain([binding.service]).collect()
    }

    /// The services that carried a channel before the one that does now; they should know.
    pub(super) fn take_left(&mut self, channel: Channel) -> Vec<PublicKey> {
        self.bindings.get_mut(&channel).map(|binding| core::mem::take(&mut binding.left)).unwrap_or_default()
    }

    /// The relay bound it; its place in the list, if that is what we asked.
    pub(super) fn bound(&mut self, service: &PublicKey, request: RequestId, channel: Channel) -> Option<u8> {
        let binding = self.bindings.get_mut(&channel).filter(|binding| binding.service == *service)?;
        binding.asking.take_if(|(asked, _)| *asked == request)?;
        Some(binding.relay)
    }

    /// The relay refused; the channel, which is wanted no more, and its token.
    pub(super) fn refused(&mut self, service: &PublicKey, request: RequestId) -> Option<(Channel, Token)> {
        let (channel, token) = self.bindings.iter().find_map(|(channel, binding)| {
            let (asked, _) = binding.asking?;
            (binding.service == *service && asked == request).then_some((*channel, binding.token))
        })?;
        self.bindings.remove(&channel);
        Some((channel, token))
    }

    /// The service of a channel that we hold to be bound.
    pub(super) fn service(&self, channel: Channel) -> Option<PublicKey> {
        self.bindings.get(&channel).map(|binding| binding.service)
    }

    /// A relay says that it does not know the channel: binds again, unless that was just done.
    pub(super) fn hinted(&mut self, channel: Channel, request: RequestId, now: Instant) -> bool {
        let Some(binding) = self.bindings.get_mut(&channel) else { return false };
        if binding.asking.is_some() || now.saturating_since(binding.asked_at) < HINT_GAP {
            return false;
        }
        binding.asking = Some((request, Repeat::from(now)));
        binding.asked_at = now;
        true
    }

    /// A new session with a service stands: everything is bound again. `next_id` numbers the requests.
    pub(super) fn restart(
        &mut self,
        service: &PublicKey,
        now: Instant,
        mut next_id: impl FnMut() -> RequestId,
    ) {
        for binding in self.bindings.values_mut().filter(|binding| binding.service == *service) {
            binding.asking = Some((next_id(), Repeat::from(now)));
            binding.asked_at = now;
        }
    }

    /// What a service is to be sent now.
    pub(super) fn due(&mut self, service: &PublicKey, now: Instant) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for binding in self.bindings.values_mut().filter(|binding| binding.service == *service) {
            if let Some((request, repeat)) = &mut binding.asking
                && repeat.is_due(now)
            {
                due.push(ToRelay::Bind { request: *request, token: binding.token }.to_bytes());
            }
        }
        due
    }

    /// When a service is to be sent something.
    pub(super) fn next_at(&self, service: &PublicKey) -> Option<Instant> {
        let bindings = self.bindings.values().filter(|binding| binding.service == *service);
        bindings.filter_map(|binding| binding.asking.as_ref().map(|(_, repeat)| repeat.at())).min()
    }
}
