//! RELAY: forwards sealed packets between two devices that cannot reach each other yet.
//!
//! A packet's life:
//! 1. [`Relay::forward`] reads the eight bytes of header and finds the channel's binding.
//! 2. The source must be the current address of a session of one of its two ends.
//! 3. The limits of the pair, its network and the relay must have room: `limits`.
//! 4. The very bytes that came go to the address of the other end's session. Nothing is rewritten: a channel
//!    has the same number on both sides.
//!
//! Frames that came as one train (GRO) and belong to one channel are decided about, and leave, as one:
//! [`Relay::forward_train`].
//!
//! The relay is no proxy. A channel exists only after one of its ends has shown, in an authenticated session,
//! a token by which a checkpoint lets these two devices meet; packets never name an address, they go where the
//! other end's own authenticated packets come from, once it has shown that it hears us there. What passes is
//! WireGuard, sealed between the two.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;

use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::{Channel, DeviceId, NetworkTag, RequestId};
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::relay::{FromRelay, RelayRefusal};
use lanyard_wire::token::Token;

use self::binding::{Binding, Way};
use self::farewell::Farewell;
use self::limits::Limits;
use super::bucket::Rate;
use super::place::Spot;
use super::say::Says;
use crate::rejected::Rejected;
use crate::time::{Instant, Wakeup};
use crate::timers::Timers;

mod binding;
mod farewell;
mod limits;
mod share;

/// Channels at one relay; when all are taken a new one is refused and those that work stay.
const BINDINGS_MAX: usize = 65_536;

/// Channels of one device; the new one is refused.
const BINDINGS_PER_DEVICE: usize = 256;

/// Settings of a relay; both directions of a pair count together everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Bits that a pair may send each second.
    pub rate_bps: u64,
    /// Bytes that a pair may send at once.
    pub burst: u64,
    /// Bits that all pairs of a network may send each second, in fair parts; 0 for no limit.
    pub network_bps: u64,
    /// Bits that all pairs may send each second, in fair parts; 0 for no limit.
    pub total_bps: u64,
    /// Bytes that the pairs of a network may send in a day (UTC); 0 for no limit.
    pub network_quota: u64,
    /// What takes the place of `network_bps` when the quota is used up; 0 for no change.
    pub quota_bps: u64,
}

impl RelayConfig {
    /// No limit but that of each pair.
    #[must_use]
    pub const fn per_pair(rate_bps: u64, burst: u64) -> Self {
        Self { rate_bps, burst, network_bps: 0, total_bps: 0, network_quota: 0, quota_bps: 0 }
    }

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
    /// How often a network used up its quota of a day.
    pub quotas_spent: u64,
}

/// The relay of one endpoint.
#[derive(Debug)]
pub(super) struct Relay {
    key: SymmetricKey,
    limits: Limits,
    bindings: BTreeMap<Channel, Binding>,
    by_device: BTreeMap<DeviceId, BTreeSet<Channel>>,
    idle: Timers<Channel>,
    farewell: Option<Farewell>,
    counters: RelayCounters,
}

impl Relay {
    pub(super) const fn new(config: RelayConfig, key: SymmetricKey) -> Self {
        Self {
            key,
            limits: Limits::new(config),
            bindings: BTreeMap::new(),
            by_device: BTreeMap::new(),
            idle: Timers::new(),
            farewell: None,
            counters: RelayCounters { packets: 0, bytes: 0, quotas_spent: 0 },
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
        now_s: u64,
        now: Instant,
    ) -> Result<SocketAddr, Rejected> {
        let (header, _) = RelayHeader::parse(frame).map_err(|_| Rejected::Malformed)?;
        self.pass(remote, header.channel, 1, frame.len(), now_s, now)
    }

    /// Decides about frames of `stride` bytes, the last one perhaps shorter, if they are all of one channel.
    ///
    /// `None` when each must be looked at by itself: they are of several channels, something is wrong with one, or
    /// the pair's bucket has room for some of them only.
    pub(super) fn forward_train(
        &mut self,
        remote: SocketAddr,
        bytes: &[u8],
        stride: usize,
        now_s: u64,
        now: Instant,
    ) -> Option<Result<SocketAddr, Rejected>> {
        let (channel, count) = one_channel(bytes, stride)?;
        match self.pass(remote, channel, count, bytes.len(), now_s, now) {
            decided @ (Ok(_) | Err(Rejected::OverShare | Rejected::OverQuota)) => Some(decided),
            Err(_) => None,
        }
    }

    fn pass(
        &mut self,
        remote: SocketAddr,
        channel: Channel,
        count: u64,
        length: usize,
        now_s: u64,
        now: Instant,
    ) -> Result<SocketAddr, Rejected> {
        let binding = self.bindings.get_mut(&channel).ok_or(Rejected::UnknownChannel)?;
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let target = match binding.way(remote, now) {
            Way::To(target) => target,
            Way::Stranger => return Err(Rejected::NotAllowed),
            Way::Away => return Err(Rejected::UnknownPeer),
        };
        self.limits.take(&mut binding.account, length, &mut self.counters, now_s, now)?;
        self.counters.packets += count;
        self.counters.bytes += length;
        Ok(target)
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
        let limits = &mut self.limits;
        let binding = self.bindings.entry(channel).or_insert_with(|| {
            let account = limits.open(NetworkTag::of_value(token.value), now_s, now);
            Binding::new(device, peer, account, now)
        });
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

    /// Says from now on to every device with a channel that it had better go elsewhere.
    pub(super) fn drain(&mut self, now: Instant) {
        self.farewell.get_or_insert(Farewell::new(now));
    }

    pub(super) fn handle_timeout(&mut self, says: &mut Says, now: Instant) {
        if let Some(farewell) = &mut self.farewell {
            farewell.say(&self.by_device, says, now);
        }
        while let Some(channel) = self.idle.pop_due(now) {
            match self.bindings.get(&channel) {
                Some(binding) if !binding.is_idle(now) => self.idle.set(channel, binding.ends_at()),
                Some(_) => self.remove(channel),
                None => {}
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let idle = self.idle.first().map(|(at, _)| Wakeup { at, why: "idle relay binding" });
        Wakeup::earliest(idle, self.farewell.as_ref().map(Farewell::wakeup))
    }

    fn admit(
        &self,
        device: DeviceId,
        token: &Token,
        now_s: u64,
    ) -> Result<(Channel, DeviceId), RelayRefusal> {
        let peer = token.other(device).ok_or(RelayRefusal::Forged)?;
        let channel = token.channel().ok_or(RelayRefusal::Forged)?;
        // Asked about the last second of its life, a token is good unless it is forged.
        let last_s = u64::from(token.expires_s).saturating_sub(1);
        if !token.verify(&self.key, last_s) {
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
        self.limits.close(&binding.account);
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

/// The channel of all frames in a train, and their number; `None` if they are not of one, or one is malformed.
fn one_channel(bytes: &[u8], stride: usize) -> Option<(Channel, u64)> {
    let mut frames = bytes.chunks(stride.max(1));
    let (first, _) = RelayHeader::parse(frames.next()?).ok()?;
    let mut count = 1;
    for frame in frames {
        let (header, _) = RelayHeader::parse(frame).ok()?;
        if header.channel != first.channel {
            return None;
        }
        count += 1;
    }
    Some((first.channel, count))
}
