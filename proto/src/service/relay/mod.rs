//! RELAY: forwards sealed packets between two devices that cannot reach each other yet.
//!
//! A packet's life:
//! 1. [`Relay::forward`] reads the eight bytes of header and finds the channel's binding.
//! 2. The source must be the current address of a session of one of its two ends.
//! 3. The pair's token bucket must have room.
//! 4. The very bytes that came go to the address of the other end's session. Nothing is rewritten: a channel
//!    has the same number on both sides.
//!
//! The relay is no proxy. A channel exists only after one of its ends has shown, in an authenticated session,
//! a token by which a checkpoint lets these two devices meet; packets never name an address, they go where the
//! other end's own authenticated packets come from, once it has shown that it hears us there. What passes is
//! WireGuard, sealed between the two.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;

use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::{Channel, DeviceId, RequestId};
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::relay::{FromRelay, RelayRefusal};
use lanyard_wire::token::{Purpose, Token};

use self::binding::{Binding, Way};
use super::bucket::Rate;
use super::place::Spot;
use super::say::Says;
use crate::rejected::Rejected;
use crate::time::{Instant, Wakeup};
use crate::timers::Timers;

mod binding;

/// Channels at one relay; when all are taken a new one is refused and those that work stay.
const BINDINGS_MAX: usize = 65_536;

/// Channels of one device; the new one is refused.
const BINDINGS_PER_DEVICE: usize = 256;

/// Settings of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Bits that a pair may send each second, both directions together.
    pub rate_bps: u64,
    /// Bytes that a pair may send at once.
    pub burst: u64,
}

impl RelayConfig {
    const fn rate(self) -> Rate {
        Rate { per_s: self.rate_bps / 8, burst: self.burst }
    }
}

/// What was sent and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded, headers included.
    pub bytes: u64,
}

/// The relay of one endpoint.
#[derive(Debug)]
pub(super) struct Relay {
    rate: Rate,
    key: SymmetricKey,
    bindings: BTreeMap<Channel, Binding>,
    by_device: BTreeMap<DeviceId, BTreeSet<Channel>>,
    idle: Timers<Channel>,
    counters: RelayCounters,
}

impl Relay {
    pub(super) const fn new(config: RelayConfig, key: SymmetricKey) -> Self {
        Self {
            rate: config.rate(),
            key,
            bindings: BTreeMap::new(),
            by_device: BTreeMap::new(),
            idle: Timers::new(),
            counters: RelayCounters { packets: 0, bytes: 0 },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    pub(super) const fn counters(&self) -> RelayCounters {
        self.counters
    }

    /// Decides about one frame: the address it goes to, or why it goes nowhere.
    pub(super) fn forward(
        &mut self,
        remote: SocketAddr,
        frame: &[u8],
        now: Instant,
    ) -> Result<SocketAddr, Rejected> {
        let (header, _) = RelayHeader::parse(frame).map_err(|_| Rejected::Malformed)?;
        let binding = self.bindings.get_mut(&header.channel).ok_or(Rejected::UnknownChannel)?;
        let length = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        match binding.pass(remote, length, self.rate, now) {
            Way::To(target) => {
                self.counters.packets += 1;
                self.counters.bytes += length;
                Ok(target)
            }
            Way::Stranger => Err(Rejected::NotAllowed),
            Way::Away => Err(Rejected::UnknownPeer),
            Way::Throttled => Err(Rejected::RateLimited),
        }
    }

    /// A device shows its token and wants the channel; `place_of` says where a device's session is.
    pub(super) fn bind(
        &mut self,
        device: DeviceId,
        request: RequestId,
        token: &Token,
        now_s: u64,
        place_of: impl Fn(&DeviceId) -> Option<Spot>,
        says: &mut Says,
        now: Instant,
    ) -> Result<(), Rejected> {
        let (channel, peer) = match self.admit(device, token, now_s) {
            Ok(admitted) => admitted,
            Err(why) => {
                says.tell(device, &FromRelay::Refused { request, why });
                return Err(Rejected::NotAllowed);
            }
        };
        let is_new = !self.bindings.contains_key(&channel);
        let rate = self.rate;
        let binding = self.bindings.entry(channel).or_insert_with(|| Binding::new(device, peer, rate, now));
        let peer_place = place_of(&peer);
        binding.place(device, place_of(&device));
        binding.place(peer, peer_place);
        binding.hold(device, now);
        for end in [device, peer] {
            self.by_device.entry(end).or_default().insert(channel);
        }
        self.idle.set(channel, binding.ends_at());
        let peer_here = peer_place.is_some();
        says.tell(device, &FromRelay::Bound { request, channel, peer_here });
        if is_new && peer_here {
            says.tell(peer, &FromRelay::Incoming { channel, peer: device });
        }
        Ok(())
    }

    /// A device no longer wants a channel.
    pub(super) fn unbind(&mut self, device: DeviceId, channel: Channel) -> Result<(), Rejected> {
        let binding = self.bindings.get_mut(&channel).ok_or(Rejected::UnknownChannel)?;
        if !binding.devices().contains(&device) {
            return Err(Rejected::NotAllowed);
        }
        if binding.release(device) {
            self.remove(channel);
        }
        Ok(())
    }

    /// A device's session is at another address now, or nowhere.
    pub(super) fn place(&mut self, device: DeviceId, spot: Option<Spot>) {
        for channel in self.by_device.get(&device).into_iter().flatten() {
            if let Some(binding) = self.bindings.get_mut(channel) {
                binding.place(device, spot);
            }
        }
    }

    /// Takes away the channels of a device with all peers for which `is_over` says so.
    pub(super) fn cut(&mut self, device: DeviceId, is_over: impl Fn(&DeviceId) -> bool) {
        let channels = self.by_device.get(&device).cloned().unwrap_or_default();
        for channel in channels {
            let over = self.bindings.get(&channel).is_some_and(|binding| {
                binding.devices().iter().any(|party| *party != device && is_over(party))
            });
            if over {
                self.remove(channel);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(channel) = self.idle.pop_due(now) {
            match self.bindings.get(&channel) {
                Some(binding) if !binding.is_idle(now) => self.idle.set(channel, binding.ends_at()),
                Some(_) => self.remove(channel),
                None => {}
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        self.idle.first().map(|(at, _)| Wakeup { at, why: "idle relay binding" })
    }

    fn admit(
        &self,
        device: DeviceId,
        token: &Token,
        now_s: u64,
    ) -> Result<(Channel, DeviceId), RelayRefusal> {
        let peer = token.other(device).ok_or(RelayRefusal::Forged)?;
        let channel = Channel::new(token.value).ok_or(RelayRefusal::Forged)?;
        // Asked about the last second of its life, a token is good unless it is forged.
        let last_s = u64::from(token.expires_s).saturating_sub(1);
        if token.purpose != Purpose::Relay || !token.verify(&self.key, last_s) {
            return Err(RelayRefusal::Forged);
        }
        if now_s > last_s {
            return Err(RelayRefusal::Expired);
        }
        if let Some(binding) = self.bindings.get(&channel) {
            return if binding.joins(device, peer) { Ok((channel, peer)) } else { Err(RelayRefusal::Busy) };
        }
        let held = self.by_device.get(&device).map_or(0, BTreeSet::len);
        if self.bindings.len() >= BINDINGS_MAX {
            Err(RelayRefusal::Full)
        } else if held >= BINDINGS_PER_DEVICE {
            Err(RelayRefusal::RateLimited)
        } else {
            Ok((channel, peer))
        }
    }

    fn remove(&mut self, channel: Channel) {
        self.idle.cancel(&channel);
        let Some(binding) = self.bindings.remove(&channel) else { return };
        for device in binding.devices() {
            if let Some(channels) = self.by_device.get_mut(&device) {
                channels.remove(&channel);
                if channels.is_empty() {
                    self.by_device.remove(&device);
                }
            }
        }
    }
}
