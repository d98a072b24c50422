//! The device as a person wants to see it.

use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::checkpoint::{Member, PairCode, PairVerdict};
use lanyard_wire::handshake::Verdict;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::nat::{Filtering, Mapping, NatCard};

use super::Device;
use super::coordinator::Coordinator;
use super::directory::NetworkView;
use super::event::CoordinatorState;
use super::peer::Peer;
use super::status::{Advice, AttemptStatus, MemberStatus, NetworkStatus, Status};
use crate::overlay::Path;
use crate::time::Instant;

impl Device {
    /// The device at this moment.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        Status {
            device: self.me,
            card: *self.netcheck.card(),
            full_size: self.netcheck.is_full_size(),
            is_measuring_lifetime: self.netcheck.is_measuring_lifetime(),
            keep_alive: self.netcheck.keep_alive(),
            coordinators: self.coordinators.iter().map(Coordinator::status).collect(),
            networks: self
                .coordinators
                .iter()
                .flat_map(|coordinator| {
                    coordinator
                        .directory()
                        .networks()
                        .map(|network| self.network_status(coordinator, network, now))
                })
                .collect(),
        }
    }

    fn network_status(
        &self,
        coordinator: &Coordinator,
        network: &NetworkView,
        now: Instant,
    ) -> NetworkStatus {
        let members: Vec<MemberStatus> = network
            .members
            .iter()
            .map(|(device, member)| self.member_status(coordinator, *device, member, now))
            .collect();
        NetworkStatus {
            coordinator: coordinator.key(),
            id: network.card.id,
            name: network.card.name.clone(),
            state: network.card.state,
            enabled: network.enabled,
            revision: network.revision,
            prefix4: network.card.prefix4,
            ip4: network.card.ip4,
            ip6: network.card.ip6,
            clash: self.forwarding.clash(&network.card.id).cloned(),
            members,
        }
    }

    fn member_status(
        &self,
        coordinator: &Coordinator,
        device: DeviceId,
        member: &Member,
        now: Instant,
    ) -> MemberStatus {
        let peer = self.peers.get(&device);
        let mut attempt = peer.map_or_else(never_tried, Peer::attempt_status);
        attempt.advice = self.advice(coordinator, &device, member.availability.is_online(), &attempt);
        let (tx_bytes, rx_bytes) = peer.map_or((0, 0), Peer::bytes);
        let is_carried = peer.is_some_and(|peer| peer.is_carriers(peer.path()));
        let carrier = self.carriers.carrier_of(&device).filter(|_| is_carried);
        let carrier =
            carrier.and_then(|carrier| Some(coordinator.directory().member(&carrier)?.1.name.clone()));
        MemberStatus {
            device,
            name: member.name.clone(),
            number: member.number,
            ip4: member.ip4,
            ip6: member.ip6,
            online: member.availability.is_online(),
            refused: !self.consent.allows(&device),
            path: peer.map_or(Path::None, Peer::path),
            carrier,
            mtu: peer.map_or_else(|| self.peers.least_mtu(), Peer::mtu),
            rtt: peer.and_then(Peer::path_rtt),
            pings: peer.map(|peer| peer.ping_status(now)).unwrap_or_default(),
            attempt,
            tx_bytes,
            rx_bytes,
        }
    }

    /// Tells the coordinator that an attempt began at how the pair is now.
    pub(super) fn tell_verdict(&mut self, key: &PublicKey, peer: DeviceId, verdict: Verdict, now: Instant) {
        let Some(attempt) = self.peers.get(&peer).map(Peer::attempt_status) else { return };
        let Some(coordinator) = self.coordinators.iter().find(|known| known.key() == *key) else { return };
        let took = attempt.last_at.map_or(Duration::ZERO, |at| now.saturating_since(at));
        let is_detoured = coordinator.is_detoured();
        let code = match (verdict, attempt.advice) {
            (Verdict::Direct { .. }, _) => PairCode::Direct,
            (Verdict::None, _) => PairCode::NoRelay,
            (Verdict::Relayed, Advice::FullSizeLost) => PairCode::FullSizeLost,
            (Verdict::Relayed, _) => {
                code_of(blame(self.netcheck.card(), is_detoured, attempt.their_card.as_ref()))
            }
        };
        let took_ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        let verdict = PairVerdict { peer, code, method: attempt.method, took_ms };
        if let Some(coordinator) = self.coordinators.iter_mut().find(|known| known.key() == *key) {
            coordinator.tell_verdict(verdict, now);
        }
    }

    /// What stands in the way, with what both NATs do taken into account.
    fn advice(
        &self,
        coordinator: &Coordinator,
        device: &DeviceId,
        is_online: bool,
        attempt: &AttemptStatus,
    ) -> Advice {
        if !self.consent.allows(device) {
            return Advice::RefusedHere;
        }
        let is_up = matches!(coordinator.state(), CoordinatorState::Online { .. });
        if attempt.advice == Advice::Idle && is_up && !is_online {
            Advice::PeerOffline
        } else if attempt.advice == Advice::ProbesLost {
            let is_detoured = coordinator.is_detoured();
            blame(self.netcheck.card(), is_detoured, attempt.their_card.as_ref())
        } else if attempt.advice == Advice::NoRelay && !is_up {
            Advice::CoordinatorUnreachable
        } else {
            attempt.advice
        }
    }
}

const fn never_tried() -> AttemptStatus {
    AttemptStatus {
        state: "idle",
        method: None,
        their_card: None,
        candidates_tried: Vec::new(),
        guesses: 0,
        last_at: None,
        next_at: None,
        advice: Advice::Idle,
    }
}

/// Which NAT keeps probes from arriving, if it is a NAT.
///
/// A card of nothing but unknowns is what a device without UDP has, and one that has not measured yet. Ours is told by
/// the way to the coordinator. Theirs came with an offer, and where ours was measured theirs should have been.
fn blame(ours: &NatCard, is_detoured: bool, theirs: Option<&NatCard>) -> Advice {
    let unknown = NatCard::default();
    let is_there_blocked = theirs.is_some_and(|card| !card.udp && (ours.udp || *card != unknown));
    let theirs = theirs.unwrap_or(&unknown);
    let varies = |card: &NatCard| {
        matches!(card.mapping, Some(Mapping::AddressDependent | Mapping::AddressAndPortDependent))
    };
    let by_port = |card: &NatCard| card.filtering == Some(Filtering::AddressAndPortDependent);
    match () {
        () if is_detoured || (!ours.udp && *ours != unknown) => Advice::UdpBlockedHere,
        () if is_there_blocked => Advice::UdpBlockedThere,
        () if varies(ours) && varies(theirs) => Advice::BothMappingsVary,
        () if varies(ours) && by_port(theirs) => Advice::MappingVariesHere,
        () if varies(theirs) && by_port(ours) => Advice::MappingVariesThere,
        () => Advice::ProbesLost,
    }
}

/// What blame there is in the words of the wire.
const fn code_of(blame: Advice) -> PairCode {
    match blame {
        Advice::UdpBlockedHere => PairCode::UdpBlockedHere,
        Advice::UdpBlockedThere => PairCode::UdpBlockedThere,
        Advice::BothMappingsVary => PairCode::BothMappingsVary,
        Advice::MappingVariesHere => PairCode::MappingVariesHere,
        Advice::MappingVariesThere => PairCode::MappingVariesThere,
        Advice::FullSizeLost => PairCode::FullSizeLost,
        Advice::NoRelay => PairCode::NoRelay,
        Advice::Direct => PairCode::Direct,
        Advice::ProbesLost
        | Advice::Idle
        | Advice::Trying
        | Advice::RefusedHere
        | Advice::RefusedThere
        | Advice::PeerOffline
        | Advice::NoSharedNetwork
        | Advice::CoordinatorUnreachable => PairCode::ProbesLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nat_that_stands_in_the_way_is_named() {
        let friendly = card(Mapping::EndpointIndependent, Filtering::EndpointIndependent);
        let home = card(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent);
        let symmetric = card(Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent);
        let blocked = NatCard { udp: false, ..home };
        assert_eq!(blame(&symmetric, Some(&symmetric)), Advice::BothMappingsVary);
        assert_eq!(blame(&symmetric, Some(&home)), Advice::MappingVariesHere);
        assert_eq!(blame(&home, Some(&symmetric)), Advice::MappingVariesThere);
        assert_eq!(blame(&blocked, Some(&home)), Advice::UdpBlockedHere);
        assert_eq!(blame(&home, Some(&blocked)), Advice::UdpBlockedThere);
        assert_eq!(blame(&home, Some(&home)), Advice::ProbesLost);
        assert_eq!(blame(&friendly, Some(&symmetric)), Advice::ProbesLost, "that pair should work");
    }

    #[test]
    fn nothing_known_of_a_nat_is_no_reason_to_blame_it() {
        let unknown = NatCard::default();
        assert_eq!(blame(&unknown, None), Advice::ProbesLost);
        assert_eq!(blame(&unknown, Some(&unknown)), Advice::ProbesLost);
        assert_eq!(super::blame(&unknown, true, None), Advice::UdpBlockedHere);
        let home = card(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent);
        assert_eq!(blame(&home, Some(&unknown)), Advice::UdpBlockedThere);
    }

    fn blame(ours: &NatCard, theirs: Option<&NatCard>) -> Advice {
        super::blame(ours, false, theirs)
    }

    fn card(mapping: Mapping, filtering: Filtering) -> NatCard {
        NatCard { mapping: Some(mapping), filtering: Some(filtering), udp: true, ..NatCard::default() }
    }
}
