//! A network's members, in pages and in changes.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::codec::lists::{List, Prefix4};
use crate::codec::messages::{wire_fields, wire_variants};
use crate::ids::{Channel, DeviceId, DeviceNumber, NetworkId, NetworkTag, PushId, RequestId, Revision};
use crate::keys::PublicKey;
use crate::limits::MEMBERS_PER_PAGE;
use crate::names::{DeviceName, NetworkName};
use crate::token::{Purpose, Token};

/// One page of a network's members.
///
/// A sender ends a page at [`MEMBERS_PER_PAGE`] changes or where the next would not fit
/// [`crate::limits::BODY_MAX`], whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The request.
    pub request: RequestId,
    /// The network and the asking device's place in it.
    pub network: NetworkCard,
    /// The revision these changes start from.
    pub from: Revision,
    /// The revision reached when the last page is applied.
    pub to: Revision,
    /// Whether the pages name every member, so that whoever is not named is gone.
    pub full: bool,
    /// Ask for more behind this device; none on the last page.
    pub next: Option<DeviceId>,
    /// The changes, in order of device ids.
    pub changes: Vec<Change>,
}

wire_fields!(Roster {
    request,
    network,
    from,
    to,
    full,
    next,
    changes as List(MEMBERS_PER_PAGE, "change count"),
});

/// Push: a network's roster changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterChanged {
    /// To be acknowledged.
    pub push: PushId,
    /// The network.
    pub network: NetworkId,
    /// The revision the changes start from; a device that holds another one asks.
    pub from: Revision,
    /// The revision reached.
    pub to: Revision,
    /// The changes; none when they do not fit: ask.
    pub changes: Vec<Change>,
}

wire_fields!(RosterChanged { push, network, from, to, changes as List(MEMBERS_PER_PAGE, "change count") });

/// A network as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkCard {
    /// The network.
    pub id: NetworkId,
    /// Its name at this coordinator.
    pub name: NetworkName,
    /// Its IPv4 prefix: address and length.
    pub prefix4: (Ipv4Addr, u8),
    /// Its IPv6 prefix, a /64.
    pub prefix6: Ipv6Addr,
    /// The member's own IPv4 address.
    pub ip4: Ipv4Addr,
    /// The member's own IPv6 address.
    pub ip6: Ipv6Addr,
    /// The member's own standing.
    pub state: MemberState,
    /// Whether members may pass on frames for each other.
    pub peer_relay: bool,
}

wire_fields!(NetworkCard { id, name, prefix4 as Prefix4, prefix6, ip4, ip6, state, peer_relay });

/// A member's standing in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Sees and is seen by the others.
    Active,
    /// Waits for an administrator.
    Pending,
    /// Shut out for now.
    Suspended,
}

wire_variants!(MemberState "member state" {
    0x01 => Active,
    0x02 => Pending,
    0x03 => Suspended,
});

/// One change of a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The member is there and looks like this.
    Present(Member),
    /// The device is no member any more; the receiver's own id means itself.
    Gone(DeviceId),
}

wire_variants!(Change "roster change" {
    0x01 => Present(member),
    0x02 => Gone(device),
});

/// Another device in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity; its id is [`DeviceId::of`] this.
    pub identity: PublicKey,
    /// Its public number.
    pub number: DeviceNumber,
    /// Its WireGuard key.
    pub wireguard: PublicKey,
    /// Its name in the network.
    pub name: DeviceName,
    /// Its IPv4 address in the network.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address in the network.
    pub ip6: Ipv6Addr,
    /// Whether it is there.
    pub availability: Availability,
    /// The pair's channel at the relay.
    pub relay: RelayGrant,
}

wire_fields!(Member { identity, number, wireguard, name, ip4, ip6, availability, relay });

impl Member {
    /// Its device id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::of(&self.identity)
    }
}

/// Whether a member is there, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Availability {
    /// It has no session with the coordinator.
    Offline,
    /// It has one.
    Online {
        /// The key to which early packets for it are sealed; none if it takes none.
        prekey: Option<PublicKey>,
    },
    /// It has one, can be reached, and passes on frames for pairs of its networks that allow it.
    Relaying {
        /// The same.
        prekey: Option<PublicKey>,
    },
}

wire_variants!(Availability "availability" {
    0x00 => Offline,
    0x01 => Online { prekey },
    0x02 => Relaying { prekey },
});

impl Availability {
    /// Whether it has a session with the coordinator.
    #[must_use]
    pub const fn is_online(self) -> bool {
        matches!(self, Self::Online { .. } | Self::Relaying { .. })
    }

    /// The key to which early packets for it are sealed.
    #[must_use]
    pub const fn prekey(self) -> Option<PublicKey> {
        match self {
            Self::Offline => None,
            Self::Online { prekey } | Self::Relaying { prekey } => prekey,
        }
    }
}

/// The parts of a relay token that both ends of a pair do not know already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayGrant {
    /// The pair's channel.
    pub channel: Channel,
    /// Unix time in seconds from which on it is void.
    pub expires_s: u32,
    /// The token's keyed hash.
    pub mac: [u8; 16],
}

wire_fields!(RelayGrant { channel, expires_s, mac });

impl RelayGrant {
    /// Takes the parts of a token; none when it is not for a relay channel.
    #[must_use]
    pub const fn of(token: &Token) -> Option<Self> {
        match token.channel() {
            Some(channel) => Some(Self { channel, expires_s: token.expires_s, mac: token.mac }),
            None => None,
        }
    }

    /// The whole token for two devices, given in any order, and the network in whose roster it stands.
    #[must_use]
    pub fn token(&self, x: DeviceId, y: DeviceId, network: &NetworkId) -> Token {
        Token {
            purpose: Purpose::Relay,
            a: x.min(y),
            b: x.max(y),
            value: self.channel.in_network(NetworkTag::of(network)),
            expires_s: self.expires_s,
            mac: self.mac,
        }
    }
}
