//! Network changes on macOS and Windows: the system announces its routes, and every change of a network changes one.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use getifaddrs::{InterfaceFlags, getifaddrs};
use route_manager::{Route, RouteListener, RouteListenerShutdown, RouteManager};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::{LocalNetwork, Router, is_reachable, towards};

/// A change is told when announcements have been quiet for this long: joining a network is some tens of milliseconds per
/// step, and 200 ms make them one.
const QUIET: Duration = Duration::from_millis(200);
/// ... but not later than this after the first.
const PATIENCE: Duration = Duration::from_secs(1);

/// Listens and looks.
pub(super) struct Watcher {
    announcements: mpsc::Receiver<()>,
    shutdown: RouteListenerShutdown,
    overlay: Option<u32>,
    network: LocalNetwork,
}

impl Watcher {
    #[expect(clippy::unused_async, reason = "on Linux it asks the kernel and waits")]
    pub(super) async fn open(overlay: Option<u32>) -> io::Result<Self> {
        let mut listener = RouteListener::new()?;
        let shutdown = listener.shutdown_handle()?;
        // One that waits is as good as many: each is answered by looking at everything.
        let (sender, announcements) = mpsc::channel(1);
        thread::Builder::new().name("lanyard-netmon".to_owned()).spawn(move || {
            while listener.listen().is_ok() {
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    return;
                }
            }
        })?;
        Ok(Self { announcements, shutdown, overlay, network: look(overlay)? })
    }

    pub(super) fn network(&self) -> LocalNetwork {
        self.network.clone()
    }

    /// Tells changes until nobody listens any more or the system falls silent for good.
    pub(super) async fn run(mut self, sender: watch::Sender<LocalNetwork>) {
        while self.announcements.recv().await.is_some() {
            let patience = Instant::now() + PATIENCE;
            while let Ok(another) =
                timeout_at(patience.min(Instant::now() + QUIET), self.announcements.recv()).await
            {
                if another.is_none() {
                    return;
                }
            }
            match look(self.overlay) {
                Ok(network) if network != self.network => {
                    debug!(?network, "the network changed");
                    self.network = network;
                    if sender.send(self.network()).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "cannot look at the network; keeping the last view"),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Else its thread would wait for a change that may be hours away.
        drop(self.shutdown.shutdown());
    }
}

fn look(overlay: Option<u32>) -> io::Result<LocalNetwork> {
    let is_ours = |index: Option<u32>| overlay.is_none() || index != overlay;
    let carries = InterfaceFlags::UP | InterfaceFlags::RUNNING;
    let addresses: BTreeSet<IpAddr> = getifaddrs()?
        .filter(|interface| is_ours(interface.index) && interface.flags.contains(carries))
        .filter_map(|interface| interface.address.ip_addr())
        .filter(is_reachable)
        .collect();
    let routes: Vec<Route> =
        RouteManager::new()?.list()?.into_iter().filter(|route| is_ours(route.if_index())).collect();
    Ok(LocalNetwork {
        addresses: addresses.into_iter().collect(),
        prefixes: prefixes(&routes).into_iter().collect(),
        router: router(&routes),
    })
}

/// IPv4 prefixes that are routed, but for the default route and what every computer has for itself and for groups.
fn prefixes(routes: &[Route]) -> BTreeSet<(Ipv4Addr, u8)> {
    let of_one = |route: &Route| match route.destination() {
        IpAddr::V4(ip) if (1..32).contains(&route.prefix()) && is_reachable(&ip.into()) => {
            Some((ip, route.prefix()))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    };
    routes.iter().filter_map(of_one).collect()
}

/// The router of the default route; of several, that of the lowest metric where the system has metrics.
fn router(routes: &[Route]) -> Option<Router> {
    let of_one = |route: &Route| match (route.destination(), route.gateway()) {
        (IpAddr::V4(ip), Some(IpAddr::V4(gateway))) if ip.is_unspecified() && route.prefix() == 0 => {
            Some((metric(route), gateway))
        }
        _ => None,
    };
    let (_, gateway) = routes.iter().filter_map(of_one).min()?;
    towards(gateway)
}

#[cfg(windows)]
fn metric(route: &Route) -> u32 {
    route.metric().unwrap_or_default()
}

/// macOS orders its services itself: the default route of the first one is the only one without a scope.
#[cfg(target_os = "macos")]
fn metric(route: &Route) -> u32 {
    route.if_scope().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_networks_and_neither_hosts_nor_groups() {
        let route = |ip: [u8; 4], length| Route::new(Ipv4Addr::from(ip).into(), length);
        let routes = [
            route([0; 4], 0),
            route([10, 1, 0, 0], 16),
            route([10, 1, 2, 3], 32),
            route([127, 0, 0, 0], 8),
            route([224, 0, 0, 0], 4),
            Route::new("fd00::".parse().unwrap(), 8),
        ];
        assert_eq!(prefixes(&routes).into_iter().collect::<Vec<_>>(), [(Ipv4Addr::new(10, 1, 0, 0), 16)]);
        assert_eq!(router(&routes), None, "a default route without a gateway");
    }

    #[tokio::test]
    async fn this_computers_network_can_be_looked_at() {
        let watcher = Watcher::open(None).await.unwrap();
        assert!(watcher.network().addresses.iter().all(is_reachable));
    }
}
