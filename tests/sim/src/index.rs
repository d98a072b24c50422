//! INDEX as the simulator plays it: the truth about networks and members, which no crash of a service touches.
//!
//! It decides joins by the invite, gives out numbers and overlay addresses, and turns every change into the
//! commands that feed an endpoint. The oracle asks it who may speak with whom.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lanyard_proto::service::{EndpointCommand, MemberRecord, NetworkRecord};
use lanyard_proto::time::Instant;
use lanyard_wire::checkpoint::{Join, JoinOutcome, JoinRefusal, MemberState};
use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{InviteCode, NetworkName};

/// The permanent data of one coordinator.
#[derive(Debug, Default)]
pub struct Index {
    networks: Vec<Network>,
    numbers: BTreeMap<DeviceId, DeviceNumber>,
    owners: BTreeMap<IpAddr, DeviceId>,
}

#[derive(Debug)]
struct Network {
    record: NetworkRecord,
    invite: InviteCode,
    members: BTreeMap<DeviceId, MemberRecord>,
    /// When each former member was removed.
    gone: BTreeMap<DeviceId, Instant>,
    next_host: u8,
}

impl Index {
    /// Creates a network: `number` is unique over all coordinators and chooses prefix, name and invite.
    pub fn create(&mut self, number: usize) {
        let Ok(byte) = u8::try_from(number) else { return };
        let Ok(name) = NetworkName::parse(&format!("net-{number}")) else { return };
        let record = NetworkRecord {
            id: NetworkId::from_bytes([byte.wrapping_add(1); 16]),
            name,
            prefix4: (Ipv4Addr::new(10, 77, byte, 0), 24),
            prefix6: Ipv6Addr::new(0xFD77, 0, 0, u16::from(byte), 0, 0, 0, 0),
            peer_relay: true,
            revision: Revision::ZERO.next(),
        };
        let invite = InviteCode::from_bytes([byte.wrapping_add(1); 5]);
        self.networks.push(Network {
            record,
            invite,
            members: BTreeMap::new(),
            gone: BTreeMap::new(),
            next_host: 1,
        });
    }

    /// Name and invite of each network, for join strings.
    pub fn invitations(&self) -> impl Iterator<Item = (NetworkId, NetworkName, InviteCode)> {
        self.networks.iter().map(|network| (network.record.id, network.record.name.clone(), network.invite))
    }

    /// What an endpoint with empty memory has to be told.
    #[must_use]
    pub fn everything(&self) -> Vec<EndpointCommand> {
        let mut all = Vec::new();
        for network in &self.networks {
            all.push(EndpointCommand::Network(network.record.clone()));
            let (id, revision) = (network.record.id, network.record.revision);
            all.extend(network.members.values().map(|member| EndpointCommand::Member {
                network: id,
                revision,
                member: member.clone(),
            }));
        }
        all.push(EndpointCommand::RosterComplete);
        all
    }

    /// Decides a join; the commands feed every endpoint of this coordinator.
    pub fn join(&mut self, identity: PublicKey, ask: &Join) -> (JoinOutcome, Vec<EndpointCommand>) {
        let refused = |why| (JoinOutcome::Refused(why), Vec::new());
        let Some(network) = self.networks.iter_mut().find(|network| network.record.name == ask.network)
        else {
            return refused(JoinRefusal::UnknownNetwork);
        };
        let device = DeviceId::of(&identity);
        let joined = JoinOutcome::Joined { network: network.record.id };
        if network.members.contains_key(&device) {
            return (joined, Vec::new());
        }
        if ask.invite != Some(network.invite) {
            return refused(JoinRefusal::InvalidInvite);
        }
        let next = u32::try_from(self.numbers.len()).unwrap_or(0) + 100_000_001;
        let Some(fresh) = DeviceNumber::new(next) else { return refused(JoinRefusal::Full) };
        let number = *self.numbers.entry(device).or_insert(fresh);
        if network.next_host >= 250 {
            return refused(JoinRefusal::Full);
        }
        network.next_host += 1;
        let [a, b, c, _] = network.record.prefix4.0.octets();
        let prefix6 = network.record.prefix6.segments();
        let member = MemberRecord {
            identity,
            number,
            wireguard: ask.wireguard,
            name: ask.name.clone(),
            ip4: Ipv4Addr::new(a, b, c, network.next_host),
            ip6: Ipv6Addr::new(prefix6[0], 0, 0, prefix6[3], 0, 0, 0, u16::from(network.next_host)),
            state: MemberState::Active,
        };
        self.owners.extend([(member.ip4.into(), device), (member.ip6.into(), device)]);
        network.gone.remove(&device);
        network.members.insert(device, member.clone());
        network.record.revision = network.record.revision.next();
        let (id, revision) = (network.record.id, network.record.revision);
        (joined, vec![EndpointCommand::Member { network: id, revision, member }])
    }

    /// Ends a membership, by whoever's decision.
    pub fn remove(&mut self, id: NetworkId, device: DeviceId, now: Instant) -> Vec<EndpointCommand> {
        let Some(network) = self.networks.iter_mut().find(|network| network.record.id == id) else {
            return Vec::new();
        };
        if network.members.remove(&device).is_none() {
            return Vec::new();
        }
        network.gone.insert(device, now);
        network.record.revision = network.record.revision.next();
        vec![EndpointCommand::MemberGone { network: id, revision: network.record.revision, device }]
    }

    /// The overlay address of `to` in a network that both are members of now.
    #[must_use]
    pub fn shared_address(&self, from: &DeviceId, to: &DeviceId) -> Option<IpAddr> {
        let shared = self.networks.iter().filter(|network| network.members.contains_key(from));
        shared.filter_map(|network| network.members.get(to)).map(|member| IpAddr::V4(member.ip4)).next()
    }

    /// Whose an overlay address is, or was: none is given twice.
    #[must_use]
    pub fn owner_of(&self, ip: &IpAddr) -> Option<DeviceId> {
        self.owners.get(ip).copied()
    }

    /// Since when two devices share no network here: `None` if they do, zero if they never did.
    #[must_use]
    pub fn apart_since(&self, a: &DeviceId, b: &DeviceId) -> Option<Instant> {
        if self.shared_address(a, b).is_some() {
            return None;
        }
        let ends = self.networks.iter().filter_map(|network| {
            let here =
                |device: &DeviceId| network.members.contains_key(device) || network.gone.contains_key(device);
            if !here(a) || !here(b) {
                return None;
            }
            let end = |device: &DeviceId| network.gone.get(device).copied().unwrap_or(Instant::MAX);
            Some(end(a).min(end(b)))
        });
        Some(ends.max().unwrap_or(Instant::ZERO))
    }
}
