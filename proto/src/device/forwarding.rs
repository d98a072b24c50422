//! From networks and paths to the table that the data plane obeys.
//!
//! Networks claim addresses in the order in which this device came to know them: of two overlapping IPv4
//! prefixes the earlier network keeps IPv4, and no coordinator can take an address, or a device's WireGuard
//! key, from a network that was there before. The LANs this computer is on come before all of them: a device that is
//! carried into a LAN with the prefix of its network must still reach that LAN's router.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lanyard_wire::checkpoint::{Member, MemberState, NetworkCard};
use lanyard_wire::ids::{Channel, DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::NetworkName;

use super::consent::Consent;
use super::coordinator::Coordinator;
use super::directory::NetworkView;
use super::peer::Peer;
use super::peers::Peers;
use super::relayed::Grant;
use crate::overlay::{ForwardingTable, OverlayAddress, Path, PeerEntry, Transit};

/// The newest table, and what has to stay the same from one to the next.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    table: Arc<ForwardingTable>,
    /// Networks by coordinator and id, earliest first.
    order: Vec<(PublicKey, NetworkId)>,
    clashes: BTreeMap<NetworkId, String>,
    is_cut_off: bool,
}

/// What building a table found.
#[derive(Debug)]
pub(super) struct Built {
    /// The table, if it differs from the one before.
    pub(super) table: Option<Arc<ForwardingTable>>,
    /// Networks whose IPv4 stays off from now on: id, name, and what it clashes with.
    pub(super) clashes: Vec<(NetworkId, NetworkName, String)>,
}

impl Forwarding {
    /// Networks known from before a restart come first, in the order they had.
    pub(super) fn remember(&mut self, coordinator: PublicKey, networks: impl Iterator<Item = NetworkId>) {
        for network in networks {
            self.note(coordinator, network);
        }
    }

    /// The newest table.
    #[cfg(test)]
    pub(super) const fn table(&self) -> &Arc<ForwardingTable> {
        &self.table
    }

    /// Whether this is a relay's address and channel at which a peer may be heard.
    pub(super) fn is_heard_by(&self, peer: &DeviceId, relay: SocketAddr, channel: Channel) -> bool {
        self.heard_on(relay, channel).as_ref() == Some(peer)
    }

    /// The peer that may be heard at this relay's address and channel.
    pub(super) fn heard_on(&self, relay: SocketAddr, channel: Channel) -> Option<DeviceId> {
        self.table.by_channel(relay, channel).map(|entry| entry.device)
    }

    /// Whether this computer has no address outside the virtual LANs: then no path leads anywhere, and the data plane
    /// keeps the newest packets until one does. What it sent would be lost, and TCP wait twice as long each time.
    pub(super) const fn set_cut_off(&mut self, is_cut_off: bool) {
        self.is_cut_off = is_cut_off;
    }

    /// Whether no path leads anywhere.
    pub(super) const fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// The place of a network in the order.
    pub(super) fn place(&self, coordinator: &PublicKey, network: &NetworkId) -> usize {
        let known = self.order.iter().position(|known| known == &(*coordinator, *network));
        known.unwrap_or(usize::MAX)
    }

    /// What a network's IPv4 prefix clashes with.
    pub(super) fn clash(&self, network: &NetworkId) -> Option<&String> {
        self.clashes.get(network)
    }

    /// An address inside one of the networks this device is on.
    pub(super) fn is_overlay(&self, ip: IpAddr) -> bool {
        self.table.addresses.iter().any(|own| match ip {
            IpAddr::V4(ip) => own.ip4.is_some_and(|(ip4, length)| overlaps((ip, 32), (ip4, length))),
            IpAddr::V6(ip) => is_within6(ip, own.ip6.0, own.ip6.1),
        })
    }

    /// Builds the table of now; `local` are the IPv4 prefixes that this computer routes elsewhere.
    pub(super) fn build(
        &mut self,
        coordinators: &[Coordinator],
        peers: &Peers,
        consent: &Consent,
        local: &[(Ipv4Addr, u8)],
        transits: BTreeMap<Channel, Transit>,
    ) -> Built {
        let mut networks = Vec::new();
        for coordinator in coordinators {
            for network in coordinator.directory().networks() {
                self.note(coordinator.key(), network.card.id);
                networks.push((coordinator, network));
            }
        }
        let is_there = |known: &(PublicKey, NetworkId)| {
            networks.iter().any(|(coordinator, network)| *known == (coordinator.key(), network.card.id))
        };
        self.order.retain(is_there);
        networks.retain(|(_, network)| is_usable(network));
        networks.sort_by_key(|(coordinator, network)| self.place(&coordinator.key(), &network.card.id));

        let mut draft =
            Draft { is_cut_off: self.is_cut_off, least_mtu: peers.least_mtu(), ..Draft::default() };
        for (coordinator, network) in &networks {
            draft.add_network(&network.card, local);
            for (device, member) in &network.members {
                if consent.allows(device) {
                    draft.add_member(*device, member, &network.card, peers.get(device));
                    draft.add_channels(coordinator, *device);
                    let carrier = peers.get(device).and_then(Peer::carrier);
                    draft.channels.extend(carrier.map(|(carrier, channel)| (carrier, channel, *device)));
                }
            }
        }
        let clashes = draft.clashes.iter().filter(|(id, _, with)| self.clashes.get(id) != Some(with));
        let clashes = clashes.cloned().collect();
        self.clashes = draft.clashes.iter().map(|(id, _, with)| (*id, with.clone())).collect();

        let table = draft.finish(self.table.generation + 1).with_transits(transits);
        let is_news = !table.is_same_as(&self.table);
        if is_news {
            self.table = Arc::new(table);
        }
        Built { table: is_news.then(|| Arc::clone(&self.table)), clashes }
    }

    fn note(&mut self, coordinator: PublicKey, network: NetworkId) {
        if !self.order.contains(&(coordinator, network)) {
            self.order.push((coordinator, network));
        }
    }
}

/// Switched on, and this device is a full member.
pub(super) fn is_usable(network: &NetworkView) -> bool {
    network.enabled && network.card.state == MemberState::Active
}

/// A table on its way.
#[derive(Default)]
struct Draft {
    addresses: Vec<OverlayAddress>,
    prefixes: Vec<(Ipv4Addr, u8, NetworkName)>,
    entries: BTreeMap<DeviceId, PeerEntry>,
    claimed: BTreeSet<IpAddr>,
    channels: Vec<(SocketAddr, Channel, DeviceId)>,
    clashes: Vec<(NetworkId, NetworkName, String)>,
    /// The network under way has its IPv4.
    has_ip4: bool,
    is_cut_off: bool,
    least_mtu: u16,
}

impl Draft {
    fn add_network(&mut self, card: &NetworkCard, local: &[(Ipv4Addr, u8)]) {
        let with = self.clash_of(card.prefix4, local);
        self.has_ip4 = with.is_none();
        match with {
            Some(with) => self.clashes.push((card.id, card.name.clone(), with)),
            None => self.prefixes.push((card.prefix4.0, card.prefix4.1, card.name.clone())),
        }
        self.claimed.insert(card.ip6.into());
        if self.has_ip4 {
            self.claimed.insert(card.ip4.into());
        }
        self.addresses.push(OverlayAddress {
            network: card.id,
            name: card.name.clone(),
            ip4: self.has_ip4.then_some((card.ip4, card.prefix4.1)),
            ip6: (card.ip6, PREFIX6),
        });
    }

    /// What was there before and has addresses of this prefix.
    ///
    /// A local prefix that is wider than the network's does no harm: the longer prefix wins.
    fn clash_of(&self, prefix: (Ipv4Addr, u8), local: &[(Ipv4Addr, u8)]) -> Option<String> {
        let covers = |known: &&(Ipv4Addr, u8)| known.1 >= prefix.1 && overlaps(**known, prefix);
        if let Some((ip, length)) = local.iter().find(covers) {
            return Some(format!("a LAN of this computer ({ip}/{length})"));
        }
        let earlier = self.prefixes.iter().find(|(ip, length, _)| overlaps((*ip, *length), prefix));
        earlier.map(|(ip, length, name)| format!("{name} ({ip}/{length})"))
    }

    fn add_member(&mut self, device: DeviceId, member: &Member, card: &NetworkCard, peer: Option<&Peer>) {
        let entry = self.entries.entry(device).or_insert_with(|| PeerEntry {
            device,
            name: member.name.clone(),
            wireguard: member.wireguard,
            addresses: Vec::new(),
            path: peer.filter(|_| !self.is_cut_off).map_or(Path::None, Peer::path),
            mtu: peer.filter(|_| !self.is_cut_off).map_or(self.least_mtu, Peer::mtu),
            repeats: peer.map_or(0, Peer::repeats),
        });
        if entry.wireguard != member.wireguard {
            return;
        }
        let is_ours4 = self.has_ip4 && overlaps((member.ip4, 32), card.prefix4);
        if is_ours4 && self.claimed.insert(member.ip4.into()) {
            entry.addresses.push(member.ip4.into());
        }
        if is_within6(member.ip6, card.prefix6, PREFIX6) && self.claimed.insert(member.ip6.into()) {
            entry.addresses.push(member.ip6.into());
        }
    }

    fn add_channels(&mut self, coordinator: &Coordinator, device: DeviceId) {
        let token = coordinator.directory().grant_of(&device);
        if let Some(channel) = token.and_then(|token| token.channel()) {
            // The other end may have gone to another relay before us.
            self.channels.extend(coordinator.relay_addrs().map(|relay| (relay, channel, device)));
        }
    }

    fn finish(self, generation: u64) -> ForwardingTable {
        let peers = self.entries.into_values().collect();
        ForwardingTable::new(generation, self.addresses, peers, &self.channels)
    }
}

/// A coordinator's grant for the pair, with the relay both ends count to.
pub(super) fn grant_of(coordinator: &Coordinator, peer: &DeviceId) -> Option<Grant> {
    let token = coordinator.directory().grant_of(peer)?;
    let (relay, addr) = coordinator.relay_for(token.channel()?)?;
    Some(Grant { coordinator: coordinator.key(), token, relay, addr })
}

/// Length of every network's IPv6 prefix (docs/protocol.md).
const PREFIX6: u8 = 64;

/// Two IPv4 prefixes have addresses in common.
fn overlaps(one: (Ipv4Addr, u8), other: (Ipv4Addr, u8)) -> bool {
    let length = u32::from(one.1.min(other.1).min(32));
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    (one.0.to_bits() ^ other.0.to_bits()) & mask == 0
}

fn is_within6(ip: Ipv6Addr, prefix: Ipv6Addr, length: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
    (ip.to_bits() ^ prefix.to_bits()) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_overlap_when_one_contains_the_other() {
        assert!(overlaps(ip("10.9.0.0", 16), ip("10.9.4.0", 24)));
        assert!(overlaps(ip("10.9.4.0", 24), ip("10.9.0.0", 16)));
        assert!(overlaps(ip("10.9.4.7", 32), ip("10.9.4.0", 24)));
        assert!(overlaps(ip("0.0.0.0", 0), ip("10.9.4.0", 24)));
        assert!(!overlaps(ip("10.9.4.0", 24), ip("10.9.5.0", 24)));
    }

    #[test]
    fn an_ipv6_address_is_inside_its_prefix_only() {
        let prefix = "fd00:1:2:3::".parse().unwrap();
        assert!(is_within6("fd00:1:2:3::7".parse().unwrap(), prefix, 64));
        assert!(!is_within6("fd00:1:2:4::7".parse().unwrap(), prefix, 64));
    }

    fn ip(text: &str, length: u8) -> (Ipv4Addr, u8) {
        (text.parse().unwrap(), length)
    }
}
