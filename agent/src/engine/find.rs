//! Which network or peer a person means.

use std::net::IpAddr;

use lanyard_proto::device::Status;
use lanyard_proto::device::status::{MemberStatus, NetworkStatus};
use lanyard_wire::ids::{DeviceId, DeviceNumber};

use crate::exit::{Code, Problem};
use crate::state::Host;

/// The network of that name, id, or `NAME@HOST`.
pub(super) fn network<'a>(
    status: &'a Status,
    hosts: &[Host],
    word: &str,
) -> Result<&'a NetworkStatus, Problem> {
    let (name, host) = word.split_once('@').map_or((word, None), |(name, host)| (name, Some(host)));
    let mut found = status.networks.iter().filter(|network| {
        let is_called = network.name.as_str() == name || network.id.to_string() == name;
        let is_there =
            |host: &str| hosts.iter().any(|known| known.key == network.coordinator && known.name == host);
        is_called && host.is_none_or(is_there)
    });
    match (found.next(), found.next()) {
        (Some(network), None) => Ok(network),
        (None, _) => {
            let text = format!("this device has no network \"{word}\"; \"lanyard status\" lists them");
            Err(Problem::new(Code::NetworkUnknown, text))
        }
        (Some(_), Some(_)) => {
            let text = format!("several coordinators have a network \"{name}\"; say {name}@HOST");
            Err(Problem::new(Code::NetworkAmbiguous, text))
        }
    }
}

/// The peer of that name, `NAME.NETWORK`, overlay address, number or id.
///
/// A peer in several networks is the same device: the first network that is switched on stands for it.
pub(super) fn peer<'a>(
    status: &'a Status,
    word: &str,
) -> Result<(&'a NetworkStatus, &'a MemberStatus), Problem> {
    let means = Meaning::of(word);
    let mut found: Vec<_> = status
        .networks
        .iter()
        .flat_map(|network| network.members.iter().map(move |member| (network, member)))
        .filter(|(network, member)| means.matches(network, member))
        .collect();
    found.sort_by_key(|(network, _)| !network.enabled);
    let Some((network, member)) = found.first().copied() else {
        let text = format!("no member of your networks is called \"{word}\"; \"lanyard status\" lists them");
        return Err(Problem::new(Code::PeerUnknown, text));
    };
    if found.iter().all(|(_, other)| other.device == member.device) {
        return Ok((network, member));
    }
    let full: Vec<_> =
        found.iter().map(|(network, member)| format!("{}.{}", member.name, network.name)).collect();
    let text = format!("several devices are called \"{word}\"; say one of {}", full.join(", "));
    Err(Problem::new(Code::PeerAmbiguous, text))
}

/// What a word for a peer is.
struct Meaning<'a> {
    name: &'a str,
    network: Option<&'a str>,
    address: Option<IpAddr>,
    number: Option<DeviceNumber>,
    id: Option<DeviceId>,
}

impl<'a> Meaning<'a> {
    fn of(word: &'a str) -> Self {
        let (name, network) =
            word.split_once('.').map_or((word, None), |(name, network)| (name, Some(network)));
        Self { name, network, address: word.parse().ok(), number: word.parse().ok(), id: word.parse().ok() }
    }

    fn matches(&self, network: &NetworkStatus, member: &MemberStatus) -> bool {
        let is_named = member.name.as_str() == self.name
            && self.network.is_none_or(|name| network.name.as_str() == name);
        let has_address = self.address.is_some_and(|ip| ip == member.ip4 || ip == member.ip6);
        is_named || has_address || self.number == Some(member.number) || self.id == Some(member.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::report::tests::{HOST, example};

    #[test]
    fn a_peer_is_found_by_everything_that_names_it() {
        let status = example();
        let nas = status.networks[0].members[0].clone();
        for word in ["nas", "nas.home", "10.61.7.2", "fd5a::2", "184-220-093", "184220093"] {
            let (network, found) = peer(&status, word).unwrap();
            assert_eq!((network.name.as_str(), found.device), ("home", nas.device), "{word}");
        }
        assert_eq!(peer(&status, &nas.device.to_string()).unwrap().1.device, nas.device);
        for word in ["nobody", "nas.office", "10.61.7.99", ""] {
            assert_eq!(peer(&status, word).unwrap_err().code, Code::PeerUnknown, "{word}");
        }
    }

    #[test]
    fn two_devices_of_one_name_are_told_apart_by_their_network() {
        let mut status = example();
        let mut office = status.networks[0].clone();
        office.name = "office".parse().unwrap();
        // The same device in a second network is no ambiguity.
        status.networks.push(office);
        assert!(peer(&status, "nas").is_ok());

        status.networks[1].members[0].device = DeviceId::from_bytes([77; 16]);
        let problem = peer(&status, "nas").unwrap_err();
        assert_eq!(problem.code, Code::PeerAmbiguous);
        assert!(problem.text.contains("nas.home, nas.office"), "{problem}");
        assert_eq!(peer(&status, "nas.office").unwrap().1.device, DeviceId::from_bytes([77; 16]));
    }

    #[test]
    fn a_network_is_found_by_name_and_by_its_coordinator() {
        let mut status = example();
        let hosts =
            [Host { key: status.networks[0].coordinator, name: HOST.to_owned(), port: 7443, door: 443 }];
        assert_eq!(network(&status, &hosts, "home").unwrap().name.as_str(), "home");
        assert_eq!(network(&status, &hosts, "nowhere").unwrap_err().code, Code::NetworkUnknown);

        let mut second = status.networks[0].clone();
        second.coordinator = lanyard_wire::keys::PublicKey::from_bytes([99; 32]);
        status.networks.push(second);
        assert_eq!(network(&status, &hosts, "home").unwrap_err().code, Code::NetworkAmbiguous);
        let word = format!("home@{HOST}");
        assert_eq!(network(&status, &hosts, &word).unwrap().coordinator, hosts[0].key);
    }
}
