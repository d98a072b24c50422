//! PCP and its predecessor NAT-PMP, which share the router's port, by the crate `crab_nat`.
//!
//! The library sends from a socket that is connected to the router, so the kernel drops what others send, and
//! reads answers of bounded size. It is not asked for a lifetime of zero but to release, and a router that
//! grants zero seconds has refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig,
    natpmp, pcp,
};
use lanyard_proto::time::Instant;
use lanyard_wire::keys::keyed_hash;
use tracing::debug;

use super::epoch::Epoch;
use super::{Lease, Protocol, Router};
use crate::clock::Clock;

/// When a request is repeated: after 250 ms, then after 500 ms more (RFC 6886, section 3.1).
const PATIENCE: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 2, max_retry_timeout: None };

/// A mapping that was granted by PCP or NAT-PMP.
#[derive(Debug)]
pub(super) struct Mapping {
    inner: PortMapping,
    address: Ipv4Addr,
    heard_at: Instant,
}

impl Mapping {
    /// Asks by PCP for a mapping of `port` to the same port outside, and takes what is given.
    ///
    /// The nonce is what a router knows the owner of a mapping by: without it nobody renews it before it lapses,
    /// not even an agent that was killed and started again.
    pub(super) async fn by_pcp(
        router: Router,
        port: NonZeroU16,
        nonce: pcp::Nonce,
        lifetime: Duration,
    ) -> Option<Self> {
        let request = pcp::BaseMapRequest::new(
            GatewayAddress::IpV4(router.gateway),
            IpAddr::V4(router.local),
            InternetProtocol::Udp,
            port,
        );
        match pcp::port_mapping(request, Some(nonce), None, options(port, lifetime)).await {
            Ok(inner) => Self::granted(inner, None),
            Err(error) => {
                debug!(%error, "no port by PCP");
                None
            }
        }
    }

    /// Asks by NAT-PMP; `address` is what [`external_address`] said.
    pub(super) async fn by_natpmp(
        router: Router,
        address: Ipv4Addr,
        port: NonZeroU16,
        lifetime: Duration,
    ) -> Option<Self> {
        let gateway = GatewayAddress::IpV4(router.gateway);
        match natpmp::port_mapping(gateway, InternetProtocol::Udp, port, options(port, lifetime)).await {
            Ok(inner) => Self::granted(inner, Some(address)),
            Err(error) => {
                debug!(%error, "no port by NAT-PMP");
                None
            }
        }
    }

    fn granted(inner: PortMapping, address: Option<Ipv4Addr>) -> Option<Self> {
        let address = match inner.mapping_type() {
            PortMappingType::Pcp { external_ip, .. } => match external_ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(ip) => ip.to_ipv4_mapped(),
            },
            PortMappingType::NatPmp => address,
        }?;
        (inner.lifetime() > 0).then(|| Self { inner, address, heard_at: Clock.now() })
    }

    /// What the router granted.
    pub(super) fn lease(&self) -> Lease {
        let protocol = match self.inner.mapping_type() {
            PortMappingType::Pcp { .. } => Protocol::Pcp,
            PortMappingType::NatPmp => Protocol::NatPmp,
        };
        let external = SocketAddrV4::new(self.address, self.inner.external_port().get());
        Lease { protocol, external, lifetime: Duration::from_secs(self.inner.lifetime().into()) }
    }

    /// The router's clock with its newest answer.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch { seconds: self.inner.gateway_epoch(), heard_at: self.heard_at }
    }

    /// Asks for the same mapping once more; `None` when it is not granted. Dropping the future changes nothing.
    pub(super) async fn renewed(&self) -> Option<Self> {
        let mut inner = self.inner.clone();
        inner.renew().await.inspect_err(|error| debug!(%error, "the mapped port is not renewed")).ok()?;
        // NAT-PMP names the address in an answer of its own.
        let address = match inner.mapping_type() {
            PortMappingType::Pcp { .. } => None,
            PortMappingType::NatPmp => Some(external_address(inner.gateway()).await?),
        };
        Self::granted(inner, address)
    }

    /// Gives the mapping back.
    pub(super) async fn release(self) {
        if let Err((error, _)) = self.inner.try_drop().await {
            debug!(%error, "the router does not take the mapped port back");
        }
    }
}

/// The nonce for a mapping of this device (RFC 6887, section 11.2): secret, the same after every start, and
/// another one at every router, so that none learns it for the next.
pub(super) fn nonce(secret: &[u8; 16], router: Router, port: NonZeroU16) -> pcp::Nonce {
    let parts: [&[u8]; 3] = [&router.gateway.octets(), &router.local.octets(), &port.get().to_be_bytes()];
    let hash = keyed_hash(secret, &parts);
    let word = |at: usize| u32::from_be_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]);
    [word(0), word(4), word(8)]
}

/// Asks a router that may speak NAT-PMP for its address outside, which opens nothing.
pub(super) async fn external_address(gateway: impl Into<GatewayAddress>) -> Option<Ipv4Addr> {
    natpmp::external_address(gateway.into(), Some(PATIENCE))
        .await
        .inspect_err(|error| debug!(%error, "no address by NAT-PMP"))
        .ok()
}

fn options(port: NonZeroU16, lifetime: Duration) -> PortMappingOptions {
    PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: u32::try_from(lifetime.as_secs()).ok(),
        timeout_config: Some(PATIENCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_the_same_after_a_restart_and_another_one_elsewhere() {
        let here = Router { gateway: [192, 168, 1, 1].into(), local: [192, 168, 1, 10].into() };
        let there = Router { gateway: [192, 168, 2, 1].into(), ..here };
        let [first, second] = [1_000, 2_000].map(|port| NonZeroU16::new(port).unwrap());
        assert_eq!(nonce(&[7; 16], here, first), nonce(&[7; 16], here, first));
        for other in
            [nonce(&[7; 16], there, first), nonce(&[7; 16], here, second), nonce(&[8; 16], here, first)]
        {
            assert_ne!(nonce(&[7; 16], here, first), other);
        }
    }
}
