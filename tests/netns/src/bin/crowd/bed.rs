//! Where the crowd stands: the hub in the middle, and one wire from it to each of the others.
//!
//! No bridge: each wire is a veth pair that ends in the hub's own namespace, so that what is measured is the hub and not a
//! switch. The hub has one address for all of them.

use std::net::Ipv4Addr;

use anyhow::Result;
use lanyard_netns::namespaces::{Namespaces, ip};

/// The hub's address; benchmarking addresses (RFC 2544) are no device's own.
pub(super) const HUB: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// What the names of our namespaces begin with; the number of the process follows.
const PREFIX: &str = "lycrowd";
/// Most ends: their number is the last byte of an address.
pub(super) const ENDS_MAX: usize = 250;

/// The hub's namespace, and that of everybody at the end of a wire. Gone when dropped.
#[derive(Debug)]
pub(super) struct Bed(Namespaces);

impl Bed {
    /// Makes a hub with so many wires.
    pub(super) fn make(ends: usize) -> Result<Self> {
        let ends = ends.min(ENDS_MAX);
        let bed = Self(Namespaces::make(PREFIX, (0..=ends).map(|number| format!("{number}")))?);
        let hub = bed.hub();
        // A device for the address: loopback's are offered to nobody, and not every kernel has dummies.
        ip(&format!("-n {hub} link add name middle type veth peer name rim"))?;
        ip(&format!("-n {hub} addr add {HUB}/32 dev middle"))?;
        ip(&format!("-n {hub} link set middle up"))?;
        ip(&format!("-n {hub} link set rim up"))?;
        for number in 0..ends {
            let (end, far) = (bed.end(number), format!("198.18.1.{}", number + 1));
            ip(&format!("-n {hub} link add name to{number} type veth peer name wire netns {end}"))?;
            ip(&format!("-n {hub} link set to{number} up"))?;
            ip(&format!("-n {hub} route add {far}/32 dev to{number} src {HUB}"))?;
            ip(&format!("-n {end} addr add {far}/32 dev wire"))?;
            ip(&format!("-n {end} link set wire up"))?;
            ip(&format!("-n {end} route add {HUB}/32 dev wire src {far}"))?;
        }
        Ok(bed)
    }

    /// The namespace in the middle.
    pub(super) fn hub(&self) -> &str {
        self.0.name(0)
    }

    /// The namespace at the end of a wire.
    pub(super) fn end(&self, number: usize) -> &str {
        self.0.name(number + 1)
    }
}
