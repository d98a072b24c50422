//! Peer relays: members that pass on frames for pairs that cannot meet directly.
//!
//! A *carrier* is willing, can be reached by most, and has a direct path to both ends. Of a pair the end with the lower device
//! id chooses one and asks it; the carrier calls the other end, which asks as well; from then on frames go through it, by
//! paths that the carrier has anyway ([`errands`]: a pair's end, [`loads`]: the carrier's). The coordinator has no part in
//! this but to say who is a member and who is willing: each of the three looks into its own roster.

mod errands;
mod loads;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::carry::{Carry, CarryWord};
use lanyard_wire::checkpoint::Availability;
use lanyard_wire::envelope::{EARLY, PING, PONG, RelayHeader};
use lanyard_wire::ids::{Channel, DeviceId};
use lanyard_wire::nat::{Filtering, Mapping};
use lanyard_wire::probe::Probe;

use self::errands::{Due, Errands};
use self::loads::Loads;
use super::Device;
use super::forwarding::is_usable;
use super::peer::Peer;
use crate::overlay::{Transit, TransitEnd};
use crate::rejected::Rejected;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, SocketId, Transmit};

/// What a device has to do with carriers, its own and as one.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    /// Bits a second that this device passes on for all others together; none if it is not willing.
    willing: Option<u64>,
    errands: Errands,
    loads: Loads,
    /// Peers whose path may have changed.
    touched: BTreeSet<DeviceId>,
}

impl Carriers {
    pub(super) fn new(willing: Option<u64>) -> Self {
        Self { willing, ..Self::default() }
    }

    /// The member that carries a pair, or is to.
    pub(super) fn carrier_of(&self, peer: &DeviceId) -> Option<DeviceId> {
        self.errands.get(peer).map(|errand| errand.carrier)
    }

    /// The path to a peer may have changed.
    pub(super) fn touch(&mut self, peer: DeviceId) {
        self.touched.insert(peer);
    }
}

impl Device {
    /// Willing, and most others reach it without this device's help: it is what a pair needs of which both ends are behind hard NATs.
    pub(super) fn relays(&self) -> bool {
        let card = self.netcheck.card();
        let is_open = matches!(card.mapping, Some(Mapping::None | Mapping::EndpointIndependent))
            && card.filtering == Some(Filtering::EndpointIndependent);
        self.carriers.willing.is_some() && card.udp && (is_open || self.mapped().is_some())
    }

    /// Looks at the pairs whose path may have changed; says whether there were any.
    pub(super) fn settle_carriers(&mut self, now: Instant) -> bool {
        let touched = core::mem::take(&mut self.carriers.touched);
        for peer in &touched {
            self.look_at_pair(peer, now);
        }
        !touched.is_empty()
    }

    /// Members or their standing changed: every pair with a carrier is looked at, and whoever is gone is carried no more.
    pub(super) fn recheck_carriers(&mut self) {
        let is_over: Vec<DeviceId> =
            self.carriers.loads.devices().into_iter().filter(|device| !self.is_spoken_with(device)).collect();
        self.carriers.loads.cut(|device| is_over.contains(device));
        self.carriers.touched.extend(self.carriers.errands.peers());
    }

    /// Does what is due.
    pub(super) fn carriers_timeout(&mut self, now: Instant) {
        self.is_table_stale |= self.carriers.loads.handle_timeout(now);
        let is_carried = |peer: &DeviceId| self.peers.get(peer).is_some_and(Peer::is_carried);
        for (peer, due) in self.carriers.errands.due(now, is_carried) {
            match due {
                Due::Ask => self.ask_carrier(peer, now),
                Due::Failed => self.carrier_failed(peer, now),
            }
        }
    }

    /// When something is due.
    pub(super) fn carriers_wakeup(&self) -> Option<Wakeup> {
        let is_carried = |peer: &DeviceId| self.peers.get(peer).is_some_and(Peer::is_carried);
        let errand = self.carriers.errands.next_at(is_carried).map(|at| Wakeup { at, why: "a carrier" });
        let load = self.carriers.loads.next_at().map(|at| Wakeup { at, why: "a pair that we carry" });
        Wakeup::earliest(errand, load)
    }

    /// The pairs for which frames are passed on now.
    pub(super) fn transits(&self, now: Instant) -> BTreeMap<Channel, Transit> {
        let Some(willing) = self.carriers.willing else { return BTreeMap::new() };
        let mut transits = BTreeMap::new();
        for (channel, [a, b]) in self.carriers.loads.wanted(now) {
            if let (true, Some(a_end), Some(b_end)) =
                (self.may_carry(&a, &b), self.end_of(&a), self.end_of(&b))
            {
                transits.insert(channel, Transit { ends: [a_end, b_end], rate_bps: 0 });
            }
        }
        let share = willing / u64::try_from(transits.len()).unwrap_or(u64::MAX).max(1);
        transits.values_mut().for_each(|transit| transit.rate_bps = share);
        transits
    }

    /// Takes a frame with a probe or an early packet in it; those with WireGuard in them are the data plane's.
    pub(super) fn handle_frame(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        let (header, inner) = RelayHeader::parse(datagram.bytes).map_err(|_| Rejected::Malformed)?;
        if !matches!(inner, [PING | PONG | EARLY, ..]) || datagram.local != SocketId::MAIN {
            return Err(Rejected::NotOurs);
        }
        if inner.first() == Some(&EARLY) {
            return self.handle_early(header.channel, Datagram { bytes: inner, ..datagram }, now);
        }
        let probe = Probe::parse(inner).map_err(|_| Rejected::Malformed)?;
        let inner = Datagram { bytes: inner, ..datagram };
        let mut result = Err(Rejected::UnknownAttempt);
        for device in self.peers.of_attempt(probe.attempt) {
            if !self.forwarding.is_heard_by(&device, datagram.remote, header.channel) {
                result = Err(Rejected::UnknownChannel);
                continue;
            }
            let Some(peer) = self.peers.get_mut(&device) else { continue };
            result = peer.handle_framed(header.channel, inner, now);
            if result.is_ok() {
                self.drain_peer(&device, now);
                break;
            }
        }
        result
    }

    /// A peer was heard from `remote`: if frames for it go elsewhere, that way has to answer. Nothing else would show that its
    /// router gave it another address, since frames of others are no data of ours.
    pub(super) fn recheck_load(&mut self, device: &DeviceId, remote: SocketAddr, now: Instant) {
        let way = self.peers.get(device).and_then(Peer::direct_way);
        if self.carriers.loads.has(device) && way.is_some_and(|way| way.remote != remote) {
            self.with_peer(device, now, |peer| peer.ping_path(now));
        }
    }

    /// Takes a word of another device.
    pub(super) fn handle_carry(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        let claimed = Carry::parse(datagram.bytes).map_err(|_| Rejected::Malformed)?;
        let mut result = Err(Rejected::UnknownAttempt);
        for device in self.peers.of_attempt(claimed.attempt) {
            if !self.is_spoken_with(&device) {
                result = Err(Rejected::UnknownPeer);
                continue;
            }
            let Some(peer) = self.peers.get(&device) else { continue };
            match peer.open_carry(datagram.bytes) {
                // A recording can be sent from anywhere: what is said counts by a path that is proven.
                Ok(_) if !peer.answered_at().contains(&datagram.remote) => {
                    return Err(Rejected::NotAllowed);
                }
                Ok(carry) => return self.on_word(device, &carry, now),
                Err(why) => result = Err(why),
            }
        }
        result
    }

    fn on_word(&mut self, from: DeviceId, carry: &Carry, now: Instant) -> Result<(), Rejected> {
        match carry.word {
            CarryWord::Ask => self.asked_to_carry(from, carry, now),
            CarryWord::Call => self.called_by_carrier(from, carry, now),
            CarryWord::Open => {
                if !self.carriers.errands.opened(carry.peer, from, carry.number, now) {
                    return Err(Rejected::Unexpected);
                }
                let at =
                    self.peers.get(&from).and_then(Peer::direct_way).map(|way| (way.remote, carry.channel));
                self.with_peer(&carry.peer, now, |peer| peer.set_carrier(at, now));
                self.is_table_stale = true;
                Ok(())
            }
            CarryWord::Wait => Ok(()),
            CarryWord::Refused => {
                if !self.carriers.errands.refused(carry.peer, from, carry.number, now) {
                    return Err(Rejected::Unexpected);
                }
                self.leave_carrier(carry.peer, now);
                Ok(())
            }
        }
    }

    /// An end of a pair wants this device to carry.
    fn asked_to_carry(&mut self, from: DeviceId, ask: &Carry, now: Instant) -> Result<(), Rejected> {
        let is_taken =
            self.may_carry(&from, &ask.peer) && self.carriers.loads.ask(ask.channel, from, ask.peer, now);
        if !is_taken {
            self.say(from, &ask.answer(CarryWord::Refused));
            return Err(Rejected::NotAllowed);
        }
        // The ways to both are kept open for as long as they ask.
        self.with_peer(&from, now, |peer| peer.connect(now));
        self.with_peer(&ask.peer, now, |peer| peer.connect(now));
        self.is_table_stale = true;
        let is_reached = |device| self.peers.get(device).and_then(Peer::direct_way).is_some();
        let (is_peer_reached, are_both_reached) =
            (is_reached(&ask.peer), is_reached(&ask.peer) && is_reached(&from));
        let have_both_asked = self.carriers.loads.has_asked(ask.channel, ask.peer, now);
        // The end that chooses calls again with each question: the other one may have given up the way meanwhile.
        if (!have_both_asked || from < ask.peer) && is_peer_reached {
            self.say_new(ask.peer, CarryWord::Call, from, ask.channel);
        }
        let is_open = have_both_asked && are_both_reached;
        self.say(from, &ask.answer(if is_open { CarryWord::Open } else { CarryWord::Wait }));
        Ok(())
    }

    /// The other end of a pair has found a carrier.
    fn called_by_carrier(&mut self, carrier: DeviceId, call: &Carry, now: Instant) -> Result<(), Rejected> {
        let peer = call.peer;
        if peer == self.me || !self.shares_peer_relay(&[carrier, peer]) || !self.is_spoken_with(&peer) {
            return Err(Rejected::NotAllowed);
        }
        // The other end chooses.
        if self.me < peer || self.channel_with(&peer) != Some(call.channel) {
            return Err(Rejected::Unexpected);
        }
        self.with_peer(&peer, now, |peer| peer.called(now));
        let may_be_carried = self.peers.get(&peer).is_some_and(Peer::may_be_carried);
        let has_it = self.carriers.carrier_of(&peer) == Some(carrier);
        if !may_be_carried || has_it || !self.carriers.errands.begin(peer, carrier, now) {
            return Err(Rejected::Unexpected);
        }
        self.ask_carrier(peer, now);
        Ok(())
    }

    /// A pair may want a carrier now, or none any more.
    fn look_at_pair(&mut self, device: &DeviceId, now: Instant) {
        let Some(peer) = self.peers.get(device) else {
            self.carriers.errands.end(device);
            return;
        };
        let (is_wanted, is_of_use) = (peer.wants_carrier(), peer.may_be_carried());
        if !is_of_use {
            if self.carriers.errands.end(device) {
                self.leave_carrier(*device, now);
            }
            return;
        }
        if let Some(carrier) = self.carriers.carrier_of(device) {
            if !self.shares_peer_relay(&[carrier, *device]) || !self.is_willing(&carrier) {
                self.carrier_failed(*device, now);
            }
        } else if is_wanted
            && self.me < *device
            && self.carriers.errands.may_look(*device, now)
            && let Some(carrier) = self.choose_carrier(device, now)
            && self.carriers.errands.begin(*device, carrier, now)
        {
            tracing::debug!(peer = %device, %carrier, "carrier chosen");
            self.ask_carrier(*device, now);
        }
    }

    /// Asks a pair's carrier once more, or gets a path to it first.
    fn ask_carrier(&mut self, peer: DeviceId, now: Instant) {
        let Some(errand) = self.carriers.errands.get(&peer) else { return };
        let (carrier, is_open) = (errand.carrier, errand.is_open());
        let Some(channel) = self.channel_with(&peer) else { return };
        self.with_peer(&carrier, now, |carrier| carrier.connect(now));
        let way = self.peers.get(&carrier).and_then(Peer::direct_way);
        // Frames leave by the main socket.
        let number = match way.filter(|way| way.local == SocketId::MAIN) {
            Some(way) => {
                if is_open {
                    // The carrier's address may be another one by now.
                    self.with_peer(&peer, now, |peer| peer.set_carrier(Some((way.remote, channel)), now));
                }
                self.say_new(carrier, CarryWord::Ask, peer, channel)
            }
            None => None,
        };
        self.carriers.errands.asked(peer, number.unwrap_or_default(), now);
    }

    /// The way through the carrier does not answer: it may know us by an address that our NAT has given up.
    pub(super) fn carrier_lost(&mut self, peer: DeviceId, now: Instant) {
        if let Some(carrier) = self.carriers.carrier_of(&peer) {
            self.with_peer(&carrier, now, |carrier| carrier.ping_path(now));
        }
        self.carrier_failed(peer, now);
    }

    /// The carrier is of no use to a pair.
    fn carrier_failed(&mut self, peer: DeviceId, now: Instant) {
        self.carriers.errands.fail(peer, now);
        self.leave_carrier(peer, now);
        self.carriers.touch(peer);
    }

    fn leave_carrier(&mut self, peer: DeviceId, now: Instant) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.set_carrier(None, now);
            self.drain_peer(&peer, now);
            self.is_table_stale = true;
        }
    }

    /// The member that is to carry: one that is reached already, the nearest first; otherwise pairs spread over those there are.
    fn choose_carrier(&self, peer: &DeviceId, now: Instant) -> Option<DeviceId> {
        let spread = self.channel_with(peer)?.value();
        let order = |carrier: &DeviceId| {
            let known = self.peers.get(carrier);
            let rtt = known.filter(|peer| peer.direct_way().is_some()).and_then(Peer::rtt);
            let hash = carrier.as_bytes().first_chunk().copied().map_or(0, u64::from_be_bytes);
            (rtt.is_none(), rtt, hash ^ spread)
        };
        let candidates = self.members_with(peer).filter(|carrier| {
            self.is_willing(carrier)
                && self.is_spoken_with(carrier)
                && !self.carriers.errands.avoids(*peer, *carrier, now)
        });
        candidates.min_by_key(order)
    }

    /// Members of a network with peer relays that is this device's and the peer's too, the two aside.
    fn members_with<'a>(&'a self, peer: &'a DeviceId) -> impl Iterator<Item = DeviceId> + 'a {
        let networks = self.coordinators.iter().flat_map(|coordinator| coordinator.directory().networks());
        networks
            .filter(|network| {
                is_usable(network) && network.card.peer_relay && network.members.contains_key(peer)
            })
            .flat_map(|network| network.members.keys().copied())
            .filter(move |member| member != peer)
    }

    /// Whether all of these are in one network with this device that has peer relays.
    fn shares_peer_relay(&self, devices: &[DeviceId]) -> bool {
        let mut networks =
            self.coordinators.iter().flat_map(|coordinator| coordinator.directory().networks());
        networks.any(|network| {
            is_usable(network)
                && network.card.peer_relay
                && devices.iter().all(|device| network.members.contains_key(device))
        })
    }

    fn is_willing(&self, carrier: &DeviceId) -> bool {
        self.coordinators.iter().any(|coordinator| {
            let member = coordinator.directory().member(carrier);
            member.is_some_and(|(_, member)| matches!(member.availability, Availability::Relaying { .. }))
        })
    }

    fn is_spoken_with(&self, device: &DeviceId) -> bool {
        self.consent.allows(device) && self.member(device).is_some()
    }

    /// Whether this device passes on frames between two others.
    fn may_carry(&self, a: &DeviceId, b: &DeviceId) -> bool {
        self.relays()
            && a != b
            && [a, b].into_iter().all(|device| *device != self.me && self.is_spoken_with(device))
            && self.shares_peer_relay(&[*a, *b])
    }

    fn end_of(&self, device: &DeviceId) -> Option<TransitEnd> {
        let peer = self.peers.get(device)?;
        let from: Vec<SocketAddr> = peer.answered_at();
        Some(TransitEnd { to: peer.direct_way()?, from })
    }

    /// The channel of this device and a peer, the same at both ends.
    fn channel_with(&self, peer: &DeviceId) -> Option<Channel> {
        self.peers.get(peer)?.grant()?.channel()
    }

    /// Says something new to a device that is reached directly; the number that it was given.
    fn say_new(&mut self, to: DeviceId, word: CarryWord, peer: DeviceId, channel: Channel) -> Option<u64> {
        let carry = self.peers.get_mut(&to)?.carry_word(word, peer, channel)?;
        self.say(to, &carry);
        Some(carry.number)
    }

    fn say(&mut self, to: DeviceId, carry: &Carry) {
        let Some(peer) = self.peers.get(&to) else { return };
        if let (Some(way), Some(bytes)) = (peer.direct_way(), peer.seal_carry(carry)) {
            self.outbox.push(Transmit { local: way.local, remote: way.remote, bytes });
        }
    }
}
