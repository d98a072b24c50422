//! Exact overlay addresses to positions in a list.
//!
//! Two sorted arrays, one per family: a look-up touches a few cache lines and allocates nothing. Subnet
//! routes will need longest prefixes; members' own addresses are exact.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which position owns which address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Routes {
    ipv4: Vec<(Ipv4Addr, u32)>,
    ipv6: Vec<(Ipv6Addr, u32)>,
}

impl Routes {
    /// Builds the arrays; of two claims to one address the earlier one stays.
    pub(super) fn new(claims: impl Iterator<Item = (IpAddr, u32)>) -> Self {
        let mut routes = Self::default();
        for (address, position) in claims {
            match address {
                IpAddr::V4(address) => routes.ipv4.push((address, position)),
                IpAddr::V6(address) => routes.ipv6.push((address, position)),
            }
        }
        // The sort is stable, so `dedup` keeps the earlier claim.
        routes.ipv4.sort_by_key(|(address, _)| *address);
        routes.ipv4.dedup_by_key(|(address, _)| *address);
        routes.ipv6.sort_by_key(|(address, _)| *address);
        routes.ipv6.dedup_by_key(|(address, _)| *address);
        routes
    }

    /// The position that owns `address`.
    pub(super) fn find(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => {
                let at = self.ipv4.binary_search_by_key(&address, |(key, _)| *key).ok()?;
                self.ipv4.get(at).map(|(_, position)| *position)
            }
            IpAddr::V6(address) => {
                let at = self.ipv6.binary_search_by_key(&address, |(key, _)| *key).ok()?;
                self.ipv6.get(at).map(|(_, position)| *position)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_claim_to_an_address_stays() {
        let shared: IpAddr = "10.0.0.1".parse().unwrap();
        let own: IpAddr = "fd00::1".parse().unwrap();
        let routes = Routes::new([(shared, 4), (own, 5), (shared, 6)].into_iter());
        assert_eq!(routes.find(shared), Some(4));
        assert_eq!(routes.find(own), Some(5));
        assert_eq!(routes.find("10.0.0.2".parse().unwrap()), None);
        assert_eq!(routes.find("fd00::2".parse().unwrap()), None);
    }
}
