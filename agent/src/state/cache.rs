//! The device machine's cache as it stands in `state.json`.
//!
//! Its own types with named fields, not the protocol's bytes: the file outlives protocol versions, and a
//! person can read it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use lanyard_proto::device::{CoordinatorCache, MemberCache, NetworkCache};
use lanyard_wire::checkpoint::{
    Availability, Member, MemberState, NetworkCard, RelayGrant, ServiceAddr, Services,
};
use lanyard_wire::ids::{AttemptId, Channel, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::seal::Ticket;
use serde::{Deserialize, Serialize};

use super::text::{Bytes, Secret, Text};

/// Bytes of a resumption ticket; the compiler holds it against the type.
const TICKET_LEN: usize = 112;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CoordinatorFile {
    key: Text<PublicKey>,
    addrs: Vec<SocketAddr>,
    number: Option<Text<DeviceNumber>>,
    services: Option<ServicesFile>,
    ticket: Option<TicketFile>,
    networks: Vec<NetworkFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServicesFile {
    handshake: Vec<ServiceFile>,
    relay: Vec<ServiceFile>,
    stun: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    key: Text<PublicKey>,
    addrs: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketFile {
    ticket: Bytes<TICKET_LEN>,
    secret: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkFile {
    id: Text<NetworkId>,
    name: Text<NetworkName>,
    prefix4: (Ipv4Addr, u8),
    prefix6: Ipv6Addr,
    ip4: Ipv4Addr,
    ip6: Ipv6Addr,
    state: StateWord,
    #[serde(default = "yes")]
    peer_relay: bool,
    revision: u64,
    enabled: bool,
    members: Vec<MemberFile>,
}

/// What a network's card said before it said it.
const fn yes() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateWord {
    Active,
    Pending,
    Suspended,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberFile {
    identity: Text<PublicKey>,
    number: Text<DeviceNumber>,
    wireguard: Text<PublicKey>,
    name: Text<DeviceName>,
    ip4: Ipv4Addr,
    ip6: Ipv6Addr,
    online: bool,
    relay: GrantFile,
    endpoints: Vec<SocketAddr>,
    attempt: Option<u64>,
    last_active_unix_s: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    #[serde(with = "channel")]
    channel: Channel,
    expires_s: u32,
    mac: Bytes<16>,
}

impl From<&CoordinatorCache> for CoordinatorFile {
    fn from(cache: &CoordinatorCache) -> Self {
        let ticket = |(ticket, secret): &(Ticket, _)| TicketFile {
            ticket: Bytes(*ticket.as_bytes()),
            secret: Secret::from_symmetric(secret),
        };
        Self {
            key: Text(cache.key),
            addrs: cache.addrs.clone(),
            number: cache.number.map(Text),
            services: cache.services.as_ref().map(ServicesFile::from),
            ticket: cache.ticket.as_ref().map(ticket),
            networks: cache.networks.iter().map(NetworkFile::from).collect(),
        }
    }
}

impl From<CoordinatorFile> for CoordinatorCache {
    fn from(file: CoordinatorFile) -> Self {
        let ticket = |file: TicketFile| (Ticket::from_bytes(file.ticket.0), file.secret.into_symmetric());
        Self {
            key: file.key.0,
            addrs: file.addrs,
            number: file.number.map(|number| number.0),
            services: file.services.map(Into::into),
            ticket: file.ticket.map(ticket),
            networks: file.networks.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&Services> for ServicesFile {
    fn from(services: &Services) -> Self {
        let service =
            |service: &ServiceAddr| ServiceFile { key: Text(service.key), addrs: service.addrs.clone() };
        Self {
            handshake: services.handshake.iter().map(service).collect(),
            relay: services.relay.iter().map(service).collect(),
            stun: services.stun.clone(),
        }
    }
}

impl From<ServicesFile> for Services {
    fn from(file: ServicesFile) -> Self {
        let service = |file: ServiceFile| ServiceAddr { key: file.key.0, addrs: file.addrs };
        Self {
            handshake: file.handshake.into_iter().map(service).collect(),
            relay: file.relay.into_iter().map(service).collect(),
            stun: file.stun,
        }
    }
}

impl From<&NetworkCache> for NetworkFile {
    fn from(cache: &NetworkCache) -> Self {
        let card = &cache.card;
        Self {
            id: Text(card.id),
            name: Text(card.name.clone()),
            prefix4: card.prefix4,
            prefix6: card.prefix6,
            ip4: card.ip4,
            ip6: card.ip6,
            state: match card.state {
                MemberState::Active => StateWord::Active,
                MemberState::Pending => StateWord::Pending,
                MemberState::Suspended => StateWord::Suspended,
            },
            peer_relay: card.peer_relay,
            revision: cache.revision.value(),
            enabled: cache.enabled,
            members: cache.members.iter().map(MemberFile::from).collect(),
        }
    }
}

impl From<NetworkFile> for NetworkCache {
    fn from(file: NetworkFile) -> Self {
        let card = NetworkCard {
            id: file.id.0,
            name: file.name.0,
            prefix4: file.prefix4,
            prefix6: file.prefix6,
            ip4: file.ip4,
            ip6: file.ip6,
            state: match file.state {
                StateWord::Active => MemberState::Active,
                StateWord::Pending => MemberState::Pending,
                StateWord::Suspended => MemberState::Suspended,
            },
            peer_relay: file.peer_relay,
        };
        Self {
            card,
            revision: Revision::new(file.revision),
            enabled: file.enabled,
            members: file.members.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&MemberCache> for MemberFile {
    fn from(cache: &MemberCache) -> Self {
        let member = &cache.member;
        Self {
            identity: Text(member.identity),
            number: Text(member.number),
            wireguard: Text(member.wireguard),
            name: Text(member.name.clone()),
            ip4: member.ip4,
            ip6: member.ip6,
            online: member.availability.is_online(),
            relay: GrantFile {
                channel: member.relay.channel,
                expires_s: member.relay.expires_s,
                mac: Bytes(member.relay.mac),
            },
            endpoints: cache.endpoints.clone(),
            attempt: cache.attempt.map(AttemptId::value),
            last_active_unix_s: cache.last_active_unix_s,
        }
    }
}

impl From<MemberFile> for MemberCache {
    fn from(file: MemberFile) -> Self {
        let relay = RelayGrant {
            channel: file.relay.channel,
            expires_s: file.relay.expires_s,
            mac: file.relay.mac.0,
        };
        let member = Member {
            identity: file.identity.0,
            number: file.number.0,
            wireguard: file.wireguard.0,
            name: file.name.0,
            ip4: file.ip4,
            ip6: file.ip6,
            availability: if file.online {
                Availability::Online { prekey: None }
            } else {
                Availability::Offline
            },
            relay,
        };
        Self {
            member,
            endpoints: file.endpoints,
            attempt: file.attempt.map(AttemptId::new),
            last_active_unix_s: file.last_active_unix_s,
        }
    }
}

/// A channel as its number; more than 40 bits are refused.
mod channel {
    use lanyard_wire::ids::Channel;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(channel: &Channel, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(channel.value())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Channel, D::Error> {
        Channel::new(u64::deserialize(deserializer)?)
            .ok_or_else(|| de::Error::custom("a channel has at most 40 bits"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lanyard_proto::device::DeviceCache;
    use lanyard_wire::keys::SymmetricKey;

    use super::*;

    #[test]
    fn a_damaged_secret_is_refused() {
        let file = CoordinatorFile::from(&example().coordinators[0]);
        let json = serde_json::to_string(&file).unwrap();
        assert!(serde_json::from_str::<CoordinatorFile>(&json).is_ok());
        // One letter less of the ticket.
        let start = json.find("\"ticket\":\"").unwrap() + 10;
        let cut = format!("{}{}", &json[..start], &json[start + 1..]);
        assert!(serde_json::from_str::<CoordinatorFile>(&cut).is_err());
    }

    /// A cache with every field filled.
    pub(crate) fn example() -> DeviceCache {
        let address: SocketAddr = "203.0.113.10:7443".parse().unwrap();
        let service = ServiceAddr { key: PublicKey::from_bytes([3; 32]), addrs: vec![address] };
        let member = Member {
            identity: PublicKey::from_bytes([4; 32]),
            number: "184-220-093".parse().unwrap(),
            wireguard: PublicKey::from_bytes([5; 32]),
            name: "nas".parse().unwrap(),
            ip4: Ipv4Addr::new(10, 61, 7, 2),
            ip6: "fd5a::2".parse().unwrap(),
            availability: Availability::Online { prekey: None },
            relay: RelayGrant { channel: Channel::new(77).unwrap(), expires_s: 1_800_000_000, mac: [7; 16] },
        };
        let card = NetworkCard {
            id: NetworkId::from_bytes([6; 16]),
            name: "home".parse().unwrap(),
            prefix4: (Ipv4Addr::new(10, 61, 7, 0), 24),
            prefix6: "fd5a::".parse().unwrap(),
            ip4: Ipv4Addr::new(10, 61, 7, 3),
            ip6: "fd5a::3".parse().unwrap(),
            state: MemberState::Active,
            peer_relay: true,
        };
        let members = vec![MemberCache {
            member,
            endpoints: vec!["[2001:db8::7]:41641".parse().unwrap()],
            attempt: Some(AttemptId::new(99)),
            last_active_unix_s: 1_790_000_000,
        }];
        let network = NetworkCache { card, revision: Revision::new(12), enabled: true, members };
        let services =
            Services { handshake: vec![service.clone()], relay: vec![service], stun: vec![address] };
        DeviceCache {
            coordinators: vec![CoordinatorCache {
                key: PublicKey::from_bytes([3; 32]),
                addrs: vec![address],
                number: Some("291-044-871".parse().unwrap()),
                services: Some(services),
                ticket: Some((Ticket::from_bytes([8; TICKET_LEN]), SymmetricKey::from_bytes([9; 32]))),
                networks: vec![network],
            }],
        }
    }
}
