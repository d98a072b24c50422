//! What needs to be measured once in a network, for as long as this device stays there or comes back.
//!
//! A network is known again by this device's own addresses, where the world sees them, and what the NAT does: a router
//! that was swapped or set up anew is another one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use lanyard_wire::nat::{Filtering, Mapping, NatCard};

/// Networks remembered; the victim is the one that was left longest ago. Home, work, a telephone's, and some cafés.
const KEPT: usize = 8;

/// What was measured in one network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The router turns datagrams to its own outside address around.
    pub(super) hairpin: Option<bool>,
    /// How long a mapping survives; the inner `None` where that cannot be measured.
    pub(super) lifetime_s: Option<Option<u16>>,
    /// A request as long as the largest datagram of a tunnel was answered.
    pub(super) full_size: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attachment {
    local: Vec<IpAddr>,
    public: Option<IpAddr>,
    mapping: Option<Mapping>,
    filtering: Option<Filtering>,
}

impl Attachment {
    fn of(local: &[SocketAddr], card: &NatCard) -> Self {
        let public4 = card.reflexive4.map(|seen| IpAddr::V4(*seen.ip()));
        let public = public4.or(card.reflexive6.map(|seen| IpAddr::V6(*seen.ip())));
        let is_v4 = public.is_none_or(|ip| ip.is_ipv4());
        let mut local: Vec<IpAddr> =
            local.iter().map(SocketAddr::ip).filter(|ip| ip.is_ipv4() == is_v4).collect();
        local.sort_unstable();
        Self { local, public, mapping: card.mapping, filtering: card.filtering }
    }
}

/// The networks this device was in, the newest last.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    known: VecDeque<(Attachment, Facts)>,
}

impl Attachments {
    /// What is known of the network that a card was made in.
    pub(super) fn facts(&self, local: &[SocketAddr], card: &NatCard) -> Facts {
        let here = Attachment::of(local, card);
        let known = self.known.iter().find(|(attachment, _)| *attachment == here);
        known.map(|(_, facts)| *facts).unwrap_or_default()
    }

    /// Notes something about it.
    pub(super) fn note(&mut self, local: &[SocketAddr], card: &NatCard, learn: impl FnOnce(&mut Facts)) {
        let here = Attachment::of(local, card);
        let at = self.known.iter().position(|(attachment, _)| *attachment == here);
        let known = at.and_then(|at| self.known.remove(at));
        let (_, mut facts) = known.unwrap_or_else(|| (here.clone(), Facts::default()));
        learn(&mut facts);
        if self.known.len() >= KEPT {
            self.known.pop_front();
        }
        self.known.push_back((here, facts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_known_again_and_another_router_is_another_network() {
        let mut attachments = Attachments::default();
        let (home, local) = (card(1), ["192.168.1.10:4000".parse().unwrap()]);
        attachments.note(&local, &home, |facts| facts.hairpin = Some(true));
        attachments.note(&local, &home, |facts| facts.lifetime_s = Some(Some(28)));
        let known = Facts { hairpin: Some(true), lifetime_s: Some(Some(28)), full_size: None };
        assert_eq!(attachments.facts(&local, &home), known);
        assert_eq!(attachments.facts(&["192.168.2.10:4000".parse().unwrap()], &home), Facts::default());
        assert_eq!(attachments.facts(&local, &card(2)), Facts::default());
        let swapped = NatCard { filtering: Some(Filtering::EndpointIndependent), ..home };
        assert_eq!(attachments.facts(&local, &swapped), Facts::default());
    }

    #[test]
    fn the_network_left_longest_ago_is_forgotten() {
        let mut attachments = Attachments::default();
        for last in 0..=8 {
            attachments.note(&[], &card(last), |facts| facts.hairpin = Some(false));
        }
        assert_eq!(attachments.facts(&[], &card(0)).hairpin, None);
        assert_eq!(attachments.facts(&[], &card(1)).hairpin, Some(false));
        assert_eq!(attachments.known.len(), KEPT);
    }

    fn card(last: u8) -> NatCard {
        let reflexive4 = core::net::SocketAddrV4::new([198, 51, 100, last].into(), 4_000);
        NatCard { udp: true, reflexive4: Some(reflexive4), ..NatCard::default() }
    }
}
