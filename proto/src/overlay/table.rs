//! What the device machine tells the data plane, and what it hears back.
//!
//! A [`ForwardingTable`] is an immutable snapshot: who owns which overlay address, which WireGuard key a
//! peer has, and which path leads to it. The machine publishes a new one, with the next generation, only
//! when something in it changed; a peer that is no longer in the newest table has no tunnel any more.
//! [`Observation`]s come back, coalesced, and count **authenticated** traffic only.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lanyard_wire::ids::{Channel, DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, NetworkName};

use super::route::Routes;
use super::transit::Transit;
use crate::time::Instant;
use crate::transmit::SocketId;

/// An immutable snapshot of everything forwarding needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardingTable {
    /// Counts the snapshots of one machine; each differs from the one before.
    pub generation: u64,
    /// Own addresses, one entry per enabled network.
    pub addresses: Vec<OverlayAddress>,
    /// Peers, sorted by device.
    pub peers: Vec<PeerEntry>,
    routes: Routes,
    channels: BTreeMap<(SocketAddr, Channel), u32>,
    transits: BTreeMap<Channel, Transit>,
}

/// Own addresses in one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayAddress {
    /// The network.
    pub network: NetworkId,
    /// Its name.
    pub name: NetworkName,
    /// Own IPv4 address and prefix length; `None` while the prefix clashes with an earlier network's.
    pub ip4: Option<(Ipv4Addr, u8)>,
    /// Own IPv6 address and prefix length.
    pub ip6: (Ipv6Addr, u8),
}

/// One peer, however many networks it shares with this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// The device at the other end.
    pub device: DeviceId,
    /// Its name, for logs.
    pub name: DeviceName,
    /// Its WireGuard key.
    pub wireguard: PublicKey,
    /// Its overlay addresses: the destinations it owns and the only inner sources it may use.
    pub addresses: Vec<IpAddr>,
    /// Where outbound datagrams to it go.
    pub path: Path,
    /// The largest packet that `path` is known to carry, in bytes.
    pub mtu: u16,
    /// How often the datagram sent last had to be sent again. When this changes, a data plane does so by `path`, and
    /// sends a keep-alive behind it, by which the other end learns that it is heard again.
    pub repeats: u32,
}

/// Where datagrams of one peer travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Straight to the peer.
    Direct {
        /// Own socket.
        local: SocketId,
        /// The peer's address as this device reaches it.
        remote: SocketAddr,
    },
    /// Through a RELAY, with an eight-byte header in front.
    Relayed {
        /// The relay's address.
        relay: SocketAddr,
        /// The pair's channel there.
        channel: Channel,
    },
    /// Nowhere yet: the newest packets wait, and the observation says so.
    #[default]
    None,
}

impl Path {
    /// Leads straight to the peer.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self, Self::Direct { .. })
    }

    /// Leads through a relay.
    #[must_use]
    pub const fn is_relayed(&self) -> bool {
        matches!(self, Self::Relayed { .. })
    }
}

/// What a data plane saw of one peer since its last report; at most 100 ms old.
///
/// It says when, too: how soon a dead path shows does not depend on how often a data plane reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The peer.
    pub peer: DeviceId,
    /// Datagrams sent to it, WireGuard's own included.
    pub tx_packets: u32,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Authenticated datagrams by the path they came on: packets and bytes.
    pub rx: Vec<(Path, u32, u64)>,
    /// When the last of them came; `None` for now.
    pub heard_at: Option<Instant>,
    /// When the first datagram was sent that none has followed since, in this report or before; `None` for now.
    pub unanswered_since: Option<Instant>,
    /// Packets wait for a path.
    pub waiting: bool,
}

impl Observation {
    /// Nothing was seen of this peer.
    #[must_use]
    pub const fn of(peer: DeviceId) -> Self {
        Self {
            peer,
            tx_packets: 0,
            tx_bytes: 0,
            rx: Vec::new(),
            heard_at: None,
            unanswered_since: None,
            waiting: false,
        }
    }
}

impl ForwardingTable {
    /// Indexes `peers`, which it sorts by device.
    ///
    /// `channels` are the relay channels by which a peer may still be heard while its path leads
    /// elsewhere: the two ends of a pair move one after the other. The channel of a relayed path need not
    /// be named. Of two peers that claim one address the lower device keeps it; a caller that minds gives
    /// each address once.
    #[must_use]
    pub fn new(
        generation: u64,
        addresses: Vec<OverlayAddress>,
        mut peers: Vec<PeerEntry>,
        channels: &[(SocketAddr, Channel, DeviceId)],
    ) -> Self {
        peers.sort_by_key(|peer| peer.device);
        let routes = Routes::new(
            (0..).zip(&peers).flat_map(|(at, peer)| peer.addresses.iter().map(move |ip| (*ip, at))),
        );
        let (channels_of, transits) = (BTreeMap::new(), BTreeMap::new());
        let mut table = Self { generation, addresses, peers, routes, channels: channels_of, transits };
        for (relay, channel, device) in channels {
            if let Some(at) = table.position(device) {
                table.channels.insert((*relay, *channel), at);
            }
        }
        for (at, peer) in (0..).zip(&table.peers) {
            if let Path::Relayed { relay, channel } = peer.path {
                table.channels.insert((relay, channel), at);
            }
        }
        table
    }

    /// The same, and the pairs of others for which frames are passed on.
    #[must_use]
    pub fn with_transits(self, transits: BTreeMap<Channel, Transit>) -> Self {
        Self { transits, ..self }
    }

    /// The pair of others whose channel this is, if frames are passed on for it.
    #[must_use]
    pub fn transit(&self, channel: Channel) -> Option<&Transit> {
        self.transits.get(&channel)
    }

    /// Every pair of others for which frames are passed on.
    pub fn transits(&self) -> impl Iterator<Item = (&Channel, &Transit)> {
        self.transits.iter()
    }

    /// The peer that owns an overlay address.
    #[must_use]
    pub fn route(&self, destination: IpAddr) -> Option<&PeerEntry> {
        self.peers.get(self.route_to(destination)?)
    }

    /// The place of the peer that owns an overlay address, among [`Self::peers`].
    #[must_use]
    pub fn route_to(&self, destination: IpAddr) -> Option<usize> {
        usize::try_from(self.routes.find(destination)?).ok()
    }

    /// The entry of a device.
    #[must_use]
    pub fn peer(&self, device: &DeviceId) -> Option<&PeerEntry> {
        self.entry(self.position(device)?)
    }

    /// The peer that speaks on this channel of this relay.
    #[must_use]
    pub fn by_channel(&self, relay: SocketAddr, channel: Channel) -> Option<&PeerEntry> {
        self.entry(*self.channels.get(&(relay, channel))?)
    }

    /// An address of this device itself.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| match address {
            IpAddr::V4(address) => own.ip4.is_some_and(|(ip4, _)| ip4 == address),
            IpAddr::V6(address) => own.ip6.0 == address,
        })
    }

    /// Says the same as `other`, generations aside.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.addresses == other.addresses
            && self.peers == other.peers
            && self.channels == other.channels
            && self.transits == other.transits
    }

    fn position(&self, device: &DeviceId) -> Option<u32> {
        let at = self.peers.binary_search_by_key(device, |peer| peer.device).ok()?;
        u32::try_from(at).ok()
    }

    fn entry(&self, position: u32) -> Option<&PeerEntry> {
        self.peers.get(usize::try_from(position).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn an_address_leads_to_the_peer_that_owns_it() {
        let table = table();
        let nas = table.route("10.9.0.3".parse().unwrap()).unwrap();
        assert_eq!(nas.device, device(3));
        assert_eq!(table.route("fd00::3".parse().unwrap()), Some(nas));
        assert_eq!(table.route("10.9.0.77".parse().unwrap()), None);
        assert_eq!(table.peer(&device(3)), Some(nas));
        assert_eq!(table.peer(&device(9)), None);
    }

    #[test]
    fn a_relay_channel_leads_to_the_peer_only_at_its_relay() {
        let table = table();
        let channel = Channel::new(77).unwrap();
        let relay = "192.0.2.1:7443".parse().unwrap();
        assert_eq!(table.by_channel(relay, channel).unwrap().device, device(1));
        assert_eq!(table.by_channel("192.0.2.2:7443".parse().unwrap(), channel), None);
        assert_eq!(table.by_channel(relay, Channel::new(78).unwrap()), None);
    }

    #[test]
    fn a_peer_is_heard_on_its_channel_while_its_path_is_direct() {
        let relay = "192.0.2.1:7443".parse().unwrap();
        let channel = Channel::new(78).unwrap();
        let direct = Path::Direct { local: SocketId::MAIN, remote: "192.0.2.9:1".parse().unwrap() };
        let table = ForwardingTable::new(
            1,
            vec![],
            vec![entry(3, direct)],
            &[(relay, channel, device(3)), (relay, Channel::new(79).unwrap(), device(4))],
        );
        assert_eq!(table.by_channel(relay, channel).unwrap().path, direct);
        assert_eq!(table.by_channel(relay, Channel::new(79).unwrap()), None, "no such peer");
    }

    #[test]
    fn own_addresses_are_local_and_a_clashing_ipv4_is_not() {
        let table = table();
        assert!(table.is_local("10.9.0.2".parse().unwrap()));
        assert!(table.is_local("fd01::2".parse().unwrap()));
        assert!(!table.is_local("10.9.0.3".parse().unwrap()));
    }

    #[test]
    fn the_generation_alone_makes_no_difference() {
        let mut next = table();
        next.generation += 1;
        assert!(next.is_same_as(&table()));
        next.peers[0].path = Path::None;
        assert!(!next.is_same_as(&table()));
    }

    fn table() -> ForwardingTable {
        let channel = Channel::new(77).unwrap();
        let relayed = Path::Relayed { relay: "192.0.2.1:7443".parse().unwrap(), channel };
        let addresses = vec![
            own(1, "home", Some("10.9.0.2"), "fd00::2"),
            // The second network's IPv4 prefix clashes.
            own(2, "office", None, "fd01::2"),
        ];
        ForwardingTable::new(1, addresses, vec![entry(3, Path::None), entry(1, relayed)], &[])
    }

    fn own(id: u8, name: &str, ip4: Option<&str>, ip6: &str) -> OverlayAddress {
        OverlayAddress {
            network: NetworkId::from_bytes([id; 16]),
            name: NetworkName::parse(name).unwrap(),
            ip4: ip4.map(|ip4| (ip4.parse().unwrap(), 24)),
            ip6: (ip6.parse().unwrap(), 64),
        }
    }

    fn entry(id: u8, path: Path) -> PeerEntry {
        PeerEntry {
            device: device(id),
            name: DeviceName::parse("nas").unwrap(),
            wireguard: PublicKey::from_bytes([id; 32]),
            addresses: vec![
                Ipv4Addr::new(10, 9, 0, id).into(),
                Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, u16::from(id)).into(),
            ],
            path,
            mtu: 1_280,
            repeats: 0,
        }
    }

    fn device(id: u8) -> DeviceId {
        DeviceId::from_bytes([id; 16])
    }
}
