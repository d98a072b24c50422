//! UPnP-IGD by the crate `igd-next`: the router is searched for by SSDP and asked in SOAP.
//!
//! A search by multicast is heard and can be answered by everybody on the LAN. The library follows an answer
//! only to the address it came from, without redirects, and reads at most 1 MiB of XML, 64 levels deep; what is
//! found then counts only if it is the router. A second search goes to the router alone, so that a loud
//! neighbour cannot drown it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use futures_util::future::{Either, select};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, GatewayIpVersion, PortMappingProtocol, SearchOptions};
use tracing::debug;

use super::{Lease, Protocol, Router};

/// What people see in the router's list of mappings.
const DESCRIPTION: &str = "lanyard";

/// Ports tried when others have the one asked for: with a third of all taken, one in 6,000 finds none.
const TRIES: usize = 8;

/// A router that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    gateway: Gateway<Tokio>,
    address: Ipv4Addr,
    local: Ipv4Addr,
}

/// A mapping that was granted by UPnP-IGD.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    found: Found,
    port: NonZeroU16,
    external_port: u16,
    lifetime: Duration,
}

/// Searches for the router and asks for its address outside, which opens nothing.
pub(super) async fn find(router: Router, within: Duration) -> Option<Found> {
    let multicast = Ipv4Addr::new(239, 255, 255, 250);
    let by_all = Box::pin(search(router, multicast, within));
    let by_router = Box::pin(search(router, router.gateway, within));
    let gateway = match select(by_all, by_router).await {
        Either::Left((Some(found), _)) | Either::Right((Some(found), _)) => found,
        Either::Left((None, other)) => other.await?,
        Either::Right((None, other)) => other.await?,
    };
    let IpAddr::V4(address) = gateway.get_external_ip().await.ok()? else { return None };
    Some(Found { gateway, address, local: router.local })
}

async fn search(router: Router, to: Ipv4Addr, within: Duration) -> Option<Gateway<Tokio>> {
    let mut options = SearchOptions::default();
    options.bind_addr = (router.local, 0).into();
    options.broadcast_address = (to, 1_900).into();
    options.timeout = Some(within);
    options.single_search_timeout = Some(within);
    options.gateway_ip_version = GatewayIpVersion::V4;
    match search_gateway(options).await {
        Ok(gateway) => (gateway.addr.ip() == IpAddr::V4(router.gateway)).then_some(gateway),
        Err(error) => {
            debug!(%error, %to, "no router by UPnP");
            None
        }
    }
}

impl Found {
    /// Asks for a mapping of `port` to the same port outside, or another one if somebody has that.
    pub(super) async fn map(self, port: NonZeroU16, lifetime: Duration) -> Option<Mapping> {
        let mut mapping = Mapping { found: self, port, external_port: port.get(), lifetime };
        for _ in 0..TRIES {
            match mapping.add().await {
                Ok(()) => return Some(mapping),
                // Old routers keep a mapping until it is taken back; it is, when the agent ends.
                Err(AddPortError::OnlyPermanentLeasesSupported) => mapping.lifetime = Duration::ZERO,
                Err(AddPortError::PortInUse) => mapping.external_port = any_port()?,
                Err(error) => {
                    debug!(%error, "no port by UPnP");
                    return None;
                }
            }
        }
        debug!("no free port by UPnP");
        None
    }
}

impl Mapping {
    /// What the router granted.
    pub(super) fn lease(&self) -> Lease {
        let external = SocketAddrV4::new(self.found.address, self.external_port);
        Lease { protocol: Protocol::Upnp, external, lifetime: self.lifetime }
    }

    /// Asks for the same mapping once more; `None` when it is not granted.
    pub(super) async fn renewed(&self) -> Option<Self> {
        let mut renewed = self.clone();
        renewed.add().await.inspect_err(|error| debug!(%error, "the mapped port is not renewed")).ok()?;
        if let Ok(IpAddr::V4(address)) = renewed.found.gateway.get_external_ip().await {
            renewed.found.address = address;
        }
        Some(renewed)
    }

    /// Gives the mapping back.
    pub(super) async fn release(self) {
        let gone = self.found.gateway.remove_port(PortMappingProtocol::UDP, self.external_port).await;
        if let Err(error) = gone {
            debug!(%error, "the router does not take the mapped port back");
        }
    }

    async fn add(&self) -> Result<(), AddPortError> {
        let local = SocketAddr::from((self.found.local, self.port.get()));
        let seconds = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
        let gateway = &self.found.gateway;
        gateway.add_port(PortMappingProtocol::UDP, self.external_port, local, seconds, DESCRIPTION).await
    }
}

/// Some port that needs no privilege, so that devices behind one router do not try the same ones.
fn any_port() -> Option<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).ok()?;
    Some(u16::from_be_bytes(bytes) % (u16::MAX - 1_024) + 1_024)
}
